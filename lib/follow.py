"""A training seen from outside: `progress.jsonl` beside its checkpoints has a line for every row of its history."""

import json
from collections.abc import Iterable
from pathlib import Path

from lib import disk

PROGRESS = "progress.jsonl"


def tell(folder: Path | None, rows: Iterable[dict], steps: int, anew: bool = False) -> None:
    """Add rows of a history to the progress, each with the number of all `steps`; `anew`: they are all there is so far."""
    if folder is None:
        return
    with disk.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROGRESS).open("w" if anew else "a", encoding="utf-8") as file:
            file.writelines(json.dumps({**row, "steps": steps}) + "\n" for row in rows)


def read(folder: Path) -> list[dict]:
    """The progress of a training, empty where there is none yet. A line that is being written is left for the next time."""
    if not (folder / PROGRESS).is_file():
        return []
    lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
