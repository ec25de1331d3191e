"""Teachers and students: how encoders with an MLM head are made, loaded, cut and counted. Those
that are made new are BERTs; a student has its teacher's architecture."""

import copy
from pathlib import Path
from typing import Sequence

import torch
from torch import nn
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from lib.common import hub
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.training.architectures import (
    ARCHITECTURES,
    Architecture,
    require_first_layer,
    require_supported,
)
from lib.training.pretrained_weights import require_all_weights, require_files

# Published checkpoints hold more heads than are used; missing weights are checked here instead.
logging.set_verbosity_error()
logging.disable_progress_bar()

# ------------------------------------------------------------------------------ parts of an encoder


def architecture_of(model: PreTrainedModel) -> Architecture:
    """Where a model has its parts."""
    return ARCHITECTURES[model.config.model_type]


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a model's encoder."""
    return model.base_model.get_submodule(architecture_of(model).layers)


def attention_of(model: PreTrainedModel) -> list[nn.Module]:
    """For each layer, the module that computes its attention maps."""
    name = architecture_of(model).attention
    return [layer.get_submodule(name) for layer in layers_of(model)]


def embeddings_of(model: PreTrainedModel) -> nn.ModuleList:
    """What comes before the first layer: words, positions and segments with their LayerNorm, and
    ELECTRA's projection to the encoder's width."""
    parts = dict(model.base_model.named_children())
    names = architecture_of(model).embeddings
    return nn.ModuleList(parts[name] for name in names if name in parts)


def has_head(model: PreTrainedModel) -> bool:
    """Whether a model has an MLM head; without one it is an encoder alone."""
    return model is not model.base_model


