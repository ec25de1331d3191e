"""`make bench` [CASES="small hop"]: measure the cases and write outputs/bench/.

    python -m tests.benchmarks [--cases "small base"] [--quick] [--threads 2] [--rounds 5] [--to
    outputs/bench]

Written: steps.csv, growth.csv, bench.json, steps.svg; the table is printed, and the next report has
it.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd

from lib.common.errors import InputError
from lib.report import bench
from tests.benchmarks import report
from tests.benchmarks.cases import CASES, QUICK, Case, chosen
from tests.benchmarks.data import preparation
from tests.benchmarks.growth import AXES, QUICK_AXES, growth
from tests.benchmarks.measure import alone, machine, peak_memory, times


def main(words: list[str] | None = None) -> int:
    """Run what is asked for; 0, or 1 after one line that says what is wrong."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="the distillation step: time, memory, growth"
    )
    parser.add_argument("--cases", default="", help="names or groups of cases; all without it")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes and one round: does it work?"
    )
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument(
        "--rounds", type=int, default=0, help="0: as many as take about 45 seconds a case"
    )
    parser.add_argument("--to", type=Path, default=bench.FOLDER)
    given = parser.parse_args(words)
    try:
        cases = chosen(given.cases, QUICK if given.quick else CASES)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sizes = (128,) if given.quick else (1024, 2048, 3072, 4096)
    rounds = given.rounds or (1 if given.quick else 0)
    about = alone(machine, given.threads, sizes)
    print(
        f"{about['cpu']}, {given.threads} threads: {about['gflops']['fp32']:.0f} GFLOP/s in fp32, "
        f"{about['gflops']['bf16']:.0f} in bf16",
        flush=True,
    )
    found: dict = {}
    grown = None
    for case in cases:
        measured = measure(case, rounds, given.threads, sizes)
        if measured is not None:
            found[case.name] = (case, *measured)
            # At once: a run that is stopped leaves what it has.
            write(given.to, report.summary(about, found, given.quick), found, None)
    if not given.cases:  # one who asks for a few cases does not ask for this
        about["data_prep"] = alone(
            preparation, 300 if given.quick else 150_000, 1 if given.quick else 3
        )
        grown = growth(
            QUICK_AXES if given.quick else AXES,
            lambda case: point(case, rounds or 7, given.threads),
        )
    summary = report.summary(about, found, given.quick)
    write(given.to, summary, found, grown)
    tell(summary, grown)
    print(f"written: {given.to}")
    return 0 if len(found) == len(cases) else 1


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(
    case: Case, rounds: int, threads: int, sizes: tuple[int, ...]
) -> tuple[dict, dict] | None:
    """Times and peaks of memory of a case, every peak in a process of its own; None if the machine
    is too small for it."""
    timed = alone(times, case, None, rounds, threads, sizes)
    if timed is None:
        print(
            f"{case.name}: stopped by the system, most likely for want of memory: no numbers",
            file=sys.stderr,
        )
        return None
    memory = {name: alone(peak_memory, case, name, threads) for name in timed["implementations"]}
    one = report.summary({}, {case.name: (case, timed, memory)}, quick=False)
    print(report.lines(one).splitlines()[1], flush=True)
    return timed, memory


def point(case: Case, rounds: int, threads: int) -> tuple[float, float]:
    """Median seconds and peak memory in MiB of our step."""
    timed = alone(times, case, ["ours"], rounds, threads, (128,))
    peak = alone(peak_memory, case, "ours", threads)
    seconds = timed["implementations"]["ours"]["median_s"] if timed else float("nan")
    return seconds, float("nan") if peak is None else peak


def write(folder: Path, summary: dict, found: dict, grown: pd.DataFrame | None) -> None:
    """The files."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = [
        row for case, timed, memory in found.values() for row in report.rows(case, timed, memory)
    ]
    report.frame(steps).to_csv(folder / "steps.csv", index=False)
    (folder / "bench.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if found:
        bench.figure(summary).savefig(folder / "steps.svg")
    if grown is not None:
        grown.to_csv(folder / "growth.csv", index=False)


def tell(summary: dict, grown: pd.DataFrame | None) -> None:
    """The tables on the terminal."""
    print("\n" + report.lines(summary))
    for objective, ratio in summary["memory_largest_over_smallest_vocabulary"].items():
        print(f"peak memory of {objective}: largest vocabulary over smallest {ratio:.2f}")
    for axis, rows in () if grown is None else grown.groupby("axis", sort=False):
        powers = rows.iloc[0]
        print(
            f"with {axis}: time grows as the power {powers['time_exponent']:.2f}, memory as "
            f"{powers['memory_exponent']:.2f}"
        )
    for processes, rate in summary.get("data_prep", {}).items():
        print(f"data prep with {processes} processes: {rate:,} tokens/s")


if __name__ == "__main__":
    sys.exit(main())
