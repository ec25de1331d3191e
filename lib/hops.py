"""What notebook 4 does: one hop of a cascade, from a teacher to a teacher assistant with fewer layers, and views of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import models
from lib.errors import InputError
from lib.figures import draw_lines, layer_shade, panels, plain
from lib.mappings import KINDS, layer_mapping
from lib.objectives import Hop
from lib.parameters_training import CascadeTA
from lib.pretraining import batches, recipe
from lib.sequences import Corpus
from lib.train import train


def starting_assistant(p: CascadeTA, teacher: models.BertForMaskedLM) -> models.BertForMaskedLM:
    """The assistant before training: its teacher's embeddings, head and lowest `layers` layers, weight for weight.

    With `freeze_embeddings` its embeddings (words, positions, segments, their LayerNorm) take no gradient, and the decoder of
    its masked-language-model head, which is tied to them, takes none either. Raises InputError for a teacher no deeper.
    """
    have = teacher.config.num_hidden_layers
    if p.layers >= have:
        raise InputError(f"layers = {p.layers}: the teacher {p.teacher} has {have}; allowed are 1 … {have - 1}")
    assistant = models.truncate(teacher, range(p.layers))
    assistant.bert.embeddings.requires_grad_(not p.freeze_embeddings)
    return assistant


def hop(p: CascadeTA, assistant, teacher, corpus: Corpus, folder: Path) -> list[dict]:
    """Train the assistant to mimic its teacher; returns the history, empty where no loss has a weight.

    Checkpoints go to `folder`: a run that was stopped goes on from the newest.
    """
    if not (p.weight_hidden or p.weight_attention or p.weight_soft):
        return []
    objective = Hop(assistant, teacher, p.mapping, hidden=p.weight_hidden, attention=p.weight_attention, soft=p.weight_soft,
                    temperature=p.temperature, dropout=p.dropout)  # fmt: skip
    name = f"{teacher.config.num_hidden_layers} → {p.layers} layers"
    return train(objective, batches(p, corpus), recipe(p), name=name, folder=folder)


@torch.inference_mode()
def distances(p: CascadeTA, assistant, teacher, held_out: Corpus, limit: int = 256) -> dict[str, float]:
    """How far every hidden output and attention map is from its target on held-out text, dropout off and no word masked.

    Keys `hidden_k` and `attention_j`, and their sums over n as `hidden` and `attention`: the losses of 004 eq. (3) to (5).
    """
    objective = Hop(assistant, teacher, p.mapping).eval()
    size = min(32, len(held_out))
    plain_text = p.model_copy(update={"batch_size": size, "micro_batch_size": size, "mask_probability": 0.0})
    data = batches(plain_text, held_out, steps=max(1, min(limit, len(held_out)) // size), seed=12345)
    read = [batch.to(assistant.device) for step in range(data.steps) for batch in data.at(step)]
    totals = {key: sum(objective.counts(batch)[key] for batch in read) for key in ("kept", "pairs")}
    found: dict[str, float] = {}
    for batch in read:
        for key, value in objective(batch, totals).items():
            found[key] = found.get(key, 0.0) + float(value)
    found.pop("loss")
    return found


# ------------------------------------------------------------------------------------------------ views


def matching(p: CascadeTA, teacher_layers: int) -> pd.DataFrame:
    """Which layers of the teacher are averaged for each layer of the assistant; 0 is the output of the embeddings."""
    hidden, attention = layer_mapping(p.mapping, p.layers, teacher_layers)
    rows = {
        layer: [" + ".join(map(str, targets.get(layer, []))) or "–" for targets in (hidden, attention)]
        for layer in range(p.layers + 1)
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(KINDS.values())).rename_axis("layer")


def by_layer(before: dict[str, float], after: dict[str, float]) -> pd.DataFrame:
    """The `distances` of every layer before and after a hop, and their ratio; a layer without target has none."""
    layers = sorted({int(key.rpartition("_")[2]) for key in before if "_" in key})
    columns = {}
    for kind, title in KINDS.items():
        for name, found in (("before", before), ("after", after)):
            columns[title, name] = [_said(found.get(f"{kind}_{layer}")) for layer in layers]
    return pd.DataFrame(columns, index=pd.Index(layers, name="layer"))


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def figure_layers(history: list[dict]):
    """The loss of every layer against the step: a panel for hidden outputs, one for attention maps, a line a layer, the
    lighter the higher. Logarithmic; a loss of 0 is not drawn.

    Lines are running means over a tenth of the steps: short sequences, which share a batch, have larger attention weights
    and so larger losses.
    """
    from matplotlib.ticker import LogLocator

    frame = pd.DataFrame(history).set_index("step")
    frame = frame.rolling(max(1, len(frame) // 10), min_periods=1).mean()
    layers = {kind: [name for name in frame if name.startswith(f"{kind}_")] for kind in KINDS}
    deepest = max((int(name.rpartition("_")[2]) for names in layers.values() for name in names), default=0)
    figure, axes = panels(sum(map(bool, layers.values())), row_height=2.9)
    for ax, (kind, names) in zip(axes, ((kind, names) for kind, names in layers.items() if names)):
        powers = np.log10(frame[names].where(frame[names] > 0))  # draw_lines sets its names apart on a linear scale
        powers.columns = [name.rpartition("_")[2] for name in names]
        shades = {name: layer_shade(int(name), deepest) for name in powers}
        draw_lines(ax, powers, width=1.3, gap=0.065, colours=shades)
        low, high = ax.get_ylim()
        ticks = [t for t in LogLocator(subs=(1, 2, 5)).tick_values(10**low, 10**high) if low <= np.log10(t) <= high]
        ax.set_yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        plain(ax, f"{KINDS[kind]}, mean squared error", grid="y")
        ax.set_ylim(low, high)
    figure.supxlabel("optimizer step", fontsize=9)
    return figure
