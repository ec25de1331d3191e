"""The user's files: on disk, or in a store with an address such as s3://bucket/folder, which is
read and written through fsspec."""

import glob
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lib.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout. Relative paths in parameter files start here, whatever the working folder. Always
read it as `places.ROOT`, never as a copy of the name, so that tests can replace it."""


def is_address(name: str | Path) -> bool:
    """Whether a file or folder is in a store: `protocol://…`."""
    return "://" in str(name)


def on_disk(name: str | Path) -> Path:
    """A path on disk. Relative ones start at the checkout, and ~ is the user's own folder. Raises
    InputError if ~ names a user that there is not."""
    try:
        return ROOT / Path(name).expanduser()
    except RuntimeError:
        raise InputError(f"{name}: there is no user of that name") from None


def to_path(name: str) -> Path:
    """A path on disk or in a store, an object with pathlib's methods. Raises InputError for an
    unknown protocol or one whose package is missing, and as on_disk."""
    if not is_address(name):
        return on_disk(name)
    import fsspec
    from upath import UPath

    try:
        fsspec.get_filesystem_class(name.split("://")[0].split("::")[0])
    except (ImportError, ValueError) as error:
        raise InputError(f"{name}: {error}") from None
    return UPath(name)


@contextmanager
def store_errors(name: str, key: str) -> Iterator[None]:
    """Within, every error of a store (no network, no rights; each client has its own) is raised as
    one InputError. `key` is the parameter that gave the address."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{key}: {name} cannot be reached ({type(error).__name__}: {reason})"
        ) from None


def require_folder(name: str, key: str) -> Path:
    """The path of an existing folder. Raises InputError where it is missing or cannot be reached;
    `key` is the parameter that named it."""
    path = to_path(name)
    with store_errors(name, key):
        if path.is_dir():
            return path
    raise InputError(f"{key}: there is no folder {path}")


def glob_paths(pattern: str) -> list[Path]:
    """The files and folders that match a glob pattern. A folder on disk that it begins with is
    taken as it is written, so that its name may hold brackets."""
    path = to_path(pattern)
    if not is_address(pattern):
        folder = next(parent for parent in path.parents if parent.is_dir())
        rest = str(path.relative_to(folder))
        return [folder / name for name in glob.glob(rest, root_dir=folder, recursive=True)]
    return [to_path(path.fs.unstrip_protocol(name)) for name in path.fs.glob(path.path)]


def open_binary(path: Path) -> BinaryIO:
    """A file opened for reading bytes. In a store it is buffered here, because its client splits
    lines slowly."""
    file = path.open("rb")
    return io.BufferedReader(file, 2**20) if is_address(path) else file
