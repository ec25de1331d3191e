"""What the vocabulary head does to its logits, compiled for the processor by Numba: one pass over a row while it is in the cache.

PyTorch's operations go through memory once each, and there are some twenty of them between two logit matrices and a gradient.
The compiled code runs on the threads that PyTorch has already: a second set of threads would wait for a core on which one of
PyTorch's still waits for work.
"""

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

if numba.config.CPU_FEATURES is None and "+avx512f" in get_host_cpu_features():
    # LLVM would use half of the registers' width, from times when the other half slowed a processor down.
    numba.config.CPU_FEATURES = get_host_cpu_features() + ",-prefer-256-bit"

EXACT = {"contract", "nnan", "ninf", "nsz"}
SUMS = EXACT | {"reassoc"}  # a sum may be taken in several lanes
LANES, CHUNK = 128, 1024
ROOM = 4
"""Rows of the vocabulary's length, in fp32, that a thread works in."""

f32, u32, i32 = np.float32, np.uint32, np.int32


# ------------------------------------------------------------------------------------------- memory by its address


def _pointer(kind: types.Type):
    """Makes a pointer to numbers of a kind out of an address."""

    @intrinsic
    def pointer(typing, address):
        def code(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), code

    return pointer


_floats, _doubles, _halves, _words = map(_pointer, (types.float32, types.float64, types.uint16, types.int64))


@intrinsic
def _next(typing, counter):
    """The number at the address `counter`, which is one more for whoever asks next."""

    def code(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.atomic_rmw("add", builder.inttoptr(args[0], word.as_pointer()), ir.Constant(word, 1), "seq_cst")

    return types.int64(types.int64), code


# ---------------------------------------------------------------------------------------------------- parts of a row


@njit(fastmath=EXACT, inline="always")
def _exp(x):
    """exp(x) of x ≤ 0 to about 1e-7 of it: 2^n · e^r with |r| ≤ ½ ln 2; below -87 it is e^-87."""
    x = x if x > f32(-87.0) else f32(-87.0)
    n = (x * f32(1.44269504) + f32(12582912.0)) - f32(12582912.0)  # to the next whole number: no bits are left for more
    r = x - n * f32(0.693359375) + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + f32(1.0)
    return p * i32((i32(n) + i32(127)) << i32(23)).view(np.float32)


@njit(fastmath=EXACT)
def _widen(z, to):
    """bf16, as whole numbers of 16 bits, to fp32."""
    for j in range(z.size):
        to[j] = u32(u32(z[j]) << u32(16)).view(np.float32)


@njit(fastmath=EXACT)
def _narrow(z, to):
    """fp32 to bf16, to the nearer number."""
    for j in range(z.size):
        bits = f32(z[j]).view(np.uint32)
        to[j] = np.uint16((bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1))) >> u32(16))


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
        z[j] = _exp(shifted[j])


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
    """In place of s. (Were it told of a third array, it could not know that s may be overwritten, and would be slow.)"""
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


# ------------------------------------------------------------------------------------------------- the rows of a thread


@njit(error_model="numpy")
def _row(s, t, label, bias_s, bias_t, hard, column, top, x, y, temperature, soft, mlm):
    """One row: its cross-entropy and its divergence; the logits s become their gradient, which is added to `column` too."""
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
        # Of like networks the two sums are near each other, and so the divergence near 0: it must not be their difference.
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


