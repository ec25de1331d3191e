"""The claims ledger for readers: how many claims hold, and each claim on one line. What is the papers' is marked as theirs.

>>> region(BY_STUDY["herbert"][0])
'> 0 points'
"""

from collections.abc import Iterable
from math import isinf, isnan

import pandas as pd

from lib.claims import Claim, Evidence, all_alike
from lib.ledger import BY_STUDY

MARKS = {
    verdict: f"{mark}\u00a0{verdict}" for verdict, mark in (("holds", "✓"), ("contradicted", "✗"), ("unresolved", "?"))
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
    "**The rule.** Each claim names a quantity and the region in which it lies if the claim is true (*holds if*). The claim "
    "*holds* (✓) when the whole 95 % interval of our value lies inside that region, is *contradicted* (✗) when the whole "
    "interval lies outside, and stays *unresolved* (?) otherwise: when the interval spans an edge of the region, when one seed "
    "gives no interval or all seeds give the same value, and when nothing was measured. Differences are paired by "
    "fine-tuning seed and taken after the last epoch; *n* is the number of seeds, and – stands for a value that is counted or "
    "timed and taken as exact. A claim of several comparisons at once is measured by its smallest difference, the part that "
    "carries it least. Where a source gives no threshold (“barely”, “competitive”, “almost on par”), the one in the claim is our "
    "reading. The papers' values are computed from their printed tables, mostly of single runs."
)
WORDS = {
    "herbert": (
        "*HerBERT*: T1 is the teacher, T2 the same teacher trained further on the students' text. The students have half of its "
        "layers: S0 random weights, never pretrained; S1 random weights, trained on text by guessing masked words (MLM); S2 every "
        "second layer of T1, trained in the same way; S3 as S2, and trained to imitate the teacher (distillation); S4 as S3, "
        "taught by T2. NKJP-NER asks for the kind of a name, PolEmo2.0 for the opinion in a review, of the domains of its "
        "training examples (IN) or of others (OUT)."
    ),
    "transfer_set": (
        "*Transfer sets*: the text on which a student imitates its teacher. GLUE is the mean of nine tasks on sentences and pairs "
        "of sentences; SQuAD finds the answer to a question in a passage, scored by exact match (EM) and overlap of words (F1)."
    ),
    "ablation": (
        "*DistilBERT*: a student of BERT with half of its layers, trained with three losses (triple loss): soft targets (the "
        "teacher's probabilities for each masked word), MLM (guessing the masked words), and cosine (the direction of the hidden "
        "states). CoLA, MNLI and WNLI are three of the nine tasks of GLUE; SQuAD asks for answers in a passage."
    ),
    "cascade": (
        "*CAMeMBERT*: a student of a multilingual BERT, reached through a cascade of teacher assistants, each a layer shallower "
        "than the one before; LightMBERT reaches the same depth in one hop. XNLI asks whether one sentence follows from another; "
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
    return f"Of {len(ledger)} claims of the sources, {holds} hold, {against} are contradicted and {open_ones} are unresolved{end}."


def counts(ledger: pd.DataFrame) -> pd.DataFrame:
    """How many claims of each study hold, are contradicted, are open although measured, and were not measured."""
    rows = {}
    for study, claims in BY_STUDY.items():
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


def at_a_glance(ledger: pd.DataFrame, study: str | None = None) -> pd.DataFrame:
    """The claims that were measured, of one study or of all, a row each in the ledger's order; all cells are text.

    Columns: verdict (mark, word, and for an open claim the reason), claim, "ours [95 %]", n, "holds if" (region and unit),
    paper (theirs, see THEIRS), place.
    """
    rows = []
    for found, claim in _of(ledger, [study] if study else BY_STUDY):
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
    return pd.DataFrame(rows, columns=["verdict", "claim", "ours [95 %]", "n", "holds if", "paper", "place"])


def not_measured(ledger: pd.DataFrame, studies: Iterable[str]) -> pd.DataFrame:
    """The claims of these studies that this run has nothing to measure by, and what it would need."""
    columns = ["claim", "needs", "holds if", "paper", "place"]
    rows = [
        {
            "claim": found.claim,
            "needs": claim.asks or "all that it compares",
            "holds if": region(claim),
            "paper": _value(found.paper_value, claim.unit),
            "place": found.source,
        }
        for found, claim in _of(ledger, studies)
        if found.n == 0
    ]
    return pd.DataFrame(rows, columns=columns)


def _of(ledger: pd.DataFrame, studies: Iterable[str]) -> list[tuple]:
    """(row, claim) for each row of the ledger that belongs to these studies."""
    claims = {claim.id: claim for study in studies for claim in BY_STUDY.get(study, [])}
    return [(found, claims[found.id]) for found in ledger.itertuples() if found.id in claims]


def region(claim: Claim) -> str:
    """Where the quantity lies if the claim is true, with its unit: "> 0 points", "−2 to 2 points", "< 50 % of …"."""
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
    return f"spans {' and '.join(_edge(edge) for edge in claim.expected if ours.low <= edge <= ours.high)}"


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
