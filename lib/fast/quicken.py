"""Memory that a step frees stays with the process for the next step."""

import ctypes
import functools

from torch import nn

from lib.fast.linear import Linear

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1  # the parameters are ints
HIGHEST_ONCE = 2**25  # older ones take no more for the first


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep what is freed instead of giving it back to the system; whether it
    will.

    By default every larger tensor is a mapping of its own, which goes back when it is freed: the
    next step gets its memory as fresh pages, and pays a fault for each, on virtual machines more
    than for what is computed in them. The process then holds about as much until its end as it held
    at most.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        mapped = libc.mallopt(M_MMAP_THRESHOLD, LARGEST) or libc.mallopt(
            M_MMAP_THRESHOLD, HIGHEST_ONCE
        )
        return bool(libc.mallopt(M_TRIM_THRESHOLD, LARGEST) and mapped)
    except (OSError, AttributeError):
        return False  # another C library, which has ways of its own


def quicken(model: nn.Module, frozen: bool = False) -> nn.Module:
    """Let every linear layer of a model multiply by `linear`, and every layer of a BERT be one
    step, in place; returns the model. `frozen`: its weights stay as they are as long as the model
    is used."""
    from lib.fast.layer import (
        BertLayer,
        Layer,  # it builds on what stands here
    )

    quicker = {nn.Linear: Linear, BertLayer: Layer}
    for module in model.modules():
        module.__class__ = quicker.get(type(module), type(module))
        if type(module) in quicker.values():
            module.frozen, module._cast = frozen, None
    return model
