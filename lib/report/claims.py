"""The claims ledger: every empirical claim of the sources, tested against our own runs. Adding a
claim is one entry in `lib.studies.herbert` and its neighbours, or in a new file that
`lib.studies.registry` lists.

The verdict rule, for all claims: an entry names the region in which its quantity lies if the claim
is true. The verdict is `holds` if the whole 95 % interval lies inside that region, `contradicted`
if the whole interval lies outside it, and `unresolved` otherwise, so also with one seed or none. An
exact quantity, such as a count of parameters, is an interval of no width; several seeds that all
give the same value are not one, and leave the claim open.

A claim about several comparisons at once ("best of all", "on every task") is measured by the
smallest of the paired differences, because the claim is no truer than its weakest part. The
interval of that smallest difference runs from the least of the low ends, each at 95 % (every part
has to pass, which needs no correction), to the least of the high ends, each at 1 - 0.05 / k for k
parts (one failing part is enough, so looking at k of them is paid for).

The claims ledger for readers: how many claims hold, and each claim on one line. What is the papers'
is marked as theirs.

"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf, isnan, nan
from typing import NamedTuple

import pandas as pd

from lib.report.scores import scores
from lib.report.statistics import interval, paired_differences

COLUMNS = ["id", "source", "claim", "paper_value", "measured", "ci_low", "ci_high", "n", "verdict"]

Pair = tuple[str, str]
"""(better, worse): the scenario that the claim puts higher, and the other."""


class Evidence(NamedTuple):
    """What we measured, in the claim's unit: the value, its 95 % interval, and the number of
    (paired) seeds."""

    value: float
    low: float
    high: float
    n: int


MISSING = Evidence(nan, nan, nan, 0)


@dataclass(frozen=True)
class Claim:
    """One claim. `claim` is its sentence in our words; `evidence(results, efficiency)` measures it.

    `expected` is the open region (low, high) in which the quantity lies if the claim is true: see
    `above`, `below`, `about`. `paper_value` is the same quantity computed from the paper's own
    numbers, NaN where it prints none. `unit` stands behind the number, theirs and ours. `asks` is
    what a run must have for the claim to be measured at all, where that is more than its scenarios:
    "a teacher of BERT-base's size".
    """

    id: str
    source: str
    claim: str
    paper_value: float
    evidence: Callable[[pd.DataFrame, pd.DataFrame], Evidence]
    expected: tuple[float, float]
    unit: str = "points"
    asks: str = ""


def above(threshold: float) -> tuple[float, float]:
    return threshold, inf


def below(threshold: float) -> tuple[float, float]:
    return -inf, threshold


def about(value: float, tolerance: float) -> tuple[float, float]:
    return value - tolerance, value + tolerance


def verdict(evidence: Evidence, expected: tuple[float, float]) -> str:
    """The rule of this module's first paragraphs."""
    if evidence.n == 0 or isnan(evidence.low) or isnan(evidence.high) or all_alike(evidence):
        return "unresolved"
    if evidence.low > expected[0] and evidence.high < expected[1]:
        return "holds"
    if evidence.high < expected[0] or evidence.low > expected[1]:
        return "contradicted"
    return "unresolved"


def all_alike(evidence: Evidence) -> bool:
    """Whether several seeds gave one and the same value, as on a task of few examples: no interval
    can be had from them."""
    return evidence.n > 1 and evidence.high - evidence.low < 1e-9


def evaluate(
    results: pd.DataFrame,
    efficiency: pd.DataFrame,
    claims: Sequence[Claim],
    protocol: str = "final",
) -> pd.DataFrame:
    """A row per claim with the columns of claims.csv. Scores are percent, differences percentage
    points.

    `protocol` "final" scores each run after its last epoch; "best_epoch" is the maximum over
    epochs, as in 000.
    """
    results = results[results["protocol"] == protocol]
    rows = []
    for c in claims:
        found = c.evidence(results, efficiency)
        rows.append([c.id, c.source, c.claim, c.paper_value, *found, verdict(found, c.expected)])
    return pd.DataFrame(rows, columns=COLUMNS)


