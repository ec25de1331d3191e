"""The claims of 000, Distillation of HerBERT, one entry each. Machinery and verdict rule stand in
`lib.report.claims`.

Not in the ledger, for want of anything to measure them by: the 20 hours on one Titan V (000,
section 4), which only that card could repeat; the size of the authors' own piece of CC-100 (4.9
million lines, 218 million tokens, section 2), beside the tokens a parameter of section 6; that
HerBERT is the best of Polish models (section 1). What section 2 says of DistilBERT is in
`lib.studies.ablation`.

The herbert study's part of the report: six students of one teacher, three tasks (000_…:
Distillation of HerBERT).

Pure functions from the contract tables to frames and prose: tables first, then findings. Scores are
percent. The figures are in `lib.studies.herbert`.

Figures of the herbert study. They take their ink from matplotlib's settings, so that they follow
light or dark.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.common.errors import InputError
from lib.report import papers
from lib.report.claims import (
    Claim,
    Pair,
    about,
    above,
    at_size,
    below,
    counted,
    efficiency_value,
    megabytes,
    ratio,
    smallest_gain,
    tokens_per_parameter,
)
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
_EPOCHS = papers.fact("000", "pretraining_epochs")
_SHARE = ratio("herbert", "S3", "T1", "parameters", scale=100)
_OF_PARAMETERS = "% of parameters"


def _herbert(
    id: str,
    place: str,
    claim: str,
    pairs: Sequence[Pair],
    on: Sequence[str],
    expected: tuple[float, float] = above(0),
) -> Claim:
    """A claim on scores: the smallest gain over `pairs` and `on`, ours and the report's (Table
    2)."""
    theirs = papers.table("000", "results")
    theirs[MEAN] = theirs[HERBERT_TASKS].mean(axis=1)
    paper_value = min(
        theirs.loc[better, task] - theirs.loc[worse, task] for better, worse in pairs for task in on
    )
    evidence = smallest_gain("herbert", pairs, HERBERT_TASKS, on)
    return Claim(f"herbert-{id}", f"000, {place}", claim, round(paper_value, 2), evidence, expected)


def _over(better: str, *others: str) -> list[Pair]:
    return [(better, other) for other in others]


def _sized(
    id: str,
    place: str,
    claim: str,
    fact: str,
    evidence: Callable,
    tolerance: float,
    unit: str,
    scale: float = 1,
) -> Claim:
    """A claim on what HerBERT's own size makes it: `scale` times a printed fact, within the
    tolerance; else left open."""
    printed = scale * papers.fact("000", fact)
    measure = at_size(evidence, "herbert", "T1", papers.fact("000", "teacher_parameters"))
    expected, asks = about(printed, tolerance), "a teacher of HerBERT's size"
    return Claim(f"herbert-{id}", f"000, {place}", claim, printed, measure, expected, unit, asks)


def _millions(scenario: str) -> Callable:
    """Evidence: the model's parameters in millions."""
    return lambda results, efficiency: counted(
        efficiency_value(efficiency, "herbert", scenario, "parameters") / 1e6
    )


