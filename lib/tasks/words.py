"""Classes for the words of a sentence (token classification): words as tokens, and predictions back
to words.

A word's class is read at its first token, as in BERT's named entity recognition (Devlin et al.
2018, section 5.3). A sentence that is too long for a row is cut between words, so that every word
is predicted.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.tasks.encoding import Encoded, by_length
from lib.tasks.examples import Examples
from lib.tasks.spans import token_span
from lib.training.batches import IGNORE, Batch
from lib.training.losses import soft_target_loss


@dataclass(frozen=True, kw_only=True)
class Words(Encoded):
    """The sentences of a task, a row each, or several rows where they are cut.

    `labels` is [rows, tokens of the longest row], class ids, IGNORE but at the first token of a
    word. `row` and `place` are [words of all sentences]: where the word's first token stands; row
    -1 and place 0 if it has no token, as control characters have none. `golds`: [words] class ids
    for each sentence.
    """

    row: np.ndarray
    place: np.ndarray
    golds: list[np.ndarray]

    def batch(self, indices: np.ndarray, place: int = 0) -> Batch:
        """As of `Encoded`; the labels are as long as the rows."""
        batch = super().batch(indices, place)
        batch.labels = batch.labels[:, : batch.inputs.shape[1]].contiguous()
        return batch


def words(examples: Examples, tokenizer, max_length: int) -> Words:
    """Sentences as rows of at most `max_length` tokens. The tokenizer reads the words of a sentence
    with spaces between them."""
    sentences = [" ".join(sentence) for sentence in examples.texts]
    plain = {"add_special_tokens": False, "verbose": False}
    output = tokenizer(sentences, return_offsets_mapping=True, **plain)
    room = max_length - 2  # between the two special tokens
    rows, row, place = [], [], []
    for sentence, ids, offsets in zip(
        examples.texts, output["input_ids"], output["offset_mapping"]
    ):
        offsets = np.asarray(offsets, np.int64).reshape(-1, 2)
        ends = np.cumsum([len(word) + 1 for word in sentence]) - 1
        spans = [token_span(offsets, end - len(w), end) for w, end in zip(sentence, ends)]
        first = np.array([a if a <= b else -1 for a, b in spans])
        begins = cuts(len(ids), first[first >= 0], room)
        part = np.searchsorted(begins, first, side="right") - 1  # -1 of a word without tokens
        row += np.where(first < 0, -1, len(rows) + part).tolist()
        place += np.where(first < 0, 0, first - np.array(begins)[part] + 1).tolist()
        for begin, end in zip(begins, [*begins[1:], len(ids)]):
            own = [tokenizer.cls_token_id, *ids[begin:end], tokenizer.sep_token_id]
            rows.append(np.array(own, np.int64))
    row, place = np.array(row), np.array(place)
    golds = [np.asarray(own, np.int64) for own in examples.labels]
    labels = np.full((len(rows), max(map(len, rows))), IGNORE)
    labels[row[row >= 0], place[row >= 0]] = np.concatenate(golds)[row >= 0]
    return Words(rows, labels, tokenizer.pad_token_id, row=row, place=place, golds=golds)


def cuts(tokens: int, starts: np.ndarray, room: int) -> list[int]:
    """Where the rows of a sentence begin, each at most `room` tokens long: at a word, one of
    `starts`, unless a word alone is longer.

    >>> cuts(10, np.array([0, 2, 5, 6]), 4)
    [0, 2, 6]
    """
    begins = [0]
    while tokens - begins[-1] > room:
        end = begins[-1] + room
        fitting = starts[(starts > begins[-1]) & (starts <= end)]
        begins.append(int(fitting[-1]) if len(fitting) else end)
    return begins


def word_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the right classes, summed over the words of a micro-batch. `logits` is
    [rows, length, classes]."""
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE, reduction="sum"
    )


def soft_word_loss(
    student: torch.Tensor, teacher: torch.Tensor, batch: Batch, temperature: float
) -> torch.Tensor:
    """T² · Σ KL(teacher ‖ student) over the words of a micro-batch, at their first tokens. Logits
    are [rows, length, classes]."""
    words = batch.labels != IGNORE
    return soft_target_loss(student[words], teacher[words], temperature)


@torch.inference_mode()
def classes(
    model: torch.nn.Module, data: Words, device: torch.device, blank: int, precision: str = "no"
) -> list[np.ndarray]:
    """The predicted class of every word, [words] for each sentence; `blank` for a word without
    tokens. `precision` as in lib.tasks.finetune.outputs. Leaves the model in training mode."""
    predicted = np.zeros(data.labels.shape, np.int64)
    model.eval()
    for indices in by_length(data.rows, 256):
        batch = data.batch(indices).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(batch)
        predicted[indices, : logits.shape[1]] = logits.argmax(-1).cpu().numpy()
    model.train()
    found = np.where(data.row < 0, blank, predicted[data.row, data.place])
    return np.split(found, np.cumsum([len(own) for own in data.golds])[:-1])
