"""The tables that every study gets, computed from what it declares (see `lib.report.declaration`).

`results` are rows of results.csv of one protocol; scores are percent, differences points, paired by
run. A cell of text holds "–" where nothing was measured or printed.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.plan.schema import Question
from lib.report.declaration import Declaration
from lib.report.outcomes import BY_NAME
from lib.report.scores import NONE
from lib.report.statistics import Sample, interval, pm
from lib.report.wording import signed, signed_pm, with_interval
from lib.training.parameters import LOSSES, loss_weights

PAPER = "paper"
"""Heads the columns that hold a paper's own numbers."""
SCORES_NOTE = "Mean over runs ± half of the 95 % interval."
DIFFERENCES_NOTE = (
    "First less second, paired by run: the first column with the ends of its 95 % "
    "interval, the others ± half of it. An interval that holds zero decides nothing. Neither these "
    "intervals nor the p values below are corrected for their number."
)
CORRECTED_NOTE = (
    "The verdicts on claims are, so a claim may stay unresolved although an interval here leaves "
    "out zero."
)
KEPT_NOTE = (
    "Share of the teacher's score, run by run, both above what guessing scores where that is "
    "known: a student that guesses keeps 0 %. Where the teacher itself cannot be told from "
    "guessing, there is no share."
)
OUTCOMES_NOTE = (
    "15 % of the words of held-out text are masked, the same ones for every model. Loss: "
    "cross-entropy of the masked words, in nats (less is better). KL: how far the student's "
    "probabilities are from its teacher's, KL(teacher ‖ student), in nats; of a chain's students "
    "the first teacher's. Agreement: how often both guess the same word first. ± half of the 95 % "
    "interval, which covers other repeats and other text. Differences to the untrained control: "
    "where both have the same teacher."
)


def columns_of(study: Declaration, results: pd.DataFrame) -> dict[str, str]:
    """The scores that are shown, the main one always and first: name -> title."""
    if study.columns:
        unknown = unknown_columns(study, results)
        names = [c for c in study.columns if c != "mean" and c not in unknown]
        return {name: study.titles.get(name, name) for name in [study.main, *names]}
    measured = dict.fromkeys(
        column
        for scenario in scenarios_of(study, results)
        for column in study.scores(results, scenario)
        if column not in BY_NAME  # they have a table of their own, and other units
    )
    titles = {column: study.titles.get(column, column) for column in measured}
    title = titles.pop(study.main, study.main)
    if len(titles) == 1:  # the mean of one task is that task
        return {study.main: next(iter(titles.values()))}
    return {study.main: title} | titles


def unknown_columns(study: Declaration, results: pd.DataFrame) -> list[str]:
    """Columns that the study names and that are no score that anything knows of."""
    names = scenarios_of(study, results)
    unknown = set(study.columns) - {"mean", *study.titles}
    for name in names:
        if unknown:  # most studies' columns are all titled: their scores need not be computed
            unknown -= set(study.scores(results, name))
    return [column for column in study.columns if column in unknown] if names else []


def scenarios_of(study: Declaration, results: pd.DataFrame) -> list[str]:
    """The scenarios that have scores, in the declared order; an undeclared teacher comes first,
    other undeclared ones last. Of a chain the deepest comes first."""
    measured = dict.fromkeys(results.loc[results["study"] == study.name, "scenario"])
    declared = list(study.labels)

    def place(scenario: str) -> tuple[int, int]:
        chain, layers = study.chain_of(scenario)
        if chain in study.labels:
            position = declared.index(chain)
        else:
            position = -1 if scenario == study.teacher else len(declared)
        return (position, -layers)

    return sorted(measured, key=place)


def students_of(study: Declaration, results: pd.DataFrame) -> list[str]:
    """`scenarios_of` without the teachers."""
    return [name for name in scenarios_of(study, results) if name not in study.teachers]


