"""Attention of teacher and student on one sentence, under a mapping of layers: what a hop of a
cascade compares."""

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML

from lib.common.errors import InputError
from lib.lab.models import NOTHING, Pair, name_of, pairs, reading, tokenizer
from lib.lab.sentences import encoded, example, tokens
from lib.lab.view import WIDE, View, live, said
from lib.report.page import show
from lib.training.losses import attention_loss
from lib.training.mappings import Targets, layer_mapping

MAPPINGS = ("adjacent", "uniform", "top", "skip")
ABOUT = {
    "adjacent": "means of neighbouring layers, as in CAMeMBERT",
    "uniform": "evenly spaced layers, as in TinyBERT and LightMBERT",
    "top": "the layer as far from the top",
    "skip": "evenly spaced, the last layer without a target, as in PKD-skip",
}


def matched(mapping: str, layers: int, teacher_layers: int) -> Targets:
    """Of each of the student's layers the teacher's whose mean is its target. Raises InputError
    where no such mapping is."""
    try:
        return layer_mapping(mapping, layers, teacher_layers)[1]
    except ValueError as error:
        raise InputError(f"mapping: {error}") from None


def mean_of(maps: dict[int, torch.Tensor], layers: list[int]) -> torch.Tensor:
    """The target that some layers of the teacher make, in fp32."""
    return torch.stack([maps[layer] for layer in layers]).float().mean(0)


def distance(student: torch.Tensor, target: torch.Tensor) -> float:
    """Mean squared error of attention maps [1, heads, tokens, tokens], mean over the heads given;
    004 eq. (4)."""
    with torch.inference_mode():
        return float(attention_loss(student, target)) / student.shape[-1] ** 2


def distances(
    ours: dict[int, torch.Tensor], theirs: dict[int, torch.Tensor], targets: Targets
) -> pd.DataFrame:
    """Of every layer of the student: the teacher's layers that are its target, and the mean squared
    error over all heads and of each head."""
    rows = {}
    for layer, maps in ours.items():
        if layer not in targets:
            rows[layer] = {"teacher's layers": "–", "all heads": "–"}
            continue
        target = mean_of(theirs, targets[layer])
        heads = [distance(maps[:, [head]], target[:, [head]]) for head in range(maps.shape[1])]
        rows[layer] = {
            "teacher's layers": " + ".join(map(str, targets[layer])),
            "all heads": f"{np.mean(heads):.2g}",
            **{f"head {head}": f"{value:.2g}" for head, value in enumerate(heads, 1)},
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("layer")


def figure(shown: list[str], target: np.ndarray, student: np.ndarray):
    """Three maps [tokens, tokens] beside each other: the target, the student's, and where the
    student's is more or less."""
    from matplotlib.figure import Figure

    side, size = (
        min(3.6, 1.3 + 0.13 * len(shown)),
        float(np.clip(130 / len(shown), 4.5, 8.5)),
    )  # inches, points
    names = 0.6 * size / 72 * max(map(len, shown))  # inches of the longest
    drawn = Figure(figsize=(3 * side + names + 0.2, side + names + 0.45), layout="constrained")
    top, apart = max(target.max(), student.max()), np.abs(student - target)
    maps = {
        "target: the teacher's": _tinted(target / top, show.PALETTE[0]),
        "student's": _tinted(student / top, show.PALETTE[0]),
        "student − target": np.where(
            (student > target)[..., None],
            _tinted(apart / max(apart.max(), 1e-9), show.PALETTE[1]),
            _tinted(apart / max(apart.max(), 1e-9), show.PALETTE[0]),
        ),
    }
    for axes, (title, colours) in zip(drawn.subplots(1, 3, sharey=True), maps.items()):
        axes.imshow(colours, interpolation="none")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=size)
        axes.set_yticks(range(len(shown)), shown, fontsize=size)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set(visible=True, alpha=0.3)
    return drawn


def _tinted(share: np.ndarray, colour: str) -> np.ndarray:
    """A colour as strong as each share, 0 … 1: [..., 4]."""
    from matplotlib.colors import to_rgb

    return np.concatenate(
        [np.broadcast_to(to_rgb(colour), (*share.shape, 3)), share[..., None]], axis=-1
    )


