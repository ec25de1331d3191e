"""Whole-word masking: rates, whole words, determinism, for both kinds of tokenizer."""

import numpy as np
import pytest
import torch

from lib.data.tokenizer import train_tokenizer
from lib.training.batches import IGNORE, MaskedBatches, Schedule, pad, whole_word_mask

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


class Rows:
    """A corpus in memory."""

    def __init__(self, lengths):
        rng = np.random.default_rng(1)
        self.lengths = np.array(lengths)
        self.ids = [np.r_[0, rng.integers(5, 99, n - 2), 2].astype(np.int32) for n in lengths]

    def rows(self, indices):
        return [self.ids[i] for i in indices], [
            np.r_[False, np.ones(len(self.ids[i]) - 2, bool), False] for i in indices
        ]


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
