"""Attention of teacher and student on one sentence under a mapping of layers: what a hop of a
cascade compares."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lib.common.errors import InputError
from lib.lab import models
from lib.lab.view import control, live, message, nothing_yet
from lib.report.page import show
from lib.training.losses import attention_loss
from lib.training.mappings import Targets, layer_mapping

MAPPINGS = {
    "adjacent": "means of neighbouring layers, as in CAMeMBERT",
    "uniform": "evenly spaced layers, as in TinyBERT and LightMBERT",
    "top": "the layer as far from the top",
    "skip": "evenly spaced, the last layer without a target, as in PKD-skip",
}


def target_layers(mapping: str, layers: int, teacher_layers: int) -> Targets:
    """For each layer of the student, the teacher's layers whose mean attention is its target.
    Raises InputError for models that the mapping does not fit."""
    try:
        return layer_mapping(mapping, layers, teacher_layers)[1]
    except ValueError as error:
        raise InputError(f"mapping: {error}") from None


def mean_map(maps: dict[int, torch.Tensor], layers: list[int]) -> torch.Tensor:
    """The mean attention of some layers, in fp32."""
    return torch.stack([maps[layer] for layer in layers]).float().mean(0)


def distance(student: torch.Tensor, target: torch.Tensor) -> float:
    """Mean squared error of attention maps [1, heads, tokens, tokens]; 004 eq. (4)."""
    with torch.inference_mode():
        return float(attention_loss(student, target)) / student.shape[-1] ** 2


def distances(
    student: dict[int, torch.Tensor], teacher: dict[int, torch.Tensor], targets: Targets
) -> pd.DataFrame:
    """For every layer of the student: the teacher's layers that are its target, and the mean
    squared error over all heads and of each head."""
    rows = {}
    for layer, maps in student.items():
        if layer not in targets:
            rows[layer] = {"teacher's layers": "–", "all heads": "–"}
            continue
        target = mean_map(teacher, targets[layer])
        heads = [distance(maps[:, [head]], target[:, [head]]) for head in range(maps.shape[1])]
        rows[layer] = {
            "teacher's layers": " + ".join(map(str, targets[layer])),
            "all heads": f"{np.mean(heads):.2g}",
            **{f"head {head}": f"{value:.2g}" for head, value in enumerate(heads, 1)},
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("layer")


def figure(texts: list[str], target: np.ndarray, student: np.ndarray) -> Figure:
    """Three maps [tokens, tokens] in a row: the target, the student's, and where the student's is
    more or less."""
    side = min(3.6, 1.3 + 0.13 * len(texts))  # inches
    size = float(np.clip(130 / len(texts), 4.5, 8.5))  # points
    margin = 0.6 * size / 72 * max(map(len, texts))  # inches of the longest token
    drawing = Figure(figsize=(3 * side + margin + 0.2, side + margin + 0.45), layout="constrained")
    top, gap = max(target.max(), student.max()), np.abs(student - target)
    gap = gap / max(gap.max(), 1e-9)
    blue, orange = show.PALETTE[:2]
    more = (student > target)[..., None]
    maps = {
        "target: the teacher's": tint(target / top, blue),
        "student's": tint(student / top, blue),
        "student − target": np.where(more, tint(gap, orange), tint(gap, blue)),
    }
    for axes, (title, colours) in zip(drawing.subplots(1, 3, sharey=True), maps.items()):
        axes.imshow(colours, interpolation="none")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(texts)), texts, rotation=90, fontsize=size)
        axes.set_yticks(range(len(texts)), texts, fontsize=size)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set(visible=True, alpha=0.3)
    return drawing


def tint(share: np.ndarray, colour: str) -> np.ndarray:
    """A colour as opaque as each share, 0 … 1: RGBA, [..., 4]."""
    rgb = np.broadcast_to(to_rgb(colour), (*share.shape, 3))
    return np.concatenate([rgb, share[..., None]], axis=-1)


def describe(texts: list[str], target: np.ndarray, student: np.ndarray) -> str:
    """The maps in words: the strongest link of each, and the largest difference."""

    def strongest(attention) -> str:
        query, key = np.unravel_index(np.abs(attention).argmax(), attention.shape)
        return f"{texts[query]!r} to {texts[key]!r}, {attention[query, key]:.2f}"

    return (
        f"Strongest in the target: {strongest(target)}; in the student: {strongest(student)}; "
        f"difference: {strongest(student - target)}."
    )


def view(sentence: str, pair: models.Pair, layer: int, head: int, mapping: str) -> list[HTML]:
    """The maps of one layer and head of a student, both counted from 1, and a table of all layers.
    Raises InputError for a layer or head that does not exist."""
    tokenizer = models.get_tokenizer(pair.student)
    ids = models.encode(sentence, tokenizer)
    student, teacher = (models.run_model(model, ids).maps for model in (pair.student, pair.teacher))
    targets = target_layers(mapping, len(student), len(teacher))
    heads = student[1].shape[1]
    if layer not in student or not 1 <= head <= heads:
        raise InputError(
            f"layer = {layer}, head = {head}: the student has {len(student)} layers of {heads} "
            f"heads"
        )
    table = show.table(
        distances(student, teacher, targets),
        f"Mean squared error of every layer's attention under the mapping {mapping} "
        f"({MAPPINGS[mapping]}).",
        note="Means over all pairs of tokens, special tokens included, without dropout.",
    )
    if layer not in targets:
        problem = f"Layer {layer} has no target under the mapping {mapping}"
        return [HTML(message(f"{problem}: choose another layer or mapping.")), table]
    target = mean_map(teacher, targets[layer])[0, head - 1]
    own = student[layer][0, head - 1]
    layers = " and ".join(map(str, targets[layer]))
    caption = (
        f"Head {head} of layer {layer}, {models.name_of(pair.student)}. Target: the teacher's "
        f"layer{'s' * (len(targets[layer]) > 1)} {layers}. Rows look at columns, the stronger the "
        f"tint the more. Right: orange, the student looks more; blue, less. Mean squared error "
        f"{distance(own[None, None], target[None, None]):.2g}."
    )
    maps = models.tokens(ids, tokenizer), target.numpy(), own.numpy()
    return [show.figure(figure(*maps), caption, describe(*maps)), table]


def widget(outputs: Path | None = None, scale: str = "tiny"):
    """The view with controls: student, layer, head, mapping, sentence. A message if there is no
    model."""
    pairs = models.pairs(outputs, scale)
    if not pairs:
        return nothing_yet(models.NO_MODEL)
    pairs = sorted(pairs, key=lambda pair: "mapping" not in pair.parameters)  # trained to match
    options = [(pair.name, pair) for pair in pairs]
    student = control(widgets.Dropdown, "Student", "27rem", options=options)
    layer = control(widgets.IntSlider, "Layer", value=1, min=1, max=1)
    head = control(widgets.IntSlider, "Head", value=1, min=1, max=1)
    mapping = control(widgets.Dropdown, "Mapping", options=list(MAPPINGS))
    sentence = control(widgets.Text, "Sentence", "46rem", continuous_update=False)

    def choose_student() -> None:
        pair = student.value
        sentence.value = models.get_example(pair).whole
        ids = models.encode(sentence.value, models.get_tokenizer(pair.student))
        maps = models.run_model(pair.student, ids).maps
        layer.max, head.max = len(maps), maps[1].shape[1]
        mapping.value = pair.parameters.get("mapping", "uniform")

    def draw(student, layer, head, mapping, sentence):
        return view(sentence, student, layer, head, mapping)

    choose_student()
    controls = {"student": student, "layer": layer, "head": head}
    controls |= {"mapping": mapping, "sentence": sentence}
    rows = [[student, mapping], [layer, head], [sentence]]
    return live(draw, controls, rows, {"student": choose_student})
