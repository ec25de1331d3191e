"""What each part of a loss weighs, against plain losses; and that looking changes no training."""

import pytest
import torch

from lib.data.prepared import open_corpus
from lib.fast.quicken import quicken
from lib.plan.stages import validate
from lib.report import stages
from lib.training import batches, hops, loop, pretraining, side_by_side
from lib.training.loss_components import SEQUENCES, _some, loss_components
from lib.training.losses import cosine_loss, mlm_loss, soft_target_loss
from lib.training.objectives import hidden_states

WEIGHTS = {"weight_soft": 5.0, "weight_mlm": 2.0, "weight_cosine": 0.5}
STEPS = {"learning_rate": 1e-2, "steps": 4, "batch_size": 8, "micro_batch_size": 4}


@pytest.fixture(scope="module")
def corpus(prepared):
    return open_corpus(prepared["corpus"])


def distillation(prepared, **more):
    given = {"teacher": prepared["teacher"], "corpus": str(prepared["corpus"]), "init": "truncated"}
    return validate("distillation", given | {"student_layers": [0, 2]} | WEIGHTS | STEPS | more)


def start(p, corpus):
    teacher = pretraining.load_teacher(p, corpus)
    return pretraining.objective(p, pretraining.starting_student(p, teacher), teacher)


def by_name(rows, key):
    return {row["component"]: row[key] for row in rows}


@pytest.mark.parametrize(("when", "step"), [("first step", 0), ("last step", 3)])
def test_sizes_and_gradients_are_those_of_the_plain_losses(prepared, corpus, when, step):
    p = distillation(prepared)
    objective = start(p, corpus)
    for module in objective.student.modules():  # a comparison by hand draws no dropout
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = loss_components(p, objective, corpus, when)
    student, teacher = objective.student.eval(), objective.teacher
    batch = batches.batches(p, corpus).at(step)[0]
    hidden = hidden_states(student, batch)
    with torch.no_grad():
        theirs = hidden_states(teacher, batch)
        targets = teacher.cls(theirs[batch.kept])
    masked = batch.labels != batches.IGNORE
    plain = {
        "soft": soft_target_loss(student.cls(hidden[batch.kept]), targets, p.temperature)
        / batch.kept.sum(),
        "mlm": mlm_loss(student.cls(hidden[masked]), batch.labels[masked]) / masked.sum(),
        "cosine": cosine_loss(hidden[batch.kept], theirs[batch.kept]) / batch.kept.sum(),
    }
    norms = {}
    for name, loss in plain.items():
        student.zero_grad()
        (WEIGHTS[f"weight_{name}"] * loss).backward(retain_graph=True)
        grads = [each.grad for each in student.parameters() if each.grad is not None]
        norms[name] = float(sum(grad.square().sum() for grad in grads) ** 0.5)
    sizes = {name: float(loss.detach()) for name, loss in plain.items()}
    assert {row["when"] for row in rows} == {when}
    assert by_name(rows, "weight") == {name: WEIGHTS[f"weight_{name}"] for name in plain}
    assert by_name(rows, "value") == pytest.approx(sizes, rel=1e-4)
    assert by_name(rows, "gradient_norm") == pytest.approx(norms, rel=1e-3)


def test_a_training_is_the_same_with_and_without(prepared, corpus, tmp_path):
    p = distillation(prepared)

    def trained(look: bool):
        torch.manual_seed(7)
        objective = start(p, corpus)
        rows = loss_components(p, objective, corpus, "first step") if look else []
        history, _ = side_by_side.train_student(p, objective, corpus, tmp_path / str(look))
        rows += loss_components(p, objective, corpus, "last step") if look else []
        drawn = torch.rand(3)
        return objective, history, drawn, rows

    (plain, history, drawn, _), (looked, same, again, rows) = trained(False), trained(True)
    for ours, theirs in zip(plain.student.parameters(), looked.student.parameters()):
        assert torch.equal(ours, theirs) and theirs.grad is None
    assert [row["loss"] for row in history] == [row["loss"] for row in same]
    assert torch.equal(drawn, again) and looked.weights == plain.weights
    assert not looked.training and not looked.student.training

    first, last = rows[:3], rows[3:]
    assert by_name(first, "value") != by_name(last, "value")
    table = stages.components(rows)
    assert list(table.index) == ["soft targets", "MLM", "cosine"]
    assert list(table) == [
        "weight",
        "size, first step",
        "gradient, first step",
        "size, last step",
        "gradient, last step",
    ]


def test_the_sizes_are_those_of_the_first_step(prepared, corpus, tmp_path):
    """With a step of one micro-batch: dropout is that of the training."""
    p = distillation(prepared, micro_batch_size=8)
    objective = start(p, corpus)
    rows = loss_components(p, objective, corpus, "first step")
    [one] = loop.train(objective, _First(batches.batches(p, corpus)), loop.recipe(p), quiet=True)
    sizes = by_name(rows, "value")
    assert sizes == pytest.approx({name: one[name] for name in sizes}, rel=1e-5)


class _First:
    """The first step of some batches."""

    steps = 1

    def __init__(self, data):
        self.at = data.at


def test_losses_of_a_hop(prepared, corpus):
    given = {"teacher": prepared["teacher"], "corpus": str(prepared["corpus"]), "layers": 3}
    p = validate("cascade_ta", given | STEPS | {"weight_soft": 2.0, "weight_attention": 3.0})
    teacher = pretraining.load_teacher(p, corpus)
    objective = hops.objective(p, hops.starting_assistant(p, teacher), teacher)
    rows = loss_components(p, objective, corpus, "first step")
    assert by_name(rows, "weight") == {"hidden": 1.0, "attention": 3.0, "soft": 2.0}
    assert all(row["value"] > 0 and row["gradient_norm"] > 0 for row in rows)
    tripled = validate("cascade_ta", given | STEPS | {"weight_soft": 6.0, "weight_attention": 3.0})
    objective = quicken(hops.objective(tripled, objective.student, teacher))
    more = loss_components(tripled, objective, corpus, "first step")
    assert by_name(more, "value") == pytest.approx(by_name(rows, "value"), rel=1e-5)
    ratios = {
        row["component"]: new["gradient_norm"] / row["gradient_norm"]
        for row, new in zip(rows, more)
    }
    assert ratios == pytest.approx({"hidden": 1, "attention": 1, "soft": 3}, rel=1e-4)


def test_some_sequences_are_of_all_lengths():
    inputs = torch.arange(50)[:, None].expand(50, 3)
    batch = batches.Batch(inputs, torch.ones_like(inputs).bool(), inputs, place=4)
    some = _some(batch)
    assert some.place == 4 and len(some.inputs) <= SEQUENCES
    assert some.inputs[:, 0].tolist() == list(range(0, 50, 4)) == some.labels[:, 0].tolist()
