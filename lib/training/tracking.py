"""A training seen from outside: `progress.jsonl` beside its checkpoints has a line for every row of
its history, and with `tracker: tensorboard` the stage's folder has TensorBoard's event files.

    tensorboard --logdir outputs/tiny
"""

import json
from collections.abc import Iterable
from pathlib import Path

from lib.common import files

PROGRESS = "progress.jsonl"


def write_progress(
    folder: Path | None, rows: Iterable[dict], steps: int, restart: bool = False
) -> None:
    """Add rows of a history, each with the number of all `steps`; `restart`: they replace what is
    there. Without a folder nothing is written."""
    if folder is None:
        return
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROGRESS).open("w" if restart else "a", encoding="utf-8") as file:
            file.writelines(json.dumps({**row, "steps": steps}) + "\n" for row in rows)


def read_progress(folder: Path) -> list[dict]:
    """The progress of a training so far, empty before it begins. A line still being written is left
    out."""
    if not (folder / PROGRESS).is_file():
        return []
    lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def events_folder(folder: Path) -> Path:
    """Where the event files of a training with its checkpoints in `folder` go: …/checkpoints/x
    gives …/tracking/x."""
    parts = list(folder.parts)
    if "checkpoints" not in parts:
        return folder / "tracking"
    parts[len(parts) - 1 - parts[::-1].index("checkpoints")] = "tracking"
    return Path(*parts)


def open_writer(tracker: str, folder: Path | None, first: int):
    """TensorBoard's writer for a training that goes on after step `first`; None where none is
    wanted, or nothing is written."""
    if tracker == "none" or folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # only when needed: it takes a second

    place = events_folder(folder)
    with files.writing(place):
        return SummaryWriter(str(place), purge_step=first + 1 if first else None)


def log(writer, row: dict[str, float]) -> None:
    """Write a row of the history."""
    if writer:
        with files.writing(Path(writer.log_dir)):
            for key, value in row.items():
                if key != "step":
                    writer.add_scalar(key, value, global_step=row["step"])
            writer.flush()
