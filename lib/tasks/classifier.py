"""A classifier on an encoder, what it minimises, and its folder when it is kept.

A fine-tuning can distil: besides the gold labels the classifier then learns from a teacher that was
fine-tuned on the same task, as in the second stage of DistilBERT (Sanh et al. 2019) and TinyBERT
(Jiao et al. 2020), and in PKD (Sun et al. 2019).
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from lib.common.errors import InputError
from lib.common.files import write_json
from lib.fast.quicken import quicken
from lib.tasks import spans, words
from lib.tasks.registry import Task
from lib.training import models, pretraining
from lib.training.batches import IGNORE, Batch
from lib.training.losses import attention_loss, hidden_loss, soft_target_loss
from lib.training.mappings import layer_mapping
from lib.training.models import last_states
from lib.training.objectives import hand_out_attention, states

HEAD = "classifier"
"""The name of the files that hold what is on top of the encoder, beside the encoder's own."""


class Classifier(nn.Module):
    """Encoder, dropout, linear layer.

    `pooling`: the input of the linear layer. `first`: the first token's hidden state; `pooler`: the
    same after BERT's pooler, a new dense layer and tanh (Devlin et al. 2018); `mean`: the mean over
    real tokens; `every`: each token by itself. `scale`: what the linear layer's output is
    multiplied by.
    """

    scale = 1.0

    def __init__(
        self, trunk: nn.Module, outputs: int, dropout: float, pooling: str = "first", seed: int = 0
    ):
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.dropout, self.pooling = trunk, nn.Dropout(dropout), pooling
        self.tells_segments = models.tells_segments(trunk)
        width = trunk.config.hidden_size
        self.linear = nn.Linear(width, outputs)
        self.dense = nn.Linear(width, width) if pooling == "pooler" else None
        for layer in filter(None, (self.linear, self.dense)):
            nn.init.normal_(layer.weight, std=trunk.config.initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits, [sequences, outputs]; [sequences, length, outputs] with pooling `every`."""
        batch = self.readable(batch)
        segments = {} if batch.segments is None else {"token_type_ids": batch.segments}
        hidden = self.trunk(
            input_ids=batch.inputs, attention_mask=batch.kept.long(), **segments
        ).last_hidden_state
        return self.logits(hidden, batch)

    def readable(self, batch: Batch) -> Batch:
        """The batch, without the segments that the encoder does not have and its teacher may."""
        return batch if self.tells_segments else replace(batch, segments=None)

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Logits from the encoder's last hidden states, [sequences, length, hidden]."""
        if self.pooling == "mean":
            weight = batch.kept[..., None].to(hidden.dtype)
            hidden = (hidden * weight).sum(1) / weight.sum(1)
        elif self.pooling in ("first", "pooler"):
            hidden = hidden[:, 0]
        if self.dense is not None:
            hidden = self.dense(hidden).tanh()
        return self.scale * self.linear(self.dropout(hidden))


# ----------------------------------------------------------------------------- losses on the labels


def class_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the right class, summed over the examples of a micro-batch."""
    return F.cross_entropy(logits, batch.labels, reduction="sum")


def squared_error(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Squared error of the single output, summed over the examples of a micro-batch."""
    return F.mse_loss(logits[:, 0], batch.labels, reduction="sum")


LOSSES = {
    "classification": class_loss,
    "regression": squared_error,
    "span": spans.span_loss,
    "token_classification": words.word_loss,
}


class TaskLoss(nn.Module):
    """The loss of a kind of task, mean over the examples of a step, or over their words if these
    have classes. An objective as in lib.training.objectives."""

    def __init__(self, classifier: Classifier, kind: str):
        super().__init__()
        self.classifier, self.kind, self.loss = classifier, kind, LOSSES[kind]

    def counts(self, batch: Batch) -> dict[str, int]:
        """The number of examples or words, the denominator of the mean; and of tokens, for the
        cost."""
        number = len(batch.labels)
        if self.kind == "token_classification":
            number = int((batch.labels != IGNORE).sum())
        return {"examples": number, "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """The micro-batch's share of the step's mean; 0 where no word of the step has a token."""
        loss = self.loss(self.classifier(batch).float(), batch)
        return {"loss": loss / max(1, totals["examples"])}


# ------------------------------------------------------------------------------ losses on a teacher


def soft_class_loss(student, teacher, batch: Batch, temperature: float) -> torch.Tensor:
    """T² · Σ KL(teacher ‖ student) over the examples; logits [examples, classes]."""
    return soft_target_loss(student, teacher, temperature)


def soft_number_loss(student, teacher, batch: Batch, temperature: float) -> torch.Tensor:
    """Squared distance to the teacher's number, summed over the examples; outputs [examples, 1]. A
    number has no temperature."""
    return F.mse_loss(student, teacher, reduction="sum")


SOFT_LOSSES = {
    "classification": soft_class_loss,
    "regression": soft_number_loss,
    "span": spans.soft_span_loss,
    "token_classification": words.soft_word_loss,
}


class TaskDistillation(TaskLoss):
    """L = α_gold L_gold + α_soft L_soft + (1/n)(β_hid Σ_k L^H_k + β_att Σ_j L^A_j).

    L_gold is the task's own loss; L_soft compares the outputs of student and teacher, in the same
    units and with the same denominator: T² KL for classes, of texts or of words, and for the first
    and last token of an answer; squared error for numbers. L^H_k and L^A_j, over the student's n
    layers, are those of lib.training.objectives.Hop, with one of its mappings. A weight of 0 leaves
    its losses out.

    The teacher reads every batch without dropout and is not trained. (Its outputs are not kept:
    most fine-tunings see an example a few times, and matching layers takes its states anyway.) The
    student's attention maps are those after its dropout.
    """

    def __init__(
        self,
        classifier: Classifier,
        kind: str,
        teacher: Classifier,
        *,
        gold: float = 0.5,
        soft: float = 0.5,
        hidden: float = 0.0,
        attention: float = 0.0,
        temperature: float = 2.0,
        mapping: str = "uniform",
    ):
        super().__init__(classifier, kind)
        self._teacher = [teacher.eval()]  # no submodule: it is not trained, no checkpoint holds it
        self.weights = {"gold": gold, "soft": soft, "hidden": hidden, "attention": attention}
        self.soft_loss = partial(SOFT_LOSSES[kind], temperature=temperature)
        self.states, self.hidden_layers, self.attention_layers = states, {}, {}
        trunks = classifier.trunk, teacher.trunk
        if hidden or attention:
            depths = (trunk.config.num_hidden_layers for trunk in trunks)
            hidden_layers, attention_layers = layer_mapping(mapping, *depths)
            self.hidden_layers = hidden_layers if hidden else {}
            self.attention_layers = attention_layers if attention else {}
        if attention:
            for trunk, layers in zip(trunks, self._maps()):
                hand_out_attention(trunk, layers)

    @property
    def teacher(self) -> Classifier:
        return self._teacher[0]

    def to(self, *args, **kwargs) -> "TaskDistillation":
        self.teacher.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def _maps(self) -> tuple[set[int], set[int]]:
        """The layers of student and teacher whose attention maps are compared."""
        targets = self.attention_layers
        return set(targets), {layer for layers in targets.values() for layer in layers}

    def counts(self, batch: Batch) -> dict[str, int]:
        """As of TaskLoss, and the number of pairs of tokens."""
        return super().counts(batch) | {"pairs": int(batch.kept.sum(-1).square().sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        n_examples = max(1, totals["examples"])
        with torch.no_grad():
            theirs, teacher_hidden, teacher_maps = self._read(self.teacher, batch, 1)
        ours, hidden, maps = self._read(self.classifier, batch, 0)
        parts = {"gold": self.loss(ours, batch) / n_examples}
        parts["soft"] = self.soft_loss(ours, theirs, batch) / n_examples
        depth = self.classifier.trunk.config.num_hidden_layers
        if self.hidden_layers:
            parts["hidden"] = sum(
                hidden_loss(hidden[k], _mean(teacher_hidden, layers), batch.kept)
                for k, layers in self.hidden_layers.items()
            ) / (depth * totals["kept"])
        if self.attention_layers:
            parts["attention"] = sum(
                attention_loss(maps[j], _mean(teacher_maps, layers), batch.kept)
                for j, layers in self.attention_layers.items()
            ) / (depth * totals["pairs"])
        loss = sum(self.weights[name] * part for name, part in parts.items() if self.weights[name])
        return {**parts, "loss": loss}

    def _read(self, classifier: Classifier, batch: Batch, which: int) -> tuple:
        """Logits; hidden outputs and attention maps, as of `lib.training.objectives.states`, where
        they are compared. `which`: 0 for the student, 1 for the teacher."""
        if not (self.hidden_layers or self.attention_layers):
            return classifier(batch).float(), None, None
        batch = classifier.readable(batch)
        hidden, maps = self.states(classifier.trunk, batch, self._maps()[which])
        last = last_states(classifier.trunk, hidden[-1])
        return classifier.logits(last, batch).float(), hidden, maps


def _mean(outputs, layers: list[int]) -> torch.Tensor:
    """The mean of some layers' outputs, in fp32."""
    return torch.stack([outputs[layer].float() for layer in layers]).mean(0)


# ------------------------------------------------------------------------------ kept and read again


def save(classifier: Classifier, task: Task, tokenizer, folder: Path) -> None:
    """Keep a classifier: its encoder and tokenizer, as plain transformers load them, and beside
    them the layers on top (classifier.safetensors) and what they are (classifier.json)."""
    pretraining.save(classifier.trunk, tokenizer, folder)
    head = {
        name: weight.detach().cpu().contiguous()
        for name, weight in classifier.state_dict().items()
        if not name.startswith("trunk.")
    }
    save_file(head, folder / f"{HEAD}.safetensors")
    about = {"kind": task.kind, "labels": list(task.labels), "pooling": classifier.pooling}
    outputs = classifier.linear.out_features
    write_json(folder / f"{HEAD}.json", {**about, "outputs": outputs, "scale": classifier.scale})


def describe(folder: Path) -> dict:
    """What `save` has noted of a classifier: kind, labels, pooling, outputs, scale. Raises
    InputError if there is none."""
    path = folder / f"{HEAD}.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no fine-tuned model: it has no {path.name}")
    return json.loads(path.read_text(encoding="utf-8"))


def load(folder: Path, quick: bool = True) -> Classifier:
    """A classifier that `save` has kept, without dropout, and quickened if `quick`."""
    about = describe(folder)
    trunk = models.load_trunk(folder)
    if quick:
        quicken(trunk, frozen=True)
    classifier = Classifier(trunk, about["outputs"], 0.0, about["pooling"])
    classifier.scale = about["scale"]
    missing, unknown = classifier.load_state_dict(load_file(folder / f"{HEAD}.safetensors"), False)
    if unknown or any(not name.startswith("trunk.") for name in missing):
        raise InputError(f"{folder}: {HEAD}.safetensors and {HEAD}.json do not belong together")
    return classifier.eval()
