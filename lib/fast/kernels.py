"""What the vocabulary head does to its logits, compiled for the processor: one pass over a row
while it is in the cache.

PyTorch's operations go through memory once each, and there are some twenty of them between two
logit matrices and a gradient.
"""

import numpy as np
import torch
from numba import carray, njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from lib.fast.compiled import (
    CHUNK,
    EXACT,
    SUMS,
    doubles,
    exp,
    f32,
    floats,
    halves,
    kernel,
    narrow,
    next_part,
    on_all_threads,
    widen,
    words,
)

LANES = 128
SCRATCH_ROWS = 4
"""Rows of the vocabulary's length, in fp32, that a thread works in."""

# ----------------------------------------------------------------------------------- parts of a row


@njit(fastmath=EXACT)
def _raise(z, bias, top):
    """z + bias in place, and the larger one of each of its numbers and of `top`'s in `top`."""
    for j in range(z.size):
        z[j] += bias[j]
        top[j] = z[j] if z[j] > top[j] else top[j]


@njit
def _biased(z, bias, top):
    """Adds the bias to a row in place; its largest number."""
    top[:] = f32(-3e38)
    for start in range(0, z.size, LANES):
        _raise(z[start : start + LANES], bias[start : start + LANES], top)
    return top.max()


@njit(fastmath=EXACT)
def _lift(z, highest, by, shifted):
    """shifted = (z - highest) · by, and z = exp(shifted)."""
    for j in range(z.size):
        shifted[j] = (z[j] - highest) * by
        z[j] = exp(shifted[j])


@njit(fastmath=SUMS)
def _sum(z):
    total = f32(0)
    for j in range(z.size):
        total += z[j]
    return total


@njit(fastmath=SUMS)
def _compare(s, t, x, y):
    """Σ t, Σ (s - t) and Σ t (y - x), where s and t are the exponentials of x and y."""
    total, more, between = f32(0), f32(0), f32(0)
    for j in range(s.size):
        total += t[j]
        more += s[j] - t[j]
        between += t[j] * (y[j] - x[j])
    return total, more, between


@njit(fastmath=EXACT)
def _difference(s, by_s, t, by_t):
    """In place of s. (Were it told of a third array, it could not know that s may be overwritten,
    and would be slow.)"""
    for j in range(s.size):
        s[j] = s[j] * by_s - t[j] * by_t


@njit(fastmath=EXACT)
def _scaled(s, by, to):
    for j in range(s.size):
        to[j] = s[j] * by


@njit(fastmath=EXACT)
def _add_scaled(s, by, to):
    for j in range(s.size):
        to[j] += s[j] * by


@njit(fastmath=EXACT)
def _add(s, to):
    for j in range(s.size):
        to[j] += s[j]


# ----------------------------------------------------------------------------- the rows of a thread


@njit(error_model="numpy")
def _row(s, t, label, bias_s, bias_t, hard, column, top, x, y, temperature, soft, mlm):
    """One row: its cross-entropy and its divergence; the logits s become their gradient, which is
    added to `column` too."""
    n, by = s.size, f32(1.0 / temperature)
    highest = _biased(s, bias_s, top)
    gold = s[label] if label >= 0 else f32(0)
    sum_hard = 0.0
    if label >= 0:
        for a in range(0, n, CHUNK):
            z = min(n, a + CHUNK)
            hard[a:z] = s[a:z]
            _lift(hard[a:z], highest, f32(1), x[: z - a])
            sum_hard += _sum(hard[a:z])
    sum_s, sum_t, more, between, divergence = 0.0, 0.0, 0.0, 0.0, 0.0
    if soft > 0:
        highest_t = _biased(t, bias_t, top)
        for a in range(0, n, CHUNK):
            z = min(n, a + CHUNK)
            _lift(s[a:z], highest, by, x[: z - a])
            _lift(t[a:z], highest_t, by, y[: z - a])
            sum_s += _sum(s[a:z])
            found = _compare(s[a:z], t[a:z], x[: z - a], y[: z - a])
            sum_t, more, between = sum_t + found[0], more + found[1], between + found[2]
        # Of like networks the two sums are near each other, and so the divergence near 0: it must
        # not be their difference.
        ratio = np.log1p(more / sum_t) if abs(more) < 0.5 * sum_t else np.log(sum_s / sum_t)
        divergence = between / sum_t + ratio
    for a in range(0, n, CHUNK):
        z = min(n, a + CHUNK)
        if soft > 0:
            _difference(s[a:z], f32(soft / sum_s), t[a:z], f32(soft / sum_t))
            if label >= 0:
                _add_scaled(hard[a:z], f32(mlm / sum_hard), s[a:z])
        elif label >= 0:
            _scaled(hard[a:z], f32(mlm / sum_hard), s[a:z])
        else:
            s[a:z] = f32(0)
        if a <= label < z:
            s[label] -= f32(mlm)
        _add(s[a:z], column[a:z])
    return (np.log(sum_hard) + highest - gold if label >= 0 else 0.0), divergence


