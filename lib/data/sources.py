"""Sentences of a passage, by sentencex (Wikimedia's).

Chosen over five others by trying them: it needs no model and no other package (4 MB, imported in
milliseconds), knows the stops and abbreviations of some 300 languages, was right most often on hard
cases in eight of them, and splits 20 million words a second on one core. blingfire splits 4 million
(99 MB, no build for every machine, weaker in German, Polish and Chinese); spaCy's rules and syntok
250,000 (the first split at every "p. 5", the second knows no Chinese or Urdu); pysbd 47,000, and
nobody keeps it up; NLTK's Punkt splits at every "Dr." unless a model is downloaded.

Which lines have come before: by their hashes, few of them in memory however many there are.

Where text comes from, and which passages of it are used.

A passage is one line of a text file, one record of a JSON Lines file or of a hub data set, one line
of a toy corpus, or one paragraph of an article or a book (lib.data.documents).
"""

import re
from bisect import bisect_left
from collections import Counter
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Annotated, Iterator, Literal, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib.common import hub
from lib.common.errors import InputError
from lib.data import documents
from lib.data.cleaning import How, clean
from lib.data.documents import BookSource, WikiSource
from lib.data.languages import Language
from lib.data.textfiles import OPENERS, find_files, json_record, text_lines


def split_sentences(passage: str, language: str) -> list[str]:
    """The sentences of a passage, each on one line, in order; nothing but white space is lost.

    Args: language, an ISO 639 code ("en", "pl", "zh"); one that the library does not know is split
    by general rules.
    """
    from sentencex import segment

    return [
        sentence for piece in segment(language, passage) if (sentence := " ".join(piece.split()))
    ]


RECENT = 1 << 19
"""Hashes in memory, some 40 MiB; more are written to disk, sorted."""
LONGEST = 1 << 23
"""Hashes of files that are merged into one."""


class Seen:
    """A set of 64-bit hashes that only grows. Most of many are in files of `folder`, eight bytes
    each; None: all in memory."""

    def __init__(self, folder: Path | None):
        self.folder, self.recent, self.written = folder, set(), 0
        self.runs: list[np.memmap] = []
        self.views: list[memoryview] = []  # the same, faster to look one up in

    def add(self, key: int) -> bool:
        """Add a hash; whether it is a new one."""
        if key in self.recent or any(_holds(view, key) for view in self.views):
            return False
        self.recent.add(key)
        if self.folder and len(self.recent) == RECENT:
            self._write()
        return True

    def _write(self) -> None:
        """Write the recent hashes to a sorted file, and merge it with files no longer than
        itself."""
        keys = np.fromiter(self.recent, np.uint64, len(self.recent))
        while self.runs and len(self.runs[-1]) <= len(keys) < LONGEST:
            self.views.pop()
            merged = self.runs.pop()
            keys = np.concatenate([keys, merged])
            Path(merged.filename).unlink()
        keys.sort()
        path = self.folder / f"hashes-{self.written}"
        keys.tofile(path)
        self.written += 1
        self.runs.append(np.memmap(path, np.uint64, "r"))
        self.views.append(memoryview(self.runs[-1]))
        self.recent = set()


def _holds(run: memoryview, key: int) -> bool:
    place = bisect_left(run, key)
    return place < len(run) and run[place] == key


ENDINGS = tuple(kind + packed for kind in (".txt", ".jsonl") for packed in ("", ".gz", ".xz"))

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")


class ToySource(BaseModel):
    """Text of a toy language: so many lines of one of its corpora."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    kind: Literal["toy"] = "toy"
    language: Language = Field(min_length=1)
    corpus: str
    lines: int = Field(gt=0)


class FileSource(BaseModel):
    """Text files: a file, a folder (all its text files, sorted, also in subfolders), or a glob
    pattern.

    `column` names the text in .jsonl files. [share_from, share_to) keeps the lines whose hash falls
    there, so two sources with shares that do not overlap are disjoint parts of one text, a repeated
    line included.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    kind: Literal["files"] = "files"
    path: str = Field(min_length=1)
    language: Language = ""
    column: str = "text"
    share_from: float = Field(0.0, ge=0, le=1)
    share_to: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _some_share(self):
        if self.share_from >= self.share_to:
            raise ValueError(f"share_from {self.share_from} must be below share_to {self.share_to}")
        return self


