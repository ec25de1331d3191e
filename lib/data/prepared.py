"""Prepared corpora on disk: their format, their statistics, writing and reading them.

A prepared folder holds `data/` and optionally `held_out/` (data sets with `input_ids`, special
tokens included, and `word_start`, True where a token starts a word), `tokenizer/` and
`statistics.json`, whose keys are

- what was read: `lines_in`, `bytes_in`, lines `dropped` by reason, `held_out` lines and tokens,
  `sources` and `text` (reading.text_statistics), languages drawn (mixing.Mix.describe);
- what was kept: `lines`, `bytes`, `words`, `tokens`, `tokens_with_specials`, `sequences`, those of
  each of the `sections`, `lines_cut` and `tokens_lost` to the largest length, `unknown_share`,
  `tokens_per_word`, `words_per_line`, `tokens_per_sequence`, `length_histogram`;
- `vocabulary` (its size), `tokenizer_fingerprint`, `masked_by_token` (names of sources), `seconds`
  and `tokens_per_second`.

Of a transfer set, derived.derive says what differs.
"""

import json
import shutil
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Iterator

import numpy as np

from lib.common import places
from lib.common.errors import InputError
from lib.common.progress import clock
from lib.data import tokenizer

# ------------------------------------------------------------------------------------- statistics


