"""Where text comes from, and which passages of it are used.

A passage is one line of a text file, one record of a JSON Lines file or of a hub data set, or one line of a toy corpus.
"""

import glob
import gzip
import json
import lzma
import os
import re
from collections import Counter
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Annotated, Iterable, Iterator, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib import ROOT
from lib.cleaning import How, clean
from lib.errors import InputError

ENDINGS = tuple(kind + packed for kind in (".txt", ".jsonl") for packed in ("", ".gz", ".xz"))

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")


class ToySource(BaseModel):
    """Text of a toy language: so many lines of one of its corpora."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["toy"] = "toy"
    language: str
    corpus: str
    lines: int = Field(gt=0)


class FileSource(BaseModel):
    """Text files: a file, a folder (all its text files, sorted, also in subfolders), or a glob pattern.

    `column` names the text in .jsonl files. [share_from, share_to) keeps the lines whose hash falls there, so two
    sources with shares that do not overlap are disjoint parts of one text, a repeated line included.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["files"] = "files"
    path: str = Field(min_length=1)
    column: str = "text"
    share_from: float = Field(0.0, ge=0, le=1)
    share_to: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _some_share(self):
        if self.share_from >= self.share_to:
            raise ValueError(f"share_from {self.share_from} must be below share_to {self.share_to}")
        return self


class HubSource(BaseModel):
    """A split of a data set on the Hugging Face hub; with `streaming` nothing is stored."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["hub"] = "hub"
    dataset: str = Field(min_length=1)
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    streaming: bool = True


Source = Annotated[ToySource | FileSource | HubSource, Field(discriminator="kind")]


def stable_hash(text: str, purpose: bytes = b"") -> int:
    """64 bits that are the same in every process. Hashes for different purposes are independent of each other."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


def count_words(text: str) -> int:
    """Words between white space; in a script without spaces every Han character counts, as BERT cuts it."""
    return len(HAN.sub(r" \g<0> ", text).split() if HAN.search(text) else text.split())


def share(text: str) -> float:
    """The place of a line in [0, 1) that `share_from` and `share_to` cut."""
    return (stable_hash(text, b"share") >> 11) / 2**53


def read(source: Source, seed: int) -> Iterator[str]:
    """The passages of a source, in its order. `seed` matters to toy text only. Raises InputError at the bad line."""
    if source.kind == "toy":
        from lib import toycorpora

        return toycorpora.corpus_lines(source.language, source.corpus, source.lines, seed)
    if source.kind == "files":
        texts = chain.from_iterable(file_lines(path, source.column) for path in files(source))
        if source.share_from == 0 and source.share_to == 1:
            return texts
        return (text for text in texts if source.share_from <= share(text) < source.share_to)
    return hub_lines(source)


def files(source: FileSource) -> list[Path]:
    """The files a source names, sorted. Relative paths start at the checkout."""
    path = ROOT / Path(source.path).expanduser()
    allowed = f"allowed: {', '.join(ENDINGS)}"
    if path.is_file():
        if not path.name.endswith(ENDINGS):
            raise InputError(f"sources.path: {source.path} is no text file; {allowed}")
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and file.name.endswith(ENDINGS)]
        if not found:
            raise InputError(f"sources.path: the folder {source.path} has no text file; {allowed}")
    elif glob.has_magic(str(path)):
        found = [Path(file) for file in glob.glob(str(path), recursive=True) if file.endswith(ENDINGS)]
        if not found:
            raise InputError(f"sources.path: no text file matches {source.path}; {allowed}")
    else:
        raise InputError(f"sources.path: {source.path} does not exist; allowed: a file, a folder or a glob pattern")
    return sorted(found)


