"""Which of the teacher's layers each layer of a student learns to match, when both are encoders of
the same kind and width.

A student has n layers, its teacher N ≥ n. Hidden outputs are numbered 0 … n, where 0 is the output
of the embeddings; attention maps 1 … n.
"""

MATCHED = ("hidden", "attention")
"""The losses that match layers; a history has a column for each layer (hidden_0, attention_1)."""
Targets = dict[int, list[int]]
"""By hidden output or attention map of the student: those of the teacher whose mean is its
target."""


def layer_mapping(name: str, layers: int, teacher_layers: int) -> tuple[Targets, Targets]:
    """The targets of the hidden outputs and of the attention maps.

    `adjacent`: adjacent layer averaging, 004 eq. (4) and (5): k ↔ the mean of k and k+1, for a hop
        of one layer. For a hop of N − n layers it is the mean of the N − n + 1 adjacent ones, k …
        k+N−n: a generalisation of ours, not in 004.
    `uniform`: j ↔ round(j · N/n), halves rounded up; TinyBERT (Jiao et al. 2020) and LightMBERT
        (Jiao et al. 2021).
    `top`: j ↔ j + N − n: each layer learns from the one at the same distance from the top.
    `skip`: as uniform, but the last layer has no target, and learns from the soft targets;
        PKD-skip of Sun et al. 2019.
    In all but `adjacent` the target of hidden output 0 is the teacher's.

    Raises ValueError if the student is deeper than its teacher, or for another name.

    >>> layer_mapping("adjacent", 2, 3)
    ({0: [0, 1], 1: [1, 2], 2: [2, 3]}, {1: [1, 2], 2: [2, 3]})
    """
    if not 0 < layers <= teacher_layers:
        raise ValueError(
            f"a student of {layers} layers for a teacher of {teacher_layers}; it can have no more"
        )
    removed = teacher_layers - layers
    if name == "adjacent":
        hidden = {layer: list(range(layer, layer + removed + 1)) for layer in range(layers + 1)}
        return hidden, {layer: hidden[layer] for layer in range(1, layers + 1)}
    if name not in ("uniform", "top", "skip"):
        raise ValueError(f"mapping {name!r}: allowed are adjacent, uniform, top and skip")
    attention = {}
    for layer in range(1, layers if name == "skip" else layers + 1):
        # floor(j · N/n + 1/2) in integers: Python's own round takes a half to the even neighbour
        uniform = (2 * layer * teacher_layers + layers) // (2 * layers)
        attention[layer] = [layer + removed if name == "top" else uniform]
    return {0: [0]} | attention, attention
