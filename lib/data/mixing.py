"""Sampling lines by language and shuffling them on disk, in memory that does not depend on the size
of the text.

004, section 3.1: lines are sampled by language, "rearranged in random order", and each teacher
assistant has a "distinct section of the corpus". The shuffle is Rao's (1961) and Sandelius's
(1962): each line goes to a random bucket; a bucket that fits into memory is permuted there, and a
larger one is divided into buckets again. All orders are equally likely.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Callable, Iterable, Iterator

import numpy as np

from lib.data import languages
from lib.data.parameters import DataPrep
from lib.data.prepared import arrow_batches, arrow_writer, merge_batches
from lib.data.reading import progress_reporter
from lib.data.sources import stable_hash
from lib.data.transfer_sets import sample_mask

BLOCK = 1 << 22  # bytes of text in memory at a time
BUCKET = 1 << 23  # bytes of a bucket that is permuted in memory
BUCKETS = 128  # written at a time
ROWS = 10_000  # of a record batch: an open file takes 3 KB for each


@dataclass
class Mix:
    """What there is of each language, without held-out lines, and what to draw.

    `group`: the index of each source's language in `names` ([""] if sources do not name theirs).
    [languages]: `lines`, `bytes`, `probabilities` (P' of 004, eq. 1), `lines_drawn`, `bytes_drawn`.
    `exponent`: S, None without sampling.
    """

    names: list[str]
    group: np.ndarray
    lines: np.ndarray
    bytes: np.ndarray
    exponent: float | None
    probabilities: np.ndarray
    lines_drawn: np.ndarray
    bytes_drawn: np.ndarray

    def describe(self, params: DataPrep, source_tokens: np.ndarray) -> dict:
        """The statistics `languages` (see languages.language_table), if sources name theirs, and
        `sampling`, if there was any. `source_tokens`: the tokens of each source."""
        statistics = {}
        if self.names != [""]:
            statistics["languages"] = languages.language_table(
                self.names,
                bytes=self.bytes,
                lines=self.lines,
                target=self.probabilities,
                lines_drawn=self.lines_drawn,
                bytes_drawn=self.bytes_drawn,
                tokens=_sums(self.group, source_tokens, self.names),
            )
        if self.exponent is not None:
            statistics["sampling"] = {
                "exponent": self.exponent,
                "target": params.sampling_target,
                "unit": params.sampling_unit,
            }
        return statistics


def _sums(groups: np.ndarray, values: np.ndarray, names: list[str]) -> np.ndarray:
    return np.bincount(groups, values, len(names)).astype(np.int64)


def needs_mixing(params: DataPrep) -> bool:
    """Whether lines are put in random order."""
    sampling = params.sampling_exponent is not None or params.sampling_target
    return bool(params.shuffle or params.sections > 1 or sampling)


def plan_mix(params: DataPrep, path: Path, held_out: np.ndarray, say: Callable[[str], None]) -> Mix:
    """Count the lines in a file of lib.data.reading, without those whose hash is in `held_out`, and
    decide how many to draw of each language. Raises InputError."""
    names, group = languages.group_by_language(params.sources)
    lines, sizes = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for table in read_tables(path):
        keep = ~np.isin(table["hash"].to_numpy(), held_out)
        language = group[table["source"].to_numpy()[keep]]
        lines += np.bincount(language, minlength=len(names))
        sizes += _sums(language, table["bytes"].to_numpy()[keep], names)
    exponent, probabilities, drawn = languages.lines_to_draw(params, names, lines, sizes)
    if exponent is not None:
        target = f" ({params.sampling_target})" if params.sampling_target else ""
        above = "; above 1: large languages get more than their share" if exponent > 1 else ""
        say(f"sampling  exponent {exponent:.3f}{target}{above}")
    return Mix(names, group, lines, sizes, exponent, probabilities, drawn, sizes.copy())


def mix_lines(
    mix: Mix, folder: Path, held_out: np.ndarray, params: DataPrep, say: Callable[[str], None]
):
    """The lines of `folder`/text.arrow that `mix` asks for, as a Dataset, in random order within
    each section.

    Updates `mix.bytes_drawn`. The same lines, parameters and seed give the same file.
    """
    from datasets import Dataset

    rng = np.random.default_rng([params.seed, stable_hash("shuffle")])
    size = float(mix.bytes @ (mix.lines_drawn / np.maximum(mix.lines, 1)))
    per_section = -(-int(size) // (BUCKET * params.sections))
    per_section = max(1, min(per_section, BUCKETS // params.sections))
    report, total = progress_reporter("shuffling", say), int(mix.lines_drawn.sum())
    buckets = deal(
        draw(folder / "text.arrow", mix, held_out, params.seed),
        folder / "bucket",
        params.sections,
        per_section,
        rng,
        # Drawing is about half of the work, reading the buckets again the other half.
        lambda done: report(done, done / total / 2),
    )
    path, done = folder / "mixed.arrow", 0
    schema = next(arrow_batches(folder / "text.arrow")).schema
    with arrow_writer(path, schema) as writer:
        for table in permute(buckets, rng):
            writer.write_table(table, max_chunksize=ROWS)
            done += len(table)
            report(done, min(0.5 + done / total / 2, 0.999))
    report(done, 1.0)
    return Dataset.from_file(str(path))


def read_tables(path: Path) -> Iterator:
    """An Arrow file as tables of one chunk and about BLOCK bytes."""
    return merge_batches(arrow_batches(path), BLOCK, lambda batch: batch.nbytes)


def draw(path: Path, mix: Mix, held_out: np.ndarray, seed: int) -> Iterator[tuple]:
    """The lines to take, in their order: tables, and the indices of their rows, repeated for lines
    that are drawn several times.

    To draw k of n lines of a language, each is taken k // n times, and a sample without replacement
    of k % n of them once more.
    """
    times, more = np.divmod(mix.lines_drawn, np.maximum(mix.lines, 1))
    once_more = [
        sample_mask(int(total), int(size), stable_hash(f"{seed} {name}", b"draw"))
        for name, total, size in zip(mix.names, mix.lines, more)
    ]
    done = np.zeros_like(mix.lines)
    mix.bytes_drawn = np.zeros_like(mix.bytes)
    for table in read_tables(path):
        sizes, group = table["bytes"].to_numpy(), mix.group[table["source"].to_numpy()]
        group[np.isin(table["hash"].to_numpy(), held_out)] = -1
        copies = np.zeros(len(table), np.int64)
        for language in np.unique(group[group >= 0]):
            rows = np.flatnonzero(group == language)
            start, stop = int(done[language]), int(done[language]) + len(rows)
            copies[rows] = times[language] + once_more[language](start, stop)
            mix.bytes_drawn[language] += copies[rows] @ sizes[rows].astype(np.int64)
            done[language] = stop
        # Repeated lines may exceed BLOCK: cut the table where that many bytes are reached.
        reach = np.cumsum(copies * sizes)
        edges = np.searchsorted(reach, np.arange(BLOCK, reach[-1], BLOCK), side="right")
        for start, stop in pairwise(np.unique([0, *edges, len(table)]).tolist()):
            rows = np.repeat(np.arange(start, stop), copies[start:stop])
            if len(rows):
                yield table, rows


def deal(
    drawn: Iterable[tuple],
    stem: Path,
    sections: int,
    per_section: int,
    rng: np.random.Generator,
    report: Callable[[int], None] = lambda done: None,
) -> list[tuple[Path, int]]:
    """Write each row to a random one of the `per_section` buckets of its section.

    Args: drawn, tables and the indices of the rows to take; stem, the buckets' path without their
        number; report, called with the number of rows done.
    Returns: the files that are not empty, section by section, and their number of rows.
    """
    import pyarrow as pa

    paths = [stem.with_name(f"{stem.name}.{n}") for n in range(sections * per_section)]
    writers, rows, done = {}, np.zeros(len(paths), np.int64), 0
    with ExitStack() as stack:
        for table, taken in drawn:
            section = table["section"].to_numpy()[taken].astype(np.int64) if sections > 1 else 0
            bucket = section * per_section + rng.integers(per_section, size=len(taken))
            order = np.argsort(bucket, kind="stable")
            dealt = table.take(pa.array(taken[order]))
            edges = np.searchsorted(bucket[order], np.arange(len(paths) + 1))
            for number in np.unique(bucket).tolist():
                if number not in writers:
                    writer = arrow_writer(paths[number], table.schema)
                    writers[number] = stack.enter_context(writer)
                part = dealt.slice(edges[number], edges[number + 1] - edges[number])
                writers[number].write_table(part)
            rows += np.diff(edges)
            done += len(taken)
            report(done)
    return [(path, int(count)) for path, count in zip(paths, rows) if count]


def permute(buckets: list[tuple[Path, int]], rng: np.random.Generator) -> Iterator:
    """The rows of each bucket in random order, as tables. Files are removed when they are read."""
    import pyarrow as pa

    for path, rows in buckets:
        size = path.stat().st_size
        if size > 2 * BUCKET and rows > 1:
            whole = ((table, np.arange(len(table))) for table in read_tables(path))
            smaller = deal(whole, path, 1, max(2, min(-(-size // BUCKET), BUCKETS)), rng)
            path.unlink()
            yield from permute(smaller, rng)
        else:
            table = pa.Table.from_batches(list(arrow_batches(path))).combine_chunks()
            yield table.take(pa.array(rng.permutation(rows)))
            path.unlink()
