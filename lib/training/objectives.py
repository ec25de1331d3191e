"""What a training step minimises, as the equations of the sources, in calls to lib.training.losses.

An objective is a module with `counts(batch)`, the numbers of positions that its means run over, and
`forward(batch, totals)`, which returns every component *divided by the totals of the whole step*,
and their weighted sum as `loss`. `lib.fast.quicken` makes an objective fast: it puts faster
functions in the place of `hidden_states`, `head_losses`, `states` and `relation_loss`.

To add a loss to `Distillation`: its equation in lib.training.losses; here its weight, what it
reads of both networks (`Wanted`, `Reading`), and its term in `forward`, which asks `self.weights`
at every call; in lib.training.parameters its entry in LOSSES, from which tables, figures, cards and
the plan take its name, its weight in StudentParameters, and there `losses` if it has options,
`uses_head` and `require_fit`; lib.plan.forecast says what it costs, lib.report.card describes it;
the weight stands in notebook 3 and in the README.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from lib.training import losses
from lib.training.batches import IGNORE, Batch
from lib.training.losses import attention_loss, cosine_loss, hidden_loss, logits_of
from lib.training.mappings import Targets, layer_mapping
from lib.training.models import (
    architecture_of,
    attention_of,
    decoder_input,
    last_states,
    layers_of,
)
from lib.training.parameters import RELATION_WIDTH, needs_teacher


def hidden_states(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The last hidden states of a model's encoder, [sequences, length, hidden]."""
    return model.base_model(
        input_ids=batch.inputs, attention_mask=batch.kept.long()
    ).last_hidden_state


class Objective(nn.Module):
    """A student, its teacher, the weights of the losses. The teacher is no submodule, hence the
    list around it: it is not trained, and no checkpoint holds it."""

    def __init__(self, student: nn.Module, teacher: nn.Module | None, weights: dict[str, float]):
        super().__init__()
        self.student, self._teacher, self.weights = student, [teacher], weights
        # quicken puts faster functions in the place of these two.
        self.hidden_states, self.head_losses = hidden_states, losses.head_losses
        self.decoder_input = decoder_input  # for lib.fast, which knows no architectures
        self.mlm_head = True

    @property
    def teacher(self) -> nn.Module | None:
        return self._teacher[0]

    @property
    def uses_head_losses(self) -> bool:
        """Whether the MLM or the soft-target loss has a weight, which `head_losses` computes."""
        return bool(self.weights.get("mlm") or self.weights.get("soft"))

    @property
    def reaches_all(self) -> bool:
        """Whether every parameter has a gradient: without losses on a head's logits the head has
        none; the library keeps the bias of an untied decoder twice, and uses one."""
        if not (self.uses_head_losses and self.mlm_head):
            return False
        decoder, words = self.student.get_output_embeddings(), self.student.get_input_embeddings()
        return decoder.weight is words.weight

    def to(self, *args, **kwargs) -> "Objective":
        """Move the student, and the teacher if a loss needs it."""
        if needs_teacher(self.weights):
            self.teacher.to(*args, **kwargs)
        return super().to(*args, **kwargs)


