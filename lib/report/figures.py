"""What the figures of all studies share. They take their ink from matplotlib's settings, so that
they follow light or dark.

A scenario's colour is the study's own to choose: `colours` maps names to colours; a name that is
not there is drawn in the ink of the page.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.report.statistics import interval

PAPER = "#808080"
DIAMOND = {"marker": "D", "ms": 5.5, "mfc": "none", "mec": PAPER, "mew": 1.3, "ls": ""}
"""A paper's own number: hollow and grey."""
COMPONENTS = {
    "loss": "total loss",
    "total": "total loss",
    "soft": "soft-target loss",
    "mlm": "MLM loss",
    "hard": "MLM loss",
    "cosine": "cosine loss",
}
POINTS = 120
"""A curve of more points than this is averaged over equal stretches of steps."""
WIDTH = 6.8
"""Inches: the report's width, so that letters keep their size there."""


def ink() -> str:
    """The page's own text colour."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def layer_shade(layer: int, deepest: int):
    """A layer's colour, between violet and orange, both legible on white and on black, lighter the
    higher; the embeddings, layer 0, in the ink of the page."""
    from matplotlib import colormaps

    return colormaps["plasma"](0.38 + 0.4 * (layer - 1) / max(deepest - 1, 1)) if layer else ink()


def seeds_row(ax, values: Sequence[float], row: float, colour: str) -> None:
    """One scenario on a horizontal scale: a dot per seed, below them the mean and its 95 %
    interval."""
    mean, low, high = interval(values)
    ax.plot(values, np.full(len(values), row - 0.2), "o", ms=4, alpha=0.6, mec="none", color=colour)
    ax.plot([low, high], [row + 0.1] * 2, lw=2, solid_capstyle="butt", color=colour)
    ax.plot([mean] * 2, [row - 0.03, row + 0.23], lw=2.4, solid_capstyle="butt", color=colour)


def seeds_column(ax, values: Sequence[float], x: float, colour: str, offset: float = 1.0) -> None:
    """The same on a vertical scale at `x` (logarithmic: the dots stand at x * offset)."""
    mean, low, high = interval(values)
    ax.plot(
        np.full(len(values), x * offset), values, "o", ms=3.5, alpha=0.45, mec="none", color=colour
    )
    ax.plot([x] * 2, [low, high], lw=2, solid_capstyle="butt", color=colour)
    ax.plot(x, mean, "o", ms=5.5, mec="none", color=colour)


def legend(figure, theirs: str, *others: tuple) -> None:
    """Above the panels: what dots, bars and diamonds are. `theirs` says what the paper's numbers
    are; `others` are more (handle, label)."""
    from matplotlib.lines import Line2D

    shown = [
        (Line2D([], [], ls="", marker="o", mec="none", alpha=0.6, ms=4.5, color=ink()), "a seed"),
        (Line2D([], [], lw=2, marker="|", ms=8, mew=2.4, color=ink()), "mean, 95 % interval"),
        (Line2D([], [], **DIAMOND), theirs),
        *others,
    ]
    handles, labels = zip(*shown)
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def figure_curves(
    curves: pd.DataFrame,
    colours: Mapping[str, str],
    teachers: Sequence[str] = ("teacher", "T1", "T2"),
):
    """Training curves: a panel per loss of the students, a line per scenario, and one for the
    teachers' MLM loss.

    Columns: scenario, step, component, value. The weighted sum ("loss") is left out beside its
    parts: its weights differ between scenarios. A line has at most POINTS points, the means of
    equal stretches.
    """
    from matplotlib.lines import Line2D

    parts = curves[~curves["component"].isin(["loss", "total"])]
    parts = parts if len(parts) else curves
    teaching = parts["scenario"].isin(teachers)
    drawn = [
        (COMPONENTS.get(name, name), rows)
        for name, rows in parts[~teaching].groupby("component", sort=False)
    ]
    drawn += [
        (f"teachers: {COMPONENTS.get(name, name)}", rows)
        for name, rows in parts[teaching].groupby("component", sort=False)
    ]
    figure, axes = panels(len(drawn), row_height=2.2)
    names = list(dict.fromkeys(parts["scenario"]))
    names = [name for name in colours if name in names] + [
        name for name in names if name not in colours
    ]
    for ax, (title, rows) in zip(axes, drawn):
        for name, line in rows.groupby("scenario"):
            line = thinned(line.groupby("step", as_index=False)["value"].mean())
            ax.plot(
                line["step"],
                line["value"],
                color=colours.get(name, ink()),
                ls=_dash(name, names, colours),
                lw=1.2,
            )
        plain_axes(ax, title, grid="y")
    handles = [
        Line2D([], [], color=colours.get(n, ink()), ls=_dash(n, names, colours), lw=1.6)
        for n in names
    ]
    if handles:
        figure.legend(
            handles,
            list(map(literal, names)),
            loc="outside upper left",
            ncols=6,
            frameon=False,
            fontsize=8,
            columnspacing=1.2,
            handlelength=1.6,
        )
    figure.supxlabel("optimizer step", fontsize=9)
    return figure


def _dash(name: str, names: Sequence[str], colours: Mapping[str, str]):
    """Solid; dashed where an earlier name has the same colour, so that no two lines look the
    same."""
    same = [other for other in names if colours.get(other) == colours.get(name)]
    return ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5)))[same.index(name) % 4]


def describe_curves(curves: pd.DataFrame) -> str:
    """The figure of curves in words: where every scenario's losses end."""
    last = curves.sort_values("step").groupby(["scenario", "component"], sort=False)["value"].last()
    spoken = [
        f"{scenario} "
        + ", ".join(
            f"{COMPONENTS.get(part, part)} {value:.3g}" for (_, part), value in rows.items()
        )
        for scenario, rows in last.groupby(level="scenario", sort=False)
    ]
    return (
        f"Loss against the optimizer step, a panel a loss. At the end: "
        f"{'; '.join(spoken) or 'nothing was trained'}."
    )


