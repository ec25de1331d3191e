"""One at a time: `python -m lib.common.locks <folder> <command>` runs a command that no other may
run on that folder meanwhile.

A lock belongs to a process and goes with it, however it ends: none is ever stale.

Which GPUs a stage takes where several stages share a machine: a GPU is one stage's at a time.
"""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from lib.common import files
from lib.common.errors import InputError

PR_SET_PDEATHSIG = 1  # sys/prctl.h
UNKNOWN = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

HELD: set[IO] = set()
"""Locks of this process; its forks are not to hold them when it has gone."""
os.register_at_fork(after_in_child=lambda: [file.close() for file in HELD])


def take(
    path: Path, what: str, say: Callable[[str], None], patience: float | None = None
) -> IO[str]:
    """Hold the lock `path` until the file that is returned is closed or the process ends; what:
    what for, for others to read.

    While somebody else has it, waits, and says once who that is. Raises InputError, which says it
    too, if it is not free after `patience` seconds.
    """
    began = told = None
    with files.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with files.writing(path):
            file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in UNKNOWN:
                say(
                    f"{path.parent}: this file system knows no locks; see to it that nothing else "
                    f"runs there"
                )
                break
            if not isinstance(error, BlockingIOError):
                raise
            began = began or time.monotonic()
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            if patience is not None and time.monotonic() - began > patience:
                raise InputError(
                    f"{path.parent} is in use by {holder}; wait for it, or end it"
                ) from None
            if not told and time.monotonic() - began > 1:
                told = say(f"{path.parent} is in use by {holder}; waiting for it to end") or True
            time.sleep(0.2)
            continue
        with suppress(FileNotFoundError):
            if (
                os.fstat(file.fileno()).st_ino == path.stat().st_ino
            ):  # not one that was just removed
                break
        file.close()
    HELD.add(file)
    file.truncate(0)
    file.write(
        f"{what}, process {os.getpid()} on {socket.gethostname()}, since "
        f"{time.strftime('%d %b %H:%M')}\n"
    )
    file.flush()
    return file


def give_back(file: IO[str]) -> None:
    """Remove a lock that is held."""
    HELD.discard(file)
    Path(file.name).unlink(missing_ok=True)
    file.close()


def main(folder: str, command: list[str]) -> None:
    """Become the command, with the lock; it is held until the command ends, and what it started and
    handed it on to."""
    if sys.platform == "linux":  # a make that is ended ends its shell, and nobody tells the command
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    held = take(
        Path(folder) / "lock", "make report", lambda line: print(line, file=sys.stderr, flush=True)
    )
    os.set_inheritable(held.fileno(), True)
    os.execvp(command[0], command)


ASKED = "STAGE_GPUS"
"""Names the environment variable by which the Snakefile says how many a stage takes of how many
there are, as in "1 of 4"."""
HELD_GPUS: list[IO] = []
"""Locks on the GPUs of this process; they go with it, however it ends."""


def take_gpus(folder: Path | None = None) -> list[str]:
    """Let this process, and those it starts, see the GPUs that its stage takes, and no others;
    waits until so many are free.

    Returns their ids; none where nothing was asked for: a notebook by hand sees all, and on a
    cluster the scheduler has chosen.
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
        fcntl.flock(
            choosing, fcntl.LOCK_EX
        )  # two that wait for two, each with one, would wait for ever
        taken: dict[str, IO] = {}
        for name in ids:
            file = (folder / f"{name}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken[name] = file
            except BlockingIOError:
                file.close()
            if len(taken) == wanted:
                HELD_GPUS.extend(taken.values())
                return list(taken)
        for file in taken.values():
            file.close()
        return []


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
