"""lib.data.sources: sources, the passages that are used, and the one line a bad input gets."""

import gzip
import json
import lzma
import random
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter, ValidationError

from lib.common import hub
from lib.common.errors import InputError
from lib.data import sources
from lib.data.sources import FileSource, HubSource, Source, ToySource

LINES = [f"Zdanie numer {n}: żółw pełznie przez Łódź." for n in range(400)]


def write(path, lines):
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(data))
    return path


def records(lines):
    return [json.dumps({"id": 1, "text": line}, ensure_ascii=False) for line in lines]


def texts(path, **settings):
    return list(sources.read_passages(FileSource(path=str(path), **settings), seed=0))


SETTINGS = dict(
    cleaning="careful",
    deduplicate=False,
    min_words=0,
    max_words=0,
    seed=0,
    sentences=False,
    language="en",
)


def lines_of(some_sources, counts=None, tallies=None, limit=None, **changes):
    """The lines that are kept of the sources, as [(index of the source, text)]."""
    params = SimpleNamespace(sources=some_sources, **(SETTINGS | changes))
    counts = Counter() if counts is None else counts
    tallies = [Counter() for _ in some_sources] if tallies is None else tallies
    kept = sources.kept_lines(params, counts, tallies, limit)
    return [(line.source, line.text) for line in kept]


def run(path, counts=None, **changes):
    return [text for _, text in lines_of([FileSource(path=str(path))], counts, **changes)]


@pytest.fixture
def book(tmp_path):
    return write(tmp_path / "book.txt", LINES)


# ------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    "name", ["a.txt", "a.txt.gz", "a.txt.xz", "a.jsonl", "a.jsonl.gz", "a.jsonl.xz"]
)
def test_every_kind_of_file(tmp_path, name):
    path = write(tmp_path / name, records(LINES) if "jsonl" in name else LINES)
    assert texts(path) == LINES


def test_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffpierwsza\r\ndru\u2028ga\x85x\n\nostatnia".encode())
    assert texts(tmp_path / "a.txt") == ["pierwsza", "dru\u2028ga\x85x", "", "ostatnia"]


def test_folder_is_read_sorted_and_recursively(tmp_path):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "x.txt.gz", ["two"])
    write(tmp_path / "c.jsonl", records(["three"]))
    write(tmp_path / "a.txt", ["one"])
    write(tmp_path / "notes.md", ["not text"])
    assert texts(tmp_path) == ["one", "two", "three"]
    assert texts(tmp_path / "**" / "*.gz") == ["two"]


def test_what_is_passed_over_or_read_twice_is_told(tmp_path):
    for name in ("a.txt", "b.txt", "deep/c.jsonl", "notes.pdf", ".ipynb_checkpoints/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "kot"}\n')
    (tmp_path / "empty.txt").touch()
    write(tmp_path / "a.txt.gz", LINES)
    (tmp_path / "link.txt").symlink_to("b.txt")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "deep")
    (tmp_path / "lost.txt").symlink_to("nowhere")
    names = [file.name for file in sources.source_files(FileSource(path=str(tmp_path)))]
    assert names == ["a.txt", "a.txt.gz", "b.txt", "c.jsonl", "empty.txt", "link.txt"]
    left_out, *twice = sources.reading_notes([FileSource(path=str(tmp_path))])
    assert (
        "not read: linked folders (elsewhere); empty files (empty.txt); links to nothing "
        "(lost.txt); files of other kinds (notes.pdf); hidden files (.ipynb_checkpoints/a.txt); "
    ) in left_out
    assert [line.split(": ")[1].replace(f"{tmp_path}/", "") for line in twice] == [
        "a.txt, a.txt.gz",
        "b.txt, link.txt",
    ]


def test_the_same_file_in_two_sources_is_told_unless_their_shares_are_disjoint(tmp_path, book):
    half = FileSource(path=str(book), share_to=0.5)
    assert not sources.reading_notes([half, FileSource(path=str(book), share_from=0.5)])
    assert len(sources.reading_notes([half, FileSource(path=str(book))])) == 1


