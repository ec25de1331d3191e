"""Which of the teacher's layers each layer of a student learns to match, when both are BERT
encoders of the same width.

A student has n layers, its teacher N > n. Hidden outputs are numbered 0 … n, where 0 is the output
of the embeddings; attention maps 1 … n. A mapping says for each of them which of the teacher's are
averaged to make its target.
"""

KINDS = {"hidden": "hidden outputs", "attention": "attention maps"}
"""What is matched, by the beginning of its names in a history (hidden_0, attention_1)."""
Targets = dict[int, list[int]]
"""Of the student's hidden outputs or attention maps that have a target: the teacher's whose mean it
is."""


def layer_mapping(name: str, layers: int, teacher_layers: int) -> tuple[Targets, Targets]:
    """The targets of the hidden outputs and of the attention maps, in this order.

    `adjacent`: adjacent layer averaging, 004 eq. (4) and (5): k ↔ the mean of k and k+1, for a hop
    of one layer. For a hop
        of N − n layers it is the mean of the N − n + 1 adjacent ones, k … k+N−n: a generalisation
        of ours, not in 004.
    `uniform`: j ↔ round(j · N/n), halves rounded up; TinyBERT (Jiao et al. 2020) and LightMBERT
    (Jiao et al. 2021). `top`: j ↔ j + N − n, so that each layer learns from the one as far from the
    top. `skip`: as uniform, but the last layer has no target: what it learns comes from the soft
    targets; PKD-skip of Sun et
        al. 2019.
    In all but `adjacent` the output of the embeddings, hidden 0, has the teacher's as its target.

    Raises ValueError where the student is not shallower than its teacher.

    >>> layer_mapping("adjacent", 2, 3)
    ({0: [0, 1], 1: [1, 2], 2: [2, 3]}, {1: [1, 2], 2: [2, 3]})
    """
    gone = teacher_layers - layers
    if not 0 < layers < teacher_layers:
        raise ValueError(
            f"a student of {layers} layers for a teacher of {teacher_layers}; it must have fewer"
        )
    if name == "adjacent":
        hidden = {layer: list(range(layer, layer + gone + 1)) for layer in range(layers + 1)}
        return hidden, {layer: hidden[layer] for layer in range(1, layers + 1)}
    last = layers - 1 if name == "skip" else layers
    attention = {
        layer: [
            layer + gone if name == "top" else (2 * layer * teacher_layers + layers) // (2 * layers)
        ]
        for layer in range(1, last + 1)
    }
    return {0: [0]} | attention, attention
