"""The losses of distillation at one hidden word: how temperature and weights move the soft targets,
each loss and their sum."""

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML

from lib.common.errors import InputError
from lib.lab.models import NOTHING, Pair, Reading, pairs, reading, tokenizer
from lib.lab.sentences import MASK, encoded, example, tokens
from lib.lab.view import WIDE, View, live, offer
from lib.report.page import show
from lib.training.losses import cosine_loss, mlm_loss, soft_target_loss

TEMPERATURES = np.arange(0.5, 10.01, 0.25)
NAMES = {"soft": "soft targets", "mlm": "hidden word (MLM)", "cosine": "cosine"}
MOST = 7  # tokens with a bar of their own
NOTE = (
    "At this one position; a training step takes means over many. Soft targets: T² · KL(teacher ‖ "
    "student). Hidden word: "
    "−log of the student's probability of what stood there, at T = 1. Cosine: 1 − cos of the last "
    "hidden states."
)


def soft_targets(logits: torch.Tensor, temperature: float) -> np.ndarray:
    """σ(z / T): the distribution over the vocabulary that logits [vocabulary] become at a
    temperature."""
    return (logits.float() / temperature).softmax(-1).numpy()


def losses(
    student: Reading, teacher: Reading, place: int, label: int, temperature: float
) -> dict[str, float]:
    """The three losses of lib.training.losses at one position whose token is `label`, none of them
    weighted; nats, the cosine 0 … 2."""
    ours, theirs = (part[[place]] for part in (student.logits, teacher.logits))
    with torch.inference_mode():
        return {
            "soft": float(soft_target_loss(ours, theirs, temperature)),
            "mlm": float(mlm_loss(ours, torch.tensor([label]))),
            "cosine": float(cosine_loss(student.hidden[[place]], teacher.hidden[[place]])),
        }


def table(values: dict[str, float], weights: dict[str, float]) -> pd.DataFrame:
    """Each loss, its weight, and their product; the last row is the sum, what training
    minimises."""
    rows = {
        title: {
            "loss": f"{values[name]:.3f}",
            "weight": f"{weights[name]:g}",
            "weighted": f"{weights[name] * values[name]:.3f}",
        }
        for name, title in NAMES.items()
    }
    rows["total"] = {"loss": "", "weight": "", "weighted": f"{total(values, weights):.3f}"}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("component")


def total(values: dict[str, float], weights: dict[str, float]) -> float:
    """What training minimises: the weighted sum."""
    return sum(weights[name] * values[name] for name in NAMES)


def over_temperatures(student: torch.Tensor, teacher: torch.Tensor) -> pd.DataFrame:
    """The soft-target loss of one position, with and without the factor T², at TEMPERATURES; logits
    [vocabulary]."""
    with torch.inference_mode():
        found = [
            float(soft_target_loss(student[None], teacher[None], float(T))) for T in TEMPERATURES
        ]
    return pd.DataFrame(
        {"T² · KL": found, "KL": found / TEMPERATURES**2}, index=pd.Index(TEMPERATURES, name="T")
    )


def bars(
    words, student: torch.Tensor, teacher: torch.Tensor, label: int, temperature: float
) -> pd.DataFrame:
    """Soft targets in percent of the teacher's likeliest tokens and of the true one, last of all
    others together; columns teacher, student. Which tokens these are does not depend on the
    temperature."""
    chosen = teacher.topk(MOST).indices.tolist()
    chosen = chosen if label in chosen else [*chosen[:-1], label]
    ours = {
        "teacher": soft_targets(teacher, temperature),
        "student": soft_targets(student, temperature),
    }
    frame = pd.DataFrame({name: 100 * found[chosen] for name, found in ours.items()})
    frame.index = [
        f"{word} ✓" if index == label else word
        for index, word in zip(chosen, tokens(chosen, words))
    ]
    others = pd.DataFrame(100 - frame.sum(), columns=[f"{len(teacher) - len(chosen):,} others"]).T
    return pd.concat([frame, others])


