"""Ctrl-C and a cluster's cancel: a stage forwards them to its kernel, and a training finishes its
step and writes a checkpoint.

`python -m lib.common.interrupts <command>` runs a command for which every signal is one Ctrl-C.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 2.0
"""Seconds after which a signal counts as a second request. One cancel may arrive twice: directly,
and forwarded by another process."""
UNANSWERED = 10.0
"""Seconds after which a kernel that has been interrupted and runs no cell has lost its answer."""


@contextmanager
def deferred(on_first: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Within, signals end nothing: their numbers are added to the list that is yielded. The first
    one calls `on_first`. Python handles signals in the main thread only; in another one the list
    stays empty."""
    received: list[int] = []

    def handle(number: int, _) -> None:
        received.append(number)
        if len(received) == 1:
            on_first()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    with _handler(handle):
        yield received


@contextmanager
def forwarded(
    interrupt: Callable[[], None], is_idle: Callable[[], bool], every: float = 0.5
) -> Iterator[list[float]]:
    """Within, each signal calls `interrupt`, repeatedly: a kernel between two cells would miss a
    single one. Yields the list of the times at which signals came. A second request raises
    KeyboardInterrupt, to stop at once; so does a kernel that `is_idle` for long: an interrupt just
    before a cell's answer, or just after its request, leaves papermill waiting for ever."""
    times: list[float] = []
    finished = threading.Event()

    def repeat() -> None:
        idle = 0.0  # seconds
        while not finished.wait(every):
            if times:
                interrupt()
                idle = idle + every if is_idle() else 0.0
            if idle >= UNANSWERED:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
                return

    def handle(*_) -> None:
        times.append(time.monotonic())
        if times[-1] - times[0] > AGAIN:
            raise KeyboardInterrupt
        interrupt()

    repeating = threading.Thread(target=repeat, daemon=True)
    repeating.start()
    try:
        with _handler(handle):
            yield times
    finally:
        finished.set()
        repeating.join()


def set_handler(handler: Callable) -> None:
    """Handle the signals with `handler`, except those that are ignored: nohup ignores SIGHUP."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def _handler(handler: Callable) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        set_handler(handler)
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def as_ctrl_c(command: list[str]) -> int:
    """Run a command in a session of its own. Whichever signal this process gets, the session gets
    SIGINT, and once where several come together. Returns the exit status.

    Snakemake may hang for ever in its handler of SIGTERM, which waits for a lock that the same
    thread may hold, as it does where a second SIGTERM meets the first: one to the process group,
    and one at the end of make. After SIGINT it cancels the jobs that it has sent to a cluster.
    """
    received: list[float] = []

    def pass_on(*_) -> None:
        received.append(time.monotonic())
        if len(received) == 1 or received[-1] - received[-2] > AGAIN:
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(running.pid, signal.SIGINT)

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in the background of a script
        end_with_parent(signal.SIGKILL)

    running = subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=begin,
        close_fds=False,  # it also holds a lock that this process was started with
    )
    with _handler(pass_on):
        return running.wait()


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Let this process get a signal when its parent ends, even if the parent was killed. Linux
    only; elsewhere it does nothing."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1  # sys/prctl.h
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


if __name__ == "__main__":
    sys.exit(as_ctrl_c(sys.argv[1:]))
