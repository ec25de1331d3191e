"""Where a user's files are: on disk, or at an address such as s3://bucket/folder, which fsspec reads and writes."""

import glob
import io
from pathlib import Path
from typing import BinaryIO

from lib import ROOT
from lib.errors import InputError


def is_address(given: str | Path) -> bool:
    """Whether a file or folder is not simply on disk: `protocol://…`."""
    return "://" in str(given)


def place(given: str) -> Path:
    """A file or folder. On disk, a relative path starts at the checkout; an address gives an object with pathlib's methods.

    Raises InputError for a protocol that fsspec does not know, or that needs a package which is not installed.
    """
    if not is_address(given):
        return ROOT / Path(given).expanduser()
    import fsspec
    from upath import UPath

    try:
        fsspec.get_filesystem_class(given.split("://")[0].split("::")[0])
    except (ImportError, ValueError) as error:
        raise InputError(f"{given}: {error}") from None
    return UPath(given)


def folder(given: str, what: str) -> Path:
    """An existing folder; `what` names the key. Raises InputError where there is none, or it cannot be reached."""
    path = place(given)
    try:
        there = path.is_dir()
    except Exception as error:  # no network, no rights: the client of every kind of store has exceptions of its own
        raise InputError(f"{what}: {given} cannot be reached ({type(error).__name__}: {error})") from None
    if not there:
        raise InputError(f"{what}: there is no folder {path}")
    return path


def matching(pattern: str) -> list[Path]:
    """The files and folders that a glob pattern names."""
    path = place(pattern)
    if not is_address(pattern):
        return [Path(found) for found in glob.glob(str(path), recursive=True)]
    return [place(path.fs.unstrip_protocol(found)) for found in path.fs.glob(path.path)]


def opened(path: Path) -> BinaryIO:
    """A file, open to be read as bytes. Lines of one at an address are told apart here, not by its slower client."""
    file = path.open("rb")
    return io.BufferedReader(file, 2**20) if is_address(path) else file
