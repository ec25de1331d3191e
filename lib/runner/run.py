"""Run one stage: `python -m lib.runner.run outputs/…/parameters.yaml` is one papermill call.

The executed notebook and a log lie beside the parameters. What the notebook prints about its
progress also goes to the terminal. Two runs of one stage wait for each other. Ctrl-C and a
cluster's cancel stop it with a checkpoint.
"""

import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from lib.common import interrupts, locks, places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.progress import clock
from lib.plan.reads import is_up_to_date
from lib.plan.stages import KINDS

PAPERMILL = logging.getLogger("papermill")
SHOWN = (" left", "done in", "resumed", "damaged", "starts over")
"""What a line of the notebook contains if it goes to the terminal: reports of progress."""


def run(parameters: Path) -> int:
    """Execute the stage's notebook. Returns 0 if it published a result, 130 if it was asked to
    stop, else 1; after one line that says why it did not."""
    folder = (places.ROOT / parameters).parent  # not resolved: outputs may be a link
    name = " ".join(folder.relative_to(places.ROOT / "outputs").parts[1:])

    def say(line: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            print(f"[{name}] {line}", file=sys.stderr, flush=True)

    began = time.time()
    try:
        values = read_yaml(places.ROOT / parameters)
        lock = locks.take(folder / "lock", f"the stage {name}", say)
        handlers: list[logging.Handler] = []
        try:
            result = folder / "result.json"
            if result.is_file() and result.stat().st_mtime > began:
                say("is already finished, by another run")
                return 0
            handlers = _log_handlers(name, folder / "log.txt")
            return _execute(folder, values, say)
        finally:
            for handler in handlers:
                PAPERMILL.removeHandler(handler)
            locks.release(lock)
    except KeyboardInterrupt:  # asked twice, or before there was a kernel
        say("stopped; the same command again resumes from the last checkpoint")
        return 130
    except Exception as error:  # a wrong parameter or a full disk: its message says enough
        lines = str(error).strip().splitlines() or [type(error).__name__]
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        say(f"failed: {kind}{lines[-1]}")
        return 1


def _execute(folder: Path, values: dict, say) -> int:
    """Execute the notebook of the stage in `folder`, which this process has locked."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from lib.runner import jupyter

    jupyter.register()
    result, began = folder / "result.json", time.time()
    say(f"starts, {_stages_done(folder)}")
    result.unlink(missing_ok=True)
    with interrupts.forwarded(jupyter.interrupt, jupyter.is_idle) as signals:
        try:
            papermill.execute_notebook(
                str(places.ROOT / "notebooks" / f"{KINDS[folder.name].notebook}.ipynb"),
                str(folder / "notebook.ipynb"),
                parameters=values,
                cwd=str(places.ROOT),
                kernel_name="python3",
                log_output=True,
                progress_bar=False,
                autosave_cell_every=60,
                extra_arguments=["--IPKernelApp.log_level=50"],  # its warnings help nobody
            )
        except PapermillExecutionError as error:
            if signals:
                then = "the same command again resumes from what was kept"
                say(f"stopped: {error.evalue if error.ename == 'Stopped' else then}")
                return 130
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write("\n".join(error.traceback))
            say(f"failed: {error.ename}: {' '.join(str(error.evalue).split())}")
            say(f"more in {folder / 'notebook.ipynb'}")
            return 1
        except Exception:
            if signals:  # the kernel got the signal as well, and ended first
                raise KeyboardInterrupt from None
            raise
    # A kernel killed by a signal leaves a notebook that looks complete: only the result counts.
    if not result.is_file():
        if signals:
            raise KeyboardInterrupt
        say(
            "failed: the notebook ended without a result; its kernel was killed, perhaps for memory"
        )
        return 1
    say(f"done in {clock(time.time() - began)}")
    return 0


def _stages_done(folder: Path) -> str:
    """How many stages of the scale are done: each has its parameters, a finished one a result of
    them."""
    outputs = places.ROOT / "outputs"
    scale = outputs / folder.relative_to(outputs).parts[0]
    # Path.glob would fail where another stage publishes, and so removes its scratch folder.
    stages = [Path(place) for place, _, names in os.walk(scale) if "parameters.yaml" in names]
    done = sum(map(is_up_to_date, stages))
    return f"{done} of {len(stages)} stages done"


def _log_handlers(name: str, log: Path) -> list[logging.Handler]:
    """Handlers for what the kernel prints: progress with the stage's name to the terminal, all of
    it with the time to the log."""
    PAPERMILL.setLevel(logging.INFO)
    PAPERMILL.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.addFilter(lambda record: any(word in record.getMessage() for word in SHOWN))
    terminal.setFormatter(_WithName(name))
    file = logging.FileHandler(log, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for handler in (terminal, file):
        handler.terminator = "\n"  # papermill's records end without one
        handler.handleError = lambda record: None  # a full disk is reported by the stage
        PAPERMILL.addHandler(handler)
    return [terminal, file]


class _WithName(logging.Formatter):
    """Puts the stage's name before each line of a message."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def format(self, record: logging.LogRecord) -> str:
        lines = record.getMessage().strip().splitlines()
        return "\n".join(f"[{self.name}] {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