class Distillation(Objective):
    """L = Σ α L over the losses with a weight α: L_soft, L_mlm and L_cos, 001 eq. (4) and 002;
    L_hid and L_att of matched layers, 004 eq. (3), as TinyBERT (Jiao et al. 2020) and PKD (Sun et
    al. 2019) have them in other forms; L_rel, MiniLMv2 (Wang et al. 2021). Without a teacher: MLM
    alone.

    Each L is a mean: L_mlm over the masked positions, L_cos and L_rel over all that are not
    padding, L_soft over these (`positions` = `all`, as in the code of DistilBERT's authors) or the
    masked ones (`masked`). `temperature` is that of L_soft.

    L_hid = 1/n Σ_k L^H_k and L_att = 1/n Σ_j L^A_j: n layers of the student match hidden outputs
    and attention maps of the teacher, paired by `mapping` (lib.training.mappings). Each L^H is a
    mean over the real tokens, each L^A over the pairs of them in a sequence, of all lines of the
    step: for lines of one length without padding, 004's mean over elements.

    L_rel is the sum of that of queries, keys and values: of the student's last layer, and of the
    teacher's layer `teacher_layer` (the first is 1; 0: the last), in `relation_heads` (0: one for
    every 16 dimensions of the teacher, as in the paper). What comes behind the student's last
    queries, keys and values has no gradient from it.

    Two switches for what the code of 000 does: `cosine_of` = `logits` takes L_cos of the logits, at
    the positions of L_soft; without `mlm_head` the logits of both networks are hidden · Eᵀ.

    `forward` returns the losses by their names, none of them weighted; hidden_k and attention_j,
    the parts of L_hid and L_att; and `loss`.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None = None,
        *,
        mlm: float = 1.0,
        soft: float = 0.0,
        cosine: float = 0.0,
        hidden: float = 0.0,
        attention: float = 0.0,
        relations: float = 0.0,
        temperature: float = 2.0,
        positions: str = "all",
        cosine_of: str = "hidden",
        mlm_head: bool = True,
        mapping: str = "uniform",
        relation_heads: int = 0,
        teacher_layer: int = 0,
    ):
        weights = {"mlm": mlm, "soft": soft, "cosine": cosine}
        weights |= {"hidden": hidden, "attention": attention, "relations": relations}
        super().__init__(student, teacher, weights)
        self.temperature, self.positions = temperature, positions
        self.cosine_of, self.mlm_head = cosine_of, mlm_head
        self.states, self.relation_loss = states, losses.relation_loss  # as are these, by quicken
        # lib.training.side_by_side replaces this by a reading that several students share.
        self.read_teacher = read
        self.hidden_layers: Targets = {}
        self.attention_layers: Targets = {}
        if hidden or attention:
            depths = student.config.num_hidden_layers, teacher.config.num_hidden_layers
            hidden_layers, attention_layers = layer_mapping(mapping, *depths)
            self.hidden_layers = hidden_layers if hidden else {}
            self.attention_layers = attention_layers if attention else {}
        if relations:
            self.relation_heads = relation_heads or teacher.config.hidden_size // RELATION_WIDTH
        matched = bool(hidden or attention)
        self.of_student = Wanted(
            last=bool(mlm or soft or cosine),
            states=matched,
            maps=frozenset(self.attention_layers),
            relations=student.config.num_hidden_layers if relations else 0,
        )
        self.of_teacher = Wanted(
            last=bool(soft or cosine),
            states=matched,
            maps=frozenset(k for own in self.attention_layers.values() for k in own),
            relations=(teacher_layer or teacher.config.num_hidden_layers) if relations else 0,
        )
        if teacher is not None:
            teacher.eval()

    def counts(self, batch: Batch) -> dict[str, int]:
        """Numbers of masked and of non-padding positions, and of pairs of these in a sequence: the
        denominators of the means."""
        lengths = batch.kept.sum(-1)
        return {
            "masked": int((batch.labels != IGNORE).sum()),
            "kept": int(lengths.sum()),
            "pairs": int(lengths.square().sum()),
        }

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        target = self._targets(batch) if any(self.of_teacher) else None
        # The teacher is read without `self.hidden_states`, which prepares a student's tied head.
        own = read(self.student, batch, self.of_student, self.hidden_states, self.states)
        parts, loss = self._on_last(batch, totals, own.last, target and target.last)
        kept = None if batch.kept.all() else batch.kept  # without padding nothing is left out
        n_kept, n_pairs = max(1, totals["kept"]), max(1, totals["pairs"])
        if self.weights["hidden"]:
            for k, hidden in target.hidden.items():
                parts[f"hidden_{k}"] = hidden_loss(own.hidden[k], hidden, kept) / n_kept
        if self.weights["attention"]:
            for j, map_ in target.maps.items():
                parts[f"attention_{j}"] = attention_loss(own.maps[j], map_, kept) / n_pairs
        for kind, layers in (("hidden", self.hidden_layers), ("attention", self.attention_layers)):
            if self.weights[kind]:
                n = self.student.config.num_hidden_layers
                parts[kind] = sum(parts[f"{kind}_{layer}"] for layer in layers) / n
        if self.weights["relations"]:
            pairs = zip(own.vectors, target.vectors, strict=True)
            sums = [self.relation_loss(*pair, self.relation_heads, batch.kept) for pair in pairs]
            parts["relations"] = sum(sums) / n_kept
        for kind in ("hidden", "attention", "relations"):
            if self.weights[kind]:
                loss = loss + self.weights[kind] * parts[kind]
        return {**parts, "loss": loss}

    def _on_last(
        self,
        batch: Batch,
        totals: dict[str, int],
        hidden: torch.Tensor | None,
        teacher_hidden: torch.Tensor | None,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The losses on last hidden states and logits, and their weighted sum."""
        soft, mlm, cosine = (self.weights[name] for name in ("soft", "mlm", "cosine"))
        masked, kept = batch.labels != IGNORE, batch.kept
        n_masked, n_kept = max(1, totals["masked"]), max(1, totals["kept"])
        compared, n_compared = (kept, n_kept) if self.positions == "all" else (masked, n_masked)
        parts, loss = {}, torch.zeros((), device=batch.inputs.device)
        if soft or mlm:
            rows = compared if soft else masked  # no other row needs logits
            loss, mlm_sum, soft_sum = self.head_losses(
                self.student,
                hidden[rows],
                batch.labels[rows],
                mlm=mlm / n_masked,
                soft=soft / n_compared,
                temperature=self.temperature,
                teacher=self.teacher,
                teacher_hidden=teacher_hidden[rows] if soft else None,
                mlm_head=self.mlm_head,
            )
            parts |= {"mlm": mlm_sum / n_masked} if mlm else {}
            parts |= {"soft": soft_sum / n_compared} if soft else {}
        if cosine and self.cosine_of == "hidden":
            parts["cosine"] = cosine_loss(hidden[kept], teacher_hidden[kept]) / n_kept
        elif cosine:
            ours = logits_of(self.student, hidden[compared], self.mlm_head)
            with torch.no_grad():
                theirs = logits_of(self.teacher, teacher_hidden[compared], self.mlm_head)
            parts["cosine"] = cosine_loss(ours, theirs) / n_compared
        if cosine:
            loss = loss + cosine * parts["cosine"]
        return parts, loss

    @torch.no_grad()
    def _targets(self, batch: Batch) -> "Reading":
        """What the student is to match, by its own layers: means of the teacher's hidden outputs,
        and of its attention maps, in fp32. What else the teacher gave is not kept."""
        theirs = self.read_teacher(self.teacher, batch, self.of_teacher, states=self.states)
        hidden = {
            k: _mean([theirs.hidden[i] for i in own]) for k, own in self.hidden_layers.items()
        }
        maps = {j: _mean([theirs.maps[i] for i in own]) for j, own in self.attention_layers.items()}
        return Reading(theirs.last, hidden, maps, theirs.vectors)


