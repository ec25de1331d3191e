"""What notebook 4 does: one hop of a cascade, from a teacher to a teacher assistant with fewer
layers, and views of it."""

from pathlib import Path

import torch

from lib.common.errors import InputError
from lib.data.prepared import Corpus
from lib.training import models
from lib.training.batches import batches
from lib.training.loop import recipe, train
from lib.training.objectives import Hop
from lib.training.parameters import CascadeTA


def starting_assistant(p: CascadeTA, teacher: models.BertForMaskedLM) -> models.BertForMaskedLM:
    """The assistant before training: its teacher's embeddings, head and lowest `layers` layers,
    weight for weight.

    With `freeze_embeddings` its embeddings (words, positions, segments, their LayerNorm) take no
    gradient, and the decoder of its masked-language-model head, which is tied to them, takes none
    either. Raises InputError for a teacher no deeper.
    """
    have = teacher.config.num_hidden_layers
    if p.layers >= have:
        raise InputError(
            f"layers = {p.layers}: the teacher {p.teacher} has {have}; allowed are 1 … {have - 1}"
        )
    assistant = models.truncate(teacher, range(p.layers))
    assistant.bert.embeddings.requires_grad_(not p.freeze_embeddings)
    return assistant


def hop(p: CascadeTA, assistant, teacher, corpus: Corpus, folder: Path) -> list[dict]:
    """Train the assistant to mimic its teacher; returns the history, empty where no loss has a
    weight.

    Checkpoints go to `folder`: a run that was stopped goes on from the newest.
    """
    if not (p.weight_hidden or p.weight_attention or p.weight_soft):
        return []
    objective = Hop(
        assistant,
        teacher,
        p.mapping,
        hidden=p.weight_hidden,
        attention=p.weight_attention,
        soft=p.weight_soft,
        temperature=p.temperature,
        dropout=p.dropout,
    )
    name = f"{teacher.config.num_hidden_layers} → {p.layers} layers"
    return train(objective, batches(p, corpus), recipe(p), name=name, folder=folder)


@torch.inference_mode()
def distances(
    p: CascadeTA, assistant, teacher, held_out: Corpus, limit: int = 256
) -> dict[str, float]:
    """How far every hidden output and attention map is from its target on held-out text, dropout
    off and no word masked.

    Keys `hidden_k` and `attention_j`, and their sums over n as `hidden` and `attention`: the losses
    of 004 eq. (3) to (5).
    """
    objective = Hop(assistant, teacher, p.mapping).eval()
    size = min(32, len(held_out))
    plain_text = p.model_copy(
        update={"batch_size": size, "micro_batch_size": size, "mask_probability": 0.0}
    )
    data = batches(
        plain_text, held_out, steps=max(1, min(limit, len(held_out)) // size), seed=12345
    )
    read = [batch.to(assistant.device) for step in range(data.steps) for batch in data.at(step)]
    totals = {key: sum(objective.counts(batch)[key] for batch in read) for key in ("kept", "pairs")}
    found: dict[str, float] = {}
    for batch in read:
        for key, value in objective(batch, totals).items():
            found[key] = found.get(key, 0.0) + float(value)
    found.pop("loss")
    return found


# -------------------------------------------------------------------------------------------- views
