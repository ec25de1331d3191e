"""Transfer sets by their statistics: what is kept exactly, and what only on average."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from lib.data import transfer_sets as ts

VOCABULARY = 200
FIRST, LAST = 0, 2


def rng(seed=0):
    return np.random.default_rng(seed)


def sample(sequences=3000, seed=0):
    """Sequences of 1 to 30 inner tokens, Zipf-distributed, with a strong preference of v for v + 1
    after it."""
    random, rows = rng(seed), []
    for _ in range(sequences):
        row = [int(min(VOCABULARY - 1, 5 + random.zipf(1.5)))]
        for _ in range(random.integers(0, 30)):
            row.append(
                5 + (row[-1] - 4) % (VOCABULARY - 5)
                if random.random() < 0.6
                else int(min(VOCABULARY - 1, 5 + random.zipf(1.5)))
            )
        rows.append(np.array([FIRST, *row, LAST], np.int32))
    return rows


def blocks(rows, size=500):
    return [
        (np.concatenate(some), np.array([len(row) for row in some]))
        for some in (rows[i : i + size] for i in range(0, len(rows), size))
    ]


def rows_of(made):
    return [row for ids, lengths in made for row in np.split(ids, np.cumsum(lengths)[:-1])]


def unigrams(rows):
    counts = np.bincount(np.concatenate([row[1:-1] for row in rows]), minlength=VOCABULARY)
    return counts / counts.sum()


def variation(a, b):
    return np.abs(a - b).sum() / 2


def indices(total, size, seed, nested=True):
    return np.concatenate(list(index_blocks(total, size, seed, nested)))


def index_blocks(total, size, seed, nested=True):
    mask = ts.sample_mask(total, size, seed, nested)
    for start in range(0, total, ts.INDICES):
        yield start + np.flatnonzero(mask(start, min(start + ts.INDICES, total)))


# ----------------------------------------------------------------------------------------- sampling


def splitmix64(seed):
    """The generator as it is published, one number at a time, in Python's integers."""
    mask, state = 2**64 - 1, seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def test_keys_are_splitmix64():
    reference = splitmix64(1234567)
    expected = [next(reference) for _ in range(50)]
    assert (
        expected[0] == 6457827717110365317
    )  # the first number of the published generator for this seed
    assert ts.sampling_keys(np.uint64(1234567), 0, 50).tolist() == expected
    assert ts.sampling_keys(np.uint64(1234567), 20, 30).tolist() == expected[20:30]
    assert len(np.unique(ts.sampling_keys(np.uint64(5), 0, 300_000))) == 300_000