def test_a_folder_with_brackets_in_its_name(tmp_path):
    (tmp_path / "[x]").mkdir()
    write(tmp_path / "[x]/a.txt", LINES)
    assert sources.source_files(FileSource(path=str(tmp_path / "[x]/*.txt")))


def test_shares_are_disjoint_and_complete(book):
    low, high = texts(book, share_to=0.25), texts(book, share_from=0.25)
    assert sorted(low + high) == sorted(LINES) and not set(low) & set(high)
    assert 60 < len(low) < 140  # 100 expected, 8.7 standard deviation
    assert (
        low == texts(book, share_to=0.25) and low[0] in LINES[:40]
    )  # stable, in the order of the file


def test_share_is_the_same_on_every_machine():
    assert sources.hash_position("żółw") == pytest.approx(0.397038981311, abs=1e-11)
    assert sources.stable_hash("żółw") == 0x70D5555A8FC1103A


def test_toy_source(monkeypatch):
    toy = SimpleNamespace(
        corpus_lines=lambda language, name, lines, seed: (
            f"{language} {name} {seed} {n}" for n in range(lines)
        ),
        LANGUAGES={"toy-pl": 0},
        CORPORA={"general": 0},
    )
    for module in ("corpora", "languages"):
        monkeypatch.setitem(sys.modules, f"lib.data.toy.{module}", toy)
        monkeypatch.setattr(f"lib.data.toy.{module}", toy, raising=False)
    source = ToySource(language="toy-pl", corpus="general", lines=2)
    assert list(sources.read_passages(source, seed=7)) == [
        "toy-pl general 7 0",
        "toy-pl general 7 1",
    ]
    assert sources.expected_size(source) == ("passages", 2)
    sources.check_source(source)
    with pytest.raises(
        InputError, match="sources.language: 'toy-xx' is no toy language; allowed: toy-pl"
    ):
        sources.check_source(ToySource(language="toy-xx", corpus="general", lines=2))
    with pytest.raises(InputError, match="sources.corpus: 'x' is no toy corpus; allowed: general"):
        sources.check_source(ToySource(language="toy-pl", corpus="x", lines=2))


def test_hub_source(monkeypatch):
    request = {}

    def load_dataset(name, config, **settings):
        request.update(settings, name=name, config=config)
        return iter([{"text": "raz\n"}, {"text": "dwa"}])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub, "offline", lambda: False)
    source = HubSource(dataset="wikimedia/wikipedia", config="20231101.pl", revision="abc")
    assert list(sources.read_passages(source, seed=0)) == ["raz", "dwa"]
    first = source.model_copy(update={"first_rows": 1})
    assert list(sources.read_passages(first, seed=0)) == ["raz"]
    where = dict(name="wikimedia/wikipedia", config="20231101.pl", split="train", revision="abc")
    assert request == where | dict(streaming=True)
    with pytest.raises(InputError, match=r"no text in column 'body'; it has: text"):
        list(sources.read_passages(source.model_copy(update={"column": "body"}), seed=0))


def test_hub_failure_is_one_line(monkeypatch):
    def load_dataset(*_, **__):
        raise ConnectionError("Couldn't reach the Hub\nand a long story")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub, "offline", lambda: False)
    with pytest.raises(InputError) as caught:
        sources.check_source(HubSource(dataset="no/where"))
    assert str(caught.value) == (
        "data set 'no/where' at revision main cannot be loaded (ConnectionError: Couldn't reach "
        "the Hub and a long story)"
    )


# ------------------------------------------------------------------------------------- wrong inputs


