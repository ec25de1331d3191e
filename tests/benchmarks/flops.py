"""Floating-point operations of a step, counted from shapes: matrix products alone, a multiply-add being two."""

from tests.benchmarks.cases import Case


def trunk_flops(tokens: int, length: int, layers: int, hidden: int, intermediate: int) -> int:
    """Forward pass of an encoder over `tokens` positions in sequences of `length`, padding included.

    Each layer: four projections of the attention, two of the feed-forward part, and the two products of every query with
    every key and value of its sequence.
    """
    products = 4 * hidden**2 + 2 * hidden * intermediate
    return 2 * layers * tokens * (products + 2 * length * hidden)


def head_flops(rows: int, hidden: int, vocab: int) -> int:
    """Forward pass of the MLM head over `rows` positions: its transform and the vocabulary."""
    return 2 * rows * (hidden**2 + hidden * vocab)


def step_flops(case: Case, shapes: list[tuple[int, int]], rows: int) -> int:
    """A teacher's forward pass, and a student's forward and backward pass (twice the forward), over some batches.

    Args:
        shapes: (sequences, length) of each batch, as it is padded.
        rows: positions of all of them together that go through the vocabulary head, 0 for trunks alone and for a hop.
    """
    teacher, student = case.layers
    passes = teacher + 3 * student  # layers, by how often they are gone through
    trunks = sum(trunk_flops(n * length, length, passes, case.hidden, case.intermediate) for n, length in shapes)
    return trunks + (1 + 3) * head_flops(rows, case.hidden, case.vocab)
