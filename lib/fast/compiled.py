"""Code for the processor, compiled by Numba: what kernels share, and how they run on the threads
that PyTorch has already.

A second set of threads would wait for a core on which one of PyTorch's still waits for work. What
is compiled is kept beside the source files; memory comes as addresses, since PyTorch's threads know
no Python.
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
    # LLVM would use half of the registers' width, from times when the other half slowed a processor
    # down.
    numba.config.CPU_FEATURES = get_host_cpu_features() + ",-prefer-256-bit"

EXACT = {"contract", "nsz"}  # but a NaN stays one: it is how a training that diverges is noticed
SUMS = EXACT | {"reassoc"}  # a sum may be taken in several lanes
CHUNK = 1024
"""Numbers that several loops go over one after the other: they stay in the nearest cache."""

f32, u32, i32 = np.float32, np.uint32, np.int32


# ---------------------------------------------------------------------------- memory by its address


def _pointer(kind: types.Type):
    """Makes a pointer to numbers of a kind out of an address."""

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
    """The number at the address `counter`, which is one more for whoever asks next."""

    def code(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.atomic_rmw(
            "add", builder.inttoptr(args[0], word.as_pointer()), ir.Constant(word, 1), "seq_cst"
        )

    return types.int64(types.int64), code


# ------------------------------------------------------------------------------------------ numbers


@njit(fastmath=EXACT, inline="always")
def exp(x):
    """exp(x) of x ≤ 0 to about 1e-7 of it: 2^n · e^r with |r| ≤ ½ ln 2; below -87 it is e^-87."""
    x = f32(-87.0) if x < f32(-87.0) else x  # this way round a NaN is not lost
    n = (x * f32(1.44269504) + f32(12582912.0)) - f32(
        12582912.0
    )  # to the next whole number: no bits are left for more
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
    """bf16, as whole numbers of 16 bits, to fp32."""
    for j in range(z.size):
        to[j] = u32(u32(z[j]) << u32(16)).view(np.float32)


@njit(fastmath=EXACT)
def narrow(z, to):
    """fp32 to bf16, to the nearer number."""
    for j in range(z.size):
        bits = f32(z[j]).view(np.uint32)
        to[j] = np.uint16((bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1))) >> u32(16))


# ---------------------------------------------------------------------------- PyTorch's own threads


@functools.cache
def _run_by_all() -> Callable | None:
    """`GOMP_parallel` of the OpenMP library that PyTorch itself is linked to: runs a function on
    its threads. None where it has another."""
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            found = ctypes.CDLL(
                str(path)
            ).GOMP_parallel  # looked for in what the library depends on, too
        except (OSError, AttributeError):
            continue
        found.argtypes, found.restype = (
            [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint],
            None,
        )
        return found
    return None


def on_all_threads(function, data: np.ndarray, threads: int) -> None:
    """Let so many threads call a `cfunc` with `data`, whole numbers of 64 bits; they share its
    parts out by `next_part`."""
    if threads > 1 and (run := _run_by_all()):
        run(function.address, data.ctypes.data, threads, 0)
    else:
        function.ctypes(data.ctypes.data)


# -------------------------------------------------------------------------- compiled once, and kept


@functools.cache
def _version() -> str:
    """Of what every kernel is made of beside its own file, as Numba does not see it: this file, and
    the processor."""
    processor = f"{binding.get_host_cpu_name()} {numba.config.CPU_FEATURES}"
    return hashlib.sha256(Path(__file__).read_bytes() + processor.encode()).hexdigest()[:12]


def kernel(function: Callable):
    """A `cfunc` of one address, void(voidptr), to be called by `on_all_threads`. It is compiled
    again when its file or this one has changed. Where nothing can be kept it is compiled in every
    process."""
    make = functools.partial(cfunc, "void(voidptr)", error_model="numpy")
    function.__qualname__ += f"_{_version()}"  # the files are named for it
    for _ in range(2):
        try:
            return make(cache=True)(function)
        except (EOFError, pickle.UnpicklingError):  # what was kept was cut short by a power failure
            for file in Path(__file__).parent.glob(f"__pycache__/*.{function.__qualname__}-*"):
                with suppress(OSError):
                    file.unlink()
        except (RuntimeError, OSError):  # no right, or no room
            break
    return make()(function)
