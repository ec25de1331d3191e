"""The one door to the fast step: `quicken(objective)` replaces its layers and its head's losses."""

import ctypes
import functools

from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MMAP_LIMITS = 2**31 - 1, 2**25  # the largest int; the most that older C libraries accept


def quicken(model: nn.Module, frozen: bool = False) -> nn.Module:
    """Make a model or an objective of lib.training.objectives faster, in place; returns it. What it
    computes stays the same but for rounding (tests/fast/test_equivalence.py).

    Every nn.Linear becomes a `lib.fast.linear.Linear`, every layer that computes as BERT's does a
    `lib.fast.layer.Layer`. An objective's losses on logits become those of `lib.fast.head`, that on
    relations that of `lib.fast.relations`, and the states of its networks those of
    `lib.fast.layer`; its teacher is quickened too. `frozen`: the
    weights will not change while the model is used, as those of a teacher.
    """
    # Only when needed: the library's models take a second to load.
    from lib.fast.head import FusedHead
    from lib.fast.layer import Layer, fast_class, states
    from lib.fast.linear import Linear
    from lib.fast.relations import relation_loss

    for module in model.modules():
        kind = type(module)
        module.__class__ = Linear if kind is nn.Linear else fast_class(kind)
        if isinstance(module, (Linear, Layer)):
            module.frozen, module._cast = frozen, None
    if getattr(model, "teacher", None) is not None:
        quicken(model.teacher, frozen=True)
    if getattr(model, "uses_head_losses", False):
        head = FusedHead(model.decoder_input)
        model.hidden_states, model.head_losses = head.hidden_states, head.losses
    if hasattr(model, "states"):
        model.states = functools.partial(states, plain=model.states)
    if hasattr(model, "relation_loss"):
        model.relation_loss = relation_loss
    return model


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step instead of returning it to the system;
    returns whether it does.

    By default each larger tensor is a mapping of its own, which is returned when it is freed: the
    next step gets fresh pages and pays a fault for each, which on virtual machines takes longer
    than what is computed in them. The process then holds its peak memory until it ends.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mapped = any(mallopt(M_MMAP_THRESHOLD, limit) for limit in MMAP_LIMITS)
        return bool(mallopt(M_TRIM_THRESHOLD, MMAP_LIMITS[0]) and mapped)
    except (OSError, AttributeError):
        return False  # another C library, with ways of its own
