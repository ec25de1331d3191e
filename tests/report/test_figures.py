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


def scores(scenarios, columns, seeds=3) -> pd.DataFrame:
    rows = [
        (name, column, seed, 70 + 5 * i + 2 * j + seed)
        for i, name in enumerate(scenarios)
        for j, column in enumerate(columns)
        for seed in range(seeds)
    ]
    frame = pd.DataFrame(rows, columns=["scenario", "column", "run", "value"])
    ends = frame.groupby(["scenario", "column"])["value"].transform
    return frame.assign(
        low=ends(lambda runs: interval(runs).low), high=ends(lambda runs: interval(runs).high)
    )


def lines_with(ax, marker: str) -> list:
    return [line for line in ax.lines if line.get_marker() == marker]


def test_rows_of_runs_shows_every_seed_the_interval_and_the_paper():
    ours = scores(["b", "a"], ["NER", "mean"])
    printed = pd.DataFrame({"scenario": ["a", "x"], "column": "NER", "value": [71.5, 50.0]})
    figure = figures.rows_of_runs(
        ours, ["a", "b", "c"], {"a": "A"}, {"a": "#0072b2"}, printed, xlabel="percent"
    )
    ax, mean = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A", "b"]
    assert [ax.get_title(loc="left"), mean.get_title(loc="left")] == ["NER", "mean"]
    dots = np.concatenate([np.asarray(dots.get_offsets()) for dots in ax.collections])
    assert sorted(dots[:, 0]) == [70, 71, 72, 75, 76, 77]
    assert set(dots[dots[:, 0] > 74, 1].round(6)) == {-0.2}  # a is the first row
    expected = {tuple(np.round(interval(v)[1:], 6)) for v in ([70, 71, 72], [75, 76, 77])}
    ends = {tuple(np.round(line.get_xdata(), 6)) for line in ax.lines if len(line.get_xdata()) == 2}
    assert expected <= ends
    (diamond,) = lines_with(ax, "D")
    assert diamond.get_xdata().tolist() == [71.5] and len(lines_with(mean, "D")[0].get_xdata()) == 0
    assert f"76.0 ± {interval([75, 76, 77]).high - 76:.1f}" in [t.get_text() for t in ax.texts]
    assert overlaps(figure) == []
    words = figures.describe_rows(ours, ["a", "b"], {"a": "A"})
    assert "A: NER 76.0, mean 78.0; b: NER 71.0" in words


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_rows_of_few_seeds(seeds):
    ours = scores(["a", "b"], ["x", "y", "z"], seeds)
    figure = figures.rows_of_runs(ours, ["a", "b"], {}, {}, xlabel="percent")
    assert overlaps(figure) == []
    assert sum(ax.get_visible() for ax in figure.axes) == 3 * bool(seeds)


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
    figure = figures.figure_curves(curves("a", "b", "c", "teacher"), colours, {}, {"teacher"})
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]
    assert titles == ["MLM", "soft targets", "teachers: MLM"]
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 3 and all(
        len(line.get_xdata()) <= figures.POINTS for line in figure.axes[0].lines
    )
    assert overlaps(figure) == []
    assert "b total loss 0.00251, MLM 0.00251, soft targets 0.00251" in figures.describe_curves(
        curves("b")
    )


def test_the_names_of_many_curves_stay_inside():
    names = [f"relations_{number}" for number in range(22)]
    frame = curves(*names).replace({"component": {"mlm": "hidden", "soft": "hidden_1"}})
    labels = {name: f"relations from some half, start {name[-2:]}" for name in names[1:]}
    figure = figures.figure_curves(frame, {}, labels)
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()] == [
        "hidden outputs"
    ]
    assert overlaps(figure) == []
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()[:2]] == ["relations_0", labels[names[1]]]
    assert key.get_window_extent().x1 <= figure.bbox.x1
    assert figure.axes[0].get_window_extent().height > figure.dpi


def test_curves_of_nothing():
    nothing = pd.DataFrame(columns=["scenario", "step", "component", "value"])
    assert overlaps(figures.figure_curves(nothing, {}, {})) == []
    assert "nothing was trained" in figures.describe_curves(nothing)


def test_a_dollar_in_a_name_begins_no_formula():
    figure = figures.figure_curves(curves("$a$b"), {}, {})
    (key,) = figure.legends
    assert key.get_texts()[0].get_text() == r"\$a\$b" and overlaps(figure) == []


@pytest.mark.parametrize("number, across, visible", [(3, 3, 3), (3, 2, 3), (1, 2, 1), (4, 2, 4)])
def test_panels_hide_what_is_not_asked_for(number, across, visible):
    figure, axes = figures.panels(number, row_height=1, across=across)
    assert len(axes) == number and sum(ax.get_visible() for ax in figure.axes) == visible
    assert figure.get_size_inches()[0] == figures.WIDTH
