"""The losses of distillation at one hidden word: how temperature and weights change the soft
targets, each loss and their sum."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure

from lib.common.errors import InputError
from lib.lab import models
from lib.lab.view import control, live, nothing_yet, offer
from lib.report.page import show
from lib.training.losses import cosine_loss, mlm_loss, soft_target_loss
from lib.training.parameters import LOSSES, loss_weights

TEMPERATURES = np.arange(0.5, 10.01, 0.25)
NAMES = {name: LOSSES[name].title for name in ("soft", "mlm", "cosine")}
MOST = 7  # tokens with a bar of their own
NOTE = (
    "At this one position; a training step takes means over many. Soft targets: T² · KL(teacher ‖ "
    "student). MLM: −log of the student's probability of what stood there, at T = 1. "
    "Cosine: 1 − cos of the last hidden states."
)


def soft_targets(logits: torch.Tensor, temperature: float) -> np.ndarray:
    """σ(z / T), [vocabulary]."""
    return (logits.float() / temperature).softmax(-1).numpy()


def losses(
    student: models.Outputs, teacher: models.Outputs, place: int, label: int, temperature: float
) -> dict[str, float]:
    """The three losses of lib.training.losses at one position whose token is `label`, unweighted;
    nats, the cosine 0 … 2."""
    s, t = student.logits[[place]], teacher.logits[[place]]
    with torch.inference_mode():
        return {
            "soft": float(soft_target_loss(s, t, temperature)),
            "mlm": float(mlm_loss(s, torch.tensor([label]))),
            "cosine": float(cosine_loss(student.hidden[[place]], teacher.hidden[[place]])),
        }


def weighted(values: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
    """Each loss times its weight; training minimises the sum."""
    return {name: weights[name] * values[name] for name in NAMES}


def table(values: dict[str, float], weights: dict[str, float]) -> pd.DataFrame:
    """Each loss, its weight, and their product; the last row is the sum."""
    products = weighted(values, weights)
    rows = [
        (f"{values[name]:.3f}", f"{weights[name]:g}", f"{products[name]:.3f}") for name in NAMES
    ]
    rows.append(("", "", f"{sum(products.values()):.3f}"))
    index = pd.Index([*NAMES.values(), "total"], name="component")
    return pd.DataFrame(rows, index, columns=["loss", "weight", "weighted"])


def over_temperatures(student: torch.Tensor, teacher: torch.Tensor) -> pd.DataFrame:
    """The soft-target loss of one position at TEMPERATURES, with and without the factor T²; logits
    [vocabulary]."""
    s, t = student[None], teacher[None]
    with torch.inference_mode():
        values = [float(soft_target_loss(s, t, float(T))) for T in TEMPERATURES]
    index = pd.Index(TEMPERATURES, name="T")
    return pd.DataFrame({"T² · KL": values, "KL": values / TEMPERATURES**2}, index)


def bars(
    tokenizer, student: torch.Tensor, teacher: torch.Tensor, label: int, temperature: float
) -> pd.DataFrame:
    """Soft targets in percent, columns teacher and student: of the teacher's most probable tokens,
    of the true one, and of all others together. The tokens do not depend on the temperature."""
    ids = teacher.topk(MOST).indices.tolist()
    if label not in ids:
        ids[-1] = label
    logits = {"teacher": teacher, "student": student}
    frame = pd.DataFrame({n: 100 * soft_targets(z, temperature)[ids] for n, z in logits.items()})
    names = models.tokens(ids, tokenizer)
    frame.index = [f"{name} ✓" if id_ == label else name for id_, name in zip(ids, names)]
    frame.loc[f"{len(teacher) - len(ids):,} others"] = 100 - frame.sum()
    return frame


def figure(
    targets: pd.DataFrame, curves: pd.DataFrame, temperature: float, parts: dict[str, float]
) -> Figure:
    """Left the soft targets, right the soft-target loss against the temperature, below the weighted
    losses end to end."""
    drawing = Figure(figsize=(9.2, 4.3), layout="constrained")
    axes = drawing.subplot_mosaic(
        [["targets", "curve"], ["sum", "sum"]], width_ratios=[1.25, 1], height_ratios=[5, 1]
    )
    _draw_targets(axes["targets"], targets, temperature)
    _draw_curves(axes["curve"], curves, temperature)
    _draw_sum(axes["sum"], parts)
    return drawing


def _draw_targets(ax, targets: pd.DataFrame, temperature: float) -> None:
    for shift, (name, colour) in enumerate(zip(targets, show.PALETTE)):
        rows = np.arange(len(targets)) + 0.4 * shift - 0.2
        ax.barh(rows, targets[name], height=0.38, color=colour, label=name)
        for row, value in zip(rows, targets[name]):
            ax.text(value + 1, row, f"{value:.1f}", va="center", fontsize=7)
    ax.set_yticks(range(len(targets)), targets.index)
    ax.set_title(f"soft targets at T = {temperature:g}, percent")
    ax.set(xlim=(0, 112), ylim=(len(targets) - 0.4, -0.6))
    ax.legend(loc="center right")  # neither the first bar nor the last reaches there
    ax.grid(False)


def _draw_curves(ax, curves: pd.DataFrame, temperature: float) -> None:
    colour = show.PALETTE[2]
    for column, line in zip(curves, ("-", "--")):
        ax.plot(curves.index, curves[column], line, color=colour, label=column)
        here = np.interp(temperature, curves.index, curves[column])
        ax.plot(temperature, here, "o", color=colour)
    ax.axvline(temperature, lw=0.8, ls=":", color=show.INK)
    ax.set(title="soft-target loss, nats", xlabel="temperature T", ylim=(0, None))
    ax.legend(loc="best")


def _draw_sum(ax, parts: dict[str, float]) -> None:
    left = 0.0
    for colour, (name, value) in zip(show.PALETTE[2:], parts.items()):
        ax.barh(0, value, left=left, color=colour, height=0.7, label=f"{NAMES[name]} {value:.3f}")
        left += value
    # The axis ends at 1, 2 or 5 times a power of 10, so that it stays put while the total moves.
    ends = [step * 10.0**power for power in range(-1, 4) for step in (1, 2, 5)]
    end = next((end for end in ends if end >= left), left)
    ax.set_title(f"total {left:.3f}")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(parts), borderaxespad=0)
    ax.set(ylim=(0.4, -0.5), xlim=(0, end), yticks=[])
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)


def view(
    sentence: str, pair: models.Pair, place: int, temperature: float, weights: dict[str, float]
) -> list[HTML]:
    """Figure and table of the losses for a sentence whose token number `place`, from 1, is hidden
    from both models. Raises InputError."""
    tokenizer = models.get_tokenizer(pair.student)
    ids = models.encode(sentence, tokenizer)
    if tokenizer.mask_token_id in ids or not 1 <= place <= len(ids) - 2:
        raise InputError(
            f"hidden word = {place}: type a sentence without {models.MASK}, and hide a word 1 … "
            f"{len(ids) - 2} of it"
        )
    label, masked = ids[place], [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]
    student, teacher = (
        models.run_model(pair.student, masked),
        models.run_model(pair.teacher, masked),
    )
    logits = student.logits[place], teacher.logits[place]
    values = losses(student, teacher, place, label, temperature)
    targets = bars(tokenizer, *logits, label, temperature)
    parts = weighted(values, weights)
    drawing = figure(targets, over_temperatures(*logits), temperature, parts)
    words = models.tokens(ids, tokenizer)
    words[place] = f"[{words[place]}]"
    caption = (
        f"Soft targets of teacher and student for the hidden word of “{' '.join(words[1:-1])}” "
        f"(✓), and their loss against the temperature."
    )
    alt = "; ".join(
        f"{word}: teacher {row.teacher:.1f} %, student {row.student:.1f} %"
        for word, row in targets.iterrows()
    )
    losses_table = table(values, weights)
    return [
        show.figure(drawing, caption, alt),
        show.table(losses_table, f"The losses at T = {temperature:g}.", note=NOTE),
    ]


def own_weights(pair: models.Pair) -> dict[str, float]:
    """The weights that the student was trained with; all 1 if it had neither MLM nor cosine."""
    weights = loss_weights(pair.parameters)
    own = {name: float(weights.get(name) or 0) for name in NAMES}
    return own if own["mlm"] or own["cosine"] else dict.fromkeys(NAMES, 1.0)


def widget(outputs: Path | None = None, scale: str = "tiny"):
    """The view with controls: student, sentence, hidden word, temperature, weights. A message if
    there is no model."""
    pairs = models.pairs(outputs, scale)
    if not pairs:
        return nothing_yet(models.NO_MODEL)
    pairs = sorted(pairs, key=lambda pair: -float(pair.parameters.get("weight_soft") or 0))
    options = [(pair.name, pair) for pair in pairs]
    student = control(widgets.Dropdown, "Student", "27rem", options=options)
    sentence = control(widgets.Text, "Sentence", "46rem", continuous_update=False)
    place = control(widgets.Dropdown, "Hidden word")
    settings = {"value": 2, "min": 0.5, "max": 10, "step": 0.25}
    temperature = control(widgets.FloatSlider, "Temperature", "27rem", **settings)
    settings = {"value": 1, "min": 0, "max": 10, "step": 0.1}
    weights = {
        name: control(widgets.FloatSlider, f"Weight: {title}", "27rem", **settings)
        for name, title in NAMES.items()
    }

    def list_words() -> None:
        tokenizer = models.get_tokenizer(student.value.student)
        words = models.tokens(models.encode(sentence.value, tokenizer), tokenizer)[1:-1]
        offer(place, [(f"{number} {word}", number) for number, word in enumerate(words, 1)])

    def choose_student() -> None:
        pair = student.value
        example = models.get_example(pair)
        sentence.value = example.whole
        list_words()
        place.value = min(example.place, len(place.options))
        temperature.value = pair.parameters.get("temperature", 2.0)
        for name, weight in own_weights(pair).items():
            weights[name].value = weight

    def draw(student, sentence, place, temperature, **weights):
        return view(sentence, student, place, temperature, weights)

    choose_student()
    controls = {"student": student, "sentence": sentence, "place": place}
    controls |= {"temperature": temperature, **weights}
    rows = [[student, place], [sentence], [temperature, weights["soft"]]]
    rows.append([weights["mlm"], weights["cosine"]])
    return live(draw, controls, rows, {"student": choose_student, "sentence": list_words})
