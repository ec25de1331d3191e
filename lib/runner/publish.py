"""Copy what a stage has published to an object store: `python -m lib.runner.publish <folder>
<address>`.

The copy lies at the same place below the address as the folder below outputs/. `result.json` is
copied last, as it is written last: a result that is there is a stage that is whole.
"""

import argparse
import sys
from pathlib import Path

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.common.places import to_path

NOT_PUBLISHED = ("scratch", "lock")
LAST = "result.json"


def publish(folder: Path, address: str, deep: bool = True) -> int:
    """Copy a folder of outputs/, with the folders in it if `deep`, to its place below `address`;
    the number of files.

    A file of that name there is replaced. Raises InputError where the address cannot be written to.
    """
    files = [path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.is_file()]
    files = [path for path in files if not set(path.relative_to(folder).parts) & set(NOT_PUBLISHED)]
    files = [path for path in files if not path.name.startswith("published-")]
    there = to_path(address) / folder.relative_to(places.ROOT / "outputs").as_posix()
    for path in sorted(files, key=lambda path: (path.name == LAST, str(path))):
        _copy(path, there / path.relative_to(folder).as_posix(), address)
    return len(files)


def check(address: str) -> None:
    """Raise InputError unless a file can be written to `address`; one that says what this is stays
    there."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as note:
        note.write("Results of a report on distilling BERT are published here.\n")
        note.flush()
        _copy(Path(note.name), to_path(address) / "ABOUT.txt", address)


def _copy(path: Path, target: Path, address: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, target.open("wb") as copy:
            while block := source.read(2**24):
                copy.write(block)
    except Exception as error:  # the client of every kind of store has exceptions of its own
        raise InputError(
            f"PUBLISH_TO: {address} cannot be written to ({type(error).__name__}: {error})"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Publish, note it in --note, and say so; or one line that says why not."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.runner.publish", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "folder", help="a folder of outputs/; none: only see whether the address can be written to"
    )
    parser.add_argument("address")
    parser.add_argument("--flat", action="store_true", help="the folder's own files alone")
    parser.add_argument("--note", help="a file to write when it is done")
    given = parser.parse_args(arguments)
    try:
        if given.folder == "none":
            check(given.address)
            return 0
        files = publish(places.ROOT / given.folder, given.address, deep=not given.flat)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.note:
        write_json(places.ROOT / given.note, {"address": given.address, "files": files})
    print(f"[{given.folder}] {files} files are at {given.address}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
