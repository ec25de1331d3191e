"""How fast the encoders are: a figure for every shape, with its interval, or none where the machine
was busy."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from typing import NamedTuple

import numpy as np

from lib.common.hub import ModelRef
from lib.training.architectures import longest_sequence, sizes

PERCENTILE = 10
"""Of the turns: other work on the machine, which shares its caches, makes a pass slower, never
faster, so that a median tells of that work as well and a low percentile of the encoder alone."""
TURNS, FEWEST, SECONDS = 300, 30, 8.0
"""Turns, at most and at least; in between the measurement ends after so many seconds."""
WARM_UP = 3
BLOCK, RESAMPLES = 10, 1000
"""For the interval: turns that are drawn together, as a burst of other work lasts for several; and
how often all blocks are drawn anew."""
AGREE = 1.2
"""Two encoders of one shape differ by chance alone: by more than this factor, and the machine was
too busy."""
BUSY = "not measured: the machine was busy"
NOTE = (
    "Latency: the seconds that one CPU thread spends on the encoder alone for one sequence of 64 "
    f"tokens; the {PERCENTILE}th percentile of many turns, with its 95 % interval. It is that of "
    "the model's shape, of which two encoders are timed, all shapes in turn; where the two differ "
    f"by more than {100 * AGREE - 100:.0f} %, the machine was busy and there is none."
)


class Latency(NamedTuple):
    """Seconds of one forward pass, and the ends of the 95 % interval. Where the machine was busy,
    the seconds are NaN, and the ends say between what they were seen."""

    seconds: float
    low: float
    high: float


def latency(
    models: dict[tuple[str, str], ModelRef], *, batch: int = 1, length: int = 64
) -> dict[tuple[str, str], Latency]:
    """The latency of the encoder on CPU, for every (study, scenario): that of its shape.

    A pass reads `batch` sequences of `length` random tokens, without padding, on one thread, whose
    seconds count while it runs: on an idle machine these are all, on a busy one it has to wait. Of
    each shape two encoders are timed: two models, or one model loaded twice. All take turns, so
    that they see the same machine; who goes first changes from turn to turn.
    """
    shapes: dict[tuple, list[ModelRef]] = {}
    for model in dict.fromkeys(models.values()):
        shapes.setdefault(shape_of(model.config()), []).append(model)
    pairs = {shape: (2 * members)[:2] for shape, members in shapes.items()}
    seconds = _take_turns([model for pair in pairs.values() for model in pair], batch, length)
    of_shape = {
        shape: of_turns(seconds[:, 2 * place : 2 * place + 2]) for place, shape in enumerate(pairs)
    }
    return {key: of_shape[shape_of(model.config())] for key, model in models.items()}


def shape_of(config: dict) -> tuple:
    """What an encoder's latency depends on, from its config.json: kind, layers, hidden size, heads,
    intermediate size, vocabulary."""
    own, names = sizes(config), ("layers", "hidden", "heads", "intermediate", "vocabulary")
    return config.get("model_type"), *(own[name] for name in names)


def of_turns(seconds: np.ndarray) -> Latency:
    """The latency of a shape from the passes of its encoders, [turns, encoders].

    It is the percentile of all passes. The interval runs from the least of the encoders' low ends
    to the greatest of their high ends, so that it holds what sets encoders of one shape apart as
    well. An encoder's ends are those of a bootstrap of its percentile over blocks of turns (Künsch
    1989, with blocks that do not overlap). If the encoders' percentiles are further apart than
    AGREE, the machine was busy.
    """
    each = np.percentile(seconds, PERCENTILE, axis=0)
    blocks = np.array_split(np.arange(len(seconds)), max(1, len(seconds) // BLOCK))
    size = min(map(len, blocks))
    blocks = seconds[np.array([block[:size] for block in blocks])]  # [blocks, size, encoders]
    drawn = np.random.default_rng(0).integers(len(blocks), size=(RESAMPLES, len(blocks)))
    resampled = blocks[drawn].reshape(RESAMPLES, -1, seconds.shape[1])
    ends = np.percentile(np.percentile(resampled, PERCENTILE, axis=1), [2.5, 97.5], axis=0)
    agree = each.max() <= AGREE * each.min()
    value = np.percentile(seconds, PERCENTILE) if agree else nan
    return Latency(float(value), float(ends[0].min()), float(ends[1].max()))


def in_words(latency_s: float, low: float, high: float) -> str:
    """Milliseconds with their interval, from columns of efficiency.csv; why there are none, or "–"
    for a model that was not to be timed."""
    if np.isnan(latency_s):
        return "–" if np.isnan(low) else BUSY
    return f"{1000 * latency_s:.2f} [{1000 * low:.2f}, {1000 * high:.2f}]"


def _take_turns(models: list[ModelRef], batch: int, length: int) -> np.ndarray:
    """Seconds of every pass, [turns, models]."""
    import torch

    from lib.training.models import load_trunk

    encoders = [load_trunk(model).eval() for model in models]
    if not encoders:
        return np.empty((0, 0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    vocabulary = min(encoder.config.vocab_size for encoder in encoders)
    longest = (longest_sequence(encoder.config.to_dict()) for encoder in encoders)
    ids = torch.randint(5, vocabulary, (batch, min(length, *longest)))
    with torch.inference_mode():
        seconds = take_turns([partial(encoder, input_ids=ids) for encoder in encoders])
    torch.set_num_threads(threads)
    return seconds


def take_turns(passes: Sequence[Callable]) -> np.ndarray:
    """Seconds that this thread spends on every pass, [turns, passes]; who goes first changes."""
    turns: list[list[float]] = []
    begun = time.perf_counter()
    while len(turns) < WARM_UP + FEWEST or (
        len(turns) < WARM_UP + TURNS and time.perf_counter() - begun < SECONDS
    ):
        row = [0.0] * len(passes)
        for place in np.roll(range(len(passes)), len(turns)):
            start = time.thread_time()
            passes[place]()
            row[place] = time.thread_time() - start
        turns.append(row)
    return np.array(turns[WARM_UP:])
