"""Transfer sets made from a corpus: samples of it, its sequences shuffled, or sequences generated
from its statistics.

001 (van de Graaf): 10 %, 1 % and 0.1 % of the corpus, sampled without replacement; `randomised`,
each sequence's tokens shuffled; `generated`, new sequences from two statistics of the sample. The
slides do not name the statistics: that they are the histogram of sequence lengths and the unigram
frequencies is our assumption. `bigram`, from the frequencies of token pairs, is our addition.

Sequences come in blocks (ids, lengths): the tokens of some sequences in one array, int32 [tokens],
special tokens at the two ends of each, and how many each has, int64 [sequences]. Memory depends on
the vocabulary (for `bigram` on the number of different pairs), not on the number of sequences.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

INDICES = 1 << 18  # looked at at a time
ROWS = 4096  # sequences of a block
PACK = 500_000_000
PAIRS = 1 << 21  # gathered before they are counted

Block = tuple[np.ndarray, np.ndarray]

# ----------------------------------------------------------------------------------------- sampling


def scrambled(state: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014), one-to-one on 64-bit numbers:
    uint64 [n] to uint64 [n]."""
    z = state ^ (state >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def keys(state: np.uint64, start: int, stop: int) -> np.ndarray:
    """A pseudo-random key of 64 bits for each index from `start` to before `stop`; no two indices
    have the same."""
    steps = np.arange(start + 1, stop + 1, dtype=np.uint64)
    steps *= np.uint64(0x9E3779B97F4A7C15)
    steps += state
    return scrambled(steps)


def chosen(
    total: int, size: int, seed: int, nested: bool = True
) -> Callable[[int, int], np.ndarray]:
    """Which of `total` sequences are in a sample of exactly `size`, without replacement, every
    subset equally likely.

    The sample is those with the `size` smallest keys, so with one seed a smaller sample lies within
    a larger one; unless `nested` is False: then samples of different sizes are independent.
    Returns: a function of (start, stop) that gives bool [stop - start].
    """
    state = scrambled(np.array([seed], np.uint64))
    state = (state if nested else scrambled(state ^ np.uint64(size)))[0]
    if size in (0, total):
        return lambda start, stop: np.full(stop - start, size > 0)
    last = key_of_rank(total, size - 1, state)
    return lambda start, stop: keys(state, start, stop) <= last


def key_of_rank(total: int, rank: int, state: np.uint64) -> np.uint64:
    """The key that `rank` others are smaller than: a radix selection, keys computed anew in each of
    its three passes."""
    prefix = 0
    for known in (0, 16):
        counts = np.zeros(1 << 16, np.int64)
        for found in keys_with(prefix, known, total, state):
            counts += np.bincount(
                (found >> np.uint64(48 - known)) & np.uint64(0xFFFF), minlength=1 << 16
            )
        reach = np.cumsum(counts)
        digit = int(np.searchsorted(reach, rank, side="right"))
        rank -= int(reach[digit - 1]) if digit else 0
        prefix = prefix << 16 | digit
    few = np.concatenate(list(keys_with(prefix, 32, total, state)))  # about one in 2^32
    return np.sort(few)[rank]


def keys_with(prefix: int, bits: int, total: int, state: np.uint64) -> Iterator[np.ndarray]:
    """The keys of all indices whose first `bits` bits are `prefix`, in blocks."""
    for start in range(0, total, INDICES):
        found = keys(state, start, min(start + INDICES, total))
        yield found[found >> np.uint64(64 - bits) == prefix] if bits else found


def sampled(total: int, size: int, seed: int, nested: bool = True) -> Iterator[np.ndarray]:
    """The indices of a sample, rising, in blocks; see chosen."""
    taken = chosen(total, size, seed, nested)
    for start in range(0, total, INDICES):
        yield start + np.flatnonzero(taken(start, min(start + INDICES, total)))


# ------------------------------------------------------------------------------------- compositions


def edges(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the first and of the last token of every sequence of a block."""
    after = np.cumsum(lengths)
    return after - lengths, after - 1


def randomised(ids: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The tokens of a block, shuffled within each sequence; the special tokens at its two ends
    stay. [tokens]"""
    row = np.repeat(np.arange(len(lengths), dtype=np.float64), lengths)
    place = row + rng.random(len(ids))
    first, last = edges(lengths)
    place[first], place[last] = row[first], row[last] + 1
    return ids[
        np.argsort(place, kind="stable")
    ]  # stable: the last of a row comes before the first of the next


@dataclass
class Statistics:
    """What `generated` knows of a sample: `lengths[n]` sequences of n inner tokens, `unigrams[v]`
    occurrences of token v among them, and the special tokens at the two ends."""

    lengths: np.ndarray
    unigrams: np.ndarray
    first: int
    last: int


def added(histogram: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The histogram with some more values, longer if need be."""
    found = np.bincount(values, minlength=len(histogram))
    found[: len(histogram)] += histogram
    return found


def statistics(blocks: Iterable[Block], vocabulary: int) -> Statistics:
    """Lengths and unigram counts of sequences, special tokens at the two ends aside."""
    lengths, unigrams, ends = np.zeros(1, np.int64), np.zeros(vocabulary, np.int64), (0, 0)
    for ids, sizes in blocks:
        first, last = edges(sizes)
        ends = int(ids[0]), int(ids[-1])
        lengths = added(lengths, sizes - 2)
        unigrams += np.bincount(ids, minlength=vocabulary)
        unigrams -= np.bincount(ids[first], minlength=vocabulary) + np.bincount(
            ids[last], minlength=vocabulary
        )
    return Statistics(lengths, unigrams, *ends)


def dealer(counts: np.ndarray, rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A function of n that deals the next n cards of a shuffled pack in which value v stands
    counts[v] times.

    Large packs are dealt one share after the other: NumPy draws from fewer than 10^9 cards.
    """
    shares, done, left = -(-int(counts.sum()) // PACK), 0, np.zeros_like(counts)

    def deal(number: int) -> np.ndarray:
        nonlocal done, left
        dealt = [np.empty(0, np.int64)]
        while number:
            if not left.any():
                left, done = counts * (done + 1) // shares - counts * done // shares, done + 1
            here = rng.multivariate_hypergeometric(
                left, min(number, int(left.sum())), method="marginals"
            )
            left -= here
            number -= int(here.sum())
            dealt.append(rng.permutation(np.repeat(np.arange(len(here)), here)))
        return np.concatenate(dealt)

    return deal


def shuffled_lengths(histogram: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The lengths of the histogram in random order, in blocks: exactly as many of each, so as many
    tokens in all."""
    deal, left = dealer(histogram, rng), int(histogram.sum())
    while left:
        yield deal(min(ROWS, left))
        left -= min(ROWS, left)


def framed(inner: np.ndarray, lengths: np.ndarray, found: Statistics) -> Block:
    """A block of sequences of `lengths` inner tokens each, with the special tokens put at their
    ends."""
    whole = lengths + 2
    first, last = edges(whole)
    ids, between = np.empty(int(whole.sum()), np.int32), np.ones(int(whole.sum()), bool)
    between[first] = between[last] = False
    ids[first], ids[last], ids[between] = found.first, found.last, inner
    return ids, whole


def generated(found: Statistics, rng: np.random.Generator) -> Iterator[Block]:
    """New sequences: their lengths are dealt from the sample's histogram, their tokens from its
    unigram counts.

    Dealt, not drawn with replacement: of a vocabulary as large and as skewed as a language's, a
    million independent draws miss the sample's frequencies by a total variation of 4 %; like this
    both statistics come out exactly.
    """
    deal = dealer(found.unigrams, rng)
    for lengths in shuffled_lengths(found.lengths, rng):
        yield framed(deal(int(lengths.sum())), lengths, found)


@dataclass
class Bigrams:
    """Counts of token pairs as sorted rows: the followers of token v are `next[start[v]:start[v +
    1]]`."""

    start: np.ndarray
    next: np.ndarray
    rising: np.ndarray  # cumulative counts over all pairs
    first: np.ndarray  # cumulative counts of first tokens


def bigrams(blocks: Iterable[Block], vocabulary: int) -> Bigrams:
    """Pairs of neighbouring inner tokens, and the first inner tokens."""
    pairs, counts, first = (
        np.empty(0, np.int64),
        np.empty(0, np.int64),
        np.zeros(vocabulary, np.int64),
    )
    waiting: list[np.ndarray] = []
    for ids, lengths in blocks:
        begin, last = edges(lengths)
        inner = np.ones(len(ids), bool)
        inner[begin] = inner[last] = False
        both = inner[:-1] & inner[1:]
        waiting.append(ids[:-1][both].astype(np.int64) * vocabulary + ids[1:][both])
        first += np.bincount(ids[begin[lengths > 2] + 1], minlength=vocabulary)
        if sum(map(len, waiting)) >= PAIRS:
            pairs, counts = counted(pairs, counts, np.concatenate(waiting))
            waiting = []
    pairs, counts = counted(pairs, counts, np.concatenate([pairs[:0], *waiting]))
    start = np.searchsorted(pairs // vocabulary, np.arange(vocabulary + 1))
    return Bigrams(
        start, (pairs % vocabulary).astype(np.int32), np.cumsum(counts), np.cumsum(first)
    )


def counted(
    pairs: np.ndarray, counts: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted `pairs` and their `counts` when some `more` are counted."""
    new, often = np.unique(more, return_counts=True)
    place = np.searchsorted(pairs, new)
    known = place < len(pairs)
    known[known] = pairs[place[known]] == new[known]
    counts[place[known]] += often[known]
    return np.insert(pairs, place[~known], new[~known]), np.insert(
        counts, place[~known], often[~known]
    )


def generated_by_bigrams(
    found: Statistics, pairs: Bigrams, rng: np.random.Generator
) -> Iterator[Block]:
    """New sequences whose every token follows the one before as often as in the sample; a token
    that nothing ever followed is followed by a first token."""
    before = np.concatenate([[0], pairs.rising])
    low, high = before[pairs.start[:-1]], before[pairs.start[1:]]
    for lengths in shuffled_lengths(found.lengths, rng):
        width = int(lengths.max())
        out = np.zeros((len(lengths), width), np.int32)
        for place in range(width):
            rows = np.flatnonzero(lengths > place)
            if place:
                last = out[rows, place - 1]
                follow = low[last] < high[last]
                rows, last, alone = rows[follow], last[follow], rows[~follow]
                drawn = rng.integers(low[last], high[last])
                out[rows, place] = pairs.next[np.searchsorted(pairs.rising, drawn, side="right")]
                rows = alone
            drawn = rng.integers(pairs.first[-1], size=len(rows))
            out[rows, place] = np.searchsorted(pairs.first, drawn, side="right")
        yield framed(out[np.arange(width) < lengths[:, None]], lengths, found)


def word_starts(
    ids: np.ndarray, lengths: np.ndarray, continues: np.ndarray, ends: np.ndarray | None
) -> np.ndarray:
    """Where words start in a block that no text stands behind: bool [tokens], False at the special
    tokens.

    WordPiece: a token without `##` (`continues[v]` is False) starts a word. HerBERT's BPE: a token
    after one that ends a word (`ends[v]`, it carries `</w>`). The first token of a sequence always
    does.
    """
    starts = ~continues[ids] if ends is None else np.concatenate([[True], ends[ids[:-1]]])
    first, last = edges(lengths)
    starts[first[lengths > 2] + 1] = True
    starts[first] = starts[last] = False
    return starts