def message(act, *arguments, **settings):
    with pytest.raises(InputError) as caught:
        act(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths_that_are_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.csv", ["x"])
    assert "does not exist; allowed: a file, a folder or a glob" in message(
        texts, tmp_path / "gone"
    )
    assert "empty has no text file; allowed: .txt, .txt.gz" in message(texts, tmp_path / "empty")
    assert "a.csv is no text file; allowed: .txt" in message(texts, tmp_path / "a.csv")
    assert "no text file matches" in message(texts, tmp_path / "*.csv")
    write(tmp_path / "blank.txt", ["", "  "])
    assert "blank.txt is empty" in message(
        sources.check_source, FileSource(path=str(tmp_path / "blank.txt"))
    )


def test_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "latin.txt").write_bytes("dobra\n".encode() + "zażółć\n".encode("iso8859-2"))
    assert (
        message(texts, tmp_path / "latin.txt")
        == f"{tmp_path}/latin.txt, line 2: not UTF-8; save it as UTF-8"
    )
    (tmp_path / "first.txt").write_bytes(b"\xff\xfe")
    assert "first.txt, line 1: not UTF-8" in message(
        sources.check_source, FileSource(path=str(tmp_path / "first.txt"))
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": }', "line 2: not JSON (Expecting value); allowed: one object per line"),
        ('{"body": "x", "id": 3}', "line 2: no text in column 'text'; it has: body, id"),
        ('{"text": 5}', "line 2: no text in column 'text'; it has: text"),
        ('["x"]', "line 2: no text in column 'text'; it has: list"),
        ('{"text": "\\ud800"}', "line 2: half a surrogate pair in 'text'; allowed: Unicode text"),
    ],
)
def test_records_that_are_wrong(tmp_path, line, expected):
    path = write(tmp_path / "a.jsonl", [records(["dobra"])[0], line])
    assert message(texts, path) == f"{path}, {expected}"


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.xz"])
def test_packed_files_that_are_broken(tmp_path, name):
    path = write(tmp_path / name, LINES)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read" in message(texts, path)
    path.write_bytes(b"plain text")
    assert f"{name}, after line 0: cannot be read" in message(texts, path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "files", "path": "a", "colum": "x"},
        {"kind": "files", "path": "a", "share_from": 0.5, "share_to": 0.5},
        {"kind": "files", "path": "a", "share_to": 1.5},
        {"kind": "files", "path": ""},
        {"kind": "toy", "language": "x", "corpus": "y", "lines": 0},
        {"kind": "web", "path": "a"},
        {"path": "a"},
    ],
)
def test_parameters_that_are_wrong(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Source).validate_python(wrong)


def test_kind_decides():
    source = TypeAdapter(Source).validate_python({"kind": "files", "path": "a", "share_to": 0.5})
    assert source == FileSource(path="a", share_to=0.5)


# ----------------------------------------------------------------------------------------- passages


def test_passages_drop_and_say_why(tmp_path):
    lines = ["Raz  dwa trzy", "", "Raz dwa trzy", "<br>", "jeden", "a b c d e f", "Cztery pięć"]
    path = write(tmp_path / "a.txt", lines)
    counts = Counter()
    kept = run(path, counts, deduplicate=True, min_words=2, max_words=5)
    assert kept == ["Raz dwa trzy", "Cztery pięć"]
    assert counts == dict(
        lines_in=7,
        passages_in=7,
        bytes_in=path.stat().st_size,
        blank=2,
        duplicate=1,
        too_few_words=1,
        too_many_words=1,
        lines=2,
        words=5,
        bytes=len("Raz dwa trzy\nCztery pięć\n".encode()),
    )


def test_words_of_scripts_without_spaces():
    assert sources.count_words("Zażółć  gęślą, jaźń") == 3
    assert (
        sources.count_words("北京是中国的首都。 BERT") == 10
    )  # eight characters, the full stop, BERT
    assert sources.count_words("") == 0


def test_no_limit_and_no_deduplication(tmp_path):
    path = write(tmp_path / "a.txt", ["raz", "raz", "raz " * 1000])
    assert len(run(path)) == 3


@pytest.mark.parametrize("size", [1, 7, 399, 400, 401])
def test_subset_by_lines(book, size):
    counts = Counter()
    assert run(book, counts, limit=("lines", size)) == LINES[:size]
    assert counts["lines_in"] == counts["lines"] == min(size, 400)


def test_subset_by_bytes_is_never_exceeded(book):
    one = len(LINES[0].encode()) + 1
    for size, lines in ((one - 1, 0), (one, 1), (one * 3, 3), (one * 3 + one - 1, 3)):
        assert run(book, limit=("bytes", size)) == LINES[:lines]


