"""What the figures of all studies share."""

import numpy as np
import pytest

from lib import figures
from lib.statistics import interval


def test_labels_keep_their_distance():
    placed = figures.spread([1.0, 1.1, 1.2, 9.9, 10.0], gap=0.5, low=0, high=10)
    assert min(np.diff(placed)) >= 0.5 - 1e-9 and placed[-1] <= 10 and placed[0] >= 0
    assert figures.spread([], 1, 0, 1) == []


def test_a_row_shows_every_seed_and_the_interval():
    figure, (ax,) = figures.panels(1, row_height=1)
    values = [70.0, 72.0, 75.0]
    figures.seeds_row(ax, values, 3, "#0072b2")
    dots, bar, tick = ax.lines
    assert dots.get_xdata().tolist() == values and set(dots.get_ydata()) == {2.8}
    assert tuple(bar.get_xdata()) == pytest.approx(interval(values)[1:])
    assert set(tick.get_xdata()) == {interval(values).mean}


def test_a_column_is_the_same_upright():
    figure, (ax,) = figures.panels(1, row_height=1)
    figures.seeds_column(ax, [70.0, 72.0, 75.0], 10, "#0072b2", offset=0.8)
    dots, bar, mean = ax.lines
    assert set(dots.get_xdata()) == {8.0} and dots.get_ydata().tolist() == [70.0, 72.0, 75.0]
    assert tuple(bar.get_ydata()) == pytest.approx(interval([70.0, 72.0, 75.0])[1:])
    assert mean.get_ydata() == [interval([70.0, 72.0, 75.0]).mean]


@pytest.mark.parametrize("number, across, visible", [(3, 3, 3), (3, 2, 3), (1, 2, 1), (4, 2, 4)])
def test_panels_hide_what_is_not_asked_for(number, across, visible):
    figure, axes = figures.panels(number, row_height=1, across=across)
    assert len(axes) == number and sum(ax.get_visible() for ax in figure.axes) == visible
    assert figure.get_size_inches()[0] == figures.WIDTH
