"""Copy a scale's outputs to a store: `python -m lib.runner.upload outputs/tiny s3://bucket`."""

import sys
from pathlib import Path

import fsspec

from lib.common.errors import InputError
from lib.common.places import store_errors


def upload(folder: Path, address: str) -> None:
    """Copy a folder to its name below `address`. Raises InputError where that cannot be reached."""
    with store_errors(address, "PUBLISH_TO"):
        store, target = fsspec.url_to_fs(address)
        store.put(f"{folder}/", f"{target}/{folder.name}/", recursive=True)


if __name__ == "__main__":
    try:
        upload(Path(sys.argv[1]), sys.argv[2])
    except InputError as error:
        sys.exit(f"error: {error}")
