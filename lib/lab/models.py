"""The models that the lab shows, every student under outputs/ with its teacher, and the sentences
that it shows them on."""

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers.utils import logging

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.data.prepared import open_corpus
from lib.data.tokenizer import load_tokenizer, spell_tokens
from lib.plan.stages import KINDS
from lib.training.batches import Batch, pad
from lib.training.losses import logits_of
from lib.training.models import last_states, load, parameter_count
from lib.training.objectives import hand_out_attention, states

NO_MODEL = "There is no distilled model under outputs/"
SMALL = 20_000_000
"""Models with fewer parameters run on one thread: a second costs more than it gains."""


@dataclass(eq=False)
class Pair:
    """A student and the teacher it learned from. `root` is the teacher that the first hop of a
    chain started from; `parameters` are those of the student's stage."""

    name: str
    student: ModelRef
    teacher: ModelRef
    root: ModelRef
    layers: int
    parameters: dict


def pairs(outputs: Path | None = None, scale: str = "") -> list[Pair]:
    """Every student under `outputs` whose teacher exists: those of `scale` first, the lab's own
    last. Without an MLM head, which nothing was measured of, there is nothing to show; one whose
    vocabulary was cut reads other token ids than its teacher."""
    outputs = outputs or places.ROOT / "outputs"
    by_student: dict[ModelRef, Pair] = {}

    def order(path: Path) -> tuple:
        first = path.relative_to(outputs).parts[0]
        return first == "lab", first != scale, path

    for path in sorted(outputs.rglob("result.json"), key=order):
        stage = json.loads(path.read_text(encoding="utf-8"))
        if stage["stage"] not in ("distillation", "cascade_ta") or stage.get("after") == {}:
            continue
        student, parameters = ModelRef(str(path.parent / "model")), stage["parameters"]
        if parameters.get("vocabulary"):
            continue
        teacher = ModelRef(parameters.get("teacher") or "", parameters.get("teacher_revision"))
        if not (student.exists and teacher.exists):
            continue
        if teacher.is_folder:
            teacher = ModelRef(teacher.path)
        layers = stage["summary"]["layers"]
        name = f"{name_of(student)} ({layers} layer{'s' * (layers > 1)})"
        by_student[student] = Pair(name, student, teacher, teacher, layers, parameters)
    for pair in by_student.values():
        while pair.root in by_student:
            pair.root = by_student[pair.root].teacher
    return list(by_student.values())


def name_of(model: ModelRef) -> str:
    """What to call a model: a folder under outputs/ by the parts that tell it from others.

    >>> name_of(ModelRef("outputs/tiny/herbert/S3/distillation/model"))
    'tiny · herbert · S3'
    """
    parts = Path(model.name).parts
    if "outputs" not in parts:
        return "@".join(filter(None, (model.name, model.revision)))
    after = parts[len(parts) - parts[::-1].index("outputs") :]
    return " · ".join(part for part in after if part not in (*KINDS, "model"))


def short_names(pairs: list[Pair]) -> dict[str, Pair]:
    """The students by the last part of their names, where that tells them apart."""
    last = [pair.name.rpartition(" · ")[2] for pair in pairs]
    return {name if last.count(name) == 1 else pair.name: pair for pair, name in zip(pairs, last)}


# ----------------------------------------------------------------------------------- running models


@dataclass(eq=False)
class Outputs:
    """A model's outputs for one sentence, without dropout: `logits` [tokens, vocabulary], the last
    `hidden` states [tokens, hidden], and `maps`, the attention of each layer, from 1: [1, heads,
    tokens, tokens]."""

    logits: torch.Tensor
    hidden: torch.Tensor
    maps: dict[int, torch.Tensor]


def get_tokenizer(model: ModelRef):
    """The tokenizer of a model."""
    return _tokenizer(model, _written(model))


def run_model(model: ModelRef, ids: list[int]) -> Outputs:
    """The model's outputs for the token ids of a sentence."""
    return _outputs(model, _written(model), tuple(ids))


def _written(model: ModelRef) -> int:
    """When the model was written. The caches below have it in their keys, so that a model that was
    trained again is loaded again; they outlive a call so that a moved slider loads nothing."""
    config = model.folder / "config.json"
    return config.stat().st_mtime_ns if config.is_file() else 0


@lru_cache(maxsize=8)
def _tokenizer(model: ModelRef, written: int):
    return load_tokenizer(model)


@lru_cache(maxsize=8)
def _model(model: ModelRef, written: int):
    logging.disable_progress_bar()  # its bars would stay in the notebook
    loaded = load(model).eval()
    hand_out_attention(loaded)
    return loaded