def thinned(frame: pd.DataFrame) -> pd.DataFrame:
    """At most POINTS rows, each the mean of equally many neighbours: a figure needs no more."""
    size = -(-len(frame) // POINTS)
    return frame.groupby(np.arange(len(frame)) // max(size, 1)).mean()


def literal(name: object) -> str:
    """A name out of data, for a figure: a dollar in it begins no formula."""
    return str(name).replace("$", r"\$")


def panels(number: int, row_height: float, sharey: bool = False, across: int = 2):
    """A figure at the report's width and its `number` axes, `across` to a row; `row_height` in
    inches."""
    import matplotlib.pyplot as plt

    across, down = min(max(number, 1), across), max(1, -(-number // across))
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(WIDTH, row_height * down + 0.4),
        sharey=sharey,
        squeeze=False,
        layout="constrained",
    )
    plt.close(figure)  # the caller shows it; left open, a notebook would show it twice
    for ax in axes.flat[number:]:
        ax.set_visible(False)
    return figure, list(axes.flat)[:number]


def plain_axes(ax, title: str, grid: str) -> None:
    """A titled panel with a faint grid along one axis ("x" or "y") and no frame."""
    ax.set_title(title, fontsize=9.5, loc="left")
    ax.grid(False)
    ax.grid(axis=grid, alpha=0.16, lw=0.7, color=ink())
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=8.5)
    ax.spines[["top", "right"]].set_visible(False)


def leave_room_for_numbers(ax) -> None:
    """Widen the axis to the right for a column of numbers, and keep ticks below the data only."""
    from matplotlib.ticker import MaxNLocator

    low, high = ax.dataLim.intervalx if np.isfinite(ax.dataLim.intervalx).all() else (0, 100)
    span = max(high - low, 1.0)
    low, high = low - 0.05 * span, high + 0.05 * span
    ax.set_xticks(
        [
            tick
            for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
            if low <= tick <= high
        ]
    )
    ax.set_xlim(low, low + (high - low) / 0.66)


def draw_lines(
    ax, lines: pd.DataFrame, width: float, gap: float, colours: Mapping[str, str]
) -> None:
    """A line per scenario, named at its end. `lines`: index x, a column per scenario; `gap`:
    between names, in axes.

    Scenarios are drawn in the order of `colours`.
    """
    lines = lines.dropna(axis="columns", how="all")
    if lines.empty:
        return
    order = [name for name in colours if name in lines] + [
        name for name in lines if name not in colours
    ]
    for name in order:
        line = lines[name].dropna()
        ax.plot(line.index, line, color=colours.get(name, ink()), lw=width, solid_capstyle="round")
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
            "color": colours.get(name, ink()),
            "lw": 0.6,
            "alpha": 0.7,
            "shrinkA": 1,
            "shrinkB": 1,
            "relpos": (0, 0.5),
        }
        ax.annotate(
            literal(name),
            (x, y),
            xytext=(last + 0.08 * reach, height),
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops=thread,
        )
    ax.set_ylim(low, high)
    ax.set_xlim(first - 0.02 * reach, last + 0.02 * reach)


def spread(values: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions for labels: at least `gap` apart, near to the ascending `values`, within [low,
    high] if they fit."""
    placed = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    for i in reversed(
        range(len(placed))
    ):  # what was pushed above the top comes down, and pushes in turn
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < len(placed) else high)
    shift = max(0.0, low - placed[0]) if placed else 0.0
    return [position + shift for position in placed]
