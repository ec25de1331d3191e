"""Floating-point operations of a benchmark's step, by the arithmetic of lib.plan.forecast."""

from lib.plan.forecast import head_flops, trunk_flops
from tests.benchmarks.cases import Case


def step_flops(case: Case, shapes: list[tuple[int, int]], rows: int) -> int:
    """A teacher's forward pass, and a student's forward and backward pass (twice the forward), over
    some batches.

    Args:
        shapes: (sequences, length) of each batch, as it is padded.
        rows: positions of all of them together that go through the vocabulary head, 0 for trunks
        alone and for a hop.
    """
    teacher, student = case.layers
    passes = teacher + 3 * student  # layers, by how often they are gone through
    trunks = sum(
        trunk_flops(n * length, length, passes, case.hidden, case.intermediate)
        for n, length in shapes
    )
    return trunks + (1 + 3) * head_flops(rows, case.hidden, case.vocab)
