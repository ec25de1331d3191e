"""The metrics of the tasks, all in percent, and the epoch that is reported.

Those of classes and numbers come from scikit-learn and scipy; SQuAD's follow its official scorer;
entities are seqeval's.
"""

import re
import string
import warnings
from collections import Counter
from typing import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from seqeval.metrics.sequence_labeling import get_entities
from sklearn import metrics as sk

from lib.tasks.registry import AVERAGED, Task


def _correlation(coefficient):
    """A metric from one of scipy's correlation coefficients."""

    def metric(predicted: np.ndarray, labels: np.ndarray) -> float:
        if np.ptp(predicted) == 0 or np.ptp(labels) == 0:  # the correlation does not exist
            return 0.0
        return 100.0 * float(coefficient(predicted, labels).statistic)

    return metric


def _of_classes(function, **options):
    """One of scikit-learn's metrics, in percent; 0 where it does not exist."""

    def metric(predicted: np.ndarray, labels: np.ndarray) -> float:
        with warnings.catch_warnings(action="ignore"):
            return 100.0 * float(np.nan_to_num(function(labels, predicted, **options)))

    return metric


AVERAGES = {
    f"{name}{suffix}": _of_classes(getattr(sk, f"{name}_score"), average=average, zero_division=0.0)
    for name in AVERAGED
    for suffix, average in (
        ("", "binary"),
        ("_macro", "macro"),
        ("_micro", "micro"),
        ("_weighted", "weighted"),
    )
}
METRICS = {
    "accuracy": _of_classes(sk.accuracy_score),
    "balanced_accuracy": _of_classes(sk.balanced_accuracy_score),
    # 0 where all predictions are the same.
    "matthews": _of_classes(sk.matthews_corrcoef),
    "matthews_corrcoef": _of_classes(sk.matthews_corrcoef),
    "cohen_kappa_score": _of_classes(sk.cohen_kappa_score),
    # f1 is of class 1 (MRPC: a paraphrase; QQP: a duplicate); 0 where it is neither there nor
    # predicted.
    **AVERAGES,
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
    "r2": _of_classes(sk.r2_score),
}
"""metric(predicted, labels) by name; both are [examples], class ids, or numbers (correlations, r2).

To add a metric, add it here, in percent and so that more is better, and its name in METRICS_OF of
lib.tasks.registry. Tables and figures show it under its name."""

# --------------------------------------------------------------------------------- of a whole task


def score(task: Task, predicted: Sequence, labels: Sequence) -> dict[str, float]:
    """Each metric of a task, in percent. `predicted` and `labels` are class ids or numbers
    [examples]; for spans answers, and the gold answers of each question; for words the class ids of
    each sentence."""
    if task.kind == "span":
        return squad(predicted, labels)
    if task.tags:
        counts = word_counts(task, predicted, labels)
        return {metric: _ratio(*counts[metric]) for metric in task.metrics}
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    return {metric: METRICS[metric](predicted, labels) for metric in task.metrics}


def contributions(task: Task, predicted: Sequence, labels: Sequence) -> dict[str, np.ndarray]:
    """What each example contributes to each metric of a task, as `example_scores`; arguments as
    `scores`."""
    if task.kind == "span":
        return question_scores(predicted, labels)
    if task.tags:
        counts = word_counts(task, predicted, labels)
        return {metric: ratio_scores(*counts[metric]) for metric in task.metrics}
    arguments = np.asarray(predicted), np.asarray(labels)
    return {metric: example_scores(metric, *arguments) for metric in task.metrics}


# ---------------------------------------------------------------------- what an example contributes


