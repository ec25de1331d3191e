"""The steps that are compared: forward and backward pass of the same objective on the same models
and ids.

No optimizer and no clipping in any of them; gradients are cleared to None. Dropout is 0, so that
losses can be compared.
"""

import warnings
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lib.fast.quicken import quicken
from lib.training import models
from lib.training.batches import IGNORE, Batch, Schedule, pad, padded_width, whole_word_mask
from lib.training.objectives import Distillation, Hop, hand_out_attention, hidden_states
from tests.benchmarks.cases import (
    COSINE,
    MASKED,
    MATCHED,
    MLM,
    SOFT,
    TEMPERATURE,
    Case,
    sequence_lengths,
)

TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
"""Relative difference of two implementations' losses that rounding explains."""


@dataclass
class Step:
    """One implementation of a case: its models, its batches, and the loss of one of them.

    `rows(batch)`: how many positions go through the vocabulary head.
    """

    student: nn.Module
    batches: list[Batch]
    loss: Callable[[Batch], torch.Tensor]
    rows: Callable[[Batch], int]
    precision: str

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Forward and backward pass; the loss, without gradient."""
        self.student.zero_grad(set_to_none=True)
        with torch.autocast(
            batch.inputs.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        ):
            loss = self.loss(batch)
        loss.backward()
        return loss.detach()


def implementations(case: Case) -> list[str]:
    """Names of those that can run the case, the plain one first, which is in fp32 whatever the
    case's format is."""
    same = ["plain_bf16"] if case.precision == "bf16" else []
    return [
        "plain",
        *same,
        *(["textbrewer"] if textbrewer_is_there() and case.kind not in MATCHED else []),
        "ours",
        *(["trunks"] if case.kind == "distillation" else []),
    ]


def textbrewer_is_there() -> bool:
    """Whether TextBrewer can be imported, with the tensorboard that it wants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import textbrewer.distiller_general  # noqa: F401
        except ImportError:
            return False
    return True


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def networks(case: Case) -> tuple[nn.Module, nn.Module]:
    """Teacher and student with the same random weights in every process; the student's layers are
    the teacher's."""
    teacher_layers, student_layers = case.layers
    teacher = models.new_encoder(
        vocab_size=case.vocab,
        layers=teacher_layers,
        hidden=case.hidden,
        heads=case.heads,
        intermediate=case.intermediate,
        max_length=max(case.length, 128),
        pad_id=0,
        initializer_range=0.05,
        dropout=0.0,
    )
    kept = range(student_layers) if case.kind == "hop" else range(0, teacher_layers, 2)
    student = models.truncate(teacher, list(kept)[:student_layers])
    return teacher.to(device()).eval(), student.to(device()).train()


def cut(batch: Batch, width: int) -> Batch:
    """The first `width` positions of a batch; with more than it has, padded on the right."""
    more = max(0, width - batch.inputs.shape[1])
    parts = zip((batch.inputs, batch.kept, batch.labels), (0, False, IGNORE))
    return Batch(
        *(F.pad(part[:, :width], (0, more), value=value).contiguous() for part, value in parts)
    )


def batches(case: Case) -> tuple[list[Batch], list[Batch]]:
    """The pool of sequences twice: in random order and padded to the longest possible, and as
    `lib.training.batches` groups and pads them. The same tokens are masked in both."""
    lengths = sequence_lengths(case)
    rng = np.random.default_rng(0)
    ids = pad([rng.integers(5, case.vocab, size=length) for length in lengths], 0)
    ids = F.pad(ids, (0, case.length - ids.shape[1]))
    kept = torch.arange(case.length) < torch.from_numpy(lengths)[:, None]
    inputs, labels = whole_word_mask(
        ids,
        torch.ones_like(kept),
        kept,
        mask_id=4,
        vocab_size=case.vocab,
        probability=MASKED,
        generator=torch.Generator().manual_seed(0),
    )

    def some(indices: np.ndarray) -> Batch:
        return Batch(inputs[indices], kept[indices], labels[indices]).to(device())

    order = np.array_split(rng.permutation(len(lengths)), case.pool)
    schedule = Schedule(lengths, batch=case.batch, micro=case.batch, epochs=1)
    grouped = [indices for step in range(case.pool) for indices in schedule.indices(step)]
    widths = [padded_width(int(lengths[indices].max())) for indices in grouped]
    return [some(indices) for indices in order], [
        cut(some(indices), width) for indices, width in zip(grouped, widths)
    ]


