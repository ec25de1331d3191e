"""What the figures of all studies share."""

import numpy as np
import pandas as pd
import pytest

from lib.report import figures
from lib.report.statistics import interval
from tests.helpers.drawn import overlaps


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


def curves(*scenarios) -> pd.DataFrame:
    rows = [
        (name, step, part, 1 / step)
        for name in scenarios
        for step in range(1, 400)
        for part in (("mlm",) if name == "teacher" else ("loss", "mlm", "soft"))
    ]
    return pd.DataFrame(rows, columns=["scenario", "step", "component", "value"])


def test_curves_tell_scenarios_of_one_colour_apart_and_leave_the_sum_out():
    colours = {"a": "#0072b2", "b": "#d55e00", "c": "#0072b2"}
    figure = figures.figure_curves(curves("a", "b", "c", "teacher"), colours)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]
    assert titles == ["MLM loss", "soft-target loss", "teachers: MLM loss"]
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 3 and all(
        len(line.get_xdata()) <= figures.POINTS for line in figure.axes[0].lines
    )
    assert overlaps(figure) == []
    assert (
        "b total loss 0.00251, MLM loss 0.00251, soft-target loss 0.00251"
        in figures.describe_curves(curves("b"))
    )


def test_curves_of_nothing():
    nothing = pd.DataFrame(columns=["scenario", "step", "component", "value"])
    assert overlaps(figures.figure_curves(nothing, {})) == []
    assert "nothing was trained" in figures.describe_curves(nothing)


def test_a_dollar_in_a_name_begins_no_formula():
    figure = figures.figure_curves(curves("$a$b"), {})
    (key,) = figure.legends
    assert key.get_texts()[0].get_text() == r"\$a\$b" and overlaps(figure) == []


@pytest.mark.parametrize("number, across, visible", [(3, 3, 3), (3, 2, 3), (1, 2, 1), (4, 2, 4)])
def test_panels_hide_what_is_not_asked_for(number, across, visible):
    figure, axes = figures.panels(number, row_height=1, across=across)
    assert len(axes) == number and sum(ax.get_visible() for ax in figure.axes) == visible
    assert figure.get_size_inches()[0] == figures.WIDTH
