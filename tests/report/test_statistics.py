"""Intervals and exact tests agree with scipy; intervals over runs and test examples agree with an
analysis of variance written out, with a bootstrap of both, and cover what they promise to."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from lib.common.errors import InputError
from lib.report.statistics import (
    FEWEST,
    Estimate,
    Sample,
    Spread,
    interval,
    pm,
    spread_of,
)
from lib.tasks.metrics import example_scores

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_is_scipys(n, confidence):
    values = RANDOM.normal(80, 2, n)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert interval(values, confidence) == pytest.approx((values.mean(), theirs.low, theirs.high))


def test_interval_of_one_or_no_value():
    mean, low, high = interval([86.6])
    assert mean == 86.6 and np.isnan([low, high]).all()
    assert np.isnan(interval([])).all()


def test_a_nan_is_refused():
    with pytest.raises(InputError):
        interval([1.0, float("nan")])


def test_pm():
    assert pm([85.6, 86.6, 87.6]) == "86.6 ± 2.5"
    assert pm([86.61]) == "86.6" and pm([-0.4]) == "−0.4"
    assert pm([]) == "–"
    assert pm([1.0, 1.5], digits=2) == "1.25 ± 3.18"


# ------------------------------------------------------------------------ runs and test examples


def sample_of(runs=None, **sets):
    """A sample of these arrays [runs, examples] by test set."""
    values = sum(array.mean(axis=1) for array in sets.values())
    return Sample(pd.Series(values, index=runs), sets)


def made_up(runs, examples, of_runs=1.0, of_examples=1.0, error=1.0, random=RANDOM):
    """An array [runs, examples] with effects of this spread."""
    return (
        80
        + random.normal(0, of_runs, (runs, 1))
        + random.normal(0, of_examples, examples)
        + random.normal(0, error, (runs, examples))
    )


def mean_squares(d):
    """The mean squares of runs, examples and error, written out cell by cell."""
    n, m = d.shape
    runs = sum(m * (d[r].mean() - d.mean()) ** 2 for r in range(n)) / (n - 1)
    examples = sum(n * (d[:, e].mean() - d.mean()) ** 2 for e in range(m)) / (m - 1)
    error = sum(
        (d[r, e] - d[r].mean() - d[:, e].mean() + d.mean()) ** 2 for r in range(n) for e in range(m)
    ) / ((n - 1) * (m - 1))
    return runs, examples, error


def test_one_test_set_is_the_two_way_analysis_of_variance():
    d = made_up(4, 30)
    n, m = d.shape
    runs, examples, error = mean_squares(d)
    variance = (runs + examples - error) / (n * m)
    parts = runs**2 / (n - 1) + examples**2 / (m - 1) + error**2 / ((n - 1) * (m - 1))
    df = (variance * n * m) ** 2 / parts
    estimate = sample_of(task=d).estimate()
    assert estimate[:3] == pytest.approx((d.mean(), np.sqrt(variance), df))
    assert estimate.from_runs + estimate.from_examples == pytest.approx(variance)
    half = stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert estimate.interval() == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))
    assert interval(sample_of(task=d)) == estimate.interval()


def test_several_test_sets_add_up_and_share_their_runs():
    """Sets of 20 and 50 examples; what a run does to one it does to the other."""
    a, b = made_up(5, 20), made_up(5, 50)
    b += 3 * (a.mean(axis=1, keepdims=True) - a.mean())
    values = a.mean(axis=1) + b.mean(axis=1)
    variance = values.var(ddof=1) / 5
    parts = variance**2 / 4
    for d in (a, b):
        _, examples, error = (square / d.size for square in mean_squares(d))
        variance += examples - error
        parts += examples**2 / (d.shape[1] - 1) + error**2 / (4 * (d.shape[1] - 1))
    expected = values.mean(), np.sqrt(variance), variance**2 / parts
    assert sample_of(a=a, b=b).estimate()[:3] == pytest.approx(expected)


def test_without_examples_or_where_they_matter_not_it_is_students_interval():
    values = RANDOM.normal(80, 2, 5)
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    expected = pytest.approx((values.mean(), theirs.low, theirs.high))
    assert interval(Sample(pd.Series(values))) == expected
    alike = np.repeat(values[:, None], 40, axis=1)
    assert interval(sample_of(task=alike)) == expected
    assert interval(sample_of(task=values[:, None])) == expected  # a set of one example
    # Examples that vary less than by error have a component below zero, which is taken as zero.
    opposite = alike + np.outer([1, -1, 1, -1, 0], np.tile([1, -1], 20))
    assert interval(sample_of(task=opposite)) == expected


def test_p_and_the_smallest_detectable_difference():
    values = RANDOM.normal(0.5, 1, 6)
    estimate = Sample(pd.Series(values)).estimate()
    assert estimate.p() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert estimate.p(edge=1) == pytest.approx(stats.ttest_1samp(values, 1).pvalue)
    assert estimate.p(estimate.interval().low) == pytest.approx(0.05)
    assert Estimate(0, 2, 1e9).detectable() == pytest.approx(2 * (1.95996 + 0.84162), abs=1e-4)
    error, df = estimate.standard_error, estimate.df
    expected = (stats.t.ppf(0.995, df) + stats.t.ppf(0.9, df)) * error
    assert estimate.detectable(power=0.9, alpha=0.01) == pytest.approx(expected)


def test_one_run_or_none_or_runs_that_do_not_vary():
    one = sample_of(task=made_up(1, 30))
    assert interval(one).mean == one.mean() and np.isnan(interval(one)[1:]).all()
    none = Sample(pd.Series(dtype=float))
    assert none.empty and np.isnan(interval(none)).all() and pm(none) == "–"
    constant = sample_of(task=np.full((3, 10), 50.0)).estimate()
    assert constant.interval() == (50, 50, 50)
    for estimate in (one.estimate(), none.estimate(), constant):
        assert np.isnan(estimate.p(0)) and np.isnan(estimate.detectable())


def test_samples_are_subtracted_on_the_runs_and_examples_that_both_have():
    a, b, c = made_up(3, 10), made_up(3, 10), made_up(3, 7)
    first, second = sample_of(runs=[0, 1, 2], t=a, only=c), sample_of(runs=[1, 2, 5], t=b)
    difference = first - second
    assert list(difference.index) == [1, 2]
    assert difference.examples["t"] == pytest.approx(a[1:] - b[:2])
    assert difference.examples["only"] == pytest.approx(c[1:])
    assert (second - first).examples["only"] == pytest.approx(-c[1:])
    total = first + second
    assert list(total) == pytest.approx([*a[1:].mean(1) + c[1:].mean(1) + b[:2].mean(1)])
    assert interval(first - first) == (0, 0, 0)


def test_numbers_scale_and_shift_a_sample():
    sample = sample_of(a=made_up(3, 10), b=made_up(3, 5))
    for double in (2 * sample, sample * np.float64(2), np.float64(2) * sample, sample / 0.5):
        assert list(double) == pytest.approx([2 * value for value in sample])
        assert double.estimate().standard_error == pytest.approx(
            2 * sample.estimate().standard_error
        )
    assert list(-sample) == [-value for value in sample]
    above_chance = sample - 50
    assert above_chance.estimate() == pytest.approx(
        (sample.mean() - 50, *sample.estimate()[1:]), rel=1e-6
    )


def test_a_sample_without_examples_leaves_an_interval_over_runs():
    with_examples, without = sample_of(t=made_up(4, 10)), Sample(pd.Series(RANDOM.normal(9, 1, 4)))
    for result in (with_examples - without, without + with_examples, with_examples / without):
        assert not result.examples and len(result) == 4
        assert interval(result) == pytest.approx(interval(list(result)))


def test_shares_are_taken_run_by_run_without_runs_that_divide_by_zero():
    students, teachers = np.array([40.0, 70, 60]), np.array([0.0, 80, 90])
    share = sample_of(t=np.tile(students, (6, 1)).T) / sample_of(t=np.tile(teachers, (6, 1)).T)
    assert share.values.to_dict() == pytest.approx({1: 70 / 80, 2: 60 / 90})


def test_a_share_of_almost_nothing_is_no_error():
    """What examples contribute is kept in single precision."""
    kept = made_up(3, 12).astype(np.float32).astype(float)
    values = pd.Series(kept.mean(axis=1) * (1 + 3e-8))
    whole = Sample(values, {"t": kept}) - (values.mean() - 1e-3)
    assert len(100 * (Sample(values, {"t": kept}) / whole) - 100) == 3


def test_the_error_of_a_share_is_that_of_simulated_shares():
    """Student and teacher err on the same examples of two test sets, whose mean is the score."""
    random = np.random.default_rng(1)

    def world():
        hard, runs = random.normal(0, 20, (2, 100)), random.normal(0, 1, (4, 1))
        student = [70 + set_ + runs + random.normal(0, 8, (4, 100)) for set_ in hard]
        teacher = [85 + 0.8 * set_ + random.normal(0, 8, (4, 100)) for set_ in hard]
        return [0.5 * sample_of(a=scores[0], b=scores[1]) for scores in (student, teacher)]

    shares = [100 * (student / teacher) for student, teacher in (world() for _ in range(400))]
    spread = np.std([share.mean() for share in shares])
    claimed = np.sqrt(np.mean([share.estimate().standard_error ** 2 for share in shares]))
    assert claimed == pytest.approx(spread, rel=0.08)  # a spread of 400 is known to 3.5 %


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Sample(pd.Series([1.0, np.nan])), InputError, "NaN; leave out the runs"),
        (lambda: Sample(pd.Series([1.0, 2.0], index=[1, 1])), InputError, "run 1 occurs twice"),
        (lambda: Sample(pd.Series([1.0, 2.0], index=[2, 1])), ValueError, "ascend"),
        (lambda: Sample(pd.Series([1.0]), {"t": np.ones((2, 3))}), ValueError, "row per run"),
        (
            lambda: Sample(pd.Series([1.5]), {"t": np.ones((1, 3))}).adding_up(),
            ValueError,
            "add up",
        ),
        (
            lambda: sample_of(t=made_up(2, 3)) - sample_of(t=made_up(2, 4)),
            InputError,
            "'t' has 3 examples on one side and 4 on the other",
        ),
    ],
)
def test_samples_that_make_no_sense_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -------------------------------------------------------------------------------------- coverage


def accuracies(random, runs, examples, of_example, of_run):
    """What each example adds to the difference of two systems of equal accuracy, [runs, examples].

    An answer is right if its margin is positive: that of the example, which both systems see; how
    well the system does on the example whatever the run (spread `of_example`); how well the run
    does (spread `of_run`); chance.
    """
    shared = 1.2 + random.standard_normal(examples, dtype=np.float32)
    right = [
        shared
        + of_example * random.standard_normal(examples, dtype=np.float32)
        + of_run * random.standard_normal((runs, 1), dtype=np.float32)
        + 0.5 * random.standard_normal((runs, examples), dtype=np.float32)
        > 0
        for _ in range(2)
    ]
    return 100.0 * (right[0].astype(float) - right[1])


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize(
    "dominates, examples, of_example, of_run",
    [("examples", 400, 0.8, 0.03), ("runs", 2000, 0.2, 0.09)],
)
def test_coverage(dominates, examples, of_example, of_run, runs):
    """Intervals at 95 % cover the true difference, zero, in 93 to 97 % of simulated comparisons;
    an interval over runs alone does not where examples dominate.

    Its half-width then shrinks with the number of runs, as if the examples were not a sample.
    """
    random, worlds = np.random.default_rng(runs), 1000
    covered = over_runs = 0
    for _ in range(worlds):
        sample = sample_of(task=accuracies(random, runs, examples, of_example, of_run))
        _, low, high = interval(sample)
        covered += low <= 0 <= high
        _, low, high = interval(Sample(sample.values))
        over_runs += low <= 0 <= high
    assert 0.93 <= covered / worlds <= 0.97
    if dominates == "examples" and runs == 5:
        assert over_runs / worlds < 0.9


# ------------------------------------------------------------------- variance shared between runs


def test_many_variances_give_the_spread_they_are_drawn_of():
    """Of very many comparisons the estimate is Smyth's, and that is the truth."""
    random = np.random.default_rng(4)
    true = 2.5 * 6 / random.chisquare(6, 100_000)  # 1 / σ² is χ²_6 / (6 · 2.5)
    df = random.choice([2, 4], len(true))
    variance, shared_df = spread_of(true * random.chisquare(df) / df, df)
    assert variance == pytest.approx(2.5, rel=0.02)
    assert 5.7 < shared_df < 6, "a little cautious"


