"""How the claims came out, for readers: the rule, a count in a sentence, and the report's tables.

`verdicts` are rows of claims.csv, as `lib.report.claims.evaluate` returns them.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isinf, isnan
from typing import Any

import pandas as pd

from lib.report.claims import Claim, Evidence, all_alike

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
    "true (*holds if*). The claim *holds* (✓) when the whole 95 % interval of our value lies "
    "inside that region, is *contradicted* (✗) when the whole interval lies outside, and stays "
    "*unresolved* (?) otherwise: when the interval spans an edge of the region, when one run "
    "gives no interval or all runs give the same value, and when nothing was measured. "
    "Differences are paired by run and taken after the last epoch; *n* is the number"
    " of runs, and – stands for a value that is counted, and then exact, or timed. A claim of "
    "several comparisons at once is measured by its smallest difference, the part that carries it"
    " least. Where a source gives no threshold (“barely”, “competitive”, “almost on par”), the "
    "one in the claim is our reading. The papers' values are computed from their printed tables, "
    "mostly of single runs."
)
DECIMALS = {"points": 2, "times": 2}
"""By unit; 1 for all others."""


def summary(verdicts: pd.DataFrame) -> str:
    """How the claims came out, in one sentence."""
    if verdicts.empty:
        return "This run tests no claim."
    number = verdicts["verdict"].value_counts().reindex(list(MARKS), fill_value=0)
    unmeasured = int((verdicts["n"] == 0).sum())
    end = f" ({unmeasured} of them because this run has nothing to measure them by)"
    return (
        f"Of {len(verdicts)} claims, {number['holds']} hold, "
        f"{number['contradicted']} are contradicted and {number['unresolved']} are unresolved"
        f"{end if unmeasured else ''}."
    )


def counts(verdicts: pd.DataFrame, by_study: Mapping[str, Sequence[Claim]]) -> pd.DataFrame:
    """How many claims of each study (by what its row is called) hold, are contradicted, are
    unresolved although measured, and were not measured."""
    rows = {}
    for study, claims in by_study.items():
        own = verdicts[verdicts["id"].isin([claim.id for claim in claims])]
        if len(own):
            rows[study] = _counts(own)
    if len(rows) > 1:
        rows["all"] = _counts(verdicts)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def _counts(verdicts: pd.DataFrame) -> dict[str, int]:
    measured = verdicts.loc[verdicts["n"] > 0, "verdict"]
    row = {mark: int((measured == name).sum()) for name, mark in MARKS.items()}
    return row | {"not measured": len(verdicts) - len(measured), "claims": len(verdicts)}


def at_a_glance(verdicts: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that were measured, one row each; all cells are text.

    Columns: verdict (mark, word, and for an unresolved claim the reason), claim, "ours [95 %]", n,
    "holds if" (region and unit), paper, place.
    """
    rows = []
    for row, claim in _pairs(verdicts, claims):
        measured = Evidence(row.measured, row.ci_low, row.ci_high, row.n)
        if measured.n == 0:
            continue
        seedless = measured.n == 1 and not isnan(measured.low)
        why = f": {reason(claim, measured)}" if row.verdict == "unresolved" else ""
        rows.append(
            {
                "verdict": MARKS[row.verdict] + why,
                "claim": claim.claim,
                "ours [95 %]": _with_interval(measured, claim.unit),
                "n": "–" if seedless else str(measured.n),
                **_context(claim),
            }
        )
    columns = ["verdict", "claim", "ours [95 %]", "n", "holds if", "paper", "place"]
    return pd.DataFrame(rows, columns=columns)


def not_measured(verdicts: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that this run has nothing to measure by, and what it would need."""
    rows = [
        {"claim": claim.claim, "needs": claim.asks or "all that it compares", **_context(claim)}
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


def reason(claim: Claim, measured: Evidence) -> str:
    """Why a claim that was measured is unresolved, in a few words."""
    if measured.n == 1 and isnan(measured.low):
        return "one run, no interval"
    if all_alike(measured):
        return "all runs alike"
    edges = [_edge(edge) for edge in claim.expected if measured.low <= edge <= measured.high]
    return f"spans {' and '.join(edges)}"


def _edge(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")


def _number_text(value: float, unit: str) -> str:
    digits = DECIMALS.get(unit, 1)
    # What rounds to zero has no sign.
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _with_interval(measured: Evidence, unit: str) -> str:
    value, low, high = (_number_text(number, unit) for number in measured[:3])
    if isnan(measured.low) or measured.low == measured.high:
        return value
    return f"{value} [{low}, {high}]"
