"""The batches of a training: which sequences make which step, grouped by length, and which of their
words are masked.

`at(step)` depends on the seed and the step alone, so a resumed run gets the batches it would have
got. Each micro-batch has random numbers of its own, so several processes get the same ones as a
single process would.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lib.common.errors import InputError
from lib.data.prepared import Corpus
from lib.training.parameters import Training

IGNORE = -100
"""Label of a position without an MLM loss (PyTorch's own convention)."""
POOL = 16
"""Steps whose sequences are sorted by length together: more pad less, fewer mix better."""


@dataclass
class Batch:
    """One micro-batch. All tensors are [sequences, length]: the inputs; `kept`, True on real
    tokens; the labels (of a task: in a shape of its own); `segments`, 1 on the second text of a
    pair, for models that tell the two apart. `place` is its number within its step."""

    inputs: torch.Tensor
    kept: torch.Tensor
    labels: torch.Tensor
    segments: torch.Tensor | None = None
    place: int = 0

    def to(self, device: torch.device) -> "Batch":
        parts = (self.inputs, self.kept, self.labels, self.segments)
        moved = (None if part is None else part.to(device, non_blocking=True) for part in parts)
        return Batch(*moved, self.place)


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
    """Choose words and hide their tokens: 80 % mask, 10 % a random token, 10 % unchanged; BERT
    (Devlin et al. 2018). Returns inputs and labels, the latter `IGNORE` on tokens not chosen.

    Args:
        ids, word_start, maskable: all [sequences, length]. word_start is True where a token begins
            a word; tokens before the first start (the rest of a word that was cut) count as one
            word; all True masks token by token. maskable is False on special tokens and padding.
        probability: the share of *words* chosen, so also the expected share of tokens.
    """
    word = (word_start & maskable).long().cumsum(dim=1)
    # One draw for every word that a row could have; all tokens of a word look up the same draw.
    draw = torch.rand(ids.shape[0], ids.shape[1] + 1, generator=generator)
    chosen = (draw.gather(1, word) < probability) & maskable
    return _hide(ids, chosen, mask_id, vocab_size, generator)


def smoothed_mask(
    ids: torch.Tensor,
    kept: torch.Tensor,
    maskable: torch.Tensor,
    *,
    weights: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    probability: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose tokens, rare ones more often, and hide them as `whole_word_mask` does: the masks of
    DistilBERT's authors and of 001, where a token's weight is (its count in the corpus)^−0.7.

    Exactly ⌈probability · n⌉ tokens of the micro-batch are chosen, n counting its special tokens
    too, as there: one after another, each with a probability in proportion to its weight.

    Args:
        ids, kept, maskable: all [sequences, length]; kept is False on padding, maskable on special
            tokens as well.
        weights: [vocabulary], above 0.
    """
    count = min(math.ceil(probability * int(kept.sum())), int(maskable.sum()))
    # The smallest of exponential times with the weights as rates: a draw without replacement
    # (Efraimidis and Spirakis 2006).
    times = torch.empty(ids.shape).exponential_(generator=generator)
    times = (times / weights[ids]).masked_fill(~maskable, math.inf).flatten()
    chosen = torch.zeros_like(maskable).flatten()
    chosen[times.topk(count, largest=False).indices] = True
    return _hide(ids, chosen.view_as(maskable), mask_id, vocab_size, generator)


def _hide(
    ids: torch.Tensor,
    chosen: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs, in which 80 % of the tokens chosen are the mask, 10 % a random token, 10 % as they
    were; and labels."""
    labels = ids.masked_fill(~chosen, IGNORE)
    change = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(vocab_size, ids.shape, generator=generator)
    inputs = torch.where(chosen & (change < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (change >= 0.8) & (change < 0.9), random_ids, inputs)
    return inputs, labels


def seed_at(seed: int, step: int, place: int = 0) -> int:
    """The random seed of the micro-batch with number `place` of a step, from that of a training.

    torch's generator on a processor uses the last 32 bits alone, so seeds must differ in these.
    Modulo 2³², the multiples of 2³² / golden ratio keep far apart: a thousand places by more than a
    million steps.
    """
    return seed * 1_000_003 + step + place * 2_654_435_769


class Schedule:
    """The order of sequences over a training.

    Args:
        lengths: [sequences] tokens in each.
        batch, micro: sequences in an optimizer step, and through the model at once.
        epochs: passes over the data; steps > 0 overrides it.
        seed: of the order.
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
        """A copy with a place of its own, to look up a step while another thread reads this one."""
        schedule = copy.copy(self)
        schedule._epoch = -1
        return schedule

    def indices(self, step: int) -> list[np.ndarray]:
        """The micro-batches of a step, each an array of sequence indices."""
        epoch, within = divmod(step, self.steps_per_epoch)
        pool, place = divmod(within, POOL)
        if epoch != self._epoch or pool < self._pool:
            self._epoch, self._pool, self._pools = epoch, -1, self._plan(epoch)
        while self._pool < pool:
            self._steps = next(self._pools)
            self._pool += 1
        return self._steps[place]

    def named(self, step: int, micro: int | None, kind: str, shown: int = 8) -> str:
        """The sequences of a step, or of one of its micro-batches, in words: "sequences 3, 17, 5
        and 13 more"."""
        pieces = self.anew().indices(step)
        indices = np.concatenate(pieces if micro is None else pieces[micro : micro + 1]).tolist()
        if len(indices) == 1:
            return f"{kind} {indices[0]}"
        more = f" and {len(indices) - shown} more" if len(indices) > shown else ""
        return f"{kind}s {', '.join(map(str, indices[:shown]))}{more}"

    def _plan(self, epoch: int) -> Iterator[list[list[np.ndarray]]]:
        """The steps of an epoch, each a list of micro-batches, POOL steps at a time, as a corpus
        has too many to hold them all. The sequences of a micro-batch are of similar length; which
        micro-batches meet in a step is random."""
        rng = np.random.default_rng([self.seed, epoch])
        dtype = np.int32 if len(self.lengths) < 2**31 else np.int64
        order = rng.permutation(np.arange(len(self.lengths), dtype=dtype))
        order = order[: self.steps_per_epoch * self.batch]
        whole, rest = divmod(self.batch, self.micro)
        sizes = [self.micro] * whole + [rest] * (rest > 0)
        for start in range(0, len(order), POOL * self.batch):
            pool = order[start : start + POOL * self.batch].astype(np.int64)
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            count = len(pool) // self.batch
            pieces = np.split(pool, np.cumsum(sizes * count)[:-1])
            full = _shuffled(rng, [piece for piece in pieces if len(piece) == self.micro])
            short = _shuffled(rng, [piece for piece in pieces if len(piece) < self.micro])
            yield [full[whole * k : whole * (k + 1)] + short[k : k + 1] for k in range(count)]


def _shuffled(rng: np.random.Generator, pieces: list) -> list:
    return [pieces[index] for index in rng.permutation(len(pieces))]


def padded_width(longest: int) -> int:
    """The width of a batch whose longest sequence has this many tokens: the next multiple of 8 on a
    GPU, whose fast products need that. On a processor it would only be more to compute, with
    sentences some 10 %."""
    return -(-longest // 8) * 8 if torch.cuda.is_available() else longest


def pad(rows: list[np.ndarray], value: int) -> torch.Tensor:
    """The rows as one tensor, [sequences, `padded_width` of the longest], with `value` on the
    right."""
    out = np.full((len(rows), padded_width(max(map(len, rows)))), value, dtype=np.int64)
    for line, row in zip(out, rows):
        line[: len(row)] = row
    return torch.from_numpy(out)


class MaskedBatches:
    """Batches for MLM and distillation from a prepared corpus, masked differently in every epoch.

    Args:
        corpus: has `.rows(indices) -> (ids, word_start)`, two lists with an array for each row.
        specials: ids that are never masked; pad_id, mask_id, vocab_size: the tokenizer's.
        probability: share of words masked; without whole_words: of tokens.
        weights: [vocabulary]: tokens are chosen by `smoothed_mask`; None: all words alike.
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
        weights: torch.Tensor | None = None,
    ):
        self.corpus, self.schedule, self.steps = corpus, schedule, schedule.steps
        self.specials = torch.tensor(sorted({*specials, pad_id}))
        self.pad_id, self.mask_id, self.vocab_size = pad_id, mask_id, vocab_size
        self.probability, self.whole_words, self.weights = probability, whole_words, weights

    def at(self, step: int, share: slice = slice(None)) -> list[Batch]:
        """The masked micro-batches of a step, or a `share` of them: no other sequence is read."""
        pieces = list(enumerate(self.schedule.indices(step)))[share]
        return [self._masked(step, place, indices) for place, indices in pieces]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which sequences of the corpus a step reads, or one of its micro-batches, from 0."""
        folder = getattr(self.corpus, "folder", "the corpus")
        return f"{self.schedule.named(step, micro, 'sequence')} of {folder}"

    def _masked(self, step: int, place: int, indices: np.ndarray) -> Batch:
        ids, starts = self.corpus.rows(indices)
        lengths = torch.tensor([len(row) for row in ids])
        tokens, word_start = pad(ids, self.pad_id), pad(starts, 0).bool()
        kept = torch.arange(tokens.shape[1]) < lengths[:, None]
        maskable = kept & ~torch.isin(tokens, self.specials)
        how = {
            "mask_id": self.mask_id,
            "vocab_size": self.vocab_size,
            "probability": self.probability,
            "generator": torch.Generator().manual_seed(seed_at(self.schedule.seed, step, place)),
        }
        if self.weights is None:
            starts = word_start if self.whole_words else torch.ones_like(word_start)
            inputs, labels = whole_word_mask(tokens, starts, maskable, **how)
        else:
            inputs, labels = smoothed_mask(tokens, kept, maskable, weights=self.weights, **how)
        return Batch(inputs, kept, labels, place=place)


def batches(
    p: Training, corpus: Corpus, *, steps: int = 0, seed: int | None = None
) -> MaskedBatches:
    """Masked batches of a prepared corpus by the parameters of a stage; `steps` and `seed` override
    theirs."""
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
    weights = None
    if p.mask_smoothing:
        counts = torch.from_numpy(corpus.token_counts(len(tokenizer)))
        weights = counts.clamp(min=1).float() ** -p.mask_smoothing
    return MaskedBatches(
        corpus,
        schedule,
        specials=[tokenizer.cls_token_id, tokenizer.sep_token_id],
        pad_id=tokenizer.pad_token_id,
        mask_id=tokenizer.mask_token_id,
        vocab_size=len(tokenizer),
        probability=p.mask_probability,
        whole_words=p.whole_words,
        weights=weights,
    )
