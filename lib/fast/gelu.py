"""GELU and its gradient, compiled for the processor: both in one pass over a layer's inner
activations."""

import numpy as np
import torch
from numba import carray, njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from lib.fast.compiled import (
    CHUNK,
    EXACT,
    exp,
    f32,
    floats,
    halves,
    kernel,
    narrow,
    next_part,
    on_all_threads,
    widen,
)

WORTH_THREADS = 2**15
"""Fewer elements than these are left to one thread."""


@njit(fastmath=EXACT, inline="always")
def _phi(u):
    """Φ(u) = (1 + erf(u/√2)) / 2: a rational function of the argument, as in Eigen, to about
    1e-7."""
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
        by[j] *= phi + u[j] * f32(0.3989422804014327) * exp(f32(-0.5) * u[j] * u[j])


@kernel
def _gelu(data):
    """GELU of n numbers, and its gradient where `by_at` is not 0; see gelu and gelu_backward."""
    counter, parts, n, low, u_at, to_at, by_at = to_fixed_tuple(carray(data, 7, np.int64), 7)
    wide = np.empty((3, CHUNK), np.float32)
    while True:
        part = next_part(counter)
        if part >= parts:
            break
        for a in range(n * part // parts, n * (part + 1) // parts, CHUNK):
            z = min(a + CHUNK, n * (part + 1) // parts)
            if low:
                u, to, by = wide[0, : z - a], wide[1, : z - a], wide[2, : z - a]
                widen(carray(halves(u_at + 2 * a), (z - a,)), u)
                if by_at:
                    widen(carray(halves(by_at + 2 * a), (z - a,)), by)
            else:
                u = carray(floats(u_at + 4 * a), (z - a,))
                to = (
                    wide[1, : z - a] if u_at == to_at else carray(floats(to_at + 4 * a), (z - a,))
                )  # one that is not u
                by = carray(floats(by_at + 4 * a), (z - a,)) if by_at else to
            if by_at:
                _active_and_gradient(u, to, by)
            else:
                _active(u, to)
            if u_at == to_at and not low:
                u[:] = to
            if low:
                narrow(to, carray(halves(to_at + 2 * a), (z - a,)))
                if by_at:
                    narrow(by, carray(halves(by_at + 2 * a), (z - a,)))


def gelu(u: torch.Tensor, in_place: bool = False) -> torch.Tensor:
    """u Φ(u) of every number, without gradient; u is fp32 or bf16, contiguous."""
    return _gelu_of(u, None, u if in_place else torch.empty_like(u))


def gelu_backward(u: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """gelu(u); `by`, of u's shape, is multiplied in place by the derivative Φ(u) + u φ(u)."""
    return _gelu_of(u, by, torch.empty_like(u))


def _gelu_of(u: torch.Tensor, by: torch.Tensor | None, to: torch.Tensor) -> torch.Tensor:
    for part in (u, by):
        if part is not None and (
            part.dtype not in (torch.float32, torch.bfloat16)
            or part.dtype != u.dtype
            or not part.is_contiguous()
            or part.numel() != u.numel()
            or part.device.type != "cpu"
        ):
            raise ValueError(
                f"{part.dtype} {tuple(part.shape)}: it must be contiguous, in fp32 or bf16, on a "
                f"processor"
            )
    threads = torch.get_num_threads() if u.numel() > WORTH_THREADS else 1
    counter = np.zeros(1, np.int64)
    start, size, low = counter.ctypes.data, u.numel(), u.dtype == torch.bfloat16
    addresses = u.data_ptr(), to.data_ptr(), 0 if by is None else by.data_ptr()
    data = np.array([start, threads, size, low, *addresses], np.int64)
    on_all_threads(_gelu, data, threads)
    return to
