"""lib.data.derived: transfer sets as whole folders, made from a corpus of both tokenizer kinds."""

import json
import os
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from lib.common.errors import InputError
from lib.data import prepare
from lib.data.parameters import DataPrep
from lib.data.prepared import open_corpus, record_batches
from lib.data.sources import FileSource
from lib.data.tokenizer import SPECIAL_TOKENS

WORDS = (
    "żółw gęś łódź źrebię mąka wójt król księga miasto pani pełznie śpi wraca mówi czyta "
    "rośnie nad pod przez"
).split()
KINDS = tuple(f"train:{kind}" for kind in SPECIAL_TOKENS)
COMPOSITIONS = ("natural", "randomised", "generated", "bigram")


def text_parameters(path, kind):
    return DataPrep(
        sources=[FileSource(path=str(path))],
        tokenizer=kind,
        vocab_size=300 if "byte" in kind else 150,
        max_length=40,
        held_out_lines=50,
        deduplicate=False,
    )


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """A corpus of 4,000 sequences for each kind of tokenizer, and its statistics."""
    rng, folder = random.Random(1), tmp_path_factory.mktemp("parents")
    weights = [1 / (n + 1) for n in range(len(WORDS))]
    lines = (
        " ".join(rng.choices(WORDS, weights, k=rng.randrange(2, 25))) + rng.choice(".!?")
        for _ in range(4050)
    )
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    quiet = dict(say=lambda line: None)
    return {
        kind: (
            folder / kind[6:],
            prepare.prepare(text_parameters(folder / "text.txt", kind), folder / kind[6:], **quiet),
        )
        for kind in KINDS
    }


def make(parent, folder, **changes):
    p = DataPrep(sample_of=str(parent), **changes)
    statistics = prepare.prepare(p, folder, say=lambda line: None)
    return statistics, open_corpus(folder)