def test_sources_follow_each_other(tmp_path, book):
    other = write(tmp_path / "other.txt", ["inna", LINES[3]])
    both = [FileSource(path=str(other)), FileSource(path=str(book))]
    kept = lines_of(both, cleaning="none", deduplicate=True)
    assert [text for _, text in kept] == ["inna", LINES[3], *LINES[:3], *LINES[4:]]
    assert [number for number, _ in kept] == [0] * 2 + [1] * 399
    size = book.stat().st_size
    assert sources.expected_size(both[1]) == ("bytes", size)
    half = FileSource(path=str(book), share_to=0.5)
    assert sources.expected_size(half) == ("bytes", size // 2)


def test_sentences_are_lines(tmp_path):
    text = "Dr. Smith came.  He left. <b>He</b> left."
    path = write(tmp_path / "a.txt", [text, "", "One."])
    counts = Counter()
    assert run(path, counts, sentences=True) == ["Dr. Smith came.", "He left.", "He left.", "One."]
    expected = {"passages_in": 3, "lines_in": 5, "blank": 1, "lines": 4}
    assert {name: counts[name] for name in expected} == expected
    counts = Counter()
    # Both conditions apply to sentences.
    kept = run(path, counts, sentences=True, deduplicate=True, min_words=2)
    assert kept == ["Dr. Smith came.", "He left."]
    assert (counts["duplicate"], counts["too_few_words"]) == (1, 1)
    assert run(path, sentences=True, limit=("lines", 2)) == ["Dr. Smith came.", "He left."]
    assert run(path)[0] == "Dr. Smith came. He left. He left."


def test_tallies_of_each_source(tmp_path, book):
    other = write(tmp_path / "other.txt", ["raz", "raz dwa", "raz", "cztery"])
    tallies = [Counter(), Counter()]
    both = [FileSource(path=str(other)), FileSource(path=str(book))]
    kept = lines_of(both, tallies=tallies, limit=("lines", 13), deduplicate=True)
    assert len(kept) == 13
    assert tallies[0] == {"bytes": len("raz\nraz dwa\ncztery\n"), 1: 2, 2: 1}
    assert tallies[1] == {"bytes": sum(len(line.encode()) + 1 for line in LINES[:10]), 7: 10}


def test_names_of_sources(tmp_path):
    named = {
        "toy-en/books": ToySource(language="toy-en", corpus="books", lines=1),
        "wikipedia.txt": FileSource(path="/far/away/wikipedia.txt"),
        "*.txt.gz": FileSource(path="text/*.txt.gz"),
        "statmt/cc100 pl": HubSource(dataset="statmt/cc100", config="pl"),
        "owner/set": HubSource(dataset="owner/set"),
    }
    assert {sources.source_name(source): source for source in named.values()} == named


# --------------------------------------------------------------------------------------- hashes


@pytest.mark.parametrize("longest", [1 << 23, 150])
def test_a_hash_set_on_disk(tmp_path, monkeypatch, longest):
    """Against Python's own set, with so few hashes in memory that files are written and merged."""
    monkeypatch.setattr(sources, "RECENT", 50)
    monkeypatch.setattr(sources, "LONGEST", longest)
    rng, expected, hashes = random.Random(1), set(), sources.HashSet(tmp_path)
    some = [rng.randrange(2**64) >> rng.choice((0, 54)) for _ in range(3000)]
    for key in [0, 2**64 - 1, *some] * 2:
        assert hashes.add(key) == (key not in expected)
        expected.add(key)
    assert len(hashes.recent) < 50 and len(list(tmp_path.iterdir())) == len(hashes.files)
    assert len(hashes.files) < (10 if longest > 1000 else 40)


def test_without_a_folder_all_hashes_stay_in_memory(monkeypatch):
    monkeypatch.setattr(sources, "RECENT", 5)
    hashes = sources.HashSet(None)
    assert [hashes.add(key) for key in [*range(9), *range(9)]] == [True] * 9 + [False] * 9
