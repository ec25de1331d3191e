"""The claims ledger: every empirical claim of the sources, tested against our own runs. Adding a claim is one entry.

The verdict rule, for all claims: an entry names the region in which its quantity lies if the claim is true.
The verdict is `holds` if the whole 95 % interval lies inside that region, `contradicted` if the whole interval lies
outside it, and `unresolved` otherwise, so also with one seed or none. An exact quantity, such as a count of
parameters, is an interval of no width.

A claim about several comparisons at once ("best of all", "on every task") is measured by the smallest of the paired
differences, because the claim is no truer than its weakest part. The interval of that smallest difference runs from the
least of the low ends, each at 95 % (every part has to pass, which needs no correction), to the least of the high ends,
each at 1 - 0.05 / k for k parts (one failing part is enough, so looking at k of them is paid for).

Not in the ledger: the 20 hours on one Titan V (000, section 4), which only that card could repeat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import NamedTuple

import pandas as pd

from lib import papers
from lib.statistics import interval, paired_differences

COLUMNS = ["id", "source", "claim", "paper_value", "measured", "ci_low", "ci_high", "n", "verdict"]

MEAN = "mean of tasks"
"""Stands for a task: the mean over a list of tasks, per seed."""

Pair = tuple[str, str]
"""(better, worse): the scenario that the claim puts higher, and the other."""


class Evidence(NamedTuple):
    """What we measured, in the claim's unit: the value, its 95 % interval, and the number of (paired) seeds."""

    value: float
    low: float
    high: float
    n: int


MISSING = Evidence(nan, nan, nan, 0)


@dataclass(frozen=True)
class Claim:
    """One claim. `claim` is its sentence in our words; `evidence(results, efficiency)` measures it.

    `expected` is the open region (low, high) in which the quantity lies if the claim is true: see `above`,
    `below`, `about`. `paper_value` is the same quantity computed from the paper's own numbers.
    """

    id: str
    source: str
    claim: str
    paper_value: float
    evidence: Callable[[pd.DataFrame, pd.DataFrame], Evidence]
    expected: tuple[float, float]


def above(threshold: float) -> tuple[float, float]:
    return threshold, inf


def below(threshold: float) -> tuple[float, float]:
    return -inf, threshold


def about(value: float, tolerance: float) -> tuple[float, float]:
    return value - tolerance, value + tolerance


def verdict(evidence: Evidence, expected: tuple[float, float]) -> str:
    """The rule of this module's first paragraph."""
    if evidence.n == 0 or isnan(evidence.low) or isnan(evidence.high):
        return "unresolved"
    if evidence.low > expected[0] and evidence.high < expected[1]:
        return "holds"
    if evidence.high < expected[0] or evidence.low > expected[1]:
        return "contradicted"
    return "unresolved"


def evaluate(
    results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final", claims: Sequence[Claim] | None = None
) -> pd.DataFrame:
    """A row per claim with the columns of claims.csv. Scores are percent, differences percentage points.

    `protocol` "final" scores each run after its last epoch; "best_epoch" is the maximum over epochs, as in 000.
    """
    results = results[results["protocol"] == protocol]
    rows = []
    for c in CLAIMS if claims is None else claims:
        found = c.evidence(results, efficiency)
        rows.append([c.id, c.source, c.claim, c.paper_value, *found, verdict(found, c.expected)])
    return pd.DataFrame(rows, columns=COLUMNS)


def scores(results: pd.DataFrame, study: str, scenario: str, tasks: Sequence[str]) -> pd.DataFrame:
    """Percent by seed (rows) and task (columns); a seed needs all `tasks`. With several there is a column MEAN too.

    Several metrics or languages of one task count as their mean, as GLUE and XNLI do.
    """
    rows = results[(results["study"] == study) & (results["scenario"] == scenario) & results["task"].isin(tasks)]
    table = rows.pivot_table(index="seed", columns="task", values="value").reindex(columns=list(tasks)).dropna()
    return table.assign(**{MEAN: table.mean(axis=1)})


