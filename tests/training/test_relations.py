"""Relations (MiniLMv2): the loss in plain NumPy, and the objective from models to gradients."""

import copy

import numpy as np
import pytest
import torch

from lib.fast import relations
from lib.fast.quicken import quicken
from lib.training import losses, models
from lib.training.batches import Batch
from lib.training.objectives import Distillation, Wanted, read
from lib.training.parameters import RELATION_WIDTH
from tests.helpers import small

LENGTHS, HEADS = [9, 4, 12, 1], 4


def batch(width=12):
    """Sequences of LENGTHS, padded to `width`; every third token is masked."""
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(5, 99, (len(LENGTHS), 12)))
    ids = torch.nn.functional.pad(ids, (0, width - 12), value=1)
    kept = torch.arange(width) < torch.tensor(LENGTHS)[:, None]
    labels = torch.where(kept & (ids % 3 == 0), ids, -100)
    return Batch(ids.masked_fill(~kept, 1), kept, labels)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def plain(student, teacher, heads):
    """Mean KL over heads, summed over rows, and its gradient with respect to the student's vectors;
    of one sequence without padding, [length, width], in double precision."""
    total, gradient = 0.0, np.zeros_like(student)
    for own, theirs, d_own in zip(*(np.split(x, heads, -1) for x in (student, teacher, gradient))):
        root = np.sqrt(own.shape[-1])
        q, p = softmax(own @ own.T / root), softmax(theirs @ theirs.T / theirs.shape[-1] ** 0.5)
        total += (p * (np.log(p) - np.log(q))).sum() / heads
        d_scores = (q - p) / heads
        d_own += (d_scores + d_scores.T) @ own / root
    return total, gradient


@pytest.mark.parametrize("loss", [losses.relation_loss, relations.relation_loss])
@pytest.mark.parametrize("width", [16, 24])
def test_value_and_gradient_are_numpys_whatever_stands_in_the_padding(monkeypatch, loss, width):
    monkeypatch.setattr(relations, "MAPS", 2 * HEADS * 12**2)  # two sequences at a time
    rng = np.random.default_rng(1)
    kept = batch().kept
    student, teacher = rng.normal(size=(4, 12, width)), rng.normal(size=(4, 12, 16))
    by_sequence = [
        plain(student[row, :length], teacher[row, :length], HEADS)
        for row, length in enumerate(LENGTHS)
    ]
    for noise in (0.0, 30.0):
        ours, theirs = (
            torch.tensor(np.where(kept[..., None], x, noise), dtype=torch.float32)
            for x in (student, teacher)
        )
        ours.requires_grad_()
        value = loss(ours, theirs, HEADS, kept)
        (3 * value).backward()
        assert value.item() == pytest.approx(sum(total for total, _ in by_sequence), rel=1e-6)
        assert torch.all(ours.grad[~kept] == 0)
        for row, (_, gradient) in enumerate(by_sequence):
            found = ours.grad[row, : LENGTHS[row]].numpy() / 3
            assert np.allclose(found, gradient, rtol=1e-5, atol=1e-6)


def step(objective, *parts):
    """Loss components of a step of these micro-batches, and the gradient of all parameters."""
    totals = {}
    for part in parts:
        for key, count in objective.counts(part).items():
            totals[key] = totals.get(key, 0) + count
    objective.student.zero_grad()
    sums = {}
    for part in parts:
        found = objective(part, totals)
        found["loss"].backward()
        sums = {key: sums.get(key, 0.0) + value.item() for key, value in found.items()}
    gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in objective.student.named_parameters()
    }
    return sums, gradients


def rows(whole, chosen):
    return Batch(whole.inputs[chosen], whole.kept[chosen], whole.labels[chosen])


def networks(kind="bert", student_width=16):
    teacher = small.of_kind(kind, hidden_size=32)
    student = small.of_kind(kind, layers=2, hidden_size=student_width)
    return student, teacher


