"""Whole-word masking by tensor operations, for any tokenizer that says which tokens start a word.

Which sequences make which step: seeded, grouped by length, and a pure function of the step number.

Because `at(step)` depends on nothing but the seed and the step, a resumed run sees exactly the
batches it would have seen; and because each micro-batch has random numbers of its own, several
processes that take some of them each see the same ones.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lib.common.errors import InputError
from lib.data.prepared import Corpus
from lib.training.parameters import Training

IGNORE = -100
"""Label of a position that no MLM loss is computed for (PyTorch's own convention)."""


def whole_word_mask(
    ids: torch.Tensor,
    word_start: torch.Tensor,
    maskable: torch.Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    probability: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose words, hide their tokens (80 % mask, 10 % a random token, 10 % left alone); BERT
    (Devlin et al. 2018).

    Args:
        ids: [batch, length] token ids.
        word_start: [batch, length] bool, True where a token begins a word. Tokens before the first
        start of a row (the
            rest of a word that was cut) count as one word. Pass all True to mask token by token.
        maskable: [batch, length] bool, False on special tokens and padding.
        probability: share of *words* chosen, so also the expected share of tokens.
        generator: source of randomness; the same state gives the same masks.

    Returns:
        inputs and labels, both [batch, length]; labels are `IGNORE` where nothing is to be
        predicted.
    """
    word = (word_start & maskable).long().cumsum(dim=1)
    # One draw for every word a row could have; all tokens of a word look up the same draw.
    draw = torch.rand(ids.shape[0], ids.shape[1] + 1, generator=generator)
    chosen = (draw.gather(1, word) < probability) & maskable
    labels = ids.masked_fill(~chosen, IGNORE)

    fate = torch.rand(ids.shape, generator=generator)
    anything = torch.randint(vocab_size, ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), anything, inputs)
    return inputs, labels


# steps whose sequences are sorted by length together; larger pads less, smaller mixes better
POOL = 16


def stream(seed: int, step: int, place: int = 0) -> int:
    """The seed of what is random in one micro-batch, the one with number `place` of a step.

    torch's generator on a processor looks at the last 32 bits alone, so streams must differ there:
    multiples of the golden section of 2³² are far from each other, those of a thousand places more
    than a million steps.
    """
    return seed * 1_000_003 + step + place * 2_654_435_769


class Schedule:
    """The order of sequences over a training run.

    Args:
        lengths: [sequences] tokens in each.
        batch: sequences in one optimizer step; micro: sequences that go through the model at once.
        epochs: passes over the data; steps > 0 overrides it.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch: int,
        micro: int,
        epochs: float,
        steps: int = 0,
        seed: int = 0,
    ):
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
        """The steps of an epoch, POOL at a time: a corpus has too many to hold them all. Sequences
        of similar length share a micro-batch; which ones meet in a step is random."""
        rng = np.random.default_rng([self.seed, epoch])
        kind = np.int32 if len(self.lengths) < 2**31 else np.int64
        order = rng.permutation(np.arange(len(self.lengths), dtype=kind))[
            : self.steps_per_epoch * self.batch
        ]
        whole, rest = divmod(self.batch, self.micro)
        sizes = [self.micro] * whole + [rest] * (rest > 0)
        for start in range(0, len(order), POOL * self.batch):
            pool = order[start : start + POOL * self.batch].astype(np.int64)
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            count = len(pool) // self.batch
            pieces = np.split(pool, np.cumsum(sizes * count)[:-1])
            full, short = (
                [piece for piece in pieces if (len(piece) == self.micro) is want]
                for want in (True, False)
            )
            full, short = (
                [group[i] for i in rng.permutation(len(group))] for group in (full, short)
            )
            yield [full[whole * k : whole * (k + 1)] + short[k : k + 1] for k in range(count)]


@dataclass
class Batch:
    """One micro-batch: inputs and kept are [sequences, length], so are the labels of a corpus;
    `kept` is bool, True on real tokens; `segments`, [sequences, length], is 1 on the second text of
    a pair, where the model tells the two apart; `place` is its number among the micro-batches of
    its step."""

    inputs: torch.Tensor
    kept: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None
    place: int = 0

    def to(self, device: torch.device) -> "Batch":
        parts = (self.inputs, self.kept, self.labels, self.segments)
        return Batch(
            *(None if part is None else part.to(device, non_blocking=True) for part in parts),
            self.place,
        )


def places(schedule: Schedule, step: int, micro: int | None, what: str, shown: int = 8) -> str:
    """The indices of a step's micro-batches, or of one of them, in words: "sequences 3, 17, 5 and
    13 more"."""
    micros = schedule.anew().indices(step)
    indices = np.concatenate(micros if micro is None else micros[micro : micro + 1]).tolist()
    more = f" and {len(indices) - shown} more" if len(indices) > shown else ""
    return (
        f"{what}s {', '.join(map(str, indices[:shown]))}{more}"
        if len(indices) > 1
        else f"{what} {indices[0]}"
    )


def padded(longest: int) -> int:
    """The width of a batch whose longest sequence has so many tokens: the next multiple of 8 where
    there is a GPU, whose fast products want that. On a processor it would only be more to compute,
    with sentences some 10 % more."""
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

    def __init__(
        self,
        corpus,
        schedule: Schedule,
        *,
        specials: list[int],
        pad_id: int,
        mask_id: int,
        vocab_size: int,
        probability: float = 0.15,
        whole_words: bool = True,
    ):
        self.corpus, self.schedule, self.steps = corpus, schedule, schedule.steps
        self.specials = torch.tensor(sorted({*specials, pad_id}))
        self.pad_id, self.mask_id, self.vocab_size = pad_id, mask_id, vocab_size
        self.probability, self.whole_words = probability, whole_words

    def at(self, step: int, mine: slice = slice(None)) -> list[Batch]:
        """The micro-batches of a step, masked, or those of them that are `mine`: no other sequence
        is read. The masks of each depend on the seed, the step and its place in the step alone."""
        return [
            self._masked(step, place, indices)
            for place, indices in list(enumerate(self.schedule.indices(step)))[mine]
        ]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which sequences of the corpus a step reads, or one of its micro-batches, from 0."""
        return (
            f"{places(self.schedule, step, micro, 'sequence')} of "
            f"{getattr(self.corpus, 'folder', 'the corpus')}"
        )

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
            tokens,
            word_start,
            maskable,
            mask_id=self.mask_id,
            vocab_size=self.vocab_size,
            probability=self.probability,
            generator=generator,
        )
        return Batch(inputs, kept, labels, place=place)


def batches(
    p: Training, corpus: Corpus, *, steps: int = 0, seed: int | None = None
) -> MaskedBatches:
    """Masked batches of a prepared corpus, as the parameters of a stage say; `steps` and `seed`
    override theirs."""
    if not len(corpus):
        raise InputError(f"{corpus.folder}: the prepared corpus holds no sequence")
    tokenizer = corpus.tokenizer()
    schedule = Schedule(
        corpus.lengths,
        batch=p.batch_size,
        micro=p.micro_batch_size,
        epochs=p.epochs,
        steps=steps or p.steps,
        seed=p.seed if seed is None else seed,
    )
    return MaskedBatches(
        corpus,
        schedule,
        specials=[tokenizer.cls_token_id, tokenizer.sep_token_id],
        pad_id=tokenizer.pad_token_id,
        mask_id=tokenizer.mask_token_id,
        vocab_size=len(tokenizer),
        probability=p.mask_probability,
        whole_words=p.whole_words,
    )
