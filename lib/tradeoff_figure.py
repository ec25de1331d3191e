"""The figure of the trade-off: all students of all studies, the score they keep against parameters, latency and tokens seen.

A hue and a marker per study; hollow: a control without training; hollow, grey diamonds: the papers' own numbers.
"""

import numpy as np
import pandas as pd

from lib.claims_view import STUDIES
from lib.figures import DIAMOND, PAPER, ink, literal, plain, spread
from lib.tradeoff import COSTS, SCORED, best, front, printed

LOOKS = dict(zip(SCORED, (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "v"))))
"""Study -> Okabe and Ito's colour, and marker."""
LABELS = {
    "parameters_share": "parameters, % of the teacher's",
    "latency_share": "latency, % of the teacher's",
    "tokens_per_parameter": "tokens seen per parameter",
}
SIZE = (9.5, 4.7)
"""Inches: the whole width of the page, for three panels."""
ASIDE, LANE = 0.5, 3.2
"""Students of one size stand beside each other, so many hundredths of the axis apart: those of one study, and the studies."""
NAMED = {
    "DistilBERT": "DistilBERT",
    "corpus0.1pct": "0.1 % of text",
    "randomised": "randomised",
    "generated": "generated",
}
"""The papers' students that are named, and how; the others lie on these."""


def figure(students: pd.DataFrame):
    """Three panels that share the score axis; the front in each is a step line, its students and each study's best are named.

    `students` as `tradeoff.frame` gives them.
    """
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(COSTS), figsize=SIZE, sharey=True, layout="constrained")
    plt.close(drawing)  # the caller shows it
    for ax, cost in zip(axes, COSTS):
        shown = students.dropna(subset=[cost, "kept"])
        places = _scale(ax, cost, shown[cost])
        at = pd.Series(places(shown[cost]), index=shown.index)
        _draw_front(ax, at, shown, cost)
        _draw_students(ax, _beside(at, shown), shown, students)
        if cost != "tokens_per_parameter":
            ax.plot(100, 100, "o", ms=6.5, mec="none", color=ink())
            ax.annotate("teacher", (100, 100), xytext=(6, 0), textcoords="offset points", fontsize=8, va="center")
            _draw_printed(ax, cost, named=ax is axes[0])
        plain(ax, "", grid="both")
        ax.set_xlabel(LABELS[cost], fontsize=9)
        _name(ax, _beside(at, shown), shown, students)
    axes[0].set_ylabel("score kept, % of the teacher's", fontsize=9)
    _legend(drawing, students)
    return drawing


def _scale(ax, cost: str, values: pd.Series):
    """Set the axis of a panel; returns what places a column of costs on it. Tokens are logarithmic, with a place for none."""
    if cost != "tokens_per_parameter":
        low = min([55.0, *values, *printed()[cost]])
        ax.set_xlim(10 * np.floor(low / 10) - (4 if cost == "latency_share" else 14), 113)  # room for names
        ax.set_xticks(np.arange(10 * np.floor(low / 10), 101, 10))
        return lambda column: column.to_numpy(dtype=float)
    seen = values[values > 0]
    low, high = (np.floor(np.log10(seen.min())), np.ceil(np.log10(seen.max()) + 0.1)) if len(seen) else (-1.0, 1.0)
    ticks = list(np.arange(low, high + 1))
    ax.set_xticks([low - 1, *ticks], ["none", *(f"{10.0**tick:g}" for tick in ticks)])
    ax.set_xlim(low - 1.4, high + 0.3)
    return lambda column: np.where(column > 0, np.log10(column.where(column > 0, 1.0).astype(float)), low - 1)


def _beside(at: pd.Series, shown: pd.DataFrame) -> pd.Series:
    """Places at which students of the same cost do not hide each other: a lane a study, and in it side by side by score."""
    studies = [study for study in SCORED if study in set(shown["study"])]
    span, moved = max(at.max() - at.min(), 1.0) if len(at) else 1.0, at.copy()
    for (place, study), group in shown.groupby([at.round(2), "study"]):
        order = group["kept"].sort_values().index
        inside = np.arange(len(order)) - (len(order) - 1) / 2
        lane = studies.index(study) - (len(studies) - 1) / 2
        moved[order] = at[order] + span / 100 * (ASIDE * inside + LANE * lane)
    return moved


