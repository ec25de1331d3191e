"""What a training step minimises, as the equations of the sources, in calls to lib.training.losses.

An objective is a module with `counts(batch)`, the numbers of positions that its means run over, and
`forward(batch, totals)`, which returns every component *divided by the totals of the whole step*,
and their weighted sum as `loss`. `lib.fast.quicken` makes an objective fast: it puts faster
functions in the place of `hidden_states`, `head_losses` and `states`.

To add a loss to `Distillation`: its equation in lib.training.losses; here its weight, and its term
in `forward`; in lib.training.parameters its entry in LOSSES, from which tables, figures, cards and
the plan take its name, and its weight in StudentParameters; and the weight in notebook 3.
"""

import copy
from collections.abc import Collection, Sequence

import torch
from torch import nn

from lib.training import losses
from lib.training.batches import IGNORE, Batch
from lib.training.losses import attention_loss, cosine_loss, hidden_loss, logits_of
from lib.training.mappings import Targets, layer_mapping
from lib.training.models import attention_of, decoder_input, last_states, layers_of
from lib.training.parameters import needs_teacher


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
        self.hidden_states, self.head_losses = hidden_states, losses.head_losses
        self.decoder_input = decoder_input  # for lib.fast, which knows no architectures
        self.mlm_head = True

    @property
    def teacher(self) -> nn.Module | None:
        return self._teacher[0]

    @property
    def uses_logits(self) -> bool:
        """Whether a loss on logits has a weight."""
        return bool(self.weights.get("mlm") or self.weights.get("soft"))

    @property
    def reaches_all(self) -> bool:
        """Whether every parameter has a gradient: without losses on a head's logits the head has
        none; the library keeps the bias of an untied decoder twice, and uses one."""
        if not (self.uses_logits and self.mlm_head):
            return False
        decoder, words = self.student.get_output_embeddings(), self.student.get_input_embeddings()
        return decoder.weight is words.weight

    def to(self, *args, **kwargs) -> "Objective":
        """Move the student, and the teacher if a loss needs it."""
        if needs_teacher(self.weights):
            self.teacher.to(*args, **kwargs)
        return super().to(*args, **kwargs)


