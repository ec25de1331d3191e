"""Progress and time left: plain lines for terminals and log files, a live chart where somebody is
watching."""

import sys
import time
from typing import Callable


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """Says how far a loop is, at most once every `every` seconds, and always at its end.

    Args: total, the number of steps; name, what is running; say, where a line goes (print by
    default: papermill copies it to the terminal and to the log).
    """

    def __init__(
        self,
        total: int,
        name: str,
        *,
        start: int = 0,
        every: float = 8.0,
        say: Callable[[str], None] | None = None,
    ):
        self.total, self.name, self.start, self.every = total, name, start, every
        self.say = say or (lambda line: print(line, flush=True))
        self.began = self.last = time.perf_counter()

    def at(self, step: int, detail: str = "") -> bool:
        """Report that `step` steps are done; True when a line was written."""
        now = time.perf_counter()
        if now - self.last < self.every and step < self.total:
            return False
        self.last = now
        done = max(1, step - self.start)
        left = (now - self.began) / done * (self.total - step)
        end = f"{clock(left)} left" if step < self.total else f"done in {clock(now - self.began)}"
        self.say(f"{self.name}  {step}/{self.total}  {detail}{'  ' if detail else ''}{end}")
        return True


class LiveChart:
    """Every loss component against the step, redrawn in place while training runs in a notebook.
    Silent elsewhere."""

    def __init__(self, title: str, every: float = 6.0):
        self.title, self.every, self.last, self.handle = title, every, time.perf_counter(), None
        shell = sys.modules.get("IPython")
        self.watched = (
            shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None
        )

    def draw(self, history: list[dict], final: bool = False) -> None:
        """Redraw when `every` seconds have passed, or when `final`."""
        now = time.perf_counter()
        if not self.watched or len(history) < 2 or (not final and now - self.last < self.every):
            return
        from IPython.display import display
        from matplotlib.figure import Figure

        names = [key for key in ("loss", "mlm", "soft", "cosine") if key in history[-1]]
        if len(names) == 2:  # one component: the loss is that component
            names = names[1:]
        figure = Figure(figsize=(3.2 * len(names), 2.2), layout="constrained")
        for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
            axis.plot(
                [row["step"] for row in history],
                [row[name] for row in history],
                color="#0072B2",
                lw=1.2,
            )
            axis.set(title=name, xlabel="step")
            axis.spines[["top", "right"]].set_visible(False)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        self.every = max(
            self.every, 15 * (time.perf_counter() - now)
        )  # never spend over a fifteenth of the time drawing
        self.last = time.perf_counter()