ALL = dict(mlm=2.0, soft=5.0, cosine=1.0, hidden=0.7, attention=3.0, relations=0.5)
MIXES = [
    dict(mlm=0.0, relations=2.0),
    dict(mlm=0.0, relations=2.0, teacher_layer=3),
    dict(mlm=1.0, soft=2.0, cosine=1.0, relations=1.0),
    dict(mlm=0.0, hidden=1.0, attention=4.0),
    ALL,
]


@pytest.mark.parametrize("weights", MIXES, ids=lambda weights: "+".join(weights))
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_every_mix_fast_and_plain_padded_and_in_pieces(kind, weights):
    """The fast step computes what the plain one does; padding changes nothing; the micro-batches of
    a step give its gradient; and every sequence has a part in it."""
    teacher = small.of_kind(kind)
    student = models.truncate(teacher, [0, 2])
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    objective = Distillation(student, teacher, relation_heads=HEADS, **weights)
    once, gradients = step(objective, batch())
    fast = quicken(copy.deepcopy(objective))
    pieces = [rows(batch(), [0, 2]), rows(batch(), [3, 1])]
    for other, parts in ((objective, [batch(width=15)]), (objective, pieces), (fast, [batch()])):
        found, found_gradients = step(other, *parts)
        assert found == pytest.approx(once, rel=2e-5, abs=1e-6)
        for name, gradient in gradients.items():
            assert torch.allclose(found_gradients[name], gradient, rtol=1e-3, atol=2e-6), name
    for row in range(3):  # the fourth is one token, which has no relation but to itself
        without = rows(batch(), [other for other in range(4) if other != row])
        _, moved = step(objective, without)
        assert any((moved[name] - gradient).norm() > 1e-4 for name, gradient in gradients.items())


@pytest.mark.parametrize("weights", MIXES[:1] + MIXES[2:], ids=lambda weights: "+".join(weights))
def test_a_student_that_is_its_teacher_has_no_loss_but_mlm(weights):
    teacher = small.of_kind("bert")
    objective = quicken(Distillation(copy.deepcopy(teacher), teacher, relation_heads=4, **weights))
    parts = objective(batch(), objective.counts(batch()))
    parts.pop("loss"), parts.pop("mlm", None)
    assert all(value.item() == pytest.approx(0.0, abs=1e-6) for value in parts.values()), parts


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert", "modernbert"])
def test_queries_keys_and_values_of_the_layer_asked_for_and_no_layer_above(kind):
    """In any kind, for a student of another width; the hooks are gone afterwards."""
    student, teacher = networks(kind, student_width=48)
    calls = []
    for number, layer in enumerate(models.layers_of(teacher), 1):
        layer.register_forward_hook(lambda *call, number=number: calls.append(number))
    vectors = read(teacher, batch(), Wanted(relations=3)).vectors
    assert calls == [1, 2]
    hidden = teacher.base_model(
        input_ids=batch().inputs, attention_mask=batch().kept.long(), output_hidden_states=True
    ).hidden_states[2]
    layer, places = models.layers_of(teacher)[2], models.architecture_of(teacher).projections
    if kind == "modernbert":
        hidden = layer.attn_norm(hidden)
    expected = torch.cat([layer.get_submodule(name)(hidden) for name in places], -1)
    assert torch.allclose(torch.cat(vectors, -1), expected, atol=1e-6)
    assert not any(layer.get_submodule(name)._forward_hooks for name in places)
    objective = Distillation(student, teacher, mlm=0.0, relations=1.0)
    assert objective.relation_heads == 32 // RELATION_WIDTH
    found, gradients = step(objective, batch())
    assert found["loss"] == found["relations"] > 0
    top = f"{models.architecture_of(student).layers}.1."
    below = {n: g for n, g in gradients.items() if top not in n and "embedding" in n.lower()}
    assert below and any(gradient.norm() > 0 for gradient in below.values())
