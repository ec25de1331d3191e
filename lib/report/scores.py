"""Scores per fine-tuning seed, in percent: of any study by task, and GLUE's macro score and SQuAD's
two as the sources average them.

A task's score is the mean of its metrics. The macro score is the plain mean of nine tasks, WNLI
among them: the nine numbers of DistilBERT in 002's Table 1 average to the 77.0 printed there. 001
does not say which tasks its score averages.
"""

import pandas as pd

from lib.common.errors import InputError
from lib.report.statistics import pm

MEAN = "mean of tasks"
"""The name of a column beside those of tasks: their mean, per seed."""


def by_task(study: str, results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed (rows) for each task of the study, and their mean, MEAN (columns).

    Several metrics or languages of one task count as their mean, as GLUE and XNLI do. A seed that
    lacks a task has no mean.
    """
    rows = _of(results, study, scenario)
    tasks = list(dict.fromkeys(results.loc[results["study"] == study, "task"]))
    table = rows.pivot_table(index="seed", columns="task", values="value").reindex(columns=tasks)
    return table.assign(**{MEAN: table.mean(axis=1, skipna=False)})


GLUE = {
    "cola": "CoLA",
    "mnli": "MNLI",
    "mrpc": "MRPC",
    "qnli": "QNLI",
    "qqp": "QQP",
    "rte": "RTE",
    "sst2": "SST-2",
    "stsb": "STS-B",
    "wnli": "WNLI",
}
"""In the order of 002's Table 1."""
TITLES = GLUE | {
    "nkjp-ner": "NKJP-NER",
    "polemo2-in": "PolEmo2.0-IN",
    "polemo2-out": "PolEmo2.0-OUT",
    "squad": "SQuAD",
    "xnli": "XNLI",
}
"""How tasks are written."""
MNLI = ("both", "matched")
SQUAD = {"exact_match": "SQuAD EM", "f1": "SQuAD F1"}


def glue(study: str, results: pd.DataFrame, scenario: str, mnli: str = "both") -> pd.DataFrame:
    """Percent by seed (rows), for each of GLUE's nine tasks and their mean, MEAN (columns). NaN
    where nothing was measured.

    MEAN needs all nine tasks of the seed. `mnli` "both" takes the mean of the matched and
    mismatched sets, "matched" the first alone, as 002 prints one number. `results` as results.csv,
    of one protocol.
    """
    if mnli not in MNLI:
        raise InputError(f"mnli {mnli!r}: allowed are {', '.join(MNLI)}")
    rows = _of(results, study, scenario)
    rows = rows[rows["task"].isin(GLUE)]
    if mnli == "matched":
        rows = rows[rows["metric"] != "accuracy_mismatched"]
    table = rows.pivot_table(index="seed", columns="task", values="value").reindex(
        columns=list(GLUE)
    )
    return table.assign(**{MEAN: table.mean(axis=1, skipna=False)})


def squad(study: str, results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """SQuAD 1.1 in percent by seed (rows): columns exact_match and f1."""
    rows = _of(results, study, scenario)
    rows = rows[rows["task"] == "squad"]
    return rows.pivot_table(index="seed", columns="metric", values="value").reindex(
        columns=list(SQUAD)
    )


def one_protocol(results: pd.DataFrame) -> pd.DataFrame:
    """`results` as they are. Raises InputError where they hold more than one protocol."""
    if results["protocol"].nunique() > 1:
        raise InputError(
            f"results hold the protocols {', '.join(results['protocol'].unique())}: choose one of "
            f"them"
        )
    return results


def _of(results: pd.DataFrame, study: str, scenario: str) -> pd.DataFrame:
    results = one_protocol(results)
    return results[(results["study"] == study) & (results["scenario"] == scenario)]


def per_task(
    study: str, results: pd.DataFrame, scenarios: dict[str, str], mnli: str = "both"
) -> pd.DataFrame:
    """Every task for readers: a row per scenario that has any score, mean ± half of the 95 %
    interval over seeds.

    `scenarios`: name -> what the row is called.
    """
    rows = {}
    for name, label in scenarios.items():
        tasks, answers = glue(study, results, name, mnli), squad(study, results, name)
        if len(tasks) or len(answers):
            row = {title: pm(tasks[task].dropna()) for task, title in GLUE.items()}
            row |= {"mean of nine": pm(tasks[MEAN].dropna())}
            rows[label] = row | {
                title: pm(answers[metric].dropna()) for metric, title in SQUAD.items()
            }
    columns = [*GLUE.values(), "mean of nine", *SQUAD.values()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("scenario")
