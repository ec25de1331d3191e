"""How the claims came out, for readers: the rule, a count in a sentence, and the report's tables.

`verdicts` are rows of claims.csv, as `lib.report.claims.evaluate` returns them.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isinf, isnan
from typing import Any

import pandas as pd

from lib.report.claims import Claim
from lib.report.statistics import MATTERS_NATS
from lib.report.wording import MATTERING, number_of

MARKS = {
    "holds": "✓\u00a0holds",
    "contradicted": "✗\u00a0contradicted",
    "unresolved": "?\u00a0unresolved",
}
"""A verdict is a word and a mark, neither of them a colour, with no line break between them."""
PAPER_COLUMNS = ["paper"]
"""The columns of `at_a_glance` and `not_measured` that hold the papers' own numbers."""
RULE = (
    "**The rule.** Each claim names a quantity and the region in which it lies if the claim is "
    "true (*holds if*). The claim *holds* (✓) when the whole interval of our value lies inside "
    "that region, is *contradicted* (✗) when the whole interval lies outside, and stays "
    "*unresolved* (?) otherwise. Because many claims are tested, p is corrected by Holm's method "
    "within a study, and only a corrected p below 0.05 decides; the interval that is printed is "
    "the plain 95 % one. q is the share of false ones to be expected among all claims of this "
    "report with a p as small (Benjamini and Hochberg). A verdict *by less than matters* is "
    "certain of the side, but the whole interval is within the smallest difference that matters of "
    "the edge: too little to act on. Unresolved claims are of four kinds. "
    "*Level*: the edge is inside the interval, and the whole interval within the smallest "
    f"difference that matters ({MATTERING} or {MATTERS_NATS:g} nats, unless the claim says "
    "otherwise) of it, "
    "which is an answer. *Too small*: a "
    "difference that matters would be missed more than once in five runs; the table says how many "
    "repeats it would take. *Not after correction*: the interval does not reach the edge, but the "
    "corrected p is above 0.05. *Spans the edge*: the rest. Nothing is decided on a task on which "
    "the teacher is not above guessing and a bag of words. Shares of the teacher are taken above "
    "guessing; the papers' are not. Differences are paired by run and taken after the last epoch; "
    "those of a loss on held-out text are the nats by which it is lower, so that above zero is "
    "better there too. A claim that stands once by scores and once by that loss is asked of the "
    "same students: the two are no independent evidence. *n* is the number of runs, and – stands "
    "for a value that is counted, and then exact, or timed. A claim of several comparisons at once "
    "is measured by its smallest difference, the "
    "part that carries it least. Where a source gives no threshold (“barely”, “competitive”, "
    "“almost on par”), the one in the claim is our reading. The papers' values are computed from "
    "their printed tables, mostly of single runs."
)
DECIMALS = {"points": 2, "times": 2, "nats": 3}
"""By unit; 1 for all others."""


def summary(verdicts: pd.DataFrame) -> str:
    """How the claims came out, in one sentence; those about our own configuration do not count."""
    verdicts = verdicts[verdicts["about"] == "results"]
    number = _counts(verdicts)
    found = verdicts[verdicts["paper_effect"] >= verdicts["detectable"]]
    settled = int(((found["verdict"] != "unresolved") | (found["kind"] == "level")).sum())
    small = int((verdicts["kind"] == "less than matters").sum())
    return (
        f"Of {number_of(len(verdicts), 'claim')} about results, "
        f"{_verb(number[MARKS['holds']], 'hold')}, "
        f"{_verb(number[MARKS['contradicted']], 'are')} contradicted, "
        f"{_verb(number['level'], 'come')} out level, "
        f"{_verb(number['undecided'], 'are')} undecided and {number['not measured']} cannot be "
        "measured here."
        + (
            f" This run would find a difference as large as the source's for {len(found)} of them; "
            f"of these, {_verb(settled, 'are')} decided or level."
            if len(found)
            else ""
        )
        + (f" Of those decided, {_verb(small, 'are')} so by less than matters." if small else "")
    )


def _verb(number: int, verb: str) -> str:
    """ "1 holds", "2 hold", "1 is"."""
    return f"{number} {verb if number != 1 else 'is' if verb == 'are' else verb + 's'}"


