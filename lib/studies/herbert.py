"""The study `herbert`: six students of one teacher on three tasks (000, Distillation of
HerBERT)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from lib.report import papers, tables
from lib.report.declaration import Declaration, from_files
from lib.report.page import show
from lib.report.results import Results
from lib.report.scores import MEAN, Measure, Weights, average, tasks
from lib.report.section import Analysis

NAME = "herbert"
TASKS = {"polemo2-in": "PolEmo2.0-IN", "polemo2-out": "PolEmo2.0-OUT", "nkjp-ner": "NKJP-NER"}
BEST_NOTE = (
    "The source's scores are the maximum over epochs on the development split; its T1 is the "
    "leaderboard's test score, which is not comparable with them."
)


def scored(measured: Sequence[Measure]) -> dict[str, Weights]:
    """Accuracy on each of the three tasks, then on tasks of the user's own; and the mean of the
    three, where all were measured."""
    scores = tasks(measured)
    three = {name: scores[name] for name in TASKS if name in scores}
    mean = {MEAN: average(three.values())} if len(three) == len(TASKS) else {}
    return three | scores | mean


def printed_scores(scenario: str) -> pd.DataFrame:
    """000's Table 2 (T1 is HerBERT base, a test score), and the mean of its tasks."""
    table = papers.table("000", "results")[list(TASKS)]
    row = table.loc[table.index == scenario].reset_index(drop=True)
    return row.assign(**{MEAN: row.mean(axis=1)})


def declared() -> Declaration:
    return replace(
        from_files(NAME),
        titles=TASKS,
        scored=scored,
        printed=printed_scores,
        notes={"scores_table": BEST_NOTE},
        details=details,
    )


def details(analysis: Analysis) -> list:
    """The source's own protocol, its sizes, and its tokens per parameter, beside ours."""
    study = analysis.studies[NAME]
    best = analysis.scores[analysis.scores["protocol"] == "best_epoch"]
    return [
        show.table(
            tables.scores_table(study, best),
            "Accuracy in percent by the source's own protocol: the largest over all epochs.",
            theirs=tables.paper_columns(study, best),
            note=BEST_NOTE,
        ),
        show.table(
            sizes(study, analysis.efficiency),
            "Parameters and size of teacher and students.",
            theirs=["M", "MB", "%"],
        ),
        show.table(
            tokens_table(analysis.results),
            "Tokens of the transfer set against parameters.",
            theirs=["printed"],
        ),
    ]


def sizes(study: Declaration, efficiency: pd.DataFrame) -> pd.DataFrame:
    """Parameters and size of teacher and student, and their share of the teacher, beside 000's
    section 3.

    Scenarios of one size share a row; M, MB and % are the paper's, whose "MB" are MiB for the
    teacher and 10^6 bytes for the student.
    """
    models = efficiency[efficiency["study"] == NAME].groupby("scenario")[["parameters", "size_mib"]]
    models = models.max().dropna()
    teacher = models["parameters"].get(study.teacher, np.nan)
    fact = partial(papers.fact, "000")
    rows = {}
    for (parameters, mib), group in sorted(
        models.groupby(["parameters", "size_mib"]), reverse=True
    ):
        kind = "teacher" if set(group.index) & study.teachers else "student"
        rows[kind] = {
            "models": ", ".join(name for name in study.labels if name in group.index),
            "M parameters": f"{parameters / 1e6:.3f}",
            "MiB": f"{mib:.1f}",
            "share, %": "–" if np.isnan(teacher) else f"{100 * parameters / teacher:.1f}",
            "M": f"{fact(f'{kind}_parameters') / 1e6:.0f}",
            "MB": f"{fact(f'{kind}_size'):g}",
            "%": f"{fact('student_share'):.0f}" if kind == "student" else "100",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def tokens_table(results: Results) -> pd.DataFrame:
    """Tokens of the transfer set over parameters of teacher and student, beside 000's section 6
    (two and three times)."""
    transfer_set = results.by_scenario("data_prep", NAME).get("corpus_transfer")
    rows = {}
    for model, kind in (("teacher", "teacher_continuation"), ("student", "distillation")):
        stages = list(results.by_scenario(kind, NAME).values())
        if transfer_set and stages:
            statistics = transfer_set["statistics"]
            parameters = stages[0]["summary"]["parameters"]
            rows[model] = {
                "tokens": f"{statistics['tokens']:,}",
                "parameters": f"{parameters:,}",
                "tokens a parameter": f"{statistics['tokens'] / parameters:.2f}",
                "printed": f"{papers.fact('000', f'tokens_per_{model}_parameter'):g}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
