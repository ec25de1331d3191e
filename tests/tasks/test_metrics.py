"""Metrics against hand-computed values, scikit-learn and scipy, and the rules of SQuAD's official
scorer."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lib.tasks.metrics import METRICS, exact_match, normalised, squad, token_f1

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
    scores = squad(["The Denver Broncos", "a golden fleece", "", ""], golds)
    assert scores["exact_match"] == pytest.approx(25)
    assert scores["f1"] == pytest.approx(100 * (1 + 2 / 3) / 4)