HERBERT = [
    _herbert(
        "s4-best-ner",
        "section 5",
        "The student of the teacher that was trained further (S4) is the best student on kinds of "
        "names (NKJP-NER).",
        _over("S4", "S0", "S1", "S2", "S3"),
        [NER],
    ),
    _herbert(
        "s4-best-in",
        "section 5",
        "S4 is the best student on opinions in reviews (PolEmo2.0-IN).",
        _over("S4", "S0", "S1", "S2", "S3"),
        [IN],
    ),
    _herbert(
        "s3-second-out",
        "section 5; T1 on test",
        "On reviews of another domain (PolEmo2.0-OUT) the student of the teacher as it was (S3) "
        "is second only to the teacher.",
        [*_over("S3", "S0", "S1", "S2", "S4"), ("T1", "S3")],
        [OUT],
    ),
    _herbert(
        "s3-best-out",
        "Table 2",
        "S3 is the best student on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2", "S4"),
        [OUT],
    ),
    _herbert(
        "distilled-best-out",
        "Table 2",
        "Both distilled students (S3, S4) beat the three others (S0, S1, S2) on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2") + _over("S4", "S0", "S1", "S2"),
        [OUT],
    ),
    _herbert(
        "s0-worst",
        "section 5",
        "A student of random weights, never pretrained (S0), is the worst of all on every task.",
        [(name, "S0") for name in ("S1", "S2", "S3", "S4")],
        HERBERT_TASKS,
    ),
    _herbert(
        "s1-over-s0",
        "Table 2",
        "Pretraining random weights on text helps on every task (S1 over S0).",
        [("S1", "S0")],
        HERBERT_TASKS,
    ),
    _herbert(
        "mlm-improves",
        "section 5",
        "Pretraining on text by guessing masked words (MLM) improves the mean of the tasks (S1 "
        "over S0).",
        [("S1", "S0")],
        [MEAN],
    ),
    _herbert(
        "s2-over-s1",
        "Table 2",
        "Starting from the teacher's weights helps on every task (S2 over S1).",
        [("S2", "S1")],
        HERBERT_TASKS,
    ),
    _herbert(
        "distillation-improves",
        "section 5",
        "Imitating the teacher (the distillation "
        "loss) improves the mean of the tasks (S3 over S2).",
        [("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "s3-over-s2",
        "Table 2",
        "Imitating the teacher helps on every task (S3 over S2).",
        [("S3", "S2")],
        HERBERT_TASKS,
    ),
    _herbert(
        "s3-s2-slight",
        "section 5",
        "With and without imitation differ only slightly: under 2 points in the mean of the tasks "
        "(S3, S2).",
        [("S3", "S2")],
        [MEAN],
        about(0, 2),
    ),
    Claim(
        "herbert-imitation",
        "002, slide 2; 004, section 2.1",
        "A small model trained to imitate the large one is better than one trained on text alone "
        "(S3 over S2, mean).",
        float("nan"),
        smallest_gain("herbert", [("S3", "S2")], HERBERT_TASKS, [MEAN]),
        above(0),
    ),
    _herbert(
        "s4-over-s3",
        "section 5",
        "A teacher trained further on the student's "
        "text gives a better student (S4 over S3, mean).",
        [("S4", "S3")],
        [MEAN],
    ),
    _herbert(
        "s4-not-everywhere",
        "section 5",
        "The gain of the further-trained teacher's student is absent on at least one task (S4 "
        "over S3).",
        [("S4", "S3")],
        HERBERT_TASKS,
        below(0),
    ),
    _herbert(
        "order",
        "Table 2",
        "The mean of the tasks rises from each student to the next: S0 < S1 < S2 < S3.",
        [("S1", "S0"), ("S2", "S1"), ("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "below-teacher",
        "Table 2; T1 on test",
        "Every student stays below its teacher on every task.",
        _over("T1", "S0", "S1", "S2", "S3", "S4"),
        HERBERT_TASKS,
    ),
    Claim(
        "herbert-half-layers-not-half-size",
        "000, section 3.2",
        "With half of the layers, more than half of the parameters remain: the embeddings are not "
        "halved.",
        papers.fact("000", "student_share"),
        _SHARE,
        above(50),
        _OF_PARAMETERS,
    ),
    _sized(
        "share",
        "section 3.2",
        "HerBERT's student has 65 % of its parameters (within 1 point).",
        "student_share",
        _SHARE,
        1,
        _OF_PARAMETERS,
    ),
    _sized(
        "teacher-parameters",
        "section 3.1",
        "HerBERT has 124 million parameters (within 1 million).",
        "teacher_parameters",
        _millions("T1"),
        1,
        "million parameters",
        scale=1e-6,
    ),
    _sized(
        "student-parameters",
        "section 3.2",
        "HerBERT's student has 81 million parameters (within 1 million).",
        "student_parameters",
        _millions("S3"),
        1,
        "million parameters",
        scale=1e-6,
    ),
    _sized(
        "teacher-size",
        "section 3.1",
        "HerBERT weighs 475 MB (read as MiB, within 1 %).",
        "teacher_size",
        lambda results, efficiency: counted(
            efficiency_value(efficiency, "herbert", "T1", "size_mib")
        ),
        0.01 * papers.fact("000", "teacher_size"),
        "MiB",
    ),
    _sized(
        "size",
        "section 3.2",
        "HerBERT's student weighs 325.34 MB (10^6 bytes, within 1 %).",
        "student_size",
        megabytes("herbert", "S3"),
        0.01 * papers.fact("000", "student_size"),
        "MB",
    ),
    _sized(
        "tokens-teacher",
        "section 6",
        "The corpus has about 2 tokens for each of HerBERT's parameters (within 0.5).",
        "tokens_per_teacher_parameter",
        tokens_per_parameter("herbert", "S3", "T1", _EPOCHS),
        0.5,
        "tokens a parameter",
    ),
    _sized(
        "tokens-student",
        "section 6",
        "The corpus has about 3 tokens for each of the student's parameters (within 0.5).",
        "tokens_per_student_parameter",
        tokens_per_parameter("herbert", "S3", "S3", _EPOCHS),
        0.5,
        "tokens a parameter",
    ),
    Claim(
        "herbert-short-training",
        "000, section 6",
        "Training is short: a student (S3) sees fewer tokens a parameter than the 20 that are "
        "recommended.",
        round(
            _EPOCHS
            * papers.fact("000", "corpus_tokens")
            / papers.fact("000", "student_parameters"),
            1,
        ),
        tokens_per_parameter("herbert", "S3", "S3"),
        below(papers.fact("000", "recommended_tokens_per_parameter")),
        "tokens a parameter",
    ),
]


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
