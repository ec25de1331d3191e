"""Progress and time left: whole lines for terminals and log files, a live chart in a notebook.

tqdm redraws one line in place, which leaves a log of carriage returns, and reports a resumed loop
less simply; here every report is a line that papermill copies to the terminal and to the log.
"""

import sys
import time
from collections.abc import Callable, Sequence


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def short(number: float) -> str:
    """A large number, rounded: 4.03 M, 312 k, 950."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:.0f}"


class Progress:
    """Reports how far a loop is: at most one line in `every` seconds, and always one at its end.

    total: the number of steps; start: the step that a resumed loop starts from; say: prints a line.
    """

    def __init__(
        self,
        total: int,
        name: str,
        *,
        start: int = 0,
        every: float = 8.0,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ):
        self.total, self.name, self.start, self.every, self.say = total, name, start, every, say
        self.began = self.last = time.perf_counter()

    def at(self, step: int, detail: str = "") -> bool:
        """Report that `step` steps are done. Returns whether a line was written."""
        now = time.perf_counter()
        if now - self.last < self.every and step < self.total:
            return False
        self.last = now
        elapsed = now - self.began
        left = elapsed / max(1, step - self.start) * (self.total - step)
        end = f"{clock(left)} left" if step < self.total else f"done in {clock(elapsed)}"
        self.say("  ".join(filter(None, [self.name, f"{step}/{self.total}", detail, end])))
        return True


class LiveChart:
    """The losses `names` of a history against the step, redrawn in place while training runs in a
    notebook. It does nothing elsewhere."""

    def __init__(self, names: Sequence[str], every: float = 6.0):
        self.names, self.every, self.last, self.handle = names, every, time.perf_counter(), None
        ipython = sys.modules.get("IPython")
        self.in_notebook = bool(ipython and getattr(ipython.get_ipython(), "kernel", None))

    def draw(self, history: list[dict], final: bool = False) -> None:
        """Redraw if `every` seconds have passed, or if `final`. Each row of the history has the
        step and the losses."""
        began = time.perf_counter()
        due = final or began - self.last >= self.every
        if not self.in_notebook or not due or len(history) < 2:
            return
        from IPython.display import display
        from matplotlib.figure import Figure

        names = [name for name in self.names if name in history[-1]]
        if len(names) == 2:  # with one component, the loss is that component
            names = names[1:]
        steps = [row["step"] for row in history]
        figure = Figure(figsize=(3.2 * len(names), 2.2), layout="constrained")
        for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
            axis.plot(steps, [row[name] for row in history], color="#0072B2", lw=1.2)
            axis.set(title=name, xlabel="step")
            axis.spines[["top", "right"]].set_visible(False)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        self.last = time.perf_counter()
        self.every = max(self.every, 15 * (self.last - began))  # draw at most 1/15 of the time
