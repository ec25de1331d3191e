"""The study `ablation`: what DistilBERT's student keeps, and what each of its three losses is worth
(002, Tables 1 and 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.report import papers, scores, tables
from lib.report.declaration import Declaration, from_files
from lib.report.figures import draw_means, panels, plain_axes
from lib.report.page import show
from lib.report.scores import MEAN
from lib.report.section import Analysis
from lib.report.statistics import Sample, interval, pm
from lib.report.wording import decided, listed, quoted, signed, with_interval
from lib.training.parameters import LOSSES

NAME = "ablation"
LEFT_OUT = {f"without_{name}": LOSSES[name].title for name in ("soft", "cosine", "mlm")}
"""The scenario without a loss -> the loss."""
LEFT_OUT_AT_RANDOM = {
    "random_without_soft": LOSSES["soft"].title,
    "random_without_mlm": LOSSES["mlm"].title,
    "random_mlm_only": "both distillation losses",
}
"""The same of students that start from random weights, whose triple loss is `random_init`."""
TEMPERATURES = {"temperature1": 1, "triple": 2, "temperature4": 4, "temperature8": 8}
PAPER_MODELS = {"BERT-base": "teacher", "DistilBERT": "triple", "ELMo": ""}
"""002's models -> our scenarios in their places."""
TASKS_NOTE = (
    "Ours: mean over runs ± half of the 95 % interval; the printed numbers are medians of five "
    "runs. A task with two metrics counts as their mean, MNLI as its matched set. "
)


def scored(measured: Sequence[scores.Measure]) -> dict[str, scores.Weights]:
    """The nine GLUE tasks and their MEAN, as 002 scores (MNLI on its matched set), and SQuAD's
    exact match and F1."""
    return {**scores.glue(measured, mnli="matched"), **scores.squad(measured)}


def task_scores(results: pd.DataFrame, scenario: str) -> dict[str, Sample]:
    """The scores of a scenario by name, in percent."""
    return scores.samples(NAME, results, scenario, scored)


def macro(results: pd.DataFrame, scenario: str) -> Sample:
    """The mean of the nine tasks, in percent."""
    return task_scores(results, scenario).get(MEAN, scores.NONE)


def printed_scores(scenario: str) -> pd.DataFrame:
    """The printed GLUE scores (002, Tables 1 and 4) and SQuAD's beside them (001, Table 7), as
    `scored`; the ablated students have the macro score alone."""
    table = papers.table("002", "glue").rename(columns={"score": MEAN})[[*scores.GLUE, MEAN]]
    model = {"teacher": "BERT-base", "triple": "DistilBERT"}.get(scenario)
    changes = papers.table("002", "ablation")["glue_change"]
    if model:
        squad_row = {"teacher": "teacher", "triple": "DistilBERT"}[scenario]
        squad = papers.table("001", "squad_size").reindex([squad_row]).reset_index(drop=True)
        return table.loc[[model]].reset_index(drop=True).join(squad)
    if scenario not in changes.index:
        return table.iloc[:0]
    macro_score = table.loc["DistilBERT", MEAN] + changes[scenario]
    return pd.DataFrame({MEAN: [macro_score]}).reindex(columns=table.columns)


def declared() -> Declaration:
    return replace(
        from_files(NAME),
        titles=scores.TITLES | {MEAN: "macro score"},
        scored=scored,
        printed=printed_scores,
        notes={
            "scores_table": "Macro score: the mean of nine GLUE tasks, MNLI on its matched set.",
        },
        section=section,
        findings=findings,
        details=details,
    )


def section(analysis: Analysis) -> list:
    return [
        show.figure(
            figure_temperature(analysis.studies[NAME], analysis.final),
            "Macro score by the temperature of the soft targets. Mean and 95 % interval over runs.",
            describe_temperature(analysis.final),
        )
    ]


def details(analysis: Analysis) -> list:
    final = analysis.final
    return [
        show.table(
            tasks_table(final),
            "GLUE by task in percent, beside Table 1 of Sanh et al. as the slides print it.",
            theirs=[(side, "paper") for side in PAPER_MODELS],
            note=TASKS_NOTE + " ".join(map(quoted, papers.flags("002", "glue"))),
        ),
        show.table(
            scores.per_task(NAME, final, analysis.studies[NAME].labels, mnli="matched"),
            "Every task in percent: mean over runs ± half of the 95 % interval.",
        ),
    ]


def tasks_table(results: pd.DataFrame) -> pd.DataFrame:
    """002's Table 1 turned on its side: a row per task and one for the score, ours beside
    BERT-base, DistilBERT and ELMo."""
    paper = papers.table("002", "glue")
    columns = {}
    for model, scenario in PAPER_MODELS.items():
        if scenario:
            ours = task_scores(results, scenario)
            columns[model, "ours"] = [pm(ours.get(t, scores.NONE)) for t in (MEAN, *scores.GLUE)]
        columns[model, "paper"] = [f"{paper.loc[model, t]:.1f}" for t in ("score", *scores.GLUE)]
    return pd.DataFrame(columns, index=pd.Index(["score", *scores.GLUE.values()], name="task"))


