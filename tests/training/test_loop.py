"""The training loop: accumulation, schedules, resume, what the objective adds up."""

import copy
import itertools
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.common.errors import InputError, Stopped
from lib.training import checkpoints, models
from lib.training.batches import IGNORE
from lib.training.loop import Recipe, rate_at, train
from lib.training.losses import cosine_loss, mlm_loss
from lib.training.objectives import Distillation, hidden_states
from tests.helpers import small
from tests.helpers.small import LENGTHS, batches


@pytest.fixture
def teacher():
    return small.encoder()


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def gradient(model, objective, micros):
    totals = {}
    for batch in micros:
        for key, count in objective.counts(batch).items():
            totals[key] = totals.get(key, 0) + count
    model.zero_grad()
    loss = 0.0
    for batch in micros:
        part = objective(batch, totals)["loss"]
        part.backward()
        loss += part.item()
    return loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_k_micro_batches_equal_one_batch(teacher, positions):
    """The same 16 sequences, masked alike, as one batch and cut in micro-batches of very different
    numbers of tokens."""
    whole = batches().at(0)[0]
    rows = [(0, 3), (3, 4), (4, 11), (11, 16)]
    parts = [type(whole)(whole.inputs[a:b], whole.kept[a:b], whole.labels[a:b]) for a, b in rows]
    student = models.truncate(teacher, [0, 2])
    objective = Distillation(
        student, teacher, mlm=2.0, soft=5.0, cosine=1.0, temperature=2.0, positions=positions
    )
    loss_a, gradient_a = gradient(student, objective, [whole])
    loss_b, gradient_b = gradient(student, objective, parts)
    assert loss_a == pytest.approx(loss_b, rel=1e-5)
    assert torch.allclose(gradient_a, gradient_b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "mlm, soft, cosine, positions, temperature",
    [*itertools.product([0, 2], [0, 5], [1], ["all", "masked"], [1.0, 4.0]), (1, 0, 0, "all", 2.0)],
)
def test_objective_equals_the_equations_on_full_logits(
    teacher, mlm, soft, cosine, positions, temperature
):
    """Every combination of losses against the sum written out over all logits, padding left out by
    hand."""
    student = models.truncate(teacher, [0, 2])
    with torch.no_grad():  # far enough from its teacher for more than rounding to differ
        for weight in student.bert.encoder.parameters():
            noise = torch.Generator().manual_seed(weight.numel())
            weight.add_(0.1 * torch.randn(weight.shape, generator=noise))
    batch = batches().at(0)[0]
    objective = Distillation(
        student,
        teacher,
        mlm=mlm,
        soft=soft,
        cosine=cosine,
        temperature=temperature,
        positions=positions,
    )
    found = objective(batch, objective.counts(batch))
    with torch.no_grad():
        s, t = hidden_states(student, batch), hidden_states(teacher.eval(), batch)
        s_logits, t_logits = student.cls(s), teacher.cls(t)
        masked = batch.labels != IGNORE
        where = batch.kept if positions == "all" else masked
        # In double precision: of networks this alike, the divergence is a small difference of large
        # numbers.
        log_p, log_q = (
            (z[where].double() / temperature).log_softmax(-1) for z in (s_logits, t_logits)
        )
        parts = {
            "mlm": mlm_loss(s_logits[masked], batch.labels[masked]) / masked.sum(),
            "soft": temperature**2 * (log_q.exp() * (log_q - log_p)).sum() / where.sum(),
            "cosine": cosine_loss(s[batch.kept], t[batch.kept]) / batch.kept.sum(),
        }
    expected = mlm * parts["mlm"] + soft * parts["soft"] + cosine * parts["cosine"]
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    used = {name for name, weight in (("mlm", mlm), ("soft", soft), ("cosine", cosine)) if weight}
    assert set(found) == used | {"loss"}
    for name in used:
        assert found[name].item() == pytest.approx(parts[name].item(), rel=1e-5)


