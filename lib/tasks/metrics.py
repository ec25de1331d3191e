"""The metrics of the tasks, all in percent, and the epoch that is reported.

GLUE's (Wang et al. 2019) come from scikit-learn and scipy; SQuAD's follow its official scorer.
"""

import re
import string
from collections import Counter
from typing import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def _correlation(coefficient):
    """A metric from one of scipy's correlation coefficients."""

    def metric(predicted: np.ndarray, labels: np.ndarray) -> float:
        if np.ptp(predicted) == 0 or np.ptp(labels) == 0:  # the correlation does not exist
            return 0.0
        return 100.0 * float(coefficient(predicted, labels).statistic)

    return metric


METRICS = {
    "accuracy": lambda predicted, labels: 100.0 * accuracy_score(labels, predicted),
    # Of class 1 (MRPC: a paraphrase; QQP: a duplicate); 0 where it is neither there nor predicted.
    "f1": lambda predicted, labels: 100.0 * f1_score(labels, predicted, zero_division=0.0),
    # 0 where all predictions are the same.
    "matthews": lambda predicted, labels: 100.0 * matthews_corrcoef(labels, predicted),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}
"""metric(predicted, labels) by name; both are [examples], class ids, or numbers (correlations).

To add a metric, add it here, in percent and so that more is better, and name it in the `metrics` of
a task in lib.tasks.registry. Tables and figures show it under its name here."""

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


def squad(predictions: Sequence[str], golds: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact match and F1 in percent, means over the questions."""
    pairs = list(zip(predictions, golds, strict=True))
    return {
        "exact_match": 100.0 * sum(exact_match(*pair) for pair in pairs) / len(pairs),
        "f1": 100.0 * sum(token_f1(*pair) for pair in pairs) / len(pairs),
    }


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
