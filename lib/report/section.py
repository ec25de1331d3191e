"""A study's part of the report: what every study shows, and what it adds of its own."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.plan.study import Study
from lib.report import (
    claims,
    claims_view,
    figures,
    findings,
    floors,
    labels,
    likeness,
    overview,
    papers,
    tables,
)
from lib.report.declaration import Declaration, with_every_task
from lib.report.latency import latency
from lib.report.outcomes import TASK
from lib.report.page import show
from lib.report.results import EXAMPLES, Results
from lib.report.scores import NONE
from lib.report.wording import code, plain


@dataclass(frozen=True)
class Analysis:
    """What a scale has produced, and the studies it is read by.

    `scores` are the rows of results.csv, of both protocols, and those of outcomes.csv; `final` are
    those after the last epoch; `efficiency` are rows of efficiency.csv, `verdicts` those of
    claims.csv; `claims` and `baselines` (of the tasks, see `lib.report.floors`) are by study.
    """

    results: Results
    studies: dict[str, Declaration]
    claims: dict[str, list[claims.Claim]]
    scores: pd.DataFrame
    final: pd.DataFrame
    efficiency: pd.DataFrame
    verdicts: pd.DataFrame
    baselines: dict[str, floors.Baselines] = field(default_factory=dict)

    def write(self, analysis: str, scratch: Path) -> None:
        """Write results.csv, outcomes.csv, efficiency.csv and claims.csv; where: see
        `Results.write`."""
        scores = self.scores.drop(columns=EXAMPLES, errors="ignore")
        of_text = scores["task"] == TASK
        self.results.write(
            analysis,
            scratch,
            results=scores[~of_text],
            outcomes=scores[of_text],
            efficiency=self.results.with_other_stages(self.efficiency),
            claims=self.verdicts,
        )


def analyse(scale: str, studies: dict[str, Declaration]) -> Analysis:
    """Gather the results of a scale, measure the models' latency, and test the claims."""
    results = Results(scale, sorted(studies))
    frames = [results.scores(), results.outcomes()]
    # An empty frame has columns of no type, which all would take over.
    scores = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
    final = scores[scores["protocol"] == "final"]
    baselines = floors.measure(results, studies.values())
    nothing = floors.Baselines()
    studies = {
        name: floors.judged(study, final, baselines.get(name, nothing))
        for name, study in studies.items()
    }
    efficiency = results.efficiency(latency(results.models()))
    entries = claims_of(studies, scale)
    studies = {
        name: claims.sharing(study, entries[name], final, efficiency)
        for name, study in studies.items()
    }
    entries = {
        name: [replace(claim, study=studies[name]) for claim in own]
        for name, own in entries.items()
    }
    every = [claim for study_claims in entries.values() for claim in study_claims]
    shown = {}
    for name, study in studies.items():  # claims are about the tasks of their study alone
        shown[name] = with_every_task(study, final)
        if shown[name] is not study:
            shown[name] = floors.judged(shown[name], final, baselines.get(name, nothing))
    return Analysis(
        results=results,
        studies=shown,
        claims=entries,
        scores=scores,
        final=final,
        efficiency=efficiency,
        verdicts=claims.evaluate(scores, efficiency, every),
        baselines=baselines,
    )


def claims_of(studies: dict[str, Declaration], scale: str) -> dict[str, list[claims.Claim]]:
    """Study -> the claims of its claims.yaml. Those that name a scenario which the study does not
    have at this scale say so in `asks`."""
    return {
        name: claims.read(study, [*study.labels, *Study(name, scale, data_dir=None).teachers()])
        for name, study in studies.items()
    }


def answers(analysis: Analysis) -> dict[str, str]:
    """Study -> its questions answered; for a study without a source document, which asks how small
    its owner's student may be, also which student keeps most."""
    final, answered = analysis.final, {}
    for name, study in analysis.studies.items():
        kept = "" if study.source else findings.most_kept(study, final, analysis.efficiency)
        answered[name] = f"{kept} {findings.answer(study, final)}".strip()
    return answered