@dataclass
class Tally:
    """Counts of the sequences and lines written so far; its size does not grow with them.

    `lengths[n]`: sequences of n tokens, special tokens included; `words[n]`: lines of n words;
    `tokens`, without special ones; `bytes` (UTF-8) with one line end per line; `unknown` tokens.
    """

    lengths: Counter = field(default_factory=Counter)
    words: Counter = field(default_factory=Counter)
    tokens: int = 0
    bytes: int = 0
    unknown: int = 0

    def describe(self, **more) -> dict:
        """The statistics of what was kept; `more` is inserted after the counts."""
        lengths, sequences = sorted_counts(self.lengths)
        lines = self.words.total()
        values, counts = sorted_counts(self.words)
        words = int(values @ counts)
        longest = int(lengths[-1])
        edges = [*range(0, longest + 1, max(1, -(-longest // 32))), longest + 1]
        histogram = np.histogram(lengths, edges, weights=sequences)[0].astype(int)
        return {
            "lines": lines,
            "bytes": self.bytes,
            "words": words,
            "tokens": self.tokens,
            "tokens_with_specials": int(lengths @ sequences),
            "sequences": int(sequences.sum()),
            **more,
            "unknown_share": self.unknown / self.tokens,
            "tokens_per_word": self.tokens / words,
            "words_per_line": mean_and_median(values, counts),
            "tokens_per_sequence": {**mean_and_median(lengths, sequences), "max": longest},
            "length_histogram": {"edges": edges, "counts": histogram.tolist()},
        }


def count_values(counter: Counter, values: np.ndarray) -> None:
    """Add to a Counter how often each value occurs."""
    distinct, counts = np.unique(values, return_counts=True)
    counter.update(dict(zip(distinct.tolist(), counts.tolist())))


def sorted_counts(counter: Counter) -> tuple[np.ndarray, np.ndarray]:
    """The values of a Counter in ascending order, and how often each occurs; int64."""
    values = np.array(sorted(counter), np.int64)
    return values, np.array([counter[value] for value in values.tolist()], np.int64)


def mean_and_median(values: np.ndarray, counts: np.ndarray) -> dict:
    """Mean and median of numbers, given ascending `values` and how often each occurs; 0 if none."""
    reach, total = np.cumsum(counts), int(counts.sum())
    if not total:
        return {"mean": 0.0, "median": 0.0}
    middle = values[np.searchsorted(reach, [(total - 1) // 2, total // 2], side="right")]
    return {"mean": float(values @ counts / total), "median": float(middle.mean())}


# ---------------------------------------------------------------------------------------- writing


def features():
    """The columns of a stored corpus."""
    from datasets import Features, List, Value

    return Features({"input_ids": List(Value("int32")), "word_start": List(Value("bool"))})


def sequence_columns(lengths, ids, word_start) -> dict:
    """Those columns as Arrow lists: sequences of these lengths, cut from flat arrays."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return {
        "input_ids": pa.ListArray.from_arrays(offsets, pa.array(ids, pa.int32())),
        "word_start": pa.ListArray.from_arrays(offsets, pa.array(word_start, pa.bool_())),
    }


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for temporary files in `folder`, from which an earlier corpus is removed. The
    library's progress bars are off."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    scratch = folder / "scratch"
    for name in ("scratch", "data", "held_out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    scratch.mkdir(parents=True)
    bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if bars:
            enable_progress_bars()


def write_statistics(folder: Path, statistics: dict, began: float, say: Callable[[str], None]):
    """Add the time since `began` to the statistics, write them to `folder`, and return them."""
    seconds = round(time.perf_counter() - began, 3)
    rate = round(statistics["tokens"] / seconds)
    statistics = {**statistics, "seconds": seconds, "tokens_per_second": rate}
    text = json.dumps(statistics, indent=2) + "\n"
    (folder / "statistics.json").write_text(text, encoding="utf-8")
    numbers = ", ".join(f"{statistics[name]:,} {name}" for name in ("lines", "sequences", "tokens"))
    say(f"prepared  {numbers}  in {clock(seconds)}")
    return statistics


@contextmanager
def arrow_writer(path: Path, schema) -> Iterator:
    """A writer of record batches to an Arrow file."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        yield writer


# ---------------------------------------------------------------------------------------- reading


def arrow_batches(path: Path) -> Iterator:
    """The record batches of an Arrow file, memory-mapped, so none stays in memory."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        yield from reader


def merge_batches(batches: Iterable, least: int, size: Callable) -> Iterator:
    """Record batches merged into tables of one chunk, whose sizes add up to at least `least` (the
    last one may be smaller)."""
    import pyarrow as pa

    waiting, total = [], 0
    for batch in batches:
        waiting.append(batch)
        total += size(batch)
        if total >= least:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, total = [], 0
    if total:
        yield pa.Table.from_batches(waiting).combine_chunks()


def record_batches(folder: str | Path, part: str = "data") -> Iterator:
    """The rows of a prepared folder as Arrow record batches, in order."""
    path = places.ROOT / folder / part
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    for file in state["_data_files"]:
        yield from arrow_batches(path / file["filename"])


class Corpus:
    """A prepared corpus, or a section of it, read from memory-mapped files as needed.

    `lengths`: tokens of every sequence, special tokens included, int32 [sequences].
    """

    def __init__(self, folder: Path, part: str, section: range | None = None):
        from datasets import load_from_disk

        self.folder = folder
        table = load_from_disk(str(folder / part)).data
        self.ids = [
            (chunk.offsets.to_numpy(), chunk.values.to_numpy())
            for chunk in table.column("input_ids").chunks
        ]
        self.starts = [
            (chunk.offsets.to_numpy(), chunk.values) for chunk in table.column("word_start").chunks
        ]
        lengths = np.concatenate([np.diff(offsets) for offsets, _ in self.ids]).astype(np.int32)
        # The index of each chunk's first sequence, and of the section's.
        self.first = np.cumsum([0] + [len(offsets) - 1 for offsets, _ in self.ids])
        section = range(len(lengths)) if section is None else section
        self.begin = section.start
        self.lengths = lengths[section.start : section.stop]

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, indices) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the sequences at `indices` (of the section), in that order: ids (int32) and
        where words start (bool)."""
        indices = np.asarray(indices, dtype=np.int64) + self.begin
        chunks = np.searchsorted(self.first, indices, side="right") - 1
        ids, starts = [], []
        for chunk, row in zip(chunks.tolist(), (indices - self.first[chunks]).tolist()):
            offsets, values = self.ids[chunk]
            ids.append(values[offsets[row] : offsets[row + 1]].copy())
            offsets, bits = self.starts[chunk]
            bits = bits.slice(offsets[row], offsets[row + 1] - offsets[row])
            starts.append(bits.to_numpy(zero_copy_only=False))
        return ids, starts

    def token_counts(self, vocabulary: int) -> np.ndarray:
        """How often each token occurs in the whole corpus, int64 [vocabulary]; a section counts as
        its corpus does."""
        counts = np.zeros(vocabulary, np.int64)
        for offsets, values in self.ids:
            # Some at a time: counting makes a copy, of twice the size.
            for start in range(offsets[0], offsets[-1], 2**24):
                part = values[start : min(start + 2**24, offsets[-1])]
                counts += np.bincount(part, minlength=vocabulary)
        return counts

    def tokenizer(self):
        """The tokenizer the corpus was made with."""
        return tokenizer.load_tokenizer(str(self.folder / "tokenizer"))


def open_corpus(folder: str | Path, part: str = "data", section: int = 0) -> Corpus:
    """Open `data` or `held_out` of a prepared folder; with `section`, only that section of `data`,
    counted from 1. Raises InputError if it is missing or incomplete."""
    folder = places.ROOT / folder
    if not (folder / part / "state.json").is_file():
        raise InputError(f"{folder / part}: no prepared corpus; run notebook 1_data_prep first")
    try:
        return Corpus(folder, part, _section_range(folder, section) if section else None)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder / part}: the corpus is not whole ({reason}); run notebook 1_data_prep again"
        ) from error


def _section_range(folder: Path, section: int) -> range:
    """The sequences of a section, counted from 1; statistics.json has the sizes of sections."""
    sizes = json.loads((folder / "statistics.json").read_text(encoding="utf-8")).get("sections", [])
    if not 1 <= section <= len(sizes):
        allowed = f"0 (all of it) … {len(sizes)}" if sizes else "0, all of it"
        problem = f"the corpus {folder} has {len(sizes)} sections; allowed is {allowed}"
        raise InputError(f"section = {section}: {problem}")
    first = sum(sizes[: section - 1])
    return range(first, first + sizes[section - 1])
