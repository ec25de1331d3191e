"""Scores against the number of labelled examples, for a study that fine-tunes the same models on
several."""

from collections.abc import Mapping

import pandas as pd

from lib.report import tables
from lib.report.declaration import Declaration
from lib.report.figures import draw_means, ink, literal, panels, plain_axes
from lib.report.results import Results


def curves(study: Declaration, results: Results, scores: pd.DataFrame) -> pd.DataFrame:
    """The runs of every model that was fine-tuned on several numbers of examples; empty without
    one.

    `scores`: rows of one protocol. Columns as in `lib.report.tables.runs_frame`, and `labels`, the
    number of examples, and `model`, the scenario with the most of them.
    """
    labels, scenarios = {}, {}
    for name, stage in results.by_scenario("finetune", study.name).items():
        number = stage["parameters"]["train_examples"]
        if isinstance(number, int) and number:  # 0 stands for all
            labels[name] = number
            scenarios.setdefault(stage["parameters"]["model"], []).append(name)
    model = {
        name: max(own, key=labels.get)
        for own in scenarios.values()
        if len({labels[name] for name in own}) > 1
        for name in own
    }
    order = [name for name in tables.scenarios_of(study, scores) if name in model]
    if not order:
        return pd.DataFrame()
    frame = tables.runs_frame(study, scores, order, tables.columns_of(study, scores))
    scenario = frame["scenario"]
    return frame.assign(labels=scenario.map(labels), model=scenario.map(model))


def figure(curves: pd.DataFrame, labels: Mapping[str, str], colours: Mapping[str, str]):
    """A panel per score, a line per model through its means, with their intervals. `labels` and
    `colours` by scenario."""
    columns = list(curves["column"].unique())
    drawn, axes = panels(len(columns), row_height=2.2, across=3)
    counts = sorted(curves["labels"].unique())
    for ax, column in zip(axes, columns):
        panel = curves[curves["column"] == column]
        for place, (name, runs) in enumerate(panel.groupby("model", sort=False)):
            beside = runs.assign(labels=runs["labels"] * 1.06**place)  # bars do not hide each other
            draw_means(ax, beside, "labels", colours.get(name, ink()))
        ax.set_xscale("log")
        ax.set_xticks(counts, [f"{count:,}" for count in counts])
        ax.minorticks_off()
        plain_axes(ax, literal(column), grid="y")
    drawn.supxlabel("labelled examples of each task", fontsize=9)
    drawn.supylabel("score in percent", fontsize=9)
    names = list(curves["model"].unique())
    drawn.legend(
        axes[0].containers,
        [literal(labels.get(name) or name) for name in names],
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    return drawn


def describe(curves: pd.DataFrame) -> str:
    """The figure in words: the means of every model by the number of examples."""
    means = curves.groupby(["column", "model", "labels"], sort=False)["value"].mean()
    parts = []
    for (column, model), own in means.groupby(level=["column", "model"], sort=False):
        values = ", ".join(f"{labels} {value:.1f}" for (*_, labels), value in own.items())
        parts.append(f"{column}, {model}: {values}")
    return f"Scores in percent by the number of labelled examples. {'; '.join(parts)}."
