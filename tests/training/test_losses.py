"""The losses against plain NumPy, and against what the equations say must hold."""

import numpy as np
import pytest
import torch

from lib.training import models
from lib.training.losses import cosine_loss, head_losses, logits_of, mlm_loss, soft_target_loss

ROWS, VOCABULARY, HIDDEN = 7, 31, 12


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, ROWS, VOCABULARY)) * 3


def test_mlm_is_cross_entropy(logits):
    labels = np.arange(ROWS)
    expected = -np.log(softmax(logits[0])[np.arange(ROWS), labels]).sum()
    assert float(mlm_loss(torch.tensor(logits[0]), torch.tensor(labels))) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_soft_target_is_forward_divergence_times_t_squared(logits, temperature):
    student, teacher = logits
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = temperature**2 * (p * (np.log(p) - np.log(q))).sum()
    found = soft_target_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_soft_target_is_not_the_reverse_divergence(logits):
    student, teacher = map(torch.tensor, logits)
    assert float(soft_target_loss(student, teacher, 2.0)) != pytest.approx(
        float(soft_target_loss(teacher, student, 2.0)), rel=1e-3
    )


def test_soft_target_is_zero_for_equal_logits_and_never_negative(logits):
    student, teacher = map(torch.tensor, logits)
    assert float(soft_target_loss(student, student, 2.0)) == pytest.approx(0, abs=1e-6)
    assert float(soft_target_loss(student, student + 5.0, 2.0)) == pytest.approx(
        0, abs=1e-5
    )  # a shift changes no softmax
    assert float(soft_target_loss(student, teacher, 2.0)) > 0


def test_t_squared_keeps_the_gradient_at_high_temperature(logits):
    """Hinton et al. 2015, eq. (2)–(4): for large T the gradient tends to (z_s − z_t)/N of the
    centred logits, whatever T."""
    student, teacher = map(torch.tensor, logits)
    gradients = []
    for temperature in (50.0, 500.0):
        z = student.clone().requires_grad_()
        soft_target_loss(z, teacher, temperature).backward()
        gradients.append(z.grad)
    centred = (student - student.mean(-1, keepdim=True)) - (
        teacher - teacher.mean(-1, keepdim=True)
    )
    assert torch.allclose(gradients[1], centred / VOCABULARY, rtol=0.05, atol=2e-3)
    assert torch.allclose(gradients[0], gradients[1], rtol=0.3, atol=2e-2)


def test_cross_entropy_without_t_squared_is_a_weight(logits):
    """The soft loss in the code of 000, cross-entropy of the softened distributions without T²:
    1/T² of this one and a constant, so that its gradient is that of a weight 1/T² as large."""
    student, teacher = map(torch.tensor, logits)
    for temperature in (1.0, 2.0, 4.0):
        theirs, ours = (student.clone().requires_grad_() for _ in range(2))
        p = (teacher / temperature).softmax(-1)
        cross_entropy = -(p * (theirs / temperature).log_softmax(-1)).sum()
        cross_entropy.backward()
        found = soft_target_loss(ours, teacher, temperature) / temperature**2
        found.backward()
        assert torch.allclose(theirs.grad, ours.grad, rtol=1e-5, atol=1e-7)
        entropy = float(-(p * p.log()).sum())
        assert float(found.detach()) == pytest.approx(
            float(cross_entropy.detach()) - entropy, rel=1e-5
        )


def test_without_the_head_logits_are_products_with_the_embeddings():
    model = models.new_encoder(
        vocab_size=VOCABULARY,
        layers=1,
        hidden=HIDDEN,
        heads=2,
        intermediate=8,
        max_length=8,
        pad_id=0,
    )
    hidden = torch.randn(ROWS, HIDDEN, generator=torch.Generator().manual_seed(0))
    words = model.bert.embeddings.word_embeddings.weight.detach().numpy()
    found = logits_of(model, hidden, mlm_head=False).detach().numpy()
    assert np.allclose(found, hidden.numpy() @ words.T, atol=1e-6)
    assert torch.equal(logits_of(model, hidden), model.cls(hidden))
    labels = torch.full((ROWS,), 3)
    loss = head_losses(model, hidden, labels, mlm=1.0, mlm_head=False)[0]
    assert float(loss.detach()) == pytest.approx(-np.log(softmax(found)[:, 3]).sum(), rel=1e-5)


def test_cosine_loss():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, ROWS, HIDDEN))
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    assert float(cosine_loss(torch.tensor(a), torch.tensor(b))) == pytest.approx(
        (1 - cosine).sum(), rel=1e-6
    )
    assert float(cosine_loss(torch.tensor(a), torch.tensor(3 * a))) == pytest.approx(0, abs=1e-5)
    assert float(cosine_loss(torch.tensor(a), torch.tensor(-a))) == pytest.approx(
        2 * ROWS, rel=1e-6
    )


def test_a_known_value():
    """Two classes, student (0, 0), teacher (ln 3, 0), T = 1: KL((¾, ¼) ‖ (½, ½)) = ¾ ln 1.5 + ¼ ln
    0.5 = 0.130812…"""
    found = soft_target_loss(torch.zeros(1, 2), torch.tensor([[np.log(3.0), 0.0]]), 1.0)
    assert float(found) == pytest.approx(0.1308120, abs=1e-6)
