"""Shapes of encoders, and the arithmetic on them: parameters, floating-point operations, memory.

Operations are those of the matrix products, a multiply-add being two; a backward pass is twice a forward pass.
"""

from dataclasses import dataclass, replace

HEAD_LOGITS = 2**25
"""lib.head holds so many logits of a network at a time on a GPU, in bf16; with what it makes of them 32 bytes each."""
GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """An encoder: `kind` bert, with its tied masked-language-model head, or distilbert, without."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int = 512
    segments: int = 2
    kind: str = "bert"

    @property
    def parameters(self) -> int:
        """As lib.models.parameter_count counts them."""
        wide, inner = self.hidden, self.intermediate
        embeddings = (self.vocabulary + self.positions + self.segments + 2) * wide
        layer = 4 * (wide**2 + wide) + 2 * wide * inner + inner + wide + 4 * wide
        head = wide**2 + 3 * wide + self.vocabulary if self.kind == "bert" else 0
        return embeddings + self.layers * layer + head


def student_shape(teacher: Shape, layers: list[int] | str) -> Shape:
    """A student of some of its teacher's layers."""
    return replace(teacher, layers=max(1, teacher.layers // 2) if isinstance(layers, str) else len(layers))


# ---------------------------------------------------------------------------------------------------- operations


def trunk_flops(tokens: float, length: float, layers: int, hidden: int, intermediate: int) -> float:
    """Forward pass of an encoder over `tokens` positions in sequences of `length`, padding included.

    Each layer: four projections of the attention, two of the feed-forward part, and the two products of every query with
    every key and value of its sequence.
    """
    products = 4 * hidden**2 + 2 * hidden * intermediate
    return 2 * layers * tokens * (products + 2 * length * hidden)


def head_flops(rows: float, hidden: int, vocab: int) -> float:
    """Forward pass of the MLM head over `rows` positions: its transform and the vocabulary."""
    return 2 * rows * (hidden**2 + hidden * vocab)


def forward(shape: Shape, tokens: float, length: float) -> float:
    """Forward pass of a model's trunk."""
    return trunk_flops(tokens, length, shape.layers, shape.hidden, shape.intermediate)


# -------------------------------------------------------------------------------------------------------- memory


def training_memory(
    trained: int, largest: Shape, teacher: Shape | None, positions: int, precision: str, maps: float = 0.0
) -> float:
    """GiB of a GPU: weights, gradients and both moments of `trained` parameters (16 bytes each), the teacher's weights, what the
    backward pass needs of the `largest` student for a micro-batch of `positions`, and blocks of logits. About, and not less."""
    each = 50 if precision != "no" else 80  # bytes kept of a position, for each layer and each hidden unit
    kept = positions * largest.layers * largest.hidden * each
    weights = 16 * trained + (6 if precision != "no" else 4) * (teacher.parameters if teacher else 0)
    logits = 32 * min(HEAD_LOGITS, positions * largest.vocabulary)
    return (weights + kept + logits + maps) / GIB + 0.7  # what the driver takes
