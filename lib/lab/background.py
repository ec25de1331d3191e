"""Planned stages run in the background, seen and stopped by their files alone, whoever started
them.

`python -m lib.lab.background <folder>` runs the stages of a planned run in their order, each as
`make report` would.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.plan.plan import hub_variables, write_parameters
from lib.plan.stages import Stage
from lib.training import tracking

PLANNED, RUNNING, LOG, STOP = "planned.json", "running", "log.txt", "stop"
"""In the folder of a run: its entry and stages; a lock that is held while it runs, with the
process's number; what it said; and, while it is asked to end, a file that says so."""


def start(steps: list[Stage], entry: dict) -> Path:
    """Run the stages in the background; returns the folder of the run. Raises InputError for a name
    that is taken.

    The same entry under the same name goes on where it was stopped.
    """
    folder = folder_of(steps)
    planned = {"entry": entry, "stages": [step.folder for step in steps]}
    state = read(folder) if (folder / PLANNED).is_file() else None
    taken = state and (
        state.done or json.loads((folder / PLANNED).read_text(encoding="utf-8")) != planned
    )
    if taken and not state.running:
        where = folder.relative_to(places.ROOT)
        raise InputError(
            f"name: {folder.name!r} is taken by another run in {where}; choose another name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RUNNING).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"name: {folder.name!r} is running; stop it first, or choose another name"
            ) from None
        for step in steps:
            write_parameters(step)
        (folder / STOP).unlink(missing_ok=True)
        write_json(folder / PLANNED, planned)
        lock.truncate(0)
        lock.write(str(_process(folder, lock.fileno()).pid))
    return folder


def _process(folder: Path, lock: int) -> subprocess.Popen:
    """The process that runs the stages. It inherits the lock, and so holds it until it ends,
    however it ends."""
    scale, study = folder.parts[-3:-1]
    environment = os.environ | hub_variables(scale, [study])
    with (folder / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lib.lab.background", str(folder)],
            cwd=places.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
            pass_fds=[lock],
        )


def folder_of(steps: list[Stage]) -> Path:
    """The folder of a run, by its stages: outputs/lab/<scale>/<study>/<name>."""
    path = steps[0].path
    return places.ROOT / "outputs" / "lab" / path.scale / path.study / path.lab


def main(folder: Path) -> int:
    """Run the stages of a planned run one after the other, until one fails or the run is asked to
    stop; 0 when all are done."""
    from lib.runner.run import run

    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # it may be ignored by whoever started this one
    try:
        for stage in json.loads((folder / PLANNED).read_text(encoding="utf-8"))["stages"]:
            if (folder / STOP).exists():
                return 130
            if not (places.ROOT / stage / "result.json").is_file() and (
                code := run(Path(stage) / "parameters.yaml")
            ):
                return code
        return 0
    except KeyboardInterrupt:  # between two stages
        return 130


def stop(folder: Path) -> None:
    """End a run as Ctrl-C would: a training after its present step, with a checkpoint; other work
    at once."""
    state = read(folder)
    if not state.running or state.done:
        return
    (folder / STOP).touch()
    os.kill(int((folder / RUNNING).read_text()), signal.SIGINT)


# ------------------------------------------------------------------------------------ how far it is


@dataclass
class State:
    """A run: its stages' folders, which of them it is at, whether it is running, and the history of
    the training it is at or, if none, of the last one; `line` says it in a sentence."""

    stages: list[str]
    at: int
    running: bool
    history: list[dict]
    line: str

    @property
    def done(self) -> bool:
        return self.at == len(self.stages)


def runs() -> list[Path]:
    """The folders of all runs, the newest first."""
    planned = (places.ROOT / "outputs" / "lab").glob(f"*/*/*/{PLANNED}")
    return [path.parent for path in sorted(planned, key=lambda path: -path.stat().st_mtime)]


def new_name() -> str:
    """A name that no run has: mine, mine-2, …"""
    taken = {run.name for run in runs()}
    return next(
        name
        for name in ("mine", *(f"mine-{number}" for number in range(2, 10_000)))
        if name not in taken
    )


def is_running(folder: Path) -> bool:
    """Whether somebody holds the run's lock."""
    if not (folder / RUNNING).is_file():
        return False
    with (folder / RUNNING).open("a") as lock:
        try:
            fcntl.flock(
                lock, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # shared: two who look do not see each other
            return False
        except BlockingIOError:
            return True


def read(folder: Path) -> State:
    """How far a run is, from its files alone: it may have been started by another notebook, or days
    ago."""
    running = is_running(
        folder
    )  # first: a run that ends meanwhile is seen as running once more, not as failed
    stages = json.loads((folder / PLANNED).read_text(encoding="utf-8"))["stages"]
    at, history = 0, []
    while at < len(stages) and (result := places.ROOT / stages[at] / "result.json").is_file():
        history = json.loads(result.read_text(encoding="utf-8")).get("history") or history
        at += 1
    scratch = places.ROOT / stages[min(at, len(stages) - 1)] / "scratch" / "checkpoints"
    history = tracking.read(scratch) or history
    return State(stages, at, running, history, _line(folder, stages, at, running, scratch))


def _line(folder: Path, stages: list[str], at: int, running: bool, scratch: Path) -> str:
    """Where a run is, in a sentence: what it says itself is later than its history, which has a row
    for many steps."""
    if at == len(stages):
        return f"Done: the model and its scores are in {folder.relative_to(places.ROOT)}."
    where = f"stage {at + 1} of {len(stages)}, {Path(stages[at]).name.replace('_', ' ')}"
    log = (
        (folder / LOG).read_text(encoding="utf-8").strip().splitlines()
        if (folder / LOG).is_file()
        else []
    )
    if running:
        told = tracking.read(scratch)
        step = (
            f": step {told[-1]['step']:,} of {told[-1]['steps']:,}, loss {told[-1]['loss']:.3f}"
            if told
            else ""
        )
        if log and log[-1].endswith(" left"):
            step = f": {' '.join(log[-1].rpartition('] ')[2].split())}"
        return f"Running: {where}{step}."
    if failed := [line for line in log if " failed: " in line]:
        return f"Failed: {failed[-1].partition(' failed: ')[2]} ({where})."
    if kept := sorted(scratch.glob("step-*.pt")):
        step = int(kept[-1].stem.removeprefix("step-"))
        return (
            f"Stopped: {where}; a checkpoint of step {step:,} is kept, and the same entry goes "
            f"on from there."
        )
    return f"Stopped: {where}; the same entry begins it again."


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
