"""Figures that all studies share, and the helpers to draw others like them.

Text and lines take their colour from matplotlib's settings, so that a figure follows light or dark.
`colours` maps scenarios to colours; a scenario without one is drawn in the colour of the text.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.training.parameters import LOSSES

PAPER = "#808080"
DIAMOND = {"marker": "D", "ms": 5.5, "mfc": "none", "mec": PAPER, "mew": 1.3, "ls": ""}
"""A paper's own number: hollow and grey."""
CONTROL_LINE = {"color": PAPER, "ls": ":", "lw": 1, "zorder": 0}
COMPONENTS = {"loss": "total loss"} | {name: loss.title for name, loss in LOSSES.items()}
"""The parts of a loss, as a training's history names them and as figures do."""
DASHES = ("", (4, 1.5), (1, 1), (4, 1.5, 1, 1.5), (9, 1.5))
"""Line styles, for scenarios that share a colour."""
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


def legend(figure, printed: str, *others: tuple) -> None:
    """Explain dots, bars and diamonds above the panels.

    printed: what the paper's numbers are; "" leaves the diamonds out. others: more (handle, label).
    """
    from matplotlib.lines import Line2D

    entries = [
        (Line2D([], [], ls="", marker="o", mec="none", alpha=0.6, ms=4.5, color=ink()), "a run"),
        (Line2D([], [], lw=2, marker="|", ms=8, mew=2.4, color=ink()), "mean, 95 % interval"),
    ]
    if printed:
        entries.append((Line2D([], [], **DIAMOND), printed))
    handles, labels = zip(*entries, *others)
    above = {"loc": "outside upper left", "ncols": 3, "frameon": False, "fontsize": 8}
    figure.legend(handles, labels, columnspacing=1.4, handletextpad=0.5, **above)


def rows_of_runs(
    scores: pd.DataFrame,
    order: Sequence[str],
    labels: Mapping[str, str],
    colours: Mapping[str, str],
    printed: pd.DataFrame | None = None,
    control: str = "",
    *,
    printed_label: str = "the paper",
    xlabel: str,
):
    """Every run's score: a row per scenario and a panel per column of a table of scores.

    Dots are runs; the bar below them is the mean and its 95 % interval; hollow grey diamonds are a
    paper's own numbers, or what `printed_label` says; a dotted line through all rows is the mean of
    the untrained control. The same in numbers stands at the right of each row.

    scores: columns scenario, column, run, value, low, high (the ends of the scenario's interval);
        panels follow the order of `column`.
    order: the scenarios from top to bottom; those without a score are left out.
    labels: scenario -> what its row is called; names that are missing stand for themselves.
    printed: scenario, column and value, for the paper.
    control: the scenario that is the untrained control; "" draws no line.
    """
    import seaborn as sns
    from matplotlib.lines import Line2D

    position = {name: row for row, name in enumerate(n for n in order if n in set(scores.scenario))}
    scores = scores[scores["scenario"].isin(position)]
    columns = list(scores["column"].unique())
    rows = max(len(position), 1)
    figure, axes = panels(len(columns), row_height=0.6 + 0.36 * rows, sharey=True)
    style = {
        "orient": "y",
        "hue": "scenario",
        "palette": {name: colours.get(name, ink()) for name in position},
        "native_scale": True,
        "legend": False,
    }
    for ax, column in zip(axes, columns):
        panel = scores[scores["column"] == column]
        row = panel["scenario"].map(position).astype(float)
        sns.stripplot(
            panel.assign(y=row - 0.2), x="value", y="y", ax=ax, size=4, alpha=0.6, jitter=0, **style
        )
        for name, runs in panel.groupby("scenario"):
            low, mean, high = runs["low"].iloc[0], runs["value"].mean(), runs["high"].iloc[0]
            place, colour = position[name] + 0.1, style["palette"][name]
            ax.plot([low, high], [place, place], lw=2, color=colour, solid_capstyle="butt")
            ax.plot(mean, place, "|", ms=9, mew=2.4, color=colour)
        if printed is not None:
            paper = printed[(printed["column"] == column) & printed["scenario"].isin(position)]
            ax.plot(paper["value"], paper["scenario"].map(position).astype(float) + 0.1, **DIAMOND)
        untrained = panel.loc[panel["scenario"] == control, "value"].mean()
        if not np.isnan(untrained):
            ax.axvline(untrained, **CONTROL_LINE)
        _numbers_at_right(ax, panel, position)
        plain_axes(ax, literal(column), grid="x")
        ax.spines["left"].set_visible(False)
        ax.set(xlabel="", ylabel="", ylim=(rows - 0.5, -0.5))
    names = [literal(labels.get(name, name)) for name in position]
    for ax in axes:
        ax.set_yticks(range(len(position)), names, fontsize=8)
    figure.supxlabel(xlabel, fontsize=9)
    line = (Line2D([], [], **CONTROL_LINE), "mean of the untrained control")
    lines = [line] if control in position else []
    legend(figure, printed_label if printed is not None else "", *lines)
    return figure


