"""Fine-tuning: what is shared, what the protocols see, and that it learns."""

import numpy as np
import pytest
import torch

from lib import finetune as ft
from lib import models
from lib.finetune import Classifier, Encoded
from lib.parameters import validate
from lib.train import Recipe


def data(examples=64, seed=0, pad_id=1):
    """Two classes told apart by one token."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, examples)
    rows = [np.r_[0, rng.integers(10, 40, rng.integers(3, 9)), 5 + label, 2] for label in labels]
    return Encoded(rows, labels, pad_id)


@pytest.fixture
def trunk():
    return models.new_encoder(vocab_size=50, layers=1, hidden=32, heads=2, intermediate=32, max_length=32, pad_id=1,
                              dropout=0.0, initializer_range=0.1).bert  # fmt: skip


def run(trunk, validations, pooling="mean", seed=1):
    return ft.finetune(trunk, data(), validations, classes=2, epochs=6, batch=16, dropout=0.1, pooling=pooling,
                       recipe=Recipe(5e-3, "linear", 0.1, seed=seed))  # fmt: skip


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_it_learns_and_reports_every_epoch_of_every_validation_set(trunk, pooling):
    rows = run(trunk, {"a": data(seed=1), "b": data(seed=2)}, pooling)
    assert [(row["epoch"], row["task"]) for row in rows] == [(e, t) for e in range(1, 7) for t in "ab"]
    assert rows[-1]["accuracy"] > 90 and rows[-1]["loss"] < rows[0]["loss"]


def test_one_run_for_two_validation_sets_is_the_run_of_each():
    """PolEmo2.0-IN and -OUT share their training: together or alone, the same numbers."""
    torch.manual_seed(0)

    def fresh():
        return models.new_encoder(
            vocab_size=50, layers=1, hidden=32, heads=2, intermediate=32, max_length=32, pad_id=1
        ).bert

    together = run(fresh(), {"a": data(seed=1), "b": data(seed=2)})
    alone = run(fresh(), {"b": data(seed=2)})
    assert [row["accuracy"] for row in together if row["task"] == "b"] == [row["accuracy"] for row in alone]


def test_predictions_come_back_in_the_order_of_the_examples(trunk):
    classifier = Classifier(trunk, 2, 0.1)
    found = data(examples=40)
    one_by_one = [
        int(ft.predict(classifier, Encoded([row], np.zeros(1, int), 1), torch.device("cpu"))[0]) for row in found.rows
    ]
    assert ft.predict(classifier, found, torch.device("cpu"), size=7).tolist() == one_by_one


def test_mean_pooling_ignores_padding(trunk):
    classifier = Classifier(trunk, 2, 0.0, "mean").eval()
    short = data(examples=1)
    long_row = np.r_[0, np.full(20, 7), 2]
    both = Encoded([short.rows[0], long_row], np.zeros(2, int), 1)
    alone, padded = classifier(short.batch(np.array([0]))), classifier(both.batch(np.array([0, 1])))
    assert torch.allclose(alone[0], padded[0], atol=1e-5)


def test_tasks_that_share_training_data_are_one_group():
    p = validate("finetune", {"model": "m", "tasks": ["nkjp-ner", "polemo2-in", "polemo2-out"], "task_source": "toy",
                              "task_language": "toy-pl", "seeds": [1], "learning_rate": 1e-3})  # fmt: skip
    assert ft.shared_training(p) == {"nkjp-ner": ["nkjp-ner"], "polemo2-in": ["polemo2-in", "polemo2-out"]}
