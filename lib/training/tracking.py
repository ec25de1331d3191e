"""A training seen from outside: `progress.jsonl` beside its checkpoints has a line for every row of
its history.

The history of a training sent to a tracker as well: TensorBoard's event files in the stage's
folder, or whatever else Accelerate knows. Rows are sent when they are made, some 200 in a training:
a step costs nothing more.

    tensorboard --logdir outputs/tiny
"""

import json
from collections.abc import Iterable
from pathlib import Path

from lib.common import files
from lib.common.errors import InputError

PROGRESS = "progress.jsonl"


def tell(folder: Path | None, rows: Iterable[dict], steps: int, anew: bool = False) -> None:
    """Add rows of a history to the progress, each with the number of all `steps`; `anew`: they are
    all there is so far."""
    if folder is None:
        return
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROGRESS).open("w" if anew else "a", encoding="utf-8") as file:
            file.writelines(json.dumps({**row, "steps": steps}) + "\n" for row in rows)


def read(folder: Path) -> list[dict]:
    """The progress of a training, empty where there is none yet. A line that is being written is
    left for the next time."""
    if not (folder / PROGRESS).is_file():
        return []
    lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


PROJECT = "distilling-bert"


def place(folder: Path) -> Path:
    """Where the event files of a training with its checkpoints in `folder` go: …/checkpoints/x
    gives …/tracking/x."""
    if "checkpoints" not in folder.parts:
        return folder / "tracking"
    last = len(folder.parts) - 1 - folder.parts[::-1].index("checkpoints")
    return Path(*folder.parts[:last], "tracking", *folder.parts[last + 1 :])


def options(tracker: str, folder: Path | None) -> dict:
    """What an Accelerator must be told to log to `tracker`; nothing where nothing is kept."""
    if tracker == "none" or folder is None:
        return {}
    return {"log_with": tracker, "project_dir": str(place(folder).parent)}


def begin(accelerator, folder: Path | None, name: str, first: int) -> None:
    """Open the tracker for a training called `name` that goes on after step `first`. Raises
    InputError if it cannot be."""
    (tracker,) = accelerator.log_with or [None]
    if tracker is None:
        return
    # TensorBoard keeps files by name; the others name the project, and the run as they like.
    beside = str(tracker) == "tensorboard"
    more = {"tensorboard": {"purge_step": first + 1}} if beside and first else {}
    try:
        with files.writing(place(folder)):
            accelerator.init_trackers(
                place(folder).name if beside else PROJECT,
                None if beside else {"training": name, "folder": str(folder)},
                more,
            )
    except InputError:
        raise
    except (
        Exception
    ) as error:  # no account, no network, a package of another version: each has errors of its own
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"tracker = {str(tracker)!r} does not start ({type(error).__name__}: {reason})"
        ) from error


def log(accelerator, row: dict[str, float]) -> None:
    """Send a row of the history."""
    if accelerator.trackers:
        with files.writing(Path(accelerator.project_dir)):
            accelerator.log(
                {key: value for key, value in row.items() if key != "step"}, step=row["step"]
            )


def end(accelerator) -> None:
    """Close the tracker."""
    for tracker in accelerator.trackers:
        tracker.finish()
