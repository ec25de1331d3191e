"""A training seen and stopped from outside: its progress is its history, and it ends with a checkpoint when it is asked to."""

import json

import pytest
import torch

from lib import checkpoints, follow, models
from lib.objectives import Distillation
from lib.train import Recipe, train
from tests.test_training import batches, weights

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


def test_asked_to_stop_it_keeps_a_checkpoint_and_goes_on_to_the_same_end(student, tmp_path):
    start = {name: value.clone() for name, value in student.state_dict().items()}
    whole = train(Distillation(student), batches(), RECIPE, quiet=True)
    wanted = weights(student)
    student.load_state_dict(start)

    def after_step(done):
        if done == 3:
            follow.ask_to_stop(tmp_path)

    with pytest.raises(follow.Stopped, match="^mine: stopped as asked after step 3 of 6; started again"):
        train(Distillation(student), batches(), RECIPE, folder=tmp_path, name="mine", after_step=after_step, quiet=True)
    assert checkpoints.newest(tmp_path)["step"] == 3 and len(follow.read(tmp_path)) == 3
    assert not follow.asked_to_stop(tmp_path)
    student.load_state_dict(start)
    history = train(Distillation(student), batches(), RECIPE, folder=tmp_path, quiet=True)
    assert torch.equal(weights(student), wanted)
    assert [row["loss"] for row in history] == [row["loss"] for row in whole]
    assert [row["step"] for row in follow.read(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_line_half_written_is_left_for_the_next_time(tmp_path):
    follow.tell(tmp_path, [{"step": 1}], 5)
    with (tmp_path / follow.PROGRESS).open("a") as file:
        file.write(json.dumps({"step": 2})[:-3])
    assert follow.read(tmp_path) == [{"step": 1, "steps": 5}]
    assert follow.read(tmp_path / "nowhere") == []


def test_it_shows_as_one_line():
    assert follow.Stopped("x: stopped")._render_traceback_() == ["Stopped: x: stopped"]