@lru_cache(maxsize=16)
@torch.inference_mode()
def _outputs(ref: ModelRef, written: int, ids: tuple[int, ...]) -> Outputs:
    model = _model(ref, written)
    torch.set_num_threads(1 if parameter_count(model) < SMALL else os.cpu_count() or 1)
    if max(ids) >= model.config.vocab_size:
        raise InputError(
            f"{name_of(ref)} has a vocabulary of {model.config.vocab_size:,} and another tokenizer"
        )
    inputs = torch.tensor([ids])
    batch = Batch(inputs, torch.ones_like(inputs, dtype=torch.bool), inputs)
    hidden, maps = states(model, batch, range(1, model.config.num_hidden_layers + 1))
    last = last_states(model, hidden[-1])
    return Outputs(logits_of(model, last)[0], last[0], maps)


@torch.inference_mode()
def hidden_outputs(ref: ModelRef, rows: list[np.ndarray]) -> list[np.ndarray]:
    """The model's hidden outputs 0 … n for rows of token ids, without dropout: of each layer those
    of all tokens, one row after the other, [tokens, hidden]."""
    model, pieces = _model(ref, _written(ref)), []
    for start in range(0, len(rows), 16):
        some = [np.asarray(row, np.int64) for row in rows[start : start + 16]]
        inputs = pad(some, model.config.pad_token_id or 0)
        kept = torch.arange(inputs.shape[1]) < torch.tensor([len(row) for row in some])[:, None]
        hidden, _ = states(model, Batch(inputs, kept, inputs))
        pieces.append([layer[kept].double().numpy() for layer in hidden])
    return [np.concatenate(layer) for layer in zip(*pieces)]


# ---------------------------------------------------------------------------------------- sentences

MASK = "[MASK]"
LONGEST = 64
"""Tokens of a sentence; the rest is cut off."""
BLANK = re.compile(r"\[mask\]|<mask>|(?<!\w)_+(?!\w)", re.IGNORECASE)
"""What a user may type for a hidden word: the mask of either kind of tokenizer, or underscores."""


class Example(NamedTuple):
    """A sentence of held-out text: whole, and with the word `hidden`, its token number `place`
    (from 1), masked."""

    whole: str
    masked: str
    hidden: str
    place: int


def encode(text: str, tokenizer) -> list[int]:
    """Token ids of a sentence, with special tokens. Raises InputError if it has no word."""
    text = BLANK.sub(f" {tokenizer.mask_token} ", text)
    ids = tokenizer(text, truncation=True, max_length=LONGEST)["input_ids"]
    if len(ids) < 3:
        raise InputError(f"sentence: type some words; {MASK} or _ stands for one to be guessed")
    return ids


def tokens(ids: list[int], tokenizer) -> list[str]:
    """The tokens as text, the mask as [MASK]."""
    texts = spell_tokens(tokenizer, ids)
    return [MASK if id_ == tokenizer.mask_token_id else text for id_, text in zip(ids, texts)]


def get_example(pair: Pair, number: int = 0) -> Example:
    """A sentence of 8 to 16 tokens held out of the student's corpus, with a word of it to hide. If
    the corpus is gone, some words of the vocabulary. Any `number` gives one, the same number always
    the same."""
    tokenizer = get_tokenizer(pair.student)
    try:
        corpus = open_corpus(pair.parameters["corpus"], "held_out")
    except InputError:
        vocabulary = tokens(list(range(len(tokenizer))), tokenizer)
        words = [word for word in vocabulary if word.isalpha()][-7:]
        return Example(" ".join(words), " ".join([*words[:3], MASK, *words[4:]]), words[3], 4)
    fit = np.flatnonzero((corpus.lengths >= 8) & (corpus.lengths <= 16))
    order = np.random.default_rng(0).permutation(fit if len(fit) else len(corpus))
    (ids,), (starts,) = corpus.rows(order[[number % len(order)]])
    ids, ends = [int(id_) for id_ in ids[:LONGEST]], [*starts[1:], True]
    inside = range(1, len(ids) - 1)
    # Words of a single token, of letters if there are any.
    single = [place for place in inside if starts[place] and (ends[place] or place == inside[-1])]
    alphabetic = [place for place in single if tokens([ids[place]], tokenizer)[0].isalpha()]
    place = int(np.random.default_rng(number).choice(alphabetic or single or inside))
    masked = tokenizer.decode([*ids[1:place], tokenizer.mask_token_id, *ids[place + 1 : -1]])
    masked = " ".join(masked.replace(tokenizer.mask_token, f" {MASK} ").split())
    word = tokens([ids[place]], tokenizer)[0]
    return Example(tokenizer.decode(ids[1:-1]), masked, word, place)
