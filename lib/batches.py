"""Which sequences make which step: seeded, grouped by length, and a pure function of the step number.

Because `at(step)` depends on nothing but the seed and the step, a resumed run sees exactly the batches it would have seen; and
because each micro-batch has random numbers of its own, several processes that take some of them each see the same ones.
"""

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
        self._epoch, self._order = -1, []

    def indices(self, step: int) -> list[np.ndarray]:
        """The micro-batches of one step, each an array of sequence indices."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._plan(epoch)
        return self._order[within]

    def _plan(self, epoch: int) -> list[list[np.ndarray]]:
        """All steps of an epoch. Sequences of similar length share a micro-batch; which ones meet in a step is random."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))[: self.steps_per_epoch * self.batch]
        whole, rest = divmod(self.batch, self.micro)
        sizes = [self.micro] * whole + [rest] * (rest > 0)
        steps: list[list[np.ndarray]] = []
        for start in range(0, len(order), POOL * self.batch):
            pool = order[start : start + POOL * self.batch]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            count = len(pool) // self.batch
            pieces = np.split(pool, np.cumsum(sizes * count)[:-1])
            full, short = ([piece for piece in pieces if (len(piece) == self.micro) is want] for want in (True, False))
            full, short = ([group[i] for i in rng.permutation(len(group))] for group in (full, short))
            steps += [full[whole * k : whole * (k + 1)] + short[k : k + 1] for k in range(count)]
        return steps


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