class HubSource(BaseModel):
    """A split of a data set on the Hugging Face hub; with `streaming` nothing is stored.

    `documents`: the column holds whole articles (wikimedia/wikipedia), of which the text passages
    are used.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    kind: Literal["hub"] = "hub"
    dataset: str = Field(min_length=1)
    language: Language = ""
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    streaming: bool = True
    documents: bool = False


Source = Annotated[
    ToySource | FileSource | HubSource | WikiSource | BookSource, Field(discriminator="kind")
]


def stable_hash(text: str, purpose: bytes = b"") -> int:
    """64 bits that are the same in every process. Hashes for different purposes are independent of
    each other."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


def count_words(text: str) -> int:
    """Words between white space; in a script without spaces every Han character counts, as BERT
    cuts it."""
    return len(HAN.sub(r" \g<0> ", text).split() if HAN.search(text) else text.split())


def hash_position(text: str) -> float:
    """The place of a line in [0, 1) that `share_from` and `share_to` cut."""
    return (stable_hash(text, b"share") >> 11) / 2**53


def read_passages(source: Source, seed: int) -> Iterator[str]:
    """The passages of a source, in its order. `seed` matters to toy text only. Raises InputError at
    the bad line."""
    if source.kind == "toy":
        from lib.data.toy import corpora

        return corpora.corpus_lines(source.language, source.corpus, source.lines, seed)
    if source.kind == "files":
        texts = chain.from_iterable(
            file_lines(path, source.column) for path in source_files(source)
        )
        if source.share_from == 0 and source.share_to == 1:
            return texts
        return (
            text for text in texts if source.share_from <= hash_position(text) < source.share_to
        )
    if source.kind == "wikiextractor":
        articles = chain.from_iterable(map(documents.wiki_documents, source_files(source)))
        return chain.from_iterable(
            documents.passages(lines, title)
            for key, title, lines in articles
            if source.share_from <= hash_position(key) < source.share_to
        )
    if source.kind == "books":
        return chain.from_iterable(map(documents.book_passages, source_files(source)))
    return hub_lines(source)


def source_name(source: Source) -> str:
    """What a source is called where several stand beside each other."""
    if source.kind == "toy":
        return f"{source.language}/{source.corpus}"
    if source.kind == "hub":
        return f"{source.dataset} {source.config}" if source.config else source.dataset
    return Path(source.path).name


def source_files(source: FileSource | WikiSource | BookSource) -> list[Path]:
    """The files a source names, sorted. Relative paths start at the checkout."""
    if source.kind != "files":
        return documents.files(source)
    return find_files(source.path, lambda name: name.endswith(ENDINGS), ", ".join(ENDINGS))


def file_lines(path: Path, column: str) -> Iterator[str]:
    """The passages of one file, without their line ends."""
    records = ".jsonl" in path.suffixes[-2:]
    for number, text in enumerate(text_lines(path), 1):
        yield (
            json_record(text, column, f"{path}, line {number}")[column]
            if records and text.strip()
            else text
        )


def hub_lines(source: HubSource) -> Iterator[str]:
    """The passages of a hub data set, without line ends. Whatever goes wrong on the way there is
    one InputError line."""
    where = (
        f"{source.dataset}{f' ({source.config})' if source.config else ''}, split {source.split}"
    )
    found = hub.rows(
        source.dataset,
        source.config,
        split=source.split,
        revision=source.revision,
        streaming=source.streaming,
    )
    try:
        for row in found:
            text = row.get(source.column)
            if not isinstance(text, str):
                raise InputError(
                    f"hub data set {where}: no text in column {source.column!r}; it has: "
                    f"{', '.join(row)}"
                )
            if source.documents:
                yield from documents.passages(text.split("\n"), str(row.get("title", "")))
            else:
                yield text.rstrip("\r\n")  # CC-100 keeps them
    except InputError:
        raise
    except Exception as error:  # the network may go at any row
        first = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"hub data set {where}: cannot be read ({type(error).__name__}: {first})"
        ) from None