def smallest_gain(
    study: str, pairs: Sequence[Pair], tasks: Sequence[str], on: Sequence[str]
) -> Callable:
    """Evidence for "better is above worse, for each of `pairs` and on each of `on`", in percentage
    points.

    `on` lists tasks, or MEAN for the mean of `tasks`. With one pair and one task it is the plain
    paired difference.
    """

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        found = {
            name: scores(results, study, name, tasks)
            for name in {name for pair in pairs for name in pair}
        }
        return smallest(gains(pairs, on)(found.__getitem__))

    return evidence


def gains(pairs: Sequence[Pair], on: Sequence[str]) -> Callable:
    """Per-seed differences better - worse, in points, for each of `pairs` and each column of `on`.

    What it returns takes `of`: scenario -> frame of scores by seed, ours or a paper's.
    """
    return lambda of: [
        paired_differences(of(better)[task], of(worse)[task])
        for better, worse in pairs
        for task in on
    ]


def shares(students: Sequence[str], teacher: str, on: Sequence[str]) -> Callable:
    """Per-seed share of the teacher's score that a student keeps, in percent; returns a function of
    `of`, as `gains`."""
    return lambda of: [
        (100 * of(name)[task] / of(teacher)[task]).dropna() for name in students for task in on
    ]


def smallest(parts: Sequence[pd.Series]) -> Evidence:
    """The smallest of several quantities, each a value per seed. Its interval is this module's
    third paragraph."""
    if any(part.empty for part in parts):
        return MISSING
    plain = [interval(part) for part in parts]
    paid = [interval(part, confidence=1 - 0.05 / len(parts)) for part in parts]
    if any(isnan(i.low) for i in plain):
        low = high = nan
    else:
        low, high = min(i.low for i in plain), min(i.high for i in paid)
    return Evidence(min(i.mean for i in plain), low, high, min(map(len, parts)))


def largest(parts: Sequence[pd.Series]) -> Evidence:
    """The largest of several quantities: for a claim that all of them lie below a bound. The mirror
    of `smallest`."""
    found = smallest([-part for part in parts])
    return Evidence(-found.value, -found.high, -found.low, found.n)


def efficiency_value(efficiency: pd.DataFrame, study: str, scenario: str, column: str) -> float:
    """The scenario's value in efficiency.csv, NaN if there is none. Several rows (stages) give the
    largest; those of stages that made no model of their own, such as fine-tuning, have no
    parameters and do not count."""
    rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
    rows = rows[rows["parameters"].notna()]
    return float(rows[column].max()) if len(rows) else nan


def counted(value: float) -> Evidence:
    """Evidence from a quantity that is counted, not sampled: an interval of no width."""
    return MISSING if isnan(value) else Evidence(value, value, value, 1)


def ratio(study: str, a: str, b: str, column: str, scale: float = 1) -> Callable:
    """Evidence: `scale` times a's over b's value of a column of efficiency.csv, say parameters or
    latency_s.

    A latency is a median over many passes in turns and is taken as counted: only a wide region
    should judge it.
    """

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        ours, whole = (efficiency_value(efficiency, study, name, column) for name in (a, b))
        return counted(scale * ours / whole)

    return evidence


def at_size(
    measure: Callable, study: str, teacher: str, parameters: float, tolerance: float = 0.05
) -> Callable:
    """`measure`, or MISSING unless the teacher has so many parameters, within the tolerance (a
    share): what a source says of its own model's size is left open by models of other sizes."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        found = efficiency_value(efficiency, study, teacher, "parameters") / parameters
        return measure(results, efficiency) if abs(found - 1) <= tolerance else MISSING

    return evidence


def tokens_per_parameter(study: str, trained: str, model: str, passes: float = 1) -> Callable:
    """Evidence: tokens that `trained` saw, divided by `passes` over the corpus, per parameter of
    `model`."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        tokens = efficiency_value(efficiency, study, trained, "tokens_seen") / passes
        return counted(tokens / efficiency_value(efficiency, study, model, "parameters"))

    return evidence


