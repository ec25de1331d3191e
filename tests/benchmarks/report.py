"""What the benchmark leaves: the rows of steps.csv, bench.json, a table for the terminal. Read back
by `lib.report.bench`."""

import pandas as pd

from lib.report.bench import COLUMNS as SHOWN
from lib.report.bench import PLAIN, RIVAL, steps_table
from tests.benchmarks.cases import MATCHED, Case

COLUMNS = (
    "implementation objective precision vocab hidden batch sequence median_s peak_memory_mib ratio"
).split()
"""steps.csv. `sequence`: real tokens of a sequence on average; `median_s`: seconds of a step;
`peak_memory_mib`: beyond models and gradients; `ratio`: time as a share of the plain fp32
step's."""
ABSENT = "textbrewer (not installed)"


def rows(case: Case, timed: dict, memory: dict[str, float]) -> list[dict]:
    """A case's rows of steps.csv: one for each implementation, and one without numbers for a
    TextBrewer that is absent, where it has the loss."""
    about = {
        "objective": case.objective,
        "vocab": case.vocab,
        "hidden": case.hidden,
        "batch": case.batch,
        "sequence": round(timed["tokens_per_sequence"]),
    }
    found = timed["implementations"]
    plain = found[PLAIN]["median_s"]
    out = [
        {
            "implementation": name,
            **about,
            "precision": "fp32" if name == PLAIN else case.precision,
            "median_s": row["median_s"],
            "peak_memory_mib": memory.get(name),
            "ratio": row["median_s"] / plain,
        }
        for name, row in found.items()
    ]
    return (
        out
        if RIVAL in found or case.kind in MATCHED
        else [*out, {"implementation": ABSENT, **about, "precision": case.precision}]
    )


def summary(about: dict, cases: dict[str, tuple[Case, dict, dict]], quick: bool) -> dict:
    """bench.json: what it ran on, and every case with what was aimed at."""
    whole = {
        name: timed
        | {
            "memory": memory,
            "precision": case.precision,
            "target": case.target,
            "rate_target": case.rate,
        }
        for name, (case, timed, memory) in cases.items()
    }
    return about | {
        "quick": quick,
        "memory_largest_over_smallest_vocabulary": flatness(cases),
        "cases": whole,
    }


def lines(found: dict) -> str:
    """The table for a terminal."""
    shown = [SHOWN, *([str(name), *row] for name, row in steps_table(found).iterrows())]
    widths = [max(map(len, column)) for column in zip(*shown)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in shown
    )


def flatness(cases: dict[str, tuple[Case, dict, dict]]) -> dict[str, float]:
    """Peak memory of our step at the largest vocabulary over that at the smallest, of cases equal
    in all else, by the objective; 1 is flat. Empty where there is only one vocabulary."""
    groups: dict[tuple, list[tuple[int, float]]] = {}
    for case, _, memory in cases.values():
        if memory.get("ours"):
            key = (case.objective, case.precision, case.hidden, case.batch, case.length)
            groups.setdefault(key, []).append((case.vocab, memory["ours"]))
    return {
        key[0]: max(points)[1] / min(points)[1] for key, points in groups.items() if len(points) > 1
    }


def frame(found: list[dict]) -> pd.DataFrame:
    """steps.csv."""
    return pd.DataFrame(found, columns=COLUMNS)
