"""One process at a time: a lock for a folder of outputs or a stage, and one for each GPU.

A lock goes away with its process, however that ends. `python -m lib.common.locks <folder>
<command>` runs a command that holds the lock of a folder.
"""

import errno
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lib.common import files, interrupts
from lib.common.errors import InputError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
GPUS = "STAGE_GPUS"
"""The environment variable in which the Snakefile says how many GPUs a stage takes of how many
there are, as in "1 of 4"."""
HELD: list[FileLock] = []
"""Locks to hold until this process ends: a lock ends when nothing refers to it any more."""


def take(
    path: Path,
    purpose: str,
    say: Callable[[str], None],
    patience: float | None = None,
    on_acquired: Callable[[int], None] | None = None,
) -> FileLock:
    """Hold the lock file `path` until `release` or the end of the process; forks do not hold it.

    While another process holds it, this waits and says once who that is. Raises InputError, which
    says it too, after `patience` seconds. purpose: written to the file, to tell those who wait;
    on_acquired: called with the descriptor of the file.
    """
    folder = path.parent
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=on_acquired)
    try:
        lock.acquire(timeout=1 if patience is None else patience)
    except Timeout:
        holder = "another process"
        with suppress(FileNotFoundError):  # released at this moment
            holder = path.read_text(encoding="utf-8").strip() or holder
        if patience is not None:
            raise InputError(f"{folder} is in use by {holder}; wait for it, or end it") from None
        say(f"{folder} is in use by {holder}; waiting for it to end")
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            with files.writing(path):
                raise
        say(f"{folder}: this file system has no locks; make sure that nothing else runs there")
        return lock
    since = time.strftime("%d %b %H:%M")
    process = f"process {os.getpid()} on {socket.gethostname()}"
    path.write_text(f"{purpose}, {process}, since {since}\n", encoding="utf-8")
    return lock


def release(lock: FileLock) -> None:
    """Release a lock and remove its file."""
    Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody else's is removed
    lock.release()


def take_gpus(folder: Path | None = None) -> list[str]:
    """Let this process and its children see only the GPUs that the stage takes, and wait until
    they are free. Returns their ids.

    None are chosen where the Snakefile asks for none: a notebook run by hand sees all of them, and
    on a cluster the scheduler has chosen.
    """
    number, _, total = os.environ.pop(GPUS, "").partition(" of ")
    if number in ("", "0"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = visible.split(",") if visible else [str(index) for index in range(int(total))]
    folder = folder or Path(tempfile.gettempdir()) / f"gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    taken: list[str] = []
    # One process chooses at a time: two that need two GPUs, each holding one, would wait for ever.
    with FileLock(folder / "choosing.lock"):
        while len(taken) < min(int(number), len(ids)):
            for gpu in [gpu for gpu in ids if gpu not in taken]:
                lock = FileLock(folder / f"{gpu}.lock", blocking=False, thread_local=False)
                with suppress(Timeout):
                    lock.acquire()
                    HELD.append(lock)
                    taken.append(gpu)
                    break
            else:
                time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    return taken


def main(folder: str, command: list[str]) -> None:
    """Become the command, which holds the lock until it and what it passed the lock on to end."""
    interrupts.end_with_parent()  # the stages of a make that is killed are stopped

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def inherit(descriptor: int) -> None:
        os.set_inheritable(descriptor, True)

    HELD.append(take(Path(folder) / "lock", "make report", say, on_acquired=inherit))
    os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
