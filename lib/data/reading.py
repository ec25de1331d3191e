"""Reading: the lines of all sources gathered in one file, what they are like, and which of them are
held out."""

import time
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np

from lib.common.errors import InputError
from lib.common.progress import clock
from lib.data import sources as corpus
from lib.data.prepared import centre

BLOCK = 1000  # lines written at a time
# a subset of n tokens reads 2n words: at least a token each, and room for lines that are dropped
READ_AHEAD = 2


def gather(params, path: Path, counts: Counter, tallies: list[Counter], say: Callable[[str], None]):
    """Write the lines to an Arrow file and open it as a Dataset; see corpus.passages.

    Beside its text a line has its hash, words and bytes, the place of its source, and its section:
    the text's hash says it, so copies of a line are in one section.
    """
    import pyarrow as pa
    from datasets import Dataset

    limit = READ_AHEAD * params.subset_size
    subset = (
        ("words", limit)
        if params.subset_unit == "tokens"
        else (params.subset_unit, params.subset_size)
    )
    lines = corpus.kept_lines(
        params.sources,
        cleaning=params.cleaning,
        deduplicate=params.deduplicate,
        min_words=params.min_words,
        max_words=params.max_words,
        subset_unit=subset[0],
        subset_size=subset[1],
        seed=params.seed,
        counts=counts,
        language=params.language if params.sentences else "",
        tallies=tallies,
        folder=path.parent,
    )
    totals = expected(params.sources) + ([subset] if subset[0] != "none" else [])
    report = reporter("reading", say)
    kinds = {
        "hash": pa.int64(),
        "words": pa.int32(),
        "bytes": pa.int32(),
        "source": pa.int16(),
        "section": pa.int16(),
    }
    schema = pa.schema({"text": pa.string(), **kinds})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for pairs in blocks(lines):
            origin, block = zip(*pairs)
            hashes = [corpus.stable_hash(text) >> 1 for text in block]
            words = [corpus.count_words(text) for text in block]
            sizes = [len(text.encode()) + 1 for text in block]
            sections = [corpus.stable_hash(text, b"section") % params.sections for text in block]
            writer.write_batch(
                pa.record_batch([block, hashes, words, sizes, origin, sections], schema=schema)
            )
            done = max((counts[unit] / total for unit, total in totals), default=0.0)
            report(counts["lines_in"], min(done, 0.999))
    report(counts["lines_in"], 1.0)
    if not counts["lines"]:
        reasons = ", ".join(
            f"{key} {number}" for key, number in counts.items() if not key.endswith("_in")
        )
        raise InputError(
            f"sources: no line of {counts['lines_in']} is left ({reasons or 'nothing to read'})"
        )
    return Dataset.from_file(str(path))


def expected(sources) -> list[tuple[str, int]]:
    """How much there is to read, as [(counter, total)], or [] if a source does not tell or units
    differ."""
    sizes = [corpus.expected_size(source) for source in sources]
    if None in sizes or len({unit for unit, _ in sizes}) != 1:
        return []
    return [(f"{sizes[0][0]}_in", max(1, sum(total for _, total in sizes)))]


def blocks(lines: Iterator) -> Iterator[list]:
    """Lists of BLOCK lines."""
    block = []
    for line in lines:
        block.append(line)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def reporter(
    name: str, say: Callable[[str], None], every: float = 5.0
) -> Callable[[int, float], None]:
    """A function of (lines done, share done) that says lines/s and time left, at most once in
    `every` seconds."""
    began = last = time.perf_counter()

    def report(lines: int, share: float) -> None:
        nonlocal last
        now = time.perf_counter()
        if share < 1 and now - last < every:
            return
        last = now
        seconds = max(now - began, 1e-6)
        end = (
            f"{share:.0%}  {clock(seconds / share - seconds)} left"
            if 0 < share < 1
            else f"{clock(seconds)} so far"
        )
        end = f"done in {clock(seconds)}" if share >= 1 else end
        say(f"{name}  {lines:,} lines  {lines / seconds:,.0f} lines/s  {end}")

    return report


def choose_held_out(chunks: Sequence[np.ndarray], number: int) -> np.ndarray:
    """The hashes of the lines to hold out: the `number` smallest that are different, rising, of
    hashes that come in chunks."""
    found = np.empty(0, np.int64)
    if number:
        for chunk in chunks:
            chunk = chunk[chunk < found[-1]] if len(found) > number else chunk
            found = np.union1d(found, chunk)[
                : number + 1
            ]  # one more than asked for tells whether any line would be left
        if number >= len(found):
            raise InputError(
                f"held_out_lines: {number} of {len(found)} different lines; allowed: fewer than "
                f"there are"
            )
    return found[:number]


def first_and_repeats(
    chunks: Sequence[np.ndarray], held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines with the `held` hashes first come, rising, and where their other copies
    are."""
    starts = np.cumsum([0, *map(len, chunks)])
    found = [start + np.flatnonzero(np.isin(chunk, held)) for start, chunk in zip(starts, chunks)]
    every = np.concatenate([np.empty(0, np.int64), *found])
    hashes = np.concatenate(
        [held[:0], *(chunk[at - start] for start, chunk, at in zip(starts, chunks, found))]
    )
    first = np.sort(every[np.unique(hashes, return_index=True)[1]])
    return first, np.setdiff1d(every, first)


def text_figures(sources: Sequence[corpus.Source], tallies: list[Counter]) -> dict:
    """What was kept of each source, and of all, before tokenising (001, Table 4).

    Args: tallies, see corpus.passages.
    Returns: `sources`, a list of `name`, `bytes` (UTF-8, with line ends), `lines` (sentences, where
    text was split into
        them), `words`, `words_per_line` {mean, median}; `text`, the same of all together.
    """

    def figures(tally: Counter) -> dict:
        values = np.array(sorted(words for words in tally if words != "bytes"), dtype=np.int64)
        counts = np.array([tally[words] for words in values.tolist()], dtype=np.int64)
        return {
            "bytes": tally["bytes"],
            "lines": int(counts.sum()),
            "words": int(values @ counts),
            "words_per_line": centre(values, counts),
        }

    return {
        "sources": [
            {"name": corpus.source_name(source), **figures(tally)}
            for source, tally in zip(sources, tallies)
        ],
        "text": figures(sum(tallies, Counter())),
    }
