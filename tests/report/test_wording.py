"""Sentences claim no more than an interval allows."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.report import wording
from lib.report.statistics import Interval, Sample, interval
from lib.report.wording import (
    by_side,
    conclusion,
    decided,
    listed,
    number_of,
    quoted,
    signed,
    signed_pm,
    with_interval,
)


def test_numbers():
    assert signed(-0.25, 2) == "−0.25" and signed(3) == "+3.0"
    assert with_interval(Interval(1, 0.5, 1.5)) == "+1.0 [+0.5, +1.5]"
    assert with_interval(Interval(1, np.nan, np.nan)) == "+1.0"
    assert number_of(1, "seed") == "1 seed" and number_of(5, "seed") == "5 seeds"


@pytest.mark.parametrize(
    "values, words, side",
    [
        ([1.0, 1.1, 0.9], "a is better", 1),
        ([-1.0, -1.1, -0.9], "a is worse", -1),
        ([-1.0, 1.1, 0.1], "cannot be told apart", 0),
        ([1.0], "nothing is concluded", 0),
        ([1.0, 1.0, 1.0], "too few distinct values", 0),
    ],
)
def test_a_conclusion_goes_as_far_as_the_interval(values, words, side):
    assert words in conclusion(interval(values), "a", "b")
    assert decided(pd.Series(values)) == side


def test_differences_in_words():
    def sample(*values):
        return Sample(pd.Series(values, dtype=float).rename_axis("seed"))

    better, open_one, single = sample(1.0, 1.1, 0.9, 1.0, 1.2), sample(-1.0, 1.1, 0.1), sample(1)
    assert signed_pm(better) == "+1.0 ± 0.1" and signed_pm(single) == "+1.0"
    p = stats.ttest_1samp(list(better), 0).pvalue
    assert wording.tested(better) == f"5 seeds; p = {p:.2g}"
    assert wording.tested(open_one).startswith("3 seeds; p = 0.9")
    assert wording.tested(single) == "1 seed"
    sides = {"A": better, "B": open_one, "C": -better, "D": better, "E": sample()}
    assert by_side(sides) == "better on A and D; worse on C; undecided on B"
    assert by_side(sides, "a gain", "a loss").startswith("a gain on A and D; a loss on C")


def test_lists_and_the_papers_numbers():
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert quoted("−2.96") == "*−2.96*†"