def scenarios_table(study: Declaration) -> pd.DataFrame:
    """What each scenario is: its label, and where its scenarios.yaml entry says so, its initial
    weights, its teacher, and the weights of its losses if it is trained at all."""
    weighted = [
        loss
        for loss in LOSSES
        if any(loss in loss_weights(entry) for entry in study.scenarios.values())
    ]
    titles = " / ".join(LOSSES[loss].title for loss in weighted)
    rows = {}
    for name, label in study.labels.items():
        entry = study.scenarios.get(name, {})
        weights = loss_weights(entry)
        shown = " / ".join(f"{weights.get(loss) or 0:g}" for loss in weighted)
        # A control takes its entry from a student that is trained.
        trained = name != study.control and any(weights.values())
        rows[name] = {
            "what it is": label or "–",
            "initial weights": entry.get("init", "–"),
            "teacher": entry.get("teacher", "–"),
            f"weights: {titles}": shown if trained else "–",
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")
    return table.loc[:, (table != "–").any()] if len(table) else table


def scores_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """The scores of every scenario that was measured or printed: mean ± half of the 95 % interval
    over runs.

    Where the paper prints scores of the study, columns are pairs (title, ours | paper).
    """
    titles = columns_of(study, results)
    names = list(dict.fromkeys([*scenarios_of(study, results), *study.labels]))
    by_paper = {
        name: printed_scores(study, results, name).reindex(columns=list(titles)) for name in names
    }
    by_paper = {name: row.dropna(axis=1) for name, row in by_paper.items()}
    has_paper = any(row.size for row in by_paper.values())
    rows = {}
    for name, printed in by_paper.items():
        measured = study.scores(results, name)
        if not measured and not printed.size:
            continue
        row = {}
        for column, title in titles.items():
            row[(title, "ours") if has_paper else title] = pm(measured.get(column, NONE))
            if has_paper:
                row[title, PAPER] = _printed_cell(printed, column)
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")
    if has_paper and len(table):
        table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def paper_columns(study: Declaration, results: pd.DataFrame) -> list[tuple[str, str]]:
    """The columns of `scores_table` that hold the paper's own numbers."""
    return [(title, PAPER) for title in columns_of(study, results).values()]


def printed_scores(study: Declaration, results: pd.DataFrame, name: str) -> pd.DataFrame:
    """The paper's numbers of a scenario, where they may stand beside these results."""
    return study.printed(name) if study.comparable(results) else pd.DataFrame()


def _printed_cell(printed: pd.DataFrame, column: str) -> str:
    if printed.empty or column not in printed or np.isnan(printed[column].iloc[0]):
        return "–"
    return f"{printed[column].iloc[0]:.1f}"


def difference(
    study: Declaration, results: pd.DataFrame, better: str, worse: str, column: str = ""
) -> Sample:
    """better - worse on one score, in points, or in nats where it is an outcome in nats; empty
    where no run has both."""
    column = column or study.main
    first, second = (study.scores(results, name).get(column, NONE) for name in (better, worse))
    in_nats = column in BY_NAME and BY_NAME[column].unit == "nats"
    return study.shared(first - second, "nats" if in_nats else "points")


def printed_difference(
    study: Declaration, results: pd.DataFrame, better: str, worse: str, column: str = ""
) -> float:
    """The same difference between the paper's own numbers; NaN where it does not print both."""
    column = column or study.main
    first, second = (printed_scores(study, results, name) for name in (better, worse))
    if first.empty or second.empty or column not in first or column not in second:
        return np.nan
    return float(first[column].iloc[0] - second[column].iloc[0])


def pairs_of(
    study: Declaration, results: pd.DataFrame, question: Question
) -> list[tuple[str, str]]:
    """The scenarios that a question compares. Two chains are compared at each depth both have, the
    shallowest first."""
    names = scenarios_of(study, results)
    depths = [
        {study.chain_of(name)[1] for name in names if study.chain_of(name)[0] == chain} - {0}
        for chain in (question.better, question.worse)
    ]
    if not all(depths):
        return [(question.better, question.worse)]
    shared = sorted(depths[0] & depths[1])
    return [(f"{question.better}-{n}", f"{question.worse}-{n}") for n in shared]


def differences_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """A row per question of the study: the paired difference on every score, and the paper's."""
    titles = columns_of(study, results)
    rows = {}
    for question in study.questions:
        for pair in pairs_of(study, results, question):
            differences = {column: difference(study, results, *pair, column) for column in titles}
            printed = printed_difference(study, results, *pair)
            cells = {titles[study.main]: _main_cell(differences[study.main])}
            cells[PAPER] = "–" if np.isnan(printed) else signed(printed)
            for column, title in titles.items():
                if column != study.main:
                    values = differences[column]
                    cells[title] = signed_pm(values) if len(values) else "–"
            rows[question.title, " − ".join(pair)] = cells
    table = pd.DataFrame(list(rows.values()))
    if rows:
        table.index = pd.MultiIndex.from_tuples(rows, names=["question", "difference"])
        table = table.loc[:, [c for c in table if c != PAPER or (table[c] != "–").any()]]
    return table


def _main_cell(differences: pd.Series) -> str:
    return with_interval(interval(differences)) if len(differences) else "–"


def grid_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """The main score of the scenarios in the study's grid: mean ± half of the 95 % interval over
    runs."""
    rows = {
        title: [
            pm(study.scores(results, name).get(study.main, NONE)) if name else "–" for name in names
        ]
        for title, names in study.grid.rows.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=study.grid.columns)


def kept_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """A row per student: the share of the teacher's score that it keeps, in percent, on every
    score; and on the main one its differences to the teacher and to the untrained control."""
    titles = columns_of(study, results)
    title = titles[study.main]
    rows = {}
    for name in students_of(study, results):
        row = {
            f"{label}, % kept": pm(share_kept(study, results, name, column))
            for column, label in titles.items()
        }
        row[f"less the teacher ({title})"] = _main_cell(
            difference(study, results, name, study.teacher)
        )
        control = study.control_of(name)
        if control and control != name:
            row["less the control"] = _main_cell(difference(study, results, name, control))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("student")


def share_kept(study: Declaration, results: pd.DataFrame, name: str, column: str = "") -> Sample:
    """What the student keeps of its teacher's score above guessing, in percent; empty where no run
    has both, or the teacher guesses: 100 * (student - guessing) / (teacher - guessing)."""
    column = column or study.main
    if teacher_guesses(study, results, column):
        return NONE
    floor = study.guessing.get(column, 0.0)
    student, teacher = (
        study.scores(results, each).get(column, NONE) for each in (name, study.teacher)
    )
    return study.shared(100 * ((student - floor) / (teacher - floor)), "% of teacher")


def teacher_guesses(study: Declaration, results: pd.DataFrame, column: str = "") -> bool:
    """Whether the teacher cannot be told from guessing on a score: its 95 % interval, or its one
    run, reaches down to what guessing scores. False where either is not known."""
    column = column or study.main
    mean, low, _ = interval(study.scores(results, study.teacher).get(column, NONE))
    return bool((mean if np.isnan(low) else low) <= study.guessing.get(column, -np.inf))


def outcomes_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """What every model knows of held-out text (lib.report.outcomes), and the differences to its
    untrained control."""
    rows = {}
    for name in scenarios_of(study, results):
        known = study.scores(results, name)
        row = {
            f"{outcome.name}, {outcome.unit}": pm(known.get(outcome.name, NONE), outcome.digits)
            for outcome in BY_NAME.values()
        }
        if set(row.values()) == {"–"}:
            continue
        control = study.control_of(name)
        for outcome in BY_NAME.values() if control not in ("", name) else ():
            change = difference(study, results, name, control, outcome.name)
            of_teacher = outcome.name != "held-out loss"
            if of_teacher and teacher_of(study, name) != teacher_of(study, control):
                change = NONE
            if len(change):
                cell = with_interval(interval(change), outcome.digits)
                row[f"{outcome.name}, less the control"] = cell
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("scenario")


def teacher_of(study: Declaration, scenario: str) -> str:
    """The teacher of a student, by its name in the study."""
    entry = study.scenarios.get(study.chain_of(scenario)[0], {})
    return entry.get("teacher", study.teacher)


def runs_frame(
    study: Declaration, results: pd.DataFrame, names: Iterable[str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Every score of every run in long form: scenario, column (its title), run, value; and the
    score's low and high, the ends of its interval over all runs."""
    rows = []
    for name in names:
        scores = study.scores(results, name)
        for column, title in columns.items():
            sample = scores.get(column, NONE)
            _, low, high = interval(sample)
            rows += [[name, title, run, value, low, high] for run, value in sample.values.items()]
    return pd.DataFrame(rows, columns=["scenario", "column", "run", "value", "low", "high"])


def printed_frame(
    study: Declaration, results: pd.DataFrame, names: Iterable[str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """The paper's own scores in long form: scenario, column (its title), value."""
    rows = []
    for name in names:
        printed = printed_scores(study, results, name)
        for column, title in columns.items():
            if len(printed) and column in printed and not np.isnan(printed[column].iloc[0]):
                value = float(printed[column].iloc[0])
                rows.append({"scenario": name, "column": title, "value": value})
    return pd.DataFrame(rows, columns=["scenario", "column", "value"])
