"""Labelled examples as token ids, in batches of similar length: what fine-tuning reads."""

from dataclasses import dataclass
from typing import Iterator

import numpy as np
import torch

from lib.tasks.registry import Examples
from lib.training.batches import Batch, Schedule, pad, places


@dataclass(frozen=True)
class Encoded:
    """A task's examples as token ids: rows of different lengths.

    `labels` is [examples] class ids or numbers, or [examples, 2] first and last token of an answer.
    `second`, [examples], is where in its row the second text of a pair begins; None for models that
    do not tell the texts apart.
    """

    rows: list[np.ndarray]
    labels: np.ndarray
    pad_id: int
    second: np.ndarray | None = None

    def batch(self, indices: np.ndarray, place: int = 0) -> Batch:
        rows = [self.rows[i] for i in indices]
        inputs = pad(rows, self.pad_id)
        places = torch.arange(inputs.shape[1])
        kept = places < torch.tensor([len(row) for row in rows])[:, None]
        segments = None
        if self.second is not None:
            segments = ((places >= torch.from_numpy(self.second[indices])[:, None]) & kept).long()
        return Batch(inputs, kept, torch.from_numpy(self.labels[indices]), segments, place)


def encode(examples: Examples, tokenizer, max_length: int, segments: bool = False) -> Encoded:
    """Tokenise once; every seed and every epoch uses the result.

    Of a pair that is longer than `max_length` tokens, the longer text loses its end first.
    `segments`: note where the second text of a pair begins, if the tokenizer says so (HerBERT's
    does not).
    """
    columns = [list(column) for column in zip(*examples.texts)]
    found = tokenizer(
        *columns, truncation="longest_first", max_length=max_length, add_special_tokens=True
    )
    rows = [np.asarray(row, dtype=np.int64) for row in found["input_ids"]]
    second = None
    if segments and len(columns) == 2 and "token_type_ids" in found:
        second = np.array([len(kinds) - sum(kinds) for kinds in found["token_type_ids"]])
    numbers = isinstance(examples.labels[0], float)
    return Encoded(
        rows,
        np.asarray(examples.labels, np.float32 if numbers else np.int64),
        tokenizer.pad_token_id,
        second,
    )


class TaskBatches:
    """Batches of labelled examples, grouped by length; `at(step)` as in `lib.training.batches`."""

    def __init__(self, data: Encoded, schedule: Schedule):
        self.data, self.schedule, self.steps = data, schedule, schedule.steps

    def at(self, step: int, mine: slice = slice(None)) -> list[Batch]:
        return [
            self.data.batch(indices, place)
            for place, indices in list(enumerate(self.schedule.indices(step)))[mine]
        ]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which training examples a step reads, from 0."""
        return places(self.schedule, step, micro, "training example")


def by_length(rows: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The indices of all rows, `size` at a time, similar lengths together: less padding, the same
    results."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