def smallest_gain(study: str, pairs: Sequence[Pair], tasks: Sequence[str], on: Sequence[str]) -> Callable:
    """Evidence for "better is above worse, for each of `pairs` and on each of `on`", in percentage points.

    `on` lists tasks, or MEAN for the mean of `tasks`. With one pair and one task it is the plain paired difference.
    """

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        found = {name: scores(results, study, name, tasks) for name in {name for pair in pairs for name in pair}}
        parts = [paired_differences(found[better][task], found[worse][task]) for better, worse in pairs for task in on]
        if any(part.empty for part in parts):
            return MISSING
        plain = [interval(part) for part in parts]
        paid = [interval(part, confidence=1 - 0.05 / len(parts)) for part in parts]
        if any(isnan(i.low) for i in plain):
            low = high = nan
        else:
            low, high = min(i.low for i in plain), min(i.high for i in paid)
        return Evidence(min(i.mean for i in plain), low, high, min(map(len, parts)))

    return evidence


def efficiency_value(efficiency: pd.DataFrame, study: str, scenario: str, column: str) -> float:
    """The scenario's value in efficiency.csv, NaN if there is none. Several rows (stages) give the largest."""
    rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
    return float(rows[column].max()) if len(rows) else nan


def counted(value: float) -> Evidence:
    """Evidence from a quantity that is counted, not sampled: an interval of no width."""
    return MISSING if isnan(value) else Evidence(value, value, value, 1)


def parameter_share(study: str, student: str, teacher: str) -> Callable:
    """Evidence: the student's parameters in percent of the teacher's."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        ours, whole = (efficiency_value(efficiency, study, name, "parameters") for name in (student, teacher))
        return counted(100 * ours / whole)

    return evidence


def tokens_per_parameter(study: str, trained: str, model: str, passes: float = 1) -> Callable:
    """Evidence: tokens that `trained` saw, divided by `passes` over the corpus, per parameter of `model`."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        tokens = efficiency_value(efficiency, study, trained, "tokens_seen") / passes
        return counted(tokens / efficiency_value(efficiency, study, model, "parameters"))

    return evidence


def megabytes(study: str, scenario: str) -> Callable:
    """Evidence: the model's size in 10^6 bytes."""
    return lambda results, efficiency: counted(efficiency_value(efficiency, study, scenario, "size_mib") * 1.048576)


# --- 000, HerBERT ----------------------------------------------------------------------------------------------------

IN, OUT, NER = HERBERT_TASKS = ["polemo2-in", "polemo2-out", "nkjp-ner"]
_EPOCHS = papers.fact("000", "pretraining_epochs")
_SHARE = parameter_share("herbert", "S3", "T1")
_SIZE_TOLERANCE = 0.05
"""A statement about HerBERT-base's own size is tested by a teacher within 5 % of that size, and left open by others."""


def _herbert(
    id: str, place: str, claim: str, pairs: Sequence[Pair], on: Sequence[str], expected: tuple[float, float] = above(0)
) -> Claim:
    """A claim on scores: the smallest gain over `pairs` and `on`, ours and the report's (Table 2)."""
    theirs = papers.table("000", "results")
    theirs[MEAN] = theirs[HERBERT_TASKS].mean(axis=1)
    paper_value = min(theirs.loc[better, task] - theirs.loc[worse, task] for better, worse in pairs for task in on)
    evidence = smallest_gain("herbert", pairs, HERBERT_TASKS, on)
    return Claim(id, f"000, {place}", claim, round(paper_value, 2), evidence, expected)


def _over(better: str, *others: str) -> list[Pair]:
    return [(better, other) for other in others]