def test_the_spread_solves_smyths_equations():
    """His section 6.2 written out, and the upper limit of the scatter in the place of d₀'s."""
    variances, d = np.array([0.2, 9.0, 1.5, 0.4, 30.0, 2.0, 0.9, 6.0]), 4
    z = np.log(variances)
    e = z - special.psi(d / 2) + np.log(d / 2)
    scatter = ((e - e.mean()) ** 2).sum() / 7

    def solved(trigamma):
        return optimize.brentq(lambda d0: special.polygamma(1, d0 / 2) - trigamma, 1e-3, 1e3)

    d0 = solved(scatter - special.polygamma(1, d / 2))
    s02 = np.exp(e.mean() + special.psi(d0 / 2) - np.log(d0 / 2))
    cautious = solved(scatter * (1 + 1.645 * np.sqrt(2 / 7)) - special.polygamma(1, d / 2))
    assert spread_of(variances, [d] * 8) == pytest.approx((s02, cautious))
    assert cautious < d0


def test_a_sample_with_a_spread_takes_its_variance_and_degrees_of_freedom():
    values, spread = pd.Series([1.0, 1.2, 1.4]), Spread(variance=0.3, df=4)
    shared = Sample(values, spread=spread).estimate()
    variance = (4 * 0.3 + 2 * 0.04) / 6
    assert shared == pytest.approx((1.2, np.sqrt(variance / 3), 6, variance / 3, 0, 3))
    # Never less than its own; as before where nothing is known.
    wide = Sample(values, spread=Spread(variance=0.001, df=4)).estimate()
    assert (wide.from_runs, wide.df) == (pytest.approx(0.04 / 3), 6)
    assert Sample(values, spread=Spread()).estimate() == Sample(values).estimate()
    # Examples keep their part.
    own = sample_of(t=made_up(3, 40))
    both = Sample(own.values, own.examples, spread).estimate()
    assert both.from_examples == pytest.approx(own.estimate().from_examples)
    # Arithmetic drops it, but for the sign.
    assert (-Sample(values, spread=spread)).spread == spread
    assert (Sample(values, spread=spread) - 1).spread == Spread() == Spread(0, 0)


