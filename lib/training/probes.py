"""What a model knows of held-out text: its guesses of masked words, alone and beside its teacher's.

The same words are masked for every model that reads the same held-out text, however it was trained:
`RATE` of the words, whole, as in BERT. So models differ in their guesses alone, and their
differences are precise with few sequences.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from lib.data.prepared import Corpus
from lib.training.batches import IGNORE, Batch, batches
from lib.training.losses import logits_of
from lib.training.models import has_head
from lib.training.objectives import hidden_states
from lib.training.parameters import Training

FILE = "held_out.parquet"
"""Where a stage keeps its `outcomes`, beside its result.json."""
RATE = 0.15
"""The share of words that is masked."""
POSITIONS = 4096
"""Masked positions to measure at. Text too short for that is masked several times, at most PASSES
times, in new places each time."""
PASSES = 8
SEQUENCES = 512
"""The sequences of one pass, if there are as many."""


def masked(p: Training, held_out: Corpus) -> Iterator[tuple[np.ndarray, Batch]]:
    """The micro-batches to measure by, each after the numbers of its sequences: the same for every
    model and for all parameters `p` of its stage."""
    fixed = {"batch_size": min(SEQUENCES, len(held_out)), "micro_batch_size": 32}
    fixed |= {"mask_probability": RATE, "whole_words": True, "mask_smoothing": 0.0}
    data = batches(p.model_copy(update=fixed), held_out, steps=PASSES, seed=12345)
    positions = 0
    for step in range(PASSES):
        for sequences, batch in zip(data.schedule.indices(step), data.at(step), strict=True):
            positions += int((batch.labels != IGNORE).sum())
            yield sequences, batch
        if positions >= POSITIONS:
            return


@torch.inference_mode()
def probe(model: PreTrainedModel, p: Training, held_out: Corpus) -> dict[str, float]:
    """MLM loss (nats) and accuracy (percent) at the masked positions, and their number; nothing of
    an encoder alone. A stage that trains without the MLM head is measured without it."""
    if not has_head(model):
        return {}
    model.eval()
    positions, correct, loss = 0, 0, 0.0
    for _, batch in masked(p, held_out):
        logits, labels = _guesses(model, p, batch), _labels(model, batch)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(-1) == labels).sum())
        positions += len(labels)
    count = max(1, positions)
    return {"mlm_loss": loss / count, "mlm_accuracy": 100 * correct / count, "positions": positions}


@torch.inference_mode()
def outcomes(
    student: PreTrainedModel, teacher: PreTrainedModel, p: Training, held_out: Corpus
) -> pd.DataFrame:
    """How a student guesses beside its teacher, at temperature 1: a row per sequence, whose columns
    are sums over its masked positions.

    `positions`: their number. `mlm_loss`: -log σ(z_s)[y], in nats; `mlm_accuracy`: 100 where the
    first guess is right, so that its mean over positions is a percentage; `teacher_mlm_loss` and
    `teacher_mlm_accuracy`: the teacher's. `kl`: KL(σ(z_t) ‖ σ(z_s)), in nats. `agreement`: 100
    where both guess the same token first. Without the MLM head both are measured without it.
    """
    student.eval(), teacher.eval()
    pieces = []
    for sequences, batch in masked(p, held_out):
        labels = _labels(student, batch)
        ours, theirs = (_guesses(model, p, batch).log_softmax(-1) for model in (student, teacher))
        at_positions = {
            "positions": torch.ones_like(labels, dtype=torch.float),
            "mlm_loss": F.nll_loss(ours, labels, reduction="none"),
            "mlm_accuracy": 100.0 * (ours.argmax(-1) == labels),
            "teacher_mlm_loss": F.nll_loss(theirs, labels, reduction="none"),
            "teacher_mlm_accuracy": 100.0 * (theirs.argmax(-1) == labels),
            "kl": F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1),
            "agreement": 100.0 * (ours.argmax(-1) == theirs.argmax(-1)),
        }
        rows = (batch.labels != IGNORE).nonzero()[:, 0].numpy()  # of the batch, one a position
        frame = pd.DataFrame({name: values.double().cpu() for name, values in at_positions.items()})
        pieces.append(frame.groupby(sequences[rows]).sum())
    by_sequence = pd.concat(pieces).groupby(level=0).sum().rename_axis("sequence")
    return by_sequence.astype({"positions": int}).reset_index()


def means(outcomes: pd.DataFrame) -> tuple[dict, dict, dict]:
    """The means over positions of `outcomes`: what the student knows, and what its teacher does, as
    `probe` gives them; and kl and agreement."""
    positions = int(outcomes["positions"].sum())
    mean = outcomes.drop(columns=["sequence", "positions"]).sum() / max(1, positions)
    student, teacher = (
        {
            "mlm_loss": float(mean[f"{whose}mlm_loss"]),
            "mlm_accuracy": float(mean[f"{whose}mlm_accuracy"]),
            "positions": positions,
        }
        for whose in ("", "teacher_")
    )
    return student, teacher, {name: float(mean[name]) for name in ("kl", "agreement")}


def _guesses(model: PreTrainedModel, p: Training, batch: Batch) -> torch.Tensor:
    """The logits at the masked positions, [positions, vocabulary]."""
    batch = batch.to(model.device)
    hidden = hidden_states(model, batch)[batch.labels != IGNORE]
    return logits_of(model, hidden, getattr(p, "mlm_head", True)).float()


def _labels(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    return batch.labels[batch.labels != IGNORE].to(model.device)