def rows(corpus):
    ids, starts = corpus.rows(range(len(corpus)))
    return [tuple(row.tolist()) for row in ids], [tuple(row.tolist()) for row in starts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_a_transfer_set_is_a_prepared_folder(parents, tmp_path, kind, composition):
    parent, parent_statistics = parents[kind]
    statistics, corpus = make(parent, tmp_path, composition=composition, share=0.25)
    natural = rows(make(parent, tmp_path / "natural", share=0.25)[1])[0]
    assert sorted(os.listdir(tmp_path)) == [
        "data",
        "held_out",
        "natural",
        "statistics.json",
        "tokenizer",
    ]
    assert (
        len(corpus)
        == statistics["sequences"]
        == statistics["lines"]
        == round(0.25 * parent_statistics["sequences"])
    )
    made, starts = rows(corpus)
    assert Counter(map(len, made)) == Counter(
        map(len, natural)
    )  # as many sequences, as many tokens
    words = corpus.tokenizer()
    assert all((row[0], row[-1]) == (words.cls_token_id, words.sep_token_id) for row in made)
    assert corpus.rows([0])[0][0].dtype == np.int32 and not any(
        start[0] or start[-1] or not start[1] for start in starts
    )
    assert rows(open_corpus(tmp_path, "held_out")) == rows(open_corpus(parent, "held_out"))
    assert words.get_vocab() == open_corpus(parent).tokenizer().get_vocab()
    assert json.loads((tmp_path / "statistics.json").read_text()) == statistics
    assert statistics["held_out"] == parent_statistics["held_out"]
    assert statistics["tokenizer_fingerprint"] == parent_statistics["tokenizer_fingerprint"]
    assert (
        statistics["parent"]["sequences"] == parent_statistics["sequences"]
        and statistics["parent"]["bytes"] == parent_statistics["bytes"]
    )
    assert (statistics["composition"], statistics["share"]) == (composition, 0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_rows(parents, tmp_path, kind):
    statistics, corpus = make(parents[kind][0], tmp_path, composition="randomised", share=0.3)
    made, starts = rows(corpus)
    lengths, words = (
        np.array([len(row) for row in made]),
        np.array([sum(start) for start in starts]),
    )
    assert (
        statistics["tokens_with_specials"] == lengths.sum() == statistics["tokens"] + 2 * len(made)
    )
    middle = {
        "mean": pytest.approx(lengths.mean()),
        "median": np.median(lengths),
        "max": lengths.max(),
    }
    assert statistics["tokens_per_sequence"] == middle
    assert statistics["words"] == words.sum()
    assert statistics["words_per_line"] == {
        "mean": pytest.approx(words.mean()),
        "median": np.median(words),
    }
    edges = statistics["length_histogram"]["edges"]
    assert statistics["length_histogram"]["counts"] == np.histogram(lengths, edges)[0].tolist()
    tokenizer = corpus.tokenizer()
    tokens = [tokenizer.convert_ids_to_tokens(list(row))[1:-1] for row in made]
    if kind == "train:wordpiece":
        texts = [token.removeprefix("##") + " " * (token[:2] != "##") for token in sum(tokens, [])]
    elif kind == "train:herbert_bpe":
        texts = [token.replace("</w>", " ") for token in sum(tokens, [])]
    elif kind == "train:unigram":
        texts = [token.replace("▁", " ") for token in sum(tokens, [])]
    else:
        texts = ["x" * len(token) for token in sum(tokens, [])]  # a character for each byte
    assert statistics["bytes"] == len("".join(texts).encode())
    unknown = sum(row.count(tokenizer.unk_token_id) for row in made)
    assert statistics["unknown_share"] == unknown / statistics["tokens"]


@pytest.mark.parametrize("kind", KINDS)
def test_natural_is_a_part_of_the_parent_in_its_order(parents, tmp_path, kind):
    parent, parent_statistics = parents[kind]
    whole = list(zip(*rows(open_corpus(parent))))
    some = [
        list(zip(*rows(make(parent, tmp_path / str(share), share=share)[1])))
        for share in (0.5, 0.1)
    ]
    places = iter(whole)
    assert all(row in places for row in some[0])  # each found after the one before
    assert not Counter(some[1]) - Counter(some[0])  # nested
    everything, corpus = make(parent, tmp_path / "all")
    assert list(zip(*rows(corpus))) == whole
    for name in (
        "tokens",
        "tokens_with_specials",
        "tokens_per_sequence",
        "length_histogram",
        "unknown_share",
        "vocabulary",
    ):
        assert everything[name] == parent_statistics[name], name
    # A full stop is a word of its own where the tokenizer cuts at punctuation.
    stops = parent_statistics["sequences"] * (kind in KINDS[:2])
    assert everything["words"] == parent_statistics["words"] + stops


def test_what_is_made_up_of_a_corpus_masked_by_token_is_masked_so_too(parents, tmp_path):
    parent = shutil.copytree(parents["train:bytelevel_bpe"][0], tmp_path / "parent")
    statistics = json.loads((parent / "statistics.json").read_text())
    assert statistics["masked_by_token"] == []
    statistics["masked_by_token"] = ["text.txt"]
    (parent / "statistics.json").write_text(json.dumps(statistics))
    for composition in COMPOSITIONS:
        made, corpus = make(parent, tmp_path / composition, composition=composition, share=0.1)
        starts = rows(corpus)[1]
        assert made["masked_by_token"] == ["text.txt"]
        # A natural sample has the starts of its parent, whatever they are.
        assert all(all(start[1:-1]) for start in starts) == (composition != "natural")


def test_compositions_are_made_from_the_same_sample(parents, tmp_path):
    parent, _ = parents[KINDS[0]]
    natural = rows(make(parent, tmp_path / "natural", share=0.2, seed=5)[1])[0]
    shuffled = rows(
        make(parent, tmp_path / "randomised", share=0.2, seed=5, composition="randomised")[1]
    )[0]
    assert [sorted(row) for row in shuffled] == [
        sorted(row) for row in natural
    ] and shuffled != natural
    used = Counter(token for row in natural for token in row)
    for composition in ("generated", "bigram"):
        made = rows(
            make(parent, tmp_path / composition, share=0.2, seed=5, composition=composition)[1]
        )[0]
        result = Counter(token for row in made for token in row)
        assert set(result) <= set(used) and not set(made) <= set(natural)
        gap = sum(abs(result[token] - used[token]) for token in used) / 2 / sum(used.values())
        assert gap < 0.05


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_repeatable_by_seed(parents, tmp_path, composition):
    parent, _ = parents[KINDS[1]]
    one, same, other, apart = (
        rows(
            make(
                parent,
                tmp_path / str(n),
                share=0.1,
                composition=composition,
                seed=seed,
                nested=nested,
            )[1]
        )
        for n, (seed, nested) in enumerate([(1, True), (1, True), (2, True), (1, False)])
    )
    assert one == same != other and one != apart


def test_a_sample_of_a_sample(parents, tmp_path):
    parent, parent_statistics = parents[KINDS[0]]
    half, _ = make(parent, tmp_path / "half", share=0.5, composition="generated")
    statistics, corpus = make(tmp_path / "half", tmp_path / "quarter", share=0.5)
    assert (
        len(corpus) == round(half["sequences"] / 2)
        and statistics["parent"]["composition"] == "generated"
    )


def test_running_again_replaces_what_was_there(parents, tmp_path):
    make(parents[KINDS[0]][0], tmp_path, share=0.5)
    statistics, corpus = make(parents[KINDS[1]][0], tmp_path, share=0.01)
    assert len(corpus) == statistics["sequences"] == round(0.01 * parents[KINDS[1]][1]["sequences"])
    assert corpus.tokenizer().cls_token == "<s>" and not (tmp_path / "scratch").exists()


def test_batches_are_all_rows(parents):
    parent, parent_statistics = parents[KINDS[0]]
    assert (
        sum(batch.num_rows for batch in record_batches(parent))
        == parent_statistics["sequences"]
        == len(open_corpus(parent))
    )


# -------------------------------------------------------------------------------------- wrong input


def message(parent, folder, **changes):
    with pytest.raises(InputError) as caught:
        make(parent, folder, **changes)
    assert "\n" not in str(caught.value) and not (folder / "scratch").exists()
    return str(caught.value)


def test_wrong_input_is_one_line(parents, tmp_path):
    parent, parent_statistics = parents[KINDS[0]]
    assert "holds no prepared corpus; run notebook 1_data_prep" in message(
        tmp_path / "gone", tmp_path / "out"
    )
    assert "share: 0.0001 of 3,999 sequences is none; allowed: 0.00025 or more" in message(
        parent, tmp_path / "out", share=0.0001
    )
    copy = shutil.copytree(parent, tmp_path / "copy")
    assert "is where the transfer set would go" in message(copy, copy)
    assert "is where the transfer set would go" in message(copy, copy / "scratch")
    assert len(open_corpus(copy)) == parent_statistics["sequences"]  # untouched
