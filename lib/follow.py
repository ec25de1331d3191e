"""A training seen and stopped from outside, by two small files beside its checkpoints: `progress.jsonl`, a line for every row of
its history, and `stop`, which asks it to keep a checkpoint and end."""

import json
from collections.abc import Iterable
from pathlib import Path

PROGRESS, STOP = "progress.jsonl", "stop"


class Stopped(Exception):
    """A training that ended because it was asked to. The message is one line: after which step, and what to do to go on."""

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped: {self}"]  # a notebook shows the one line


def tell(folder: Path | None, rows: Iterable[dict], steps: int, anew: bool = False) -> None:
    """Add rows of a history to the progress, each with the number of all `steps`; `anew`: they are all there is so far."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / PROGRESS).open("w" if anew else "a", encoding="utf-8") as file:
        file.writelines(json.dumps({**row, "steps": steps}) + "\n" for row in rows)


def read(folder: Path) -> list[dict]:
    """The progress of a training, empty where there is none yet. A line that is being written is left for the next time."""
    if not (folder / PROGRESS).is_file():
        return []
    lines = (folder / PROGRESS).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def ask_to_stop(folder: Path) -> None:
    """Ask the training whose checkpoints are in `folder` to end after its present step."""
    (folder / STOP).touch()


def asked_to_stop(folder: Path | None) -> bool:
    """Whether a training is asked to end."""
    return folder is not None and (folder / STOP).exists()


def stopped(folder: Path, name: str, step: int, steps: int) -> Stopped:
    """What a training raises that ends because it was asked to; the request is taken away."""
    (folder / STOP).unlink(missing_ok=True)
    return Stopped(f"{name}: stopped as asked after step {step} of {steps}; started again, it goes on from there")
