"""The compiled passes over logits and activations against plain PyTorch in double precision, and
what they refuse."""

import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from lib.common.places import ROOT
from lib.fast import compiled, gelu, kernels
from lib.fast.head import plain_rows

ROWS, VOCABULARY = 13, 2500  # more than two chunks, not a multiple of any


def given(dtype, seed=0):
    """Logits of two networks, labels on some rows, two biases."""
    generator = torch.Generator().manual_seed(seed)
    z, t = (4 * torch.randn(ROWS, VOCABULARY, generator=generator) for _ in range(2))
    labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    labels[::3] = -100
    return z.to(dtype), t.to(dtype), labels, tuple(torch.randn(2, VOCABULARY, generator=generator))


def exact(z, t, labels, biases, temperature, soft, mlm):
    """Both losses, and the gradient of their weighted sum, in double precision."""
    z = (z.double() + biases[0]).requires_grad_()
    ce = F.cross_entropy(z, labels, reduction="sum", ignore_index=-100)
    log_q, log_p = (
        (z / temperature).log_softmax(-1),
        ((t.double() + biases[1]) / temperature).log_softmax(-1),
    )
    kl = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    (soft / temperature**-1 * kl + mlm * ce).backward()  # the kernel's soft is of the logits over T
    return float(ce), float(kl), z.grad


def head_rows(z, t, labels, biases, soft=1.0, mlm=1.0):
    """The kernel's losses at temperature 2, by two threads; the gradient replaces `z`."""
    room = torch.zeros(2, kernels.SCRATCH_ROWS, VOCABULARY)
    return kernels.head_rows(z, t, labels, biases, room, temperature=2.0, soft=soft, mlm=mlm)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "temperature, soft, mlm", [(2.0, 5.0, 2.0), (3.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.5, 1.0, 1.0)]
)
def test_losses_and_gradient(threads, dtype, temperature, soft, mlm):
    z, t, labels, biases = given(dtype)
    ce, kl, gradient = exact(z, t, labels, biases, temperature, soft, mlm)
    room = torch.zeros(threads, kernels.SCRATCH_ROWS, VOCABULARY)
    how = dict(temperature=temperature, soft=soft, mlm=mlm)
    ours, theirs = z.clone(), z.clone()
    found = kernels.head_rows(ours, t.clone() if soft else None, labels, biases, room, **how)
    plain = plain_rows(
        theirs,
        t.clone() if soft else None,
        labels,
        biases,
        sums := torch.zeros(1, 1, VOCABULARY),
        **how,
    )
    for losses in (found, plain):
        assert float(losses[0]) == pytest.approx(ce if mlm else 0.0, rel=1e-5)
        assert float(losses[1]) == pytest.approx(kl if soft else 0.0, rel=1e-5)
    for rows, column in ((ours, room[:, -1].sum(0)), (theirs, sums[0, 0])):
        tolerance = 1e-6 if dtype == torch.float32 else 2**-8
        assert (rows.double() - gradient).abs().max() <= tolerance * gradient.abs().max()
        assert torch.allclose(column.double(), gradient.sum(0), atol=1e-5 * gradient.abs().max())


def test_as_many_threads_as_there_are_give_the_same_bits_every_time():
    results = []
    for _ in range(3):
        z, t, labels, biases = given(torch.float32)
        found = head_rows(z, t, labels, biases)
        results.append((found, z))
    assert all(found == results[0][0] and torch.equal(z, results[0][1]) for found, z in results)


@pytest.mark.parametrize("logits", [1e4, -1e4, 0.0])
def test_extreme_logits_stay_finite(logits):
    z, t, labels, biases = given(torch.float32)
    z[:, 7] += logits
    t[:, 9] += logits
    found = head_rows(z, t, labels, biases)
    assert all(abs(loss) < 1e6 for loss in found) and torch.isfinite(z).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("soft, mlm", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("what", [torch.nan, torch.inf])
@pytest.mark.parametrize("whose", ["student", "teacher", "label"])
def test_a_logit_that_is_no_number_is_heard_of(dtype, soft, mlm, what, whose):
    if whose == "teacher" and not soft:
        return
    z, t, labels, biases = given(dtype)
    (t if whose == "teacher" else z)[1, labels[1] if whose == "label" else 5] = what
    found = head_rows(z, t, labels, biases, soft=soft, mlm=mlm)
    assert not all(map(torch.isfinite, torch.tensor(found)))


@pytest.mark.parametrize("wrong", ["fp16", "strided", "label", "labels", "room", "targets"])
def test_what_would_write_elsewhere_is_refused(wrong):
    z, t, labels, biases = given(torch.float32)
    room = torch.zeros(2, kernels.SCRATCH_ROWS, VOCABULARY + (wrong == "room"))
    if wrong == "fp16":
        z, t = z.half(), t.half()
    if wrong == "strided":
        z = z.t().contiguous().t()
    if wrong == "label":
        labels[1] = VOCABULARY
    if wrong == "labels":
        labels = labels[1:]
    if wrong == "targets":
        t = t[1:]
    with pytest.raises(ValueError):
        kernels.head_rows(z, t, labels, biases, room, temperature=2.0, soft=1.0, mlm=1.0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
@pytest.mark.parametrize("size, threads", [(0, 1), (1, 1), (1023, 1), (70_001, 1), (70_001, 3)])
def test_gelu_and_its_gradient(dtype, tolerance, size, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    u = torch.linspace(-9, 9, size).to(dtype)
    by = torch.linspace(-2, 3, size).to(dtype)
    wide = u.double().requires_grad_()
    F.gelu(wide).backward(by.double())
    assert torch.allclose(gelu.gelu(u).double(), F.gelu(u.double()), atol=tolerance, rtol=tolerance)
    over = u.clone()
    assert gelu.gelu(over, in_place=True) is over and torch.equal(over, gelu.gelu(u))
    gradient = by.clone()
    assert torch.equal(gelu.gelu_backward(u, gradient), gelu.gelu(u))
    assert torch.allclose(gradient.double(), wide.grad, atol=2 * tolerance, rtol=2 * tolerance)


def test_pytorch_has_threads_for_them():
    assert compiled._run_by_all() is not None or not torch.backends.openmp.is_available()


def test_what_was_compiled_is_taken_again_only_for_the_same_code(tmp_path):
    """Also where what was kept was cut short."""
    script = "import torch; from lib.fast import gelu; print(float(gelu.gelu(torch.ones(1))))"
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    kept = tmp_path / "lib" / "fast" / "__pycache__"

    def said() -> float:
        run = [sys.executable, "-W", "ignore", "-c", script]
        return float(
            subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        )

    assert said() == pytest.approx(0.8413447, rel=1e-6)
    found = {file: file.stat().st_mtime_ns for file in kept.glob("gelu._gelu_*")}
    assert found and said() == pytest.approx(0.8413447, rel=1e-6)
    assert {file: file.stat().st_mtime_ns for file in kept.glob("gelu._gelu_*")} == found
    for file in kept.glob("gelu._gelu_*.nbi"):
        file.write_bytes(file.read_bytes()[:3])
    assert said() == pytest.approx(0.8413447, rel=1e-6)
    with open(tmp_path / "lib/fast/compiled.py", "a", encoding="utf-8") as file:
        file.write("\n# another\n")
    assert said() == pytest.approx(0.8413447, rel=1e-6)
    assert len({file.name.split("-")[0] for file in kept.glob("gelu._gelu_*")}) == 2
