"""The herbert study's part of the report: six students of one teacher, three tasks (000_…: Distillation of HerBERT).

Pure functions from the contract tables to frames, figures and prose: tables first, then findings, then figures.
Scores are percent. Figures take their ink from matplotlib's settings, so that they follow the page's light or dark.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib import papers
from lib.claims import HERBERT_TASKS, MEAN, scores
from lib.errors import InputError
from lib.statistics import interval, paired_difference, paired_differences, pm, sign_flip_p, smallest_p

SCENARIOS = ["S0", "S1", "S2", "S3", "S4", "truncated", "T1", "T2"]
TASKS = {"polemo2-in": "PolEmo2.0-IN", "polemo2-out": "PolEmo2.0-OUT", "nkjp-ner": "NKJP-NER"}
ABOUT = {
    "S0": "random, not pretrained", "S1": "random, MLM", "S2": "truncated, MLM", "S3": "truncated, MLM + distillation",
    "S4": "as S3, teacher is T2", "truncated": "truncated, not pretrained", "T1": "teacher", "T2": "teacher, continued",
}
COLOURS = {  # Okabe and Ito's; T1 is drawn in the ink of the page
    "S0": "#e69f00", "S1": "#d55e00", "S2": "#56b4e9", "S3": "#0072b2", "S4": "#009e73", "truncated": "#cc79a7",
    "T2": "#a0845c",
}
PAPER = "#808080"
COMPONENTS = {"loss": "total loss", "total": "total loss", "soft": "soft-target loss", "mlm": "MLM loss",
              "hard": "MLM loss", "cosine": "cosine loss"}
WIDTH = 6.8
"""Inches: the report's width, so that letters keep their size there."""
PROTOCOLS = {"final": "after the last epoch", "best_epoch": "maximum over epochs on the development split"}


NOTE = (
    "The report's scores are the maximum over epochs on the development split; its T1 is the leaderboard's test score, which is "
    "not comparable with them."
)
PAPER_SIZES = ["paper: parameters (M)", "paper: size (MB)", "paper: share (%)"]


