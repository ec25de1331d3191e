"""Intervals and tests over a handful of seeds.

With five seeds a t interval is wide and an exact test is coarse. That is the honest state of the
evidence, so both are printed and no stars are given.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.common.errors import InputError

EXACT_LIMIT = 20
"""2^20 sign patterns are quick to list; beyond that the exact test is refused rather than
approximated."""


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student's t interval for the mean: x̄ ± t(1 - α/2, n - 1) · s / √n, s with n - 1 in the
    denominator.

    n = 1 gives the value with NaN ends, n = 0 gives NaN throughout. NaN among the values is an
    error: a seed without a result has to be left out by name.
    """
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    x = np.asarray(list(values), dtype=float)
    if np.isnan(x).any():
        raise InputError("interval: a value is NaN; leave out the seeds that have no result")
    if len(x) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, np.nan, np.nan)
    half = float(stdtrit(len(x) - 1, 0.5 + confidence / 2) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def paired_differences(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series
) -> pd.Series:
    """d_s = a_s - b_s for every seed s that both have, indexed by seed. Seeds that only one has are
    left out."""
    a, b = pd.Series(a, dtype=float).dropna(), pd.Series(b, dtype=float).dropna()
    for side in (a, b):
        if side.index.has_duplicates:
            raise InputError(
                f"paired_differences: seed {side.index[side.index.duplicated()][0]} occurs twice"
            )
    return (a - b).dropna().sort_index()


def paired_difference(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series, confidence: float = 0.95
) -> Interval:
    """Mean and t interval of a_s - b_s over the seeds both have.

    Pairing takes out what a seed does to both (data order, the head's initial weights).
    """
    return interval(paired_differences(a, b), confidence)


def sign_flip_p(differences: Iterable[float]) -> float:
    """Exact two-sided sign-flip test of a zero mean difference.

    p = #{σ ∈ {-1, 1}ⁿ : |Σ σᵢ dᵢ| ≥ |Σ dᵢ|} / 2ⁿ. NaN without differences; see `smallest_p` for its
    floor.
    """
    d = np.asarray(list(differences), dtype=float)
    if len(d) > EXACT_LIMIT:
        raise InputError(
            f"sign_flip_p: {len(d)} differences; the exact test is for at most {EXACT_LIMIT}"
        )
    if len(d) == 0:
        return float("nan")
    sums = np.zeros(1)
    for value in d:  # after k values: the 2^k signed sums of the first k
        sums = np.concatenate([sums + value, sums - value])
    # Rounding must not cost a tie: the observed pattern and its mirror image always count.
    return float(np.mean(np.abs(sums) >= abs(d.sum()) * (1 - 1e-12) - 1e-12))


def smallest_p(n: int) -> float:
    """The least p that a two-sided sign-flip test on n pairs can give: 2 / 2ⁿ, so 0.0625 for n =
    5."""
    return 2.0 / 2**n if n else float("nan")


def pm(values: Iterable[float], digits: int = 1) -> str:
    """Mean and half-width of the 95 % t interval: "86.6 ± 1.2"; "86.6" for one value, "–" for
    none."""
    mean, low, high = interval(values)
    if np.isnan(mean):
        return "–"
    return (
        f"{mean:.{digits}f}"
        if np.isnan(high)
        else f"{mean:.{digits}f} ± {(high - low) / 2:.{digits}f}"
    )