def findings(study: Declaration, results: pd.DataFrame) -> list[str]:
    """Which loss costs most to leave out, from the teacher's weights and from random ones, and what
    the temperature does: a paragraph each."""
    return [
        losses_paragraph(study, results, "triple", LEFT_OUT),
        losses_paragraph(
            study, results, "random_init", LEFT_OUT_AT_RANDOM, ", from a random start"
        ),
        temperature_paragraph(study, results),
    ]


def losses_paragraph(
    study: Declaration,
    results: pd.DataFrame,
    triple: str,
    left_out: Mapping[str, str],
    start: str = "",
) -> str:
    """The losses ranked by the mean cost of leaving them out, neighbours told apart by paired
    intervals. `triple` is the scenario with all three, `left_out` what each other one lacks,
    `start` how they start, in words."""
    head = f"**Which loss costs most to leave out{start}.**"
    change = {name: tables.difference(study, results, name, triple) for name in left_out}
    ranked = sorted((n for n in left_out if len(change[n])), key=lambda n: change[n].mean())
    if len(ranked) < 2:
        return f"{head} Not measured: fewer than two of the students that lack a loss have run."
    parts = [f"{left_out[name]} {with_interval(interval(change[name]), 2)}" for name in ranked]
    text = f"In points of the macro score against {triple}: {', '.join(parts)}."
    if min(len(change[name]) for name in ranked) == 1:
        return f"{head} One run has no interval, so nothing is concluded. {text}"
    costly = [left_out[name] for name in ranked if decided(change[name]) < 0]
    free = [left_out[name] for name in ranked if decided(change[name]) >= 0]
    verdict = (
        f"Shown to cost: {listed(costly)}." if costly else "No loss is shown to cost anything."
    )
    if costly and free:
        verdict += f" No cost is shown for {' or '.join(free)}."
    leads = []
    for worse, better in zip(ranked, ranked[1:]):
        lead = tables.difference(study, results, better, worse)
        order = "decided" if decided(lead) > 0 else "undecided"
        gap = f"by {with_interval(interval(lead), 2)} ({order})"
        leads.append(f"{left_out[worse]} over {left_out[better]} {gap}")
    changes = papers.table("002", "ablation")["glue_change"]
    paper = [f"{left_out[n]} {quoted(signed(changes[n], 2))}" for n in left_out if n in changes]
    theirs = f" The paper prints {', '.join(paper)}." if paper else ""
    return f"{head} {verdict} {text} Each against the next: {'; '.join(leads)}.{theirs}"


def temperature_paragraph(study: Declaration, results: pd.DataFrame) -> str:
    """Which temperatures can be told from T = 2."""
    head = "**What the temperature does.**"
    others = {
        temperature: tables.difference(study, results, name, "triple")
        for name, temperature in TEMPERATURES.items()
        if name != "triple"
    }
    others = {temperature: gain for temperature, gain in others.items() if len(gain)}
    if not others:
        return f"{head} Not measured: no other temperature has a run in common with T = 2."
    any_decided = any(map(decided, others.values()))
    verdict = f"{'Some' if any_decided else 'No other'} can be told from T = 2."
    words = {1: "better", -1: "worse", 0: "undecided"}
    parts = [
        f"T = {temperature} {with_interval(interval(gain), 2)}, {words[decided(gain)]}"
        for temperature, gain in others.items()
    ]
    return f"{head} {verdict} Against it, in points of the macro score: {'; '.join(parts)}."


def figure_temperature(study: Declaration, results: pd.DataFrame):
    """Macro score in percent against the temperature of the soft targets, on a logarithmic axis."""
    long = tables.runs_frame(study, results, TEMPERATURES, {MEAN: "macro score"})
    long = long.assign(temperature=long["scenario"].map(TEMPERATURES).astype(float))
    figure, (ax,) = panels(1, row_height=2.4)
    ax.plot(long["temperature"], long["value"], "o", ms=4, alpha=0.5, color=study.colours["triple"])
    draw_means(ax, long, "temperature", study.colours["triple"])
    plain_axes(ax, "", grid="y")
    ticks = list(TEMPERATURES.values())
    ax.set_xscale("log", base=2)
    ax.set(xlim=(0.8, 10), xlabel="temperature", ylabel="macro score in percent")
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    return figure


def describe_temperature(results: pd.DataFrame) -> str:
    """The figure of temperatures in words."""
    means = {t: macro(results, name).mean() for name, t in TEMPERATURES.items()}
    parts = ", ".join(f"{mean:.1f} at {t}" for t, mean in means.items() if not np.isnan(mean))
    return f"Macro score by temperature: {parts or 'nothing measured'}."
