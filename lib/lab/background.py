"""Planned stages run in the background. Their state is read from files alone, so it does not matter
who started them.

`python -m lib.lab.background <folder>` runs the stages of a planned run in order, each as
`make report` would.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.plan.plan import hub_variables, write_parameters
from lib.plan.reads import is_up_to_date
from lib.plan.stages import Stage, StagePath
from lib.training import tracking

PLANNED = "planned.json"
"""In the folder of a run: its entry and the folders of its stages."""
RUNNING = "running"
"""A lock that is held while the run is running; it contains the process id."""
LOG = "log.txt"
"""The output of the process."""
STOP = "stop"
"""Exists while the run is asked to stop."""


def start(stages: list[Stage], entry: dict) -> Path:
    """Run the stages in the background; returns the folder of the run,
    outputs/lab/<scale>/<study>/<name>. The same entry under the same name resumes where it was
    stopped. Raises InputError for a name that is taken."""
    path = stages[0].path
    folder = places.ROOT / path.lab_run
    plan = {"entry": entry, "stages": [stage.folder for stage in stages]}
    if (folder / PLANNED).is_file():
        state = read(folder)
        old = json.loads((folder / PLANNED).read_text(encoding="utf-8"))
        if not state.running and (state.done or old != plan):
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
        write_parameters(stages)
        (folder / STOP).unlink(missing_ok=True)
        write_json(folder / PLANNED, plan)
        lock.truncate(0)
        lock.write(str(_launch(path, lock.fileno()).pid))
    return folder


def _launch(path: StagePath, lock: int) -> subprocess.Popen:
    """Start the process that runs the stages of the run that `path` is in. It inherits the lock,
    and so holds it until it ends, however it ends."""
    folder = places.ROOT / path.lab_run
    with (folder / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lib.lab.background", str(folder)],
            cwd=places.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | hub_variables(path.scale, [path.study]),
            pass_fds=[lock],
        )


def main(folder: Path) -> int:
    """Run the stages of a planned run in order, from the first that has no result of its present
    parameters, until one fails or the run is asked to stop; 0 when all are done."""
    from lib.runner.run import run

    # The process that started this one may ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        again = False  # and all after it, which read its result
        for stage in json.loads((folder / PLANNED).read_text(encoding="utf-8"))["stages"]:
            if (folder / STOP).exists():
                return 130
            again = again or not is_up_to_date(places.ROOT / stage)
            if again:
                code = run(Path(stage) / "parameters.yaml")
                if code:
                    return code
        return 0
    except KeyboardInterrupt:  # between two stages
        return 130


def stop(folder: Path) -> None:
    """End a run as Ctrl-C would: a training after the current step, with a checkpoint; other work
    at once."""
    state = read(folder)
    if state.running and not state.done:
        (folder / STOP).touch()
        os.kill(int((folder / RUNNING).read_text()), signal.SIGINT)


# ----------------------------------------------------------------------------------- state of a run


@dataclass
class State:
    """A run: the folders of its stages, the number of the current one, whether it is running, the
    history of the current training or else of the last one, and all of that in a sentence."""

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
    paths = (places.ROOT / "outputs" / "lab").glob(f"*/*/*/{PLANNED}")
    return [path.parent for path in sorted(paths, key=lambda path: -path.stat().st_mtime)]


def title(run: Path) -> str:
    """What to call a run, given its folder."""
    return " · ".join(run.parts[-3:])


def new_name() -> str:
    """A name that no run has: mine, mine-2, …"""
    taken = {run.name for run in runs()}
    names = ("mine" if number == 1 else f"mine-{number}" for number in count(1))
    return next(name for name in names if name not in taken)


def is_running(folder: Path) -> bool:
    """Whether a process holds the run's lock."""
    if not (folder / RUNNING).is_file():
        return False
    with (folder / RUNNING).open("a") as lock:
        try:
            # Shared, so that two readers do not take each other for the run.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


def read(folder: Path) -> State:
    """The state of a run, from its files."""
    # Asked first: a run that ends meanwhile is then shown as running once more, not as failed.
    running = is_running(folder)
    stages = json.loads((folder / PLANNED).read_text(encoding="utf-8"))["stages"]
    at, history = 0, []
    while at < len(stages) and (result := places.ROOT / stages[at] / "result.json").is_file():
        history = json.loads(result.read_text(encoding="utf-8")).get("history") or history
        at += 1
    checkpoints = places.ROOT / stages[min(at, len(stages) - 1)] / "scratch" / "checkpoints"
    progress = tracking.read_progress(checkpoints)
    if at == len(stages):
        line = f"Done: the model and its scores are in {folder.relative_to(places.ROOT)}."
    else:
        stage = f"stage {at + 1} of {len(stages)}, {Path(stages[at]).name.replace('_', ' ')}"
        path = folder / LOG
        log = path.read_text(encoding="utf-8").strip().splitlines() if path.is_file() else []
        if running:
            line = f"Running: {stage}{_step(progress, log)}."
        else:
            line = _ending(stage, log, checkpoints)
    return State(stages, at, running, progress or history, line)


def _step(progress: list[dict], log: list[str]) -> str:
    """The current step: from the last line of the log, since the history has a row for many
    steps."""
    if log and log[-1].endswith(" left"):
        return f": {' '.join(log[-1].rpartition('] ')[2].split())}"
    if not progress:
        return ""
    last = progress[-1]
    return f": step {last['step']:,} of {last['steps']:,}, loss {last['loss']:.3f}"


def _ending(stage: str, log: list[str], checkpoints: Path) -> str:
    """How a run ended that is not done."""
    failures = [line for line in log if " failed: " in line]
    if failures:
        return f"Failed: {failures[-1].partition(' failed: ')[2]} ({stage})."
    paths = sorted(checkpoints.glob("step-*.pt"))
    if not paths:
        return f"Stopped: {stage}; the same entry begins it again."
    step = int(paths[-1].stem.removeprefix("step-"))
    return (
        f"Stopped: {stage}; a checkpoint of step {step:,} is kept, and the same entry goes on from "
        f"there."
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