def test_padding_changes_nothing(teacher):
    batch = batches().at(0)[0]
    wider = type(batch)(
        *(
            torch.nn.functional.pad(t, (0, 8), value=v)
            for t, v in zip((batch.inputs, batch.kept, batch.labels), (1, False, IGNORE))
        )
    )
    student = models.truncate(teacher, [1])
    objective = Distillation(student, teacher, mlm=1.0, soft=1.0, cosine=1.0)
    a, b = (float(objective(x, objective.counts(x))["loss"]) for x in (batch, wider))
    assert a == pytest.approx(b, rel=1e-5)


def test_the_teacher_does_not_move_and_is_not_trained(teacher):
    before = weights(teacher).clone()
    student = models.truncate(teacher, [0, 2])
    objective = Distillation(student, teacher, mlm=1.0, soft=1.0, cosine=1.0)
    assert {id(p) for p in objective.parameters()} == {id(p) for p in student.parameters()}
    train(objective, batches(), Recipe(1e-2), quiet=True)
    assert torch.equal(weights(teacher), before) and all(
        p.grad is None for p in teacher.parameters()
    )
    assert all(p.requires_grad for p in models.truncate(teacher, [0]).parameters())


def test_training_learns(teacher):
    student = models.random_like(models.truncate(teacher, range(2)), 0)
    data = batches(steps=60)
    data.corpus.ids = [np.r_[0, 5 + np.arange(n - 2) % 3, 2].astype(np.int32) for n in LENGTHS]
    history = train(Distillation(student), data, Recipe(1e-2), quiet=True, log_every=10)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert [row["step"] for row in history] == [10, 20, 30, 40, 50, 60]
    assert history[-1]["tokens"] == sum(
        int(b.kept.sum()) for s in range(60) for b in batches(steps=60).at(s)
    )


@pytest.mark.parametrize("schedule, last", [("cosine", 0.0), ("linear", 0.0), ("constant", 1.0)])
def test_rates(schedule, last):
    recipe = Recipe(1.0, schedule=schedule, warmup=0.02)
    rates = [rate_at(step, 1000, recipe) for step in range(1000)]
    assert rates[:20] == pytest.approx(
        [(i + 1) / 20 for i in range(20)]
    )  # 2 % of 1000 steps, rising to the peak
    assert max(rates) == pytest.approx(1) and rates[-1] == pytest.approx(last, abs=2e-3)
    assert all(
        a >= b for a, b in zip(rates[20:], rates[21:])
    )  # never back up: half a cosine, not two


def test_two_waves_of_the_cosine_end_at_the_peak():
    """0.5 (1 + cos 2πcx) with c = 2 periods, as in the code of 000: down and up again, twice."""
    recipe = Recipe(1.0, schedule="cosine", cycles=2.0, warmup=0.0)
    rates = np.array([rate_at(step, 1000, recipe) for step in range(1000)])
    assert np.allclose(rates, 0.5 * (1 + np.cos(4 * np.pi * np.arange(1000) / 1000)))
    assert rates[[0, 500]] == pytest.approx(1) and rates[[250, 750]] == pytest.approx(0)
    assert rates[-1] == pytest.approx(1, abs=1e-4)


class Killed(Exception):
    pass


def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    """With dropout on: data, masks and dropout all hang on the step number."""

    def student():
        return small.encoder(layers=2, dropout=0.3)

    recipe = Recipe(1e-2, checkpoint_seconds=1e-9)
    undisturbed = student()
    history = train(Distillation(undisturbed), batches(steps=12), recipe, quiet=True)

    def kill(done):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        train(
            Distillation(student()),
            batches(steps=12),
            recipe,
            quiet=True,
            folder=tmp_path,
            after_step=kill,
        )
    assert len(list(tmp_path.glob("step-*.pt"))) == checkpoints.KEPT
    resumed = student()
    again = train(Distillation(resumed), batches(steps=12), recipe, quiet=True, folder=tmp_path)
    assert torch.equal(weights(undisturbed), weights(resumed))
    drop = ("seconds", "waited")
    assert [{k: v for k, v in r.items() if k not in drop} for r in history] == [
        {k: v for k, v in r.items() if k not in drop} for r in again
    ]
    assert checkpoints.newest(tmp_path)["step"] == 12  # kept until the stage has published
    finished = student()
    train(Distillation(finished), batches(steps=12), recipe, quiet=True, folder=tmp_path)
    assert torch.equal(weights(undisturbed), weights(finished))


