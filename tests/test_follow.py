"""A training seen from outside: its progress is its history."""

import json

import pytest

from lib import follow, models
from lib.objectives import Distillation
from lib.train import Recipe, train
from tests.test_training import batches

RECIPE = Recipe(learning_rate=1e-3, checkpoint_seconds=1e9)


@pytest.fixture
def student():
    return models.new_encoder(vocab_size=99, layers=1, hidden=16, heads=2, intermediate=32, max_length=32, pad_id=1,
                              dropout=0.1, seed=1)  # fmt: skip


def test_the_progress_is_the_history(student, tmp_path):
    history = train(Distillation(student), batches(), RECIPE, folder=tmp_path, quiet=True)
    assert follow.read(tmp_path) == [{**row, "steps": 6} for row in history] and len(history) == 6


def test_without_a_folder_nothing_is_written(student, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(Distillation(student), batches(steps=1), RECIPE, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_line_half_written_is_left_for_the_next_time(tmp_path):
    follow.tell(tmp_path, [{"step": 1}], 5)
    with (tmp_path / follow.PROGRESS).open("a") as file:
        file.write(json.dumps({"step": 2})[:-3])
    assert follow.read(tmp_path) == [{"step": 1, "steps": 5}]
    assert follow.read(tmp_path / "nowhere") == []
