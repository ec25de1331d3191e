"""Where a user's files are: on disk, or at an address such as s3://bucket/folder, which fsspec
reads and writes."""

import glob
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lib.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout. Relative paths in parameter files start here, wherever a notebook was started. Read
it as `places.ROOT`, never by a copy of the name, so that a test can point the whole library
elsewhere."""


def is_address(given: str | Path) -> bool:
    """Whether a file or folder is not simply on disk: `protocol://…`."""
    return "://" in str(given)


def place(given: str) -> Path:
    """A file or folder. On disk, a relative path starts at the checkout; an address gives an object
    with pathlib's methods.

    Raises InputError for a protocol that fsspec does not know, or that needs a package which is not
    installed.
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


@contextmanager
def reaching(given: str, what: str) -> Iterator[None]:
    """Within, whatever goes wrong with a store (no network, no rights: each kind's client has
    errors of its own) is one InputError; `what` names the key that gave the address."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{what}: {given} cannot be reached ({type(error).__name__}: {reason})"
        ) from None


def folder(given: str, what: str) -> Path:
    """An existing folder; `what` names the key. Raises InputError where there is none, or it cannot
    be reached."""
    path = place(given)
    with reaching(given, what):
        if path.is_dir():
            return path
    raise InputError(f"{what}: there is no folder {path}")


def matching(pattern: str) -> list[Path]:
    """The files and folders that a glob pattern names."""
    path = place(pattern)
    if not is_address(pattern):
        return [Path(found) for found in glob.glob(str(path), recursive=True)]
    return [place(path.fs.unstrip_protocol(found)) for found in path.fs.glob(path.path)]


def opened(path: Path) -> BinaryIO:
    """A file, open to be read as bytes. Lines of one at an address are told apart here, not by its
    slower client."""
    file = path.open("rb")
    return io.BufferedReader(file, 2**20) if is_address(path) else file