def _at_paper_size(measure: Callable) -> Callable:
    """`measure`, or MISSING unless T1 has HerBERT-base's size."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        ratio = efficiency_value(efficiency, "herbert", "T1", "parameters") / papers.fact("000", "teacher_parameters")
        return measure(results, efficiency) if abs(ratio - 1) <= _SIZE_TOLERANCE else MISSING

    return evidence


def _fact(id: str, place: str, claim: str, fact: str, evidence: Callable, expected: tuple[float, float]) -> Claim:
    return Claim(id, f"000, {place}", claim, papers.fact("000", fact), evidence, expected)


HERBERT = [
    _herbert(
        "herbert-s4-best-ner",
        "section 5",
        "S4 scores highest of S0–S4 on NKJP-NER.",
        _over("S4", "S0", "S1", "S2", "S3"),
        [NER],
    ),
    _herbert(
        "herbert-s4-best-in",
        "section 5",
        "S4 scores highest of S0–S4 on PolEmo2.0-IN.",
        _over("S4", "S0", "S1", "S2", "S3"),
        [IN],
    ),
    _herbert(
        "herbert-s3-best-out",
        "Table 2 (the text has S3 second)",
        "S3 scores highest of S0–S4 on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2", "S4"),
        [OUT],
    ),
    _herbert(
        "herbert-distilled-best-out",
        "Table 2",
        "S3 and S4 both beat S0–S2 on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2") + _over("S4", "S0", "S1", "S2"),
        [OUT],
    ),
    _herbert(
        "herbert-s0-worst",
        "section 5",
        "S0, random and never pretrained, is the worst of all on every task.",
        [(name, "S0") for name in ("S1", "S2", "S3", "S4")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-s1-over-s0",
        "Table 2",
        "Pretraining from random weights helps on every task (S1 over S0).",
        [("S1", "S0")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-mlm-improves",
        "section 5",
        "Training with the MLM loss improves the mean (S1 over S0).",
        [("S1", "S0")],
        [MEAN],
    ),
    _herbert(
        "herbert-s2-over-s1",
        "Table 2",
        "Initial weights from the teacher help on every task (S2 over S1).",
        [("S2", "S1")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-distillation-improves",
        "section 5",
        "The distillation loss improves the mean (S3 over S2).",
        [("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "herbert-s3-over-s2",
        "Table 2",
        "The distillation loss helps on every task (S3 over S2).",
        [("S3", "S2")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-s3-s2-slight",
        "section 5",
        "S3 and S2 differ only slightly: under 2 points in the mean score.",
        [("S3", "S2")],
        [MEAN],
        about(0, 2),
    ),
    _herbert(
        "herbert-s4-over-s3",
        "section 5",
        "A teacher trained further gives a better student (S4 over S3, mean).",
        [("S4", "S3")],
        [MEAN],
    ),
    _herbert(
        "herbert-s4-not-everywhere",
        "section 5",
        "The gain of S4 over S3 is absent on at least one task.",
        [("S4", "S3")],
        HERBERT_TASKS,
        below(0),
    ),
    _herbert(
        "herbert-order",
        "Table 2",
        "The mean score rises from each scenario to the next, S0 < S1 < S2 < S3.",
        [("S1", "S0"), ("S2", "S1"), ("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "herbert-below-teacher",
        "Table 2 (T1: test score)",
        "Every student stays below HerBERT on every task.",
        _over("T1", "S0", "S1", "S2", "S3", "S4"),
        HERBERT_TASKS,
    ),
    _fact(
        "herbert-half-layers-not-half-size",
        "section 3.2",
        "With half the layers, more than half of the parameters (%) remain: the embeddings are not halved.",
        "student_share",
        _SHARE,
        above(50),
    ),
    _fact(
        "herbert-share",
        "section 3.2",
        "HerBERT's student has 65 % of its parameters (within 1 point).",
        "student_share",
        _at_paper_size(_SHARE),
        about(65, 1),
    ),
    _fact(
        "herbert-size",
        "section 3.2",
        "HerBERT's student weighs 325.34 MB (10^6 bytes, within 1 %).",
        "student_size",
        _at_paper_size(megabytes("herbert", "S3")),
        about(325.34, 3.25),
    ),
    _fact(
        "herbert-tokens-teacher",
        "section 6",
        "The corpus has about 2 tokens per HerBERT parameter (1.5–2.5).",
        "tokens_per_teacher_parameter",
        _at_paper_size(tokens_per_parameter("herbert", "S3", "T1", _EPOCHS)),
        about(2, 0.5),
    ),
    _fact(
        "herbert-tokens-student",
        "section 6",
        "The corpus has about 3 tokens per student parameter (2.5–3.5).",
        "tokens_per_student_parameter",
        _at_paper_size(tokens_per_parameter("herbert", "S3", "S3", _EPOCHS)),
        about(3, 0.5),
    ),
    Claim(
        "herbert-short-training",
        "000, section 6",
        "S3 sees fewer tokens per parameter than the 20 recommended.",
        round(_EPOCHS * papers.fact("000", "corpus_tokens") / papers.fact("000", "student_parameters"), 1),
        tokens_per_parameter("herbert", "S3", "S3"),
        below(papers.fact("000", "recommended_tokens_per_parameter")),
    ),
]

CLAIMS = [*HERBERT]
"""The whole ledger. Another study is another list here."""