class Hop(Distillation):
    """One hop of a cascade: L = (1/n)(β_att Σ_j L^A_j + β_hid Σ_k L^H_k) + β_soft L_soft; with β =
    1, 1, 0 it is 004 eq. (3). L_soft is a mean over all real tokens.

    `dropout`: which network runs with dropout while training: `both`, as in 004, the `student`
    alone, or `none`.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        mapping: str = "adjacent",
        *,
        hidden: float = 1.0,
        attention: float = 1.0,
        soft: float = 0.0,
        temperature: float = 2.0,
        dropout: str = "both",
    ):
        losses_of = {"hidden": hidden, "attention": attention, "soft": soft, "mlm": 0.0}
        super().__init__(student, teacher, mapping=mapping, temperature=temperature, **losses_of)
        self.dropout = dropout
        self.train()

    def train(self, mode: bool = True) -> "Hop":
        """Put only those networks into training mode that run with dropout."""
        super().train(mode)
        self.student.train(mode and self.dropout != "none")
        self.teacher.train(mode and self.dropout == "both")
        return self


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of tensors of one shape, in fp32."""
    total = tensors[0].float()
    for tensor in tensors[1:]:
        total = total + tensor
    return total / len(tensors) if len(tensors) > 1 else total


def states(
    model: nn.Module, batch: Batch, maps: Collection[int] = ()
) -> tuple[Sequence[torch.Tensor], dict[int, torch.Tensor]]:
    """Hidden outputs 0 … n of a model's encoder, those of its embeddings and of its layers, each
    [sequences, length, hidden], and the attention maps of the layers `maps` (the first is 1), each
    [sequences, heads, length, length].

    In training mode the maps are those after dropout: a weight is 0 or scaled up, and rows do not
    sum to 1. Raises RuntimeError if any of these is missing: the sum over an empty tuple, which the
    library returns without an error, would be a loss of 0.
    """
    attention, last = attention_of(model), []
    segments = {} if batch.segments is None else {"token_type_ids": batch.segments}
    # The library's last hidden output of a ModernBERT is that after its final LayerNorm.
    hook = layers_of(model)[-1].register_forward_hook(lambda *parts: last.append(parts[-1]))
    with hook, handed_out_attention(model, maps) if maps else nullcontext():
        out = model.base_model(
            input_ids=batch.inputs,
            attention_mask=batch.kept.long(),
            output_hidden_states=True,
            output_attentions=bool(maps),
            **segments,
        )
        eager = [
            number
            for number, module in enumerate(attention, 1)
            if module.config._attn_implementation == "eager"
        ]
    returned = dict(zip(eager, (map_ for map_ in out.attentions or () if map_ is not None)))
    missing = sorted(set(maps) - set(returned))
    if missing or len(out.hidden_states) != len(attention) + 1:
        raise RuntimeError(
            f"a model of {len(attention)} layers returned {len(out.hidden_states)} hidden outputs "
            f"and no attention maps of the layers {missing}: attention must be 'eager' there"
        )
    return (*out.hidden_states[:-1], *last), {layer: returned[layer] for layer in maps}


