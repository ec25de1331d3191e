"""Teacher and students on one sentence: what each would put into a blank, and how far apart they
are, token by token."""

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML

from lib.lab.models import NOTHING, Pair, name_of, pairs, reading, tokenizer
from lib.lab.sentences import MASK, encoded, example, tokens
from lib.lab.view import WIDE, View, live
from lib.report.page import show
from lib.training.losses import soft_target_loss

CAPTION = (
    "Distance of each student from its teacher, KL(teacher ‖ student) in nats, at every token; "
    "the stronger the tint, the further. "
    "Bars: mean over the tokens shown."
)


def divergences(teacher: torch.Tensor, student: torch.Tensor) -> np.ndarray:
    """KL(teacher ‖ student) at every position, in nats: the soft-target loss at T = 1. Logits
    [positions, vocabulary]."""
    rows = zip(student.split(1), teacher.split(1))
    with torch.inference_mode():
        return np.array(
            [float(soft_target_loss(ours, theirs, temperature=1.0)) for ours, theirs in rows]
        )


def guesses(logits: dict[str, torch.Tensor], words, top: int) -> pd.DataFrame:
    """The `top` most probable tokens by model at one position, with probabilities in percent.
    `logits`: name -> [vocabulary]; `words`: the tokenizer."""
    columns = {}
    for name, row in logits.items():
        chances, found = row.softmax(-1).topk(min(top, len(row)))
        columns[name, "token"] = tokens(found.tolist(), words)
        columns[name, "%"] = [f"{100 * float(chance):.1f}" for chance in chances]
    rank = pd.RangeIndex(1, 1 + min(top, len(row)), name="rank")
    return pd.DataFrame(columns, index=rank)


def figure(shown: list[str], distances: dict[str, np.ndarray]):
    """A row of tinted numbers for each student, a column a token, and bars for the means."""
    from matplotlib.figure import Figure

    names, cells, mean = list(distances), max(0.44 * len(shown), 3.0), 1.5
    drawn = Figure(figsize=(cells + mean + 1.6, 0.95 + 0.34 * len(names)), layout="constrained")
    strip, bars = drawn.subplots(1, 2, width_ratios=[cells, mean], sharey=True)
    top = max(1e-9, *(row.max() for row in distances.values()))
    for y, name in enumerate(names):
        for x, value in enumerate(distances[name]):
            strip.barh(
                y,
                0.94,
                left=x - 0.47,
                height=0.86,
                color=show.PALETTE[1],
                alpha=0.04 + 0.6 * value / top,
            )
            strip.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7.5)
        bars.barh(y, distances[name].mean(), height=0.6, color=show.PALETTE[1], alpha=0.64)
        mean = distances[name].mean()
        bars.annotate(
            f"{mean:.3f}", (mean, y), (4, 0), textcoords="offset points", va="center", fontsize=8
        )

    strip.set_xticks(range(len(shown)), shown, rotation=40, ha="right", fontsize=8.5)
    strip.set_yticks(range(len(names)), names)
    strip.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(names) - 0.5, -0.5))
    bars.set_xlim(0, 1.5 * max(1e-9, *(row.mean() for row in distances.values())))
    bars.set_xticks([])
    bars.set_title("mean, nats", fontsize=8.5)
    for axes in (strip, bars):
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return drawn


def described(shown: list[str], distances: dict[str, np.ndarray]) -> str:
    """The figure in words: of each student the mean, and where it is furthest from its teacher."""
    said = [
        f"{name}: mean {row.mean():.3f} nats, furthest at {shown[int(row.argmax())]!r} with "
        f"{row.max():.2f}"
        for name, row in distances.items()
    ]
    return "; ".join(said)


MOST = 15
"""Guesses that are shown at most."""


def view(
    sentence: str, teacher: str, students: dict[str, str], top: int = 5, hidden: str = ""
) -> list[HTML]:
    """The static view: a table of guesses for every blank, then the distances. `students`: name ->
    folder; `hidden`: what stood in the blank, if that is known. Raises InputError for a sentence
    without words."""
    words = tokenizer(next(iter(students.values()), teacher))
    ids = encoded(sentence, words)
    shown, theirs = tokens(ids, words)[1:-1], reading(teacher, ids).logits
    ours = {name: reading(place, ids).logits for name, place in students.items()}
    blanks = [place for place, index in enumerate(ids) if index == words.mask_token_id]
    parts = []
    for number, place in enumerate(blanks[:3], 1):
        which = f"blank {number} of {len(blanks)}" if len(blanks) > 1 else "the blank"
        note = f"Here stood: {hidden}" if hidden and len(blanks) == 1 else ""
        columns = {
            "teacher": theirs[place],
            **{name: logits[place] for name, logits in ours.items()},
        }
        parts.append(
            show.table(
                guesses(columns, words, top),
                f"What each model would put into {which} of “{sentence.strip()}”.",
                note=note,
            )
        )
    if ours:
        distances = {name: divergences(theirs[1:-1], logits[1:-1]) for name, logits in ours.items()}
        caption = (
            CAPTION
            if blanks
            else f"{CAPTION} The sentence has no {MASK}: write one to see what would be put there."
        )
        parts.append(show.figure(figure(shown, distances), caption, described(shown, distances)))
    return parts


def widget(found: list[Pair] | None = None, scale: str = "tiny", guesses: int = 5) -> View:
    """The view with its controls: teacher, students, sentence, how many guesses; or the line that
    says what to run first."""
    found = pairs(scale=scale) if found is None else found
    if not found:
        return show.prose(NOTHING)
    of = {
        root: [pair for pair in found if pair.root == root]
        for root in dict.fromkeys(pair.root for pair in found)
    }
    teacher = widgets.Dropdown(
        options=[(name_of(root), root) for root in of], description="Teacher", style=WIDE
    )
    students = widgets.SelectMultiple(
        description="Students", rows=6, style=WIDE, layout={"width": "22rem"}
    )
    sentence = widgets.Text(
        description="Sentence", continuous_update=False, style=WIDE, layout={"width": "46rem"}
    )
    top = widgets.IntSlider(
        value=guesses, min=1, max=MOST, description="Guesses", style=WIDE, continuous_update=False
    )
    another = widgets.Button(
        description="Another sentence", tooltip="from the text held out of the students' corpus"
    )
    known, asked = {}, {"number": -1}

    def next_sentence(*_) -> None:
        asked["number"] += 1
        given = example(of[teacher.value][0], asked["number"])
        known[given.masked] = given.hidden
        sentence.value = given.masked

    def taught() -> None:
        theirs = of[teacher.value]
        students.options = list(short_names(theirs).items())
        asked["number"] = -1
        next_sentence()
        students.value = [pair.student for pair in theirs[:3]]

    def draw(teacher, students, sentence, top):
        chosen = {
            name: student
            for name, student in short_names(of[teacher]).items()
            if student in students
        }
        return view(sentence, teacher, chosen, top, known.get(sentence, ""))

    taught()
    another.on_click(next_sentence)
    return live(
        draw,
        {"teacher": teacher, "students": students, "sentence": sentence, "top": top},
        [[teacher, top], [students], [sentence, another]],
        {"teacher": taught},
    )


def short_names(taught: list[Pair]) -> dict[str, str]:
    """What a teacher's students are called, by name: the last part of their names where that is
    enough to tell them apart."""
    last = [pair.name.rpartition(" · ")[2] for pair in taught]
    return {
        name if last.count(name) == 1 else pair.name: pair.student
        for pair, name in zip(taught, last)
    }