def damaged(whole, how):
    """The bytes of a file that was cut short, overwritten with zeros, or of which one bit has
    turned over."""
    middle = len(whole) // 2
    if how == "zeros in the middle":
        return whole[: middle - 50] + bytes(100) + whole[middle + 50 :]
    if how == "one bit":
        return whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :]
    return {
        "cut short": whole[:50],
        "without its end": whole[:-30],
        "zeros": bytes(len(whole)),
        "empty": b"",
    }[how]


HOW = ["cut short", "without its end", "zeros", "empty", "zeros in the middle", "one bit"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys, how):
    checkpoints.save(tmp_path, 1, {"model": {"w": torch.ones(2000)}})
    newest = checkpoints.save(tmp_path, 2, {"model": {"w": torch.rand(2000)}})
    newest.write_bytes(damaged(newest.read_bytes(), how))
    assert checkpoints.newest(tmp_path)["step"] == 1
    assert capsys.readouterr().out == f"{newest} is damaged; trying the checkpoint before it\n"


def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path):
    checkpoints.save(tmp_path, 1, {})

    class Hostile:
        def __reduce__(self):
            return (tmp_path.joinpath("run").write_text, ("x",))

    torch.save({"step": 2, "model": Hostile()}, tmp_path / "step-000000002.pt")
    assert checkpoints.newest(tmp_path)["step"] == 1 and not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model_is_refused_in_one_line(teacher, tmp_path):
    train(
        Distillation(models.truncate(teacher, [0])),
        batches(),
        Recipe(1e-3),
        quiet=True,
        folder=tmp_path,
    )
    with pytest.raises(
        InputError, match="the checkpoint there belongs to another training .*; remove the folder"
    ) as error:
        train(
            Distillation(models.truncate(teacher, [0, 2])),
            batches(),
            Recipe(1e-3),
            quiet=True,
            folder=tmp_path,
        )
    assert "\n" not in str(error.value)


def test_a_full_disk_costs_no_checkpoint(tmp_path):
    """The one under way goes; those before stay."""
    checkpoints.save(tmp_path, 1, {"model": {"w": torch.ones(20_000)}})
    (tmp_path / "step-000000002.pt.writing").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"step-000000002.pt cannot be written: the disk is full"):
        checkpoints.save(tmp_path, 2, {"model": {"w": torch.ones(20_000)}})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert checkpoints.newest(tmp_path)["step"] == 1


def test_a_loss_that_is_no_number_stops_with_step_and_batch_named(teacher):
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.cls.predictions.bias.fill_(float("nan"))
    given = (Distillation(student), batches(micro=8), Recipe(1e-3))
    with pytest.raises(
        FloatingPointError, match="the loss is nan at step 1 (.*); no checkpoint"
    ) as error:
        train(*given, quiet=True, name="distillation")
    read = batches(micro=8).schedule.indices(0)[0].tolist()
    assert f"(sequences {', '.join(map(str, read))} of the corpus)" in str(error.value)
    assert error.value._render_traceback_() == [f"Diverged: {error.value}"]


class Exploding(torch.nn.Module):
    """A loss of about 1; from its fourth reading on it is multiplied by `loss`, or its gradient by
    `gradient`."""

    def __init__(self, loss: float, gradient: float):
        super().__init__()
        self.weight, self.read, self.loss = torch.nn.Parameter(torch.ones(3)), 0, loss
        self.weight.register_hook(lambda found: found * (gradient if self.read > 3 else 1.0))

    def counts(self, batch):
        return {"kept": int(batch.kept.sum())}

    def forward(self, batch, totals):
        self.read += 1
        return {"loss": (self.loss if self.read > 3 else 1.0) * self.weight.mean()}


