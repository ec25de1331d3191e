"""A stage's training in several processes, through torchrun: one for each GPU, or for so many
cores.

A notebook's training cell first calls `train(run)`. With `processes` above 1 it starts torchrun on
this module, with the parameters that the notebook has. There each process trains as the notebook
would (lib.training.ranks says how they share a step), and the first one writes the checkpoints.
What the cell calls next finds a last checkpoint with nothing left to do, and loads it.

Over several hosts the notebook runs on one of them, with torchrun's own environment variables set
(PET_NNODES, PET_RDZV_BACKEND, PET_RDZV_ENDPOINT, PET_RDZV_ID); it prints the command that the
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
"""How long processes wait for each other: a checkpoint, or an evaluation, may take the first one
minutes."""
SHUTDOWN = 600
"""Seconds after which torchrun kills processes that it has told to stop: they finish a step, and
write a checkpoint."""
# names the environment variable, which says which process the training ends with
NOTEBOOK = "NOTEBOOK_PROCESS"
KNOWN = {kind.__name__: kind for kind in (InputError, Stopped, Diverged, KeyboardInterrupt)}

STOPPED = ("Stopped", "KeyboardInterrupt")


# ---------------------------------------------------------------------------------- in the notebook


def train(run: Run) -> None:
    """With `processes` above 1, do a stage's training in so many; returns when it is done, and all
    of it is on disk.

    What they say is printed. Raises what the first one that failed raised; what it did until then
    is in its checkpoints.
    """
    if run.p.processes == 1 or getattr(run.p, "trained_in", ""):
        return
    _enough_gpus(run.p.processes)
    notes = run.folder / "processes"
    notes.mkdir(exist_ok=True)
    for old in notes.glob("*.json"):
        old.unlink()
    if run.kind == "finetune":
        from lib.tasks import finetune

        finetune.settle_precision(run.p, run.folder)  # measured once, before there are several
    code, asked = _launch(command(run), _environment(run), notes / "torchrun.log")
    if code:
        raise _failure(notes, run.p.processes, asked)
    shutil.rmtree(notes)


def train_student(run: Run, objective, corpus) -> tuple[list[dict], dict[str, tuple]]:
    """What notebook 3 trains: the student of an objective by the stage's parameters, in as many
    `processes` as they say, with the students in `beside`, or loaded from where it was
    `trained_in`.

    Returns the student's history, empty if no loss has a weight, and for every student beside it,
    by name, the model and its history. An interrupted training resumes from its checkpoint.
    """
    from lib.training import side_by_side

    train(run)
    return side_by_side.train_student(run.p, objective, corpus, run.folder / "checkpoints")


def command(run: Run) -> list[str]:
    """What starts the processes of this host."""
    alone = [] if os.environ.get("PET_RDZV_ENDPOINT") else ["--standalone"]
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *alone,
        f"--nproc-per-node={run.p.processes}",
        f"--shutdown-timeout={SHUTDOWN}",
        "-m",
        "lib.runner.processes",
        run.kind,
        str(run.folder),
    ]


def _environment(run: Run) -> dict[str, str]:
    threads = str(run.p.threads or max(1, (os.cpu_count() or 1) // run.p.processes))
    return os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(places.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        NOTEBOOK: str(os.getpid()),
    }


def _launch(words: list[str], environment: dict[str, str], log: Path) -> tuple[int, bool]:
    """Run a command, print its lines as they come, and keep in `log` what torchrun has to say; its
    exit status, and whether it was asked to stop."""
    if os.environ.get("PET_NNODES"):
        print(
            f"on each other host, in a folder of the same checkout: "
            f"{' '.join(['python', *words[1:]])}",
            flush=True,
        )
    with log.open("w", encoding="utf-8") as errors:
        child = subprocess.Popen(
            words,
            cwd=places.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            with interrupts.deferred(
                child.terminate
            ) as asked:  # torchrun tells the others, and waits for them
                for line in child.stdout:
                    print(line, end="", flush=True)
                return child.wait(), bool(asked)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


def _failure(notes: Path, processes: int, asked: bool = False) -> BaseException:
    """The error of the process that failed first: the others fail because of it. That one has
    stopped is an answer only where it was asked to; else torchrun has told it so, because of
    another one."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in notes.glob("failed-*.json")]
    failed = [one for one in told if one["kind"] not in STOPPED]
    told = failed or (told if asked else [])
    if asked and not told:
        return KeyboardInterrupt()
    if not told:
        return RuntimeError(
            f"one of {processes} processes was killed, perhaps for memory, or cut off from the "
            f"others (more in "
            f"{notes / 'torchrun.log'}); started again, the training goes on from its last "
            f"checkpoint"
        )
    first = min(told, key=lambda failed: failed["time"])
    if first["kind"] in KNOWN:
        return KNOWN[first["kind"]](first["message"])
    return RuntimeError(
        f"process {first['rank']} of {processes}: {first['kind']}: {first['message']}"
    )


