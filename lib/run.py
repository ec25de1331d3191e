"""Run one stage: `python -m lib.run outputs/…/parameters.yaml` is one papermill call.

The executed notebook and a log lie beside the parameters. Lines the notebook prints (progress, time left) go to the
terminal and to the log. Two runs of one stage wait for each other.
"""

import fcntl
import logging
import sys
import time
from pathlib import Path

import yaml

from lib import ROOT
from lib.parameters import NOTEBOOKS
from lib.progress import clock

KERNEL_LOGGER = "papermill"


def run(parameters: Path) -> int:
    """Execute the stage's notebook; 0 when it published a result, 1 after one line that says why not."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from lib import provisioner

    provisioner.register()
    folder = (ROOT / parameters).parent  # not resolved: outputs may be a link to a larger disk
    name = " ".join(folder.relative_to(ROOT / "outputs").parts[1:])
    notebook = ROOT / "notebooks" / f"{NOTEBOOKS[folder.name]}.ipynb"
    values = yaml.safe_load(parameters.read_text(encoding="utf-8"))
    log = folder / "log.txt"
    asked = time.time()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however it ends
        result = folder / "result.json"
        if result.is_file() and result.stat().st_mtime > asked:
            _tell(f"[{name}] was finished by another run meanwhile")
            return 0
        handlers = _handlers(name, log)
        began = time.time()
        _tell(f"[{name}] starts, {_place(folder)}")
        result.unlink(missing_ok=True)
        try:
            papermill.execute_notebook(
                str(notebook), str(folder / "notebook.ipynb"), parameters=values, cwd=str(ROOT), kernel_name="python3",
                log_output=True, progress_bar=False, autosave_cell_every=60,
                extra_arguments=["--IPKernelApp.log_level=50"],  # its words about transports and interrupts help nobody
            )  # fmt: skip
        except PapermillExecutionError as error:
            log.open("a", encoding="utf-8").write("\n".join(error.traceback))
            _tell(f"[{name}] failed: {error.ename}: {error.evalue}\n[{name}] more in {folder / 'notebook.ipynb'}")
            return 1
        except KeyboardInterrupt:
            _tell(f"[{name}] stopped; it goes on from its last checkpoint when it is started again")
            return 130
        except Exception as error:  # a kernel that died, a full disk: nothing of ours to show but what it says
            _tell(
                f"[{name}] failed: {type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error) else ''}"
            )
            return 1
        finally:
            for handler in handlers:
                logging.getLogger(KERNEL_LOGGER).removeHandler(handler)
        # A kernel killed by a signal leaves a notebook that looks complete: the result is the truth.
        if not result.is_file():
            _tell(f"[{name}] failed: the notebook ended without a result; its kernel was killed, perhaps for memory")
            return 1
        _tell(f"[{name}] done in {clock(time.time() - began)}")
    return 0


def _place(folder: Path) -> str:
    """How many stages of the scale are done: every stage of a plan has its parameters, a finished one its result."""
    scale = ROOT / "outputs" / folder.relative_to(ROOT / "outputs").parts[0]
    every = [path.parent for path in scale.glob("**/parameters.yaml")]
    return f"{sum((stage / 'result.json').is_file() for stage in every)} of {len(every)} stages done"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _handlers(name: str, log: Path) -> list[logging.Handler]:
    """What the kernel prints: with the stage's name on the terminal, with the time in the log."""
    logger = logging.getLogger(KERNEL_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(log, mode="w", encoding="utf-8")
    terminal.addFilter(lambda record: _worth_showing(record.getMessage()))
    terminal.setFormatter(_Lines(f"[{name}] "))
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for handler in (terminal, file):
        handler.terminator = "\n"
        logger.addHandler(handler)
    return [terminal, file]


def _worth_showing(message: str) -> bool:
    """Progress lines; not papermill's own words, nor the plain-text side of tables and figures."""
    return " left" in message or "done in" in message or "resumed" in message or "damaged" in message


class _Lines(logging.Formatter):
    def __init__(self, prefix: str):
        super().__init__()
        self.prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(self.prefix + line for line in record.getMessage().strip().splitlines())


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