def megabytes(study: str, scenario: str) -> Callable:
    """Evidence: the model's size in 10^6 bytes."""
    return lambda results, efficiency: counted(
        efficiency_value(efficiency, study, scenario, "size_mib") * 1.048576
    )


MARKS = {
    verdict: f"{mark}\u00a0{verdict}"
    for verdict, mark in (("holds", "✓"), ("contradicted", "✗"), ("unresolved", "?"))
}
"""A verdict is a word and a mark, neither of them a colour, with no line break between them."""
STUDIES = {
    "herbert": "HerBERT",
    "transfer_set": "Transfer sets",
    "ablation": "DistilBERT",
    "cascade": "CAMeMBERT",
}
THEIRS = ["paper"]
"""The columns of `at_a_glance` that hold the papers' own numbers."""
RULE = (
    "**The rule.** Each claim names a quantity and the region in which it lies if the claim is "
    "true (*holds if*). The claim "
    "*holds* (✓) when the whole 95 % interval of our value lies inside that region, is "
    "*contradicted* (✗) when the whole "
    "interval lies outside, and stays *unresolved* (?) otherwise: when the interval spans an edge "
    "of the region, when one seed "
    "gives no interval or all seeds give the same value, and when nothing was measured. "
    "Differences are paired by "
    "fine-tuning seed and taken after the last epoch; *n* is the number of seeds, and – stands "
    "for a value that is counted or "
    "timed and taken as exact. A claim of several comparisons at once is measured by its smallest "
    "difference, the part that "
    "carries it least. Where a source gives no threshold (“barely”, “competitive”, “almost on "
    "par”), the one in the claim is our "
    "reading. The papers' values are computed from their printed tables, mostly of single runs."
)
WORDS = {
    "herbert": (
        "*HerBERT*: T1 is the teacher, T2 the same teacher trained further on the students' text. "
        "The students have half of its "
        "layers: S0 random weights, never pretrained; S1 random weights, trained on text by "
        "guessing masked words (MLM); S2 every "
        "second layer of T1, trained in the same way; S3 as S2, and trained to imitate the "
        "teacher (distillation); S4 as S3, "
        "taught by T2. NKJP-NER asks for the kind of a name, PolEmo2.0 for the opinion in a "
        "review, of the domains of its "
        "training examples (IN) or of others (OUT)."
    ),
    "transfer_set": (
        "*Transfer sets*: the text on which a student imitates its teacher. GLUE is the mean of "
        "nine tasks on sentences and pairs "
        "of sentences; SQuAD finds the answer to a question in a passage, scored by exact match "
        "(EM) and overlap of words (F1)."
    ),
    "ablation": (
        "*DistilBERT*: a student of BERT with half of its layers, trained with three losses "
        "(triple loss): soft targets (the "
        "teacher's probabilities for each masked word), MLM (guessing the masked words), and "
        "cosine (the direction of the hidden "
        "states). CoLA, MNLI and WNLI are three of the nine tasks of GLUE; SQuAD asks for answers "
        "in a passage."
    ),
    "cascade": (
        "*CAMeMBERT*: a student of a multilingual BERT, reached through a cascade of teacher "
        "assistants, each a layer shallower "
        "than the one before; LightMBERT reaches the same depth in one hop. XNLI asks whether one "
        "sentence follows from another; "
        "the models are fine-tuned in English alone and tested in six languages."
    ),
}
"""What the names in the claims mean, for readers who know none of the sources."""
_DIGITS = {"points": 2, "times": 2}
"""Decimals by unit; 1 for all others."""


def words(studies: Iterable[str]) -> str:
    """The names used in the claims of these studies, explained; Markdown, a paragraph each."""
    return "\n\n".join(WORDS[study] for study in studies if study in WORDS)


def summary(ledger: pd.DataFrame) -> str:
    """One sentence: how the claims came out."""
    if not len(ledger):
        return "This run answers no claim of the sources."
    holds, against, open_ones = (int((ledger["verdict"] == verdict).sum()) for verdict in MARKS)
    absent = int((ledger["n"] == 0).sum())
    end = f" ({absent} of them because this run has nothing to measure them by)" if absent else ""
    return (
        f"Of {len(ledger)} claims of the sources, {holds} hold, {against} are contradicted and "
        f"{open_ones} are unresolved{end}."
    )


