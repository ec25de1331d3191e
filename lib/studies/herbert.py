"""The herbert study's part of the report: six students of one teacher, three tasks (000_…:
Distillation of HerBERT).

Pure functions from the contract tables to frames and prose: tables first, then findings. Scores are
percent. The figures are in `lib.studies.herbert`.

Figures of the herbert study. They take their ink from matplotlib's settings, so that they follow
light or dark.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.common.errors import InputError
from lib.report import papers
from lib.report.figures import (
    DIAMOND,
    draw_lines,
    ink,
    leave_room_for_numbers,
    legend,
    panels,
    plain_axes,
    seeds_row,
)
from lib.report.scores import MEAN, scores
from lib.report.statistics import interval, paired_differences, pm
from lib.report.wording import (
    by_side,
    conclusion,
    number_of,
    printed,
    signed,
    signed_pm,
    tested,
    with_interval,
)

IN, OUT, NER = HERBERT_TASKS = ["polemo2-in", "polemo2-out", "nkjp-ner"]
SCENARIOS = ["S0", "S1", "S2", "S3", "S4", "truncated", "T1", "T2"]
TASKS = {"polemo2-in": "PolEmo2.0-IN", "polemo2-out": "PolEmo2.0-OUT", "nkjp-ner": "NKJP-NER"}
ABOUT = {
    "S0": "random, not pretrained",
    "S1": "random, MLM",
    "S2": "truncated, MLM",
    "S3": "truncated, MLM + distillation",
    "S4": "as S3, teacher is T2",
    "truncated": "control: no training",
    "T1": "teacher",
    "T2": "teacher, continued",
}
PROTOCOLS = {
    "final": "after the last epoch",
    "best_epoch": "maximum over epochs on the development split",
}


NOTE = (
    "The source's scores are the maximum over epochs on the development split; its T1 is the "
    "leaderboard's test score, which is "
    "not comparable with them."
)
GAIN_NOTE = (
    "First less second, paired by fine-tuning seed: on the mean of the tasks with the ends of the "
    "95 % interval, by task ± half of "
    "it. An interval that holds zero decides nothing. Printed: of the mean of the tasks, one run "
    "each."
)
PAPER_SIZES = ["M", "MB", "%"]
"""The columns of `sizes` that hold the paper's own numbers."""
PAPER_GAIN = "printed"
"""The column of `differences_table` that does, for the mean of the tasks."""
PAPER_SCORES = [(TASKS.get(task, task), "paper") for task in [*HERBERT_TASKS, MEAN]]
"""The columns of `table2` that do."""


def table1(scenarios: Mapping[str, Mapping]) -> pd.DataFrame:
    """What each scenario is made of: 000's Table 1 with our control and the weights of the losses.

    `scenarios` as in params/herbert/scenarios.yaml. "Loss weights" are soft / MLM / cosine; the
    pretrained teacher is T2, whose own pretraining was continued on the corpus.
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
    """Percent by seed (rows), for each task and their mean (columns). Seeds that lack a task are
    left out."""
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {protocol!r}: allowed are {', '.join(PROTOCOLS)}")
    return scores(results[results["protocol"] == protocol], "herbert", scenario, HERBERT_TASKS)


def paper_scores() -> pd.DataFrame:
    """000's Table 2 with a column for the mean of the tasks. T1 is HerBERT base, a test score."""
    theirs = papers.table("000", "results")
    return theirs.assign(**{MEAN: theirs.mean(axis=1)})


def printed_scores(scenario: str) -> pd.DataFrame:
    """The paper's single run of a scenario as one row, columns as `herbert_scores`; no row where it
    prints none."""
    return paper_scores().reindex([scenario]).dropna().reset_index(drop=True)


