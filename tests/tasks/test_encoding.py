"""Encoded examples: pairs, segments, truncation, batches without more padding than the longest row
needs."""

import numpy as np
import pytest
import torch

from lib.data.tokenizer import train_tokenizer
from lib.tasks.encoding import Encoded, by_length, encode
from lib.tasks.examples import Examples
from lib.training.batches import padded_width

LINES = ["the cat sat on the mat", "a dog ran over the hill", "cats and dogs run and sit"] * 5


@pytest.fixture(scope="module")
def wordpiece():
    return train_tokenizer(LINES, "wordpiece", 200)


@pytest.fixture(scope="module")
def herbert():
    return train_tokenizer(LINES, "herbert_bpe", 200)


PAIRS = Examples([("the cat", "a dog ran over the hill"), ("cats and dogs run", "sat")], [0, 1])


def test_pairs_with_segments(wordpiece):
    data = encode(PAIRS, wordpiece, 64, segments=True)
    batch = data.batch(np.array([1, 0]))
    for line, index in enumerate([1, 0]):
        expected = wordpiece(*PAIRS.texts[index])
        count = len(expected["input_ids"])
        assert batch.inputs[line, :count].tolist() == expected["input_ids"]
        assert batch.segments[line, :count].tolist() == expected["token_type_ids"]
        assert batch.kept[line].sum() == count and not batch.segments[line, count:].any()
        assert (batch.inputs[line, count:] == wordpiece.pad_token_id).all()
    assert batch.labels.tolist() == [1, 0]


def test_segments_only_where_both_sides_have_them(wordpiece, herbert):
    assert encode(PAIRS, herbert, 64, segments=True).batch(np.array([0])).segments is None
    assert encode(PAIRS, wordpiece, 64).batch(np.array([0])).segments is None
    alone = Examples([("the cat",), ("a dog",)], [0, 1])
    assert encode(alone, wordpiece, 64, segments=True).batch(np.array([0])).segments is None


@pytest.mark.parametrize("name", ["wordpiece", "herbert"])
def test_the_longer_text_of_a_pair_is_cut_first(name, request):
    tokenizer = request.getfixturevalue(name)
    short, long = "cat", " ".join(LINES)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (short, long)]
    for texts in ((short, long), (long, short)):
        row = encode(Examples([texts], [0]), tokenizer, 20).rows[0].tolist()
        assert len(row) == 20
        assert "".join(map(chr, ids[0])) in "".join(map(chr, row))  # the short one is whole
        assert "".join(map(chr, ids[1][: 20 - 3 - len(ids[0])])) in "".join(
            map(chr, row)
        )  # the long one's beginning


def test_numbers_and_classes_keep_their_types():
    ids = train_tokenizer(LINES, "wordpiece", 200)
    assert (
        encode(Examples([("the", "cat")], [2.6]), ids, 16).batch(np.array([0])).labels.dtype
        == torch.float32
    )
    assert (
        encode(Examples([("the", "cat")], [2]), ids, 16).batch(np.array([0])).labels.dtype
        == torch.int64
    )


def test_every_row_once_and_similar_lengths_together():
    rows = [np.zeros(n) for n in np.random.default_rng(0).integers(1, 50, 33)]
    parts = list(by_length(rows, 8))
    assert sorted(np.concatenate(parts).tolist()) == list(range(33)) and [
        len(part) for part in parts
    ] == [8] * 4 + [1]
    assert all(
        max(len(rows[i]) for i in a) <= min(len(rows[i]) for i in b)
        for a, b in zip(parts, parts[1:])
    )


def test_padding_reaches_no_further_than_the_batch():
    data = Encoded([np.ones(n, int) for n in (3, 9, 200)], np.zeros(3, int), 0)
    assert data.batch(np.array([0, 1])).inputs.shape == (2, padded_width(9))
    assert data.batch(np.array([0, 1])).to(torch.device("cpu")).segments is None