def _numbers_at_right(ax, panel: pd.DataFrame, position: Mapping[str, int]) -> None:
    """Write every row's mean and interval to the right of its panel, and widen the panel for
    them."""
    from matplotlib.ticker import MaxNLocator

    for name, runs in panel.groupby("scenario"):
        place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
        low, high = runs["low"].iloc[0], runs["high"].iloc[0]
        half = "" if np.isnan(low) else f" ± {(high - low) / 2:.1f}"
        ax.text(1.0, position[name], f"{runs['value'].mean():.1f}{half}", fontsize=8, **place)
    low, high = ax.dataLim.intervalx if np.isfinite(ax.dataLim.intervalx).all() else (0, 100)
    margin = 0.05 * max(high - low, 1.0)
    low, high = low - margin, high + margin
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    ax.set_xticks([tick for tick in ticks if low <= tick <= high])  # below the data only
    ax.set_xlim(low, low + (high - low) / 0.66)


def draw_means(ax, runs: pd.DataFrame, x: str, colour) -> None:
    """A line through the means over runs, with their intervals as bars. runs: `x`, value, low,
    high, as in `rows_of_runs`."""
    points = runs.groupby(x, sort=True)[["value", "low", "high"]].mean()
    below, above = points["value"] - points["low"], points["high"] - points["value"]
    ax.errorbar(points.index, points["value"], [below, above], fmt="o-", color=colour, lw=1.5)


def describe_rows(scores: pd.DataFrame, order: Sequence[str], labels: Mapping[str, str]) -> str:
    """The figure of `rows_of_runs` in words, for readers who do not see it: every mean."""
    means = scores.groupby(["scenario", "column"], sort=False)["value"].mean()
    rows = []
    for name in order:
        if name in means.index:
            numbers = ", ".join(f"{column} {mean:.1f}" for column, mean in means[name].items())
            rows.append(f"{labels.get(name, name)}: {numbers}".replace("\n", " "))
    return f"A row per scenario, a dot per run. Means: {'; '.join(rows) or 'nothing was measured'}."


