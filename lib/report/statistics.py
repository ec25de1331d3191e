"""Intervals and tests over a handful of seeds.

With five seeds a t interval is wide and an exact test is coarse. That is the honest state of the
evidence, so both are printed and no stars are given.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.common.errors import InputError

SIGN_PATTERNS = 2**14
"""A sign-flip test goes through all sign patterns if there are no more (14 differences), which
takes a tenth of a second; else through as many at random, always the same ones."""


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Student's t interval for the mean: x̄ ± t(1 - α/2, n - 1) · s / √n.

    One value has NaN ends, no value gives NaN throughout. Raises InputError for a NaN among the
    values: a seed without a result has to be left out by name.
    """
    from scipy import stats

    x = np.asarray(list(values), dtype=float)
    if np.isnan(x).any():
        raise InputError("interval: a value is NaN; leave out the seeds that have no result")
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else np.nan, np.nan, np.nan)
    half = stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * stats.sem(x)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def paired_differences(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series
) -> pd.Series:
    """a - b for every seed that both have, indexed by seed, ascending.

    Pairing takes out what a seed does to both: the order of the data, the head's initial weights.
    """
    a, b = pd.Series(a, dtype=float).dropna(), pd.Series(b, dtype=float).dropna()
    for side in (a, b):
        if side.index.has_duplicates:
            seed = side.index[side.index.duplicated()][0]
            raise InputError(f"paired_differences: seed {seed} occurs twice")
    return (a - b).dropna().sort_index()


def paired_difference(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series, confidence: float = 0.95
) -> Interval:
    """Mean and t interval of a - b over the seeds that both have."""
    return interval(paired_differences(a, b), confidence)


def sign_flip_p(differences: Iterable[float]) -> float:
    """The p value of a two-sided sign-flip test of a zero mean difference, exact for up to 14.

    p = #{σ ∈ {-1, 1}ⁿ : |Σ σᵢ dᵢ| ≥ |Σ dᵢ|} / 2ⁿ; NaN without differences. `smallest_p` is its
    floor.
    """
    from scipy import stats

    d = np.asarray(list(differences), dtype=float)
    if len(d) < 2:  # scipy takes two and more
        return 1.0 if len(d) else np.nan
    flips = {"permutation_type": "samples", "n_resamples": SIGN_PATTERNS, "rng": 0}
    return float(stats.permutation_test((d,), np.mean, vectorized=True, **flips).pvalue)


def smallest_p(n: int) -> float:
    """The least p that a two-sided sign-flip test on n pairs can give: 2 / 2ⁿ, 0.0625 for n = 5."""
    return 2.0 / 2**n if n else np.nan


def pm(values: Iterable[float], digits: int = 1) -> str:
    """Mean and half-width of the 95 % interval: "86.6 ± 1.2"; "86.6" for one value, "–" for
    none."""
    mean, low, high = interval(values)
    if np.isnan(mean):
        return "–"
    half = "" if np.isnan(high) else f" ± {(high - low) / 2:.{digits}f}"
    return f"{mean:.{digits}f}{half}"
