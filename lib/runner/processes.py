"""A stage's training in several processes through torchrun, one for each GPU or group of cores.

The training cell of a notebook first calls `train_in_processes(run)`. With `processes` above 1, it
starts torchrun on this module, with the notebook's parameters. Each process trains as the notebook
would (lib.training.ranks says how they share a step), and the first one writes the checkpoints. The
next line of the cell finds a last checkpoint with no steps left, and loads it.

For several hosts, the notebook runs on one of them with torchrun's environment variables set
(PET_NNODES, PET_RDZV_BACKEND, PET_RDZV_ENDPOINT, PET_RDZV_ID), and prints the command that the
others have to run. They share the disk.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from lib.common import interrupts, places
from lib.common.errors import Diverged, InputError, Stopped
from lib.common.files import write_json
from lib.plan.stages import validate
from lib.runner.stage import Run

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: the first one may take minutes for a checkpoint."""
SHUTDOWN_SECONDS = 600
"""Torchrun kills processes that it has asked to stop after this time: they finish a step and write
a checkpoint."""
NOTEBOOK = "NOTEBOOK_PROCESS"  # the environment variable with the process id of the notebook
ERRORS = {kind.__name__: kind for kind in (InputError, Stopped, Diverged, KeyboardInterrupt)}
STOPPED = ("Stopped", "KeyboardInterrupt")


# ---------------------------------------------------------------------------------- in the notebook


def train_in_processes(run: Run) -> None:
    """With `processes` above 1, train in that many; return when all is on disk.

    Prints what they print. Raises the error of the process that failed first; what it has done is
    in its checkpoints.
    """
    if run.p.processes == 1 or getattr(run.p, "trained_in", ""):
        return
    _check_gpus(run.p.processes)
    notes = run.folder / "processes"
    notes.mkdir(exist_ok=True)
    for old in notes.glob("*.json"):
        old.unlink()
    if run.kind == "finetune":
        from lib.tasks import finetune

        finetune.settle_precision(run.p, run.folder)  # measured once, for all processes
    code, was_asked = _launch(_command(run), _environment(run), notes / "torchrun.log")
    if code:
        raise _first_error(notes, run.p.processes, was_asked)
    shutil.rmtree(notes)


def train_student(run: Run, objective, corpus) -> tuple[list[dict], dict[str, tuple]]:
    """Train the student of an objective in as many `processes` as the parameters say, with the
    students in `beside`, or load it from where it was `trained_in`.

    Returns the student's history, empty if no loss has a weight, and for every student beside it,
    by name, the model and its history. An interrupted training resumes from its checkpoint.
    """
    from lib.training import side_by_side

    train_in_processes(run)
    return side_by_side.train_student(run.p, objective, corpus, run.folder / "checkpoints")


def _command(run: Run) -> list[str]:
    """The command that starts the processes of this host."""
    alone = [] if os.environ.get("PET_RDZV_ENDPOINT") else ["--standalone"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *alone]
    options = [f"--nproc-per-node={run.p.processes}", f"--shutdown-timeout={SHUTDOWN_SECONDS}"]
    return [*torchrun, *options, "-m", "lib.runner.processes", run.kind, str(run.folder)]