def file_lines(path: Path, column: str) -> Iterator[str]:
    """The passages of one file, without their line ends."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    records = ".jsonl" in path.suffixes[-2:]
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if records and text.strip():
                    text = record_text(text, column, f"{path}, line {number}")
                yield text
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8; allowed: UTF-8 text") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, OSError) as error:
        raise InputError(f"{path}, after line {number}: cannot be read ({error or 'cut short'})") from None


def record_text(line: str, column: str, where: str) -> str:
    """The text of one JSON Lines record."""
    try:
        record = json.loads(line)
        text = record[column]
        text.encode()
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); allowed: one object per line") from None
    except UnicodeEncodeError:
        raise InputError(f"{where}: half a surrogate pair in {column!r}; allowed: Unicode text") from None
    except (KeyError, TypeError, AttributeError):
        has = ", ".join(record) if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{where}: no text in column {column!r}; it has: {has}") from None
    return text


def hub_lines(source: HubSource, streaming: bool | None = None) -> Iterator[str]:
    """The passages of a hub data set. Whatever goes wrong on the way there is one InputError line."""
    name = f"{source.dataset}{f' ({source.config})' if source.config else ''}, split {source.split}"
    streaming = source.streaming if streaming is None else streaming
    try:
        from datasets import load_dataset

        records = load_dataset(
            source.dataset, source.config, split=source.split, revision=source.revision, streaming=streaming
        )
        for record in records:
            if not isinstance(record.get(source.column), str):
                has = ", ".join(record)
                raise InputError(f"hub data set {name}: no text in column {source.column!r}; it has: {has}")
            yield record[source.column]
    except InputError:
        raise
    except Exception as error:  # dozens of kinds: no network, no such set, no such split, no rights, a broken file
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"hub data set {name}: cannot be read ({type(error).__name__}: {first})") from None


def check(source: Source) -> None:
    """Raise InputError if a source is wrong in a way that shows before any compute: its first passage is read."""
    if source.kind == "toy":
        from lib import toycorpora, toylanguages

        for key, value, known in (
            ("language", source.language, toylanguages.LANGUAGES),
            ("corpus", source.corpus, toycorpora.CORPORA),
        ):
            if value not in known:
                raise InputError(f"sources.{key}: {value!r} is no toy {key}; allowed: {', '.join(known)}")
        return
    lines = (
        hub_lines(source, streaming=True)
        if source.kind == "hub"
        else chain.from_iterable(file_lines(path, source.column) for path in files(source))
    )
    if not any(line.strip() for line in lines):  # stops at the first passage that is not blank
        raise InputError(f"sources: {source.path if source.kind == 'files' else source.dataset} is empty")


def size(source: Source) -> tuple[str, int] | None:
    """About how much `read` will yield, for telling the time left: ("lines" or "bytes", number), None if unknown."""
    if source.kind == "toy":
        return "lines", source.lines
    found = files(source) if source.kind == "files" else []
    if not found or any(file.suffix != ".txt" for file in found):
        return None
    return "bytes", int(sum(map(os.path.getsize, found)) * (source.share_to - source.share_from))


def passages(
    sources: Iterable[Source],
    *,
    cleaning: How,
    deduplicate: bool,
    min_words: int,
    max_words: int,
    subset_unit: str,
    subset_size: int,
    seed: int,
    counts: Counter | None = None,
) -> Iterator[str]:
    """The passages of all sources, one source after the other, cleaned, without those that are dropped.

    Args:
        min_words, max_words: shorter and longer passages are dropped (see count_words; 0, no limit).
        subset_unit, subset_size: stop before there are more than this many `lines`, `words` or `bytes` (UTF-8, each
            passage with one line end); any other unit, no limit.
        counts: is kept up to date: `lines_in`, `bytes_in`; dropped as `blank`, `too_few_words`, `too_many_words`,
            `duplicate`; kept as `lines`, `words`, `bytes`.
    """
    counts = Counter() if counts is None else counts
    seen: set[int] = set()
    for line in chain.from_iterable(read(source, seed) for source in sources):
        counts["lines_in"] += 1
        counts["bytes_in"] += len(line.encode()) + 1
        text = clean(line, cleaning)
        words = count_words(text)
        if not words:
            counts["blank"] += 1
            continue
        if words < min_words:
            counts["too_few_words"] += 1
            continue
        if max_words and words > max_words:
            counts["too_many_words"] += 1
            continue
        if deduplicate:
            key = stable_hash(text)
            if key in seen:
                counts["duplicate"] += 1
                continue
            seen.add(key)
        amount = {"lines": 1, "words": words, "bytes": len(text.encode()) + 1}
        if subset_unit in amount and counts[subset_unit] + amount[subset_unit] > subset_size:
            counts["lines_in"] -= 1  # read, but neither kept nor dropped: it lies beyond the subset
            return
        counts.update(amount)
        yield text
