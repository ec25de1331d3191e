"""Which sequences make which step: seeded, grouped by length, and a pure function of the step number.

Because `at(step)` depends on nothing but the seed and the step, a resumed run sees exactly the batches it would have seen; and
because each micro-batch has random numbers of its own, several processes that take some of them each see the same ones.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lib.masking import whole_word_mask

POOL = 16  # steps whose sequences are sorted by length together; larger pads less, smaller mixes better


def stream(seed: int, step: int, place: int = 0) -> int:
    """The seed of what is random in one micro-batch, the one with number `place` of a step.

    torch's generator on a processor looks at the last 32 bits alone, so streams must differ there: multiples of the golden
    section of 2³² are far from each other, those of a thousand places more than a million steps.
    """
    return seed * 1_000_003 + step + place * 2_654_435_769


class Schedule:
    """The order of sequences over a training run.

    Args:
        lengths: [sequences] tokens in each.
        batch: sequences in one optimizer step; micro: sequences that go through the model at once.
        epochs: passes over the data; steps > 0 overrides it.
    """

    def __init__(self, lengths: np.ndarray, *, batch: int, micro: int, epochs: float, steps: int = 0, seed: int = 0):
        self.lengths, self.batch, self.seed = np.asarray(lengths), min(batch, len(lengths)), seed
        self.micro = min(micro, self.batch)
        self.steps_per_epoch = max(1, len(self.lengths) // self.batch)
        self.steps = steps or max(1, round(epochs * self.steps_per_epoch))
        self._epoch = self._pool = -1
        self._pools: Iterator[list[list[np.ndarray]]] = iter(())
        self._steps: list[list[np.ndarray]] = []

    def anew(self) -> "Schedule":
        """The same schedule, to look up steps in while another thread reads this one."""
        again = copy.copy(self)
        again._epoch = -1
        return again

    def indices(self, step: int) -> list[np.ndarray]:
        """The micro-batches of one step, each an array of sequence indices."""
        epoch, within = divmod(step, self.steps_per_epoch)
        pool, place = divmod(within, POOL)
        if epoch != self._epoch or pool < self._pool:
            self._epoch, self._pool, self._pools = epoch, -1, self._plan(epoch)
        while self._pool < pool:
            self._steps = next(self._pools)
            self._pool += 1
        return self._steps[place]

    def _plan(self, epoch: int) -> Iterator[list[list[np.ndarray]]]:
        """The steps of an epoch, POOL at a time: a corpus has too many to hold them all. Sequences of similar length share a
        micro-batch; which ones meet in a step is random."""
        rng = np.random.default_rng([self.seed, epoch])
        kind = np.int32 if len(self.lengths) < 2**31 else np.int64
        order = rng.permutation(np.arange(len(self.lengths), dtype=kind))[: self.steps_per_epoch * self.batch]
        whole, rest = divmod(self.batch, self.micro)
        sizes = [self.micro] * whole + [rest] * (rest > 0)
        for start in range(0, len(order), POOL * self.batch):
            pool = order[start : start + POOL * self.batch].astype(np.int64)
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            count = len(pool) // self.batch
            pieces = np.split(pool, np.cumsum(sizes * count)[:-1])
            full, short = ([piece for piece in pieces if (len(piece) == self.micro) is want] for want in (True, False))
            full, short = ([group[i] for i in rng.permutation(len(group))] for group in (full, short))
            yield [full[whole * k : whole * (k + 1)] + short[k : k + 1] for k in range(count)]


@dataclass
class Batch:
    """One micro-batch: inputs and kept are [sequences, length], so are the labels of a corpus; `kept` is bool, True on real
    tokens; `segments`, [sequences, length], is 1 on the second text of a pair, where the model tells the two apart; `place`
    is its number among the micro-batches of its step."""

    inputs: torch.Tensor
    kept: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None
    place: int = 0

    def to(self, device: torch.device) -> "Batch":
        parts = (self.inputs, self.kept, self.labels, self.segments)
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in parts), self.place)


def places(schedule: Schedule, step: int, micro: int | None, what: str, shown: int = 8) -> str:
    """The indices of a step's micro-batches, or of one of them, in words: "sequences 3, 17, 5 and 13 more"."""
    micros = schedule.anew().indices(step)
    indices = np.concatenate(micros if micro is None else micros[micro : micro + 1]).tolist()
    more = f" and {len(indices) - shown} more" if len(indices) > shown else ""
    return f"{what}s {', '.join(map(str, indices[:shown]))}{more}" if len(indices) > 1 else f"{what} {indices[0]}"


def padded(longest: int) -> int:
    """The width of a batch whose longest sequence has so many tokens: the next multiple of 8 where there is a GPU, whose fast
    products want that. On a processor it would only be more to compute, with sentences some 10 % more."""
    return -(-longest // 8) * 8 if torch.cuda.is_available() else longest


def pad(rows: list[np.ndarray], value: int) -> torch.Tensor:
    """[sequences, `padded` longest], with `value` on the right."""
    width = padded(max(len(row) for row in rows))
    out = np.full((len(rows), width), value, dtype=np.int64)
    for line, row in zip(out, rows):
        line[: len(row)] = row
    return torch.from_numpy(out)


class MaskedBatches:
    """Batches for MLM and distillation from a prepared corpus, masked afresh in every epoch.

    Args:
        corpus: has `.lengths` and `.rows(indices) -> (ids, word_start)`.
        specials: ids that are never masked; pad_id, mask_id, vocab_size: the tokenizer's.
        probability: share of words masked; whole_words False masks token by token.
    """

    def __init__(self, corpus, schedule: Schedule, *, specials: list[int], pad_id: int, mask_id: int, vocab_size: int,
                 probability: float = 0.15, whole_words: bool = True):  # fmt: skip
        self.corpus, self.schedule, self.steps = corpus, schedule, schedule.steps
        self.specials = torch.tensor(sorted({*specials, pad_id}))
        self.pad_id, self.mask_id, self.vocab_size = pad_id, mask_id, vocab_size
        self.probability, self.whole_words = probability, whole_words

    def at(self, step: int, mine: slice = slice(None)) -> list[Batch]:
        """The micro-batches of a step, masked, or those of them that are `mine`: no other sequence is read. The masks of each
        depend on the seed, the step and its place in the step alone."""
        return [
            self._masked(step, place, indices) for place, indices in list(enumerate(self.schedule.indices(step)))[mine]
        ]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which sequences of the corpus a step reads, or one of its micro-batches, from 0."""
        return f"{places(self.schedule, step, micro, 'sequence')} of {getattr(self.corpus, 'folder', 'the corpus')}"

    def _masked(self, step: int, place: int, indices: np.ndarray) -> Batch:
        generator = torch.Generator().manual_seed(stream(self.schedule.seed, step, place))
        ids, starts = self.corpus.rows(indices)
        lengths = torch.tensor([len(row) for row in ids])
        tokens, word_start = pad(ids, self.pad_id), pad(starts, 0).bool()
        kept = torch.arange(tokens.shape[1]) < lengths[:, None]
        maskable = kept & ~torch.isin(tokens, self.specials)
        if not self.whole_words:
            word_start = torch.ones_like(word_start)
        inputs, labels = whole_word_mask(
            tokens, word_start, maskable, mask_id=self.mask_id, vocab_size=self.vocab_size,
            probability=self.probability, generator=generator,
        )  # fmt: skip
        return Batch(inputs, kept, labels, place=place)
