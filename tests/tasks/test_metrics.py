"""Metrics against hand-computed values, scikit-learn and scipy, and the rules of SQuAD's official
scorer."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lib.tasks import metrics
from lib.tasks.metrics import (
    METRICS,
    exact_match,
    example_scores,
    normalised,
    question_scores,
    squad,
    token_f1,
)

RNG = np.random.default_rng(0)
LABELS, GUESSES = RNG.integers(0, 2, 200), RNG.integers(0, 2, 200)
SCORES, TRUE = RNG.normal(size=200), RNG.normal(size=200)


def test_against_the_libraries():
    assert METRICS["accuracy"](GUESSES, LABELS) == pytest.approx(
        100 * sk.accuracy_score(LABELS, GUESSES)
    )
    assert METRICS["f1"](GUESSES, LABELS) == pytest.approx(100 * sk.f1_score(LABELS, GUESSES))
    assert METRICS["matthews"](GUESSES, LABELS) == pytest.approx(
        100 * sk.matthews_corrcoef(LABELS, GUESSES)
    )
    assert METRICS["pearson"](SCORES, TRUE) == pytest.approx(
        100 * stats.pearsonr(SCORES, TRUE).statistic
    )
    assert METRICS["spearman"](SCORES, TRUE) == pytest.approx(
        100 * stats.spearmanr(SCORES, TRUE).statistic
    )


@pytest.mark.parametrize("seed", range(5))
def test_against_the_libraries_on_lopsided_classes_and_ties(seed):
    rng = np.random.default_rng(seed)
    labels, guesses = rng.random(150) < 0.1 * (seed + 1), rng.random(150) < 0.3
    assert METRICS["f1"](guesses.astype(int), labels.astype(int)) == pytest.approx(
        100 * sk.f1_score(labels, guesses)
    )
    three, true = rng.integers(0, 3, 150), rng.integers(0, 3, 150)
    assert METRICS["accuracy"](three, true) == pytest.approx(100 * sk.accuracy_score(true, three))
    assert METRICS["matthews"](three, true) == pytest.approx(
        100 * sk.matthews_corrcoef(true, three)
    )
    rounded, scores = rng.integers(0, 6, 150).astype(float), rng.normal(size=150)
    ranks = np.corrcoef(stats.rankdata(scores), stats.rankdata(rounded))[
        0, 1
    ]  # ties share the mean of their ranks
    assert METRICS["spearman"](scores, rounded) == pytest.approx(100 * ranks)
    assert METRICS["pearson"](scores, rounded) == pytest.approx(
        100 * np.corrcoef(scores, rounded)[0, 1]
    )


def test_by_hand():
    """3 true positives, 1 false positive, 2 false negatives, 4 true negatives."""
    labels = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    guesses = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert METRICS["f1"](guesses, labels) == pytest.approx(100 * 6 / 9)
    assert METRICS["matthews"](guesses, labels) == pytest.approx(
        100 * (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6)
    )
    assert METRICS["accuracy"](guesses, labels) == 70


def test_constant_predictions_score_zero_not_nan():
    constant = np.zeros(5)
    assert METRICS["matthews"](constant, np.array([0, 1, 0, 1, 1])) == 0
    assert (
        METRICS["pearson"](constant, np.arange(5))
        == METRICS["spearman"](constant, np.arange(5))
        == 0
    )
    assert METRICS["f1"](constant, constant) == 0


def by_leaving_out(metric, predicted, labels):
    """The jackknife's pseudo-values, moved so that their mean is the metric, one by one."""
    n, value = len(labels), METRICS[metric](predicted, labels)
    pseudo = np.array(
        [
            n * value - (n - 1) * METRICS[metric](np.delete(predicted, i), np.delete(labels, i))
            for i in range(n)
        ]
    )
    return pseudo + value - pseudo.mean()


def answers_of(kind, rng, n=60):
    """Predictions and labels: good ones, lopsided classes, three classes, constant ones, numbers
    with and without ties, numbers of which one is apart."""
    truth, noise = rng.normal(size=(2, n))
    return {
        "classes": (truth + noise > 0, truth > 0),
        "lopsided": (truth + noise > 1.5, truth > 1.5),
        "one positive": (np.arange(n) == 3, np.arange(n) == 3),
        "none predicted": (np.zeros(n), truth > 0),
        "all the same": (np.zeros(n), np.zeros(n)),
        "three classes": (rng.integers(0, 3, n), rng.integers(0, 3, n)),
        "numbers": (truth + noise, truth),
        "ties": (np.round(truth + noise), np.round(truth, 1)),
        "constant": (np.full(n, 0.1), truth),
        "one apart": (np.where(np.arange(n) == 3, 5.0, 0.1), truth),
        "one far apart": (np.where(np.arange(n) == 3, 1e9, truth), truth),
        "two examples": (truth[:2], noise[:2]),
    }[kind]


