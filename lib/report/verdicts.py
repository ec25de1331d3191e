"""What was measured of a claim, and what follows from it.

**Several comparisons at once** ("best of all", "on every task") are measured by the smallest of
them, because the claim is no truer than its weakest part. The interval of the smallest runs from
the least of the low ends, each at 95 % (every part has to pass, which needs no correction), to the
least of the high ends, each at 1 - 0.05 / k for k parts (one failing part is enough, so looking at
k of them has to be paid for).

**The verdict.** An entry names the region in which its quantity lies if the claim is true. The
verdict is `holds` if the whole interval lies inside that region, `contradicted` if the whole
interval lies outside it, and `unresolved` otherwise, so also with one run or none. An exact
quantity, such as a number of parameters, has an interval of no width; that of a latency is of
lib.report.latency. The comparisons of a study share their variance between runs, of which each
alone knows little (lib.report.statistics). Several runs that all give the same value have no
interval, and leave the claim unresolved.

**Many claims.** A claim's p value is the level at which its interval is just wide enough to reach
an edge of the region. Among 50 claims at 95 % two or three would be decided by chance, so within a
study the p values are corrected by Holm's method (1979), and a verdict needs a corrected p below
0.05. The q value of Benjamini and Hochberg (1995), over all studies, is the share of false ones
among all claims decided at that p.

**Kinds of unresolved.** `level`: the whole interval lies within the smallest difference that
matters of the region's edge, which is an answer. `too small`: a difference that matters would be
missed more often than in one run of five (power 80 %). `not after correction`: the interval does
not reach the edge, but the corrected p is above 0.05. `spans the edge`: the rest.

**Decided, but small.** Of a claim that is decided the kind is `less than matters` where the whole
interval lies as near to the edge: the side is certain, and the difference too small to act on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isinf, isnan, nan
from typing import NamedTuple

import numpy as np

from lib.report.statistics import Estimate, Sample, interval

LEVEL = 0.05
MOST_RUNS = 1000
"""More runs than this are said to be too many for any experiment."""


class Evidence(NamedTuple):
    """What was measured, in the claim's unit: the value, its 95 % interval, the number of runs.

    `estimates` are those of the comparisons that the claim is made of; those of the largest have
    the other sign (`mirrored`). There are none where a quantity was counted or timed. `why` says
    why nothing was measured.
    """

    value: float
    low: float
    high: float
    n: int
    estimates: tuple[Estimate, ...] = ()
    mirrored: bool = False
    why: str = ""


MISSING = Evidence(nan, nan, nan, 0)


def smallest(parts: Sequence[Sample]) -> Evidence:
    """The smallest of several quantities, with the interval that the module's docstring describes.
    MISSING if any of them was not measured."""
    if not parts or any(part.empty for part in parts):
        return MISSING
    plain = [interval(part) for part in parts]
    corrected = [interval(part, confidence=1 - LEVEL / len(parts)) for part in parts]
    if any(isnan(i.low) for i in plain):
        low = high = nan
    else:
        low, high = min(i.low for i in plain), min(i.high for i in corrected)
    estimates = tuple(part.estimate() for part in parts)
    return Evidence(min(i.mean for i in plain), low, high, min(map(len, parts)), estimates)


def largest(parts: Sequence[Sample]) -> Evidence:
    """The mirror of `smallest`, for a claim that all quantities lie below a bound."""
    value, low, high, n, estimates, *_ = smallest([-part for part in parts])
    return Evidence(-value, -high, -low, n, estimates, mirrored=True)


# --- one claim ------------------------------------------------------------------------------------


def verdict(evidence: Evidence, expected: tuple[float, float]) -> str:
    """By the rule of the module's docstring, without a correction for other claims."""
    if evidence.n == 0 or isnan(evidence.low) or isnan(evidence.high) or all_alike(evidence):
        return "unresolved"
    if evidence.low > expected[0] and evidence.high < expected[1]:
        return "holds"
    if evidence.high < expected[0] or evidence.low > expected[1]:
        return "contradicted"
    return "unresolved"


def all_alike(evidence: Evidence) -> bool:
    """Whether several runs gave the same value, as on a task with few examples: there is no
    interval then."""
    return evidence.n > 1 and evidence.high - evidence.low < 1e-9