def _draw_students(ax, x: pd.Series, shown: pd.DataFrame, students: pd.DataFrame) -> None:
    """A mark and a bar (the 95 % interval) each; those on no front, and no study's best, are pale."""
    named = set(best(students).index)
    for index, row in shown.iterrows():
        colour, marker = LOOKS[row["study"]]
        strong = row["on_front"] or row["control"] or index in named
        alpha = 1.0 if strong else 0.45
        ax.plot(
            [x[index]] * 2, [row["low"], row["high"]], lw=1.1, color=colour, alpha=alpha * 0.7, solid_capstyle="butt"
        )
        face = {"mfc": "none", "mec": colour, "mew": 1.4} if row["control"] else {"mfc": colour, "mec": "none"}
        ax.plot(x[index], row["kept"], marker, ms=5.5, alpha=alpha, zorder=4, **face)


def _draw_front(ax, at: pd.Series, shown: pd.DataFrame, cost: str) -> None:
    """The front as a step line: at each cost the highest share kept so far."""
    members = shown[front(shown[cost], shown["kept"])]
    x = at[members.index].sort_values()
    if len(x):
        kept = members["kept"][x.index]
        ax.step([*x, ax.get_xlim()[1]], [*kept, kept.iloc[-1]], where="post", color=ink(), lw=1.1, alpha=0.75, zorder=2)


def _name(ax, x: pd.Series, shown: pd.DataFrame, students: pd.DataFrame) -> None:
    """Names beside the best of each study and all on a front: to the right of a mark in the left half, else to its left."""
    wanted = shown.index.isin(best(students).index) | shown["on_front"]
    named = shown[wanted].sort_values("kept")
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    gap, taken = 0.05 * (high - low), []
    printed_at = [text.get_position() for text in ax.texts]  # the papers' names end there
    for side, ends in ((1, x[named.index] <= (left + right) / 2), (-1, x[named.index] > (left + right) / 2)):
        group = named[ends]
        for (index, row), height in zip(group.iterrows(), spread(list(group["kept"]), gap, low, high)):
            near = x[(x - x[index]).abs() < 0.1 * (right - left)]
            at = (near.max() if side > 0 else near.min()) + side * 0.04 * (right - left)
            height = clear_of([*taken, *(y for end, y in printed_at if at < end)], height, gap)
            taken.append(height)
            _label(ax, row["scenario"], (x[index], row["kept"]), (at, height), side, LOOKS[row["study"]][0])


def clear_of(taken: list[float], height: float, gap: float) -> float:
    """A height, moved up until it is at least `gap` from all that are taken."""
    for other in sorted(taken):
        if abs(height - other) < gap:
            height = other + gap
    return height


def _label(ax, text: str, point: tuple, place: tuple, side: int, colour: str) -> None:
    """A name on a patch of the page's own ground, with a thread to its mark."""
    thread = {"arrowstyle": "-", "lw": 0.7, "alpha": 0.8, "color": colour, "shrinkA": 0, "shrinkB": 3}
    ground = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.8}
    ax.annotate(
        literal(text),
        point,
        xytext=place,
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=8,
        arrowprops=thread,
        bbox=ground,
        zorder=5,
    )


def _draw_printed(ax, cost: str, named: bool) -> None:
    """The papers' students as diamonds, and the names of some where nothing else stands."""
    theirs = printed()
    ax.plot(theirs[cost], theirs["kept"], **DIAMOND, zorder=3)
    for row in theirs[theirs["label"].isin(NAMED)].itertuples() if named else ():
        place = (getattr(row, cost) - 4, row.kept)
        ax.text(*place, f"{NAMED[row.label]}†", ha="right", va="center", fontsize=8, color=PAPER, style="italic")


def _legend(drawing, students: pd.DataFrame) -> None:
    """Above the panels: studies, controls, the papers' diamonds, the front."""
    from matplotlib.lines import Line2D

    shown = [
        (Line2D([], [], ls="", marker=marker, ms=5.5, mfc=colour, mec="none"), STUDIES[study])
        for study, (colour, marker) in LOOKS.items()
        if study in set(students["study"])
    ]
    shown += [
        (Line2D([], [], ls="", marker="o", ms=5.5, mfc="none", mec=ink(), mew=1.4), "hollow: untrained control"),
        (Line2D([], [], lw=1.1, color=ink(), alpha=0.75), "front"),
        (Line2D([], [], **DIAMOND), "the papers"),
    ]
    handles, labels = zip(*shown)
    drawing.legend(handles, labels, loc="outside upper left", ncols=7, frameon=False, fontsize=8.5, columnspacing=1.4,
                   handletextpad=0.5)  # fmt: skip
