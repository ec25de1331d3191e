"""The kinds of encoders that can be taught from, cut and fine-tuned, and where each has its parts.

A kind is the `model_type` of a model's config.json. Nothing here needs PyTorch: the plan reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lib.common.errors import InputError

_QKV = ("query", "key", "value")


@dataclass(frozen=True)
class Architecture:
    """Where a kind of encoder has its parts, as names of modules.

    `layers`, `embeddings` and `final_norm` (a LayerNorm after the last layer) are in the encoder,
    `attention` (what computes the attention maps) in a layer. `projections`, in a layer, give its
    queries, keys and values, in this order, or all three as one, in thirds; `mixing` turns what
    the heads read into the attention's output; `gated` gives the two halves of a gated feed-forward
    part. `head` are the parts of the MLM head in front of its decoder, in their order. `offset`:
    positions are counted from the padding token's id plus 1, so that the first ones are never used.
    """

    head: tuple[str, ...]
    embeddings: tuple[str, ...] = ("embeddings",)
    layers: str = "encoder.layer"
    attention: str = "attention.self"
    projections: tuple[str, ...] = tuple(f"attention.self.{part}" for part in _QKV)
    mixing: str = "attention.output.dense"
    gated: str = ""
    final_norm: str = ""
    offset: bool = False


_ROBERTA = Architecture(("lm_head.dense", "gelu", "lm_head.layer_norm"), offset=True)
ARCHITECTURES = {
    "bert": Architecture(("cls.predictions.transform",)),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Architecture(
        ("generator_predictions",), embeddings=("embeddings", "embeddings_project")
    ),
    "distilbert": Architecture(
        ("vocab_transform", "activation", "vocab_layer_norm"),
        layers="transformer.layer",
        attention="attention",
        projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        mixing="attention.out_lin",
    ),
    "modernbert": Architecture(
        ("head",),
        layers="layers",
        attention="attn",
        projections=("attn.Wqkv",),
        mixing="attn.Wo",
        gated="mlp.Wi",
        final_norm="final_norm",
    ),
}
REFUSED = {
    "albert": "its layers share one set of weights, so that none can be left out",
    "deberta": "its attention adds relative positions, which is not supported",
    "deberta-v2": "its attention adds relative positions, which is not supported",
}
"""Kinds that a user may well have, and why they cannot be used."""


_NAMES = {
    "layers": ("num_hidden_layers", "n_layers"),
    "hidden": ("hidden_size", "dim"),
    "heads": ("num_attention_heads", "n_heads"),
    "intermediate": ("intermediate_size", "hidden_dim"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings",),
    "segments": ("type_vocab_size",),
    "embedding": ("embedding_size",),
}
"""A size, and what config.json calls it, of a BERT and of a DistilBERT."""


def sizes(config: dict) -> dict[str, int | None]:
    """The sizes in a model's config.json, by one name for all kinds; None where it has none."""
    return {
        size: next((config[name] for name in names if name in config), None)
        for size, names in _NAMES.items()
    }


OTHERWISE = {
    "position_embedding_type": ("absolute", "relative positions are not supported"),
    "is_decoder": (False, "it reads from left to right"),
    "add_cross_attention": (False, "it reads a second text"),
    "return_dict": (True, "its outputs have to be named"),
    "pruned_heads": ({}, "layers with fewer heads are not supported"),
    "chunk_size_feed_forward": (0, "with 0, the default, it computes the same"),
    "quantization_config": (None, "weights have to be floating-point numbers"),
    "auto_map": (None, "a model's own code is not run"),
}
"""Keys of a config.json with which an encoder is another model or computes in another way: their
value in all others, and why that alone is allowed."""


def require_supported(config: dict, model: str) -> None:
    """Raise InputError, which names the `model`, if its config.json is of a kind that is not
    supported, or makes it compute in another way than its kind does."""
    kind, allowed = config.get("model_type"), f"allowed are {', '.join(ARCHITECTURES)}"
    if kind is None:
        raise InputError(f"model {model!r}: its config.json has no model_type; {allowed}")
    if kind not in ARCHITECTURES:
        reason = f": {REFUSED[kind]}" if kind in REFUSED else ""
        raise InputError(f"model {model!r} is of the kind {kind!r}{reason}; {allowed}")
    for key, (plain, why) in OTHERWISE.items():
        if config.get(key, plain) not in (plain, None):
            raise InputError(
                f"model {model!r}: its config.json has {key} = {config[key]!r}; allowed is "
                f"{'none' if plain is None else repr(plain)}: {why}"
            )
    if ARCHITECTURES[kind].offset and config.get("pad_token_id", 1) is None:
        raise InputError(
            f"model {model!r}: its config.json has pad_token_id = null; allowed is the id of its "
            f"tokenizer's padding token, from which a {kind} counts positions"
        )


def require_first_layer(kind: str, student_layers: Sequence[int]) -> None:
    """Raise InputError for layers of a ModernBERT of which its layer 0 is not the first and only
    the first: it alone has no LayerNorm before its attention, and the library builds the first
    layer of a model so, and no other."""
    if kind == "modernbert" and (student_layers[0] != 0 or 0 in student_layers[1:]):
        raise InputError(
            f"student_layers: {list(student_layers)}, but a student of a ModernBERT starts with "
            f"layer 0, which is unlike the others, and has it once"
        )


def longest_sequence(config: dict) -> int | None:
    """How many tokens an encoder can read, special ones included, by its config.json; None if that
    does not say."""
    positions = config.get("max_position_embeddings")
    known = ARCHITECTURES.get(config.get("model_type"))
    if positions is None or known is None or not known.offset:
        return positions
    return positions - config.get("pad_token_id", 1) - 1