def example_scores(metric: str, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each example contributes to a metric, in percent, [examples]: the mean is the metric.

    Accuracy is a mean over examples as it is. For the others these are the jackknife's
    pseudo-values (Tukey 1958; Efron 1982), n θ - (n - 1) θ₋ᵢ for the metric θ of all n examples and
    θ₋ᵢ of all but the i-th, moved together so that their mean is θ. Their spread over examples
    gives the metric's error, as an accuracy's does.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if metric == "accuracy":
        return 100.0 * (predicted == labels)
    n, value = len(labels), METRICS[metric](predicted, labels)
    if n == 1:
        return np.array([value])
    leave_out = {"pearson": _pearson_without, "spearman": _spearman_without}
    if metric in leave_out:
        without = leave_out[metric](predicted.astype(float), labels.astype(float))
    else:
        without = _without_by_cell(metric, predicted, labels)
    return _pseudo_values(value, without)


def _pseudo_values(value: float, without: np.ndarray) -> np.ndarray:
    """The jackknife's pseudo-values, see `example_scores`."""
    return value - (len(without) - 1) * (without - without.mean())


def _without_by_cell(metric: str, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The metric without each example in turn: the same one for all examples of one prediction and
    one label, so a cell of the confusion table is counted once."""
    pairs = np.column_stack([predicted, labels])
    _, first, cell = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    values = [METRICS[metric](np.delete(predicted, i), np.delete(labels, i)) for i in first]
    return np.array(values)[cell.ravel()]


def _pearson_without(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pearson's correlation without each example in turn, in percent, from the sums of products:
    without the i-th, Σ (x - x̄)(y - ȳ) is less by (xᵢ - x̄)(yᵢ - ȳ) n / (n - 1)."""
    n = len(labels)
    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return np.zeros(n)
    x, y = predicted - predicted.mean(), labels - labels.mean()
    squares_x, squares_y, products = (
        a @ b - a * b * n / (n - 1) for a, b in ((x, x), (y, y), (x, y))
    )
    # Where one example holds nearly all the spread, the difference of sums is rounding.
    alone = (squares_x < 1e-6 * (x @ x)) | (squares_y < 1e-6 * (y @ y))
    without = np.empty(n)
    without[~alone] = 100.0 * products[~alone] / np.sqrt(squares_x[~alone] * squares_y[~alone])
    for i in np.flatnonzero(alone):
        without[i] = METRICS["pearson"](np.delete(predicted, i), np.delete(labels, i))
    return without


AT_ONCE = 2**20
"""Ranks that are held at once: 8 MB, a few times over."""


def _spearman_without(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Spearman's correlation without each example in turn, in percent, exactly: without the i-th,
    ranks above its own fall by 1, and equal ones by a half. Takes O(n²)."""
    n, without = len(labels), []
    ranks = [(values, stats.rankdata(values)) for values in (predicted, labels)]
    for rows in np.array_split(np.arange(n), -(-n * n // AT_ONCE)):
        x, y = (_centred_ranks_without(rows, *side) for side in ranks)
        spread = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
        # Ranks are whole or half, so that a side without spread has exactly none.
        correlation = (x * y).sum(axis=1) / np.where(spread > 0, spread, 1.0)
        without.append(100.0 * correlation)
    return np.concatenate(without)


def _centred_ranks_without(rows: np.ndarray, values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The ranks less their mean, [rows, examples], in each row those without that example, whose
    own place holds 0."""
    own = values[rows, None]
    centred = ranks - (values > own) - 0.5 * (values == own) - len(values) / 2
    centred[np.arange(len(rows)), rows] = 0.0
    return centred


# ------------------------------------------------------------------------------ words and entities


def word_counts(
    task: Task, predicted: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each metric of words two counts in every sentence, [sentences]: the metric is the ratio
    of their sums over all sentences.

    An entity is a run of tags as seqeval reads them (by default as conlleval does), and right if
    its kind, its first and its last word are. Precision is of the entities predicted, recall of
    those there are, F1 their harmonic mean: twice the right ones over both.
    """
    rows = []
    # of other tags, such as parts of speech, seqeval would make entities with a warning
    has_entities = any(metric.startswith("entity") for metric in task.metrics)
    for own, gold in zip(predicted, labels, strict=True):
        tags = ([task.labels[i] for i in ids if has_entities] for ids in (own, gold))
        found, there = (set(get_entities(named)) for named in tags)
        right_words = int(np.sum(np.equal(own, gold)))
        rows.append([len(found & there), len(found), len(there), right_words, len(gold)])
    right, found, there, right_words, words = np.array(rows, float).T
    return {
        "entity_f1": (2 * right, found + there),
        "entity_precision": (right, found),
        "entity_recall": (right, there),
        "accuracy": (right_words, words),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    """The ratio of two sums, in percent; 0 where there is nothing."""
    return 100.0 * float(part.sum() / whole.sum()) if whole.any() else 0.0


def ratio_scores(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What each example contributes to the ratio of two sums over examples, as `example_scores`."""
    value = _ratio(part, whole)
    if len(part) == 1:
        return np.array([value])
    left = whole.sum() - whole
    without = 100.0 * np.divide(part.sum() - part, left, out=np.zeros_like(left), where=left > 0)
    return _pseudo_values(value, without)


# ---------------------------------------------------------------------------------------- SQuAD 1.1


def normalised(answer: str) -> str:
    """An answer as SQuAD's official scorer compares it: lower case, no ASCII punctuation, no
    English articles, single spaces (Rajpurkar et al. 2016). Text in a script without spaces
    (Chinese) stays one word."""
    bare = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match(predicted: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals one of the gold answers after normalisation, else 0."""
    return float(normalised(predicted) in map(normalised, golds))


def token_f1(predicted: str, golds: Sequence[str]) -> float:
    """The largest F1 of word overlap with a gold answer, 0 … 1. A repeated word counts as often as
    it occurs in both."""
    best, words = 0.0, Counter(normalised(predicted).split())
    for gold in golds:
        gold_words = Counter(normalised(gold).split())
        shared = (words & gold_words).total()
        if shared:
            precision, recall = shared / words.total(), shared / gold_words.total()
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def question_scores(
    predictions: Sequence[str], golds: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Exact match and F1 of every question, in percent, [questions]."""
    pairs = list(zip(predictions, golds, strict=True))
    return {
        "exact_match": 100.0 * np.array([exact_match(*pair) for pair in pairs]),
        "f1": 100.0 * np.array([token_f1(*pair) for pair in pairs]),
    }


def squad(predictions: Sequence[str], golds: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact match and F1 in percent, means over the questions."""
    scores = question_scores(predictions, golds)
    return {metric: float(values.mean()) for metric, values in scores.items()}


# ---------------------------------------------------------------------------------------- protocols

PROTOCOLS = {"final": "last epoch", "best_epoch": "best epoch"}


def by_protocol(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of the epoch that each protocol reports, with a column `protocol`.

    scores: rows of task, seed, epoch, value and more, of one fine-tuning stage. `final` takes the
    last epoch of every run (a task and seed); `best_epoch` the one with the largest mean over the
    task's metrics and languages, the first of equals.
    """
    chosen = []
    for _, run in scores.groupby(["task", "seed"], sort=False):
        means = run.groupby("epoch")["value"].mean()
        for protocol, epoch in {"final": means.index.max(), "best_epoch": means.idxmax()}.items():
            chosen.append(run[run["epoch"] == epoch].assign(protocol=protocol))
    return pd.concat(chosen, ignore_index=True)
