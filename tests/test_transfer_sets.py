"""Transfer sets by their statistics: what is kept exactly, and what only on average."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from lib import transfer_sets as ts

VOCABULARY = 200
FIRST, LAST = 0, 2


def rng(seed=0):
    return np.random.default_rng(seed)


def sample(sequences=3000, seed=0):
    """Sequences of 1 to 30 inner tokens, Zipf-distributed, with a strong preference of v for v + 1 after it."""
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


def blocks(rows):
    return iter([rows[i : i + 500] for i in range(0, len(rows), 500)])


def unigrams(rows):
    counts = np.bincount(np.concatenate([row[1:-1] for row in rows]), minlength=VOCABULARY)
    return counts / counts.sum()


def variation(a, b):
    return np.abs(a - b).sum() / 2


@pytest.mark.parametrize(
    "total, size", [(100_000, 10_000), (100_000, 1_000), (109_300, 109), (10, 10), (10, 0), (4096, 4095)]
)
def test_samples_are_without_replacement_exact_and_repeatable(total, size):
    found = np.concatenate([*ts.sampled(total, size, rng(1)), np.empty(0, int)])
    assert len(found) == size and len(set(found.tolist())) == size
    assert (np.diff(found) > 0).all() and (found < total).all() and (found >= 0).all()
    again = np.concatenate([*ts.sampled(total, size, rng(1)), np.empty(0, int)])
    assert np.array_equal(found, again)
    if 0 < size < total // 2:
        assert not np.array_equal(found, np.concatenate(list(ts.sampled(total, size, rng(2)))))


def test_every_sequence_is_equally_likely():
    hits = np.zeros(10_000)
    for seed in range(300):
        hits[np.concatenate(list(ts.sampled(10_000, 1_000, rng(seed))))] += 1
    assert hits.mean() == 30 and hits[:5000].mean() == pytest.approx(30, abs=0.3)
    assert hits.std() == pytest.approx(np.sqrt(300 * 0.1 * 0.9), rel=0.05)  # binomial: no place is special


def test_a_sample_of_a_sample_is_nested():
    tenth = np.concatenate(list(ts.sampled(50_000, 5_000, rng(1))))
    hundredth = tenth[np.concatenate(list(ts.sampled(5_000, 500, rng(2))))]
    assert set(hundredth) < set(tenth)


def test_randomised_keeps_each_sequence_s_multiset():
    rows = sample(200)
    found = [ts.randomised(row, rng(i)) for i, row in enumerate(rows)]
    assert all(
        Counter(a.tolist()) == Counter(b.tolist()) and (a[0], a[-1]) == (FIRST, LAST) for a, b in zip(found, rows)
    )
    assert np.mean([np.array_equal(a, b) for a, b in zip(found, rows) if len(a) > 8]) < 0.01


@pytest.fixture(scope="module")
def large():
    """A sample of about a million tokens and its statistics."""
    rows = sample(65_000, seed=3)
    assert 9e5 < sum(len(row) - 2 for row in rows) < 1.2e6
    return rows, ts.statistics(blocks(rows), VOCABULARY)


def test_generated_has_the_sample_s_lengths_and_unigrams(large):
    rows, found = large
    made = [row for block in ts.generated(found, rng()) for row in block]
    assert Counter(map(len, made)) == Counter(map(len, rows))  # so as many sequences and as many tokens
    assert variation(unigrams(made), unigrams(rows)) < 0.02
    assert all(row[0] == FIRST and row[-1] == LAST for row in made[:100])
    lengths = np.array([len(row) for row in made])
    assert abs(np.corrcoef(lengths[:-1], lengths[1:])[0, 1]) < 0.02  # in random order


def test_generated_forgets_the_order_and_bigrams_keep_it(large):
    rows, found = large

    def pairs(rows):
        codes = np.concatenate([row[1:-2].astype(int) * VOCABULARY + row[2:-1] for row in rows if len(row) > 3])
        counts = np.bincount(codes, minlength=VOCABULARY**2)
        return counts / counts.sum()

    natural = pairs(rows)
    independent = pairs([row for block in ts.generated(found, rng()) for row in block])
    table = ts.bigrams(blocks(rows), VOCABULARY)
    kept = [row for block in ts.generated_by_bigrams(found, table, rng()) for row in block]
    assert Counter(map(len, kept)) == Counter(map(len, rows))
    assert variation(pairs(kept), natural) < 0.05 < 0.3 < variation(independent, natural)
    assert variation(unigrams(kept), unigrams(rows)) < 0.02


def test_bigrams_do_not_depend_on_the_blocks():
    rows = sample(700)
    a, b = ts.bigrams(blocks(rows), VOCABULARY), ts.bigrams(iter([rows]), VOCABULARY)
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("start", "next", "rising", "first"))


def test_memory_is_flat():
    """Ten times the sequences, the same peak."""

    def peak(sequences):
        tracemalloc.start()
        for _ in ts.sampled(sequences, sequences // 10, rng()):
            pass
        found = ts.Statistics(np.array([0, *[sequences // 20] * 20]), np.ones(VOCABULARY, np.int64), FIRST, LAST)
        for _ in ts.generated(found, rng()):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(100_000) < 1.2 * peak(10_000)


def test_word_starts_of_both_tokenizer_kinds():
    ids = np.array([0, 10, 11, 12, 13, 2])
    continues = np.zeros(20, bool)
    continues[[11, 13]] = True  # ##b, ##d
    assert ts.word_starts(ids, continues, None).tolist() == [False, True, False, True, False, False]
    ends = np.zeros(20, bool)
    ends[[11, 12]] = True  # b</w>, c</w>
    assert ts.word_starts(ids, continues, ends).tolist() == [False, True, False, True, True, False]
    continues[10] = True  # a sequence may begin inside what was a word: its first token counts as a start
    assert ts.word_starts(ids, continues, None)[1]
