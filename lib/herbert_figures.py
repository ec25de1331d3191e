"""Figures of the herbert study. They take their ink from matplotlib's settings, so that they follow light or dark."""

import numpy as np
import pandas as pd

from lib.claims import MEAN
from lib.herbert import ABOUT, PROTOCOLS, SCENARIOS, TASKS, herbert_scores, paper_scores
from lib.ledger import HERBERT_TASKS
from lib.statistics import interval, pm

COLOURS = {  # Okabe and Ito's; T1 is drawn in the ink of the page
    "S0": "#e69f00",
    "S1": "#d55e00",
    "S2": "#56b4e9",
    "S3": "#0072b2",
    "S4": "#009e73",
    "truncated": "#cc79a7",
    "T2": "#a0845c",
}
PAPER = "#808080"
COMPONENTS = {
    "loss": "total loss",
    "total": "total loss",
    "soft": "soft-target loss",
    "mlm": "MLM loss",
    "hard": "MLM loss",
    "cosine": "cosine loss",
}
WIDTH = 6.8
"""Inches: the report's width, so that letters keep their size there."""


def figure_tasks(results: pd.DataFrame, protocol: str = "final"):
    """Accuracy by scenario: a panel per task and one for their mean. Dots are seeds, bars mean and 95 % interval.

    Hollow grey diamonds are the paper's single runs (at T1 a test score). The numbers are mean ± half-width.
    """
    from matplotlib.lines import Line2D

    theirs, tasks = paper_scores(), [*HERBERT_TASKS, MEAN]
    ours = {name: herbert_scores(results, name, protocol) for name in SCENARIOS}
    shown = [name for name in SCENARIOS if len(ours[name])]
    figure, axes = _panels(len(tasks), row_height=0.55 + 0.36 * max(len(shown), 1), sharey=True)
    for ax, task in zip(axes, tasks):
        for row, name in enumerate(shown):
            values, mark = ours[name][task], {"color": _colour(name)}
            mean, low, high = interval(values)
            ax.plot(values, np.full(len(values), row - 0.2), "o", ms=4, alpha=0.6, mec="none", **mark)
            ax.plot([low, high], [row + 0.1] * 2, lw=2, solid_capstyle="butt", **mark)
            ax.plot([mean] * 2, [row - 0.03, row + 0.23], lw=2.4, solid_capstyle="butt", **mark)
            if name in theirs.index:
                ax.plot(theirs.loc[name, task], row + 0.1, "D", ms=5.5, mfc="none", mec=PAPER, mew=1.3)
            ax.text(1.0, row, pm(values), transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=8)
        _leave_room_for_numbers(ax)
        _plain(ax, TASKS.get(task, task), grid="x")
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(shown)), [f"{name}\n{ABOUT[name]}" for name in shown])
    axes[0].set_ylim(max(len(shown), 1) - 0.5, -0.5)
    for ax in axes:
        ax.tick_params(axis="y", labelsize=7.5)
    figure.supxlabel(f"accuracy in percent, {PROTOCOLS[protocol]}", fontsize=9)
    ink = {"color": _colour("T1")}
    figure.legend(
        [
            Line2D([], [], ls="", marker="o", mec="none", alpha=0.6, ms=4.5, **ink),
            Line2D([], [], lw=2, marker="|", ms=8, mew=2.4, **ink),
            Line2D([], [], ls="", marker="D", mfc="none", mec=PAPER, mew=1.3, ms=5.5),
        ],
        ["a seed", "mean, 95 % interval", "the paper: best epoch on dev; at T1 a test score"],
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
        columnspacing=1.4,
        handletextpad=0.5,
    )
    return figure


def figure_curves(curves: pd.DataFrame):
    """Training curves: a panel per loss component, a line per scenario. Columns: scenario, step, component, value."""
    components = list(dict.fromkeys(curves["component"]))
    figure, axes = _panels(len(components), row_height=2.2)
    for ax, component in zip(axes, components):
        lines = curves[curves["component"] == component].groupby(["step", "scenario"])["value"].mean().unstack()
        _draw_lines(ax, lines, width=1.2, gap=0.083)
        _plain(ax, COMPONENTS.get(component, component), grid="y")
    figure.supxlabel("optimizer step", fontsize=9)
    return figure


