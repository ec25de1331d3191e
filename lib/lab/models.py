"""The models the lab can show: every student under outputs/ with its teacher. A model is loaded
once, on the processor."""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers.utils import logging

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.data.tokenizer import load_tokenizer
from lib.plan.stages import KINDS
from lib.training.batches import Batch
from lib.training.models import load, parameter_count
from lib.training.objectives import hand_out_attention, states

NOTHING = (
    "There is no distilled model under outputs/ yet: run `make report` first, or `make report "
    "STUDIES=herbert` (some minutes), "
    "then this cell again."
)
SMALL = 20_000_000
"""Parameters below which a second thread costs more than it gains."""


@dataclass(eq=False)
class Pair:
    """A student and the teacher it learned from: folders, or for a teacher a hub id and its
    revision, as id@revision. `root` is the teacher that the first hop of a chain started from;
    `parameters` are those of the student's stage."""

    name: str
    student: str
    teacher: str
    root: str
    layers: int
    parameters: dict


def pairs(outputs: Path | None = None, scale: str = "") -> list[Pair]:
    """Every student that is published under `outputs`, and whose teacher is there or on a hub:
    those of `scale` first, the lab's own last."""
    outputs, found = outputs or (places.ROOT / "outputs"), {}

    def place(path: Path) -> tuple:
        first = path.relative_to(outputs).parts[0]
        return first == "lab", first != scale, path

    for path in sorted(outputs.rglob("result.json"), key=place):
        if (
            path.parent.name not in ("distillation", "cascade_ta")
            and path.parent.parent.name != "lab"
        ):
            continue
        stage = json.loads(path.read_text(encoding="utf-8"))
        teacher, student = stage["parameters"].get("teacher"), path.parent / "model"
        if (
            stage["stage"] in ("distillation", "cascade_ta")
            and ModelRef(teacher or "").exists
            and (student / "config.json").is_file()
        ):
            layers, revision = (
                stage["summary"]["layers"],
                stage["parameters"].get("teacher_revision"),
            )
            found[str(student)] = Pair(
                f"{name_of(student)} ({layers} layer{'s' * (layers > 1)})",
                str(student),
                place_of(teacher, revision),
                "",
                layers,
                stage["parameters"],
            )
    for pair in found.values():
        pair.root = pair.teacher
        while pair.root in found:
            pair.root = found[pair.root].teacher
    return list(found.values())


def place_of(model: str, revision: str | None = None) -> str:
    """A folder relative to the checkout as an absolute path; a hub id with its revision, if it has
    one, as id@revision."""
    ref = ModelRef(model, revision)
    return ref.path if ref.is_folder or not revision else f"{model}@{revision}"


def _ref(place: str) -> ModelRef:
    """The folder or hub id of a place, and its revision."""
    name, _, revision = place.partition("@")
    return ModelRef(place) if Path(place).is_dir() else ModelRef(name, revision or None)


def name_of(model: str | Path) -> str:
    """What a model is called: of a folder under outputs/ what tells it from others, else what it
    is.

    >>> name_of("outputs/tiny/herbert/S3/distillation/model")
    'tiny · herbert · S3'
    """
    parts = Path(model).parts
    if "outputs" not in parts:
        return str(model)
    after = parts[len(parts) - parts[::-1].index("outputs") :]
    return " · ".join(part for part in after if part not in (*KINDS, "model"))


# ------------------------------------------------------------------------------ loading and reading


@dataclass(eq=False)
class Reading:
    """What a model makes of one sentence: `logits` [tokens, vocabulary], `hidden` [tokens, hidden],
    the last, and `maps`: of each layer, from 1, its attention [1, heads, tokens, tokens], without
    dropout."""

    logits: torch.Tensor
    hidden: torch.Tensor
    maps: dict[int, torch.Tensor]


def tokenizer(place: str):
    """The tokenizer of a model, loaded once."""
    return _tokenizer(place, _written(place))


def reading(place: str, ids: list[int]) -> Reading:
    """What the model in `place` makes of a sentence; the last few are kept."""
    return _reading(place, _written(place), tuple(ids))


def _written(place: str) -> int:
    """When the model was written: one that was trained again is loaded again."""
    config = Path(place) / "config.json"
    return config.stat().st_mtime_ns if config.is_file() else 0


@lru_cache(maxsize=8)
def _tokenizer(place: str, written: int):
    return load_tokenizer(_ref(place))


@lru_cache(maxsize=8)
def _model(place: str, written: int):
    logging.disable_progress_bar()  # a bar for each model would stand in the notebook for good
    model = load(_ref(place)).eval()
    hand_out_attention(model)
    return model


@lru_cache(maxsize=16)
@torch.inference_mode()
def _reading(place: str, written: int, ids: tuple[int, ...]) -> Reading:
    model = _model(place, written)
    torch.set_num_threads(1 if parameter_count(model) < SMALL else os.cpu_count() or 1)
    if max(ids) >= model.config.vocab_size:
        raise InputError(
            f"{name_of(place)} has a vocabulary of {model.config.vocab_size:,} and another "
            f"tokenizer"
        )
    inputs = torch.tensor([ids])
    kept = torch.ones_like(inputs, dtype=torch.bool)
    hidden, maps = states(
        model, Batch(inputs, kept, inputs), range(1, model.config.num_hidden_layers + 1)
    )
    return Reading(model.cls(hidden[-1])[0], hidden[-1][0], maps)