def figure(
    found: pd.DataFrame, curves: pd.DataFrame, temperature: float, weighted: dict[str, float]
):
    """Left the soft targets, right the soft-target loss against the temperature, below the weighted
    losses end to end."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9.2, 4.3), layout="constrained")
    axes = drawn.subplot_mosaic(
        [["targets", "curve"], ["sum", "sum"]], width_ratios=[1.25, 1], height_ratios=[5, 1]
    )
    for shift, (name, colour) in enumerate(zip(("teacher", "student"), show.PALETTE)):
        rows = np.arange(len(found)) + 0.4 * shift - 0.2
        axes["targets"].barh(rows, found[name], height=0.38, color=colour, label=name)
        for row, value in zip(rows, found[name]):
            axes["targets"].text(value + 1, row, f"{value:.1f}", va="center", fontsize=7)
    axes["targets"].set_yticks(range(len(found)), found.index)
    axes["targets"].set(
        xlim=(0, 112),
        ylim=(len(found) - 0.4, -0.6),
        title=f"soft targets at T = {temperature:g}, percent",
    )
    axes["targets"].legend(
        loc="center right"
    )  # where neither the likeliest token nor the others reach
    axes["targets"].grid(False)
    for column, line in zip(curves, ("-", "--")):
        axes["curve"].plot(curves.index, curves[column], line, color=show.PALETTE[2], label=column)
        axes["curve"].plot(
            temperature,
            np.interp(temperature, curves.index, curves[column]),
            "o",
            color=show.PALETTE[2],
        )
    axes["curve"].axvline(temperature, lw=0.8, ls=":", color="#010203")
    axes["curve"].set(title="soft-target loss, nats", xlabel="temperature T", ylim=(0, None))
    axes["curve"].legend(loc="best")
    _end_to_end(axes["sum"], weighted)
    return drawn


def _end_to_end(axes, weighted: dict[str, float]) -> None:
    left = 0.0
    for colour, (name, value) in zip(show.PALETTE[2:], weighted.items()):
        axes.barh(0, value, left=left, color=colour, height=0.7, label=f"{NAMES[name]} {value:.3f}")
        left += value
    # An end that stands still while the total moves a little.
    end = next(
        (
            end
            for power in range(-1, 4)
            for end in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
            if end >= left
        ),
        left,
    )
    axes.set_title(f"total {left:.3f}")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(weighted), borderaxespad=0)
    axes.set(ylim=(0.4, -0.5), xlim=(0, end), yticks=[])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)


def view(
    sentence: str, pair: Pair, place: int, temperature: float, weights: dict[str, float]
) -> list[HTML]:
    """The static view for a sentence whose token number `place`, from 1, is hidden from both.
    Raises InputError."""
    words = tokenizer(pair.student)
    ids = encoded(sentence, words)
    if words.mask_token_id in ids or not 1 <= place <= len(ids) - 2:
        raise InputError(
            f"hidden word = {place}: a sentence without {MASK}, of which a word 1 … "
            f"{len(ids) - 2} is hidden"
        )
    label, hidden = ids[place], [*ids[:place], words.mask_token_id, *ids[place + 1 :]]
    student, teacher = reading(pair.student, hidden), reading(pair.teacher, hidden)
    values = losses(student, teacher, place, label, temperature)
    found = bars(words, student.logits[place], teacher.logits[place], label, temperature)
    curves = over_temperatures(student.logits[place], teacher.logits[place])
    drawn = figure(
        found, curves, temperature, {name: weights[name] * values[name] for name in NAMES}
    )
    text = " ".join(
        [
            *tokens(ids[1:place], words),
            f"[{tokens([label], words)[0]}]",
            *tokens(ids[place + 1 : -1], words),
        ]
    )
    caption = (
        f"Soft targets of teacher and student for the hidden word of “{text}” (✓), and "
        f"their loss against the temperature."
    )
    alt = "; ".join(
        f"{word}: teacher {row.teacher:.1f} %, student {row.student:.1f} %"
        for word, row in found.iterrows()
    )
    return [
        show.figure(drawn, caption, alt),
        show.table(table(values, weights), f"The losses at T = {temperature:g}.", note=NOTE),
    ]


def own_weights(pair: Pair) -> dict[str, float]:
    """The weights the student was trained with; where none of the three had one, all the same."""
    own = {name: float(pair.parameters.get(f"weight_{name}") or 0) for name in NAMES}
    return own if own["mlm"] or own["cosine"] else dict.fromkeys(NAMES, 1.0)


def widget(found: list[Pair] | None = None, scale: str = "tiny") -> View:
    """The view with its controls: student, sentence, hidden word, temperature, weights; or what to
    run first."""
    found = pairs(scale=scale) if found is None else found
    if not found:
        return show.prose(NOTHING)
    found = sorted(found, key=lambda pair: -float(pair.parameters.get("weight_soft") or 0))
    of = {pair.student: pair for pair in found}
    student = widgets.Dropdown(
        options=[(pair.name, pair.student) for pair in found],
        description="Student",
        style=WIDE,
        layout={"width": "27rem"},
    )
    sentence = widgets.Text(
        description="Sentence", continuous_update=False, style=WIDE, layout={"width": "46rem"}
    )
    place = widgets.Dropdown(description="Hidden word", style=WIDE)
    temperature = widgets.FloatSlider(
        value=2,
        min=0.5,
        max=10,
        step=0.25,
        description="Temperature",
        style=WIDE,
        layout={"width": "27rem"},
    )
    weights = {
        name: widgets.FloatSlider(
            value=1,
            min=0,
            max=10,
            step=0.1,
            description=f"Weight: {title}",
            style=WIDE,
            layout={"width": "27rem"},
        )
        for name, title in NAMES.items()
    }

    def typed() -> None:
        words = tokenizer(student.value)
        shown = tokens(encoded(sentence.value, words), words)[1:-1]
        offer(place, [(f"{number} {word}", number) for number, word in enumerate(shown, 1)])

    def chosen() -> None:
        pair = of[student.value]
        given = example(pair)
        sentence.value = given.whole
        typed()
        place.value = min(given.place, len(place.options))
        temperature.value = pair.parameters.get("temperature", 2.0)
        for name, weight in own_weights(pair).items():
            weights[name].value = weight

    def draw(student, sentence, place, temperature, **weights):
        return view(sentence, of[student], place, temperature, weights)

    chosen()
    controls = {
        "student": student,
        "sentence": sentence,
        "place": place,
        "temperature": temperature,
        **weights,
    }
    return live(
        draw,
        controls,
        [
            [student, place],
            [sentence],
            [temperature, weights["soft"]],
            [weights["mlm"], weights["cosine"]],
        ],
        {"student": chosen, "sentence": typed},
    )
