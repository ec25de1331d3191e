"""Teachers and students, all BERT encoders with a tied MLM head: how they are made, loaded, cut and
counted. For fine-tuning there is DistilBERT too."""

import copy
from pathlib import Path
from typing import Sequence

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, BertConfig, BertForMaskedLM, DistilBertModel
from transformers.utils import logging

from lib.common import hub
from lib.common.errors import InputError
from lib.common.hub import ModelRef

# Published checkpoints hold more heads than are used; missing weights are checked here instead.
logging.set_verbosity_error()
logging.disable_progress_bar()


def new_encoder(
    *,
    vocab_size: int,
    layers: int,
    hidden: int,
    heads: int,
    intermediate: int,
    max_length: int,
    pad_id: int,
    initializer_range: float = 0.02,
    dropout: float = 0.1,
    attention_init: str = "normal",
    seed: int = 0,
) -> BertForMaskedLM:
    """A BERT with random weights, N(0, initializer_range). A narrow model wants a wider range than
    BERT's 0.02.

    `attention_init`: `normal`, or `mimetic`: attention that starts by looking for the same token
    and copying it (see `mimic`).
    """
    if hidden % heads:
        raise InputError(f"heads: {heads} attention heads do not divide hidden size {hidden}")
    config = BertConfig(
        vocab_size=vocab_size,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=max_length,
        pad_token_id=pad_id,
        initializer_range=initializer_range,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        type_vocab_size=2,
    )
    model = random_encoder(config, layers, seed)
    if attention_init == "mimetic":
        mimic(model)
    return model


def mimic(model: BertForMaskedLM, match: float = 0.1, copy: float = 0.8) -> None:
    """Start every attention head near what heads of trained models do, after Trockman & Kolter 2023
    (mimetic initialisation): W_qᵀ W_k ≈ match · I, so that a token attends to tokens like itself,
    and W_o W_v = copy · I, so that it takes over what it attends to.

    A small encoder that starts from N(0, σ²) can take thousands of steps before it looks up a name
    elsewhere in its sequence; started like this it takes a few hundred.
    """
    hidden, heads = model.config.hidden_size, model.config.num_attention_heads
    width = hidden // heads
    scale = (match * hidden / width) ** 0.5
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            attention = layer.attention.self
            for head in range(heads):
                basis, _ = torch.linalg.qr(torch.randn(hidden, width))
                rows = slice(head * width, (head + 1) * width)
                attention.query.weight[rows] = attention.key.weight[rows] = basis.T * scale
            rotation, _ = torch.linalg.qr(torch.randn(hidden, hidden))
            attention.value.weight.copy_(rotation * copy**0.5)
            layer.attention.output.dense.weight.copy_(rotation.T * copy**0.5)


def random_encoder(config: BertConfig, layers: int, seed: int) -> BertForMaskedLM:
    """An encoder of `config`'s shape with `layers` layers and random weights (scenarios S0 and S1
    of 000)."""
    torch.manual_seed(seed)
    config = copy.deepcopy(config)  # the library writes onto the config it is given
    config.num_hidden_layers = layers
    return BertForMaskedLM(config)


def load(model: ModelRef | str | Path, *, head: bool = True) -> BertForMaskedLM:
    """A BERT masked language model in fp32 from a folder or the hub, without remote code.

    Raises InputError if there is no such model, it is no BERT, or weights are missing: a head that
    the checkpoint lacks would be random, so only callers that do not use it may set `head=False`.
    """
    ref = ModelRef.of(model)
    loaded, missing = _pretrained(BertForMaskedLM, ref, " as a BERT masked language model")
    tied = "cls.predictions.decoder"  # its weight is the embeddings', its bias the head's
    missing = [key for key in missing if not key.startswith(tied)]
    if not head:
        missing = [key for key in missing if not key.startswith("cls.")]
    if missing:
        raise InputError(
            f"model {ref.name!r}: the checkpoint lacks {missing[0]} and {len(missing) - 1} more; "
            f"it needs an encoder and a masked-language-model head"
        )
    return loaded


def kind_of(model: ModelRef | str | Path) -> str:
    """The kind of encoder in a folder or hub id: bert or distilbert. Raises InputError for
    others."""
    ref = ModelRef.of(model)
    try:
        kind = AutoConfig.from_pretrained(
            ref.path, revision=ref.revision or "main", trust_remote_code=False
        ).model_type
    except (OSError, ValueError) as error:
        raise hub.unavailable(ref, error) from error
    if kind not in ("bert", "distilbert"):
        raise InputError(
            f"model {ref.name!r} is of the kind {kind!r}; allowed are bert and distilbert"
        )
    return kind


