"""Whole-word masking: rates, whole words, determinism, for both kinds of tokenizer."""

import numpy as np
import pytest
import torch

from lib.data.tokenizer import train_tokenizer
from lib.training.batches import (
    IGNORE,
    MaskedBatches,
    Schedule,
    pad,
    smoothed_mask,
    whole_word_mask,
)
from tests.helpers.small import Rows

LINES = [
    "zażółć gęślą jaźń, powiedział Szymon niespodziewanie",
    "nieprawdopodobne opowieści o Konstantynopolu",
] * 40


def mask(ids, starts, maskable, seed=0, probability=0.15, vocabulary=1000):
    return whole_word_mask(
        ids,
        starts,
        maskable,
        mask_id=4,
        vocab_size=vocabulary,
        probability=probability,
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.fixture(scope="module")
def large():
    """2,000 rows of 64 tokens, words of one to four tokens."""
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(10, 1000, (2000, 64)))
    starts = torch.from_numpy(rng.random((2000, 64)) < 0.5)
    maskable = torch.ones_like(starts)
    maskable[:, [0, -1]] = False
    return ids, starts, maskable


def test_rates(large):
    ids, starts, maskable = large
    inputs, labels = mask(*large)
    chosen = labels != IGNORE
    assert chosen[maskable].float().mean() == pytest.approx(0.15, abs=0.005)
    assert not chosen[~maskable].any()
    hidden, same = inputs[chosen] == 4, inputs[chosen] == ids[chosen]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.01)
    assert same.float().mean() == pytest.approx(0.1, abs=0.01)
    assert (~hidden & ~same).float().mean() == pytest.approx(0.1, abs=0.01)


def smoothed(ids, kept, maskable, weights, probability=0.15, seed=0):
    return smoothed_mask(
        ids,
        kept,
        maskable,
        weights=weights,
        mask_id=4,
        vocab_size=1000,
        probability=probability,
        generator=torch.Generator().manual_seed(seed),
    )


def test_smoothed_masks_are_the_smallest_exponential_times_over_weights():
    """Against plain NumPy, from the same draws: ⌈0.15 n⌉ tokens, n with special tokens and without
    padding."""
    rng = np.random.default_rng(3)
    ids = torch.from_numpy(rng.integers(5, 50, (6, 20)))
    kept = torch.arange(20) < torch.tensor([20, 17, 9, 20, 4, 12])[:, None]
    maskable = kept.clone()
    maskable[:, 0] = False
    counts = rng.integers(1, 1000, 1000)
    weights = torch.from_numpy(counts.astype(np.float32)) ** -0.7
    inputs, labels = smoothed(ids, kept, maskable, weights, seed=5)
    draws = torch.empty(6, 20).exponential_(generator=torch.Generator().manual_seed(5)).numpy()
    times = draws / counts[ids.numpy()].astype(np.float64) ** -0.7
    times[~maskable.numpy()] = np.inf
    n = -(-15 * 82 // 100)
    expected = np.zeros(120, bool)
    expected[np.argsort(times.ravel())[:n]] = True
    assert np.array_equal((labels != IGNORE).numpy().ravel(), expected) and n == 13
    assert torch.equal(labels[labels != IGNORE], ids[labels != IGNORE])
    assert torch.equal(inputs[labels == IGNORE], ids[labels == IGNORE])


def test_smoothed_masks_choose_in_proportion_to_weights():
    """One of four tokens with the weights 8, 4, 2, 1, and two of them one after the other."""
    ids, weights = torch.tensor([[0, 1, 2, 3]]), torch.zeros(1000)
    weights[:4] = share = torch.tensor([8.0, 4, 2, 1])
    whole, share = torch.ones(1, 4, dtype=torch.bool), share / share.sum()
    for probability in (0.25, 0.5):
        chosen = torch.stack(
            [smoothed(ids, whole, whole, weights, probability, seed)[1][0] for seed in range(8000)]
        )
        found = (chosen != IGNORE).double().mean(0)
        expected = share.clone()
        if probability == 0.5:
            for first in range(4):
                rest = share.clone()
                rest[first] = 0
                expected += share[first] * rest / rest.sum()
        assert found.sum() == pytest.approx(4 * probability)
        assert torch.allclose(found, expected.double(), atol=0.02)


def test_smoothed_masks_hide_as_the_others_do(large):
    ids, _, maskable = large
    weights = torch.arange(1, 1001).float() ** -0.7
    inputs, labels = smoothed(ids, torch.ones_like(maskable), maskable, weights)
    chosen = labels != IGNORE
    assert int(chosen.sum()) == 19_200 and not chosen[~maskable].any()  # 0.15 · 2,000 · 64
    hidden, same = inputs[chosen] == 4, inputs[chosen] == ids[chosen]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.01)
    assert same.float().mean() == pytest.approx(0.1, abs=0.01)


def test_smoothed_masks_are_never_more_than_can_be_masked_and_may_be_none():
    ids, kept = torch.tensor([[0, 7, 2]]), torch.ones(1, 3, dtype=torch.bool)
    maskable = torch.tensor([[False, True, False]])
    for probability, count in ((0.9, 1), (0.0, 0)):
        labels = smoothed(ids, kept, maskable, torch.ones(1000), probability)[1]
        assert (labels != IGNORE).sum() == count


def test_labels_and_untouched_inputs(large):
    ids, _, _ = large
    inputs, labels = mask(*large)
    chosen = labels != IGNORE
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(inputs[~chosen], ids[~chosen])


