"""Sentences claim no more than an interval allows."""

import numpy as np
import pandas as pd
import pytest

from lib.statistics import Interval, interval
from lib.wording import conclusion, decided, number_of, signed, with_interval


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