def _enough_gpus(processes: int) -> None:
    import torch

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise InputError(
            f"processes = {processes}: each needs a GPU of its own, and there are "
            f"{torch.cuda.device_count()}"
        )


# ---------------------------------------------------------------------------------- in each process


def main(kind: str, folder: Path) -> int:
    """One process of a stage's training; its exit status. Why it failed is noted in `folder`, for
    the notebook."""
    rank = int(os.environ["RANK"])
    for number in (
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # as Ctrl-C: where a training is under way, it keeps a checkpoint
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_end_with_those_who_started_it, daemon=True).start()
    if rank:
        sys.stdout = open(os.devnull, "w")  # all of them would say the same
    try:
        values = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))["parameters"]
        (finetune if kind == "finetune" else pretrain)(kind, validate(kind, values), folder)
        return 0
    except BaseException as error:
        if not _lost_another(error):
            first_line = (str(error).strip().splitlines() or [""])[0]
            said = {
                "rank": rank,
                "time": time.time(),
                "kind": type(error).__name__,
                "message": first_line,
            }
            write_json(folder / "processes" / f"failed-{rank}.json", said)
        raise


def _lost_another(error: BaseException) -> bool:
    """Whether all that went wrong in this process is that another one does not answer any more."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or isinstance(error, RuntimeError) and "gloo" in str(error)


def pretrain(kind: str, p, folder: Path) -> None:
    """What the training cell of notebooks 2, 3 and 4 does, with this process's share of every
    step."""
    import torch
    import torch.distributed as dist

    from lib.data.prepared import open_corpus
    from lib.training import hops, pretraining, side_by_side

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    text, checkpoints = (
        open_corpus(p.corpus, section=getattr(p, "section", 0)),
        folder / "checkpoints",
    )
    if kind == "teacher_continuation":
        pretraining.train_teacher(p, pretraining.starting_teacher(p, text), text, checkpoints)
    else:
        teacher = pretraining.load_teacher(p, text)
        if kind == "distillation":
            student = pretraining.starting_student(p, teacher)
            objective = pretraining.objective(p, student, teacher)
            side_by_side.train_student(p, objective, text, checkpoints)
        else:
            hops.hop(p, hops.starting_assistant(p, teacher), teacher, text, checkpoints)
    dist.barrier()  # the first one's last checkpoint is written
    dist.destroy_process_group()


def finetune(kind: str, p, folder: Path) -> None:
    """Some of the fine-tunings of notebook 5, each of them in this process alone: no two have
    anything to tell each other."""
    rank, world, local = (
        int(os.environ.pop(name)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = (
        visible[local] if local < len(visible) and visible[0] else str(local)
    )
    from lib.tasks import finetune

    finetune.finetune_tasks(p, folder, slice(rank, None, world))


def _end_with_those_who_started_it() -> None:
    """End this process when torchrun or the notebook is gone, even if killed: nobody would wait for
    it any more."""
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