def test_words_are_masked_whole(large):
    ids, starts, maskable = large
    _, labels = mask(*large)
    chosen = labels != IGNORE
    continues = ~starts[:, 1:] & maskable[:, 1:] & maskable[:, :-1]
    assert torch.equal(chosen[:, 1:][continues], chosen[:, :-1][continues])
    borders = starts[:, 1:] & maskable[:, 1:] & maskable[:, :-1]
    assert not torch.equal(chosen[:, 1:][borders], chosen[:, :-1][borders])


def test_same_seed_same_masks_other_seed_other_masks(large):
    assert torch.equal(mask(*large, seed=3)[0], mask(*large, seed=3)[0])
    assert not torch.equal(mask(*large, seed=3)[0], mask(*large, seed=4)[0])


@pytest.mark.parametrize("kind", ["wordpiece", "herbert_bpe"])
def test_whole_words_of_real_tokenizers(kind):
    """Every piece of a chosen word is chosen, for WordPiece and for HerBERT's BPE; specials and
    padding never."""
    made = train_tokenizer(LINES, kind, 85)
    encoded = made(LINES[:2])
    rows = [np.array(ids) for ids in encoded["input_ids"]]
    words = [encoded.word_ids(i) for i in range(2)]
    assert any(words[0].count(word) > 2 for word in words[0] if word is not None), (
        "the vocabulary must cut words"
    )
    starts = [
        np.array([w is not None and (i == 0 or w != row[i - 1]) for i, w in enumerate(row)])
        for row in words
    ]
    ids, bits = pad(rows, made.pad_token_id), pad(starts, 0).bool()
    maskable = (ids != made.cls_token_id) & (ids != made.sep_token_id) & (ids != made.pad_token_id)
    seen = 0
    for seed in range(30):
        _, labels = mask(ids, bits, maskable, seed=seed, probability=0.3, vocabulary=len(made))
        for row, word_ids in zip(labels, words):
            for word in {w for w in word_ids if w is not None}:
                fate = {bool(row[i] != IGNORE) for i, w in enumerate(word_ids) if w == word}
                assert len(fate) == 1
                seen += fate == {True}
        assert (labels[~maskable] == IGNORE).all()
    assert seen > 20


def make(corpus, seed=0, **kwargs):
    schedule = Schedule(
        corpus.lengths,
        batch=kwargs.pop("batch", 8),
        micro=kwargs.pop("micro", 4),
        epochs=3,
        seed=seed,
    )
    return MaskedBatches(
        corpus, schedule, specials=[0, 2], pad_id=1, mask_id=4, vocab_size=99, **kwargs
    )


def test_masks_are_fresh_every_epoch_and_the_same_for_a_step():
    data = make(Rows([20] * 16))
    again = make(Rows([20] * 16))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(data.at(3), again.at(3)))
    by_epoch = []
    for epoch in range(2):
        labels = {}
        for step in (2 * epoch, 2 * epoch + 1):
            for batch in data.at(step):
                originals = torch.where(batch.labels != IGNORE, batch.labels, batch.inputs)
                for row, hidden in zip(originals, batch.labels != IGNORE):
                    labels[tuple(row.tolist())] = tuple(hidden.tolist())
        by_epoch.append(labels)
    same = [by_epoch[0][row] == by_epoch[1][row] for row in by_epoch[0]]
    assert len(same) == 16 and sum(same) < 4


def test_smoothed_masks_of_a_corpus_are_the_same_for_a_step():
    corpus = Rows([20] * 16)
    weights = torch.arange(1, 100).float() ** -0.7
    data, again = (make(corpus, weights=weights, whole_words=False) for _ in range(2))
    for a, b in zip(data.at(3), again.at(3)):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
        assert int((a.labels != IGNORE).sum()) == 12  # ⌈0.15 · 4 · 20⌉


@pytest.mark.parametrize("batch, micro", [(32, 32), (10, 4), (7, 3), (1600, 32)])
def test_every_step_has_its_sequences_each_once(batch, micro):
    lengths = np.random.default_rng(0).integers(8, 128, 500)
    schedule = Schedule(lengths, batch=batch, micro=micro, epochs=2, seed=5)
    size = min(batch, 500)
    for epoch in range(2):
        steps = [schedule.indices(epoch * schedule.steps_per_epoch + k) for k in range(500 // size)]
        assert all(
            sum(map(len, micros)) == size and max(map(len, micros)) <= micro for micros in steps
        )
        seen = np.concatenate([piece for micros in steps for piece in micros])
        assert len(set(seen.tolist())) == len(seen) == 500 // size * size


def test_every_sequence_once_an_epoch_and_little_padding():
    lengths = np.random.default_rng(0).integers(8, 128, 640)
    schedule = Schedule(lengths, batch=32, micro=8, epochs=1, seed=5)
    seen = np.concatenate([i for step in range(schedule.steps) for i in schedule.indices(step)])
    assert sorted(seen) == list(range(640))
    cells = sum(
        len(i) * lengths[i].max() for step in range(schedule.steps) for i in schedule.indices(step)
    )
    assert cells / lengths.sum() < 1.1  # grouped by length; unsorted batches of 8 pad to 1.7


@pytest.mark.parametrize("gpu, width", [(True, 24), (False, 17)])
def test_padding_is_a_multiple_of_eight_for_a_gpu_and_marked(monkeypatch, gpu, width):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    batch = make(Rows([11, 13, 9, 10, 12, 17, 9, 8]), batch=8, micro=8).at(0)[0]
    assert (
        batch.inputs.shape[1] == width
        and int(batch.kept.sum()) == 11 + 13 + 9 + 10 + 12 + 17 + 9 + 8
    )
    assert (batch.inputs[~batch.kept] == 1).all() and (batch.labels[~batch.kept] == IGNORE).all()
