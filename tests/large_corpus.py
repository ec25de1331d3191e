"""A corpus of many lines prepared and trained on under a memory limit: python -m tests.large_corpus --lines 10000000

The limit is RLIMIT_DATA: all memory that is the process's own (heap, anonymous and other private writable mappings), and not
what it merely maps of files, which the system may take back at any time. A limit of the address space (`ulimit -v`) would count
libraries and mapped files too, and one of resident memory Linux does not have.
"""

import argparse
import json
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np

SHAPE = {"layers": 2, "hidden": 64, "heads": 2, "intermediate": 128, "dropout": 0.1, "threads": 1}
WORDS, LONGEST = 60_000, 16


def write_lines(path: Path, lines: int, seed: int = 0) -> None:
    """A text of made-up words, Zipf-distributed as those of a language are, with one line in fifty twice."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("aeioubcdfghklmnprstvz"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, WORDS)])
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, lines, 20_000):
            count = min(20_000, lines - start)
            drawn = words[rng.choice(WORDS, (count, LONGEST), p=chances)].tolist()
            made = [" ".join(row[:size]) for row, size in zip(drawn, rng.integers(5, LONGEST, count).tolist())]
            made[count - count // 50 :] = made[: count // 50]
            file.write("\n".join(made) + "\n")


def anonymous_mib() -> float:
    """Memory that is this process's own and resident (RssAnon), in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


class Peak:
    """The most RssAnon there was, looked at every 50 ms."""

    def __init__(self):
        self.mib, self.over = 0.0, threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.over.wait(0.05):
            self.mib = max(self.mib, anonymous_mib())

    def since(self) -> float:
        """The peak since it was last asked for."""
        peak, self.mib = max(self.mib, anonymous_mib()), 0.0
        return peak


def run(folder: Path, lines: int, limit_mib: int, steps: int) -> dict[str, float]:
    """Prepare and train; seconds and peaks of memory."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    if not text.is_file():
        write_lines(text, lines)
    import torch

    from lib import prepare, pretraining
    from lib.parameters import validate

    torch.set_num_threads(1)
    peak, found = Peak(), {"lines": lines, "text_mib": text.stat().st_size / 2**20, "limit_mib": limit_mib}
    found["libraries_mib"] = anonymous_mib()
    if limit_mib:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * 2**20, limit_mib * 2**20))
    values = {"sources": [{"kind": "files", "path": str(text)}], "tokenizer": "train:wordpiece", "vocab_size": 8000,
              "max_length": 64, "deduplicate": True, "shuffle": True}  # fmt: skip
    began = time.perf_counter()
    statistics = prepare.prepare(validate("data_prep", values), folder / "corpus")
    found |= {"prepare_seconds": time.perf_counter() - began, "prepare_peak_mib": peak.since(),
              "sequences": statistics["sequences"], "duplicates": statistics["dropped"]["duplicate"]}  # fmt: skip
    p = validate("teacher_continuation", {"corpus": str(folder / "corpus"), **SHAPE, "steps": steps, "batch_size": 32,
                                          "micro_batch_size": 32, "learning_rate": 1e-3})  # fmt: skip
    began, corpus = time.perf_counter(), prepare.open_corpus(p.corpus)
    _, history = pretraining.train_teacher(p, pretraining.starting_teacher(p, corpus), corpus, folder / "checkpoints")
    found |= {"train_seconds": time.perf_counter() - began, "train_peak_mib": peak.since(), "loss": history[-1]["loss"]}
    return {key: round(value, 1) for key, value in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--limit-mib", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=48)
    given = parser.parse_args()
    json.dump(run(given.folder, given.lines, given.limit_mib, given.steps), sys.stdout, indent=1)
