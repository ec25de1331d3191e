"""The benchmark of the distillation step, read back: its tables and its figure, for the report and
for the terminal.

`make bench` leaves them in outputs/bench. What is called `found` here is its bench.json: what it
ran on, and every case with seconds and peak memory of each implementation.
"""

import json
from pathlib import Path

import pandas as pd

from lib.common import places
from lib.report import figures

FOLDER = places.ROOT / "outputs" / "bench"
OURS, PLAIN, RIVAL = "ours", "plain", "textbrewer"
COLOURS = {OURS: "#2a7fb8", RIVAL: "#c2571a", "trunks": figures.PAPER}
COLUMNS = (
    "case",
    "plain s",
    "ours s",
    "ours/plain",
    "aim",
    "ours/plain bf16",
    "ours/TextBrewer",
    "share of rate",
    "aim of share",
    "ours MiB",
    "MiB/plain's",
)
NOTE = (
    "A step is the forward and backward pass of soft-target, MLM and cosine loss, without the "
    "optimizer; medians of rounds "
    "in which the implementations take turns on the same models and ids. Plain: all logits of "
    "both networks in fp32, padded "
    "to the longest, whatever the format of ours; plain bf16: the same under autocast; "
    "TextBrewer's step runs in the format "
    "of ours. Memory: the peak beyond models and gradients. Share of rate: arithmetic that a step "
    "needs, over its time and "
    "the rate of matrix products in its format, measured in the same rounds. small: BERT of width "
    "256, 4 → 2 layers, "
    "vocabulary 30,522, 8 sequences of 128 tokens; real: lengths of 37 tokens on average; "
    "vocab50k, vocab120k: larger "
    "vocabularies; base: BERT-base, 12 → 6 layers; hop: one hop of a cascade, 12 → 11; kept: with "
    "an allocator that keeps "
    "freed memory, as our training sets it, for all of them; all or masked: where soft targets "
    "are compared."
)


def read(folder: Path | None = None) -> dict | None:
    """What the last `make bench` found, None where there was none or it was a trial at tiny
    sizes."""
    path = (folder or FOLDER) / "bench.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return None if found is None or (folder is None and found["quick"]) else found


def opening(found: dict | None) -> str:
    """What was measured on what, in a sentence or two."""
    if found is None:
        return (
            "The speed of the distillation step was not measured on this machine; `make bench` "
            "does, and the next report has it."
        )
    rates = found["gflops"]
    gpu = f"On {found['gpu']}." if found["gpu"] else "No GPU was there: GPU speed is not measured."
    prepared = ", ".join(
        f"{rate:,} tokens/s with {count} process{'es' * (count != '1')}"
        for count, rate in (found.get("data_prep") or {}).items()
    )
    return (
        f"{found['cpu']}, {found['threads']} threads. Products of matrices reach "
        f"{rates['fp32']:.0f} GFLOP/s in fp32 "
        f"({rates['fp32_default']:.0f} by PyTorch's own choice of library) and "
        f"{rates['bf16']:.0f} in bf16. {gpu}"
        f"{f' Data prep: {prepared}.' if prepared else ''}"
    )


def steps_table(found: dict) -> pd.DataFrame:
    """A row a case: `COLUMNS`, the first as index."""
    return pd.DataFrame(
        [_row(name, case) for name, case in found["cases"].items()], columns=COLUMNS
    ).set_index("case")


def _row(name: str, case: dict) -> tuple[str, ...]:
    """A case in words. What could not be had is a dash."""
    timed, memory = case["implementations"], case["memory"]
    seconds = {which: row["median_s"] for which, row in timed.items()}
    low = seconds.get(f"{PLAIN}_bf16")
    beside = f"{seconds[OURS] / seconds[RIVAL]:.3f}" if RIVAL in seconds else "not installed"
    of_plain = (
        f"{memory[OURS] / memory[PLAIN]:.2f}" if memory.get(OURS) and memory.get(PLAIN) else "–"
    )
    return (
        name,
        f"{seconds[PLAIN]:.3f}",
        f"{seconds[OURS]:.3f}",
        f"{seconds[OURS] / seconds[PLAIN]:.3f}",
        f"≤ {case['target']:.2f}" if case["target"] else "",
        f"{seconds[OURS] / low:.3f}" if low else "",
        beside,
        f"{100 * timed[OURS]['share_of_rate']:.0f} %",
        f"≥ {100 * case['rate_target']:.0f} %" if case["rate_target"] else "",
        f"{memory[OURS]:.0f}" if memory.get(OURS) is not None else "–",
        of_plain,
    )


def growth_table(folder: Path | None = None) -> pd.DataFrame:
    """How cost grows: points of every axis, and the exponents fitted to them. Empty where it was
    not measured."""
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


def figure(found: dict):
    """Time as a share of the plain step's: a row per case, a dot per implementation, a bar at the
    aim."""
    cases = found["cases"]
    drawing, (ax,) = figures.panels(1, row_height=0.24 * len(cases) + 0.7, across=1)
    for row, case in enumerate(cases.values()):
        timed = case["implementations"]
        for name, colour in COLOURS.items():
            if name in timed:
                share = timed[name]["median_s"] / timed[PLAIN]["median_s"]
                ax.plot(share, row, "o", ms=5, mec="none", color=colour)
        if case["target"]:
            ax.plot(
                [case["target"]] * 2,
                [row - 0.35, row + 0.35],
                lw=2,
                solid_capstyle="butt",
                color=figures.ink(),
            )
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
    figures.plain_axes(ax, "Seconds of a step, as a share of the plain step's in fp32", grid="x")
    _legend(drawing)
    return drawing


def _legend(drawing) -> None:
    from matplotlib.lines import Line2D

    dots = [
        (Line2D([], [], ls="", marker="o", ms=5, mec="none", color=colour), name)
        for name, colour in COLOURS.items()
    ]
    handles, labels = zip(
        *dots, (Line2D([], [], ls="", marker="|", ms=9, mew=2, color=figures.ink()), "aim")
    )
    drawing.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)


def describe(found: dict) -> str:
    """The figure in words: alt text."""
    shares = {
        name: case["implementations"][OURS]["median_s"] / case["implementations"][PLAIN]["median_s"]
        for name, case in found["cases"].items()
    }
    return (
        "Our step's time over the plain step's, by case: "
        + ", ".join(f"{n} {v:.2f}" for n, v in shares.items())
        + "."
    )
