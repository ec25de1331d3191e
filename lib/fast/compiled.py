"""Code for the processor, compiled by Numba: what the kernels share, and how they run on PyTorch's
own threads.

A second set of threads would compete for cores with PyTorch's, which keep waiting for work. What
is compiled is cached next to the source files. Memory is passed by address, since PyTorch's
threads do not know Python.
"""

import ctypes
import functools
import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numba
import numpy as np
import torch
from llvmlite import binding, ir
from numba import cfunc, njit, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

if numba.config.CPU_FEATURES is None and "+avx512f" in get_host_cpu_features():
    # By default LLVM uses half of the registers' width, which was faster on older processors.
    numba.config.CPU_FEATURES = get_host_cpu_features() + ",-prefer-256-bit"

EXACT = {"contract", "nsz"}  # but a NaN stays one: it is how a training that diverges is noticed
SUMS = EXACT | {"reassoc"}  # a sum may be taken in several lanes
CHUNK = 1024
"""Elements that several loops pass over one after the other, so that they stay in the cache."""

f32, u32, i32 = np.float32, np.uint32, np.int32


# -------------------------------------------------------------------------------- memory by address


def _pointer(kind: types.Type):
    """A function that turns an address into a pointer to numbers of a kind."""

    @intrinsic
    def pointer(typing, address):
        def code(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), code

    return pointer


floats, doubles, halves, words = map(
    _pointer, (types.float32, types.float64, types.uint16, types.int64)
)


@intrinsic
def next_part(typing, counter):
    """Fetch and increment, atomically, the number at the address `counter`."""

    def code(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.atomic_rmw(
            "add", builder.inttoptr(args[0], word.as_pointer()), ir.Constant(word, 1), "seq_cst"
        )

    return types.int64(types.int64), code


# ------------------------------------------------------------------------------------------ numbers


@njit(fastmath=EXACT, inline="always")
def exp(x):
    """exp(x) for x ≤ 0, relative error about 1e-7: 2^n · e^r with |r| ≤ ½ ln 2; e^-87 below -87."""
    x = f32(-87.0) if x < f32(-87.0) else x  # this way round a NaN is kept
    # Rounds to the nearest integer: no bits are left for a fraction.
    n = (x * f32(1.44269504) + f32(12582912.0)) - f32(12582912.0)
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
def widen(z, to):
    """bf16, as 16-bit integers, to fp32."""
    for j in range(z.size):
        to[j] = u32(u32(z[j]) << u32(16)).view(np.float32)


@njit(fastmath=EXACT)
def narrow(z, to):
    """fp32 to bf16, rounded to nearest."""
    for j in range(z.size):
        bits = f32(z[j]).view(np.uint32)
        to[j] = np.uint16((bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1))) >> u32(16))


# ---------------------------------------------------------------------------- PyTorch's own threads


@functools.cache
def _run_by_all() -> Callable | None:
    """`GOMP_parallel` of the OpenMP library that PyTorch is linked to, which runs a function on its
    threads. None if PyTorch has another library."""
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            run = ctypes.CDLL(str(path)).GOMP_parallel  # also found in the library's dependencies
        except (OSError, AttributeError):
            continue
        run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        run.restype = None
        return run
    return None


def on_all_threads(function, data: np.ndarray, threads: int) -> None:
    """Call a `cfunc` on several threads with `data`, 64-bit integers; they take parts by
    `next_part`."""
    if threads > 1 and (run := _run_by_all()):
        run(function.address, data.ctypes.data, threads, 0)
    else:
        function.ctypes(data.ctypes.data)


# ------------------------------------------------------------------------ compiled once, and cached


@functools.cache
def _version() -> str:
    """A hash of what every kernel depends on besides its own file, and Numba does not track: this
    file, and the processor."""
    processor = f"{binding.get_host_cpu_name()} {numba.config.CPU_FEATURES}"
    return hashlib.sha256(Path(__file__).read_bytes() + processor.encode()).hexdigest()[:12]


def kernel(function: Callable):
    """A `cfunc` of one address, void(voidptr), for `on_all_threads`. It is compiled again when its
    file or this one has changed, and in every process if it cannot be cached."""
    make = functools.partial(cfunc, "void(voidptr)", error_model="numpy")
    function.__qualname__ += f"_{_version()}"  # names the cached files
    for _ in range(2):
        try:
            return make(cache=True)(function)
        except (EOFError, pickle.UnpicklingError):  # a cached file cut short by a power failure
            for file in Path(__file__).parent.glob(f"__pycache__/*.{function.__qualname__}-*"):
                with suppress(OSError):
                    file.unlink()
        except (RuntimeError, OSError):  # no permission, or no space
            break
    return make()(function)