def counts(verdicts: pd.DataFrame, by_study: Mapping[str, Sequence[Claim]]) -> pd.DataFrame:
    """How many claims of each study (by what its row is called) came out how; those about our own
    configuration and arithmetic in a row of their own."""
    evidence = verdicts[verdicts["about"] == "results"]
    rows = {}
    for study, claims in by_study.items():
        own = evidence[evidence["id"].isin([claim.id for claim in claims])]
        if len(own):
            rows[study] = _counts(own)
    if len(rows) > 1:
        rows["all"] = _counts(evidence)
    if len(evidence) < len(verdicts):
        rows["configuration, no evidence"] = _counts(verdicts[verdicts["about"] != "results"])
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def _counts(verdicts: pd.DataFrame) -> dict[str, int]:
    measured = verdicts[verdicts["n"] > 0]
    holds, contradicted, unresolved = (int((measured["verdict"] == name).sum()) for name in MARKS)
    level = int((measured["kind"] == "level").sum())
    return {
        MARKS["holds"]: holds,
        MARKS["contradicted"]: contradicted,
        "level": level,
        "undecided": unresolved - level,
        "not measured": len(verdicts) - len(measured),
        "claims": len(verdicts),
    }


def at_a_glance(verdicts: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that were measured, one row each; all cells are text.

    Columns: verdict (mark, word, for an unresolved claim the reason, and for a decided one whether
    it is so by less than matters), claim, "ours [95 %]", n,
    "p, q" (corrected by Holm; false discovery rate), "detects" (the smallest difference that this
    run would find), "holds if" (region and unit), paper, place.
    """
    rows = []
    for row, claim in _pairs(verdicts, claims):
        if row.n == 0:
            continue
        seedless = row.n == 1 and not isnan(row.ci_low)  # counted or timed
        why = f": {reason(row)}" if row.verdict == "unresolved" else ""
        why = ", by less than matters" if row.kind == "less than matters" else why
        rows.append(
            {
                "verdict": MARKS[row.verdict] + why,
                "claim": claim.claim,
                "ours [95 %]": _with_interval(row, claim.unit),
                "n": "–" if seedless else str(row.n),
                "p, q": "–" if isnan(row.p_holm) else f"{_small(row.p_holm)}, {_small(row.q)}",
                "detects": _number_text(row.detectable, claim.unit),
                **_context(claim),
            }
        )
    columns = ["verdict", "claim", "ours [95 %]", "n", "p, q", "detects"]
    return pd.DataFrame(rows, columns=[*columns, "holds if", "paper", "place"])


def not_measured(verdicts: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that this run has nothing to measure by, and what it would need."""
    rows = [
        {"claim": claim.claim, "needs": row.needs, **_context(claim)}
        for row, claim in _pairs(verdicts, claims)
        if row.n == 0
    ]
    return pd.DataFrame(rows, columns=["claim", "needs", "holds if", "paper", "place"])


def _context(claim: Claim) -> dict[str, str]:
    """The cells that do not depend on the run."""
    paper = _number_text(claim.paper_value, claim.unit)
    return {"holds if": region(claim), "paper": paper, "place": claim.source}


def _pairs(verdicts: pd.DataFrame, claims: Iterable[Claim]) -> list[tuple[Any, Claim]]:
    """Each row whose claim is one of these, with the claim."""
    by_id = {claim.id: claim for claim in claims}
    return [(row, by_id[row.id]) for row in verdicts.itertuples() if row.id in by_id]


def region(claim: Claim) -> str:
    """Where the quantity lies if the claim is true, with its unit: "> 0 points", "−2 to 2 points",
    "< 50 % of …"."""
    low, high = claim.expected
    if isinf(high):
        return f"> {_edge(low)} {claim.unit}"
    if isinf(low):
        return f"< {_edge(high)} {claim.unit}"
    return f"{_edge(low)} to {_edge(high)} {claim.unit}"


def reason(row: Any) -> str:
    """Why a claim that was measured is unresolved, in so few words that the column stays narrow."""
    if row.kind != "too small":
        return row.kind
    if isinf(row.runs_needed):
        return "takes more examples"
    return f"takes {row.runs_needed:.0f} repeats"


def _small(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _edge(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")


def _number_text(value: float, unit: str) -> str:
    digits = DECIMALS.get(unit, 1)
    # What rounds to zero has no sign.
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _with_interval(row: Any, unit: str) -> str:
    numbers = (row.measured, row.ci_low, row.ci_high)
    value, low, high = (_number_text(number, unit) for number in numbers)
    return value if isnan(row.ci_low) or row.ci_low == row.ci_high else f"{value} [{low}, {high}]"
