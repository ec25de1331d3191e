"""A training seen from outside: its progress is its history."""

import json

import pytest

from lib.training import tracking
from lib.training.loop import Recipe, train
from lib.training.objectives import Distillation
from tests.helpers import small
from tests.helpers.small import batches

RECIPE = Recipe(learning_rate=1e-3, checkpoint_seconds=1e9)


@pytest.fixture
def student():
    return small.encoder(layers=1, dropout=0.1)


def test_the_progress_is_the_history(student, tmp_path):
    history = train(Distillation(student), batches(), RECIPE, folder=tmp_path, quiet=True)
    assert (
        tracking.read_progress(tmp_path) == [{**row, "steps": 6} for row in history]
        and len(history) == 6
    )


def test_without_a_folder_nothing_is_written(student, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(Distillation(student), batches(steps=1), RECIPE, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_line_half_written_is_left_for_the_next_time(tmp_path):
    tracking.write_progress(tmp_path, [{"step": 1}], 5)
    with (tmp_path / tracking.PROGRESS).open("a") as file:
        file.write(json.dumps({"step": 2})[:-3])
    assert tracking.read_progress(tmp_path) == [{"step": 1, "steps": 5}]
    assert tracking.read_progress(tmp_path / "nowhere") == []