def described(shown: list[str], target: np.ndarray, student: np.ndarray) -> str:
    """The maps in words: the strongest link of each, and where they are furthest apart."""

    def strongest(map_) -> str:
        query, key = np.unravel_index(np.abs(map_).argmax(), map_.shape)
        return f"{shown[query]!r} to {shown[key]!r}, {map_[query, key]:+.2f}".replace("+", "")

    return (
        f"Strongest in the target: {strongest(target)}; in the student: {strongest(student)}; "
        f"difference: "
        f"{strongest(student - target)}."
    )


def view(sentence: str, pair: Pair, layer: int, head: int, mapping: str) -> list[HTML]:
    """The static view of one layer and head of a student, both counted from 1. Raises InputError
    for a layer without target."""
    words = tokenizer(pair.student)
    ids = encoded(sentence, words)
    shown, ours, theirs = (
        tokens(ids, words),
        reading(pair.student, ids).maps,
        reading(pair.teacher, ids).maps,
    )
    targets = matched(mapping, len(ours), len(theirs))
    if layer not in ours or not 1 <= head <= ours[layer].shape[1]:
        raise InputError(
            f"layer = {layer}, head = {head}: the student has {len(ours)} layers of "
            f"{ours[1].shape[1]} heads"
        )
    table = show.table(
        distances(ours, theirs, targets),
        f"Mean squared error of every layer's attention under the mapping {mapping} "
        f"({ABOUT[mapping]}).",
        note="Means over all pairs of tokens, special tokens included, without dropout.",
    )
    if layer not in targets:
        return [
            HTML(
                said(
                    f"Layer {layer} has no target under the mapping {mapping}: choose another "
                    f"layer or mapping."
                )
            ),
            table,
        ]
    target, own = mean_of(theirs, targets[layer])[:, [head - 1]], ours[layer][:, [head - 1]]
    layers = " and ".join(map(str, targets[layer]))
    caption = (
        f"Head {head} of layer {layer}, {name_of(pair.student)}. Target: the teacher's "
        f"layer{'s' * (len(targets[layer]) > 1)} "
        f"{layers}. Rows look at columns, the stronger the tint the more. Right: orange, the "
        f"student looks more; blue, less. "
        f"Mean squared error {distance(own, target):.2g}."
    )
    maps = target[0, 0].numpy(), own[0, 0].numpy()
    return [show.figure(figure(shown, *maps), caption, described(shown, *maps)), table]


def widget(found: list[Pair] | None = None, scale: str = "tiny") -> View:
    """The view with its controls: student, layer, head, mapping, sentence; or the line that says
    what to run first."""
    found = pairs(scale=scale) if found is None else found
    if not found:
        return show.prose(NOTHING)
    found = sorted(
        found, key=lambda pair: "mapping" not in pair.parameters
    )  # first those that were trained to match maps
    of = {pair.student: pair for pair in found}
    student = widgets.Dropdown(
        options=[(pair.name, pair.student) for pair in found],
        description="Student",
        style=WIDE,
        layout={"width": "27rem"},
    )
    layer, head = (
        widgets.IntSlider(value=1, min=1, max=1, description=name, style=WIDE)
        for name in ("Layer", "Head")
    )
    mapping = widgets.Dropdown(options=MAPPINGS, description="Mapping", style=WIDE)
    sentence = widgets.Text(
        description="Sentence", continuous_update=False, style=WIDE, layout={"width": "46rem"}
    )

    def chosen() -> None:
        pair = of[student.value]
        sentence.value = example(pair).whole
        maps = reading(pair.student, encoded(sentence.value, tokenizer(pair.student))).maps
        layer.max, head.max = len(maps), maps[1].shape[1]
        mapping.value = pair.parameters.get("mapping", "uniform")

    def draw(student, layer, head, mapping, sentence):
        return view(sentence, of[student], layer, head, mapping)

    chosen()
    return live(
        draw,
        {
            "student": student,
            "layer": layer,
            "head": head,
            "mapping": mapping,
            "sentence": sentence,
        },
        [[student, mapping], [layer, head], [sentence]],
        {"student": chosen},
    )