class Distillation(Objective):
    """L = α_soft · L_soft + α_mlm · L_mlm + α_cos · L_cos; 001 eq. (4), 002. Without a teacher: MLM
    alone.

    Each L is a mean: L_mlm over the masked positions, L_cos over all that are not padding, L_soft
    over these (`positions` = `all`, as in the code of DistilBERT's authors) or the masked ones
    (`masked`). `temperature` is that of L_soft. A weight of 0 leaves its loss out.

    Two switches for what the code of 000 does: `cosine_of` = `logits` takes L_cos of the logits, at
    the positions of L_soft; without `mlm_head` the logits of both networks are hidden · Eᵀ.
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
        cosine_of: str = "hidden",
        mlm_head: bool = True,
    ):
        super().__init__(student, teacher, {"mlm": mlm, "soft": soft, "cosine": cosine})
        self.temperature, self.positions = temperature, positions
        self.cosine_of, self.mlm_head = cosine_of, mlm_head
        # lib.training.side_by_side replaces this by a reading that several students share.
        self.read_teacher = hidden_states
        if teacher is not None:
            teacher.eval()

    def counts(self, batch: Batch) -> dict[str, int]:
        """Numbers of masked and of non-padding positions: the denominators of the means."""
        return {"masked": int((batch.labels != IGNORE).sum()), "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        soft, mlm, cosine = (self.weights[name] for name in ("soft", "mlm", "cosine"))
        masked, kept = batch.labels != IGNORE, batch.kept
        n_masked, n_kept = max(1, totals["masked"]), max(1, totals["kept"])
        compared, n_compared = (kept, n_kept) if self.positions == "all" else (masked, n_masked)
        hidden = self.hidden_states(self.student, batch)
        if soft or cosine:
            with torch.inference_mode():
                teacher_hidden = self.read_teacher(self.teacher, batch)
        parts, loss = {}, hidden.new_zeros(())
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
        return {**parts, "loss": loss}


class Hop(Objective):
    """One hop of a cascade: L = (1/n)(β_att Σ_j L^A_j + β_hid Σ_k L^H_k) + β_soft L_soft; with β =
    1, 1, 0 it is 004 eq. (3).

    The student, of n layers, learns to match hidden outputs and attention maps of a teacher with
    more layers, paired by `mapping` (lib.training.mappings). Each L^H is a mean over the real
    tokens, each L^A over the pairs of them in a sequence, of all lines of the step: for lines of
    one length without padding, 004's mean over elements. L_soft is a mean over all real tokens. A
    weight of 0 leaves its losses out.

    `forward` returns `hidden_k`, `attention_j`, `soft`, none of them weighted; `hidden` and
    `attention`, 1/n times their sums; and `loss`.

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
        weights = {"hidden": hidden, "attention": attention, "soft": soft}
        super().__init__(student, teacher, weights)
        self.temperature, self.dropout, self.states = temperature, dropout, states
        layers = student.config.num_hidden_layers, teacher.config.num_hidden_layers
        hidden_layers, attention_layers = layer_mapping(mapping, *layers)
        self.hidden_layers: Targets = hidden_layers if hidden else {}
        self.attention_layers: Targets = attention_layers if attention else {}
        self.student_maps = set(self.attention_layers)
        self.teacher_maps = {layer for own in self.attention_layers.values() for layer in own}
        if self.attention_layers:
            hand_out_attention(student, self.student_maps)
            hand_out_attention(teacher, self.teacher_maps)
        self.train()

    def train(self, mode: bool = True) -> "Hop":
        """Put only those networks into training mode that run with dropout."""
        super().train(mode)
        self.student.train(mode and self.dropout != "none")
        self.teacher.train(mode and self.dropout == "both")
        return self

    def counts(self, batch: Batch) -> dict[str, int]:
        """Numbers of real tokens, and of pairs of them: the denominators of the means."""
        lengths = batch.kept.sum(-1)
        return {"kept": int(lengths.sum()), "pairs": int(lengths.square().sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        n_kept, n_pairs = max(1, totals["kept"]), max(1, totals["pairs"])
        kept = None if batch.kept.all() else batch.kept  # without padding nothing is left out
        hidden_targets, attention_targets, teacher_hidden = self._targets(batch)
        hidden, maps = self.states(self.student, batch, self.student_maps)
        parts = {}
        for k, target in hidden_targets.items():
            parts[f"hidden_{k}"] = hidden_loss(hidden[k], target, kept) / n_kept
        for j, target in attention_targets.items():
            parts[f"attention_{j}"] = attention_loss(maps[j], target, kept) / n_pairs
        loss, n = hidden[-1].new_zeros(()), self.student.config.num_hidden_layers
        for kind, targets in (("hidden", hidden_targets), ("attention", attention_targets)):
            if targets:
                parts[kind] = sum(parts[f"{kind}_{layer}"] for layer in targets) / n
                loss = loss + self.weights[kind] * parts[kind]
        if soft := self.weights["soft"]:
            weighted, _, soft_sum = self.head_losses(
                self.student,
                last_states(self.student, hidden[-1])[batch.kept],
                batch.labels[batch.kept],
                mlm=0.0,
                soft=soft / n_kept,
                temperature=self.temperature,
                teacher=self.teacher,
                teacher_hidden=last_states(self.teacher, teacher_hidden)[batch.kept],
            )
            parts["soft"], loss = soft_sum / n_kept, loss + weighted
        return {**parts, "loss": loss}

    @torch.no_grad()
    def _targets(self, batch: Batch) -> tuple[dict, dict, torch.Tensor]:
        """What each layer of the student is to match, in fp32: means of the teacher's hidden
        outputs, and means of its attention maps; and the teacher's last hidden output."""
        hidden, maps = self.states(self.teacher, batch, self.teacher_maps)
        hidden_targets = {
            k: _mean([hidden[layer] for layer in layers])
            for k, layers in self.hidden_layers.items()
        }
        attention_targets = {
            j: _mean([maps[layer] for layer in layers])
            for j, layers in self.attention_layers.items()
        }
        return hidden_targets, attention_targets, hidden[-1]


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
    # The library's last hidden output of a ModernBERT is that after its final LayerNorm.
    hook = layers_of(model)[-1].register_forward_hook(lambda *parts: last.append(parts[-1]))
    with hook:
        out = model.base_model(
            input_ids=batch.inputs,
            attention_mask=batch.kept.long(),
            output_hidden_states=True,
            output_attentions=bool(maps),
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
