"""Guessing and a bag of words: against scikit-learn alone, on examples whose answer is known, and on
every toy task."""

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lib.data.toy.tasks import TOY_TASKS
from lib.plan.stages import validate
from lib.tasks.baselines import (
    BAG_OF_WORDS,
    CHANCE,
    bag_of_words,
    baselines,
    guess,
    overlaps,
    score_texts,
    words,
    words_in_place,
)
from lib.tasks.examples import Answers, Examples, TaskSource, load
from lib.tasks.finetune import shared_training
from lib.tasks.registry import TASKS


def parameters(**more):
    values = {"model": "none", "tasks": ["sst2"], "task_source": "toy", "task_language": "toy-en"}
    return validate("finetune", values | {"seeds": [1], "learning_rate": 1e-3} | more)


def value(rows, scenario, **wanted):
    (row,) = [r for r in rows if {"scenario": scenario, **wanted}.items() <= r.items()]
    return row["value"]


# ------------------------------------------------------------------------------- against sklearn


def test_a_single_text_against_scikit_learn():
    """Words of the toy language hold no punctuation, so that splitting at spaces is the same."""
    source = TaskSource("toy", language="toy-en")
    training, validation = (
        load("sst2", "train", source, 96, seed=1),
        load("sst2", "validation", source, 90),
    )
    as_text = [[f"^ {text} $" for (text,) in e.texts] for e in (training, validation)]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    model = LogisticRegression(C=10).fit(vectorizer.fit_transform(as_text[0]), training.labels)
    right = model.predict(vectorizer.transform(as_text[1])) == validation.labels
    rows = baselines(parameters(train_examples=96, validation_examples=90), ["sst2"])
    assert value(rows, BAG_OF_WORDS) == pytest.approx(100 * right.mean())
    most_frequent = np.bincount(training.labels).argmax()
    accuracy = 100 * np.mean([label == most_frequent for label in validation.labels])
    assert value(rows, CHANCE) == pytest.approx(accuracy)


def test_pairs_against_scikit_learn():
    source = TaskSource("toy", language="toy-en")
    training, validation = (
        load("rte", "train", source, 80, seed=1),
        load("rte", "validation", source, 60),
    )
    scaler = StandardScaler().fit(overlaps(training.texts))
    blocks = [[scaler.transform(overlaps(e.texts))] for e in (training, validation)]
    for side in (0, 1):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
        vectorizer.fit([f"^ {texts[side]} $" for texts in training.texts])
        for block, examples in zip(blocks, (training, validation)):
            texts = [f"^ {texts[side]} $" for texts in examples.texts]
            block.insert(side, vectorizer.transform(texts).toarray())
    model = LogisticRegression(C=10, max_iter=2000).fit(np.hstack(blocks[0]), training.labels)
    accuracy = 100 * np.mean(model.predict(np.hstack(blocks[1])) == validation.labels)
    rows = baselines(parameters(tasks=["rte"], train_examples=80, validation_examples=60), ["rte"])
    assert value(rows, BAG_OF_WORDS) == pytest.approx(accuracy)


def test_numbers_follow_the_overlap_of_words_never_seen():
    pairs = [("a b c d", "a b c d"), ("a b c d", "a b"), ("a b c d", "e f g h")] * 20
    predicted = bag_of_words(Examples(pairs, [5.0, 2.5, 0.0] * 20), TASKS["stsb"])(
        [("p q r s", "p q r s"), ("p q r s", "p q"), ("p q r s", "t u v w")]
    )
    assert predicted[0] > predicted[1] > predicted[2]


# ------------------------------------------------------------------------------------------ chance


