"""Reading text files, packed or not: their lines, their records, and the one line that says what is
wrong with one."""

import bz2
import glob
import gzip
import json
import lzma
from contextlib import nullcontext
from pathlib import Path
from typing import Callable, Iterator

from lib.common.errors import InputError
from lib.common.places import glob_paths, open_binary, store_errors, to_path

OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def find_files(given: str, is_text: Callable[[str], bool], allowed: str) -> list[Path]:
    """The files that a path names, sorted: a file, a folder (all its text files, also in
    subfolders) or a glob pattern.

    Args: given, a relative path starts at the checkout, an address such as s3://bucket/text at its
    store; is_text, says of a
        file's name whether it is one; allowed, the names that are, in words. Raises: InputError if
        there is none.
    """
    with store_errors(given, "sources.path"):
        return sorted(_found(given, is_text, allowed), key=lambda file: file.parts)


def _found(given: str, is_text: Callable[[str], bool], allowed: str) -> list[Path]:
    path = to_path(given)
    if path.is_file():
        if not is_text(path.name):
            raise InputError(f"sources.path: {given} is no text file; allowed: {allowed}")
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and is_text(file.name)]
        if not found:
            raise InputError(
                f"sources.path: the folder {given} has no text file; allowed: {allowed}"
            )
    elif glob.has_magic(str(path)):
        found = [file for file in glob_paths(given) if is_text(file.name)]
        if not found:
            raise InputError(f"sources.path: no text file matches {given}; allowed: {allowed}")
    else:
        raise InputError(
            f"sources.path: {given} does not exist; allowed: a file, a folder or a glob pattern"
        )
    return found


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file without their line ends; `.gz`, `.xz` and `.bz2` are unpacked on
    the way."""
    number = 0
    try:
        with open_binary(path) as packed, OPENERS.get(path.suffix, nullcontext)(packed) as file:
            for number, raw in enumerate(file, 1):
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8; allowed: UTF-8 text") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, OSError) as error:
        raise InputError(
            f"{path}, after line {number}: cannot be read ({error or 'cut short'})"
        ) from None


def json_record(line: str, column: str, where: str) -> dict:
    """One JSON Lines record, whose `column` holds text."""
    try:
        found = json.loads(line)
        found[column].encode()
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); allowed: one object per line") from None
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: half a surrogate pair in {column!r}; allowed: Unicode text"
        ) from None
    except (KeyError, TypeError, AttributeError):
        has = ", ".join(found) if isinstance(found, dict) else type(found).__name__
        raise InputError(f"{where}: no text in column {column!r}; it has: {has}") from None
    return found
