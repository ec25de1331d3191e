"""lib.training.loop.fastest: the precision of a training is measured, changes no weight, and stays
the same when a run is resumed."""

import pytest
import torch

from lib.training import checkpoints, loop
from lib.training.loop import Recipe, train
from lib.training.objectives import Distillation, Hop
from tests.helpers.small import batches
from tests.training.test_loop import teacher, weights  # noqa: F401  (teacher is a fixture)

cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU decides by what it has")


@cpu_only
@pytest.mark.parametrize("make", [Distillation, lambda model: Hop(model, deeper(model))])
def test_measuring_leaves_weights_and_gradients_as_they_were(teacher, make, capsys):  # noqa: F811
    before = weights(teacher)
    assert loop.fastest(make(teacher), batches().at(0)) in ("no", "bf16")
    assert torch.equal(weights(teacher), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert "s in fp32" in capsys.readouterr().out


def deeper(model):
    from lib.training import models

    return models.grow(model, 8)


@cpu_only
@pytest.mark.parametrize(("slower", "chosen"), [("bf16", "no"), ("no", "bf16")])
def test_the_faster_one_is_chosen(monkeypatch, slower, chosen):
    """A clock that says a format takes three times as long as the other."""
    now, formats = [0.0], []

    class Work(torch.nn.Linear):
        def counts(self, batch):
            return {}

        def forward(self, batch, totals):
            formats.append("bf16" if torch.is_autocast_enabled("cpu") else "no")
            now[0] += 3.0 if formats[-1] == slower else 1.0
            return {"loss": super().forward(torch.ones(1, 2)).sum()}

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    assert loop.fastest(Work(2, 2), batches().at(0)) == chosen
    assert formats.count("no") == formats.count("bf16") == loop.ROUNDS + 1


class Killed(Exception):
    pass


@cpu_only
def test_a_resumed_run_keeps_the_format_it_began_with(teacher, tmp_path, monkeypatch):  # noqa: F811
    def kill(done):
        if done == 3:
            raise Killed

    recipe = Recipe(1e-3, precision="auto", checkpoint_seconds=1e-9)
    monkeypatch.setattr("lib.training.loop.fastest", lambda objective, micros: "bf16")
    with pytest.raises(Killed):
        train(
            Distillation(teacher), batches(), recipe, quiet=True, folder=tmp_path, after_step=kill
        )
    assert checkpoints.newest(tmp_path)["precision"] == "bf16"
    monkeypatch.setattr(
        "lib.training.loop.fastest", lambda objective, micros: pytest.fail("measured again")
    )
    assert (
        train(Distillation(teacher), batches(), recipe, quiet=True, folder=tmp_path)[-1]["step"]
        == 6
    )
