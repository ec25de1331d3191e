"""The benchmark of the distillation step: its tables and its figure, for the report and for the
terminal.

`make bench` writes bench.json to outputs/bench: the machine, and for every case the seconds and the
peak memory of each implementation. That file's content is `measured` here.
"""

import json
from pathlib import Path

import pandas as pd

from lib.common import places
from lib.report import figures
from lib.report.page import show

FOLDER = places.ROOT / "outputs" / "bench"
OURS, PLAIN, RIVAL = "ours", "plain", "textbrewer"
COLOURS = {OURS: "#2a7fb8", RIVAL: "#c2571a", "trunks": figures.PAPER}
COLUMNS = ("case", "plain s", "ours s", "ours/plain", "aim", "ours/plain bf16", "ours/TextBrewer")
COLUMNS += ("share of rate", "aim of share", "ours MiB", "MiB/plain's")
NOTE = (
    "A step is the forward and backward pass of soft-target, MLM and cosine loss, without the "
    "optimizer; medians of rounds in which the implementations take turns on the same models and "
    "ids. Plain: all logits of both networks in fp32, padded to the longest, whatever the format "
    "of ours; plain bf16: the same under autocast; TextBrewer's step runs in the format of ours. "
    "Memory: the peak beyond models and gradients. Share of rate: arithmetic that a step needs, "
    "over its time and the rate of matrix products in its format, measured in the same rounds. "
    "small: BERT of width 256, 4 → 2 layers, vocabulary 30,522, 8 sequences of 128 tokens; real: "
    "lengths of 37 tokens on average; vocab50k, vocab120k: larger vocabularies; base: BERT-base, "
    "12 → 6 layers; hidden, attention, relations: that loss alone, plain by its equation and the "
    "library's layers; hop: one hop of a cascade, 12 → 11; kept: with an allocator that keeps "
    "freed memory, as our training sets it, for all of them; all or masked: where soft targets are "
    "compared."
)


def read(folder: Path | None = None) -> dict | None:
    """The results of the last `make bench`; None if there are none, or only of a trial at tiny
    sizes."""
    path = (folder or FOLDER) / "bench.json"
    if not path.is_file():
        return None
    measured = json.loads(path.read_text(encoding="utf-8"))
    return None if folder is None and measured["quick"] else measured


def section(measured: dict | None) -> list:
    """The section of the report: machine, steps, figure, growth."""
    if measured is None:
        return [show.prose(opening(None))]
    return [
        show.prose(opening(measured)),
        show.table(
            steps_table(measured), "Our step beside a plain one and TextBrewer's.", note=NOTE
        ),
        show.figure(
            figure(measured),
            "Seconds of a step over those of the plain step in fp32.",
            describe(measured),
        ),
        show.table(growth_table(), "How time and memory of our step grow."),
    ]


def opening(measured: dict | None) -> str:
    """What was measured on which machine, in a sentence or two."""
    if measured is None:
        return (
            "The speed of the distillation step was not measured on this machine; `make bench` "
            "does, and the next report has it."
        )
    rates = measured["gflops"]
    gpu = f"On {measured['gpu']}." if measured["gpu"] else "No GPU here: its speed is not measured."
    speeds = [
        f"{rate:,} tokens/s with {count} process{'es' * (count != '1')}"
        for count, rate in (measured.get("data_prep") or {}).items()
    ]
    return (
        f"{measured['cpu']}, {measured['threads']} threads. Products of matrices reach "
        f"{rates['fp32']:.0f} GFLOP/s in fp32 ({rates['fp32_default']:.0f} by PyTorch's own choice "
        f"of library) and {rates['bf16']:.0f} in bf16. {gpu}"
        + (f" Data prep: {', '.join(speeds)}." if speeds else "")
    )