def load_trunk(model: ModelRef | str | Path) -> torch.nn.Module:
    """An encoder without a head, to fine-tune, BERT or DistilBERT, in fp32 from a folder or the
    hub, without remote code. Raises InputError if there is no such model, it is of another kind, or
    weights are missing."""
    ref = ModelRef.of(model)
    if kind_of(ref) == "bert":
        return load(ref, head=False).bert
    loaded, missing = _pretrained(DistilBertModel, ref, " as a DistilBERT encoder")
    if missing:
        raise InputError(
            f"model {ref.name!r}: the checkpoint lacks {missing[0]} and {len(missing) - 1} more"
        )
    return loaded


def _pretrained(kind: type, ref: ModelRef, purpose: str) -> tuple[torch.nn.Module, list[str]]:
    """A model in fp32, and the weights that its checkpoint (safetensors only) lacks. Raises
    InputError if it cannot be loaded, or a weight is not finite."""
    try:
        model, report = kind.from_pretrained(
            ref.path,
            revision=ref.revision or "main",
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise hub.unavailable(ref, error, purpose=purpose) from error
    for key, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(f"model {ref.name!r}: the weight {key} is not finite")
    return model, sorted(report["missing_keys"])


def tells_segments(trunk: torch.nn.Module) -> bool:
    """Whether an encoder takes token_type_ids: BERT does, DistilBERT has dropped them (Sanh et al.
    2019, section 3)."""
    return getattr(trunk.config, "type_vocab_size", 0) > 1


def layer_choice(layers: Sequence[int] | str, teacher_layers: int) -> list[int]:
    """The teacher's layers from which a student of half its depth starts.

    `alternate`: every second from 0, as in the sources. `to_top`: the same in the lower half, and
    one higher in the upper, as DistilBERT's authors chose them. A list stays as it is.

    >>> layer_choice("alternate", 12), layer_choice("to_top", 12)
    ([0, 2, 4, 6, 8, 10], [0, 2, 4, 7, 9, 11])
    """
    if not isinstance(layers, str):
        return list(layers)
    half = max(1, teacher_layers // 2)
    up = {"alternate": half, "to_top": half / 2}[layers]
    return [2 * index + (index >= up) for index in range(half)]


def truncate(teacher: BertForMaskedLM, layers: Sequence[int]) -> BertForMaskedLM:
    """A student with its teacher's embeddings and head, and the teacher's layers with these
    indices."""
    depth = teacher.config.num_hidden_layers
    if not layers or not all(0 <= layer < depth for layer in layers):
        raise InputError(
            f"student_layers: {list(layers)}, but the teacher has layers 0 … {depth - 1}; name at "
            f"least one of them"
        )
    student = copy.deepcopy(teacher)
    encoder = student.bert.encoder
    encoder.layer = torch.nn.ModuleList(copy.deepcopy(encoder.layer[index]) for index in layers)
    student.config.num_hidden_layers = len(layers)
    return student


def grow(model: BertForMaskedLM, layers: int, by: str = "stacking") -> BertForMaskedLM:
    """A deeper model from copies of its layers: a, b becomes a, b, a, b by `stacking` (Gong et al.
    2019), or a, a, b, b by `interpolation` (Chang et al. 2018), whose every second layer gives the
    shallow model back."""
    depth, stacking = model.config.num_hidden_layers, by == "stacking"
    order = [index % depth if stacking else index * depth // layers for index in range(layers)]
    return truncate(model, order)


def parameter_count(model: torch.nn.Module) -> int:
    """Number of parameters of a model's encoder: without the MLM head, as all the sources count
    them (001: 66.4 M of 109.5 M), since whoever fine-tunes a student drops it.

    BERT's own pooler, 0.6 M that they count in a teacher, is in none of our models.
    """
    return sum(parameter.numel() for parameter in _encoder(model).parameters())


def size_mib(model: torch.nn.Module) -> float:
    """Size of the same weights in MiB (2^20 bytes). The sources' "417 MB" for BERT-base is this
    unit."""
    weights = _encoder(model).parameters()
    return sum(part.numel() * part.element_size() for part in weights) / 2**20


def _encoder(model: torch.nn.Module) -> torch.nn.Module:
    return getattr(model, "base_model", model)
