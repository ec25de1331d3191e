"""Reading text files, plain or compressed, line by line, with one-line errors."""

import bz2
import glob
import gzip
import json
import lzma
import zlib
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Callable, Iterator

from lib.common import places
from lib.common.errors import InputError

OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error)
"""What reading a file raises that is cut short or not compressed as its name says."""


def find_files(path: str, is_text: Callable[[str], bool], allowed: str) -> list[Path]:
    """The text files of a file, a folder (searched recursively, without hidden files and folders)
    or a glob pattern, sorted.

    Args:
        path: relative to the checkout, or an address such as s3://bucket/text.
        is_text: whether a file name is that of a text file; `allowed` describes those names.
    Raises: InputError if there is no such file.
    """
    with places.store_errors(path, "sources.path"):
        target = places.to_path(path)
        if target.is_file():
            files, problem = [target], f"{path} is no text file"
        elif target.is_dir():
            files = [file for file in _visible(target) if file.is_file()]
            problem = f"the folder {path} has no text file"
        elif glob.has_magic(str(target)):
            files, problem = places.glob_paths(path), f"no text file matches {path}"
        else:
            files, problem = [], f"{path} does not exist"
            allowed = "a file, a folder or a glob pattern"
        files = [file for file in files if is_text(file.name)]
        if not files:
            raise InputError(f"sources.path: {problem}; allowed: {allowed}")
        return sorted(files, key=lambda file: file.parts)


def _visible(folder: Path) -> Iterator[Path]:
    """Everything in a folder, and below it, that is not hidden."""
    for path in folder.rglob("*"):
        if not any(part.startswith(".") for part in path.parts[len(folder.parts) :]):
            yield path


def passed_over(path: str, is_text: Callable[[str], bool]) -> dict[str, list[str]]:
    """What a folder on disk holds that find_files leaves out, and what is empty: the reasons, each
    with names below the folder. {} for anything but a folder on disk."""
    folder = places.to_path(path)
    if places.is_address(path) or not folder.is_dir():
        return {}
    visible, reasons = sorted(_visible(folder)), defaultdict(list)
    for entry in visible:
        if entry.is_dir():
            reason = "linked folders" if entry.is_symlink() else ""
        elif not entry.is_file():
            reason = "links to nothing"
        elif not is_text(entry.name):
            reason = "files of other kinds"
        else:
            reason = "" if entry.stat().st_size else "empty files"
        if reason:
            reasons[reason].append(str(entry.relative_to(folder)))
    hidden = set(folder.rglob("*")) - set(visible)
    if hidden := [file for file in sorted(hidden) if is_text(file.name) and file.is_file()]:
        reasons["hidden files"] = [str(file.relative_to(folder)) for file in hidden]
    return dict(reasons)


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file without line ends; .gz, .xz and .bz2 files are decompressed."""
    number = 0
    try:
        with places.open_binary(path) as raw, OPENERS.get(path.suffix, nullcontext)(raw) as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8; save it as UTF-8") from None
    except BROKEN as error:
        reason = error or "cut short"
        raise InputError(f"{path}, after line {number}: cannot be read ({reason})") from None


def json_record(line: str, column: str, where: str) -> dict:
    """A JSON object whose `column` holds text; `where` starts the message of the InputError."""
    try:
        record = json.loads(line)
        record[column].encode()
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); allowed: one object per line") from None
    except UnicodeEncodeError:
        problem = f"half a surrogate pair in {column!r}; allowed: Unicode text"
        raise InputError(f"{where}: {problem}") from None
    except (KeyError, TypeError, AttributeError):
        columns = ", ".join(record) if isinstance(record, dict) else type(record).__name__
        raise InputError(f"{where}: no text in column {column!r}; it has: {columns}") from None
    return record