def steps_table(measured: dict) -> pd.DataFrame:
    """A row per case: `COLUMNS`, the first as index. What was not measured is a dash."""
    rows = []
    without = "not installed"
    if any(RIVAL in case["implementations"] for case in measured["cases"].values()):
        without = "–"  # it has no such loss
    for name, case in measured["cases"].items():
        timed, memory = case["implementations"], case["memory"]
        seconds = {implementation: row["median_s"] for implementation, row in timed.items()}
        bf16, rival = seconds.get(f"{PLAIN}_bf16"), seconds.get(RIVAL)
        ours, plain = memory.get(OURS), memory.get(PLAIN)
        rows.append(
            (
                name,
                f"{seconds[PLAIN]:.3f}",
                f"{seconds[OURS]:.3f}",
                f"{seconds[OURS] / seconds[PLAIN]:.3f}",
                f"≤ {case['target']:.2f}" if case["target"] else "",
                f"{seconds[OURS] / bf16:.3f}" if bf16 else "",
                f"{seconds[OURS] / rival:.3f}" if rival else without,
                f"{100 * timed[OURS]['share_of_rate']:.0f} %",
                f"≥ {100 * case['rate_target']:.0f} %" if case["rate_target"] else "",
                "–" if ours is None else f"{ours:.0f}",
                f"{ours / plain:.2f}" if ours and plain else "–",
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS).set_index("case")


def growth_table(folder: Path | None = None) -> pd.DataFrame:
    """How cost grows: the range of every axis and the exponents fitted to it. Empty if it was not
    measured."""
    path = (folder or FOLDER) / "growth.csv"
    rows = {}
    for axis, points in pd.read_csv(path).groupby("axis", sort=False) if path.is_file() else ():
        first, last = points.iloc[0], points.iloc[-1]
        rows[axis] = {
            "from": f"{first['value']:,}",
            "to": f"{last['value']:,}",
            "seconds": f"{first['median_s']:.3f} → {last['median_s']:.3f}",
            "time grows as the power": f"{first['time_exponent']:.2f}",
            "MiB": f"{first['peak_memory_mib']:.0f} → {last['peak_memory_mib']:.0f}",
            "memory grows as the power": f"{first['memory_exponent']:.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("axis")


def figure(measured: dict):
    """Time as a share of the plain step's: a row per case, a dot per implementation, a bar at the
    aim."""
    from matplotlib.lines import Line2D

    cases = measured["cases"]
    drawing, (ax,) = figures.panels(1, row_height=0.24 * len(cases) + 0.7, across=1)
    dot = {"ls": "", "marker": "o", "ms": 5, "mec": "none"}
    for row, case in enumerate(cases.values()):
        timed = case["implementations"]
        for name, colour in COLOURS.items():
            if name in timed:
                share = timed[name]["median_s"] / timed[PLAIN]["median_s"]
                ax.plot(share, row, **dot, color=colour)
        if case["target"]:
            ends = [row - 0.35, row + 0.35]
            ax.plot([case["target"]] * 2, ends, lw=2, solid_capstyle="butt", color=figures.ink())
    ax.axvline(1, lw=0.8, color=figures.ink(), alpha=0.5)
    ax.set_xscale("log")
    low, high = min(ax.get_xlim()[0], 0.1), max(ax.get_xlim()[1], 1.2)
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(low, high)
    ax.set_yticks(range(len(cases)), list(cases))
    ax.set_ylim(len(cases) - 0.4, -0.6)
    figures.plain_axes(ax, "Seconds of a step, as a share of the plain step's in fp32", grid="x")
    handles = {name: Line2D([], [], **dot, color=colour) for name, colour in COLOURS.items()}
    handles["aim"] = Line2D([], [], ls="", marker="|", ms=9, mew=2, color=figures.ink())
    above = {"loc": "outside upper left", "ncols": 4, "frameon": False, "fontsize": 8}
    drawing.legend(list(handles.values()), list(handles), **above)
    return drawing


def describe(measured: dict) -> str:
    """The figure in words, as alt text."""
    shares = []
    for name, case in measured["cases"].items():
        timed = case["implementations"]
        shares.append(f"{name} {timed[OURS]['median_s'] / timed[PLAIN]['median_s']:.2f}")
    return f"Our step's time over the plain step's, by case: {', '.join(shares)}."
