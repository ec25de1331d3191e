"""What the benchmark leaves: the rows of steps.csv, a table for the terminal, a figure."""

import pandas as pd

from lib import figures
from tests.benchmarks.cases import Case

COLUMNS = "implementation objective precision vocab hidden batch sequence median_s peak_memory_mib ratio".split()
"""steps.csv. `sequence`: real tokens of a sequence on average; `median_s`: seconds of a step; `peak_memory_mib`: beyond
models and gradients; `ratio`: time as a share of the plain step's."""
ABSENT = "textbrewer (not installed)"
COLOURS = {"ours": "#2a7fb8", "textbrewer": "#c2571a", "trunks": figures.PAPER}


def rows(case: Case, timed: dict, memory: dict[str, float]) -> list[dict]:
    """A case's rows of steps.csv: one for each implementation, and one without numbers for a TextBrewer that is absent."""
    about = {"objective": case.objective, "precision": case.precision, "vocab": case.vocab, "hidden": case.hidden,
             "batch": case.batch, "sequence": round(timed["tokens_per_sequence"])}  # fmt: skip
    found = timed["implementations"]
    plain = found["plain"]["median_s"]
    out = [{"implementation": name, **about, "median_s": row["median_s"], "peak_memory_mib": memory.get(name),
            "ratio": row["median_s"] / plain} for name, row in found.items()]  # fmt: skip
    return out if "textbrewer" in found else [*out, {"implementation": ABSENT, **about}]


def table(cases: dict[str, tuple[Case, dict, dict]]) -> str:
    """Every case in a line: our time over plain's and TextBrewer's with the targets, the share of the machine's rate, and
    our memory over plain's. `cases` maps names to the case, its times and its peaks of memory."""
    head = ("case", "plain s", "ours s", "ours/plain", "target", "ours/textbrewer", "share of rate", "target",
            "memory MiB", "memory/plain")  # fmt: skip
    lines = [head]
    for name, (case, timed, memory) in cases.items():
        found = timed["implementations"]
        seconds = {key: row["median_s"] for key, row in found.items()}
        beside = f"{seconds['ours'] / seconds['textbrewer']:.3f}" if "textbrewer" in found else "not installed"
        of_plain = f"{memory['ours'] / memory['plain']:.2f}" if memory.get("ours") and memory.get("plain") else "–"
        lines.append((
            name, f"{seconds['plain']:.3f}", f"{seconds['ours']:.3f}", f"{seconds['ours'] / seconds['plain']:.3f}",
            f"{case.target:.2f}" if case.target else "", beside, f"{100 * found['ours']['share_of_rate']:.0f} %",
            f"{100 * case.rate:.0f} %" if case.rate else "",
            f"{memory['ours']:.0f}" if memory.get("ours") is not None else "–", of_plain,
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def figure(cases: dict[str, tuple[Case, dict, dict]]):
    """Time as a share of the plain step's: a row per case, a dot per implementation, a bar at the target."""
    (drawing, (ax,)) = figures.panels(1, row_height=0.24 * len(cases) + 0.7, across=1)
    for row, (case, timed, _) in enumerate(cases.values()):
        found = timed["implementations"]
        for name, colour in COLOURS.items():
            if name in found:
                share = found[name]["median_s"] / found["plain"]["median_s"]
                ax.plot(share, row, "o", ms=5, mec="none", color=colour)
        if case.target:
            ax.plot([case.target] * 2, [row - 0.35, row + 0.35], lw=2, solid_capstyle="butt", color=figures.ink())
    ax.axvline(1, lw=0.8, color=figures.ink(), alpha=0.5)
    ax.set_xscale("log")
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    low, high = min(ax.get_xlim()[0], 0.1), max(ax.get_xlim()[1], 1.2)
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_xticks([], minor=True)
    ax.set_xlim(low, high)
    ax.set_yticks(range(len(cases)), list(cases))
    ax.set_ylim(len(cases) - 0.4, -0.6)
    figures.plain(ax, "Seconds of a step, as a share of the plain step's", grid="x")
    _legend(drawing)
    return drawing


def _legend(drawing) -> None:
    from matplotlib.lines import Line2D

    dots = [
        (Line2D([], [], ls="", marker="o", ms=5, mec="none", color=colour), name) for name, colour in COLOURS.items()
    ]
    handles, labels = zip(*dots, (Line2D([], [], ls="", marker="|", ms=9, mew=2, color=figures.ink()), "target"))
    drawing.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)


def flatness(cases: dict[str, tuple[Case, dict, dict]]) -> dict[str, float]:
    """Peak memory of our step at the largest vocabulary over that at the smallest, of cases equal in all else, by the
    objective; 1 is flat. Empty where there is only one vocabulary."""
    groups: dict[tuple, list[tuple[int, float]]] = {}
    for case, _, memory in cases.values():
        if memory.get("ours"):
            key = (case.objective, case.precision, case.hidden, case.batch, case.length)
            groups.setdefault(key, []).append((case.vocab, memory["ours"]))
    return {key[0]: max(points)[1] / min(points)[1] for key, points in groups.items() if len(points) > 1}


def frame(found: list[dict]) -> pd.DataFrame:
    """steps.csv."""
    return pd.DataFrame(found, columns=COLUMNS)
