"""What a training step minimises. Each objective is a module, so that one process and many call it
alike.

An objective has `counts(batch)`, the positions its means run over, and `forward(batch, totals)`,
which returns every component *divided by the totals of the whole step*, weighted and summed under
`loss`. Losses on logits come from `lib.fast.head`.
"""

import copy
from collections.abc import Collection, Iterator

import torch
from torch import nn

from lib.fast.head import fused_losses
from lib.fast.layer import Layer
from lib.fast.quicken import quicken
from lib.training.batches import IGNORE, Batch
from lib.training.losses import attention_loss, cosine_loss, hidden_loss
from lib.training.mappings import Targets, layer_mapping
from lib.training.ranks import in_pieces


def hidden_states(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The last hidden states of the model's trunk, [sequences, length, hidden]."""
    return model.base_model(
        input_ids=batch.inputs, attention_mask=batch.kept.long()
    ).last_hidden_state


class Distillation(nn.Module):
    """L = α_soft · L_soft + α_mlm · L_mlm + α_cos · L_cos; 001 eq. (4), 002. Without a teacher: MLM
    alone.

    Args:
        positions: where the soft targets are compared: `all` non-padding positions, as DistilBERT's
        authors do, or only
            the `masked` ones. The cosine loss runs over all non-padding positions, the MLM loss
            over the masked ones.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None = None,
        *,
        mlm: float = 1.0,
        soft: float = 0.0,
        cosine: float = 0.0,
        temperature: float = 2.0,
        positions: str = "all",
    ):
        super().__init__()
        self.student = quicken(student)
        self._teacher = (
            [] if teacher is None else [quicken(teacher, frozen=not in_pieces(teacher)).eval()]
        )  # in a list, so that it is no submodule and is not trained
        self.weights = {"mlm": mlm, "soft": soft, "cosine": cosine}
        self.temperature, self.positions = temperature, positions
        # how the teacher reads a batch: lib.training.side_by_side puts one reading for several here
        self.read = hidden_states

    def to(self, *args, **kwargs) -> "Distillation":
        for teacher in self._teacher:
            teacher.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Number of masked and of non-padding positions: the denominators of the three means."""
        return {"masked": int((batch.labels != IGNORE).sum()), "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        mlm, soft, cosine = (self.weights[name] for name in ("mlm", "soft", "cosine"))
        masked, kept = batch.labels != IGNORE, batch.kept
        everywhere = bool(soft) and self.positions == "all"
        rows = kept if everywhere else masked  # the only rows whose logits anybody needs
        per_masked, per_kept = 1 / max(1, totals["masked"]), 1 / max(1, totals["kept"])
        per_row = per_kept if everywhere else per_masked
        student = self._hidden_states_of_student(batch, head=bool(mlm or soft))
        if soft or cosine:
            with torch.inference_mode():
                teacher = self.read(self._teacher[0], batch)
        out = {}
        loss = student.new_zeros(())
        if mlm or soft:
            distilled = (
                {"teacher": self._teacher[0], "teacher_hidden": teacher[rows]} if soft else {}
            )
            loss, cross_entropy, divergence = fused_losses(
                self.student,
                student[rows],
                batch.labels[rows],
                mlm=mlm * per_masked,
                soft=soft * per_row,
                temperature=self.temperature,
                **distilled,
            )
            out |= {"mlm": cross_entropy * per_masked} if mlm else {}
            out |= {"soft": divergence * per_row} if soft else {}
        if cosine:
            out["cosine"] = cosine_loss(student[kept], teacher[kept]) * per_kept
            loss = loss + cosine * out["cosine"]
        return {**out, "loss": loss}

    def _hidden_states_of_student(self, batch: Batch, head: bool) -> torch.Tensor:
        """As `hidden_states`. Where the `head`, tied to the input embeddings, has a gradient for
        all of them, that of the few rows that were looked up is added to it in place: autograd
        would first make a second array of the vocabulary's size. So the loss is for `backward`,
        which fills `grad`: torch.autograd.grad would miss these rows."""
        words = self.student.get_input_embeddings()
        weight = words.weight
        if not (
            head
            and weight.requires_grad
            and torch.is_grad_enabled()
            and weight is self.student.get_output_embeddings().weight
        ):
            return hidden_states(self.student, batch)
        looked_up = words(batch.inputs).detach().requires_grad_()
        real = batch.inputs != (
            -1 if words.padding_idx is None else words.padding_idx
        )  # padding has no gradient

        def add(gradient: torch.Tensor) -> None:
            # Last in the backward pass: what the head gives is in weight.grad, unless that of
            # another loss is still to come.
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            weight.grad.index_add_(0, batch.inputs[real], gradient[real].to(weight.grad.dtype))

        looked_up.register_hook(add)
        return self.student.base_model(
            inputs_embeds=looked_up, attention_mask=batch.kept.long()
        ).last_hidden_state


def hand_out_attention(model: nn.Module, layers: Collection[int] | None = None) -> None:
    """Let some layers of a model (the first is 1; None: all) compute attention in plain steps,
    `eager`, the others by fused kernels (`sdpa`): the library's default, sdpa in all, hands out no
    attention maps.

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
        for number, layer in enumerate(model.base_model.encoder.layer, 1):
            if number not in layers:
                layer.attention.self.config = fused


def states(
    model: nn.Module, batch: Batch, maps: Collection[int] = ()
) -> tuple[tuple[torch.Tensor, ...], dict[int, torch.Tensor]]:
    """Hidden outputs 0 … n of a model's trunk, each [sequences, length, hidden], and its attention
    maps of the layers `maps` (the first is 1), each [sequences, heads, length, length].

    In training mode the maps are those after dropout: a weight is 0 or scaled up, and rows do not
    sum to 1. Raises RuntimeError where the model does not hand out just these: a sum over none of
    them would be a loss of 0.
    """
    out = model.base_model(
        input_ids=batch.inputs,
        attention_mask=batch.kept.long(),
        output_hidden_states=True,
        output_attentions=bool(maps),
    )
    layers = model.base_model.encoder.layer
    plain = [
        number
        for number, layer in enumerate(layers, 1)
        if layer.attention.self.config._attn_implementation == "eager"
    ]
    found = (
        dict(zip(plain, (map_ for map_ in out.attentions or () if map_ is not None)))
        if maps
        else {}
    )
    missing = sorted(set(maps) - set(found))
    if missing or len(out.hidden_states) != len(layers) + 1:
        raise RuntimeError(
            f"a model of {len(layers)} layers gave {len(out.hidden_states)} hidden outputs and no "
            f"attention maps "
            f"of the layers {missing}: attention must be 'eager' there"
        )
    return out.hidden_states, {layer: found[layer] for layer in maps}


def walk(
    model: nn.Module, batch: Batch, maps: Collection[int] = ()
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """As `states`, one after the other: 0 and the embeddings' output, then the number of each
    layer, its hidden output, and its attention map if it is one of `maps`. What has been given is
    not kept here."""
    layers, words = model.base_model.encoder.layer, model.get_input_embeddings().weight
    seen = None if batch.kept.all() else batch.kept[:, None, None]
    if in_pieces(model) or not all(
        isinstance(layer, Layer) and layer.is_plain(words, seen) for layer in layers
    ):
        hidden, found = states(model, batch, maps)
        yield from ((number, state, found.get(number)) for number, state in enumerate(hidden))
        return
    x = model.base_model.embeddings(input_ids=batch.inputs)
    yield 0, x, None
    for number, layer in enumerate(layers, 1):
        x, map_ = layer.step(x, seen, number in maps)
        yield number, x, map_


class Hop(nn.Module):
    """One hop of a cascade: L = (1/n)(β_att Σ_j L^A_j + β_hid Σ_k L^H_k) + β_soft L_soft; with β =
    1, 1, 0 it is 004 eq. (3).

    The student, of n layers, learns to match hidden outputs and attention maps of a teacher with
    more layers, paired by `mapping` (see lib.training.mappings). Each L is a mean over the real
    tokens, or the pairs of them in a sequence, of all lines of the step: with lines of one length
    and no padding, 004's mean over elements. A weight of 0 leaves its losses out.

    `forward` returns `hidden_k`, `attention_j`, `soft`, none of them weighted; `hidden` and
    `attention`, 1/n times their sums; and `loss`, which is the weighted sum of `hidden`,
    `attention` and `soft`.

    Args:
        soft: weight of the soft-target loss over all positions that are not padding, at
        `temperature`. dropout: which of the two run with the dropout of their configuration while
        training: `both`, as in 004, the
            `student` alone, or `none`.
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
        super().__init__()
        self.student, self._teacher = (
            quicken(student),
            [quicken(teacher, frozen=not in_pieces(teacher))],
        )  # in a list, so that it is no submodule and is not trained
        self.weights = {"hidden": hidden, "attention": attention, "soft": soft}
        self.temperature, self.dropout = temperature, dropout
        hidden_targets, attention_targets = layer_mapping(
            mapping, student.config.num_hidden_layers, teacher.config.num_hidden_layers
        )
        self.hidden: Targets = hidden_targets if hidden else {}
        self.attention: Targets = attention_targets if attention else {}
        self.matched = (
            set(self.attention),
            {layer for layers in self.attention.values() for layer in layers},
        )
        if self.attention:
            for model, layers in zip((student, teacher), self.matched):
                hand_out_attention(model, layers)
        self.train()

    def train(self, mode: bool = True) -> "Hop":
        """Training mode is that of the networks whose dropout is on; without it both are as they
        are when used."""
        super().train(mode)
        self.student.train(mode and self.dropout != "none")
        self._teacher[0].train(mode and self.dropout == "both")
        return self

    def to(self, *args, **kwargs) -> "Hop":
        self._teacher[0].to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Number of real tokens, and of pairs of query and key that are both real: the denominators
        of the means."""
        lengths = batch.kept.sum(-1)
        return {"kept": int(lengths.sum()), "pairs": int(lengths.square().sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        layers = self.student.config.num_hidden_layers
        real = (
            None if batch.kept.all() else batch.kept
        )  # without padding there is nothing to leave out
        per_kept, per_pair = 1 / max(1, totals["kept"]), 1 / max(1, totals["pairs"])
        targets, theirs = self._targets(batch)
        out = {}
        for layer, ours, map_ in walk(self.student, batch, self.matched[0]):
            if layer in self.hidden:
                target, means = targets["hidden"].pop(layer), len(self.hidden[layer]) > 1
                out[f"hidden_{layer}"] = hidden_loss(ours, target, real, spent=means) * per_kept
            if layer in self.attention:
                target, means = targets["attention"].pop(layer), len(self.attention[layer]) > 1
                out[f"attention_{layer}"] = (
                    attention_loss(map_, target, real, spent=means) * per_pair
                )
        loss = ours.new_zeros(())
        for kind, matched in (("hidden", self.hidden), ("attention", self.attention)):
            if matched:
                out[kind] = sum(out[f"{kind}_{layer}"] for layer in matched) / layers
                loss = loss + self.weights[kind] * out[kind]
        if soft := self.weights["soft"]:
            weighted, _, divergence = fused_losses(
                self.student,
                ours[batch.kept],
                batch.labels[batch.kept],
                mlm=0.0,
                soft=soft * per_kept,
                temperature=self.temperature,
                teacher=self._teacher[0],
                teacher_hidden=theirs[batch.kept],
            )
            out["soft"], loss = divergence * per_kept, loss + weighted
        return {**out, "loss": loss}

    @torch.no_grad()
    def _targets(self, batch: Batch) -> tuple[dict[str, dict[int, torch.Tensor]], torch.Tensor]:
        """By kind and layer of the student, the mean of the teacher's states that it is to match,
        in fp32; and the teacher's last hidden output. A state is let go as soon as it has been
        added to all that it is a part of."""
        targets: dict[str, dict[int, torch.Tensor]] = {"hidden": {}, "attention": {}}
        for number, hidden, map_ in walk(self._teacher[0], batch, self.matched[1]):
            for kind, state, matched in (
                ("hidden", hidden, self.hidden),
                ("attention", map_, self.attention),
            ):
                found = targets[kind]
                for layer, of in matched.items():
                    if number in of:
                        found[layer] = found[layer] + state if layer in found else state.float()
                        if number == max(of) and len(of) > 1:
                            found[layer].div_(len(of))
        return targets, hidden
