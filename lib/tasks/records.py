"""The records of a task, read from a file: a mapping of columns to values for each of them."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TextIO

from lib.common import places
from lib.common.errors import InputError
from lib.data.textfiles import BROKEN, OPENERS

TABLES = (".jsonl", ".tsv", ".csv")
TAGGED = (".jsonl", ".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv")
"""The endings of files with a record a line, and of those whose words have a tag each."""
WORDS, TAGS = "tokens", "tags"
"""The columns of a record that is a sentence of a CoNLL file."""
QUOTED = re.compile(r'"((?:[^"]|"")*""(?:[^"]|"")*)"')
"""A field as CSV's rules quote it because quotation marks are in it, each written twice."""

csv.field_size_limit(2**31 - 1)  # the default, 131,072 characters, is less than a long document


def find_file(folder: Path, split: str, endings: tuple[str, ...] = TABLES) -> Path | None:
    """The file of a split with one of the endings, compressed or not; None if there is none. Raises
    InputError if there are several."""
    names = [f"{split}{ending}{zipped}" for ending in endings for zipped in ("", *OPENERS)]
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    paths = [folder / name for name in names if name in there]
    if len(paths) > 1:
        raise InputError(f"{folder}: {paths[0].name} and {paths[1].name}; keep one of them")
    return paths[0] if paths else None


def read_records(path: Path, limit: int = 0, columns: tuple[int, int] | None = None) -> list[dict]:
    """The records of a file, the first `limit` of them, or all with 0.

    A .jsonl file has an object a line; .csv and .tsv files begin with the names of their columns.
    With `columns`, the places of word and tag, any other file than .jsonl is a CoNLL file: a word a
    line, an empty line after each sentence, which is a record of WORDS and TAGS.

    Raises InputError with file and record.
    """
    records: list[dict] = []
    allowed = TAGGED if columns else TABLES
    ending = path.with_suffix("").suffix if path.suffix in OPENERS else path.suffix
    if ending not in allowed:
        raise InputError(
            f"{path}: cannot be read; allowed are {', '.join(allowed)}, and these as "
            f"{', '.join(OPENERS)}"
        )
    try:
        with places.open_binary(path) as raw, OPENERS.get(path.suffix, nullcontext)(raw) as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            if ending == ".jsonl":
                rows = (json.loads(line) for line in lines if line.strip())
            else:
                rows = _sentences(lines, *columns) if columns else _table(lines, ending)
            for record in islice(rows, limit or None):
                if not isinstance(record, dict):
                    raise ValueError("not a JSON object with columns")
                records.append(record)
    except UnicodeDecodeError as error:
        number = len(records) + 1
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} near record {number}); save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, record {len(records) + 1}: not JSON ({error.msg})") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}, record {len(records) + 1}: {error}") from error
    except BROKEN as error:
        reason = error or "cut short"
        raise InputError(f"{path}: cannot be read after record {len(records)} ({reason})") from None
    return records


def _table(lines: TextIO, ending: str) -> Iterator[dict]:
    """The rows of a .csv file, between commas or semicolons, or of a .tsv file.

    KLEJ's .tsv files hold bare quotation marks: with CSV's rules a record would swallow its
    neighbours. So there a quotation mark is itself, but in a field that those rules have quoted.
    """
    if ending == ".tsv":
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        first = lines.readline()
        delimiter = ";" if ";" in first and "," not in first else ","
        rows = csv.reader(_after(first, lines), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(rows, [])]
    if again := [name for name in header if name and header.count(name) > 1]:
        raise ValueError(f"the header names the column {again[0]!r} twice")
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            hint = "; text with tabs or line ends needs a .csv file" if ending == ".tsv" else ""
            raise ValueError(f"{len(row)} columns, where the header has {len(header)}{hint}")
        if ending == ".tsv":
            row = [
                match[1].replace('""', '"') if (match := QUOTED.fullmatch(f)) else f for f in row
            ]
        yield dict(zip(header, row))


def _after(first: str, lines: TextIO) -> Iterator[str]:
    yield first
    yield from lines


def _sentences(lines: TextIO, word: int, tag: int) -> Iterator[dict]:
    """The sentences of a CoNLL file (Tjong Kim Sang & De Meulder 2003). Columns stand between tabs,
    or between spaces; those of word and tag are counted from 0, or from -1 backwards. What marks
    a document (-DOCSTART-) or is a comment before a sentence is passed over."""
    words, tags, width, tabs = [], [], 0, False
    for line in lines:
        tabs = tabs or "\t" in line.strip()
        columns = line.rstrip("\r\n").split("\t") if tabs else line.split()
        if not line.strip() or columns[0].startswith("-DOCSTART-"):
            if words:
                yield {WORDS: words, TAGS: tags}
            words, tags = [], []
            continue
        if not words and line.startswith("# ") and (tabs or len(columns) != (width or 2)):
            continue
        width = width or len(columns)
        if len(columns) != width or width < 2:
            raise ValueError(
                f"{line.strip()[:40]!r} has {len(columns)} columns; a line has a word and a tag"
                + (f", and the first one {width} columns" if width > 2 else "")
            )
        if not -width <= min(word, tag) <= max(word, tag) < width:
            raise ValueError(f"no column {max(word, tag)}; counted from 0, the last is {width - 1}")
        words.append(columns[word])
        tags.append(columns[tag])
    if words:
        yield {WORDS: words, TAGS: tags}