def check_source(source: Source) -> None:
    """Raise InputError if a source is wrong in a way that shows before any compute: its first
    passage is read."""
    if source.kind == "toy":
        from lib.data.toy import corpora, languages

        for key, value, known in (
            ("language", source.language, languages.LANGUAGES),
            ("corpus", source.corpus, corpora.CORPORA),
        ):
            if value not in known:
                raise InputError(
                    f"sources.{key}: {value!r} is no toy {key}; allowed: {', '.join(known)}"
                )
        return
    if source.kind == "hub":
        everything = (
            {} if hub.offline() else {"streaming": True}
        )  # one passage, and no download for it
    else:
        everything = {"share_from": 0.0, "share_to": 1.0}
    lines = read_passages(source.model_copy(update=everything), seed=0)
    if not any(line.strip() for line in lines):  # stops at the first passage that is not blank
        raise InputError(
            f"sources: {source.dataset if source.kind == 'hub' else source.path} is empty"
        )


def expected_size(source: Source) -> tuple[str, int] | None:
    """About how much `read` will yield, for telling the time left: ("passages" or "bytes", number),
    None if unknown."""
    if source.kind == "toy":
        return "passages", source.lines
    found = [] if source.kind == "hub" else source_files(source)
    if not found or any(file.suffix in (".jsonl", *OPENERS) for file in found):
        return None
    kept = 1.0 if source.kind == "books" else source.share_to - source.share_from
    return "bytes", int(sum(file.stat().st_size for file in found) * kept)


def kept_lines(
    sources: Sequence[Source],
    *,
    cleaning: How,
    deduplicate: bool,
    min_words: int,
    max_words: int,
    subset_unit: str,
    subset_size: int,
    seed: int,
    counts: Counter | None = None,
    language: str = "",
    tallies: list[Counter] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[int, str]]:
    """The lines of all sources, each with the place of its source among them, one source after the
    other, cleaned, without those that are dropped.

    Args:
        language: its sentences are the lines, one each; empty, a passage is a line.
        min_words, max_words: shorter and longer passages are dropped (see count_words; 0, no
        limit). subset_unit, subset_size: stop before there are more than this many `lines`, `words`
        or `bytes` (UTF-8, each
            line with one line end); any other unit, no limit.
        counts: is kept up to date: `passages_in` and `bytes_in` before cleaning, then `lines_in`;
        dropped as `blank`,
            `too_few_words`, `too_many_words`, `duplicate`; kept as `lines`, `words`, `bytes`.
        tallies: gets one Counter a source, of what is kept: `bytes`, and under each number n the
        lines of n words. folder: where hashes of lines are written, to know duplicates, when they
        are many; None keeps them in memory.
    """
    counts = Counter() if counts is None else counts
    seen = Seen(folder)

    def unwanted(text: str, words: int) -> str:
        if not words:
            return "blank"
        if words < min_words:
            return "too_few_words"
        if max_words and words > max_words:
            return "too_many_words"
        if deduplicate and not seen.add(stable_hash(text)):
            return "duplicate"
        return ""

    tallies = [] if tallies is None else tallies
    tallies.extend(Counter() for _ in sources)
    for place, (tally, source) in enumerate(zip(tallies, sources)):
        for passage in read_passages(source, seed):
            counts["passages_in"] += 1
            counts["bytes_in"] += len(passage.encode()) + 1
            cleaned = clean(passage, cleaning)
            for text in (language and split_sentences(cleaned, language)) or [cleaned]:
                counts["lines_in"] += 1
                words = count_words(text)
                if reason := unwanted(text, words):
                    counts[reason] += 1
                    continue
                amount = {"lines": 1, "words": words, "bytes": len(text.encode()) + 1}
                if (
                    subset_unit in amount
                    and counts[subset_unit] + amount[subset_unit] > subset_size
                ):
                    counts["lines_in"] -= (
                        1  # read, but neither kept nor dropped: it lies beyond the subset
                    )
                    return
                counts.update(amount)
                tally.update({"bytes": amount["bytes"], words: 1})
                yield place, text