def table2(results: pd.DataFrame, protocol: str = "final") -> pd.DataFrame:
    """Ours beside 000's Table 2: columns (task, ours | paper), accuracy in percent, a row per
    scenario.

    Ours is mean ± half-width of the 95 % t interval over seeds; "–" where nothing was measured or
    printed. Only "best_epoch" is the paper's protocol. Its T1 is the leaderboard's test score and
    is marked so.
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
    """Parameters and size of teacher and student, and their share of the teacher (T1), beside 000's
    section 3.

    Scenarios of the same size share a row; M, MB and % are the paper's, whose "MB" are MiB for the
    teacher and 10^6 bytes for the student.
    """
    ours = (
        efficiency[efficiency["study"] == "herbert"]
        .groupby("scenario")[["parameters", "size_mib"]]
        .max()
    )
    ours = ours.reindex([name for name in SCENARIOS if name in ours.index]).dropna()
    teacher = ours["parameters"].get("T1", np.nan)
    fact = {
        name: papers.fact("000", name)
        for name in (
            "teacher_parameters",
            "student_parameters",
            "teacher_size",
            "student_size",
            "student_share",
        )
    }
    rows = {}
    for (parameters, mib), group in sorted(ours.groupby(["parameters", "size_mib"]), reverse=True):
        who = "teacher" if set(group.index) & {"T1", "T2"} else "student"
        rows[who] = {
            "models": ", ".join(group.index),
            "M parameters": f"{parameters / 1e6:.3f}",
            "MiB": f"{mib:.1f}",
            "share, %": "–" if np.isnan(teacher) else f"{100 * parameters / teacher:.1f}",
            "M": f"{fact[f'{who}_parameters'] / 1e6:.0f}",
            "MB": f"{fact[f'{who}_size']:g}",
            "%": f"{fact['student_share']:.0f}" if who == "student" else "100",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def describe(results: pd.DataFrame, protocol: str = "final") -> str:
    """The figure of scores in words, for readers who do not see it: every scenario's mean of the
    tasks."""
    means = {name: herbert_scores(results, name, protocol)[MEAN].mean() for name in SCENARIOS}
    spoken = ", ".join(f"{name} {value:.1f}" for name, value in means.items() if value == value)
    return f"Accuracy by scenario and task. Mean of the tasks in percent: {spoken}."


# --- findings -------------------------------------------------------------------------------------

QUESTIONS = [
    ("What initial weights from the teacher buy", "S2", "S1"),
    ("What the distillation loss buys", "S3", "S2"),
    ("What continuing the teacher's pretraining buys", "S4", "S3"),
    ("What pretraining from random weights buys", "S1", "S0"),
    ("What any training after truncation buys", "S3", "truncated"),
]
"""(question, a, b): each is answered by the paired difference a - b. Another question is another
entry."""


def findings(results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final") -> list[str]:
    """A Markdown paragraph per finding, worded by the numbers. An interval that holds zero is
    called undecided."""
    paragraphs = [gain_paragraph(results, *question, protocol) for question in QUESTIONS]
    paragraphs += [kept_paragraph(results, efficiency, protocol), optimism_paragraph(results)]
    return [paragraph for paragraph in paragraphs if paragraph]


def differences_table(results: pd.DataFrame, protocol: str = "final") -> pd.DataFrame:
    """Every question's paired difference, in points: on the mean of the tasks with the ends of its
    interval, beside the paper's single run, and by task ± half of the interval."""
    rows = {}
    for question, a, b in QUESTIONS:
        ours = {name: herbert_scores(results, name, protocol) for name in (a, b)}
        row = {}
        for task in [MEAN, *HERBERT_TASKS]:
            d = paired_differences(ours[a][task], ours[b][task])
            row[TASKS.get(task, task)] = (
                (with_interval(interval(d)) if task == MEAN else signed_pm(d)) if len(d) else "–"
            )
        rows[re.sub("^What (.*) buys?$", r"\1", question), f"{a} − {b}"] = row | {
            PAPER_GAIN: _paper_gain(a, b) or "–"
        }
    frame = pd.DataFrame(
        list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["question", "difference"])
    )
    return frame[[MEAN, PAPER_GAIN, *TASKS.values()]]


