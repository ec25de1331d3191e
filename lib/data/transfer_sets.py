"""Transfer sets made from a corpus: samples of it, its sequences shuffled, or sequences generated
from its statistics.

001 (van de Graaf): 10 %, 1 % and 0.1 % of the corpus, sampled without replacement; `randomised`,
the tokens of each sequence shuffled; `generated`, new sequences from two statistics of the sample.
The slides do not name them: the histogram of sequence lengths and the unigram frequencies are our
assumption. `bigram`, from the frequencies of token pairs, is our addition.

Sequences come in blocks (ids, lengths): the tokens of several sequences in one array, int32
[tokens], special tokens at both ends of each, and the length of each, int64 [sequences]. Memory
depends on the vocabulary (for `bigram` on the number of distinct pairs), not on the number of
sequences.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

INDICES = 1 << 18  # whose keys are in memory at a time
ROWS = 4096  # sequences of a block
PACK = 500_000_000  # cards; NumPy draws from fewer than 10^9
PAIRS = 1 << 21  # collected before they are counted

Block = tuple[np.ndarray, np.ndarray]

# ---------------------------------------------------------------------------------------- sampling


def scramble(state: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014), one-to-one on 64-bit numbers:
    uint64 [n] to uint64 [n]."""
    z = state ^ (state >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def sampling_keys(state: np.uint64, start: int, stop: int) -> np.ndarray:
    """A pseudo-random key of 64 bits for each index in [start, stop); all are different."""
    steps = np.arange(start + 1, stop + 1, dtype=np.uint64)
    steps *= np.uint64(0x9E3779B97F4A7C15)
    steps += state
    return scramble(steps)


def sample_mask(
    total: int, size: int, seed: int, nested: bool = True
) -> Callable[[int, int], np.ndarray]:
    """A sample of exactly `size` of `total` sequences, without replacement, all subsets equally
    likely.

    It consists of the sequences with the `size` smallest keys, so that with one seed a smaller
    sample lies within a larger one; not `nested`, samples of different sizes are independent.
    Returns: a function of (start, stop) that gives the mask of these indices, bool [stop - start].
    """
    state = scramble(np.array([seed], np.uint64))
    state = (state if nested else scramble(state ^ np.uint64(size)))[0]
    if size in (0, total):
        return lambda start, stop: np.full(stop - start, size > 0)
    last = _key_of_rank(total, size - 1, state)
    return lambda start, stop: sampling_keys(state, start, stop) <= last


def _key_of_rank(total: int, rank: int, state: np.uint64) -> np.uint64:
    """The key that `rank` others are smaller than, by a radix selection that computes all keys anew
    in each of its three passes."""
    prefix = 0
    for bits in (0, 16):
        counts = np.zeros(1 << 16, np.int64)
        for keys in _keys_with_prefix(prefix, bits, total, state):
            digits = (keys >> np.uint64(48 - bits)) & np.uint64(0xFFFF)
            counts += np.bincount(digits, minlength=1 << 16)
        reach = np.cumsum(counts)
        digit = int(np.searchsorted(reach, rank, side="right"))
        rank -= int(reach[digit - 1]) if digit else 0
        prefix = prefix << 16 | digit
    few = np.concatenate(list(_keys_with_prefix(prefix, 32, total, state)))  # about 1 in 2^32
    return np.sort(few)[rank]


def _keys_with_prefix(prefix: int, bits: int, total: int, state: np.uint64) -> Iterator[np.ndarray]:
    for start in range(0, total, INDICES):
        keys = sampling_keys(state, start, min(start + INDICES, total))
        yield keys[keys >> np.uint64(64 - bits) == prefix] if bits else keys


# ----------------------------------------------------------------------------- shuffled sequences


def first_and_last(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the first and of the last token of each sequence of a block."""
    after = np.cumsum(lengths)
    return after - lengths, after - 1


def inner_mask(lengths: np.ndarray) -> np.ndarray:
    """True at all tokens of a block except the two at the ends of each sequence, bool [tokens]."""
    inner = np.ones(int(lengths.sum()), bool)
    for ends in first_and_last(lengths):
        inner[ends] = False
    return inner


def randomise(ids: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The tokens of a block, shuffled within each sequence except for its two ends. [tokens]"""
    row = np.repeat(np.arange(len(lengths), dtype=np.float64), lengths)
    order = row + rng.random(len(ids))
    first, last = first_and_last(lengths)
    order[first], order[last] = row[first], row[last] + 1
    # Stable: the last token of a row comes before the first of the next.
    return ids[np.argsort(order, kind="stable")]


# ---------------------------------------------------------------------------- generated sequences


@dataclass
class Statistics:
    """Statistics of a sample: `lengths[n]` sequences of n inner tokens, `unigrams[v]` of these are
    token v, and the special tokens at both ends."""

    lengths: np.ndarray
    unigrams: np.ndarray
    first: int
    last: int


def measure(blocks: Iterable[Block], vocabulary: int) -> Statistics:
    """The statistics of sequences."""
    lengths, unigrams, ends = np.zeros(1, np.int64), np.zeros(vocabulary, np.int64), (0, 0)
    for ids, sizes in blocks:
        ends = int(ids[0]), int(ids[-1])
        grown = np.bincount(sizes - 2, minlength=len(lengths))
        grown[: len(lengths)] += lengths
        lengths = grown
        unigrams += np.bincount(ids[inner_mask(sizes)], minlength=vocabulary)
    return Statistics(lengths, unigrams, *ends)


def dealer(counts: np.ndarray, rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """A function of n that deals the next n cards of a shuffled pack, which has counts[v] cards of
    value v. Packs larger than PACK are dealt in equal shares."""
    shares, done, left = -(-int(counts.sum()) // PACK), 0, np.zeros_like(counts)

    def deal(number: int) -> np.ndarray:
        nonlocal done, left
        dealt = [np.empty(0, np.int64)]
        while number:
            if not left.any():
                left = counts * (done + 1) // shares - counts * done // shares
                done += 1
            size = min(number, int(left.sum()))
            drawn = rng.multivariate_hypergeometric(left, size, method="marginals")
            left -= drawn
            number -= size
            dealt.append(rng.permutation(np.repeat(np.arange(len(drawn)), drawn)))
        return np.concatenate(dealt)

    return deal


def _shuffled_lengths(histogram: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The lengths of a histogram in random order, in blocks, each exactly as often as it says."""
    deal, left = dealer(histogram, rng), int(histogram.sum())
    while left:
        yield deal(min(ROWS, left))
        left -= min(ROWS, left)


def _add_ends(inner: np.ndarray, lengths: np.ndarray, statistics: Statistics) -> Block:
    """A block of sequences of `lengths` inner tokens each, with special tokens at their ends."""
    lengths = lengths + 2
    ids = np.empty(int(lengths.sum()), np.int32)
    first, last = first_and_last(lengths)
    ids[first], ids[last], ids[inner_mask(lengths)] = statistics.first, statistics.last, inner
    return ids, lengths


def generate(statistics: Statistics, rng: np.random.Generator) -> Iterator[Block]:
    """New sequences with the lengths and unigram counts of the sample.

    Dealt, not drawn with replacement: with the vocabulary of a language, a million independent
    draws differ from the sample's frequencies by a total variation of 4 %; dealt, both statistics
    are exact.
    """
    deal = dealer(statistics.unigrams, rng)
    for lengths in _shuffled_lengths(statistics.lengths, rng):
        yield _add_ends(deal(int(lengths.sum())), lengths, statistics)


@dataclass
class Bigrams:
    """Counts of token pairs as sorted rows: the followers of token v are `next[start[v]:start[v +
    1]]`. `cumulative` counts over all pairs; `first`: cumulative counts of first tokens."""

    start: np.ndarray
    next: np.ndarray
    cumulative: np.ndarray
    first: np.ndarray


def measure_bigrams(blocks: Iterable[Block], vocabulary: int) -> Bigrams:
    """The pairs of neighbouring inner tokens, and the first inner tokens."""
    pairs, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    first = np.zeros(vocabulary, np.int64)
    waiting: list[np.ndarray] = []
    for ids, lengths in blocks:
        inner = inner_mask(lengths)
        both = inner[:-1] & inner[1:]
        waiting.append(ids[:-1][both].astype(np.int64) * vocabulary + ids[1:][both])
        begin, _ = first_and_last(lengths)
        first += np.bincount(ids[begin[lengths > 2] + 1], minlength=vocabulary)
        if sum(map(len, waiting)) >= PAIRS:
            pairs, counts = _count_more(pairs, counts, np.concatenate(waiting))
            waiting = []
    pairs, counts = _count_more(pairs, counts, np.concatenate([pairs[:0], *waiting]))
    start = np.searchsorted(pairs // vocabulary, np.arange(vocabulary + 1))
    following = (pairs % vocabulary).astype(np.int32)
    return Bigrams(start, following, np.cumsum(counts), np.cumsum(first))


def _count_more(
    pairs: np.ndarray, counts: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted `pairs` and their `counts` after counting `more` pairs."""
    new, times = np.unique(more, return_counts=True)
    index = np.searchsorted(pairs, new)
    known = index < len(pairs)
    known[known] = pairs[index[known]] == new[known]
    counts[index[known]] += times[known]
    index, new, times = index[~known], new[~known], times[~known]
    return np.insert(pairs, index, new), np.insert(counts, index, times)


def generate_by_bigrams(
    statistics: Statistics, bigrams: Bigrams, rng: np.random.Generator
) -> Iterator[Block]:
    """New sequences in which tokens follow each other as often as in the sample; a token that
    nothing followed there is followed by a first token."""
    before = np.concatenate([[0], bigrams.cumulative])
    low, high = before[bigrams.start[:-1]], before[bigrams.start[1:]]
    for lengths in _shuffled_lengths(statistics.lengths, rng):
        width = int(lengths.max())
        ids = np.zeros((len(lengths), width), np.int32)
        for position in range(width):
            rows = np.flatnonzero(lengths > position)
            if position:
                last = ids[rows, position - 1]
                has_next = low[last] < high[last]
                follow, last, rows = rows[has_next], last[has_next], rows[~has_next]
                drawn = rng.integers(low[last], high[last])
                pair = np.searchsorted(bigrams.cumulative, drawn, side="right")
                ids[follow, position] = bigrams.next[pair]
            drawn = rng.integers(bigrams.first[-1], size=len(rows))
            ids[rows, position] = np.searchsorted(bigrams.first, drawn, side="right")
        yield _add_ends(ids[np.arange(width) < lengths[:, None]], lengths, statistics)
