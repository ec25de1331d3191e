"""Linear layers that multiply by another library: the same values, gradients and weights as
PyTorch's own."""

import copy

import pytest
import torch
from torch import nn

from lib.fast import head, linear
from lib.fast.linear import Linear
from lib.fast.quicken import quicken
from tests.helpers import small


def encoder():
    return small.encoder(
        vocab_size=50, layers=2, hidden=32, intermediate=64, initializer_range=0.2, seed=0
    )


def gradients(model, ids):
    model.zero_grad()
    (model(ids).logits ** 2).mean().backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def test_values_and_gradients_are_those_of_the_library(library):
    plain = encoder()
    quick, ids = quicken(copy.deepcopy(plain)), torch.arange(24).view(2, 12)
    assert any(type(module) is Linear for module in quick.modules())
    assert torch.allclose(quick(ids).logits, plain(ids).logits, rtol=1e-5, atol=1e-5)
    expected, found = gradients(plain, ids), gradients(quick, ids)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(
            found[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()) + 1e-8
        ), name
    assert quick.state_dict().keys() == plain.state_dict().keys()


def test_under_autocast_gradients_are_as_near_to_fp32_as_the_librarys(library):
    plain = encoder()
    quick, ids = quicken(copy.deepcopy(plain)), torch.arange(24).view(2, 12)
    exact = gradients(plain, ids)
    with torch.autocast("cpu", torch.bfloat16):
        theirs, ours = (gradients(model, ids) for model in (plain, quick))
        assert quick(ids).logits.dtype == plain(ids).logits.dtype
    for name, value in exact.items():
        off, allowed = (float((found[name] - value).norm()) for found in (ours, theirs))
        assert ours[name].dtype == torch.float32 and off <= 2 * allowed + 1e-3 * float(
            value.norm()
        ), name


def test_weights_that_learn_are_never_those_of_an_earlier_step(library):
    """A fused optimizer changes a weight without raising its version; under autocast the cast must
    follow it."""
    layer = quicken(nn.Sequential(nn.Linear(16, 16)))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    x = torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(x)
        before.float().sum().backward()
        optimizer.step()
        after = layer(x)
        assert not torch.allclose(before, after)
        fresh = nn.Linear(16, 16)
        fresh.load_state_dict(layer[0].state_dict())
        assert torch.allclose(after.float(), fresh(x).float(), atol=0.05)


def test_a_frozen_network_is_cast_once_and_its_copy_may_learn(library):
    teacher = quicken(nn.Sequential(nn.Linear(16, 16)), frozen=True)
    x = torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        teacher(x)
        first = teacher[0]._cast
        teacher(x)
        assert first is not None and teacher[0]._cast is first
    student = copy.deepcopy(teacher)
    assert student[0]._cast is None
    quicken(student)
    assert not student[0].frozen and teacher[0].frozen


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_products_of_any_size_and_format(library, rows, dtype):
    x, weight, bias = (
        torch.randn(rows, 5).to(dtype),
        torch.randn(7, 5).to(dtype),
        torch.randn(7).to(dtype),
    )
    expected = nn.functional.linear(x.double(), weight.double(), bias.double())
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    found = linear.linear(x, weight, bias)
    assert found.shape == (rows, 7) and found.dtype == dtype
    assert torch.allclose(found.double(), expected, atol=tolerance)
    learns = quicken(nn.Sequential(nn.Linear(5, 7)))
    learns(x.float().requires_grad_()).sum().backward()  # also where there is nothing to learn from
    turned = linear.linear(x.t(), x.t())  # neither is contiguous
    assert torch.allclose(turned.double(), x.double().t() @ x.double(), atol=10 * tolerance)


def test_what_is_kept_while_evaluating_serves_training_too(library):
    """A tensor made in inference mode may not be written to, or saved for a gradient, outside of
    it."""
    model = quicken(encoder(), frozen=True)
    ids = torch.arange(24).view(2, 12)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            model(ids)
        model(ids).logits.sum().backward()
    head.free_buffers()
    with torch.inference_mode():
        head._buffer("rows", torch.device("cpu"), torch.float32, 8)
    head._buffer(
        "rows", torch.device("cpu"), torch.float32, 8
    ).requires_grad_().square().sum().backward()