def build(case: Case, implementation: str) -> Step:
    """An implementation with models and batches of its own, equal to those of the others."""
    teacher, student = networks(case)
    wide, grouped = batches(case)
    every = (
        (lambda batch: 0) if case.kind != "distillation" else (lambda batch: batch.inputs.numel())
    )
    if case.kind in MATCHED:
        objective = Distillation(student, teacher, mlm=0.0, **{case.kind: 1.0})
        ours = implementation == "ours"
        return Step(
            student,
            grouped if ours else wide,
            one_step(quicken(objective) if ours else objective),
            every,
            "fp32" if implementation == "plain" else case.precision,
        )
    if implementation == "ours":
        if case.kind == "hop":
            objective = Hop(student, teacher)
        else:
            objective = Distillation(
                student,
                teacher,
                mlm=MLM,
                soft=SOFT,
                cosine=COSINE,
                temperature=TEMPERATURE,
                positions=case.positions,
            )
        quicken(objective)
        return Step(
            student,
            grouped,
            one_step(objective),
            lambda batch: 0 if case.kind == "hop" else int(compared(batch, case.positions).sum()),
            case.precision,
        )
    if implementation == "trunks":
        quicken(student)
        quicken(teacher, frozen=True)
        return Step(
            student,
            grouped,
            lambda batch: trunks(student, teacher, batch),
            lambda batch: 0,
            case.precision,
        )
    if case.kind == "hop":
        hand_out_attention(teacher)
        hand_out_attention(student)
    if implementation == "textbrewer":
        return Step(student, wide, textbrewer(case, student, teacher), every, case.precision)
    step = plain_hop if case.kind == "hop" else plain
    precision = case.precision if implementation == "plain_bf16" else "fp32"
    return Step(
        student, wide, lambda batch: step(student, teacher, batch, case.positions), every, precision
    )


def one_step(objective: nn.Module) -> Callable[[Batch], torch.Tensor]:
    """The loss of a batch that is a whole step."""
    return lambda batch: objective(batch, objective.counts(batch))["loss"]


def compared(batch: Batch, positions: str) -> torch.Tensor:
    """[sequences, length], True where soft targets are compared."""
    return batch.kept if positions == "all" else batch.labels != IGNORE


def trunks(student: nn.Module, teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """Both encoders with no head and next to no loss: what is left when the losses cost nothing."""
    with torch.no_grad():
        hidden_states(teacher, batch)
    return hidden_states(student, batch).float().square().mean()


def plain(student: nn.Module, teacher: nn.Module, batch: Batch, positions: str) -> torch.Tensor:
    """The step as DistilBERT's authors wrote it: all logits of both networks, then a selection of
    them."""
    given = {
        "input_ids": batch.inputs,
        "attention_mask": batch.kept.long(),
        "output_hidden_states": True,
    }
    ours = student(**given)
    with torch.no_grad():
        theirs = teacher(**given)
    vocabulary = ours.logits.shape[-1]
    rows = compared(batch, positions).unsqueeze(-1).expand_as(ours.logits)
    logits = torch.masked_select(ours.logits, rows).view(-1, vocabulary)
    targets = torch.masked_select(theirs.logits, rows).view(-1, vocabulary)
    soft = nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(logits / TEMPERATURE, dim=-1), F.softmax(targets / TEMPERATURE, dim=-1)
    )
    mlm = nn.CrossEntropyLoss(ignore_index=IGNORE)(
        ours.logits.view(-1, vocabulary), batch.labels.view(-1)
    )
    hidden = ours.hidden_states[-1]
    kept = batch.kept.unsqueeze(-1).expand_as(hidden)
    pair = [
        torch.masked_select(found.hidden_states[-1], kept).view(-1, hidden.shape[-1])
        for found in (ours, theirs)
    ]
    cosine = nn.CosineEmbeddingLoss(reduction="mean")(*pair, pair[0].new_ones(len(pair[0])))
    return SOFT * TEMPERATURE**2 * soft + MLM * mlm + COSINE * cosine