def p_value(evidence: Evidence, expected: tuple[float, float]) -> float:
    """The smallest level at which the claim is decided, either way; NaN where it has no interval
    or was not sampled. A level below which the interval of one part reaches `edge` is that part's
    two-sided p of a mean at `edge`."""
    low, high = (-expected[1], -expected[0]) if evidence.mirrored else expected
    parts = evidence.estimates
    if not parts or any(isnan(part.p(0)) for part in parts):
        return nan

    def level(edge: float, side: int) -> list[float]:
        """For each part its p at an edge, above which (1) or below which (-1) it should be."""
        if isinf(edge):
            return [0.0 if side * edge < 0 else 1.0] * len(parts)
        return [part.p(edge) if side * (part.mean - edge) > 0 else 1.0 for part in parts]

    all_above, one_below = max(level(low, 1)), len(parts) * min(level(high, -1))
    holds = max(all_above, one_below)
    contradicted = min(len(parts) * min(level(low, -1)), max(level(high, 1)))
    return min(1.0, holds, contradicted)


def detectable(evidence: Evidence) -> float:
    """The smallest difference from an edge that this run would find with a power of 80 %, of the
    part that carries the claim least; NaN without an interval."""
    if not evidence.estimates:
        return nan
    return min(evidence.estimates, key=lambda part: part.mean).detectable()


def runs_needed(evidence: Evidence, difference: float) -> float:
    """The number of runs that would find `difference` with a power of 80 %; infinite where only
    more test examples would."""
    part = min(evidence.estimates, key=lambda part: part.mean)
    endless = part._replace(standard_error=np.sqrt(part.from_examples), df=np.inf)
    if endless.detectable() > difference:
        return np.inf
    for n in range(2, MOST_RUNS):
        from_runs = part.from_runs * part.runs / n
        error = np.sqrt(from_runs + part.from_examples)
        if part._replace(standard_error=error, df=max(part.df, n - 1)).detectable() <= difference:
            return n
    return np.inf


def kind(evidence: Evidence, expected: tuple[float, float], matters: float) -> str:
    """Which kind of unresolved, in a few words; `matters` is the smallest difference that matters,
    NaN if nobody can say."""
    if evidence.n == 0:
        return "not measurable here"
    if evidence.n == 1 and isnan(evidence.low):
        return "one run, no interval"
    if all_alike(evidence):
        return "all runs alike"
    if near_the_edge(evidence, expected, matters):
        return "level"
    if not isnan(matters) and detectable(evidence) > matters:
        return "too small"
    return "spans the edge"


def near_the_edge(evidence: Evidence, expected: tuple[float, float], matters: float) -> bool:
    """Whether the whole interval is within the smallest difference that matters of a region's only
    edge. False of a region with two edges, and where nobody can say what matters (NaN)."""
    edges = [edge for edge in expected if isfinite(edge)]
    if len(edges) != 1 or isnan(matters):
        return False
    return edges[0] - matters < evidence.low and evidence.high < edges[0] + matters


# --- many claims ----------------------------------------------------------------------------------


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down method; NaN stays and is not
    counted.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((i for i in range(len(p)) if not isnan(p[i])), key=lambda i: p[i])
    corrected, highest = list(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """The q value of every p: the least false discovery rate at which it is decided; NaN stays and
    is not counted."""
    from scipy.stats import false_discovery_control

    values = np.array(p, dtype=float)
    measured = ~np.isnan(values)
    if measured.any():
        values[measured] = false_discovery_control(values[measured])
    return values.tolist()


@dataclass(frozen=True)
class Ruling:
    """A claim's verdict after correction, its kind (of a decided one "" or "less than matters"),
    its p values, and the smallest difference that the run would find, in the claim's unit."""

    verdict: str
    kind: str
    p: float
    p_holm: float
    detectable: float
    runs_needed: float


def rule(
    evidence: Sequence[Evidence], expected: Sequence[tuple[float, float]], matters: Sequence[float]
) -> list[Ruling]:
    """The rulings on the claims of one study."""
    p = [p_value(*pair) for pair in zip(evidence, expected)]
    rulings = []
    for own, region, smallest_matter, p_own, p_holm in zip(evidence, expected, matters, p, holm(p)):
        decided, why, needed = verdict(own, region), "", nan
        if decided == "unresolved":
            why = kind(own, region, smallest_matter)
        elif p_holm >= LEVEL:
            decided, why = "unresolved", "not after correction"
        elif near_the_edge(own, region, smallest_matter):
            why = "less than matters"
        if why == "too small":
            needed = runs_needed(own, smallest_matter)
        rulings.append(Ruling(decided, why, p_own, p_holm, detectable(own), needed))
    return rulings