def test_nothing_is_learnt_of_few_comparisons_and_nothing_shared_without_own_variance():
    assert spread_of([1.0] * (FEWEST - 1), [2] * (FEWEST - 1)) == Spread()
    equal = spread_of([1.0] * 10, [2] * 10)  # less scatter than by chance: as much as is allowed
    assert equal == pytest.approx((np.exp(np.euler_gamma), 10))
    spread = Spread(1.0, 4)
    alike = Sample(pd.Series([2.0, 2.0, 2.0]), spread=spread)
    assert interval(alike) == (2, 2, 2) and np.isnan(alike.estimate().p())
    for few in ([], [2.0]):
        sample = Sample(pd.Series(few, dtype=float), spread=spread)
        assert np.isnan(interval(sample)[1:]).all()


TRUE_VARIANCES = {
    "of the model": lambda random, n: 4 / random.chisquare(4, n),
    "equal": lambda random, n: np.ones(n),
    "a quarter of 25": lambda random, n: np.where(random.permutation(n) < n / 4, 25.0, 1.0),
    "log-normal": lambda random, n: np.exp(random.normal(0, 1, n)),
}


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("true", TRUE_VARIANCES)
def test_shared_variances_keep_what_intervals_and_holm_promise(true, runs):
    """Twenty comparisons, of which groups of five share a scenario, and none differs from zero.
    Intervals at 95 % cover it in 93 to 97 %, in 90 % or more where the variance is among the
    largest quarter. Holm at 5 % decides any in about 5 % of the worlds, and of differences of ten
    standard errors it decides many more than with each comparison's own variance."""
    random, df, comparisons, worlds = np.random.default_rng(runs), runs - 1, 20, 1500
    t, df_of_t, own_t, large = [], [], [], []
    for _ in range(worlds):
        variances = TRUE_VARIANCES[true](random, comparisons)
        group = random.normal(size=(comparisons // 5, runs)).repeat(5, axis=0)
        values = group + random.normal(size=(comparisons, runs))
        values *= np.sqrt(variances / 2)[:, None]
        own = values.var(axis=1, ddof=1)
        spread = spread_of(own, np.full(comparisons, df))
        shared = np.array([spread.shared(variance, df)[0] for variance in own])
        errors = np.sqrt(np.array([variances, shared, own]) / runs)
        t.append(np.stack([values.mean(axis=1), 10 * errors[0]]) / errors[1])
        own_t.append(10 * errors[0] / errors[2])
        df_of_t.append(df + spread.df)
        large.append(variances >= np.quantile(variances, 0.75))
    of_zero, of_ten = np.moveaxis(2 * stats.t.sf(abs(np.array(t)).T, df_of_t).T, 1, 0)
    assert 0.93 <= (of_zero > 0.05).mean() <= 0.97
    assert (of_zero > 0.05)[np.array(large)].mean() >= 0.9
    assert (of_zero.min(axis=1) < 0.05 / comparisons).mean() <= 0.065, "Holm's first step"
    found = [(p < 0.05 / comparisons).mean() for p in (of_ten, 2 * stats.t.sf(own_t, df))]
    assert found[0] > 0.7 and found[0] > found[1]
    if runs == 3:
        assert found[0] > 2 * found[1]


# ------------------------------------------------------------------------------- Multi-Bootstrap


def multi_bootstrap(metric, a, b, labels, random, draws=2000):
    """The standard error of the mean over runs of metric(a) - metric(b), by the Multi-Bootstrap.

    Runs and examples are drawn anew together, the same ones for both systems (Sellam et al. 2021);
    the spread is widened by √(n / (n - 1)) for the n runs. a, b: answers [runs, examples].
    metric(answers [runs, examples], labels, counts [examples]): a value per run, each example
    counted as often as it was drawn.
    """
    n, m = a.shape
    results = []
    for _ in range(draws):
        counts = np.bincount(random.integers(0, m, m), minlength=m)
        by_run = metric(a, labels, counts) - metric(b, labels, counts)
        results.append(by_run[random.integers(0, n, n)].mean())
    return np.std(results, ddof=1) * np.sqrt(n / (n - 1))


def confusion(answers, labels, counts):
    """True positives, false positives, false negatives, true negatives, each [runs]."""
    cells = [(1, 1), (1, 0), (0, 1), (0, 0)]
    return [((answers == answer) & (labels == label)) @ counts for answer, label in cells]


def accuracy(answers, labels, counts):
    return 100 * (answers == labels) @ counts / counts.sum()


def f1(answers, labels, counts):
    tp, fp, fn, _ = confusion(answers, labels, counts)
    return 100 * 2 * tp / (2 * tp + fp + fn)


def matthews(answers, labels, counts):
    tp, fp, fn, tn = (cell.astype(float) for cell in confusion(answers, labels, counts))
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return 100 * (tp * tn - fp * fn) / np.sqrt(margins)


def two_systems(random, of_example, of_run, runs=12, examples=600):
    """Labels and two systems' answers, 0 or 1, [runs, examples]; the second one is worse."""
    labels = (random.random(examples) < 0.35).astype(int)
    shared = 1.2 + random.normal(size=examples)
    systems = []
    for level in (0.0, -0.3):
        margin = (
            shared
            + level
            + of_example * random.normal(size=examples)
            + of_run * random.normal(size=(runs, 1))
            + 0.3 * random.normal(size=(runs, examples))
        )
        systems.append(np.where(margin > 0, labels, 1 - labels))
    return labels, *systems


NOISES = {"examples dominate": (1.0, 0.03), "runs dominate": (0.1, 0.3)}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("metric", [accuracy, f1, matthews])
def test_the_error_is_that_of_the_multi_bootstrap(metric, noise):
    """To 10 %: drawing twelve runs of twelve and 600 examples of 600 is itself rough, the bootstrap
    counts what is left as error up to three times (Owen 2007), and its spread is known to 2 %."""
    random = np.random.default_rng(2)
    labels, a, b = two_systems(random, *NOISES[noise])
    ours, theirs = (
        sample_of(task=np.array([example_scores(metric.__name__, run, labels) for run in answers]))
        for answers in (a, b)
    )
    estimate = (ours - theirs).estimate()
    once = np.ones(len(labels))
    difference = metric(a, labels, once).mean() - metric(b, labels, once).mean()
    assert estimate.mean == pytest.approx(difference)
    bootstrap = multi_bootstrap(metric, a, b, labels, random)
    assert estimate.standard_error == pytest.approx(bootstrap, rel=0.1)


def test_shares_of_almost_nothing_are_no_error():
    """Nor are those of what is 0 but for rounding, as all examples right less all right."""
    score = Sample(pd.Series([30.0, 40.0]), {"task": np.array([[0.0, 60], [20, 60]])})
    nothing = Sample(pd.Series([1e-14, 1e-6]), {"task": np.full((2, 2), 1e-6)})
    share = score / nothing
    assert list(share.index) == [1] and share.mean() == pytest.approx(4e7)
