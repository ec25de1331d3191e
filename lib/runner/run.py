"""Run one stage: `python -m lib.runner.run outputs/…/parameters.yaml` is one papermill call.

The executed notebook and a log lie beside the parameters. Lines the notebook prints (progress, time
left) go to the terminal and to the log. Two runs of one stage wait for each other. Ctrl-C and a
cluster's cancel stop it with a checkpoint.
"""

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

from lib.common import interrupts, locks, places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.progress import clock
from lib.plan.stages import KINDS

KERNEL_LOGGER = "papermill"


def run(parameters: Path) -> int:
    """Execute the stage's notebook; 0 when it published a result, else 1 (130 if it was asked to
    stop) after one line that says why not."""
    folder = (
        places.ROOT / parameters
    ).parent  # not resolved: outputs may be a link to a larger disk
    name = " ".join(folder.relative_to(places.ROOT / "outputs").parts[1:])
    asked = time.time()
    try:
        values = read_yaml(places.ROOT / parameters)
        purpose = f"the stage {name}"
        lock = locks.take(folder / "lock", purpose, lambda line: _tell(f"[{name}] {line}"))
        handlers: list[logging.Handler] = []
        try:
            result = folder / "result.json"
            if result.is_file() and result.stat().st_mtime > asked:
                _tell(f"[{name}] was finished by another run meanwhile")
                return 0
            handlers = _handlers(name, folder / "log.txt")
            return _execute(name, folder, values)
        finally:
            for handler in handlers:
                logging.getLogger(KERNEL_LOGGER).removeHandler(handler)
            locks.release(lock)
    except KeyboardInterrupt:  # asked twice, or before there was a kernel
        _tell(f"[{name}] stopped: started again, it goes on from its last checkpoint")
        return 130
    except (
        Exception
    ) as error:  # a wrong parameter, a full disk: nothing of ours to show but what it says
        lines = str(error).strip().splitlines() or [type(error).__name__]
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        _tell(f"[{name}] failed: {kind}{lines[-1]}")
        return 1


def _execute(name: str, folder: Path, values: dict) -> int:
    """Execute the notebook of the stage in `folder`, which is this process's alone."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from lib.runner import kernels

    kernels.register()
    notebook = places.ROOT / "notebooks" / f"{KINDS[folder.name].notebook}.ipynb"
    result, began = folder / "result.json", time.time()
    _tell(f"[{name}] starts, {_place(folder)}")
    result.unlink(missing_ok=True)
    with interrupts.forwarded(kernels.interrupt) as asked:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(folder / "notebook.ipynb"),
                parameters=values,
                cwd=str(places.ROOT),
                kernel_name="python3",
                log_output=True,
                progress_bar=False,
                autosave_cell_every=60,
                extra_arguments=[
                    "--IPKernelApp.log_level=50"
                ],  # its words about transports and interrupts help nobody
            )
        except PapermillExecutionError as error:
            if asked:
                then = (
                    error.evalue
                    if error.ename == "Stopped"
                    else "started again, it goes on from what it has kept"
                )
                _tell(f"[{name}] stopped: {then}")
                return 130
            (folder / "log.txt").open("a", encoding="utf-8").write("\n".join(error.traceback))
            told = " ".join(str(error.evalue).split())
            _tell(
                f"[{name}] failed: {error.ename}: {told}\n[{name}] more in "
                f"{folder / 'notebook.ipynb'}"
            )
            return 1
        except Exception:
            if asked:  # it was asked to end as well, and did so sooner
                raise KeyboardInterrupt from None
            raise
    # A kernel killed by a signal leaves a notebook that looks complete: the result is the truth.
    if not result.is_file():
        if asked:
            raise KeyboardInterrupt
        _tell(
            f"[{name}] failed: the notebook ended without a result; its kernel was killed, "
            f"perhaps for memory"
        )
        return 1
    _tell(f"[{name}] done in {clock(time.time() - began)}")
    return 0


def _place(folder: Path) -> str:
    """How many stages of the scale are done: every stage of a plan has its parameters, a finished
    one its result."""
    scale = places.ROOT / "outputs" / folder.relative_to(places.ROOT / "outputs").parts[0]
    every = [path.parent for path in scale.glob("**/parameters.yaml")]
    return (
        f"{sum((stage / 'result.json').is_file() for stage in every)} of {len(every)} stages done"
    )


def _tell(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        print(line, file=sys.stderr, flush=True)


def _handlers(name: str, log: Path) -> list[logging.Handler]:
    """What the kernel prints: with the stage's name on the terminal, with the time in the log."""
    logger = logging.getLogger(KERNEL_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    terminal, file = (
        logging.StreamHandler(sys.stderr),
        logging.FileHandler(log, mode="w", encoding="utf-8"),
    )
    file.handleError = terminal.handleError = _say_nothing
    terminal.addFilter(lambda record: _worth_showing(record.getMessage()))
    terminal.setFormatter(_Lines(f"[{name}] "))
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for handler in (terminal, file):
        handler.terminator = "\n"
        logger.addHandler(handler)
    return [terminal, file]


def _say_nothing(record: logging.LogRecord) -> None:
    """What to do where a line cannot be written: on a full disk there is no log, and that it is
    full is said elsewhere."""


def _worth_showing(message: str) -> bool:
    """Progress lines; not papermill's own words, nor the plain-text side of tables and figures."""
    return (
        " left" in message or "done in" in message or "resumed" in message or "damaged" in message
    )


class _Lines(logging.Formatter):
    def __init__(self, prefix: str):
        super().__init__()
        self.prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(self.prefix + line for line in record.getMessage().strip().splitlines())


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