def counts(ledger: pd.DataFrame, claims_by_study: Mapping[str, Sequence[Claim]]) -> pd.DataFrame:
    """How many claims of each study hold, are contradicted, are open although measured, and were
    not measured."""
    rows = {}
    for study, claims in claims_by_study.items():
        own = ledger[ledger["id"].isin([claim.id for claim in claims])]
        if len(own):
            rows[STUDIES.get(study, study)] = _counted(own)
    if len(rows) > 1:
        rows["all"] = _counted(ledger)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def _counted(ledger: pd.DataFrame) -> dict[str, int]:
    measured = ledger[ledger["n"] > 0]
    found = {mark: int((measured["verdict"] == verdict).sum()) for verdict, mark in MARKS.items()}
    return found | {"not measured": len(ledger) - len(measured), "claims": len(ledger)}


def at_a_glance(ledger: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that were measured, a row each in the ledger's order; all cells are text.

    Columns: verdict (mark, word, and for an open claim the reason), claim, "ours [95 %]", n, "holds
    if" (region and unit), paper (theirs, see THEIRS), place.
    """
    rows = []
    for found, claim in _of(ledger, claims):
        ours = Evidence(found.measured, found.ci_low, found.ci_high, found.n)
        if ours.n:
            why = f": {reason(claim, ours)}" if found.verdict == "unresolved" else ""
            rows.append(
                {
                    "verdict": f"{MARKS[found.verdict]}{why}",
                    "claim": found.claim,
                    "ours [95 %]": _with_interval(ours, claim.unit),
                    "n": "–" if ours.n == 1 and ours.low == ours.high else str(ours.n),
                    "holds if": region(claim),
                    "paper": _value(found.paper_value, claim.unit),
                    "place": found.source,
                }
            )
    return pd.DataFrame(
        rows, columns=["verdict", "claim", "ours [95 %]", "n", "holds if", "paper", "place"]
    )


def not_measured(ledger: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that this run has nothing to measure by, and what it would need."""
    columns = ["claim", "needs", "holds if", "paper", "place"]
    rows = [
        {
            "claim": found.claim,
            "needs": claim.asks or "all that it compares",
            "holds if": region(claim),
            "paper": _value(found.paper_value, claim.unit),
            "place": found.source,
        }
        for found, claim in _of(ledger, claims)
        if found.n == 0
    ]
    return pd.DataFrame(rows, columns=columns)


def _of(ledger: pd.DataFrame, claims: Iterable[Claim]) -> list[tuple]:
    """(row, claim) for each row of the ledger whose claim is one of these."""
    by_id = {claim.id: claim for claim in claims}
    return [(found, by_id[found.id]) for found in ledger.itertuples() if found.id in by_id]


def region(claim: Claim) -> str:
    """Where the quantity lies if the claim is true, with its unit: "> 0 points", "−2 to 2 points",
    "< 50 % of …"."""
    low, high = claim.expected
    if isinf(high):
        where = f"> {_edge(low)}"
    elif isinf(low):
        where = f"< {_edge(high)}"
    else:
        where = f"{_edge(low)} to {_edge(high)}"
    return f"{where} {claim.unit}"


def reason(claim: Claim, ours: Evidence) -> str:
    """Why a claim that was measured is unresolved, in a few words."""
    if ours.n == 1 and isnan(ours.low):
        return "one seed, no interval"
    if all_alike(ours):
        return "all seeds alike"
    return (
        f"spans "
        f"{' and '.join(_edge(edge) for edge in claim.expected if ours.low <= edge <= ours.high)}"
    )


def _edge(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")


def _value(value: float, unit: str) -> str:
    digits = _DIGITS.get(unit, 1)
    # What rounds to zero has no sign.
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _with_interval(ours: Evidence, unit: str) -> str:
    if isnan(ours.low) or ours.low == ours.high:
        return _value(ours.value, unit)
    return f"{_value(ours.value, unit)} [{_value(ours.low, unit)}, {_value(ours.high, unit)}]"
