"""Which number format a training runs in, where its parameters leave it to the machine: measured,
not guessed."""

import time
from collections.abc import Sequence

import torch

from lib.training.batches import Batch

ROUNDS = 3
GAIN = 0.9
"""bf16 is taken where a step takes less than this share of the time in fp32: a rounder number needs
a reason."""


def fastest(objective: torch.nn.Module, batches: Sequence[Batch]) -> str:
    """`no` (fp32) or `bf16`, whichever runs the loss and gradient of these micro-batches faster
    here; on a GPU bf16, or fp16 where it lacks that. Leaves weights and gradients as they were.

    A processor with AVX512-BF16 or AMX multiplies in bf16 several times faster than in fp32, but
    casts cost a narrow model more than that saves; one without them is slower in bf16 by far.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # The longest micro-batch stands for all; the first pass of each format only warms up.
    longest = max(batches, key=lambda batch: batch.inputs.numel())
    taken: dict[str, list[float]] = {"no": [], "bf16": []}
    for turn in range(ROUNDS + 1):
        for name, times in taken.items():
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                loss = objective(longest, objective.counts(longest))["loss"]
            loss.backward()
            if turn:
                times.append(time.perf_counter() - began)
            for parameter in objective.parameters():
                parameter.grad = None
    seconds = {name: sorted(times)[len(times) // 2] for name, times in taken.items()}
    chosen = "bf16" if seconds["bf16"] < GAIN * seconds["no"] else "no"
    print(
        f"precision {chosen}: a step takes {seconds['no']:.3f} s in fp32, {seconds['bf16']:.3f} s "
        f"in bf16",
        flush=True,
    )
    return chosen
