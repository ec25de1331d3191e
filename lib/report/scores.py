"""Scores of a scenario, in percent: by task, and GLUE's macro score and SQuAD's two as the sources
average them.

A task's score is the mean of its metrics. The macro score is the plain mean of nine tasks, WNLI
among them: the nine numbers of DistilBERT in 002's Table 1 average to the 77.0 printed there. 001
does not say which tasks its score averages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.common.errors import InputError
from lib.report.outcomes import OUTCOMES, TASK
from lib.report.results import EXAMPLES
from lib.report.statistics import Sample, pm

MEAN = "mean of tasks"
"""The name of a score beside those of tasks: their mean."""
MEAN_OF_RUN = "mean of the tasks measured"
"""The same, where these are not the tasks that the study is about."""

Measure = tuple[str, str, str]
"""What one row of results measures: task, language, metric."""
Weights = dict[Measure, float]
"""A score: what it is a weighted sum of."""
Columns = Callable[[Sequence[Measure]], dict[str, Weights]]
"""The scores of a study by name, from what its fine-tunings measured. A score that lacks one of its
parts is left out."""
NONE = Sample(pd.Series(dtype=float))
"""The sample of what was not measured."""


def average(parts: Iterable[Weights]) -> Weights:
    """The plain mean of several scores."""
    parts, weights = list(parts), {}
    for part in parts:
        for measure, weight in part.items():
            weights[measure] = weights.get(measure, 0.0) + weight / len(parts)
    return weights


def mean_of(measures: Iterable[Measure]) -> Weights:
    """The plain mean of several measures."""
    return average({measure: 1.0} for measure in measures)


def tasks(measured: Sequence[Measure]) -> dict[str, Weights]:
    """The score of every task: several metrics or languages count as their mean, as GLUE and XNLI
    do."""
    names = dict.fromkeys(task for task, _, _ in measured)
    return {name: mean_of(m for m in measured if m[0] == name) for name in names}


def by_task(measured: Sequence[Measure]) -> dict[str, Weights]:
    """The score of every task, and their mean, MEAN."""
    scores = tasks(measured)
    return {**scores, MEAN: average(scores.values())}


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


def glue(measured: Sequence[Measure], mnli: str = "both") -> dict[str, Weights]:
    """Each of GLUE's nine tasks, and their mean, MEAN, where all nine were measured.

    `mnli` "both" takes the mean of the matched and mismatched sets, "matched" the first alone, as
    002 prints one number.
    """
    if mnli not in MNLI:
        raise InputError(f"mnli {mnli!r}: allowed are {', '.join(MNLI)}")
    skipped = "accuracy_mismatched" if mnli == "matched" else ""
    own = tasks([m for m in measured if m[0] in GLUE and m[2] != skipped])
    scores = {name: own[name] for name in GLUE if name in own}
    return {**scores, MEAN: average(scores.values())} if len(scores) == len(GLUE) else scores


def squad(measured: Sequence[Measure]) -> dict[str, Weights]:
    """SQuAD 1.1: exact_match and f1."""
    return {
        metric: mean_of(m for m in measured if m[0] == "squad" and m[2] == metric)
        for metric in SQUAD
        if any(m[0] == "squad" and m[2] == metric for m in measured)
    }


def one_protocol(results: pd.DataFrame) -> pd.DataFrame:
    """`results` as they are. Raises InputError where they hold more than one protocol."""
    if results["protocol"].nunique() > 1:
        raise InputError(
            f"results hold the protocols {', '.join(results['protocol'].unique())}: choose one of "
            f"them"
        )
    return results


def samples(
    study: str, results: pd.DataFrame, scenario: str, columns: Columns
) -> dict[str, Sample]:
    """The scores of a scenario by name, for rows of results of one protocol.

    A run is a repeat of the distillation, its value the mean over its fine-tuning seeds; where the
    study has a single repeat a run is a seed. A fine-tuning that lacks a part of a score does not
    count for it, and a score that no run has is left out.
    """
    results = one_protocol(results)
    rows = results[(results["study"] == study) & (results["task"] != TASK)]
    run = "repeat" if rows["repeat"].nunique() > 1 else "seed"
    measured = list(dict.fromkeys(zip(rows["task"], rows["language"], rows["metric"])))
    rows = rows[rows["scenario"] == scenario]
    keys = {"index": ["repeat", "seed"], "columns": ["task", "language", "metric"]}
    values = rows.pivot(**keys, values="value").astype(float)
    by_measure = dict(zip(values, values.to_numpy().T))
    examples = {}
    if EXAMPLES in rows:
        of_measure = rows.pivot(**keys, values=EXAMPLES)
        examples = dict(zip(of_measure, of_measure.to_numpy().T))
    runs = values.index.get_level_values(run)
    scores = {}
    for name, weights in columns(measured).items():
        if not weights or not all(measure in by_measure for measure in weights):
            continue
        parts = np.stack([by_measure[measure] for measure in weights])
        complete = ~np.isnan(parts).any(axis=0)
        if not complete.any():
            continue
        totals = pd.Series(list(weights.values()) @ parts[:, complete], runs[complete])
        of_examples = {}
        if examples:
            own = {measure: examples[measure][complete] for measure in weights}
            of_examples = _by_test_set(own, weights, runs[complete])
        scores[name] = Sample(totals.groupby(level=0).mean(), of_examples).adding_up()
    return scores


def outcomes(study: str, results: pd.DataFrame, scenario: str) -> dict[str, Sample]:
    """What a scenario knows of held-out text, by the names and in the units of
    lib.report.outcomes, for rows of results of one protocol. A run is a repeat of the
    distillation."""
    rows = one_protocol(results)
    rows = rows[(rows["study"] == study) & (rows["scenario"] == scenario) & (rows["task"] == TASK)]
    found = {}
    for metric, outcome in OUTCOMES.items():
        own = rows[rows["metric"] == metric].set_index("repeat").sort_index()
        if len(own):
            examples = np.stack(list(own[EXAMPLES]))
            test_set = f"{TASK}, {examples.shape[1]}"
            sample = Sample(own["value"].astype(float), {test_set: examples})
            found[outcome.name] = sample.adding_up()
    return found


def _by_test_set(
    examples: Mapping[Measure, np.ndarray], weights: Weights, runs: pd.Index
) -> Mapping[str, np.ndarray]:
    """What every example contributes to a score: test set -> [runs, examples]; nothing if the
    predictions of any part are missing. `examples` and `runs` have an entry for each fine-tuning:
    what its examples contribute to a measure, and its run. Metrics on the same examples share a
    test set, and so do languages, whose examples are translations of one another."""
    by_test_set: dict[str, list] = {}
    for measure, weight in weights.items():
        arrays = examples[measure]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            return {}
        own = [np.mean(list(arrays[runs == run]), axis=0) for run in sorted(set(runs))]
        task, _, metric = measure
        name = f"{task}{'_mismatched' * metric.endswith('_mismatched')}, {len(own[0])}"
        by_test_set.setdefault(name, []).append(weight * np.stack(own))
    return {name: sum(parts) for name, parts in by_test_set.items()}


def printed_samples(table: pd.DataFrame) -> dict[str, Sample]:
    """A source's own numbers, one row of them or none, as the samples of a single run."""
    return {name: Sample(table[name].dropna().astype(float)) for name in table}


def per_task(
    study: str, results: pd.DataFrame, scenarios: dict[str, str], mnli: str = "both"
) -> pd.DataFrame:
    """Every task for readers: a row per scenario that has any score, mean ± half of the 95 %
    interval.

    `scenarios`: name -> what the row is called.
    """
    titles = {**GLUE, MEAN: "mean of nine", **SQUAD}
    rows = {}
    for name, label in scenarios.items():
        scores = samples(study, results, name, lambda m: {**glue(m, mnli), **squad(m)})
        if scores:
            rows[label] = {title: pm(scores.get(key, NONE)) for key, title in titles.items()}
    columns = list(titles.values())
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("scenario")
