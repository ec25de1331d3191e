"""Prepare a corpus of many lines and train on it under a memory limit: python -m
tests.helpers.large_corpus --folder /path/to/folder --lines 10000000

The limit is RLIMIT_DATA: the memory that belongs to the process (heap, anonymous and other private
writable mappings), without mapped files, which the system can take back at any time. A limit of the
address space (`ulimit -v`) would count libraries and mapped files too, and Linux cannot limit
resident memory. Arrow's own allocator reserves a GiB that it does not use and that would count, so
the C library's is used.
"""

import argparse
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np

os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # read when Arrow is loaded
SHAPE = {"layers": 2, "hidden": 64, "heads": 2, "intermediate": 128, "dropout": 0.1, "threads": 1}
WORDS, LONGEST = 60_000, 16


def write_lines(path: Path, lines: int, seed: int = 0) -> None:
    """A text of made-up words, Zipf-distributed as in a language, with one line in fifty twice."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("aeioubcdfghklmnprstvz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, WORDS)])
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, lines, 20_000):
            count = min(20_000, lines - start)
            drawn = words[rng.choice(WORDS, (count, LONGEST), p=chances)].tolist()
            made = [
                " ".join(row[:size])
                for row, size in zip(drawn, rng.integers(5, LONGEST, count).tolist())
            ]
            made[count - count // 50 :] = made[: count // 50]
            file.write("\n".join(made) + "\n")


def anonymous_mib() -> float:
    """Resident memory that belongs to this process (RssAnon), in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


class Peak:
    """The largest RssAnon, sampled every 50 ms."""

    def __init__(self):
        self.mib, self.stop = 0.0, threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while not self.stop.wait(0.05):
            self.mib = max(self.mib, anonymous_mib())

    def since(self) -> float:
        """The peak since the last call."""
        peak, self.mib = max(self.mib, anonymous_mib()), 0.0
        return peak


def limit(mib: int) -> None:
    """Limit the memory of this process, including libraries already loaded; 0: no limit."""
    if mib:
        resource.setrlimit(resource.RLIMIT_DATA, (mib * 2**20, mib * 2**20))


def run(folder: Path, lines: int, limit_mib: int, steps: int) -> dict[str, float]:
    """Seconds and peak memory of preparing a text and training on it under the limit."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    if not text.is_file():
        write_lines(text, lines)
    import torch

    from lib.data import prepare
    from lib.plan.stages import validate
    from lib.training import pretraining  # noqa: F401

    torch.set_num_threads(1)
    peak, results = (
        Peak(),
        {"lines": lines, "text_mib": text.stat().st_size / 2**20, "limit_mib": limit_mib},
    )
    results["libraries_mib"] = anonymous_mib()
    limit(limit_mib)
    values = {
        "sources": [{"kind": "files", "path": str(text)}],
        "tokenizer": "train:wordpiece",
        "vocab_size": 8000,
        "max_length": 64,
        "deduplicate": True,
        "shuffle": True,
    }
    began = time.perf_counter()
    statistics = prepare.prepare(validate("data_prep", values), folder / "corpus")
    results |= {
        "prepare_seconds": time.perf_counter() - began,
        "prepare_peak_mib": peak.since(),
        "sequences": statistics["sequences"],
        "duplicates": statistics["dropped"]["duplicate"],
    }
    return rounded(results | train(folder / "corpus", folder / "checkpoints", steps, peak))


def train(corpus: Path, folder: Path, steps: int, peak: Peak) -> dict[str, float]:
    """Seconds, peak memory and last loss of training a tiny teacher on a prepared corpus."""
    from lib.data.prepared import open_corpus
    from lib.plan.stages import validate
    from lib.training import pretraining

    p = validate(
        "teacher_continuation",
        {
            "corpus": str(corpus),
            **SHAPE,
            "steps": steps,
            "batch_size": 32,
            "micro_batch_size": 32,
            "learning_rate": 1e-3,
            "tracker": "none",
        },
    )
    began, opened = time.perf_counter(), open_corpus(corpus)
    _, history = pretraining.train_teacher(
        p, pretraining.starting_teacher(p, opened), opened, folder
    )
    return {
        "train_seconds": time.perf_counter() - began,
        "train_peak_mib": peak.since(),
        "loss": history[-1]["loss"],
    }


def write_prepared(folder: Path, mib: int, length: int = 128) -> int:
    """Write a prepared corpus of random sequences, of a given size; returns their number."""
    import pyarrow as pa

    from lib.data import prepare
    from lib.plan.stages import validate

    values = {
        "sources": [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 200}],
        "tokenizer": "train:wordpiece",
        "vocab_size": 500,
        "max_length": length,
        "held_out_lines": 20,
    }
    prepare.prepare(validate("data_prep", values), folder, say=lambda line: None)
    (path,) = (folder / "data").glob("*.arrow")
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        schema = reader.schema
    rng, rows = np.random.default_rng(0), 2000
    starts = pa.ListArray.from_arrays(
        np.arange(0, rows * length + 1, length, np.int32), pa.array(np.ones(rows * length, bool))
    )
    written = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        while file.tell() < mib * 2**20:
            ids = pa.ListArray.from_arrays(
                starts.offsets, rng.integers(5, 100, rows * length, np.int32)
            )
            writer.write_batch(pa.record_batch([ids, starts], schema=schema))
            written += rows
    return written


def run_prepared(folder: Path, mib: int, limit_mib: int, steps: int) -> dict[str, float]:
    """Seconds and peak memory of training on a prepared corpus of a given size under the limit."""
    import torch

    from lib.training import pretraining  # noqa: F401

    torch.set_num_threads(1)
    sequences, peak = write_prepared(folder / "corpus", mib), Peak()
    results = {
        "corpus_mib": mib,
        "sequences": sequences,
        "limit_mib": limit_mib,
        "libraries_mib": anonymous_mib(),
    }
    limit(limit_mib)
    return rounded(results | train(folder / "corpus", folder / "checkpoints", steps, peak))


def rounded(results: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 1) for key, value in results.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument(
        "--prepared-mib",
        type=int,
        default=0,
        help="train on a prepared corpus of this size, read no text",
    )
    parser.add_argument("--limit-mib", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=48)
    arguments = parser.parse_args()
    size = arguments.prepared_mib
    results = (
        run_prepared(arguments.folder, size, arguments.limit_mib, arguments.steps)
        if size
        else run(arguments.folder, arguments.lines, arguments.limit_mib, arguments.steps)
    )
    json.dump(results, sys.stdout, indent=1)
