"""Transfer sets made from a prepared corpus: samples of it, its sequences shuffled, or sequences generated from its statistics.

001 (van de Graaf): 10 %, 1 % and 0.1 % of the corpus, sampled without replacement; `randomised`, each sequence's tokens
shuffled; `generated`, new sequences from two statistics of the sample. The slides do not name the statistics; ours are the
sequence-length histogram and the unigram frequencies. `bigram`, with the frequencies of token pairs, is our extra.

Everything streams, a block of sequences at a time: memory depends on the vocabulary, not on the number of sequences.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 4096  # sequences at a time


def sampled(total: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of `size` of `total` sequences without replacement, rising, a block at a time; every subset equally likely.

    How many fall into a block is drawn from the hypergeometric distribution, then which.
    """
    left = total
    for start in range(0, total, BLOCK):
        block = min(BLOCK, left)
        here = int(rng.hypergeometric(size, left - size, block)) if 0 < size < left else min(size, block)
        if here:
            yield start + np.sort(rng.choice(block, size=here, replace=False))
        size, left = size - here, left - block


def randomised(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sequence with its tokens shuffled; the special tokens at its two ends stay. The multiset of tokens is kept."""
    return np.concatenate([ids[:1], rng.permutation(ids[1:-1]), ids[-1:]])


@dataclass
class Statistics:
    """What `generated` knows of a sample: `lengths[n]` sequences of n inner tokens, `unigrams[v]` occurrences of token v."""

    lengths: np.ndarray
    unigrams: np.ndarray
    first: int
    last: int


def statistics(blocks: Iterator[list[np.ndarray]], vocabulary: int) -> Statistics:
    """Lengths and unigram counts of sequences, special tokens at the two ends aside."""
    lengths, unigrams, ends = np.zeros(1, np.int64), np.zeros(vocabulary, np.int64), (0, 0)
    for rows in blocks:
        ends = int(rows[0][0]), int(rows[0][-1])
        found = np.bincount([len(row) - 2 for row in rows])
        width = max(len(found), len(lengths))
        lengths = np.pad(lengths, (0, width - len(lengths))) + np.pad(found, (0, width - len(found)))
        unigrams += np.bincount(np.concatenate([row[1:-1] for row in rows]), minlength=vocabulary)
    return Statistics(lengths, unigrams, *ends)


def shuffled_lengths(histogram: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The lengths of the histogram in random order, a block at a time: exactly as many of each, so as many tokens in all."""
    left = histogram.copy()
    while left.sum():
        here = rng.multivariate_hypergeometric(left, min(BLOCK, int(left.sum())), method="marginals")
        left -= here
        yield rng.permutation(np.repeat(np.arange(len(here)), here))


def generated(found: Statistics, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
    """New sequences: lengths of the sample's histogram, tokens drawn independently by the sample's unigram frequencies."""
    rising = np.cumsum(found.unigrams)
    for lengths in shuffled_lengths(found.lengths, rng):
        tokens = np.searchsorted(rising, rng.integers(rising[-1], size=int(lengths.sum())), side="right")
        inner = np.split(tokens.astype(np.int32), np.cumsum(lengths)[:-1])
        yield [np.concatenate([[found.first], row, [found.last]]).astype(np.int32) for row in inner]


@dataclass
class Bigrams:
    """Counts of token pairs as sorted rows: the followers of token v are `next[start[v]:start[v + 1]]`."""

    start: np.ndarray
    next: np.ndarray
    rising: np.ndarray  # cumulative counts over all pairs
    first: np.ndarray  # cumulative counts of first tokens


def bigrams(blocks: Iterator[list[np.ndarray]], vocabulary: int) -> Bigrams:
    """Pairs of neighbouring inner tokens, and the first tokens. Memory grows with the number of different pairs."""
    pairs, counts, first = np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(vocabulary, np.int64)
    for rows in blocks:
        codes = np.concatenate(
            [row[1:-2].astype(np.int64) * vocabulary + row[2:-1] for row in rows if len(row) > 3] or [pairs[:0]]
        )
        new, often = np.unique(codes, return_counts=True)
        merged, place = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, often]), minlength=len(merged)).astype(np.int64)
        pairs = merged
        first += np.bincount([row[1] for row in rows if len(row) > 2], minlength=vocabulary)
    start = np.searchsorted(pairs // vocabulary, np.arange(vocabulary + 1))
    return Bigrams(start, (pairs % vocabulary).astype(np.int32), np.cumsum(counts), np.cumsum(first))


def generated_by_bigrams(found: Statistics, pairs: Bigrams, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
    """New sequences whose every token follows the one before as often as in the sample; a token that nothing ever
    followed is followed by a first token."""
    before = np.concatenate([[0], pairs.rising])
    low, high = before[pairs.start[:-1]], before[pairs.start[1:]]
    for lengths in shuffled_lengths(found.lengths, rng):
        out = np.zeros((len(lengths), max(1, int(lengths.max()))), np.int32)
        for place in range(out.shape[1]):
            begin = np.searchsorted(pairs.first, rng.integers(pairs.first[-1], size=len(lengths)), side="right")
            if place:
                last = out[:, place - 1]
                width = high[last] - low[last]
                draw = low[last] + (rng.random(len(lengths)) * width).astype(np.int64)
                follower = pairs.next[
                    np.minimum(np.searchsorted(pairs.rising, draw, side="right"), len(pairs.next) - 1)
                ]
                begin = np.where(width > 0, follower, begin)
            out[:, place] = begin
        yield [np.concatenate([[found.first], row[:n], [found.last]]).astype(np.int32) for row, n in zip(out, lengths)]


def word_starts(ids: np.ndarray, continues: np.ndarray, ends: np.ndarray | None) -> np.ndarray:
    """Where words start in a sequence that no text stands behind: [length] bool, False at the special tokens.

    WordPiece: a token without `##` (`continues[v]` is False) starts a word. HerBERT's BPE: a token after one that ends a
    word (`ends[v]`, it carries `</w>`), and the first.
    """
    starts = ~continues[ids] if ends is None else np.concatenate([[True], ends[ids[:-1]]])
    if len(ids) > 2:
        starts[1] = True
    starts[[0, -1]] = False
    return starts