@pytest.mark.parametrize(
    "loss, gradient, clip, told",
    [
        (1e9, 1.0, 1.0, "the loss is 9.* at step 4"),
        (float("inf"), 1.0, 1.0, "the loss is inf at step 4"),
        (1.0, float("inf"), 1.0, "the gradient's norm is inf at step 4"),
        (
            1.0,
            float("nan"),
            0.0,
            "a weight is not finite after step 4",
        ),  # without clipping nobody looks at gradients
    ],
)
def test_an_exploding_training_keeps_its_last_good_checkpoint(tmp_path, loss, gradient, clip, told):
    recipe = Recipe(1e-3, clip=clip, checkpoint_seconds=1e-9)
    with pytest.raises(FloatingPointError, match=told) as error:
        train(
            Exploding(loss, gradient), batches(), recipe, quiet=True, folder=tmp_path, log_every=1
        )
    assert f"the last good checkpoint is {tmp_path / 'step-000000003.pt'}" in str(error.value)
    assert checkpoints.newest(tmp_path)["step"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_after_its_step_with_a_checkpoint(teacher, tmp_path, number):
    whole, stopped, resumed = (models.truncate(teacher, [0, 2]) for _ in range(3))
    train(Distillation(whole), batches(steps=12), Recipe(1e-3), quiet=True)

    def ask(done):
        if done == 5:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(
        Stopped, match="distillation after step 5 of 12; start it again to go on from there"
    ):
        train(
            Distillation(stopped),
            batches(steps=12),
            Recipe(1e-3),
            quiet=True,
            folder=tmp_path,
            after_step=ask,
            name="distillation",
        )
    assert signal.getsignal(number) is before and checkpoints.newest(tmp_path)["step"] == 5
    train(Distillation(resumed), batches(steps=12), Recipe(1e-3), quiet=True, folder=tmp_path)
    assert torch.equal(weights(whole), weights(resumed))


def test_the_tracker_has_the_history(teacher, tmp_path):
    """TensorBoard's event files, beside the checkpoints; also of a training that was stopped
    between two of them."""
    folder, objective = (
        tmp_path / "checkpoints" / "whole",
        Distillation(models.truncate(teacher, [0, 2]), teacher, soft=1.0),
    )
    recipe = Recipe(1e-3, tracker="tensorboard")

    def kill(done):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        train(
            objective,
            batches(steps=12),
            replace(recipe, checkpoint_seconds=1e-9),
            quiet=True,
            folder=folder,
            log_every=3,
            after_step=kill,
        )
    history = train(objective, batches(steps=12), recipe, quiet=True, folder=folder, log_every=3)
    events = EventAccumulator(str(tmp_path / "tracking" / "whole")).Reload()
    assert set(events.Tags()["scalars"]) == set(history[0]) - {"step"}
    for name in ("loss", "soft", "rate", "tokens"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in history]


def test_without_a_tracker_or_a_folder_nothing_is_written(teacher, tmp_path):
    train(
        Distillation(models.truncate(teacher, [0])),
        batches(),
        Recipe(1e-3),
        quiet=True,
        folder=tmp_path / "checkpoints",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    train(
        Distillation(models.truncate(teacher, [0])),
        batches(),
        Recipe(1e-3, tracker="tensorboard"),
        quiet=True,
    )


def test_bf16_comes_close_to_fp32(teacher):
    losses = []
    for precision in ("no", "bf16"):
        student = models.truncate(teacher, [0, 2])
        objective = Distillation(student, teacher, mlm=1.0, soft=1.0, cosine=1.0)
        losses.append(
            train(objective, batches(), Recipe(1e-3, precision=precision), quiet=True)[-1]["loss"]
        )
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