def claims_at_a_glance(analysis: Analysis) -> list:
    """Each study's claims that were measured, and what its names mean."""
    shown = []
    for name, study in analysis.studies.items():
        measured = claims_view.at_a_glance(analysis.verdicts, analysis.claims[name])
        if len(measured):
            shown += [
                show.prose(study.words) if study.words else None,
                show.table(
                    measured,
                    f"{study.short}: the claims, and what this run says of them.",
                    theirs=claims_view.PAPER_COLUMNS,
                ),
            ]
        elif analysis.claims[name]:
            shown.append(
                show.prose(
                    f"{study.short}: this run can measure none of the claims; the appendix says "
                    "what each needs."
                )
            )
    return [item for item in shown if item is not None]


def claims_in_detail(analysis: Analysis) -> list:
    """The rule behind the verdicts, how many came out how, and what could not be measured; nothing
    where there are no claims."""
    by_study = {study.short: analysis.claims[name] for name, study in analysis.studies.items()}
    every = [claim for entries in by_study.values() for claim in entries]
    if not every:
        return []
    unmeasured = claims_view.not_measured(analysis.verdicts, every)
    caption = "Claims that this run has nothing to measure by, and what they need."
    return [
        show.prose(claims_view.RULE),
        show.table(
            claims_view.counts(analysis.verdicts, by_study), "How many claims came out how."
        ),
        *(
            [show.table(unmeasured, caption, theirs=claims_view.PAPER_COLUMNS)]
            if len(unmeasured)
            else []
        ),
    ]


def section(analysis: Analysis, name: str) -> list:
    """What the report shows of a study: prose, tables and figures, in order; nothing where it did
    not run. What every study shows is added here."""
    if name not in analysis.studies:
        return []
    study, final = analysis.studies[name], analysis.final
    source = f" (source {study.source})" if study.source in papers.sources() else ""
    shown = [
        *([show.prose(f"**Question{source}.** {plain(study.question)}")] if study.question else []),
        show.table(tables.scenarios_table(study), "What each scenario is."),
        show.prose(f"### {study.short}: results"),
        *_unknown_columns(study, final),
        show.table(
            tables.scores_table(study, final),
            "Scores in percent after the last epoch.",
            theirs=tables.paper_columns(study, final),
            note=_note(study, "scores_table", tables.SCORES_NOTE),
        ),
        *floors.shown(study, final, analysis.baselines.get(name, floors.Baselines())),
        show.figure(
            scores_figure(study, final),
            "Scores by scenario. Dots: runs; bars: mean and 95 % interval"
            + ("; dotted: the untrained control" if _has_control(study, final) else "")
            + ("; hollow diamonds: the paper." if _is_printed(study, final) else "."),
            describe(study, final),
        ),
        *_label_curves(analysis, study),
        *_grid(study, final),
        *(study.section(analysis) if study.section else []),
        show.prose(f"### {study.short}: what it says"),
    ]
    if study.questions:
        corrected = tables.CORRECTED_NOTE if analysis.claims[name] else ""
        note = _note(study, "differences_table", tables.DIFFERENCES_NOTE)
        shown.append(
            show.table(
                tables.differences_table(study, final),
                "Each question's answer: paired differences in points.",
                theirs=[tables.PAPER],
                note=f"{note} {corrected}".strip(),
            )
        )
    shown += [
        show.table(
            tables.kept_table(study, final),
            "What each student keeps of its teacher's scores, and how far it is from the teacher "
            "and from its untrained control, in points.",
            note=_note(study, "kept_table", tables.KEPT_NOTE),
        ),
        show.prose("\n\n".join(findings.findings(study, final, analysis.efficiency))),
    ]
    known = tables.outcomes_table(study, final)
    if len(known):
        caption = "What each student knows of held-out text."
        shown.append(show.table(known, caption, note=tables.OUTCOMES_NOTE))
    return shown


