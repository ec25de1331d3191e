"""Writing files completely or not at all, one-line errors from a disk, and reading YAML."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml

from lib.common import places
from lib.common.errors import InputError

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EFBIG: "the file is larger than is allowed here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no right to write there",
    errno.EPERM: "there is no right to write there",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the file system is gone",
}
# how libraries written in Rust and in C++ put the number into their messages
ERROR_NUMBER = re.compile(r"(?:os error|\[errno) (\d+)", re.IGNORECASE)


def disk_error(error: BaseException | None) -> str:
    """What the disk reported, in words, if that caused the error; else an empty string."""
    while error is not None:
        match = ERROR_NUMBER.search(str(error))
        number = getattr(error, "errno", None) or (int(match[1]) if match else None)
        if number in DISK_ERRORS:
            return DISK_ERRORS[number]
        error = error.__context__
    return ""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, errors of the disk are raised as InputError, one line that names `path`. Other errors
    pass unchanged."""
    try:
        yield
    except Exception as error:  # each library has its own class for it
        if isinstance(error, InputError) or not (reason := disk_error(error)):
            raise
        raise InputError(f"{path} cannot be written: {reason}") from error


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that is renamed to `path` when it is complete and on the disk: a reader sees
    the old file or the new one, also after a power failure. Raises InputError for errors of the
    disk."""
    unfinished = path.with_name(path.name + ".writing")
    with writing(path):
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> Path:
    """Write `value` completely or not at all; returns `path`."""
    with atomic(path) as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())
    return path


def flush(path: Path) -> None:
    """Wait until a file, or every file in a folder, is on the disk."""
    for file_path in (path, *path.rglob("*")):
        if file_path.is_file():
            with file_path.open("rb") as file:
                os.fsync(file.fileno())


def require_writable(folder: Path) -> None:
    """Create a folder. Raises InputError if no file can be written there."""
    probe = folder / ".probe"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(probe) as file:
            file.write(b"x" * 4096)
        probe.unlink()


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"{key.value!r} stands twice, again at line {line}")
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file, with safe loading. A repeated key is an error, because one of its
    values would be lost. Raises InputError."""
    name = path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError, TypeError) as error:
        message = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise InputError(f"{name}: {message}") from None
    if not isinstance(values, dict):
        raise InputError(f"{name}: must hold keys and values")
    return values


def fill_data_dir(value: Any, data_dir: str | None, scale: str, file: str) -> Any:
    """`value` with the user's folder in place of `{data_dir}` in each of its strings. With None,
    the strings stay as they are."""
    if isinstance(value, dict):
        return {key: fill_data_dir(v, data_dir, scale, file) for key, v in value.items()}
    if isinstance(value, list):
        return [fill_data_dir(v, data_dir, scale, file) for v in value]
    if not isinstance(value, str) or "{data_dir}" not in value or data_dir is None:
        return value
    if not data_dir:
        raise InputError(
            f"{file} reads your own data: name its folder, as in make report SCALE={scale} "
            f"DATA_DIR=/path/to/folder"
        )
    folder = places.require_folder(data_dir, "DATA_DIR")
    if not places.is_address(data_dir) and folder.is_relative_to(places.ROOT):
        folder = folder.relative_to(places.ROOT)  # the same when the checkout is moved
    return value.replace("{data_dir}", str(folder).rstrip("/"))