@cfunc("void(voidptr)", cache=True, error_model="numpy")
def _head(data):
    """Rows of a block by the threads that call this, each of which takes parts until none is left. `data`: see head_rows."""
    given = to_fixed_tuple(carray(data, 13, np.int64), 13)
    counter, parts, rows, n, low, s_at, t_at, labels_at, bias_s_at, bias_t_at, room_at, weights_at, sums_at = given
    labels = carray(_words(labels_at), (rows,))
    temperature, soft, mlm = to_fixed_tuple(carray(_doubles(weights_at), (3,)), 3)
    sums = carray(_doubles(sums_at), (parts, 2))
    bias_s, bias_t = carray(_floats(bias_s_at), (n,)), carray(_floats(bias_t_at), (n,))
    top, x, y = np.empty(LANES, np.float32), np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    while True:
        part = _next(counter)
        if part >= parts:
            break
        room = carray(_floats(room_at + 4 * part * ROOM * n), (ROOM, n))
        wide_s, wide_t, hard, column = room[0], room[1], room[2], room[3]
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            label = labels[i] if mlm > 0 else -1
            if low:
                narrow = carray(_halves(s_at + 2 * i * n), (n,))
                _widen(narrow, wide_s)
                if soft > 0:
                    _widen(carray(_halves(t_at + 2 * i * n), (n,)), wide_t)
                s, t = wide_s, wide_t
            else:
                s, t = carray(_floats(s_at + 4 * i * n), (n,)), carray(_floats(t_at + 4 * i * n), (n,))
            hard_loss, divergence = _row(s, t, label, bias_s, bias_t, hard, column, top, x, y, temperature, soft, mlm)
            if low:
                _narrow(wide_s, narrow)
            sums[part, 0] += hard_loss
            sums[part, 1] += divergence


# ---------------------------------------------------------------------------------------------------------------- GELU


@njit(fastmath=EXACT, inline="always")
def _phi(u):
    """Φ(u) = (1 + erf(u/√2)) / 2: a rational function of the argument, as in Eigen, to about 1e-7."""
    x = u * f32(0.7071067811865476)
    x = min(max(x, f32(-4.0)), f32(4.0))
    y = x * x
    p = f32(-2.72614225801306e-10)
    p = p * y + f32(2.77068142495902e-08)
    p = p * y + f32(-2.10102402082508e-06)
    p = p * y + f32(-5.69250639462346e-05)
    p = p * y + f32(-7.34990630326855e-04)
    p = p * y + f32(-2.95459980854025e-03)
    p = p * y + f32(-1.60960333262415e-02)
    q = f32(-1.45660718464996e-05)
    q = q * y + f32(-2.13374055278905e-04)
    q = q * y + f32(-1.68282697438203e-03)
    q = q * y + f32(-7.37332916720468e-03)
    q = q * y + f32(-1.42647390514189e-02)
    return f32(0.5) + f32(0.5) * x * p / q


@njit(fastmath=EXACT)
def _active(u, to):
    for j in range(u.size):
        to[j] = u[j] * _phi(u[j])


@njit(fastmath=EXACT)
def _active_and_gradient(u, to, by):
    """to = u Φ(u); by, in place, times Φ(u) + u φ(u)."""
    for j in range(u.size):
        phi = _phi(u[j])
        to[j] = u[j] * phi
        by[j] *= phi + u[j] * f32(0.3989422804014327) * _exp(f32(-0.5) * u[j] * u[j])