def last_states(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """An encoder's last hidden states from the output of its last layer: the same, but for a
    ModernBERT, which has a LayerNorm after it."""
    name = architecture_of(model).final_norm
    return model.base_model.get_submodule(name)(hidden) if name else hidden


def decoder_input(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """What the decoder of a model's MLM head turns into logits: hidden rows, [rows, hidden], after
    the head's other parts; [rows, width of the embeddings]."""
    for name in architecture_of(model).head:
        part = nn.functional.gelu if name == "gelu" else model.get_submodule(name)
        hidden = part(hidden)
    return hidden


# ---------------------------------------------------------------------------------- made and loaded


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
    torch.manual_seed(seed)
    model = BertForMaskedLM(config)
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


def random_like(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """An encoder of a model's shape with random weights (scenarios S0 and S1 of 000)."""
    torch.manual_seed(seed)
    return _with_config(model, copy.deepcopy(model.config))


def _with_config(model: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """A new model of the same class with this configuration, with an MLM head if `model` has one.
    The library writes onto the configuration."""
    if has_head(model):
        return type(model)(config)
    return AutoModelForMaskedLM.from_config(config).base_model  # by itself it would have a pooler


def load(
    model: ModelRef | str | Path, *, head: bool = True, device: str = "cpu"
) -> PreTrainedModel:
    """A masked language model in fp32 from a folder or the hub, without remote code. Without `head`
    the MLM head is not needed: a checkpoint that lacks it gives its encoder alone. On the device
    `meta` no weights are read; their names and shapes are still checked, as below.

    Raises InputError if there is no such model, it is of a kind that is not supported, a weight is
    not finite, or weights are missing, which would be random, or left over.
    """
    ref = ModelRef.of(model)
    require_supported(ref.config(), ref.name)
    require_files(ref)
    loaded, report = _pretrained(ref, device)
    missing = require_all_weights(ref, loaded, report, head=head)
    return loaded.base_model if missing else loaded


def load_trunk(model: ModelRef | str | Path) -> PreTrainedModel:
    """An encoder without a head, to fine-tune, by `load`."""
    return load(model, head=False).base_model


def _pretrained(ref: ModelRef, device: str) -> tuple[PreTrainedModel, dict]:
    """A masked language model in fp32, and the library's report of its weights. Raises InputError
    if it cannot be loaded, or a weight is not finite."""
    try:
        model, report = AutoModelForMaskedLM.from_pretrained(
            ref.path,
            revision=ref.revision or "main",
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            device_map="meta" if device == "meta" else None,
            ignore_mismatched_sizes=True,  # they are in the report
            output_loading_info=True,
        )
    except Exception as error:  # a config may hold anything, and the library raises many kinds
        purpose = " as a masked language model"
        raise hub.unavailable(ref, error, purpose=purpose) from error
    for key, weight in model.named_parameters():
        if device != "meta" and not torch.isfinite(weight).all():
            raise InputError(f"model {ref.name!r}: the weight {key} is not finite")
    missing, weights = set(report["missing_keys"]), dict(model.named_parameters())
    for key in weights:
        # A decoder's bias has two names. A file with an untied head may hold it under one of them.
        names = {key, key.removesuffix("decoder.bias") + "bias"}
        if key.endswith("decoder.bias") and names <= weights.keys() and len(names & missing) == 1:
            (lost,), (kept,) = names & missing, names - missing
            weights[lost].data.copy_(weights[kept])
            missing.remove(lost)
    return model, report | {"missing_keys": missing}


def tells_segments(trunk: PreTrainedModel) -> bool:
    """Whether an encoder takes token_type_ids and was trained with two of them, as BERT and
    ELECTRA."""
    return getattr(trunk.config, "type_vocab_size", 0) > 1


# ---------------------------------------------------------------------------------- cut and counted


def layer_choice(layers: Sequence[int] | str, teacher_layers: int) -> list[int]:
    """The teacher's layers from which a student of half its depth starts.

    `alternate`: every second from 0, as in the sources. `to_top`: the same in the lower half, and
    one higher in the upper, as DistilBERT's authors chose them. `lowest` and `highest`: those of
    the lower and of the upper half. A list stays as it is.

    >>> layer_choice("alternate", 12), layer_choice("to_top", 12)
    ([0, 2, 4, 6, 8, 10], [0, 2, 4, 7, 9, 11])
    """
    if not isinstance(layers, str):
        return list(layers)
    half = max(1, teacher_layers // 2)
    if layers in ("lowest", "highest"):
        first = 0 if layers == "lowest" else teacher_layers - half
        return list(range(first, first + half))
    up = {"alternate": half, "to_top": half / 2}[layers]
    return [2 * index if index < up else 2 * index + 1 for index in range(half)]


def truncate(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """A student with its teacher's embeddings and head, and the teacher's layers with these
    indices. Raises InputError for layers that it does not have, or that cannot be its first."""
    depth = teacher.config.num_hidden_layers
    if not layers or not all(0 <= layer < depth for layer in layers):
        raise InputError(
            f"student_layers: {list(layers)}, but the teacher has layers 0 … {depth - 1}; name at "
            f"least one of them"
        )
    require_first_layer(teacher.config.model_type, layers)
    student = copy.deepcopy(teacher)
    chosen = nn.ModuleList(copy.deepcopy(layers_of(teacher)[index]) for index in layers)
    student.base_model.set_submodule(architecture_of(student).layers, chosen)
    student.config.num_hidden_layers = len(layers)
    if kinds := getattr(student.config, "layer_types", None):  # local or global attention
        student.config.layer_types = [kinds[index] for index in layers]
    return student


def of_width(model: PreTrainedModel, hidden: int) -> PreTrainedModel:
    """A model with new random weights, of another width than `model`, and otherwise its shape:
    feed-forward parts change in proportion, and embeddings that have a width of their own
    (ELECTRA's) keep it."""
    config, width = copy.deepcopy(model.config), model.config.hidden_size
    for name in ("hidden_size", "intermediate_size", "hidden_dim", "embedding_size"):
        size = getattr(config, name, None)
        if size is not None and (name != "embedding_size" or size == width):
            setattr(config, name, size * hidden // width)
    return _with_config(model, config)


def narrow(model: PreTrainedModel, hidden: int) -> PreTrainedModel:
    """A model of fewer dimensions, `hidden`, and as many heads, whose weights are those of a
    model's leading dimensions: of every head, of the feed-forward parts, which shrink in
    proportion, and of both halves of a gated one (`of_width`). Raises ValueError for more."""
    if hidden > model.config.hidden_size:
        raise ValueError(f"a model of {model.config.hidden_size} dimensions has no {hidden}")
    student, weights = of_width(model, hidden), dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in student.named_parameters():
            part, kept = name.rpartition(".")[0], weights[name]
            for dim, size in enumerate(weight.shape):
                pieces = torch.arange(kept.shape[dim]).view(_pieces(model, part, dim), -1)
                indices = pieces[:, : size // len(pieces)].flatten()
                kept = kept.index_select(dim, indices.to(kept.device))
            weight.copy_(kept)
    return student.train(model.training)


def _pieces(model: PreTrainedModel, part: str, dim: int) -> int:
    """Number of equal blocks along the dimension `dim` of the weight of the module `part`."""
    own, heads = architecture_of(model), model.config.num_attention_heads
    if dim == 0 and part.endswith(own.projections):
        return heads * 3 // len(own.projections)
    if dim == 1 and part.endswith(own.mixing):
        return heads
    return 2 if own.gated and dim == 0 and part.endswith(own.gated) else 1


def cut_vocabulary(model: PreTrainedModel, ids: Sequence[int]) -> PreTrainedModel:
    """A model whose embeddings and head have only the tokens `ids`, in ascending order. They become
    0, 1, …; the logits for them are those of the model."""
    config = copy.deepcopy(model.config)
    config.vocab_size = len(ids)
    for name, token in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(token, int):
            setattr(config, name, ids.index(token) if token in ids else None)
    student, weights = _with_config(model, config), dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in student.named_parameters():
            whole = weights[name]
            is_cut = weight.shape != whole.shape  # embeddings, and the head's decoder and its bias
            weight.copy_(whole[torch.tensor(ids, device=whole.device)] if is_cut else whole)
    return student.train(model.training)


def grow(model: PreTrainedModel, layers: int, by: str = "stacking") -> PreTrainedModel:
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
