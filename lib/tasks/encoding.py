"""Labelled examples as token ids, in batches of similar length."""

from dataclasses import dataclass
from typing import Iterator

import numpy as np
import torch

from lib.tasks.examples import Examples
from lib.training.batches import Batch, Schedule, pad


@dataclass(frozen=True)
class Encoded:
    """A task's examples as rows of token ids of different lengths.

    `labels`: [examples] class ids or numbers, or [examples, 2] first and last token of an answer.
    `second`: [examples], the position in the row where the second text of a pair begins; None for
    models without token types.
    """

    rows: list[np.ndarray]
    labels: np.ndarray
    pad_id: int
    second: np.ndarray | None = None

    def batch(self, indices: np.ndarray, place: int = 0) -> Batch:
        """The rows with these indices, padded; `place` as in Batch."""
        rows = [self.rows[i] for i in indices]
        inputs = pad(rows, self.pad_id)
        positions = torch.arange(inputs.shape[1])
        kept = positions < torch.tensor([len(row) for row in rows])[:, None]
        segments = None
        if self.second is not None:
            second = torch.from_numpy(self.second[indices])[:, None]
            segments = ((positions >= second) & kept).long()
        return Batch(inputs, kept, torch.from_numpy(self.labels[indices]), segments, place)


def encode(examples: Examples, tokenizer, max_length: int, segments: bool = False) -> Encoded:
    """Tokenise the examples.

    If a pair is longer than `max_length` tokens, the longer text is cut first, at its end.
    `segments`: also note where the second text of a pair begins, if the tokenizer has token types
    (HerBERT's does not).
    """
    columns = [list(column) for column in zip(*examples.texts)]
    output = tokenizer(*columns, truncation="longest_first", max_length=max_length)
    rows = [np.asarray(row, dtype=np.int64) for row in output["input_ids"]]
    second = None
    if segments and len(columns) == 2 and "token_type_ids" in output:
        # the types of a row are 0 … 0 1 … 1
        second = np.array([len(types) - sum(types) for types in output["token_type_ids"]])
    dtype = np.float32 if isinstance(examples.labels[0], float) else np.int64
    labels = np.asarray(examples.labels, dtype)
    return Encoded(rows, labels, tokenizer.pad_token_id, second)


class TaskBatches:
    """Batches of labelled examples, grouped by length; see `lib.training.batches`."""

    def __init__(self, data: Encoded, schedule: Schedule):
        self.data, self.schedule, self.steps = data, schedule, schedule.steps

    def at(self, step: int, share: slice = slice(None)) -> list[Batch]:
        """The micro-batches of a step, or a `share` of them."""
        pieces = list(enumerate(self.schedule.indices(step)))[share]
        return [self.data.batch(indices, place) for place, indices in pieces]

    def named(self, step: int, micro: int | None = None) -> str:
        """The training examples that a step reads, in words; counted from 0."""
        return self.schedule.named(step, micro, "training example")


def by_length(rows: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The indices of all rows, `size` at a time, rows of similar length together (less padding)."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