@contextmanager
def handed_out_attention(model: nn.Module, layers: Collection[int]) -> Iterator[None]:
    """`hand_out_attention` for a while: then every layer computes as before."""
    configs = {module: module.config for module in model.modules() if hasattr(module, "config")}
    hand_out_attention(model, layers)
    try:
        yield
    finally:
        for module, config in configs.items():
            module.config = config


def hand_out_attention(model: nn.Module, layers: Collection[int] | None = None) -> None:
    """Let some layers of a model (the first is 1; None: all) return their attention maps, computed
    step by step (`eager`); the others keep to fused kernels (`sdpa`), which return none.

    The library writes this onto the model's configuration, which other models may share: the model
    gets a copy first.
    """
    config = copy.deepcopy(model.config)
    for module in model.modules():
        if hasattr(module, "config"):
            module.config = config
    model.set_attn_implementation("eager")
    if layers is not None:
        fused = copy.deepcopy(config)
        fused._attn_implementation = "sdpa"
        for number, module in enumerate(attention_of(model), 1):
            if number not in layers:
                module.config = fused


class Wanted(NamedTuple):
    """What is to be read of a network: its `last` hidden states; `states`, the hidden outputs of
    all layers; the attention `maps` of these layers; the queries, keys and values of the layer
    `relations`. The first layer is 1; 0: of none."""

    last: bool = False
    states: bool = False
    maps: frozenset[int] = frozenset()
    relations: int = 0


class Reading(NamedTuple):
    """What was read: the last hidden states; hidden outputs by their number, 0 … n, and attention
    maps by theirs; queries, keys and values. Those that were not wanted may be missing."""

    last: torch.Tensor | None
    hidden: Mapping[int, torch.Tensor] | Sequence[torch.Tensor]
    maps: Mapping[int, torch.Tensor]
    vectors: tuple[torch.Tensor, ...]


class _Enough(Exception):
    """Ends a forward pass that has given all that is wanted."""


def read(
    model: nn.Module,
    batch: Batch,
    wanted: Wanted,
    hidden_states: Callable = hidden_states,
    states: Callable = states,
) -> Reading:
    """What a network gives for a batch, by one forward pass of its encoder, which ends where no
    more is wanted: with relations alone at their layer. `hidden_states` and `states`: the functions
    of these names, or faster ones."""
    last, hidden, maps, vectors = None, (), {}, {}
    only_relations = not (wanted.last or wanted.states)
    with taken_projections(model, wanted.relations, vectors, only_relations), suppress(_Enough):
        if wanted.states:
            hidden, maps = states(model, batch, wanted.maps)
            last = last_states(model, hidden[-1])
        else:
            last = hidden_states(model, batch)
    return Reading(last, hidden, maps, tuple(vectors[part] for part in sorted(vectors)))


@contextmanager
def taken_projections(
    model: nn.Module, layer: int, taken: dict[int, torch.Tensor], is_enough: bool
) -> Iterator[None]:
    """While a model reads a batch, put the queries (0), keys (1) and values (2) of a layer (the
    first is 1; 0: of none) into `taken`, each [sequences, length, hidden]. They are what the
    projections give; the attention of a ModernBERT then turns queries and keys by their positions,
    which the relations do not see. `is_enough`: raise _Enough once all are there."""
    hooks = []

    def take(module, inputs, output, part):
        pieces = output.chunk(3 // len(hooks), dim=-1)
        taken.update(enumerate(pieces, part))
        if is_enough and len(taken) == 3:
            raise _Enough

    if layer:
        for part, name in enumerate(architecture_of(model).projections):
            module = layers_of(model)[layer - 1].get_submodule(name)
            hooks.append(module.register_forward_hook(partial(take, part=part)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
