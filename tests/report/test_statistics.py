"""Intervals and exact tests agree with scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.common.errors import InputError
from lib.report.statistics import (
    interval,
    paired_difference,
    paired_differences,
    pm,
    sign_flip_p,
    smallest_p,
)

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


def test_paired_difference_is_scipys_and_pairs_by_seed():
    a = pd.Series(RANDOM.normal(85, 2, 6), index=range(6))
    b = a.sample(frac=1, random_state=0) - RANDOM.normal(1, 0.5, 6)
    theirs = stats.ttest_rel(a, b.sort_index()).confidence_interval()
    assert paired_difference(a, b) == pytest.approx(((a - b).mean(), theirs.low, theirs.high))


def test_seeds_of_one_side_only_are_left_out():
    assert paired_differences(
        {0: 3.0, 1: 5.0, 2: float("nan")}, {1: 1.0, 2: 2.0, 7: 9.0}
    ).to_dict() == {1: 4.0}


def test_a_seed_that_occurs_twice_is_refused():
    with pytest.raises(InputError, match="seed 1 occurs twice"):
        paired_differences(pd.Series([1.0, 2.0], index=[1, 1]), {1: 0.0})


@pytest.mark.parametrize("n", [2, 5, 8])
def test_sign_flip_is_scipys(n):
    d = RANDOM.normal(0.4, 1, n)
    theirs = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d) == pytest.approx(theirs.pvalue)


def test_the_floor_of_the_sign_flip_test():
    assert smallest_p(5) == 0.0625 == sign_flip_p([0.1, 0.7, 0.2, 0.3, 0.1])
    assert smallest_p(1) == 1.0 == sign_flip_p([3.0])
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert np.isnan(smallest_p(0)) and np.isnan(sign_flip_p([]))


def test_many_seeds_are_tested_on_a_sample_of_sign_patterns():
    differences = RANDOM.normal(0.3, 1, 21)
    p = sign_flip_p(differences)
    assert p == sign_flip_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.05)


def test_pm():
    assert pm([85.6, 86.6, 87.6]) == "86.6 ± 2.5"
    assert pm([86.61]) == "86.6"
    assert pm([]) == "–"
    assert pm([1.0, 1.5], digits=2) == "1.25 ± 3.18"
