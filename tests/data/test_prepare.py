"""lib.data.prepare: lines in, a stored corpus of sequences out. Checked against the library's own
tokenising."""

import json
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data import prepare, reading, tokenizer
from lib.data.prepared import open_corpus
from lib.data.sources import FileSource

DATA = ROOT / os.environ.get("DATA_DIR", "../shared/data")
WORDS = (
    "żółw gęś łódź źrebię mąka wójt król księga miasto pani pełznie śpi wraca mówi czyta rośnie "
    "nad pod przez i do na "
    "z wieczorem rano cicho głośno dzisiaj ulica dom okno ogród"
).split()


def sentence(rng, words):
    text = " ".join(rng.choice(WORDS) for _ in range(words))
    return f"{text.capitalize()}, {rng.randrange(1000)} {rng.choice(WORDS)}{rng.choice('.!?')}"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    rng = random.Random(5)
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(
        "".join(sentence(rng, rng.choice((1, 5, 9, 14, 60))) + "\n" for _ in range(600)),
        encoding="utf-8",
    )
    return path


def settings(path, **changes):
    values = dict(
        sources=[FileSource(path=str(path))],
        cleaning="careful",
        deduplicate=True,
        min_words=0,
        max_words=0,
        max_unknown_share=0.05,
        subset_unit="none",
        subset_size=0,
        tokenizer="train:wordpiece",
        tokenizer_revision=None,
        vocab_size=200,
        max_length=32,
        min_tokens=0,
        long_lines="split",
        processes=1,
        seed=0,
        held_out_lines=0,
        sentences=False,
        language="en",
        sample_of="",
        share=1.0,
        nested=True,
        composition="natural",
        sampling_exponent=None,
        sampling_target="",
        sampled_lines=0,
        shuffle=False,
        sections=1,
    )
    return SimpleNamespace(**(values | changes))


def make(path, folder, **changes):
    statistics = prepare.prepare(settings(path, **changes), folder, say=lambda line: None)
    return statistics, open_corpus(folder)


SMALLEST = {"vocab_size": 400}  # with room for all bytes


def every_row(corpus):
    ids, starts = corpus.rows(range(len(corpus)))
    return [row.tolist() for row in ids], [row.tolist() for row in starts]


def whole_lines(corpus, words):
    """The ids of the corpus without special tokens, all in one list."""
    special = set(words.all_special_ids) - {words.unk_token_id}
    return [token for row in every_row(corpus)[0] for token in row if token not in special]


