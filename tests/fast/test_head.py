"""The fused head against the plain losses on full logits: values and every gradient."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lib.fast import head, linear
from lib.fast.head import FusedHead
from lib.training import models
from lib.training.losses import mlm_loss, soft_target_loss
from lib.training.models import decoder_input

ROWS, VOCABULARY = 101, 301


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, library):
    """Several blocks of rows, the last one not full, and several slabs of their products, the last
    one narrower."""
    monkeypatch.setattr(head, "BLOCK", {"cpu": (4 * 32 * VOCABULARY,) * 2})
    monkeypatch.setattr(linear, "SLAB", 2**11)


@pytest.fixture(scope="module")
def both():
    """Student and teacher of different widths; hidden rows of each; labels on a third of the
    rows."""
    make = dict(
        vocab_size=VOCABULARY,
        layers=1,
        heads=2,
        intermediate=16,
        max_length=16,
        pad_id=0,
        initializer_range=0.5,
    )
    student, teacher = (models.new_encoder(hidden=width, seed=width, **make) for width in (16, 24))
    with torch.no_grad():
        for model in (student, teacher):
            model.cls.predictions.decoder.bias.normal_()
    generator = torch.Generator().manual_seed(0)
    hidden, theirs = (torch.randn(ROWS, width, generator=generator) for width in (16, 24))
    labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    return (
        student,
        teacher,
        hidden,
        theirs,
        torch.where(torch.rand(ROWS, generator=generator) < 0.33, labels, -100),
    )


def plain(student, teacher, hidden, theirs, labels, mlm, soft, temperature):
    logits, here = student.cls(hidden), labels >= 0
    with torch.no_grad():
        targets = teacher.cls(theirs)
    return mlm * mlm_loss(logits[here], labels[here]) + soft * soft_target_loss(
        logits, targets, temperature
    )


def fused(student, teacher, hidden, theirs, labels, mlm, soft, temperature):
    return FusedHead(decoder_input).losses(
        student,
        hidden,
        labels,
        mlm=mlm,
        soft=soft,
        temperature=temperature,
        teacher=teacher,
        teacher_hidden=theirs,
    )


def gradients(student, hidden, loss):
    student.zero_grad()
    hidden.grad = None
    loss.backward()
    return {
        name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None
    } | {"rows": hidden.grad.clone()}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5, 2.0, 3.0, 8.0])
@pytest.mark.parametrize("mlm, soft", [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_values_and_gradients_are_the_plain_ones(both, mlm, soft, temperature):
    student, teacher, hidden, theirs, labels = both
    if not soft:  # the objective then sends labelled rows alone
        hidden, theirs, labels = hidden[labels >= 0], theirs[labels >= 0], labels[labels >= 0]
    hidden = hidden.clone().requires_grad_()
    expected = plain(student, teacher, hidden, theirs, labels, mlm, soft, temperature)
    found, ce, kl = fused(student, teacher, hidden, theirs, labels, mlm, soft, temperature)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert mlm * ce.item() + soft * kl.item() == pytest.approx(found.item(), rel=1e-5)
    ours, reference = (
        gradients(student, hidden, 3.0 * found),
        gradients(student, hidden, 3.0 * expected),
    )
    assert (
        ours.keys() == reference.keys() and "bert.embeddings.word_embeddings.weight" in ours
    )  # tied: it moves too
    for name, value in reference.items():
        assert torch.allclose(ours[name], value, rtol=1e-4, atol=1e-5 * value.abs().max()), name


def test_of_like_networks_it_is_nearer_to_double_precision_than_the_plain_path(both):
    """A student near its teacher has a divergence that is a small difference of large numbers."""
    student, _, hidden, *_ = both
    theirs = hidden + 0.02 * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))
    labels = torch.full((len(hidden),), -100)
    with torch.no_grad():
        how = {"mlm": 0.0, "soft": 1.0, "temperature": 4.0}
        *_, found = fused(student, student, hidden, theirs, labels, **how)
        ours, targets = student.cls(hidden), student.cls(theirs)
        whole = copy.deepcopy(student).double().cls
        log_p, log_q = ((whole(rows.double()) / 4.0).log_softmax(-1) for rows in (hidden, theirs))
        exact = 16.0 * (log_q.exp() * (log_q - log_p)).sum().item()
        plain_path = soft_target_loss(ours, targets, 4.0).item()
    assert abs(found.item() - exact) < 1e-4 * exact
    assert abs(found.item() - exact) < abs(plain_path - exact)


def test_the_teacher_gets_no_gradient(both):
    student, teacher, hidden, theirs, labels = both
    teacher.zero_grad()
    loss, *_ = fused(student, teacher, hidden, theirs, labels, mlm=1, soft=1, temperature=2.0)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_under_autocast_it_does_what_the_plain_path_does(both):
    student, teacher, hidden, theirs, labels = both
    hidden = hidden.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(student, teacher, hidden, theirs, labels, 0.3, 0.7, 2.0)
        found, *_ = fused(
            student, teacher, hidden, theirs, labels, mlm=0.3, soft=0.7, temperature=2.0
        )
    assert found.item() == pytest.approx(expected.item(), rel=2e-3)
    ours, reference = gradients(student, hidden, found), gradients(student, hidden, expected)
    for name, value in reference.items():
        assert (ours[name] - value).norm() < 0.02 * value.norm(), name


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_rows(both, rows):
    student, teacher, hidden, theirs, _ = both
    hidden, theirs = hidden[:rows].clone().requires_grad_(), theirs[:rows]
    labels = torch.full((rows,), 5)
    loss, *_ = fused(student, teacher, hidden, theirs, labels, mlm=1.0, soft=1.0, temperature=2.0)
    loss.backward()
    assert torch.isfinite(loss) and (rows or loss == 0)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor any operation gives."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            self.numel = max(self.numel, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return out


def test_no_tensor_as_large_as_all_logits_is_ever_made(both):
    student, teacher, hidden, theirs, labels = both
    with Largest() as seen:
        fused(student, teacher, hidden, theirs, labels, mlm=1.0, soft=1.0, temperature=2.0)
    assert seen.numel <= 32 * VOCABULARY < ROWS * VOCABULARY


def test_memory_does_not_grow_with_the_vocabulary(monkeypatch):
    monkeypatch.undo()
    for vocabulary in (30_522, 119_547):
        block = head._block_rows(10_000, 4 * vocabulary, "cpu")
        assert 8 * 2**20 < block * vocabulary <= 9 * 2**20
        few = head._block_rows(150, 4 * vocabulary, "cpu")
        assert 4 * few * vocabulary <= 20 * 2**20


def test_gradients_survive_fp16_at_a_large_batch(both):
    """Weights divided by 72,000 positions times small differences of probabilities: in fp16 they
    would all be zero."""
    student, _, hidden, _, labels = both
    teacher, hidden = student, hidden.clone().requires_grad_()
    theirs = hidden.detach() + 0.05 * torch.randn(
        hidden.shape, generator=torch.Generator().manual_seed(1)
    )
    norms = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.float16, enabled=enabled):
            loss, *_ = fused(
                student, teacher, hidden, theirs, labels, mlm=0.0, soft=5 / 72_000, temperature=2.0
            )
        norms.append(
            {
                name: value.norm()
                for name, value in gradients(student, hidden, 65536.0 * loss).items()
            }
        )
    for name in ("rows", "bert.embeddings.word_embeddings.weight"):
        assert norms[1][name] == pytest.approx(norms[0][name].item(), rel=0.1), name