CLASSES = ["classes", "lopsided", "one positive", "none predicted", "all the same"]
NUMBERS = ["numbers", "ties", "constant", "one apart", "one far apart", "two examples"]
CASES = [
    *((metric, kind) for metric in ("accuracy", "f1", "matthews") for kind in CLASSES),
    ("accuracy", "three classes"),
    ("matthews", "three classes"),
    *((metric, kind) for metric in ("pearson", "spearman") for kind in NUMBERS),
]


@pytest.mark.parametrize("metric, kind", CASES)
def test_contributions_are_those_of_leaving_out_each_example(metric, kind, monkeypatch):
    monkeypatch.setattr(metrics, "AT_ONCE", 700)  # several chunks of ranks, the last one smaller
    for seed in range(3):
        predicted, labels = answers_of(kind, np.random.default_rng(seed))
        if kind not in NUMBERS:
            predicted, labels = predicted.astype(int), labels.astype(int)
        scores = example_scores(metric, predicted, labels)
        assert scores == pytest.approx(by_leaving_out(metric, predicted, labels), abs=1e-6)
        assert scores.mean() == pytest.approx(METRICS[metric](predicted, labels), abs=1e-9)


def test_the_contributions_of_a_mean_over_examples_are_its_own():
    assert list(example_scores("accuracy", [1, 0, 2], [1, 1, 2])) == [100, 0, 100]


@pytest.mark.parametrize("metric", METRICS)
def test_one_example_contributes_all(metric):
    assert example_scores(metric, np.array([1]), np.array([1])) == [
        METRICS[metric](np.array([1]), np.array([1]))
    ]


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("The  Cat,  a hat!", "cat hat"),
        ("an apple's core", "apples core"),
        ("theatre and Ann", "theatre and ann"),
        ("北京大学", "北京大学"),
        ("«Łódź»", "«łódź»"),
        ("...", ""),
        ("The", ""),
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        ("a\tb\n c", "b c"),
        ("$3.50 – “quoted”", "350 – “quoted”"),
        ("the the anthem", "anthem"),
        ("中国的首都。", "中国的首都。"),
    ],
)
def test_normalisation(answer, expected):
    assert normalised(answer) == expected


def test_exact_match_takes_any_gold_answer():
    assert exact_match("the Denver Broncos", ["Denver Broncos", "Broncos"]) == 1
    assert exact_match("Denver", ["Denver Broncos"]) == 0
    assert exact_match("", ["Denver Broncos"]) == 0


def test_f1_is_word_overlap_with_the_best_gold():
    assert token_f1("Denver Broncos team", ["Denver Broncos"]) == pytest.approx(0.8)
    assert token_f1("Denver", ["New York", "Denver Broncos"]) == pytest.approx(2 / 3)
    assert token_f1("to be or to be", ["to be"]) == pytest.approx(2 * (2 / 5) / (2 / 5 + 1))
    assert token_f1("", ["x"]) == 0 and token_f1("x", ["y"]) == 0
    assert token_f1("北京", ["北京大学"]) == 0  # one word each: characters are not compared


def test_answers_that_are_nothing_but_articles():
    """The official scorer compares what is left, even if nothing is; its word overlap of nothing is
    0."""
    assert exact_match("the", ["a"]) == 1 and token_f1("the", ["a"]) == 0
    assert exact_match("", ["The"]) == 1


def test_the_best_gold_answer_counts_for_each_metric_by_itself():
    golds = ["in the year 1865", "1865"]
    assert exact_match("1865.", golds) == 1 and token_f1("year 1865", golds) == pytest.approx(
        2 * 1 * (2 / 3) / (5 / 3)
    )


def test_a_data_set_in_percent():
    golds = [["Denver Broncos"], ["gold", "golden"], ["1865"], ["x"]]
    answers = ["The Denver Broncos", "a golden fleece", "", ""]
    by_question = question_scores(answers, golds)
    assert list(by_question["exact_match"]) == [100, 0, 0, 0]
    assert list(by_question["f1"]) == pytest.approx([100, 200 / 3, 0, 0])
    scores = squad(answers, golds)
    assert scores["exact_match"] == pytest.approx(25)
    assert scores["f1"] == pytest.approx(100 * (1 + 2 / 3) / 4)
