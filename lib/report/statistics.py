"""Intervals and tests over a handful of runs and many test examples.

A run is one repeat of the distillation, so a value of a run is a mean over its fine-tuning seeds.
A comparison is uncertain for two reasons: other runs would have come out differently, and so would
other test examples. An interval over runs alone ignores the second, and is too narrow by far where
examples matter more than runs (Sellam et al. 2021, The MultiBERTs). `Sample` keeps what each test
example contributes, and its intervals cover both.

Three runs say little of their own variance. Comparisons of one study say it together: `spread_of`
learns from all of them what it is like, and `Estimate`s of a `Sample` with that `Spread` rest on
more than the sample's own runs (Smyth 2004, Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.common.errors import InputError

MATTERS, MATTERS_NATS = 1.0, 0.02
"""The smallest difference that matters where a claim names none: in points or percent of the
teacher, of which the sources call as much "marginal" or "hardly any"; and of a loss, 2 % of
perplexity."""
NO_SPREAD = 1e-9
"""A standard error, or a divisor, below this is none: 0, but for rounding."""
FEWEST = 6
"""From fewer variances than this nothing is learnt of others."""
CAUTION = 1.645
"""The normal quantile of 95 %: so many standard errors above its estimate the scatter of variances
is taken to be."""


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


class Estimate(NamedTuple):
    """A mean, its standard error in the same unit, and that error's degrees of freedom. Its
    variance has two parts: `from_runs`, which falls with the number of `runs`, and `from_examples`,
    which falls only with that of test examples."""

    mean: float
    standard_error: float
    df: float
    from_runs: float = np.nan
    from_examples: float = 0.0
    runs: int = 0

    def interval(self, confidence: float = 0.95) -> Interval:
        """mean ± t(1 - α/2, df) · standard error; NaN ends if there is no standard error."""
        from scipy import stats

        half = stats.t.ppf(0.5 + confidence / 2, self.df) * self.standard_error
        return Interval(self.mean, float(self.mean - half), float(self.mean + half))

    def p(self, edge: float = 0.0) -> float:
        """The two-sided p value of a true mean that equals `edge`; NaN where nothing varies."""
        from scipy import stats

        if not self.standard_error > NO_SPREAD:
            return np.nan
        return float(2 * stats.t.sf(abs(self.mean - edge) / self.standard_error, self.df))

    def detectable(self, power: float = 0.8, alpha: float = 0.05) -> float:
        """The smallest true difference that is found with this power by a two-sided test at level
        alpha: (t(1 - α/2, df) + t(power, df)) · standard error; NaN where nothing varies."""
        from scipy import stats

        if not self.standard_error > NO_SPREAD:
            return np.nan
        quantiles = stats.t.ppf([1 - alpha / 2, power], self.df)
        return float(quantiles.sum() * self.standard_error)


class Spread(NamedTuple):
    """What the variance between runs is like in the comparisons of a study, by Smyth's model: a
    comparison's own, s² with d degrees of freedom, is σ² χ²_d / d, and its true one varies between
    comparisons, 1 / σ² being χ²_df / (df · variance). df 0: nothing is known."""

    variance: float = 0.0
    df: float = 0.0

    def shared(self, own: float, df: float) -> tuple[float, float]:
        """A comparison's variance and its degrees of freedom, of its `own` with `df` of them:
        (df₀ s₀² + d s²) / (df₀ + d), with df₀ + d. Never less than its own, because students differ
        in their variance by more than the model says: some fail in one run of three. Runs that
        are all alike stay so: their values are too coarse to vary."""
        if not own > NO_SPREAD**2:
            return own, df
        shared = (self.df * self.variance + df * own) / (self.df + df)
        return max(own, shared), self.df + df


def spread_of(variances: Sequence[float], df: Sequence[float]) -> Spread:
    """The spread of which these variances are drawn, each with so many degrees of freedom.

    Smyth's estimate (2004, section 6.2) by the mean and variance of z = log s² - ψ(d / 2) +
    log(d / 2): ψ'(df₀ / 2) = var z - mean ψ'(d / 2), log s₀² = mean z + ψ(df₀ / 2) - log(df₀ / 2);
    variances that scatter no more than by chance have an infinite df₀. From a dozen comparisons var
    z is known to a third, and a df₀ that is too large decides too much. So the degrees of freedom
    that are returned are those of the upper 95 % limit of var z (normal, var z √(2 / (k - 1)) per
    standard error), and no more than half of all that the variances have, as comparisons share
    their scenarios. Nothing is learnt from fewer than FEWEST.
    """
    from scipy.special import digamma, polygamma

    if len(variances) < FEWEST:
        return Spread()
    half = np.asarray(df, dtype=float) / 2
    logs = np.log(variances) - digamma(half) + np.log(half)
    scatter, by_chance = logs.var(ddof=1), polygamma(1, half).mean()
    log_variance = logs.mean()
    if scatter > by_chance:
        half_df = _trigamma_inverse(scatter - by_chance)
        log_variance += digamma(half_df) - np.log(half_df)
    shared_df = half.sum()
    at_most = scatter * (1 + CAUTION * np.sqrt(2 / (len(logs) - 1)))
    if at_most > by_chance:
        shared_df = min(shared_df, 2 * _trigamma_inverse(at_most - by_chance))
    return Spread(float(np.exp(log_variance)), float(shared_df))


def _trigamma_inverse(x: float) -> float:
    """The y of which ψ'(y) = x, for x > 0, by Newton's method on 1 / ψ', which is convex and nearly
    straight (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    y = 0.5 + 1 / x
    for _ in range(8):  # to five digits even where x is 10,000
        trigamma = polygamma(1, y)
        y += trigamma * (1 - trigamma / x) / polygamma(2, y)
    return float(y)


@dataclass(frozen=True, eq=False)
class Sample:
    """A quantity in several runs, and where it is known, what each test example contributes to it.

    values: by run (whole numbers, ascending), in percent or points.
    examples: by test set an array [runs, examples of the set]. A run's value is the sum over the
        test sets of the mean over the set's examples: a mean of nine tasks has nine sets, and
        contributions that are divided by nine. Empty where only the values are known.
    spread: what the other comparisons of the study say of its variance between runs. It is given
        to a finished comparison (`Declaration.shared`): arithmetic drops it, but for the sign.

    Samples are added, subtracted and divided run by run, on the runs that both have, and example by
    example; a test set that one of the two lacks adds nothing there. The result has examples if
    both have. A number may stand in the place of the second one. Raises InputError for a NaN among
    the values (a run without a result has to be left out by name), a run that occurs twice, and
    test sets of one name and different sizes.
    """

    values: pd.Series
    examples: Mapping[str, np.ndarray] = field(default_factory=dict)
    spread: Spread = Spread()

    __array_ufunc__ = None  # so that NumPy leaves number * Sample to __rmul__

    def __post_init__(self):
        runs = self.values.index
        if self.values.isna().any():
            raise InputError("a value is NaN; leave out the runs that have no result")
        if runs.has_duplicates:
            raise InputError(f"run {runs[runs.duplicated()][0]} occurs twice")
        if not runs.is_monotonic_increasing:
            raise ValueError("runs have to ascend")
        if any(len(array) != len(runs) for array in self.examples.values()):
            raise ValueError("examples have to have a row per run")

    def adding_up(self) -> "Sample":
        """Itself, of which the examples' means add up to the values, as arithmetic leaves them but
        for rounding. Raises ValueError if they do not."""
        sums = sum(array.mean(axis=1) for array in self.examples.values())
        largest = max((np.abs(a).max(initial=1) for a in self.examples.values()), default=1)
        if self.examples and not np.allclose(sums, self.values, rtol=1e-6, atol=1e-6 * largest):
            raise ValueError("the examples' means have to add up to the values")
        return self

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    @property
    def empty(self) -> bool:
        return self.values.empty

    @property
    def index(self) -> pd.Index:
        """The runs."""
        return self.values.index

    def mean(self) -> float:
        return float(self.values.mean())

    def dropna(self) -> "Sample":
        """Itself, as every run of a sample has a value."""
        return self

    def __add__(self, other: "Sample | float") -> "Sample":
        if not isinstance(other, Sample):
            return self._shifted(other)
        a, b = self._shared(other)
        if not (a.examples and b.examples):
            return Sample(a.values + b.values)
        names = dict.fromkeys([*a.examples, *b.examples])
        parts = {name: [s.examples[name] for s in (a, b) if name in s.examples] for name in names}
        for name, arrays in parts.items():
            sizes = [array.shape[1] for array in arrays]
            if len(set(sizes)) > 1:
                raise InputError(
                    f"test set {name!r} has {sizes[0]} examples on one side and {sizes[1]} on the "
                    "other; a comparison needs the same ones"
                )
        return Sample(a.values + b.values, {name: sum(arrays) for name, arrays in parts.items()})

    __radd__ = __add__  # so that samples can be summed

    def __sub__(self, other: "Sample | float") -> "Sample":
        return self + -1 * other

    def __mul__(self, factor: float) -> "Sample":
        return self._scaled(factor)

    __rmul__ = __mul__

    def __neg__(self) -> "Sample":
        return replace(self._scaled(-1), spread=self.spread)

    def __truediv__(self, other: "Sample | float") -> "Sample":
        """The quotient run by run; runs in which the divisor is 0, but for rounding, are left out.

        What examples contribute to the quotient of A and B follows from its linear expansion (the
        delta method): with contributions a and b, a / B - A (b - B) / B², whose mean is A / B.
        """
        if not isinstance(other, Sample):
            return self._scaled(1 / other)
        a, b = self._shared(other._on(other.index[other.values.abs() > NO_SPREAD]))
        quotient = a.values / b.values
        return a._scaled(1 / b.values) - b._shifted(-b.values)._scaled(quotient / b.values)

    def _shared(self, other: "Sample") -> tuple["Sample", "Sample"]:
        """Both on the runs that both have.

        Pairing takes out what a run does to both: the order of the data, initial weights.
        """
        runs = self.index.intersection(other.index, sort=False)
        return self._on(runs), other._on(runs)

    def _on(self, runs: pd.Index) -> "Sample":
        rows = self.index.get_indexer(runs)
        return Sample(
            self.values.loc[runs], {name: array[rows] for name, array in self.examples.items()}
        )

    def _scaled(self, factor: float | pd.Series) -> "Sample":
        """Times a number, or a number per run."""
        column = np.asarray(factor).reshape(-1, 1)
        return Sample(
            factor * self.values, {name: column * array for name, array in self.examples.items()}
        )

    def _shifted(self, amount: float | pd.Series) -> "Sample":
        """Plus a number, or a number per run, spread over the test sets."""
        column = np.asarray(amount).reshape(-1, 1) / max(1, len(self.examples))
        return Sample(
            self.values + amount, {name: column + array for name, array in self.examples.items()}
        )

    def over_examples(self) -> Interval:
        """The mean, and its 95 % interval over other test examples alone, for these very runs:
        mean ± 1.96 √(Σ_k s²_k / m_k), of test sets k of m_k independent examples. NaN ends where
        the examples are not known."""
        sets = [array.mean(axis=0) for array in self.examples.values()]
        variance = sum(one.var(ddof=1) / len(one) for one in sets) if sets else np.nan
        half = 1.96 * np.sqrt(variance)
        return Interval(self.mean(), float(self.mean() - half), float(self.mean() + half))

    def estimate(self) -> Estimate:
        """The mean over runs, and its error over both other runs and other test examples.

        Runs and examples are random and crossed: each run answers the same examples. For one test
        set the variance of the mean over n runs and m examples is, from the mean squares of the
        two-way analysis of variance without replication (Searle, Casella & McCulloch 1992),
        V = (MS_runs + MS_examples - MS_error) / (n m). MS_runs / (n m) is s² / n for the variance
        s² of the runs' values, which serves for any number of test sets k of independent examples:
        V = s² / n + Σ_k (MS_examples,k - MS_error,k) / (n m_k). A set whose examples vary no more
        than by error adds nothing. The degrees of freedom are Satterthwaite's (1946), V² over the
        sum of the squares of V's terms, each divided by its own degrees of freedom. Where
        MS_error is nearly MS_examples that can be less than 1: there are never fewer than those of
        s², which V is not below. Without examples this is Student's: V = s² / n, df = n - 1. With a
        spread, s² and its n - 1 degrees of freedom are those that `Spread.shared` makes of them.

        One run has a NaN standard error, no run a NaN mean as well.
        """
        n = len(self)
        if n < 2:
            return Estimate(self.mean(), np.nan, 0)
        of_runs, df_of_runs = self.spread.shared(float(self.values.var()), n - 1)
        from_runs = variance = of_runs / n
        squares = variance**2 / df_of_runs
        for array in self.examples.values():
            m = array.shape[1]
            if m < 2:
                continue
            by_example = array.mean(axis=0)
            left = array - by_example - (array.mean(axis=1, keepdims=True) - by_example.mean())
            of_examples = by_example.var(ddof=1) / m
            of_error = (left**2).sum() / ((n - 1) * (m - 1) * n * m)
            if of_examples > of_error:
                variance += of_examples - of_error
                squares += of_examples**2 / (m - 1) + of_error**2 / ((n - 1) * (m - 1))
        df = max(df_of_runs, variance**2 / squares) if squares else n - 1
        error, from_examples = float(np.sqrt(variance)), float(variance - from_runs)
        return Estimate(self.mean(), error, float(df), from_runs, from_examples, n)


def interval(values: Sample | Iterable[float], confidence: float = 0.95) -> Interval:
    """The confidence interval of the mean of a sample (`Sample.estimate`), or of plain values:
    Student's t interval, x̄ ± t(1 - α/2, n - 1) · s / √n.

    One value has NaN ends, no value gives NaN throughout. Raises InputError for a NaN among the
    values: a run without a result has to be left out by name.
    """
    sample = values if isinstance(values, Sample) else Sample(pd.Series(list(values), dtype=float))
    return sample.estimate().interval(confidence)


def pm(values: Sample | Iterable[float], digits: int = 1) -> str:
    """Mean and half-width of the 95 % interval: "86.6 ± 1.2" or "−0.4 ± 1.4"; "86.6" for one value,
    "–" for none."""
    mean, low, high = interval(values)
    if np.isnan(mean):
        return "–"
    half = "" if np.isnan(high) else f" ± {(high - low) / 2:.{digits}f}"
    return f"{mean:.{digits}f}{half}".replace("-", "−")