def test_the_most_frequent_class_and_the_mean():
    classes = Examples([("a",), ("b",), ("c",)], [2, 1, 2])
    assert guess(classes, TASKS["polemo2-in"])([("d",), ("e",)]) == [2, 2]
    numbers = guess(Examples([("a", "b"), ("c", "d")], [1.0, 4.0]), TASKS["stsb"])
    assert numbers([("e", "f")]) == [2.5]
    assert score_texts(TASKS["stsb"], [2.5, 2.5], [0.0, 5.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_where_f1_counts_the_answer_that_scores_best_is_guessed():
    """40 % of class 1: always 0 scores 60 and 0, always 1 scores 40 and 57."""
    training = Examples([("a", "b")] * 10, [0] * 6 + [1] * 4)
    assert guess(training, TASKS["mrpc"])([("c", "d")]) == [1]
    assert guess(training, TASKS["rte"])([("c", "d")]) == [0]
    assert guess(training, TASKS["cola"])([("c",)]) == [0]  # both have no correlation


def test_a_guessed_span_is_a_word_of_the_context():
    training = Examples([("q", "a")], [Answers(("a",), (0,))])
    predict = guess(training, TASKS["squad"])
    texts = [("what", "one two three")] * 30 + [("what", " ")]
    assert set(predict(texts)) == {"one", "two", "three", ""} and predict(texts) == predict(texts)


# -------------------------------------------------------------------------------------- bag of words


def test_overlap_solves_a_pair_task_whose_words_tell_nothing():
    rng = np.random.default_rng(0)

    def examples(number, vocabulary):
        texts, labels = [], []
        for n in range(number):
            drawn = [f"{vocabulary}{i}" for i in rng.choice(400, 10, replace=False)]
            second = drawn[4:][::-1] if n % 2 == 0 else drawn[:4]
            texts.append((" ".join(drawn[4:]), " ".join([*second[:4], "z"])))
            labels.append(1 - n % 2)
        return Examples(texts, labels)

    training, unseen = examples(200, "w"), examples(100, "v")
    predicted = bag_of_words(training, TASKS["rte"])(unseen.texts)
    assert score_texts(TASKS["rte"], predicted, unseen.labels) == {"accuracy": 100.0}


def test_overlaps_by_hand():
    (row,) = overlaps([("The cat sat .", "the CAT ran away , sat")])
    assert row == pytest.approx([3, 3 / 7, 3 / 4, 3 / 6, -2])
    assert overlaps([("", "")]).tolist() == [[0, 0, 0, 0, 0]]


def test_the_answer_is_the_rarest_run_of_the_closest_sentence():
    context = "Ada lives in New York . Bob lives in the Old Town . Cy was born here ."
    training = Examples(
        [("Where does Ada live ?", context), ("Who ?", "the two in the house .")],
        [Answers(("New York",), (context.index("New York"),)), Answers(("the two",), (0,))],
    )
    predict = bag_of_words(training, TASKS["squad"])
    assert predict([("Where lives Bob in ?", context)]) == ["Old Town"]
    assert predict([("who was here", "Dora was here. Ed slept.")]) == ["Dora"]  # no run of two
    assert predict([("was here .", "was here.")]) == [""] and predict([("x", "")]) == [""]


def test_words_and_their_places():
    text = "Żółw's 中文, OK"
    assert words(text) == ["żółw", "'", "s", "中", "文", ",", "ok"]
    assert [text[start:end] for _, (start, end) in words_in_place(text)] == [
        "Żółw", "'", "s", "中", "文", ",", "OK",
    ]  # fmt: skip


def test_one_class_and_empty_texts_are_no_trouble():
    assert list(bag_of_words(Examples([("a",)], [1]), TASKS["sst2"])([("b",)])) == [1]
    model = bag_of_words(Examples([("", ""), ("", "")], [0, 1]), TASKS["rte"])
    assert len(model([("", "a")])) == 1


def test_no_more_examples_than_allowed_are_learnt_from(monkeypatch):
    monkeypatch.setattr("lib.tasks.baselines.MOST_EXAMPLES", 20)
    monkeypatch.setattr(
        "lib.tasks.baselines.LogisticRegression.fit",
        lambda self, features, labels: sizes.append((features.shape[0], len(labels))),
    )
    sizes: list = []
    bag_of_words(Examples([(f"{n}",) for n in range(50)], [0, 1] * 25), TASKS["sst2"])
    assert sizes == [(20, 20)]


# ----------------------------------------------------------------------------------- all the tasks


def test_every_toy_task_has_the_rows_of_a_fine_tuning():
    p = parameters(
        tasks=list(TOY_TASKS),
        languages=["toy-en", "toy-pl"],
        train_examples=16,
        validation_examples=12,
    )
    for names in shared_training(p).values():
        rows = baselines(p, names)
        expected = {
            (scenario, name, language, metric + suffix)
            for scenario in (CHANCE, BAG_OF_WORDS)
            for name in names
            for language in (p.languages if TASKS[name].languages else ["toy-en"])
            for _, suffix in TASKS[name].validations
            for metric in TASKS[name].metrics
        }
        found = [(r["scenario"], r["task"], r["language"], r["metric"]) for r in rows]
        assert set(found) == expected and len(found) == len(expected)
        assert all(-100 <= row["value"] <= 100 for row in rows)


def test_several_languages_are_measured_with_what_was_learnt_in_one(tmp_path):
    """Words decide in English, of which the other language has none."""
    for place, split, text in (
        ("glue/mnli", "train", ("yes", "no", "maybe")),
        ("xnli/en", "test", ("yes", "no", "maybe")),
        ("xnli/de", "test", ("ja", "nein", "vielleicht")),
    ):
        (tmp_path / place).mkdir(parents=True)
        records = [{"premise": "so", "hypothesis": text[n % 3], "label": n % 3} for n in range(30)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / place / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    files = {"task_source": "files", "task_language": "", "task_folder": str(tmp_path)}
    rows = baselines(parameters(tasks=["xnli"], languages=["en", "de"], **files), ["xnli"])
    assert value(rows, BAG_OF_WORDS, language="en") == 100
    assert value(rows, BAG_OF_WORDS, language="de") == pytest.approx(100 / 3)
    assert value(rows, CHANCE, language="de") == pytest.approx(100 / 3)
