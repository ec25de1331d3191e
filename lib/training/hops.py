"""What notebook 4 does: one hop of a cascade, from a teacher to a teacher assistant with fewer
layers."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from lib.common.errors import InputError
from lib.data.prepared import Corpus
from lib.fast.quicken import quicken
from lib.training import models, pretraining
from lib.training.batches import batches
from lib.training.loop import recipe, train
from lib.training.objectives import Hop
from lib.training.parameters import CascadeTA, loss_weights


def starting_assistant(p: CascadeTA, teacher: PreTrainedModel) -> PreTrainedModel:
    """The assistant before training: its teacher's embeddings, head and lowest `layers` layers,
    weight for weight.

    With `freeze_embeddings` its embeddings (words, positions, segments, their LayerNorm) take no
    gradient, nor does the decoder of its MLM head, which is tied to them. Raises InputError for a
    teacher that is not deeper.
    """
    depth = teacher.config.num_hidden_layers
    if p.layers >= depth:
        raise InputError(
            f"layers = {p.layers}: the teacher {p.teacher} has {depth}; allowed are 1 … {depth - 1}"
        )
    assistant = models.truncate(teacher, range(p.layers))
    models.embeddings_of(assistant).requires_grad_(not p.freeze_embeddings)
    return assistant


def first_teacher(p: CascadeTA, teacher: PreTrainedModel, corpus: Corpus) -> PreTrainedModel:
    """The teacher of the whole chain, given that of this hop."""
    if not p.first_teacher:
        return teacher
    first = {"teacher": p.first_teacher, "teacher_revision": p.first_teacher_revision}
    return pretraining.load_teacher(p.model_copy(update=first), corpus)


def objective(p: CascadeTA, assistant, teacher) -> Hop:
    """What an assistant minimises, ready to train."""
    objective = Hop(
        assistant,
        teacher,
        p.mapping,
        **loss_weights(dict(p)),
        temperature=p.temperature,
        dropout=p.dropout,
    )
    return quicken(objective)


def hop(p: CascadeTA, objective: Hop, corpus: Corpus, folder: Path) -> list[dict]:
    """Train the assistant of an objective to mimic its teacher; returns the history, empty if no
    loss has a weight.

    Checkpoints go to `folder`: an interrupted run resumes from the newest.
    """
    if not any(objective.weights.values()):
        return []
    name = f"{objective.teacher.config.num_hidden_layers} → {p.layers} layers"
    return train(objective, batches(p, corpus), recipe(p), name=name, folder=folder)


@torch.inference_mode()
def distances(p: CascadeTA, assistant, teacher, held_out: Corpus) -> dict[str, float]:
    """How far every hidden output and attention map is from its target on 256 held-out sequences,
    without dropout or masks: `hidden_k` and `attention_j`, and 1/n times their sums as `hidden` and
    `attention`; 004 eq. (3) to (5)."""
    objective = quicken(Hop(assistant, teacher, p.mapping)).eval()
    size = min(32, len(held_out))
    steps = max(1, min(256, len(held_out)) // size)
    changes = {"batch_size": size, "micro_batch_size": size, "mask_probability": 0.0}
    changes |= {"mask_smoothing": 0.0}
    # a fixed seed: the same sequences for every assistant
    data = batches(p.model_copy(update=changes), held_out, steps=steps, seed=12345)
    read = [batch.to(assistant.device) for step in range(steps) for batch in data.at(step)]
    counts = [objective.counts(batch) for batch in read]
    totals = {key: sum(count[key] for count in counts) for key in counts[0]}
    sums: dict[str, float] = {}
    for batch in read:
        for key, value in objective(batch, totals).items():
            sums[key] = sums.get(key, 0.0) + float(value)
    sums.pop("loss")
    return sums