@cfunc("void(voidptr)", cache=True, error_model="numpy")
def _gelu(data):
    """GELU of n numbers, and its gradient where `by_at` is not 0; see gelu and gelu_backward."""
    counter, parts, n, low, u_at, to_at, by_at = to_fixed_tuple(carray(data, 7, np.int64), 7)
    wide = np.empty((3, CHUNK), np.float32)
    while True:
        part = _next(counter)
        if part >= parts:
            break
        for a in range(n * part // parts, n * (part + 1) // parts, CHUNK):
            z = min(a + CHUNK, n * (part + 1) // parts)
            if low:
                u, to, by = wide[0, : z - a], wide[1, : z - a], wide[2, : z - a]
                _widen(carray(_halves(u_at + 2 * a), (z - a,)), u)
                if by_at:
                    _widen(carray(_halves(by_at + 2 * a), (z - a,)), by)
            else:
                u, to = carray(_floats(u_at + 4 * a), (z - a,)), carray(_floats(to_at + 4 * a), (z - a,))
                by = carray(_floats(by_at + 4 * a), (z - a,)) if by_at else to
            if by_at:
                _active_and_gradient(u, to, by)
            else:
                _active(u, to)
            if low:
                _narrow(to, carray(_halves(to_at + 2 * a), (z - a,)))
                if by_at:
                    _narrow(by, carray(_halves(by_at + 2 * a), (z - a,)))


# ------------------------------------------------------------------------------------------------ PyTorch's own threads


@functools.cache
def _run_by_all() -> Callable | None:
    """`GOMP_parallel` of the OpenMP library that PyTorch brings: runs a function on its threads. None where it has another."""
    for path in (Path(torch.__file__).parent / "lib").glob("lib*omp*.so*"):
        try:
            found = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        return found
    return None


def _call(function, data: np.ndarray, threads: int) -> None:
    if threads > 1 and (run := _run_by_all()):
        run(function.address, data.ctypes.data, threads, 0)
    else:
        function.ctypes(data.ctypes.data)


def head_rows(
    logits: torch.Tensor, targets: torch.Tensor | None, labels: torch.Tensor, biases: tuple[torch.Tensor, torch.Tensor | None],
    room: torch.Tensor, *, temperature: float, soft: float, mlm: float,
) -> tuple[float, float]:  # fmt: skip
    """Σ CE of the rows with a label, and Σ KL(σ(z_t/T) ‖ σ(z_s/T)); logits, in place, become soft · (p_T − q_T) + mlm · (p − 1_y).

    Args:
        logits, targets: z_s and z_t without their `biases`, [rows, vocabulary], fp32 or bf16, contiguous; targets lose their
            content, and are None without soft targets. labels: [rows], negative where there is none.
        room: [parts, ROOM, vocabulary] in fp32; each of as many parts as there are threads takes some of the rows. The sum of
            the gradient over its rows is added to the last row of its part.
    """
    parts, shape = len(room), logits.shape
    if room.shape != (parts, ROOM, shape[1]) or any(b is not None and len(b) != shape[1] for b in biases):
        raise ValueError(f"logits of {shape[1]} words, biases and room for others")
    if targets is not None and targets.shape != shape:
        raise ValueError(f"logits are {tuple(shape)}, targets {tuple(targets.shape)}")
    if len(labels) != shape[0] or labels.dtype != torch.int64 or shape[0] and int(labels.max()) >= shape[1]:
        raise ValueError("labels are one number of a word for each row")
    for part, kinds in ((logits, (torch.float32, torch.bfloat16)), (targets, (logits.dtype,)), (room, (torch.float32,)),
                        (labels, (torch.int64,)), *((bias, (torch.float32,)) for bias in biases)):  # fmt: skip
        if part is not None and (part.dtype not in kinds or not part.is_contiguous() or part.device.type != "cpu"):
            raise ValueError(f"a tensor of {part.dtype}, {tuple(part.shape)}: needed is a whole one in {kinds[0]}")
    counter, weights, sums = np.zeros(1, np.int64), np.array([temperature, soft, mlm]), np.zeros((parts, 2))
    targets, bias_t = (logits, biases[0]) if targets is None else (targets, biases[1])
    data = np.array([
        counter.ctypes.data, parts, *logits.shape, logits.dtype == torch.bfloat16, logits.data_ptr(), targets.data_ptr(),
        labels.data_ptr(), biases[0].data_ptr(), bias_t.data_ptr(), room.data_ptr(), weights.ctypes.data, sums.ctypes.data,
    ], np.int64)  # fmt: skip
    _call(_head, data, parts)
    found = sums.sum(0)
    return float(found[0]), float(found[1])


def gelu(u: torch.Tensor) -> torch.Tensor:
    """u Φ(u) of every number, without gradient; u is fp32 or bf16, contiguous."""
    return _gelu_of(u, None)


def gelu_backward(u: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """gelu(u); `by`, of u's shape, is multiplied in place by the derivative Φ(u) + u φ(u)."""
    return _gelu_of(u, by)


def _gelu_of(u: torch.Tensor, by: torch.Tensor | None) -> torch.Tensor:
    for part in (u, by):
        if part is not None and (part.dtype not in (torch.float32, torch.bfloat16) or part.dtype != u.dtype
                                 or not part.is_contiguous() or part.numel() != u.numel()):  # fmt: skip
            raise ValueError(f"a tensor of {part.dtype}, {tuple(part.shape)}: needed is a whole one in fp32 or bf16")
    to = torch.empty_like(u)
    threads = torch.get_num_threads() if u.numel() > 2**15 else 1
    counter = np.zeros(1, np.int64)
    data = np.array([counter.ctypes.data, threads, u.numel(), u.dtype == torch.bfloat16, u.data_ptr(), to.data_ptr(),
                     0 if by is None else by.data_ptr()], np.int64)  # fmt: skip
    _call(_gelu, data, threads)
    return to