def halves(states: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The means of neighbours: the targets of 004."""
    return [(low + high) / 2 for low, high in zip(states, states[1:])]


def plain_hop(
    student: nn.Module, teacher: nn.Module, batch: Batch, _positions: str
) -> torch.Tensor:
    """004 eq. (3) to (6), from the library's own outputs, over whole batches."""
    given = {
        "input_ids": batch.inputs,
        "attention_mask": batch.kept.long(),
        "output_hidden_states": True,
        "output_attentions": True,
    }
    with torch.no_grad():
        theirs = teacher.bert(**given)
    ours = student.bert(**given)
    losses = [
        F.mse_loss(*pair)
        for pair in zip(ours.hidden_states, halves(theirs.hidden_states), strict=True)
    ]
    losses += [
        F.mse_loss(*pair) for pair in zip(ours.attentions, halves(theirs.attentions), strict=True)
    ]
    return sum(losses) / len(ours.attentions)


def textbrewer(
    case: Case, student: nn.Module, teacher: nn.Module
) -> Callable[[Batch], torch.Tensor]:
    """TextBrewer's GeneralDistiller, its loss path from models to total loss, as its user would set
    it up.

    Its soft loss is a cross-entropy, without the teacher's entropy and without T²: the weight
    brings T², the value of the loss differs from the others', its gradient does not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
    now: list[Batch] = []  # its adaptors see the arguments of one network only

    def adaptor(given: dict, out) -> dict:
        found = {"inputs_mask": now[0].kept, "hidden": out.hidden_states}
        if case.kind == "hop":
            return found | {"attention": out.attentions}
        found |= {"logits": out.logits, "logits_mask": compared(now[0], case.positions)}
        return found | ({"losses": out.loss} if "labels" in given else {})

    def means_of_neighbours(given: dict, out) -> dict:
        return {
            "inputs_mask": now[0].kept,
            "hidden": halves(out.hidden_states),
            "attention": halves(out.attentions),
        }

    match = {"layer_T": -1, "layer_S": -1, "feature": "hidden", "loss": "cos", "weight": COSINE}
    matches, args = [match], {"output_hidden_states": True}
    if case.kind == "hop":
        layers, args = case.layers[1], args | {"output_attentions": True}
        matches = [
            {
                "layer_T": layer,
                "layer_S": layer,
                "feature": feature,
                "loss": loss,
                "weight": 1 / layers,
            }
            for feature, loss, number in (
                ("hidden", "hidden_mse", layers + 1),
                ("attention", "attention_mse", layers),
            )
            for layer in range(number)
        ]
    distiller = GeneralDistiller(
        TrainingConfig(device=device(), log_dir=None),
        DistillationConfig(
            temperature=TEMPERATURE,
            kd_loss_type="ce",
            kd_loss_weight=SOFT * TEMPERATURE**2,
            hard_label_weight=MLM,
            intermediate_matches=matches,
        ),
        teacher,
        student,
        means_of_neighbours if case.kind == "hop" else adaptor,
        adaptor,
    )

    def loss(batch: Batch) -> torch.Tensor:
        now[:] = [batch]
        given = {"input_ids": batch.inputs, "attention_mask": batch.kept.long()}
        labels = {} if case.kind == "hop" else {"labels": batch.labels}
        return distiller.train_on_batch({"teacher": given, "student": given | labels}, args)[0]

    return loss