def figure_finetuning(epochs: pd.DataFrame):
    """Accuracy after each fine-tuning epoch, per task and for their mean. Thin lines are seeds, thick ones their mean.

    Columns: scenario, task, seed, epoch (from 1), value (percent).
    """
    from matplotlib.ticker import MaxNLocator

    wide = epochs.pivot_table(index=["scenario", "seed", "epoch"], columns="task", values="value")
    wide = wide.reindex(columns=HERBERT_TASKS)
    wide[MEAN] = wide.mean(axis=1, skipna=False)
    figure, axes = _panels(4, row_height=2.7)
    for ax, task in zip(axes, wide.columns):
        runs = wide[task].dropna()
        for (name, _), run in runs.groupby(["scenario", "seed"]):
            ax.plot(run.index.get_level_values("epoch"), run, color=_colour(name), lw=0.6, alpha=0.3)
        _draw_lines(ax, runs.groupby(["epoch", "scenario"]).mean().unstack(), width=1.8, gap=0.063)
        _plain(ax, TASKS.get(task, task), grid="y")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("accuracy in percent", fontsize=9)
    figure.supxlabel("fine-tuning epoch", fontsize=9)
    return figure


def _colour(name: str) -> str:
    from matplotlib import rcParams

    return rcParams["text.color"] if name == "T1" else COLOURS.get(name, PAPER)


def _panels(count: int, row_height: float, sharey: bool = False):
    """A figure at the report's width and its `count` axes, two to a row; `row_height` in inches."""
    import matplotlib.pyplot as plt

    across, down = min(max(count, 1), 2), max(1, -(-count // 2))
    figure, axes = plt.subplots(
        down, across, figsize=(WIDTH, row_height * down + 0.4), sharey=sharey, squeeze=False, layout="constrained"
    )
    plt.close(figure)  # the caller shows it; left open, a notebook would show it twice
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, list(axes.flat)[:count]


def _plain(ax, title: str, grid: str) -> None:
    ax.set_title(title, fontsize=9.5, loc="left")
    ax.grid(False)
    ax.grid(axis=grid, alpha=0.16, lw=0.7, color=_colour("T1"))
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=8.5)
    ax.spines[["top", "right"]].set_visible(False)


def _leave_room_for_numbers(ax) -> None:
    """Widen the axis to the right for a column of numbers, and keep ticks below the data only."""
    from matplotlib.ticker import MaxNLocator

    low, high = ax.dataLim.intervalx if np.isfinite(ax.dataLim.intervalx).all() else (0, 100)
    span = max(high - low, 1.0)
    low, high = low - 0.05 * span, high + 0.05 * span
    ax.set_xticks([tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high])
    ax.set_xlim(low, low + (high - low) / 0.66)


def _draw_lines(ax, lines: pd.DataFrame, width: float, gap: float) -> None:
    """A line per scenario, named at its end. `lines`: index x, a column per scenario; `gap`: between names, in axes."""
    lines = lines.dropna(axis="columns", how="all")
    if lines.empty:
        return
    order = [name for name in SCENARIOS if name in lines] + [name for name in lines if name not in SCENARIOS]
    for name in order:
        line = lines[name].dropna()
        ax.plot(line.index, line, color=_colour(name), lw=width, solid_capstyle="round")
    (first, last), (low, high) = ax.dataLim.intervalx, ax.get_ylim()
    reach = max(last - first, 1)
    ends = sorted(
        ((name, lines[name].dropna().index[-1], lines[name].dropna().iloc[-1]) for name in order),
        key=lambda end: end[2],
    )
    heights = spread([y for _, _, y in ends], gap * (high - low), low, high)
    for (name, x, y), height in zip(ends, heights):
        thread = {
            "arrowstyle": "-",
            "color": _colour(name),
            "lw": 0.6,
            "alpha": 0.7,
            "shrinkA": 1,
            "shrinkB": 1,
            "relpos": (0, 0.5),
        }
        ax.annotate(
            name,
            (x, y),
            xytext=(last + 0.08 * reach, height),
            va="center",
            fontsize=8,
            color=_colour(name),
            annotation_clip=False,
            arrowprops=thread,
        )
    ax.set_ylim(low, high)
    ax.set_xlim(first - 0.02 * reach, last + 0.02 * reach)


def spread(values: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions for labels: at least `gap` apart, near to the ascending `values`, within [low, high] if they fit."""
    placed = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    for i in reversed(range(len(placed))):  # what was pushed above the top comes down, and pushes in turn
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < len(placed) else high)
    shift = max(0.0, low - placed[0]) if placed else 0.0
    return [position + shift for position in placed]
