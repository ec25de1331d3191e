"""The metrics of the tasks, all in percent. GLUE's (Wang et al. 2019) from scikit-learn and scipy,
SQuAD's written out."""

import re
import string
from collections import Counter
from typing import Callable, Sequence

import numpy as np


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Share of right predictions."""
    return 100.0 * float(np.mean(np.asarray(predicted) == np.asarray(labels)))


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 (MRPC: a paraphrase; QQP: a duplicate). 0 where neither side has it."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(labels, predicted, zero_division=0.0))


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation × 100 (CoLA). 0 where all predictions are alike."""
    from sklearn.metrics import matthews_corrcoef

    return 100.0 * float(matthews_corrcoef(labels, predicted))


def pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation × 100 (STS-B). 0 where one side is constant and the correlation does not
    exist."""
    return _correlation("pearsonr", predicted, labels)


def spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Spearman rank correlation × 100 (STS-B). 0 where one side is constant."""
    return _correlation("spearmanr", predicted, labels)


def _correlation(name: str, predicted: np.ndarray, labels: np.ndarray) -> float:
    from scipy import stats

    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return 0.0
    return 100.0 * float(getattr(stats, name)(predicted, labels).statistic)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


# ---------------------------------------------------------------------------------------- SQuAD 1.1


def normalised(answer: str) -> str:
    """An answer as SQuAD's official scorer compares it: lower case, no ASCII punctuation, no
    English articles, single spaces. Text in scripts without those (Chinese) is left as it is, so
    its words are not told apart (Rajpurkar et al. 2016)."""
    bare = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match(predicted: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals one of the gold answers after normalisation, else 0."""
    return float(any(normalised(predicted) == normalised(gold) for gold in golds))


def token_f1(predicted: str, golds: Sequence[str]) -> float:
    """The largest F1 of word overlap with a gold answer, 0 … 1. Repeated words count as often as
    they stand on both sides."""

    def against(gold: str) -> float:
        ours, theirs = normalised(predicted).split(), normalised(gold).split()
        shared = sum((Counter(ours) & Counter(theirs)).values())
        if not shared:
            return 0.0
        precision, recall = shared / len(ours), shared / len(theirs)
        return 2 * precision * recall / (precision + recall)

    return max(against(gold) for gold in golds)


def squad(predictions: dict[str, str], golds: dict[str, Sequence[str]]) -> dict[str, float]:
    """Exact match and F1 in percent over all questions in `golds`; a question without a prediction
    scores 0."""
    count = max(1, len(golds))
    found = [
        (predictions[question], answers)
        for question, answers in golds.items()
        if question in predictions
    ]
    return {
        "exact_match": 100.0 * sum(exact_match(*pair) for pair in found) / count,
        "f1": 100.0 * sum(token_f1(*pair) for pair in found) / count,
    }
