"""lib.data.reading: statistics of every source (001, Table 4), sentences, held-out lines."""

import random

import numpy as np
import pytest

from lib.common.errors import InputError
from lib.data import prepare
from lib.data.parameters import DataPrep
from lib.data.prepared import open_corpus
from lib.data.reading import choose_held_out, first_and_repeats


def make(folder, *paths, **changes):
    sources = [{"kind": "files", "path": str(path)} for path in paths]
    settings = (
        dict(tokenizer="train:wordpiece", vocab_size=60, held_out_lines=1, deduplicate=False)
        | changes
    )
    statistics = prepare.prepare(
        DataPrep(sources=sources, **settings), folder, say=lambda line: None
    )
    return statistics, open_corpus(folder)


def figures(lines):
    words = [len(line.split()) for line in lines]
    size = sum(len(line.encode()) + 1 for line in lines)
    middle = {"mean": pytest.approx(np.mean(words)), "median": float(np.median(words))}
    return {"bytes": size, "lines": len(lines), "words": sum(words), "words_per_line": middle}


def test_statistics_of_every_source(tmp_path):
    rng, words = random.Random(2), "żółw gęś łódź źrebię mąka wójt król".split()
    texts = [
        [" ".join(rng.choices(words, k=rng.randrange(3, 12))) for _ in range(number)]
        for number in (40, 61)
    ]
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, lines in zip(paths, texts):
        path.write_text("\n".join([*lines, "", "król"]) + "\n", encoding="utf-8")
    statistics, _ = make(tmp_path / "out", *paths, min_words=2, min_tokens=9, held_out_lines=20)
    assert statistics["sources"] == [
        {"name": path.name, **figures(lines)} for path, lines in zip(paths, texts)
    ]
    assert statistics["text"] == figures(texts[0] + texts[1])
    assert statistics["lines"] < 81  # what was held out, or has too few tokens, was text too


def test_sentences_are_sequences(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Dr. Ala ma kota. Ala ma psa. Kto?\nAla ma psa.\n" * 5, encoding="utf-8")
    whole, _ = make(tmp_path / "out", path)
    assert (
        whole["lines_in"] == 10
        and whole["lines"] + whole["held_out"]["lines"] + sum(whole["dropped"].values()) == 10
    )
    statistics, corpus = make(tmp_path / "out", path, sentences=True)
    repeated = statistics["dropped"]["repeats_held_out"]
    assert (
        statistics["lines_in"] == 20 == statistics["lines"] + 1 + repeated
        and len(corpus) == statistics["lines"]
    )
    assert statistics["sources"][0]["words_per_line"] == {"mean": 11 / 4, "median": 3.0}


def test_held_out_lines_are_the_different_ones_with_the_smallest_hashes():
    rng = np.random.default_rng(1)
    for number in (0, 1, 7, 40):
        hashes = rng.integers(60, size=500)
        chunks = np.split(hashes, np.sort(rng.integers(500, size=9)))
        different, first = np.unique(hashes, return_index=True)
        held = choose_held_out(chunks, number)
        assert held.tolist() == different[:number].tolist()
        at, copies = first_and_repeats(chunks, held)
        assert at.tolist() == sorted(first[:number])
        assert copies.tolist() == [n for n in range(500) if hashes[n] in held and n not in at]
    with pytest.raises(InputError, match="held_out_lines: 3 of 3 different lines"):
        choose_held_out([np.array([5, 5, 6]), np.array([7])], 3)