def figure_curves(
    curves: pd.DataFrame,
    colours: Mapping[str, str],
    labels: Mapping[str, str],
    teachers: Collection[str] = (),
):
    """Training curves: a panel per loss of the students, one per loss of the teachers, and a line
    per scenario, called by its label if it has one.

    curves: columns scenario, step, component, value. The weighted sum ("loss") is left out beside
    its parts, because its weights differ between scenarios; of losses that match layers their sums
    are shown. Scenarios of one colour get different dashes. A line has at most POINTS points, the
    means of equal stretches.
    """
    import seaborn as sns
    from matplotlib.lines import Line2D

    parts = curves[curves["component"].isin(LOSSES)]
    parts = parts if len(parts) else curves[curves["component"] == "loss"]
    names = sorted(parts["scenario"].unique(), key=[*colours, *parts["scenario"]].index)
    colour = pd.Series({name: colours.get(name, ink()) for name in names}, dtype=object)
    dash = colour.groupby(colour).cumcount() % len(DASHES)
    style = {
        "palette": colour.to_dict(),
        "dashes": {name: DASHES[number] for name, number in dash.items()},
    }
    titles = parts["component"].map(COMPONENTS)
    titles = titles.where(~parts["scenario"].isin(teachers), "teachers: " + titles.astype(str))
    shown = sorted(titles.unique(), key=lambda title: title.startswith("teachers: "))
    figure, axes = panels(len(shown), row_height=2.2)
    for ax, title in zip(axes, shown):
        steps = parts[titles == title].groupby(["scenario", "step"])["value"].mean().reset_index()
        lines = [
            thinned(line[["step", "value"]]).assign(scenario=name)
            for name, line in steps.groupby("scenario")
        ]
        sns.lineplot(
            pd.concat(lines),
            x="step",
            y="value",
            hue="scenario",
            style="scenario",
            estimator=None,
            lw=1.2,
            legend=False,
            ax=ax,
            **style,
        )
        plain_axes(ax, literal(title), grid="y")
        ax.set(xlabel="", ylabel="")
    handles = [
        Line2D([], [], color=colour[name], dashes=style["dashes"][name] or (1, 0), lw=1.6)
        for name in names
    ]
    if names:
        called = [literal(labels.get(name) or name) for name in names]
        inches = 0.45 + 0.062 * max(map(len, called))  # of the widest entry
        columns = min(6, max(1, int(WIDTH / inches)))
        figure.set_figheight(figure.get_figheight() + 0.16 * (-(-len(names) // columns) - 1))
        above = {"loc": "outside upper left", "frameon": False, "fontsize": 8}
        figure.legend(handles, called, ncols=columns, columnspacing=1.2, handlelength=1.6, **above)
    figure.supxlabel("optimizer step", fontsize=9)
    return figure


def describe_curves(curves: pd.DataFrame) -> str:
    """The figure of curves in words: where every scenario's losses end."""
    last = curves.sort_values("step").groupby(["scenario", "component"], sort=False)["value"].last()
    ends = []
    for scenario, rows in last.groupby(level="scenario", sort=False):
        losses = [f"{COMPONENTS.get(part, part)} {end:.3g}" for (_, part), end in rows.items()]
        ends.append(f"{scenario} {', '.join(losses)}")
    return (
        f"Loss against the optimizer step, a panel per loss. At the end: "
        f"{'; '.join(ends) or 'nothing was trained'}."
    )


def figure_finetuning(epochs: pd.DataFrame, colours: Mapping[str, str]):
    """Score after each fine-tuning epoch, a panel per task. Thin lines are seeds, thick ones their
    mean.

    epochs: columns scenario, task, seed, epoch (from 1), value (percent).
    """
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    names = sorted(epochs["scenario"].unique(), key=[*colours, *epochs["scenario"]].index)
    style = {
        "x": "epoch",
        "y": "value",
        "hue": "scenario",
        "palette": {name: colours.get(name, ink()) for name in names},
        "legend": False,
    }
    tasks = list(epochs["task"].unique())
    figure, axes = panels(len(tasks), row_height=2.4, across=3 if len(tasks) > 4 else 2)
    for ax, task in zip(axes, tasks):
        runs = epochs[epochs["task"] == task]
        sns.lineplot(runs, units="seed", estimator=None, lw=0.6, alpha=0.3, ax=ax, **style)
        means = runs.groupby(["epoch", "scenario"])["value"].mean().unstack()
        draw_lines(ax, means, width=1.6, gap=0.063, colours=style["palette"])
        plain_axes(ax, literal(task), grid="y")
        ax.set(xlabel="", ylabel="")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("score in percent", fontsize=9)
    figure.supxlabel("fine-tuning epoch", fontsize=9)
    return figure


def describe_finetuning(epochs: pd.DataFrame) -> str:
    """The figure of epochs in words: every scenario's mean over tasks and seeds after the first and
    the last epoch."""
    means = epochs.groupby(["scenario", "epoch"], sort=False)["value"].mean()
    parts = [
        f"{name} {scores.iloc[0]:.1f} to {scores.iloc[-1]:.1f}"
        for name, scores in means.groupby(level="scenario", sort=False)
    ]
    return f"Score by epoch and task. From the first epoch to the last: {', '.join(parts)}."


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


def draw_lines(
    ax, lines: pd.DataFrame, width: float, gap: float, colours: Mapping[str, str]
) -> None:
    """A line per scenario, named at its end, in the order of `colours`.

    lines: index x, a column per scenario. gap: the least distance between names, as a share of the
    axis.
    """
    lines = lines.dropna(axis="columns", how="all")
    if lines.empty:
        return
    order = sorted(lines, key=[*colours, *lines].index)
    for name in order:
        line = lines[name].dropna()
        ax.plot(line.index, line, color=colours.get(name, ink()), lw=width, solid_capstyle="round")
    (first, last), (low, high) = ax.dataLim.intervalx, ax.get_ylim()
    length = max(last - first, 1)
    ends = {name: lines[name].dropna() for name in order}
    names = sorted(order, key=lambda name: ends[name].iloc[-1])
    heights = spread([ends[name].iloc[-1] for name in names], gap * (high - low), low, high)
    for name, height in zip(names, heights):
        thread = {"arrowstyle": "-", "lw": 0.6, "alpha": 0.7, "shrinkA": 1, "shrinkB": 1}
        thread |= {"color": colours.get(name, ink()), "relpos": (0, 0.5)}
        ax.annotate(
            literal(name),
            (ends[name].index[-1], ends[name].iloc[-1]),
            xytext=(last + 0.08 * length, height),
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops=thread,
        )
    ax.set_ylim(low, high)
    ax.set_xlim(first - 0.02 * length, last + 0.02 * length)


def spread(values: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions for labels: at least `gap` apart, near the ascending `values`, within [low, high]
    if they fit."""
    positions = []
    for value in values:
        positions.append(max(value, positions[-1] + gap) if positions else value)
    limit = high  # what was pushed above the top comes down, and pushes in turn
    for i in reversed(range(len(positions))):
        positions[i] = min(positions[i], limit)
        limit = positions[i] - gap
    shift = max(0.0, low - positions[0]) if positions else 0.0
    return [position + shift for position in positions]