@pytest.fixture(scope="module")
def plain(book, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return (*make(book, folder), folder)


# ----------------------------------------------------------------------------------- rows and words


@pytest.mark.parametrize("kind", list(tokenizer.SPECIAL_TOKENS))
def test_rows_are_what_the_library_gives(book, tmp_path, kind):
    statistics, corpus = make(book, tmp_path, tokenizer=f"train:{kind}", **SMALLEST, max_length=512)
    words = corpus.tokenizer()
    lines = book.read_text(encoding="utf-8").splitlines()
    assert len(corpus) == len(lines) == statistics["sequences"] == 600
    ids, starts = every_row(corpus)
    for line, row, start in zip(lines, ids, starts):
        encoding = words(line)
        assert row == encoding["input_ids"]
        if kind in ("wordpiece", "herbert_bpe"):
            word = encoding.word_ids()
            assert start == [w is not None and w != word[n - 1] for n, w in enumerate(word)]
            assert sum(start) == len(line.split()) + 2  # the comma and the full stop are words
        else:
            assert sum(start) == len(line.split())
    some_ids, some_starts = corpus.rows([7, 3, 7])
    assert [row.dtype for row in some_ids + some_starts] == [np.int32] * 3 + [np.bool_] * 3
    assert some_ids[0].tolist() == ids[7] and some_starts[1].tolist() == starts[3]
    assert corpus.lengths.dtype == np.int32 and corpus.lengths.tolist() == [len(row) for row in ids]
    some_ids[0][0] = 99  # a copy: the file stays as it is
    assert corpus.rows([7])[0][0].tolist() == ids[7]


@pytest.mark.parametrize("kind", list(tokenizer.SPECIAL_TOKENS))
@pytest.mark.parametrize("max_length", [6, 16, 31])
def test_split_loses_no_token_and_cuts_between_words(book, tmp_path, kind, max_length):
    statistics, corpus = make(
        book, tmp_path, tokenizer=f"train:{kind}", **SMALLEST, max_length=max_length
    )
    words = corpus.tokenizer()
    lines = book.read_text("utf-8").splitlines()
    expected = [
        token for line in lines for token in words(line, add_special_tokens=False).input_ids
    ]
    assert whole_lines(corpus, words) == expected
    assert statistics["tokens"] == len(expected) and statistics["tokens_lost"] == 0
    ids, starts = every_row(corpus)
    assert max(map(len, ids)) <= max_length
    for row, start in zip(ids, starts):
        assert row[0] == words.cls_token_id and row[-1] == words.sep_token_id
        assert start[:2] == [False, True] and not start[-1]
    if (
        max_length == 31 and kind == "wordpiece"
    ):  # no word is that long, so no sequence begins inside one
        assert not [row for row in ids if words.convert_ids_to_tokens(row[1]).startswith("##")]


def test_rows_from_many_chunks(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "a.txt"
    path.write_text(
        "".join(" ".join(rng.choices(WORDS, k=rng.randrange(1, 6))) + "\n" for _ in range(2500)),
        "utf-8",
    )
    _, corpus = make(path, tmp_path / "out", deduplicate=False)
    assert len(corpus.ids) == 3
    words, lines = corpus.tokenizer(), path.read_text("utf-8").splitlines()
    places = [0, 2499, 999, 1000, 1001, 1999, 2000, *rng.sample(range(2500), 50)]
    for place, ids, start in zip(places, *corpus.rows(np.array(places))):
        assert ids.tolist() == words(lines[place]).input_ids and start.sum() == len(
            lines[place].split()
        )
    assert corpus.rows([]) == ([], [])


def test_truncate_keeps_the_beginning(book, tmp_path):
    statistics, corpus = make(book, tmp_path, long_lines="truncate", max_length=12)
    words = corpus.tokenizer()
    lines = book.read_text("utf-8").splitlines()
    assert every_row(corpus)[0] == [
        words(line, truncation=True, max_length=12).input_ids for line in lines
    ]
    full = sum(len(words.tokenize(line)) for line in lines)
    assert (
        statistics["tokens"] + statistics["tokens_lost"] == full
        and statistics["tokens_lost"] > 1000
    )


def test_cuts():
    word = [True] * 10
    assert prepare.cut_points(word, 10, 0) == [0, 10]
    assert prepare.cut_points(word, 4, 0) == [0, 4, 8, 10]
    assert prepare.cut_points(word, 4, 4) == [0, 4, 7, 10]  # the last two share
    pieces = [True, False, True, False, False, True, False, True]
    assert prepare.cut_points(pieces, 4, 0) == [0, 2, 5, 8]
    assert prepare.cut_points([True] + [False] * 9, 4, 0) == [0, 4, 8, 10]  # one long word


def test_special_tokens_written_in_the_text_are_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Ala [MASK] ma [SEP] kota\n" * 3 + "Ala ma kota i psa\n" * 3)
    _, corpus = make(path, tmp_path / "out", deduplicate=False, vocab_size=60)
    words = corpus.tokenizer()
    assert all(
        row.count(words.sep_token_id) == 1 and words.mask_token_id not in row
        for row in every_row(corpus)[0]
    )


# ---------------------------------------------------------------------------- what is kept, and why


def test_every_line_is_accounted_for(book, tmp_path):
    text = book.read_text("utf-8").splitlines()
    path = tmp_path / "a.txt"
    path.write_text("\n".join([*text, *text[:40], "", " ", "ok"]) + "\n", encoding="utf-8")
    statistics, corpus = make(path, tmp_path / "out", min_words=2, min_tokens=12, held_out_lines=50)
    dropped, held = statistics["dropped"], open_corpus(tmp_path / "out", "held_out")
    assert statistics["lines_in"] == 643
    assert (dropped["blank"], dropped["too_few_words"], dropped["duplicate"]) == (2, 1, 40)
    assert dropped["too_few_tokens"] > 20
    assert dropped["beyond_subset"] == 0
    assert statistics["lines"] + statistics["held_out"]["lines"] + sum(dropped.values()) == 643
    assert (
        30 < statistics["held_out"]["lines"] <= 50 and len(held) >= statistics["held_out"]["lines"]
    )
    assert corpus.lengths.min() >= 12
    assert statistics["sequences"] == len(corpus)
    assert statistics["tokens_with_specials"] == corpus.lengths.sum()
    assert statistics["tokens_with_specials"] == statistics["tokens"] + 2 * len(corpus)
    histogram = statistics["length_histogram"]
    assert sum(histogram["counts"]) == len(corpus)
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert json.loads((tmp_path / "out" / "statistics.json").read_text()) == statistics
    names = ["data", "held_out", "statistics.json", "tokenizer"]
    assert sorted(os.listdir(tmp_path / "out")) == names


def test_statistics_of_a_known_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Ala ma kota\nAla ma psa i kota\n" * 10, encoding="utf-8")
    statistics, _ = make(path, tmp_path / "out", deduplicate=False, vocab_size=60)
    expected = dict(lines=20, words=80, bytes=300, tokens=80, sequences=20, lines_cut=0)
    assert {key: statistics[key] for key in expected} == expected
    assert statistics["words_per_line"] == {"mean": 4.0, "median": 4.0}
    assert statistics["tokens_per_sequence"] == {"mean": 6.0, "median": 6.0, "max": 7}
    assert statistics["unknown_share"] == 0.0 and statistics["tokens_per_word"] == 1.0


def test_a_source_of_unknown_tokens_stops_with_the_figure(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ala ma kota\n" * 30, encoding="utf-8")
    make(path, tmp_path / "first", vocab_size=30, deduplicate=False)
    other = tmp_path / "b.txt"
    other.write_text("ala ma ж kota\nż ż ala\n", encoding="utf-8")
    kept = dict(
        sources=[FileSource(path=str(path)), FileSource(path=str(other))],
        tokenizer=str(tmp_path / "first" / "tokenizer"),
    )
    with pytest.raises(
        InputError, match=r"42.9% of the tokens of b.txt, by 2 of its lines, are unknown .* 5.0%"
    ):
        make(None, tmp_path / "a", **kept)
    statistics, _ = make(None, tmp_path / "a", max_unknown_share=0.43, **kept)
    assert statistics["unknown_share"] == pytest.approx(3 / 10)  # a line of "ala ma kota" is kept


@pytest.mark.parametrize(("unit", "size"), [("lines", 100), ("bytes", 9_000), ("tokens", 3_000)])
def test_subset(book, tmp_path, plain, unit, size):
    statistics, corpus = make(
        book, tmp_path, subset_unit=unit, subset_size=size, tokenizer=str(plain[2] / "tokenizer")
    )
    assert size - 300 < statistics[unit] <= size and statistics["lines"] < 600
    if unit == "lines":
        assert statistics["lines"] == size
    assert (
        every_row(corpus)[0] == every_row(plain[1])[0][: len(corpus)]
    )  # the first lines, in order
    if unit == "tokens":
        assert statistics["dropped"]["beyond_subset"] > 0


def test_held_out_lines_are_apart(book, tmp_path):
    text = book.read_text("utf-8")
    path = tmp_path / "twice.txt"
    path.write_text(text + text, encoding="utf-8")
    statistics, corpus = make(
        path, tmp_path / "out", deduplicate=False, held_out_lines=60, max_length=512
    )
    held = open_corpus(tmp_path / "out", "held_out")
    assert len(held) == statistics["held_out"]["lines"] == 60
    assert statistics["dropped"]["repeats_held_out"] == 60 and len(corpus) == 1080
    inside, outside = (set(map(tuple, every_row(part)[0])) for part in (corpus, held))
    assert not inside & outside and len(outside) == 60
    places = [
        n
        for n, row in enumerate(text.splitlines())
        if tuple(corpus.tokenizer()(row).input_ids) in outside
    ]
    assert places[0] < 100 and places[-1] > 500  # spread over the text


# ----------------------------------------------------------------------------------------- sameness


def test_the_same_on_one_process_and_on_two(book, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "BLOCK", 64)
    monkeypatch.setattr(prepare, "BLOCKS", 4)  # several slices and several blocks in each
    result = []
    for processes in (1, 2):
        statistics, corpus = make(
            book,
            tmp_path / str(processes),
            processes=processes,
            held_out_lines=30,
            min_tokens=6,
            subset_unit="tokens",
            subset_size=9_000,
        )
        held = open_corpus(tmp_path / str(processes), "held_out")
        del statistics["seconds"], statistics["tokens_per_second"]
        result.append((statistics, every_row(corpus), every_row(held)))
    assert result[0] == result[1]
    assert os.environ.get("TOKENIZERS_PARALLELISM") != "false"


def test_running_again_replaces_what_was_there(book, plain, tmp_path):
    make(book, tmp_path, subset_unit="lines", subset_size=50, held_out_lines=5)
    _, corpus = make(book, tmp_path)
    assert every_row(corpus) == every_row(plain[1])
    assert not (tmp_path / "held_out").exists()


def test_progress(book, tmp_path):
    messages = []
    prepare.prepare(settings(book), tmp_path, say=messages.append)
    assert [line.split()[0] for line in messages] == [
        "reading",
        "tokenizer",
        "tokenising",
        "prepared",
    ]
    assert "600 lines" in messages[0] and "lines/s  done in 0:0" in messages[2]


def test_time_left(monkeypatch):
    clock, messages = iter((0.0, 2.0, 10.0, 12.0, 40.0)), []
    monkeypatch.setattr(reading.time, "perf_counter", lambda: next(clock))
    report = reading.progress_reporter("reading", messages.append)
    for lines, share in ((100, 0.1), (1000, 0.25), (1100, 0.3), (4000, 1.0)):
        report(lines, share)
    assert messages == [
        "reading  1,000 lines  100 lines/s  25%  0:30 left",
        "reading  4,000 lines  100 lines/s  done in 0:40",
    ]


# -------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(min_words=99), "sources: no line of 600 is left (too_few_words 600)"),
        (dict(min_tokens=999), "data: no line of 600 is left after tokenising"),
        (
            dict(held_out_lines=600),
            "held_out_lines: 600 of 600 different lines; allowed: fewer than there are",
        ),
        (dict(max_length=2), "max_length: 2 has no room beside the special tokens; allowed: more"),
        (dict(tokenizer="./no/where"), "the folder ./no/where does not exist"),
        (dict(vocab_size=8), "vocab_size: 8 has no room for the characters"),
    ],
)
def test_wrong_input_is_one_line(book, tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        make(book, tmp_path, **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "scratch").exists() and not (tmp_path / "statistics.json").exists()


def test_opening_what_is_not_there(plain, tmp_path):
    with pytest.raises(
        InputError, match="data: no prepared corpus; run notebook 1_data_prep first"
    ):
        open_corpus(tmp_path)
    with pytest.raises(InputError, match="held_out: no prepared corpus"):
        open_corpus(plain[2], "held_out")


# ---------------------------------------------------------------------------------------- real text


@pytest.mark.skipif(not (DATA / "text/pl/books.txt").is_file(), reason="no folder of real text")
def test_novels(tmp_path):
    source = [FileSource(path=str(DATA / "text/pl/books.txt"))]
    statistics, corpus = make(
        None,
        tmp_path,
        sources=source,
        subset_unit="lines",
        subset_size=600,
        vocab_size=2000,
        max_length=128,
        tokenizer="train:herbert_bpe",
        min_tokens=12,
    )
    assert statistics["lines"] > 450 and statistics["unknown_share"] < 0.001
    assert 1.3 < statistics["tokens_per_word"] < 3 and corpus.lengths.max() <= 128
    ids, starts = corpus.rows([0])
    text = corpus.tokenizer().convert_ids_to_tokens(ids[0].tolist())
    ends = [token.endswith("</w>") for token in text]
    assert [bool(b) for b in starts[0][2:-1]] == ends[
        1:-2
    ]  # a word starts exactly where the one before has ended
