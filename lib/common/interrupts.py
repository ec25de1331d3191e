"""Ctrl-C and a cluster's cancel: a stage passes them on to its kernel, a training finishes its step
and keeps a checkpoint."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
)  # where they are not ignored: nohup ignores the last
AGAIN = 2.0
"""Seconds after which a signal is a second request. One cancel may arrive twice: by itself, and
passed on by others."""


@contextmanager
def noted() -> Iterator[list[int]]:
    """Within, these signals end nothing: their numbers are added to the list that is yielded.
    Python handles signals in the main thread alone; in another one the list stays empty."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    with _handled(lambda number, _: asked.append(number)):
        yield asked


@contextmanager
def told(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Within, the first of these signals calls `stop`, and is the one in the list that is yielded;
    those after it do nothing. In another thread than the main one, none does."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def once(number: int, _) -> None:
        if not asked:
            asked.append(number)
            stop()

    with _handled(once):
        yield asked


@contextmanager
def passed_on(interrupt: Callable[[], None], every: float = 0.5) -> Iterator[list[float]]:
    """Within, each of these signals calls `interrupt`, again and again: a kernel between two cells
    does not hear it. Yields the list of when they came. A second request raises KeyboardInterrupt:
    whoever asks twice does not want to wait."""
    asked: list[float] = []
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every):
            if asked:
                interrupt()

    def ask(*_) -> None:
        asked.append(time.monotonic())
        if asked[-1] - asked[0] > AGAIN:
            raise KeyboardInterrupt
        interrupt()

    repeating = threading.Thread(target=repeat, daemon=True)
    repeating.start()
    try:
        with _handled(ask):
            yield asked
    finally:
        over.set()
        repeating.join()


@contextmanager
def _handled(by: Callable) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in mine:
            signal.signal(number, by)
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