def gain_paragraph(
    results: pd.DataFrame, question: str, a: str, b: str, protocol: str = "final"
) -> str:
    """What the paired difference a - b says: the verdict, the difference on the mean of the tasks,
    and on which tasks it holds."""
    ours = {name: herbert_scores(results, name, protocol) for name in (a, b)}
    d = paired_differences(ours[a][MEAN], ours[b][MEAN])
    head = f"**{question} ({a} against {b}).**"
    if d.empty:
        return (
            f"{head} Not measured: {a} and {b} have no seed in common with a score on every task."
        )
    gain = interval(d)
    means = (
        f"{ours[a].loc[d.index, MEAN].mean():.1f} against {ours[b].loc[d.index, MEAN].mean():.1f}"
    )
    tasks = {
        TASKS[task]: paired_differences(ours[a][task], ours[b][task]) for task in HERBERT_TASKS
    }
    theirs = _paper_gain(a, b)
    return " ".join(
        part
        for part in (
            head,
            conclusion(gain, a, b),
            f"On the mean of the three tasks {means}: {with_interval(gain)} points ({tested(d)}).",
            f"By task: {by_side(tasks)}." if len(d) > 1 else "",
            f"The paper's single run gave {printed(theirs)}." if theirs else "",
        )
        if part
    )


def _paper_gain(a: str, b: str) -> str:
    theirs = paper_scores()[MEAN]
    return signed(theirs[a] - theirs[b]) if {a, b} <= set(theirs.index) else ""


def kept_paragraph(results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final") -> str:
    """The share of the teacher's score that each truncated student keeps, beside the share of its
    parameters."""
    head, teacher = (
        "**How much of the teacher is kept.**",
        herbert_scores(results, "T1", protocol)[MEAN],
    )
    parts, n = [], set()
    for name in ("truncated", "S2", "S3", "S4"):
        ratio = (100 * herbert_scores(results, name, protocol)[MEAN] / teacher).dropna()
        if len(ratio):
            parts.append(f"{name} {pm(ratio)} %")
            n.add(len(ratio))
    if not parts:
        return f"{head} Not measured: no student has a seed in common with T1."
    theirs = paper_scores()[MEAN]
    seeds = " to ".join(str(count) for count in sorted({min(n), max(n)})) + (
        " seed" if max(n) == 1 else " seeds"
    )
    text = (
        f"{head} Of T1's score on the mean of the three tasks, per seed ({seeds}), the students "
        f"keep: {', '.join(parts)}. From the paper's table it would be "
        f"{printed(_percent(theirs['S3'] / theirs['T1']))} for S3 and "
        f"{printed(_percent(theirs['S4'] / theirs['T1']))} for S4, "
        "but there a maximum on the development split is divided by a test score."
    )
    count = efficiency[efficiency["study"] == "herbert"].groupby("scenario")["parameters"].max()
    if {"S3", "T1"} <= set(count.index) and not count[["S3", "T1"]].isna().any():
        text += (
            f" S3 has {100 * count['S3'] / count['T1']:.1f} % of T1's parameters (the paper: "
            f"{printed('65 %')})."
        )
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def optimism_paragraph(results: pd.DataFrame) -> str:
    """How much the maximum over epochs exceeds the last epoch: the optimism in the paper's
    protocol."""
    head, per_scenario = "**How optimistic the best epoch is.**", {}
    for name in SCENARIOS:
        d = paired_differences(
            *(herbert_scores(results, name, protocol)[MEAN] for protocol in ("best_epoch", "final"))
        )
        if len(d):
            per_scenario[name] = d
    if not per_scenario:
        return f"{head} Not measured: no run has a score under both protocols."
    by_seed = pd.DataFrame(per_scenario).dropna()
    most = max(per_scenario, key=lambda name: per_scenario[name].mean())
    if by_seed.empty:
        size = f"{signed(np.mean([d.mean() for d in per_scenario.values()]))} points"
    else:
        size = (
            f"{with_interval(interval(by_seed.mean(axis=1)))} points "
            f"({number_of(len(by_seed), 'seed')})"
        )
    return (
        f"{head} Scored by its best epoch on the very split that is reported, a run gains {size} "
        f"over its last "
        f"epoch, on the mean of the tasks and of {number_of(len(per_scenario), 'scenario')}; most "
        f"for {most} "
        f"({with_interval(interval(per_scenario[most]))}). The maximum cannot be lower than the "
        f"last epoch: this is a size, "
        "not a test."
    )


COLOURS = {  # Okabe and Ito's; T1, which is not here, is drawn in the ink of the page
    "S0": "#e69f00",
    "S1": "#d55e00",
    "S2": "#56b4e9",
    "S3": "#0072b2",
    "S4": "#009e73",
    "truncated": "#cc79a7",
    "T2": "#a0845c",
}


def figure_tasks(results: pd.DataFrame, protocol: str = "final"):
    """Accuracy by scenario: a panel per task and one for their mean. Dots are seeds, bars mean and
    95 % interval.

    Hollow grey diamonds are the paper's single runs (at T1 a test score). The numbers are mean ±
    half-width.
    """
    theirs, tasks = paper_scores(), [*HERBERT_TASKS, MEAN]
    ours = {name: herbert_scores(results, name, protocol) for name in SCENARIOS}
    shown = [name for name in SCENARIOS if len(ours[name])]
    figure, axes = panels(len(tasks), row_height=0.55 + 0.36 * max(len(shown), 1), sharey=True)
    for ax, task in zip(axes, tasks):
        for row, name in enumerate(shown):
            values = ours[name][task]
            seeds_row(ax, values, row, COLOURS.get(name, ink()))
            if name in theirs.index:
                ax.plot(theirs.loc[name, task], row + 0.1, **DIAMOND)
            ax.text(
                1.0,
                row,
                pm(values),
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
            )
        leave_room_for_numbers(ax)
        plain_axes(ax, TASKS.get(task, task), grid="x")
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(shown)), [f"{name}\n{ABOUT[name]}" for name in shown])
    axes[0].set_ylim(max(len(shown), 1) - 0.5, -0.5)
    for ax in axes:
        ax.tick_params(axis="y", labelsize=7.5)
    figure.supxlabel(f"accuracy in percent, {PROTOCOLS[protocol]}", fontsize=9)
    legend(figure, "the paper: best epoch on dev; at T1 a test score")
    return figure


