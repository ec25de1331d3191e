"""Which GPUs a stage takes where several stages share a machine: a GPU is one stage's at a time."""

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ASKED = "STAGE_GPUS"
"""Names the environment variable by which the Snakefile says how many a stage takes of how many there are, as in "1 of 4"."""
HELD: list[IO] = []
"""Locks on the GPUs of this process; they go with it, however it ends."""


def take(folder: Path | None = None) -> list[str]:
    """Let this process, and those it starts, see the GPUs that its stage takes, and no others; waits until so many are free.

    Returns their ids; none where nothing was asked for: a notebook by hand sees all, and on a cluster the scheduler has chosen.
    """
    wanted, _, there = os.environ.pop(ASKED, "").partition(" of ")
    if wanted in ("", "0"):
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = given.split(",") if given else [str(number) for number in range(int(there))]
    folder = folder or Path(tempfile.gettempdir()) / f"gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while not (found := _free(folder, ids, min(int(wanted), len(ids)))):
        time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(found)
    return found


def _free(folder: Path, ids: Sequence[str], wanted: int) -> list[str]:
    """So many ids that nobody has, now this process's; none if they are fewer."""
    with (folder / "choosing.lock").open("w") as choosing:
        fcntl.flock(choosing, fcntl.LOCK_EX)  # two that wait for two, each with one, would wait for ever
        taken: dict[str, IO] = {}
        for name in ids:
            file = (folder / f"{name}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken[name] = file
            except BlockingIOError:
                file.close()
            if len(taken) == wanted:
                HELD.extend(taken.values())
                return list(taken)
        for file in taken.values():
            file.close()
        return []
