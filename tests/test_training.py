"""The training loop: accumulation, schedules, resume, what the objective adds up."""

import copy
import itertools

import numpy as np
import pytest
import torch

from lib import checkpoints, models
from lib.batches import MaskedBatches, Schedule
from lib.losses import cosine_loss, mlm_loss
from lib.masking import IGNORE
from lib.objectives import Distillation, hidden_states
from lib.train import Recipe, rate_at, train
from tests.test_masking import Rows

LENGTHS = np.random.default_rng(3).integers(6, 24, 64)


@pytest.fixture
def teacher():
    return models.new_encoder(vocab_size=99, layers=4, hidden=16, heads=2, intermediate=32, max_length=32, pad_id=1,
                              dropout=0.0, initializer_range=0.1, seed=1)  # fmt: skip


def batches(batch=16, micro=16, steps=6, seed=0):
    schedule = Schedule(LENGTHS, batch=batch, micro=micro, epochs=1, steps=steps, seed=seed)
    return MaskedBatches(Rows(LENGTHS), schedule, specials=[0, 2], pad_id=1, mask_id=4, vocab_size=99, probability=0.3)


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
    """The same 16 sequences, masked alike, as one batch and cut in micro-batches of very different numbers of tokens."""
    whole = batches().at(0)[0]
    rows = [(0, 3), (3, 4), (4, 11), (11, 16)]
    parts = [type(whole)(whole.inputs[a:b], whole.kept[a:b], whole.labels[a:b]) for a, b in rows]
    student = models.truncate(teacher, [0, 2])
    objective = Distillation(student, teacher, mlm=2.0, soft=5.0, cosine=1.0, temperature=2.0, positions=positions)
    loss_a, gradient_a = gradient(student, objective, [whole])
    loss_b, gradient_b = gradient(student, objective, parts)
    assert loss_a == pytest.approx(loss_b, rel=1e-5)
    assert torch.allclose(gradient_a, gradient_b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "mlm, soft, cosine, positions, temperature",
    [*itertools.product([0, 2], [0, 5], [1], ["all", "masked"], [1.0, 4.0]), (1, 0, 0, "all", 2.0)],
)
def test_objective_equals_the_equations_on_full_logits(teacher, mlm, soft, cosine, positions, temperature):
    """Every combination of losses against the sum written out over all logits, padding left out by hand."""
    student = models.truncate(teacher, [0, 2])
    with torch.no_grad():  # far enough from its teacher for more than rounding to differ
        for weight in student.bert.encoder.parameters():
            noise = torch.Generator().manual_seed(weight.numel())
            weight.add_(0.1 * torch.randn(weight.shape, generator=noise))
    batch = batches().at(0)[0]
    objective = Distillation(
        student, teacher, mlm=mlm, soft=soft, cosine=cosine, temperature=temperature, positions=positions
    )
    found = objective(batch, objective.counts(batch))
    with torch.no_grad():
        s, t = hidden_states(student, batch), hidden_states(teacher.eval(), batch)
        s_logits, t_logits = student.cls(s), teacher.cls(t)
        masked = batch.labels != IGNORE
        where = batch.kept if positions == "all" else masked
        # In double precision: of networks this alike, the divergence is a small difference of large numbers.
        log_p, log_q = ((z[where].double() / temperature).log_softmax(-1) for z in (s_logits, t_logits))
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
    wider = type(batch)(*(torch.nn.functional.pad(t, (0, 8), value=v) for t, v in
                          zip((batch.inputs, batch.kept, batch.labels), (1, False, IGNORE))))  # fmt: skip
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
    assert torch.equal(weights(teacher), before) and all(p.grad is None for p in teacher.parameters())
    assert all(p.requires_grad for p in models.truncate(teacher, [0]).parameters())


def test_training_learns(teacher):
    student = models.random_encoder(teacher.config, 2, 0)
    data = batches(steps=60)
    data.corpus.ids = [np.r_[0, 5 + np.arange(n - 2) % 3, 2].astype(np.int32) for n in LENGTHS]
    history = train(Distillation(student), data, Recipe(1e-2), quiet=True, log_every=10)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert [row["step"] for row in history] == [10, 20, 30, 40, 50, 60]
    assert history[-1]["tokens"] == sum(int(b.kept.sum()) for s in range(60) for b in batches(steps=60).at(s))


@pytest.mark.parametrize("schedule, last", [("cosine", 0.0), ("linear", 0.0), ("constant", 1.0)])
def test_rates(schedule, last):
    recipe = Recipe(1.0, schedule=schedule, warmup=0.02)
    rates = [rate_at(step, 1000, recipe) for step in range(1000)]
    assert rates[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])  # 2 % of 1000 steps, rising to the peak
    assert max(rates) == pytest.approx(1) and rates[-1] == pytest.approx(last, abs=2e-3)
    assert all(a >= b for a, b in zip(rates[20:], rates[21:]))  # never back up: half a cosine, not two


class Killed(Exception):
    pass


def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    """With dropout on: data, masks and dropout all hang on the step number."""

    def student():
        return models.new_encoder(vocab_size=99, layers=2, hidden=16, heads=2, intermediate=32, max_length=32, pad_id=1,
                                  dropout=0.3, seed=1)  # fmt: skip

    recipe = Recipe(1e-2, checkpoint_seconds=1e-9)
    undisturbed = student()
    history = train(Distillation(undisturbed), batches(steps=12), recipe, quiet=True)

    def kill(done):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        train(Distillation(student()), batches(steps=12), recipe, quiet=True, folder=tmp_path, after_step=kill)
    assert len(list(tmp_path.glob("step-*.pt"))) == checkpoints.KEPT
    resumed = student()
    again = train(Distillation(resumed), batches(steps=12), recipe, quiet=True, folder=tmp_path)
    assert torch.equal(weights(undisturbed), weights(resumed))
    drop = ("seconds", "waited")
    assert [{k: v for k, v in r.items() if k not in drop} for r in history] == \
           [{k: v for k, v in r.items() if k not in drop} for r in again]  # fmt: skip
    assert checkpoints.newest(tmp_path)["step"] == 12  # kept until the stage has published
    finished = student()
    train(Distillation(finished), batches(steps=12), recipe, quiet=True, folder=tmp_path)
    assert torch.equal(weights(undisturbed), weights(finished))


def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys):
    checkpoints.save(tmp_path, 1, {"model": {"w": torch.ones(2)}})
    newest = checkpoints.save(tmp_path, 2, {"model": {"w": torch.zeros(2)}})
    newest.write_bytes(newest.read_bytes()[:50])
    assert checkpoints.newest(tmp_path)["step"] == 1
    assert "is damaged" in capsys.readouterr().out


def test_an_exploding_loss_stops_with_the_step_named(teacher):
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.cls.predictions.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1; no checkpoint"):
        train(Distillation(student), batches(), Recipe(1e-3), quiet=True, name="distillation")


def test_bf16_comes_close_to_fp32(teacher):
    losses = []
    for precision in ("no", "bf16"):
        student = models.truncate(teacher, [0, 2])
        objective = Distillation(student, teacher, mlm=1.0, soft=1.0, cosine=1.0)
        losses.append(train(objective, batches(), Recipe(1e-3, precision=precision), quiet=True)[-1]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
