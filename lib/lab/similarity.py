"""How alike the layers of a student and of its teacher are: linear CKA of their hidden outputs
(Kornblith et al. 2019), on text that neither was trained on."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from lib.data.prepared import open_corpus
from lib.lab import models
from lib.lab.attention import tint
from lib.lab.view import control, live, nothing_yet
from lib.report.page import show

TOKENS = 2048
"""Tokens that are compared. With fewer than hidden units any two layers would look alike."""


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms, columns centred; Kornblith et al. 2019, section 3.

    The hidden outputs of two layers for the same tokens, [tokens, hidden size of each]. 0 … 1: with
    1 one is the other but for a rotation, a shift and one scale.
    """
    x, y = (part - part.mean(0) for part in (x, y))
    both = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.sum((y.T @ x) ** 2) / both) if both else 0.0


def similarities(pair: models.Pair) -> np.ndarray:
    """The CKA of every hidden output of a student (rows, 0 … n) with every one of its teacher's
    (columns, 0 … N), on held-out sequences of the student's corpus: TOKENS tokens, or all there
    are. Raises InputError if that corpus is gone."""
    corpus = open_corpus(pair.parameters["corpus"], "held_out")
    number = int(np.searchsorted(np.cumsum(corpus.lengths), TOKENS)) + 1
    rows, _ = corpus.rows(np.arange(min(number, len(corpus))))
    student, teacher = (models.hidden_outputs(ref, rows) for ref in (pair.student, pair.teacher))
    return np.array([[linear_cka(own, other) for other in teacher] for own in student])


def figure(similarity: np.ndarray) -> Figure:
    """A cell for each layer of the student (from the bottom) and of the teacher, the stronger the
    tint the more alike, with its value."""
    down, across = similarity.shape
    drawing = Figure(figsize=(min(6.8, 1.4 + 0.5 * across), 0.9 + 0.38 * down))
    drawing.set_layout_engine("constrained")
    axes = drawing.subplots()
    # no cell so dark that its number could not be read
    axes.imshow(tint(0.6 * similarity, show.PALETTE[0]), origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(similarity):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
    axes.set(xlabel="teacher's hidden output", ylabel="student's", xticks=range(across))
    axes.set_yticks(range(down))
    axes.grid(False)
    axes.tick_params(length=0, labelsize=8.5)
    return drawing


def describe(similarity: np.ndarray) -> str:
    """The figure in words: what each layer of the student is most like."""
    parts = [
        f"{row} is most like the teacher's {values.argmax()}, {values.max():.2f}"
        for row, values in enumerate(similarity)
    ]
    return f"Hidden outputs of the student, 0 being its embeddings: {'; '.join(parts)}."


def view(pair: models.Pair) -> list[HTML]:
    """The figure of a student."""
    similarity = similarities(pair)
    caption = (
        f"Linear CKA of the hidden outputs of {models.name_of(pair.student)} and its teacher "
        f"(0: the embeddings), on {TOKENS:,} tokens of held-out text at most. 1: the same but for "
        f"rotation and scale."
    )
    return [show.figure(figure(similarity), caption, describe(similarity))]


def widget(outputs: Path | None = None, scale: str = "tiny"):
    """The view with a control: the student. A message if there is no model."""
    students = models.pairs(outputs, scale)
    if not students:
        return nothing_yet(models.NO_MODEL)
    options = [(pair.name, pair) for pair in students]
    student = control(widgets.Dropdown, "Student", "27rem", options=options)
    return live(view, {"pair": student}, [[student]])