def figure_finetuning(epochs: pd.DataFrame):
    """Accuracy after each fine-tuning epoch, per task and for their mean. Thin lines are seeds,
    thick ones their mean.

    Columns: scenario, task, seed, epoch (from 1), value (percent).
    """
    from matplotlib.ticker import MaxNLocator

    wide = epochs.pivot_table(index=["scenario", "seed", "epoch"], columns="task", values="value")
    wide = wide.reindex(columns=HERBERT_TASKS)
    wide[MEAN] = wide.mean(axis=1, skipna=False)
    figure, axes = panels(4, row_height=2.7)
    for ax, task in zip(axes, wide.columns):
        runs = wide[task].dropna()
        for (name, _), run in runs.groupby(["scenario", "seed"]):
            ax.plot(
                run.index.get_level_values("epoch"),
                run,
                color=COLOURS.get(name, ink()),
                lw=0.6,
                alpha=0.3,
            )
        draw_lines(
            ax,
            runs.groupby(["epoch", "scenario"]).mean().unstack(),
            width=1.8,
            gap=0.063,
            colours=COLOURS,
        )
        plain_axes(ax, TASKS.get(task, task), grid="y")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("accuracy in percent", fontsize=9)
    figure.supxlabel("fine-tuning epoch", fontsize=9)
    return figure


def describe_finetuning(epochs: pd.DataFrame) -> str:
    """The figure of epochs in words: every scenario's mean over tasks and seeds after the first and
    the last epoch."""
    means = epochs.groupby(["scenario", "epoch"], sort=False)["value"].mean()
    spoken = [
        f"{name} {at.iloc[0]:.1f} to {at.iloc[-1]:.1f}"
        for name, at in means.groupby(level="scenario", sort=False)
    ]
    return (
        f"Accuracy by epoch and task, a line a scenario. From the first epoch to the last: "
        f"{', '.join(spoken)}."
    )
