"""Teacher and students on one sentence: their guesses for a blank, and how far each student is from
its teacher, token by token."""

from itertools import count
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure

from lib.common.hub import ModelRef
from lib.lab import models
from lib.lab.view import control, live, nothing_yet
from lib.report.page import show
from lib.training.losses import soft_target_loss

CAPTION = (
    "Distance of each student from its teacher, KL(teacher ‖ student) in nats, at every token; the "
    "stronger the tint, the further. Bars: mean over the tokens shown."
)
MOST = 15
"""The largest number of guesses."""


def divergences(teacher: torch.Tensor, student: torch.Tensor) -> np.ndarray:
    """KL(teacher ‖ student) at every position, in nats: the soft-target loss at T = 1. Logits
    [positions, vocabulary]."""
    rows = zip(student.split(1), teacher.split(1))
    with torch.inference_mode():
        return np.array([float(soft_target_loss(s, t, temperature=1.0)) for s, t in rows])


def guesses(logits: dict[str, torch.Tensor], tokenizer, top: int) -> pd.DataFrame:
    """The `top` most probable tokens of each model at one position, with probabilities in percent.
    `logits`: name -> [vocabulary]."""
    columns = {}
    for name, row in logits.items():
        probabilities, ids = row.softmax(-1).topk(top)
        columns[name, "token"] = models.tokens(ids.tolist(), tokenizer)
        columns[name, "%"] = [f"{100 * float(p):.1f}" for p in probabilities]
    return pd.DataFrame(columns, index=pd.RangeIndex(1, 1 + top, name="rank"))


def figure(texts: list[str], distances: dict[str, np.ndarray]) -> Figure:
    """A row of tinted numbers for each student, a column a token, and bars for the means."""
    names, width, bar_width = list(distances), max(0.44 * len(texts), 3.0), 1.5
    size = (width + bar_width + 1.6, 0.95 + 0.34 * len(names))
    drawing = Figure(figsize=size, layout="constrained")
    strip, bars = drawing.subplots(1, 2, width_ratios=[width, bar_width], sharey=True)
    means = {name: row.mean() for name, row in distances.items()}
    top = max(1e-9, *(row.max() for row in distances.values()))
    colour = show.PALETTE[1]
    for y, name in enumerate(names):
        for x, value in enumerate(distances[name]):
            tint = 0.04 + 0.6 * value / top
            strip.barh(y, 0.94, left=x - 0.47, height=0.86, color=colour, alpha=tint)
            strip.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7.5)
        bars.barh(y, means[name], height=0.6, color=colour, alpha=0.64)
        at = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        bars.annotate(f"{means[name]:.3f}", (means[name], y), fontsize=8, **at)
    strip.set_xticks(range(len(texts)), texts, rotation=40, ha="right", fontsize=8.5)
    strip.set_yticks(range(len(names)), names)
    strip.set(xlim=(-0.5, len(texts) - 0.5), ylim=(len(names) - 0.5, -0.5))
    bars.set(xlim=(0, 1.5 * max(1e-9, *means.values())), xticks=[])
    bars.set_title("mean, nats", fontsize=8.5)
    for axes in (strip, bars):
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return drawing


def describe(texts: list[str], distances: dict[str, np.ndarray]) -> str:
    """The figure in words: each student's mean, and where it is furthest from its teacher."""
    return "; ".join(
        f"{name}: mean {row.mean():.3f} nats, furthest at {texts[int(row.argmax())]!r} with "
        f"{row.max():.2f}"
        for name, row in distances.items()
    )


def view(
    sentence: str,
    teacher: ModelRef,
    students: dict[str, ModelRef],
    top: int = 5,
    hidden: str = "",
) -> list[HTML]:
    """A table of guesses for every blank of the sentence, then a figure of the distances.

    `hidden`: the word that stood in the blank, if known. Raises InputError for a sentence without
    words.
    """
    tokenizer = models.get_tokenizer(next(iter(students.values()), teacher))
    ids = models.encode(sentence, tokenizer)
    logits = {name: models.run_model(model, ids).logits for name, model in students.items()}
    teacher_logits = models.run_model(teacher, ids).logits
    blanks = [place for place, id_ in enumerate(ids) if id_ == tokenizer.mask_token_id]
    note = f"Here stood: {hidden}" if hidden and len(blanks) == 1 else ""
    parts = []
    for number, place in enumerate(blanks[:3], 1):
        blank = f"blank {number} of {len(blanks)}" if len(blanks) > 1 else "the blank"
        caption = f"What each model would put into {blank} of “{sentence.strip()}”."
        by_model = {"teacher": teacher_logits, **logits}
        at_blank = {name: rows[place] for name, rows in by_model.items()}
        parts.append(show.table(guesses(at_blank, tokenizer, top), caption, note=note))
    if students:
        texts = models.tokens(ids, tokenizer)[1:-1]
        distances = {
            name: divergences(teacher_logits[1:-1], rows[1:-1]) for name, rows in logits.items()
        }
        caption = CAPTION
        if not blanks:
            caption += (
                f" The sentence has no {models.MASK}: write one to see what would be put there."
            )
        parts.append(show.figure(figure(texts, distances), caption, describe(texts, distances)))
    return parts


def widget(outputs: Path | None = None, scale: str = "tiny", guesses: int = 5):
    """The view with controls: teacher, students, sentence, number of guesses. A message if there is
    no model."""
    pairs = models.pairs(outputs, scale)
    if not pairs:
        return nothing_yet(models.NO_MODEL)
    roots = dict.fromkeys(pair.root for pair in pairs)
    teacher = control(
        widgets.Dropdown, "Teacher", options=[(models.name_of(root), root) for root in roots]
    )
    students = control(widgets.SelectMultiple, "Students", "22rem", rows=6)
    sentence = control(widgets.Text, "Sentence", "46rem", continuous_update=False)
    top = control(
        widgets.IntSlider, "Guesses", value=guesses, min=1, max=MOST, continuous_update=False
    )
    another = widgets.Button(
        description="Another sentence", tooltip="from the text held out of the students' corpus"
    )
    numbers, hidden_words = count(), {}

    def names() -> dict[str, models.Pair]:
        return models.short_names([pair for pair in pairs if pair.root == teacher.value])

    def next_sentence(*_) -> None:
        example = models.get_example(next(iter(names().values())), next(numbers))
        hidden_words[example.masked] = example.hidden
        sentence.value = example.masked

    def choose_teacher() -> None:
        students.options = list(names().items())
        next_sentence()
        students.value = list(names().values())[:3]

    def draw(teacher, students, sentence, top):
        chosen = {name: pair.student for name, pair in names().items() if pair in students}
        return view(sentence, teacher, chosen, top, hidden_words.get(sentence, ""))

    choose_teacher()
    another.on_click(next_sentence)
    controls = {"teacher": teacher, "students": students, "sentence": sentence, "top": top}
    rows = [[teacher, top], [students], [sentence, another]]
    return live(draw, controls, rows, {"teacher": choose_teacher})
