"""Writing that is whole or not at all, and the one line that is said when a disk refuses.

Parameter files, read safely.
"""

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

REFUSALS = {
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
NUMBER = re.compile(
    r"(?:os error|\[errno) (\d+)", re.IGNORECASE
)  # as libraries written in Rust and in C++ say it


def refusal(error: BaseException | None) -> str:
    """Why a disk refused, in words; empty if that is not what the error, or one it was raised in
    the handling of, is about."""
    while error is not None:
        told = NUMBER.search(str(error))
        number = getattr(error, "errno", None) or (int(told[1]) if told else None)
        if number in REFUSALS:
            return REFUSALS[number]
        error = error.__context__
    return ""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Within, what a disk refuses is raised as InputError: one line that names `place`. Other
    errors stay what they are."""
    try:
        yield
    except Exception as error:  # each library has a class of its own for it
        if isinstance(error, InputError) or not (reason := refusal(error)):
            raise
        raise InputError(f"{place} cannot be written: {reason}") from error


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its place, by renaming, when it is complete and on the disk: a
    reader sees the old file or the new one, also after a power failure. What was written is removed
    if that fails. Raises InputError if the disk refuses."""
    aside = path.with_name(path.name + ".writing")
    with writing(path):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> Path:
    """Write `value` whole or not at all; returns `path`."""
    with whole(path) as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())
    return path


def flush(place: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk."""
    for path in (place, *place.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def require_writable(folder: Path) -> None:
    """Make a folder, and raise InputError unless a file can be written there."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / ".probe") as file:
            file.write(b"x" * 4096)
        (folder / ".probe").unlink()


def read_yaml(path: Path) -> dict:
    """A mapping from a YAML file, with safe loading. A key given twice is an error: one of them
    would be lost."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoRepeats)
    except (yaml.YAMLError, UnicodeDecodeError, OSError, TypeError) as error:
        said = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise InputError(f"{_named(path)}: {said}") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{_named(path)}: must hold keys and values")
    return loaded


def filled(value: Any, data_dir: str | None, scale: str, file: str) -> Any:
    """`value` with the folder the user named in place of `{data_dir}`, in any string of it; None
    leaves it as it stands."""
    if isinstance(value, dict):
        return {key: filled(inner, data_dir, scale, file) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, data_dir, scale, file) for inner in value]
    if not isinstance(value, str) or "{data_dir}" not in value or data_dir is None:
        return value
    if not data_dir:
        raise InputError(
            f"{file} reads your own data: name its folder, as in make report SCALE={scale} "
            f"DATA_DIR=/path/to/folder"
        )
    folder = places.folder(data_dir, "DATA_DIR")
    as_given = places.is_address(data_dir) or Path(data_dir).expanduser().is_absolute()
    return value.replace("{data_dir}", str(folder if as_given else folder.resolve()).rstrip("/"))


class _NoRepeats(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"{key.value!r} stands twice, again at line {key.start_mark.line + 1}"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _named(path: Path) -> Path:
    return path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path
