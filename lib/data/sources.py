"""Sources of text: what a parameter file can name, how it is read, and which lines of it are kept.

A source yields passages: a line of a text file, a record of a JSON Lines file or of a hub data set,
a line of a toy corpus, or a paragraph of an article or a book. Cleaned, optionally split into
sentences, and filtered, they become the lines that are tokenised.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from hashlib import blake2b
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Annotated, Callable, Iterator, Literal, NamedTuple, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib.common import hub
from lib.common.errors import InputError
from lib.common.places import is_address
from lib.data import documents
from lib.data.cleaning import clean
from lib.data.languages import Language
from lib.data.textfiles import OPENERS, find_files, json_record, passed_over, text_lines
from lib.data.words import HAN

# ------------------------------------------------------------------------------------ declarations


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _require_range(source):
    if source.share_from >= source.share_to:
        raise ValueError(f"share_from {source.share_from} must be below share_to {source.share_to}")
    return source


class ToySource(_Source):
    """A number of lines of a toy corpus."""

    kind: Literal["toy"] = "toy"
    language: Language = Field(min_length=1)
    corpus: str
    lines: int = Field(gt=0)


class FileSource(_Source):
    """Text files: a file, a folder (all text files in it, recursively, sorted) or a glob pattern.

    `column` holds the text in .jsonl files. [share_from, share_to) selects lines by their hash, so
    sources with shares that do not overlap are disjoint, repeated lines included.
    """

    kind: Literal["files"] = "files"
    path: str = Field(min_length=1)
    language: Language = ""
    column: str = "text"
    share_from: float = Field(0.0, ge=0, le=1)
    share_to: float = Field(1.0, ge=0, le=1)
    _range = model_validator(mode="after")(_require_range)


class WikiSource(_Source):
    """A folder of WikiExtractor's output: files wiki_00, wiki_01, … in AA, AB, …, plain or --json.

    [share_from, share_to) selects whole articles by the hash of their id.
    """

    kind: Literal["wikiextractor"] = "wikiextractor"
    path: str = Field(min_length=1)
    language: Language = ""
    share_from: float = Field(0.0, ge=0, le=1)
    share_to: float = Field(1.0, ge=0, le=1)
    _range = model_validator(mode="after")(_require_range)


class BookSource(_Source):
    """A folder of books, one .txt file each."""

    kind: Literal["books"] = "books"
    path: str = Field(min_length=1)
    language: Language = ""


class HubSource(_Source):
    """A split of a data set on the Hugging Face hub; nothing is stored if `streaming`.

    `documents`: the column holds whole articles (wikimedia/wikipedia), cut into text passages.
    `first_rows`: only so many are read; 0: all.
    """

    kind: Literal["hub"] = "hub"
    dataset: str = Field(min_length=1)
    language: Language = ""
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    streaming: bool = True
    documents: bool = False
    first_rows: int = Field(0, ge=0)


Source = Annotated[
    ToySource | FileSource | HubSource | WikiSource | BookSource, Field(discriminator="kind")
]


def source_name(source: Source) -> str:
    """A short name for tables."""
    if source.kind == "toy":
        return f"{source.language}/{source.corpus}"
    if source.kind == "hub":
        return f"{source.dataset} {source.config}" if source.config else source.dataset
    return Path(source.path).name


# ----------------------------------------------------------------------------------------- reading

COMPRESSED = r"(\.(bz2|gz|xz))?"
FILES = {  # kind: pattern of file names, and its description for messages
    "files": (
        r".*\.(txt|jsonl)(\.gz|\.xz)?",
        ".txt, .txt.gz, .txt.xz, .jsonl, .jsonl.gz, .jsonl.xz",
    ),
    "wikiextractor": (r"wiki_\d+" + COMPRESSED, "wiki_00, wiki_01, …, also .bz2, .gz, .xz"),
    "books": (r".*\.txt" + COMPRESSED, ".txt, also .gz, .xz, .bz2"),
}


def source_files(source: FileSource | WikiSource | BookSource) -> list[Path]:
    """The files of a source, sorted; relative paths start at the checkout. Raises InputError if
    there are none."""
    return find_files(source.path, *_text_names(source))


def _text_names(source: FileSource | WikiSource | BookSource) -> tuple[Callable, str]:
    """Whether a file name is that of text of this kind, and a description of these names."""
    pattern, allowed = FILES[source.kind]
    return re.compile(pattern, re.DOTALL).fullmatch, allowed


def reading_notes(sources: Sequence[Source]) -> list[str]:
    """One line for each file that is skipped or read twice. Raises InputError."""
    notes, readings = [], defaultdict(list)
    for source in sources:
        if source.kind not in FILES:
            continue
        is_text, allowed = _text_names(source)
        if left_out := passed_over(source.path, is_text):
            reasons = "; ".join(f"{why} ({_some(names)})" for why, names in left_out.items())
            notes.append(f"{source.path}: not read: {reasons}; read are {allowed}")
        for file in source_files(source):
            place = file if is_address(file) else file.resolve()
            place = place.with_suffix("") if place.suffix in OPENERS else place
            share = getattr(source, "share_from", 0.0), getattr(source, "share_to", 1.0)
            readings[place].append((*share, str(file)))
    for same in readings.values():
        same.sort()
        if any(before[1] > after[0] for before, after in pairwise(same)):
            names = dict.fromkeys(file for *_, file in same)
            notes.append(f"the same text is read more than once: {_some(list(names))}")
    return notes


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def read_passages(source: Source, seed: int) -> Iterator[str]:
    """The passages of a source in order; only toy text depends on `seed`. Raises InputError at the
    first line that cannot be read."""
    if source.kind == "toy":
        from lib.data.toy import corpora

        return corpora.corpus_lines(source.language, source.corpus, source.lines, seed)
    if source.kind == "hub":
        return _hub_passages(source)
    files = source_files(source)
    if source.kind == "books":
        return chain.from_iterable(map(documents.book_passages, files))
    if source.kind == "wikiextractor":
        return chain.from_iterable(
            documents.article_passages(lines, title)
            for key, title, lines in chain.from_iterable(map(documents.wiki_articles, files))
            if source.share_from <= hash_position(key) < source.share_to
        )
    texts = chain.from_iterable(_file_passages(path, source.column) for path in files)
    if source.share_from == 0 and source.share_to == 1:
        return texts
    return (text for text in texts if source.share_from <= hash_position(text) < source.share_to)


def _file_passages(path: Path, column: str) -> Iterator[str]:
    lines = text_lines(path)
    if ".jsonl" not in path.suffixes[-2:]:
        yield from lines
        return
    for number, line in enumerate(lines, 1):
        is_record = line.strip()
        yield json_record(line, column, f"{path}, line {number}")[column] if is_record else line


def _hub_passages(source: HubSource) -> Iterator[str]:
    config = f" ({source.config})" if source.config else ""
    where = f"hub data set {source.dataset}{config}, split {source.split}"
    rows = hub.rows(
        source.dataset,
        source.config,
        split=source.split,
        revision=source.revision,
        streaming=source.streaming,
    )
    try:
        for row in islice(rows, source.first_rows or None):
            text = row.get(source.column)
            if not isinstance(text, str):
                columns = ", ".join(row)
                raise InputError(f"{where}: no text in column {source.column!r}; it has: {columns}")
            if source.documents:
                yield from documents.article_passages(text.split("\n"), str(row.get("title", "")))
            else:
                yield text.rstrip("\r\n")  # CC-100 keeps line ends
    except InputError:
        raise
    except Exception as error:  # the network may fail at any row
        reason = (str(error).splitlines() or [""])[0]
        problem = f"cannot be read ({type(error).__name__}: {reason})"
        raise InputError(f"{where}: {problem}") from None


def check_source(source: Source) -> None:
    """Read the first passage of a source, to find mistakes early. Raises InputError."""
    if source.kind == "toy":
        from lib.data.toy import corpora, languages

        for key, allowed in ("language", languages.LANGUAGES), ("corpus", corpora.CORPORA):
            if (value := getattr(source, key)) not in allowed:
                problem = f"{value!r} is no toy {key}; allowed: {', '.join(allowed)}"
                raise InputError(f"sources.{key}: {problem}")
        return
    if source.kind == "hub":  # one passage is not worth a download
        whole = {} if hub.offline() else {"streaming": True}
    else:
        whole = {"share_from": 0.0, "share_to": 1.0}
    passages = read_passages(source.model_copy(update=whole), seed=0)
    if not any(passage.strip() for passage in passages):  # stops at the first that is not blank
        name = source.dataset if source.kind == "hub" else source.path
        raise InputError(f"sources: {name} is empty")


def expected_size(source: Source) -> tuple[str, int] | None:
    """About how much there is to read: ("passages" or "bytes", number), or None if unknown."""
    if source.kind == "toy":
        return "passages", source.lines
    if source.kind == "hub":
        return None
    files = source_files(source)
    if any(file.suffix in (".jsonl", *OPENERS) for file in files):
        return None
    share = 1.0 if source.kind == "books" else source.share_to - source.share_from
    return "bytes", int(sum(file.stat().st_size for file in files) * share)


# ------------------------------------------------------------------------------------------- lines


class Line(NamedTuple):
    """A cleaned line: the index of its source, its words (see count_words), its UTF-8 bytes with
    one line end, and its stable_hash."""

    source: int
    text: str
    words: int
    bytes: int
    hash: int


def kept_lines(
    params,
    counts: Counter,
    tallies: Sequence[Counter],
    limit: tuple[str, int] | None = None,
    folder: Path | None = None,
) -> Iterator[Line]:
    """The lines of all sources in order: cleaned, optionally split into sentences, and filtered.

    Args:
        params: see lib.data.parameters; used are `sources`, `seed`, `cleaning`, `sentences`,
            `language`, `min_words`, `max_words` and `deduplicate`.
        counts: updated with `passages_in` and `bytes_in` (before cleaning), `lines_in`, the lines
            dropped as `blank`, `too_few_words`, `too_many_words` and `duplicate`, and the `lines`,
            `words` and `bytes` kept.
        tallies: a Counter for each source, updated with the `bytes` kept and, under each number n,
            the lines of n words.
        limit: stop before there are more than this many `lines`, `words` or `bytes`.
        folder: where to write hashes of earlier lines when there are many; None: memory only.
    """
    unit, most = limit or ("", 0)
    earlier = HashSet(folder)
    for number, (source, tally) in enumerate(zip(params.sources, tallies)):
        for passage in read_passages(source, params.seed):
            counts["passages_in"] += 1
            counts["bytes_in"] += len(passage.encode()) + 1
            cleaned = clean(passage, params.cleaning)
            texts = split_sentences(cleaned, params.language) if params.sentences else [cleaned]
            for text in texts or [cleaned]:
                counts["lines_in"] += 1
                words, size, key = count_words(text), len(text.encode()) + 1, stable_hash(text)
                if not words:
                    counts["blank"] += 1
                elif words < params.min_words:
                    counts["too_few_words"] += 1
                elif params.max_words and words > params.max_words:
                    counts["too_many_words"] += 1
                elif params.deduplicate and not earlier.add(key):
                    counts["duplicate"] += 1
                else:
                    amounts = {"lines": 1, "words": words, "bytes": size}
                    if unit and counts[unit] + amounts[unit] > most:
                        counts["lines_in"] -= 1  # beyond the subset: neither kept nor dropped
                        return
                    for name, amount in amounts.items():
                        counts[name] += amount
                    tally["bytes"] += size
                    tally[words] += 1
                    yield Line(number, text, words, size, key)


def split_sentences(passage: str, language: str) -> list[str]:
    """The sentences of a passage, each on one line; only white space is lost.

    sentencex (Wikimedia's) was the best of six splitters that we tried: it needs no model and no
    other package, knows the abbreviations of some 300 languages, made the fewest mistakes on hard
    cases in eight of them, and splits 20 million words a second. blingfire is five times slower and
    weaker in German, Polish and Chinese; spaCy's rules split at every "p. 5"; syntok knows no
    Chinese or Urdu; pysbd is 400 times slower; NLTK's Punkt needs a download to know "Dr.".

    Args: language, an ISO 639 code; general rules apply to codes that the library does not know.
    """
    from sentencex import segment

    sentences = (" ".join(piece.split()) for piece in segment(language, passage))
    return [sentence for sentence in sentences if sentence]


def count_words(text: str) -> int:
    """Words between white space; each Han character is a word, as it is to BERT."""
    if not text.isascii() and HAN.search(text):
        text = HAN.sub(r" \g<0> ", text)
    return len(text.split())


def stable_hash(text: str, purpose: bytes = b"") -> int:
    """64 bits, the same in every process, and independent for different purposes."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


def hash_position(text: str) -> float:
    """A line's position in [0, 1), which `share_from` and `share_to` select by."""
    return (stable_hash(text, b"share") >> 11) / 2**53


RECENT = 1 << 19  # hashes kept in memory, about 40 MiB
LONGEST = 1 << 23  # hashes of a file that is still merged with others


class HashSet:
    """A set of 64-bit hashes that only grows: the recent ones in memory, the others in sorted files
    in `folder`, eight bytes each (None: all in memory)."""

    def __init__(self, folder: Path | None):
        self.folder, self.recent, self.written = folder, set(), 0
        self.files: list[np.memmap] = []
        self.views: list[memoryview] = []  # of the same files: faster to search than a memmap

    def add(self, key: int) -> bool:
        """Add a hash; False if it was there already."""
        if key in self.recent or any(_contains(view, key) for view in self.views):
            return False
        self.recent.add(key)
        if self.folder and len(self.recent) == RECENT:
            self._write()
        return True

    def _write(self) -> None:
        """Write the recent hashes to a sorted file, merged with files that are not longer."""
        keys = np.fromiter(self.recent, np.uint64, len(self.recent))
        while self.files and len(self.files[-1]) <= len(keys) < LONGEST:
            self.views.pop()
            merged = self.files.pop()
            keys = np.concatenate([keys, merged])
            Path(merged.filename).unlink()
        keys.sort()
        path = self.folder / f"hashes-{self.written}"
        keys.tofile(path)
        self.written += 1
        self.files.append(np.memmap(path, np.uint64, "r"))
        self.views.append(memoryview(self.files[-1]))
        self.recent = set()


def _contains(view: memoryview, key: int) -> bool:
    index = bisect_left(view, key)
    return index < len(view) and view[index] == key