def table1(scenarios: Mapping[str, Mapping]) -> pd.DataFrame:
    """What each scenario is made of: 000's Table 1 with our control and the weights of the losses.

    `scenarios` as in params/herbert/scenarios.yaml. "Loss weights" are soft / MLM / cosine; the pretrained teacher
    is T2, whose own pretraining was continued on the corpus.
    """
    rows = {}
    for name, s in scenarios.items():
        weights = [s.get(f"weight_{loss}") or 0 for loss in ("soft", "mlm", "cosine")]
        if not s.get("pretrained", True):
            weights = [0, 0, 0]
        distilled = weights[0] > 0 or weights[2] > 0
        rows[name] = {
            "init": s["init"],
            "MLM loss": _tick(weights[1] > 0),
            "distillation loss": _tick(distilled),
            "pretrained teacher": _tick(distilled and s.get("teacher") == "T2"),
            "weights from": s.get("teacher") or "–" if s["init"] == "truncated" else "–",
            "loss weights": " / ".join(f"{w:g}" for w in weights) if any(weights) else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")


def _tick(yes: bool) -> str:
    return "✓" if yes else "✗"


def herbert_scores(results: pd.DataFrame, scenario: str, protocol: str = "final") -> pd.DataFrame:
    """Percent by seed (rows), for each task and their mean (columns). Seeds that lack a task are left out."""
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {protocol!r}: allowed are {', '.join(PROTOCOLS)}")
    return scores(results[results["protocol"] == protocol], "herbert", scenario, HERBERT_TASKS)


def paper_scores() -> pd.DataFrame:
    """000's Table 2 with a column for the mean of the tasks. T1 is HerBERT base, a test score."""
    theirs = papers.table("000", "results")
    return theirs.assign(**{MEAN: theirs.mean(axis=1)})


def table2(results: pd.DataFrame, protocol: str = "final") -> pd.DataFrame:
    """Ours beside 000's Table 2: columns (task, ours | paper), accuracy in percent, a row per scenario.

    Ours is mean ± half-width of the 95 % t interval over seeds; "–" where nothing was measured or printed. Only
    "best_epoch" is the paper's protocol. Its T1 is the leaderboard's test score and is marked so.
    """
    theirs = paper_scores()
    rows = {}
    for name in SCENARIOS:
        ours = herbert_scores(results, name, protocol)
        row = {}
        for task in [*HERBERT_TASKS, MEAN]:
            printed = f"{theirs.loc[name, task]:.1f}" if name in theirs.index else "–"
            row[TASKS.get(task, task), "ours"] = pm(ours[task])
            row[TASKS.get(task, task), "paper"] = f"{printed} (test)" if name == "T1" else printed
        rows[name] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def sizes(efficiency: pd.DataFrame) -> pd.DataFrame:
    """Parameters and size of teacher and student, and their share of the teacher (T1), beside 000's section 3.

    Scenarios of the same size share a row. The paper's "MB" are MiB for the teacher and 10^6 bytes for the student.
    """
    ours = efficiency[efficiency["study"] == "herbert"].groupby("scenario")[["parameters", "size_mib"]].max()
    ours = ours.reindex([name for name in SCENARIOS if name in ours.index]).dropna()
    teacher = ours["parameters"].get("T1", np.nan)
    fact = {name: papers.fact("000", name) for name in
            ("teacher_parameters", "student_parameters", "teacher_size", "student_size", "student_share")}
    rows = {}
    for (parameters, mib), group in sorted(ours.groupby(["parameters", "size_mib"]), reverse=True):
        who = "teacher" if set(group.index) & {"T1", "T2"} else "student"
        rows[f"{who} ({', '.join(group.index)})"] = {
            "parameters (M)": f"{parameters / 1e6:.3f}",
            "size (MiB)": f"{mib:.1f}",
            "share of the teacher (%)": "–" if np.isnan(teacher) else f"{100 * parameters / teacher:.1f}",
            "paper: parameters (M)": f"{fact[f'{who}_parameters'] / 1e6:.0f}",
            "paper: size (MB)": f"{fact[f'{who}_size']:g}",
            "paper: share (%)": f"{fact['student_share']:.0f}" if who == "student" else "100",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def describe(results: pd.DataFrame, protocol: str = "final") -> str:
    """The figure of scores in words, for readers who do not see it: every scenario's mean of the tasks."""
    means = {name: herbert_scores(results, name, protocol)[MEAN].mean() for name in SCENARIOS}
    spoken = ", ".join(f"{name} {value:.1f}" for name, value in means.items() if value == value)
    return f"Accuracy by scenario and task. Mean of the tasks in percent: {spoken}."


# --- findings --------------------------------------------------------------------------------------------------------

QUESTIONS = [
    ("What initial weights from the teacher buy", "S2", "S1"),
    ("What the distillation loss buys", "S3", "S2"),
    ("What continuing the teacher's pretraining buys", "S4", "S3"),
    ("What pretraining from random weights buys", "S1", "S0"),
    ("What any training after truncation buys (the control)", "S3", "truncated"),
]
"""(question, a, b): each is answered by the paired difference a - b. Another question is another entry."""


def findings(results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final") -> list[str]:
    """A Markdown paragraph per finding, worded by the numbers. An interval that holds zero is called undecided."""
    paragraphs = [gain_paragraph(results, *question, protocol) for question in QUESTIONS]
    paragraphs += [kept_paragraph(results, efficiency, protocol), optimism_paragraph(results)]
    return [paragraph for paragraph in paragraphs if paragraph]


def gain_paragraph(results: pd.DataFrame, question: str, a: str, b: str, protocol: str = "final") -> str:
    """What the paired difference a - b says, on the mean of the tasks and on each task."""
    ours = {name: herbert_scores(results, name, protocol) for name in (a, b)}
    d = paired_differences(ours[a][MEAN], ours[b][MEAN])
    head = f"**{question} ({a} against {b}).**"
    if d.empty:
        return f"{head} Not measured: {a} and {b} have no seed in common with a score on every task."
    gain = interval(d)
    means = f"{ours[a].loc[d.index, MEAN].mean():.1f} against {ours[b].loc[d.index, MEAN].mean():.1f}"
    if len(d) == 1:
        return (f"{head} One seed: {means} on the mean of the three tasks, {_signed(gain.mean)} points. "
                f"One seed has no interval, so nothing is concluded. {_paper_gain(a, b)}".rstrip())
    tasks = [f"{TASKS[task]} {_with_interval(paired_difference(ours[a][task], ours[b][task]))}"
             for task in HERBERT_TASKS]
    return " ".join(part for part in (
        head,
        f"On the mean of the three tasks {means}: a difference of {_with_interval(gain)} points over {len(d)} "
        f"seeds (95 % intervals in brackets). "
        f"{_conclusion(gain, a, b)}",
        f"By task: {'; '.join(tasks)}.",
        f"An exact sign-flip test gives p = {sign_flip_p(d):.3g}; with {len(d)} seeds it cannot go below "
        f"{smallest_p(len(d)):.3g}.",
        _paper_gain(a, b),
    ) if part)


def _conclusion(gain, a: str, b: str) -> str:
    if gain.high - gain.low < 1e-9:
        return "Every seed gives the same difference: too few distinct values for an interval to mean anything."
    if gain.low > 0:
        return f"{a} is better; the whole 95 % interval is above zero."
    if gain.high < 0:
        return f"{a} is worse; the whole 95 % interval is below zero."
    return f"The 95 % interval holds zero: {a} and {b} cannot be told apart."


def _paper_gain(a: str, b: str) -> str:
    theirs = paper_scores()[MEAN]
    return f"The paper's single run gave {_signed(theirs[a] - theirs[b])}." if {a, b} <= set(theirs.index) else ""


def kept_paragraph(results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final") -> str:
    """The share of the teacher's score that each truncated student keeps, beside the share of its parameters."""
    head, teacher = "**How much of the teacher is kept.**", herbert_scores(results, "T1", protocol)[MEAN]
    parts, n = [], set()
    for name in ("truncated", "S2", "S3", "S4"):
        ratio = (100 * herbert_scores(results, name, protocol)[MEAN] / teacher).dropna()
        if len(ratio):
            parts.append(f"{name} {pm(ratio)} %")
            n.add(len(ratio))
    if not parts:
        return f"{head} Not measured: no student has a seed in common with T1."
    theirs = paper_scores()[MEAN]
    seeds = " to ".join(str(count) for count in sorted({min(n), max(n)})) + (" seed" if max(n) == 1 else " seeds")
    text = (f"{head} Of T1's score on the mean of the three tasks, per seed ({seeds}), the students "
            f"keep: {', '.join(parts)}. From the paper's table it would be "
            f"{100 * theirs['S3'] / theirs['T1']:.1f} % for S3 and {100 * theirs['S4'] / theirs['T1']:.1f} % for S4, "
            "but there a maximum on the development split is divided by a test score.")
    count = efficiency[efficiency["study"] == "herbert"].groupby("scenario")["parameters"].max()
    if {"S3", "T1"} <= set(count.index) and not count[["S3", "T1"]].isna().any():
        text += f" S3 has {100 * count['S3'] / count['T1']:.1f} % of T1's parameters (the paper: 65 %)."
    return text


def optimism_paragraph(results: pd.DataFrame) -> str:
    """How much the maximum over epochs exceeds the last epoch: the optimism in the paper's protocol."""
    head, per_scenario = "**How optimistic the best epoch is.**", {}
    for name in SCENARIOS:
        d = paired_differences(*(herbert_scores(results, name, protocol)[MEAN] for protocol in ("best_epoch", "final")))
        if len(d):
            per_scenario[name] = d
    if not per_scenario:
        return f"{head} Not measured: no run has a score under both protocols."
    by_seed = pd.DataFrame(per_scenario).dropna()
    most = max(per_scenario, key=lambda name: per_scenario[name].mean())
    if by_seed.empty:
        size = f"{_signed(np.mean([d.mean() for d in per_scenario.values()]))} points"
    else:
        size = f"{_with_interval(interval(by_seed.mean(axis=1)))} points ({len(by_seed)} seed(s))"
    return (f"{head} Scored by its best epoch on the very split that is reported, a run gains {size} over its last "
            f"epoch, on the mean of the tasks and of {len(per_scenario)} scenario(s); most for {most} "
            f"({_signed(per_scenario[most].mean())}). The maximum cannot be lower than the last epoch: this is a size, "
            "not a test.")


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _with_interval(i) -> str:
    return _signed(i.mean) if np.isnan(i.low) else f"{_signed(i.mean)} [{_signed(i.low)}, {_signed(i.high)}]"


# --- figures ---------------------------------------------------------------------------------------------------------

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
        [Line2D([], [], ls="", marker="o", mec="none", alpha=0.6, ms=4.5, **ink), Line2D([], [], lw=2, marker="|", ms=8,
         mew=2.4, **ink), Line2D([], [], ls="", marker="D", mfc="none", mec=PAPER, mew=1.3, ms=5.5)],
        ["a seed", "mean, 95 % interval", "the paper: best epoch on dev; at T1 a test score"],
        loc="outside upper left", ncols=3, frameon=False, fontsize=8, columnspacing=1.4, handletextpad=0.5)
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
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, row_height * down + 0.4), sharey=sharey, squeeze=False,
                                layout="constrained")
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
    ends = sorted(((name, lines[name].dropna().index[-1], lines[name].dropna().iloc[-1]) for name in order),
                  key=lambda end: end[2])
    heights = spread([y for _, _, y in ends], gap * (high - low), low, high)
    for (name, x, y), height in zip(ends, heights):
        thread = {"arrowstyle": "-", "color": _colour(name), "lw": 0.6, "alpha": 0.7, "shrinkA": 1, "shrinkB": 1,
                  "relpos": (0, 0.5)}
        ax.annotate(name, (x, y), xytext=(last + 0.08 * reach, height), va="center", fontsize=8, color=_colour(name),
                    annotation_clip=False, arrowprops=thread)
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