@pytest.mark.parametrize(
    "total, size",
    [
        (600_000, 60_000),
        (100_000, 1_000),
        (109_300, 109),
        (109_300, 1),
        (10, 10),
        (10, 9),
        (10, 0),
        (1, 1),
        (4096, 4095),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_samples_are_without_replacement_exact_and_repeatable(total, size, nested):
    result = indices(total, size, 1, nested)
    assert (
        len(result) == size
        and (np.diff(result) > 0).all()
        and ((result >= 0) & (result < total)).all()
    )
    assert np.array_equal(result, indices(total, size, 1, nested))
    if 1 < size < total // 2:
        assert not np.array_equal(result, indices(total, size, 2, nested))


def test_a_sample_is_the_smallest_keys(monkeypatch):
    monkeypatch.setattr(ts, "INDICES", 1000)
    state = ts.scramble(np.array([7], np.uint64))[0]
    order = np.argsort(ts.sampling_keys(state, 0, 12_345))
    for size in (1, 500, 12_344):
        assert indices(12_345, size, 7).tolist() == sorted(order[:size].tolist())


def test_every_sequence_is_equally_likely():
    """Chi-square over places for one sample, and over how often each of few is taken by many
    seeds."""
    result = indices(1_000_000, 100_000, 3)
    assert chisquare(np.bincount(result // 10_000)).pvalue > 1e-3
    assert chisquare(np.bincount(result % 97, minlength=97)[:97]).pvalue > 1e-3
    hits = np.bincount(
        np.concatenate([indices(1_000, 100, seed) for seed in range(600)]), minlength=1_000
    )
    # Without replacement the counts are less spread than chi-square's, by the share that is not
    # taken.
    assert chisquare(hits).statistic / 0.9 == pytest.approx(999, abs=5 * np.sqrt(2 * 999))


def test_samples_are_nested_or_independent():
    sizes = (50_000, 5_000, 500, 50)
    nested = [set(indices(500_000, size, 4).tolist()) for size in sizes]
    assert all(small < large for large, small in zip(nested, nested[1:]))
    large, small = (
        set(indices(500_000, size, 4, nested=False).tolist()) for size in (50_000, 5_000)
    )
    assert len(large & small) == pytest.approx(
        500, abs=5 * np.sqrt(500 * 0.9)
    )  # a tenth, by chance
    one, other = (set(indices(500_000, 50_000, seed).tolist()) for seed in (0, 1))
    assert len(one & other) == pytest.approx(5_000, abs=5 * np.sqrt(5_000 * 0.81))


# ------------------------------------------------------------------------------------- compositions


def test_randomised_keeps_each_sequence_s_multiset():
    rows = sample(2000)
    made = rows_of((ts.randomise(ids, lengths, rng()), lengths) for ids, lengths in blocks(rows))
    for a, b in zip(made, rows, strict=True):
        assert Counter(a.tolist()) == Counter(b.tolist()) and (a[0], a[-1]) == (FIRST, LAST)
    assert np.mean([np.array_equal(a, b) for a, b in zip(made, rows) if len(a) > 8]) < 0.01


def test_randomised_puts_every_token_everywhere_equally_often():
    row = np.array([FIRST, 10, 11, 12, LAST], np.int32)
    ids, lengths = np.tile(row, 60_000), np.full(60_000, 5)
    made = ts.randomise(ids, lengths, rng(2)).reshape(-1, 5)[:, 1:-1]
    orders = Counter(map(tuple, made.tolist()))
    assert len(orders) == 6 and chisquare(list(orders.values())).pvalue > 1e-3


def test_randomised_does_not_depend_on_the_blocks():
    rows = sample(700)
    result = []
    for size in (700, 50):
        random = rng(9)
        result.append(
            np.concatenate(
                [ts.randomise(ids, lengths, random) for ids, lengths in blocks(rows, size)]
            )
        )
    assert np.array_equal(*result)


def test_statistics_are_counts():
    rows = sample(700)
    result = ts.measure(blocks(rows), VOCABULARY)
    assert result.lengths.tolist() == np.bincount([len(row) - 2 for row in rows]).tolist()
    inner = np.concatenate([row[1:-1] for row in rows])
    assert result.unigrams.tolist() == np.bincount(inner, minlength=VOCABULARY).tolist()
    assert (result.first, result.last) == (FIRST, LAST)


@pytest.fixture(scope="module")
def large():
    """A sample of about a million tokens and its statistics."""
    rows = sample(65_000, seed=3)
    assert 9e5 < sum(len(row) - 2 for row in rows) < 1.2e6
    return rows, ts.measure(blocks(rows), VOCABULARY)


def test_generated_has_the_sample_s_lengths_and_unigrams(large):
    rows, result = large
    made = rows_of(ts.generate(result, rng()))
    assert Counter(map(len, made)) == Counter(
        map(len, rows)
    )  # so as many sequences and as many tokens
    assert variation(unigrams(made), unigrams(rows)) == 0
    assert all(row[0] == FIRST and row[-1] == LAST and row.dtype == np.int32 for row in made[:100])
    lengths = np.array([len(row) for row in made])
    assert abs(np.corrcoef(lengths[:-1], lengths[1:])[0, 1]) < 0.02  # in random order


def test_a_language_s_vocabulary_is_matched_too():
    """Thirty thousand types by Zipf's law: independent draws would be off by 0.04 on a million
    tokens."""
    frequencies = 1 / np.arange(1, 30_001)
    counts = rng(4).multinomial(1_000_000, frequencies / frequencies.sum())
    result = ts.Statistics(np.bincount([20], minlength=21) * 50_000, counts, FIRST, LAST)
    made = rows_of(ts.generate(result, rng()))
    assert len(made) == 50_000 and np.array_equal(
        np.bincount(np.concatenate([r[1:-1] for r in made]), minlength=30_000), counts
    )


def test_a_pack_larger_than_numpy_s_is_dealt_whole(monkeypatch):
    counts = rng(5).integers(0, 40, 50)
    whole = {}
    for size in (10**9, 300, 7):
        monkeypatch.setattr(ts, "PACK", size)
        deal = ts.dealer(counts, rng())
        cards = np.concatenate([deal(number) for number in (0, 11, int(counts.sum()) - 11)])
        assert np.array_equal(np.bincount(cards, minlength=50), counts)
        whole[size] = cards
    assert not np.array_equal(np.sort(whole[300]), whole[300])


def test_generated_forgets_the_order_and_bigrams_keep_it(large):
    rows, result = large

    def pairs(rows):
        codes = np.concatenate(
            [row[1:-2].astype(int) * VOCABULARY + row[2:-1] for row in rows if len(row) > 3]
        )
        counts = np.bincount(codes, minlength=VOCABULARY**2)
        return counts / counts.sum()

    natural = pairs(rows)
    independent = pairs(rows_of(ts.generate(result, rng())))
    kept = rows_of(
        ts.generate_by_bigrams(result, ts.measure_bigrams(blocks(rows), VOCABULARY), rng())
    )
    assert Counter(map(len, kept)) == Counter(map(len, rows))
    assert variation(pairs(kept), natural) < 0.05 < 0.3 < variation(independent, natural)
    assert variation(unigrams(kept), unigrams(rows)) < 0.02


def test_bigrams_are_counts_whatever_the_blocks(monkeypatch):
    rows = sample(700)
    expected = Counter(
        (a, b) for row in rows for a, b in zip(row[1:-2].tolist(), row[2:-1].tolist())
    )
    whole = ts.measure_bigrams(blocks(rows, 700), VOCABULARY)
    often = np.diff(np.concatenate([[0], whole.cumulative]))
    counts = {
        (v, int(whole.next[place])): int(often[place])
        for v in range(VOCABULARY)
        for place in range(whole.start[v], whole.start[v + 1])
    }
    assert counts == expected
    assert (
        np.diff(whole.first, prepend=0).tolist()
        == np.bincount([row[1] for row in rows], minlength=200).tolist()
    )
    monkeypatch.setattr(ts, "PAIRS", 100)  # merged many times
    parts = ts.measure_bigrams(blocks(rows, 30), VOCABULARY)
    assert all(
        np.array_equal(getattr(whole, name), getattr(parts, name))
        for name in ("start", "next", "cumulative", "first")
    )


def test_a_token_that_nothing_followed_is_followed_by_a_first_token():
    rows = [np.array([FIRST, 7, 8, LAST]), np.array([FIRST, 7, LAST])]
    result = ts.Statistics(
        np.array([0, 0, 0, 0, 50]), ts.measure(blocks(rows), 20).unigrams, FIRST, LAST
    )
    made = rows_of(ts.generate_by_bigrams(result, ts.measure_bigrams(blocks(rows), 20), rng()))
    assert len(made) == 50 and all(row.tolist() == [FIRST, 7, 8, 7, 8, LAST] for row in made)


def test_memory_is_flat(monkeypatch):
    """Ten times the sequences, the same peak."""
    monkeypatch.setattr(ts, "INDICES", 1 << 16)

    def peak(sequences):
        tracemalloc.start()
        for _ in index_blocks(sequences, sequences // 10, 0):
            pass
        result = ts.Statistics(
            np.array([0, *[sequences // 40] * 20]), np.ones(VOCABULARY, np.int64), FIRST, LAST
        )
        for _ in ts.generate(result, rng()):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(3_000_000) < 1.2 * peak(300_000)
