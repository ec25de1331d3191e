"""Reading text: the lines of all sources in one Arrow file, their statistics, and which of them are
held out."""

import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from lib.common.errors import InputError
from lib.common.progress import clock
from lib.data.parameters import DataPrep
from lib.data.prepared import arrow_writer, mean_and_median, sorted_counts
from lib.data.sources import Source, expected_size, kept_lines, source_name, stable_hash

BLOCK = 1000  # lines written at a time
# For a subset of n tokens 2n words are read: a token each at least, and room for dropped lines.
READ_AHEAD = 2


def gather(params: DataPrep, path: Path, say: Callable[[str], None]) -> tuple:
    """Write the kept lines of all sources to an Arrow file.

    Returns: the lines as a Dataset, and the counts and tallies of sources.kept_lines. The columns
    are the `text`, `hash`, `words`, `bytes` and `source` of a line, and its `section`, which
    depends on the text only, so that copies of a line are in one section.
    Raises: InputError if no line is kept.
    """
    import pyarrow as pa
    from datasets import Dataset

    limit = None
    if params.subset_unit == "tokens":
        limit = ("words", READ_AHEAD * params.subset_size)
    elif params.subset_unit != "none":
        limit = (params.subset_unit, params.subset_size)
    totals = _expected_totals(params.sources) + ([limit] if limit else [])
    counts: Counter = Counter()
    tallies = [Counter() for _ in params.sources]
    lines = kept_lines(params, counts, tallies, limit, folder=path.parent)
    report = progress_reporter("reading", say)
    columns = {
        "text": pa.string(),
        "hash": pa.int64(),
        "words": pa.int32(),
        "bytes": pa.int32(),
        "source": pa.int16(),
        "section": pa.int16(),
    }
    with arrow_writer(path, schema := pa.schema(columns)) as writer:
        while block := list(islice(lines, BLOCK)):
            sources, texts, words, sizes, hashes = zip(*block)
            sections = [0] * len(block)
            if params.sections > 1:
                sections = [stable_hash(text, b"section") % params.sections for text in texts]
            hashes = [key >> 1 for key in hashes]  # 63 bits, for a signed column
            data = [texts, hashes, words, sizes, sources, sections]
            writer.write_batch(pa.record_batch(data, schema=schema))
            share = max((counts[unit] / total for unit, total in totals), default=0.0)
            report(counts["lines_in"], min(share, 0.999))
    report(counts["lines_in"], 1.0)
    if not counts["lines"]:
        dropped = [f"{key} {n}" for key, n in counts.items() if not key.endswith("_in")]
        reasons = ", ".join(dropped) or "nothing to read"
        raise InputError(f"sources: no line of {counts['lines_in']} is left ({reasons})")
    return Dataset.from_file(str(path)), counts, tallies


def _expected_totals(sources: Sequence[Source]) -> list[tuple[str, int]]:
    """How much there is to read, as [(name of the counter, total)]; [] if that is unknown."""
    sizes = [expected_size(source) for source in sources]
    if None in sizes or len({unit for unit, _ in sizes}) != 1:
        return []
    return [(f"{sizes[0][0]}_in", max(1, sum(total for _, total in sizes)))]


def progress_reporter(name: str, say: Callable[[str], None]) -> Callable[[int, float], None]:
    """A function of (lines done, share done) that reports lines/s and the time left, at most once
    in five seconds and at the end."""
    began = last = time.perf_counter()

    def report(lines: int, share: float) -> None:
        nonlocal last
        now = time.perf_counter()
        if share < 1 and now - last < 5:
            return
        last = now
        seconds = max(now - began, 1e-6)
        if share >= 1:
            end = f"done in {clock(seconds)}"
        elif share > 0:
            end = f"{share:.0%}  {clock(seconds / share - seconds)} left"
        else:
            end = f"{clock(seconds)} so far"
        say(f"{name}  {lines:,} lines  {lines / seconds:,.0f} lines/s  {end}")

    return report


def text_statistics(sources: Sequence[Source], tallies: list[Counter]) -> dict:
    """The text kept of each source (`sources`) and of all together (`text`), before tokenising:
    `bytes`, `lines`, `words`, `words_per_line` (001, Table 4). See sources.kept_lines for
    `tallies`."""

    def describe(tally: Counter) -> dict:
        tally = Counter(tally)
        size = tally.pop("bytes", 0)
        values, counts = sorted_counts(tally)
        return {
            "bytes": size,
            "lines": int(counts.sum()),
            "words": int(values @ counts),
            "words_per_line": mean_and_median(values, counts),
        }

    each = [{"name": source_name(s), **describe(t)} for s, t in zip(sources, tallies)]
    return {"sources": each, "text": describe(sum(tallies, Counter()))}


# --------------------------------------------------------------------------------- held-out lines


def choose_held_out(chunks: Sequence[np.ndarray], number: int) -> np.ndarray:
    """The hashes of the lines to hold out: the `number` smallest distinct ones, ascending. Raises
    InputError if no other line would be left."""
    smallest = np.empty(0, np.int64)
    if number:
        for chunk in chunks:
            if len(smallest) > number:
                chunk = chunk[chunk < smallest[-1]]
            # One more than asked for shows whether any line is left.
            smallest = np.union1d(smallest, chunk)[: number + 1]
        if number >= len(smallest):
            problem = f"{number} of {len(smallest)} different lines; allowed: fewer than there are"
            raise InputError(f"held_out_lines: {problem}")
    return smallest[:number]


def first_and_repeats(
    chunks: Sequence[np.ndarray], held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The indices, ascending, of the first line with each held-out hash, and of their repeats."""
    starts = np.cumsum([0, *map(len, chunks)])
    hits = [np.flatnonzero(np.isin(chunk, held_out)) for chunk in chunks]
    indices = np.concatenate(
        [np.empty(0, np.int64), *(hit + start for hit, start in zip(hits, starts))]
    )
    hashes = np.concatenate([held_out[:0], *(chunk[hit] for chunk, hit in zip(chunks, hits))])
    first = np.sort(indices[np.unique(hashes, return_index=True)[1]])
    return first, np.setdiff1d(indices, first)