@kernel
def _head(data):
    """Rows of a block, on each thread that calls this, until no part of them is left. `data`: see
    head_rows."""
    numbers = to_fixed_tuple(carray(data, 13, np.int64), 13)
    counter, parts, rows, n, low, s_at, t_at, labels_at = numbers[:8]
    bias_s_at, bias_t_at, scratch_at, weights_at, sums_at = numbers[8:]
    labels = carray(words(labels_at), (rows,))
    temperature, soft, mlm = to_fixed_tuple(carray(doubles(weights_at), (3,)), 3)
    sums = carray(doubles(sums_at), (parts, 2))
    bias_s, bias_t = carray(floats(bias_s_at), (n,)), carray(floats(bias_t_at), (n,))
    top, x, y = np.empty(LANES, f32), np.empty(CHUNK, f32), np.empty(CHUNK, f32)
    while True:
        part = next_part(counter)
        if part >= parts:
            break
        scratch = carray(floats(scratch_at + 4 * part * SCRATCH_ROWS * n), (SCRATCH_ROWS, n))
        wide_s, wide_t, hard, column = scratch[0], scratch[1], scratch[2], scratch[3]
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            label = labels[i] if mlm > 0 else -1
            if low:
                low_s = carray(halves(s_at + 2 * i * n), (n,))
                widen(low_s, wide_s)
                if soft > 0:
                    widen(carray(halves(t_at + 2 * i * n), (n,)), wide_t)
                s, t = wide_s, wide_t
            else:
                s = carray(floats(s_at + 4 * i * n), (n,))
                t = carray(floats(t_at + 4 * i * n), (n,))
            ce, kl = _row(
                s, t, label, bias_s, bias_t, hard, column, top, x, y, temperature, soft, mlm
            )
            if low:
                narrow(wide_s, low_s)
            sums[part, 0] += ce
            sums[part, 1] += kl


def head_rows(
    logits: torch.Tensor,
    targets: torch.Tensor | None,
    labels: torch.Tensor,
    biases: tuple[torch.Tensor, torch.Tensor | None],
    scratch: torch.Tensor,
    temperature: float,
    soft: float,
    mlm: float,
) -> tuple[float, float]:
    """Σ CE of the rows with a label, and Σ KL(σ(z_t/T) ‖ σ(z_s/T)); logits, in place, become soft ·
    (p_T − q_T) + mlm · (p − 1_y).

    Args:
        logits, targets: z_s and z_t without their `biases`, [rows, vocabulary], fp32 or bf16,
            contiguous. Targets are overwritten, and None without soft targets.
        labels: [rows], negative where there is none.
        scratch: [parts, SCRATCH_ROWS, vocabulary] in fp32. Each of the parts, one a thread, takes
            some of the rows, and adds their gradients' sum to the last row of its part.
    """
    rows, vocabulary = logits.shape
    parts, (bias_s, bias_t) = len(scratch), biases
    if targets is None:
        targets, bias_t = logits, bias_s
    # Memory is passed by address: what does not fit would be written elsewhere.
    for name, tensor, dtype, shape in (
        ("targets", targets, logits.dtype, (rows, vocabulary)),
        ("labels", labels, torch.int64, (rows,)),
        ("bias", bias_s, torch.float32, (vocabulary,)),
        ("bias", bias_t, torch.float32, (vocabulary,)),
        ("scratch", scratch, torch.float32, (parts, SCRATCH_ROWS, vocabulary)),
    ):
        if tensor.dtype != dtype or tensor.shape != shape:
            raise ValueError(f"{name}: {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {shape}")
    if logits.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"logits: {logits.dtype}; allowed are fp32 and bf16")
    tensors = logits, targets, labels, bias_s, bias_t, scratch
    if not all(tensor.is_contiguous() and tensor.device.type == "cpu" for tensor in tensors):
        raise ValueError("all tensors must be contiguous, on a processor")
    if rows and int(labels.max()) >= vocabulary:
        raise ValueError(f"a label is not below the {vocabulary} words")
    counter, weights = np.zeros(1, np.int64), np.array([temperature, soft, mlm])
    sums, low = np.zeros((parts, 2)), logits.dtype == torch.bfloat16
    addresses = [tensor.data_ptr() for tensor in tensors]
    ends = weights.ctypes.data, sums.ctypes.data
    data = np.array(
        [counter.ctypes.data, parts, rows, vocabulary, low, *addresses, *ends], np.int64
    )
    on_all_threads(_head, data, parts)
    ce, kl = sums.sum(0)
    return float(ce), float(kl)