def _label_curves(analysis: Analysis, study: Declaration) -> list:
    curves = labels.curves(study, analysis.results, analysis.final)
    if curves.empty:
        return []
    return [
        show.figure(
            labels.figure(curves, study.labels, study.colours),
            "Scores by the number of labelled examples. Bars: 95 % intervals.",
            labels.describe(curves),
        )
    ]


def _grid(study: Declaration, results: pd.DataFrame) -> list:
    if study.grid is None:
        return []
    title = tables.columns_of(study, results)[study.main]
    caption = f"{title[0].upper()}{title[1:]}, in percent: what differs by row and by column."
    return [show.table(tables.grid_table(study, results), caption, note=tables.SCORES_NOTE)]


def _unknown_columns(study: Declaration, results: pd.DataFrame) -> list:
    if not (unknown := tables.unknown_columns(study, results)):
        return []
    return [
        show.prose(
            f"`columns` in params/{study.name}/scenarios.yaml: no scenario has a score "
            f"{' or '.join(map(code, unknown))}, so none is shown."
        )
    ]


def _has_control(study: Declaration, results: pd.DataFrame) -> bool:
    """Whether one untrained control, rather than one for each depth, was measured."""
    return study.control in tables.scenarios_of(study, results)


def _is_printed(study: Declaration, results: pd.DataFrame) -> bool:
    """Whether the paper's numbers may stand beside any scenario's."""
    names = tables.scenarios_of(study, results)
    return any(len(tables.printed_scores(study, results, name)) for name in names)


PANELS = 4
"""A study with more scores than this has the main one drawn alone."""


def scores_figure(study: Declaration, results: pd.DataFrame):
    """A row per scenario with a dot per run, a panel per score, the paper's numbers as
    diamonds."""
    columns = tables.columns_of(study, results)
    if len(columns) > PANELS:
        columns = {study.main: columns[study.main]}
    names = tables.scenarios_of(study, results)
    labels = {
        name: f"{name}: {study.label(name)}" if study.label(name) not in ("", name) else name
        for name in names
    }
    printed = tables.printed_frame(study, results, names, columns)
    return figures.rows_of_runs(
        tables.runs_frame(study, results, names, columns),
        order=names,
        labels=labels,
        colours={name: study.colour(name) for name in names if study.colour(name)},
        printed=printed if len(printed) else None,
        control=study.control,
        xlabel="score in percent",
    )


def _note(study: Declaration, table: str, general: str) -> str:
    return " ".join(filter(None, (general, study.notes.get(table, ""))))


def describe(study: Declaration, results: pd.DataFrame) -> str:
    """`scores_figure` in words, for readers who do not see it."""
    title = tables.columns_of(study, results)[study.main]
    means = {
        name: study.scores(results, name).get(study.main, NONE).mean()
        for name in tables.scenarios_of(study, results)
    }
    listed = ", ".join(f"{name} {mean:.1f}" for name, mean in means.items() if not np.isnan(mean))
    return f"Scores by scenario. {title} in percent: {listed or 'nothing measured'}."


def details(analysis: Analysis, name: str) -> list:
    """What the appendix shows of a study, as `section` does for the report's main part."""
    if name not in analysis.studies:
        return []
    study, epochs = analysis.studies[name], analysis.results.epochs(name)
    curves = []
    if epochs["epoch"].nunique() > 1:  # scores of one epoch are no curve
        curves = [
            show.figure(
                figures.figure_finetuning(epochs, study.colours),
                "Fine-tuning: the mean of a task's metrics after every epoch. Thin: seeds; thick: "
                "their mean.",
                figures.describe_finetuning(epochs),
            )
        ]
    return [
        show.prose(f"### {study.short}: details"),
        *(study.details(analysis) if study.details else []),
        show.prose(findings.optimism_paragraph(study, analysis.scores)),
        *curves,
        *likeness.shown(study, analysis.results),
        *overview.training_details(analysis.results, analysis.efficiency, study),
    ]