def _environment(run: Run) -> dict[str, str]:
    threads = str(run.p.threads or max(1, (os.cpu_count() or 1) // run.p.processes))
    path = filter(None, [str(places.ROOT), os.environ.get("PYTHONPATH")])
    return os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(path),
        NOTEBOOK: str(os.getpid()),
    }


def _launch(command: list[str], environment: dict[str, str], log: Path) -> tuple[int, bool]:
    """Run a command and print its lines as they come; its standard error, torchrun's own messages,
    goes to `log`. Returns its exit status, and whether it was asked to stop."""
    if os.environ.get("PET_NNODES"):
        on_others = " ".join(["python", *command[1:]])
        print(f"on each other host, in a folder of the same checkout: {on_others}", flush=True)
    with log.open("w", encoding="utf-8") as errors:
        child = subprocess.Popen(
            command,
            cwd=places.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            # torchrun passes the signal on to the processes, and waits for them
            with interrupts.deferred(on_first=child.terminate) as signals:
                for line in child.stdout:
                    print(line, end="", flush=True)
                return child.wait(), bool(signals)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


def _first_error(notes: Path, processes: int, was_asked: bool = False) -> BaseException:
    """The error of the process that failed first, which made the others fail.

    That a process has stopped counts only if that was asked for. Else torchrun has stopped it
    because of another one.
    """
    errors = [json.loads(path.read_text(encoding="utf-8")) for path in notes.glob("failed-*.json")]
    failed = [error for error in errors if error["kind"] not in STOPPED]
    if not failed and was_asked:
        if not errors:
            return KeyboardInterrupt()
        failed = errors
    if not failed:
        return RuntimeError(
            f"one of {processes} processes was killed, perhaps for memory, or cut off from the "
            f"others (more in {notes / 'torchrun.log'}); the same command again resumes from the "
            f"last checkpoint"
        )
    first = min(failed, key=lambda error: error["time"])
    if first["kind"] in ERRORS:
        return ERRORS[first["kind"]](first["message"])
    return RuntimeError(
        f"process {first['rank']} of {processes}: {first['kind']}: {first['message']}"
    )


def _check_gpus(processes: int) -> None:
    import torch

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise InputError(
            f"processes = {processes}: each needs a GPU of its own, and there are "
            f"{torch.cuda.device_count()}"
        )


# ---------------------------------------------------------------------------------- in each process


def main(kind: str, folder: Path) -> int:
    """Do the part of one process in a stage's training. Returns its exit status; an error is also
    written to `folder`, for the notebook."""
    rank = int(os.environ["RANK"])
    for number in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C: a training writes a checkpoint
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_end_with_torchrun_and_notebook, daemon=True).start()
    if rank:
        sys.stdout = open(os.devnull, "w")  # all processes would print the same
    try:
        values = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))["parameters"]
        p = validate(kind, values)
        _finetune(p, folder) if kind == "finetune" else _pretrain(kind, p, folder)
        return 0
    except BaseException as error:
        if not _is_lost_connection(error):
            message = {
                "rank": rank,
                "time": time.time(),
                "kind": type(error).__name__,
                "message": (str(error).strip().splitlines() or [""])[0],
            }
            write_json(folder / "processes" / f"failed-{rank}.json", message)
        raise


def _is_lost_connection(error: BaseException) -> bool:
    """Whether the error only says that another process does not answer any more."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or isinstance(error, RuntimeError) and "gloo" in str(error)


def _pretrain(kind: str, p, folder: Path) -> None:
    """Train as in notebook 2, 3 or 4, with this process's share of every step."""
    import torch
    import torch.distributed as dist

    from lib.data.prepared import open_corpus
    from lib.training import hops, pretraining, side_by_side

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    corpus = open_corpus(p.corpus, section=getattr(p, "section", 0))
    checkpoints = folder / "checkpoints"
    if kind == "teacher_continuation":
        start = pretraining.starting_teacher(p, corpus)
        pretraining.train_teacher(p, start, corpus, checkpoints)
    elif kind == "distillation":
        teacher = pretraining.load_teacher(p, corpus)
        student = pretraining.starting_student(p, teacher)
        objective = pretraining.objective(p, student, teacher)
        side_by_side.train_student(p, objective, corpus, checkpoints)
    elif kind == "cascade_ta":
        teacher = pretraining.load_teacher(p, corpus)
        assistant = hops.starting_assistant(p, teacher)
        hops.hop(p, hops.objective(p, assistant, teacher), corpus, checkpoints)
    else:
        raise ValueError(f"{kind} trains nothing in several processes")
    dist.barrier()  # until the first process has written the last checkpoint
    dist.destroy_process_group()


def _finetune(p, folder: Path) -> None:
    """This process's part of the fine-tunings of notebook 5. Each of them runs in one process, with
    one GPU."""
    rank = int(os.environ.pop("RANK"))
    world = int(os.environ.pop("WORLD_SIZE"))
    local = int(os.environ.pop("LOCAL_RANK"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpu = visible[local] if visible[0] and local < len(visible) else str(local)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    from lib.tasks import finetune

    finetune.finetune_tasks(p, folder, slice(rank, None, world))


def _end_with_torchrun_and_notebook() -> None:
    """End this process when torchrun or the notebook has gone, even if it was killed."""
    torchrun, notebook = os.getppid(), int(os.environ.get(NOTEBOOK, 0))
    while True:
        time.sleep(1)
        try:
            if notebook:
                os.kill(notebook, 0)
        except ProcessLookupError:
            os._exit(1)
        if os.getppid() != torchrun:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
