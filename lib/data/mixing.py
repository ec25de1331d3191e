"""Lines of several languages drawn, and put in random order, on disk: memory does not depend on how
many there are.

004, section 3.1: lines are sampled by language, "rearranged in random order", and every teacher
assistant has a "distinct section of the corpus". The shuffle is that of Rao (1961) and Sandelius
(1962): every line goes into a bucket picked at random; a bucket that fits into memory is permuted
there, and a larger one is dealt out into buckets again. Every order is equally likely.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Callable, Iterable, Iterator

import numpy as np

from lib.data import languages
from lib.data.reading import reporter
from lib.data.sources import stable_hash
from lib.data.transfer_sets import chosen

BLOCK = 1 << 22  # bytes of text looked at at a time
BUCKET = 1 << 23  # bytes of a bucket that is permuted in memory
BUCKETS = 128  # written at a time
ROWS = 10_000  # of a record batch that is written: an opened file holds 3 KB for each


@dataclass
class Mix:
    """What there is of every language, without what is held out, and what is drawn of it.

    `group`: the place of each source's language among `names` ([""] where sources do not say).
    [languages]: `lines`, `bytes`, `shares` (P' of 004, eq. 1), `wanted` (lines to draw),
    `bytes_drawn`. `exponent`: S, None without sampling.
    """

    names: list[str]
    group: np.ndarray
    lines: np.ndarray
    bytes: np.ndarray
    exponent: float | None = None
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    wanted: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    bytes_drawn: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def sampling(params) -> bool:
    """Whether languages are sampled."""
    return params.sampling_exponent is not None or bool(params.sampling_target)


def wanted(params) -> bool:
    """Whether lines are put in random order: sampling and several sections need that too."""
    return params.shuffle or params.sections > 1 or sampling(params)


def plan(params, path: Path, held: np.ndarray, say: Callable[[str], None]) -> Mix:
    """What there is in a file of gathered lines (lib.data.reading) but for those with `held`
    hashes, and what to draw. Says which exponent samples the languages.

    Raises: InputError, see languages.quotas.
    """
    names, group = languages.grouped(params.sources)
    lines, sizes = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for table in tables(path):
        keep = ~np.isin(table["hash"].to_numpy(), held)
        here = group[table["source"].to_numpy()[keep]]
        lines += np.bincount(here, minlength=len(names))
        sizes += np.bincount(here, table["bytes"].to_numpy()[keep], len(names)).astype(np.int64)
    exponent, shares, number = languages.quotas(params, names, lines, sizes)
    if exponent is not None:
        asked = f" ({params.sampling_target})" if params.sampling_target else ""
        above = "; above 1: large languages get more than their share" if exponent > 1 else ""
        say(f"sampling  exponent {exponent:.3f}{asked}{above}")
    return Mix(names, group, lines, sizes, exponent, shares, number, sizes.copy())


def describe(mix: Mix, params, tokens: np.ndarray) -> dict:
    """The statistics `languages`, if sources name theirs (see languages.figures), and `sampling`,
    if there was any: the exponent S, the target it was solved from, and the unit whose shares are
    P'. Args: tokens, of each source."""
    found = {}
    if mix.names != [""]:
        found["languages"] = languages.figures(
            mix.names,
            bytes=mix.bytes,
            lines=mix.lines,
            target=mix.shares,
            lines_drawn=mix.wanted,
            bytes_drawn=mix.bytes_drawn,
            tokens=np.bincount(mix.group, tokens, len(mix.names)).astype(np.int64),
        )
    if mix.exponent is not None:
        found["sampling"] = {
            "exponent": mix.exponent,
            "target": params.sampling_target,
            "unit": params.sampling_unit,
        }
    return found


def mixed(mix: Mix, folder: Path, held: np.ndarray, params, say: Callable[[str], None]):
    """The lines of `folder`/text.arrow that `mix` asks for, in random order within each of
    `params.sections`, as a Dataset.

    Counts `mix.bytes_drawn` on the way. The same lines, parameters and seed give the same file.
    """
    import pyarrow as pa
    from datasets import Dataset

    rng = np.random.default_rng([params.seed, stable_hash("shuffle")])
    expected = float(mix.bytes @ (mix.wanted / np.maximum(mix.lines, 1)))
    fan = max(1, min(-(-int(expected) // (BUCKET * params.sections)), BUCKETS // params.sections))
    report, number = reporter("shuffling", say), int(mix.wanted.sum())
    drawn = draw(folder / "text.arrow", mix, held, params.seed)
    # Drawing and reading the buckets again are about half of the work each.
    buckets = deal(
        drawn,
        folder / "bucket",
        params.sections,
        fan,
        rng,
        lambda done: report(done, done / number / 2),
    )
    path, done = folder / "mixed.arrow", 0
    with pa.OSFile(str(path), "wb") as file:
        writer = None
        for table in permuted(buckets, rng):
            writer = writer or pa.ipc.new_stream(file, table.schema)
            writer.write_table(table, max_chunksize=ROWS)
            done += len(table)
            report(done, min(0.5 + done / number / 2, 0.999))
        writer.close()
    report(done, 1.0)
    return Dataset.from_file(str(path))


# ------------------------------------------------------------------------------------------ drawing


def tables(path: Path) -> Iterator:
    """An Arrow file as tables of one chunk and about BLOCK bytes, from a memory-mapped file:
    nothing is kept."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        waiting, size = [], 0
        for batch in reader:
            waiting.append(batch)
            size += batch.nbytes
            if size >= BLOCK:
                yield pa.Table.from_batches(waiting).combine_chunks()
                waiting, size = [], 0
        if waiting:
            yield pa.Table.from_batches(waiting).combine_chunks()


def draw(path: Path, mix: Mix, held: np.ndarray, seed: int) -> Iterator[tuple]:
    """The lines to take, in their order: tables, and the rows of each, a row that is to be repeated
    several times.

    Of n lines of a language of which k are wanted, each is taken k // n times, and k % n of them, a
    sample without replacement (transfer_sets.chosen), once more.
    """
    often, more = np.divmod(mix.wanted, np.maximum(mix.lines, 1))
    once_more = [
        chosen(int(total), int(size), stable_hash(f"{seed} {name}", b"draw"))
        for name, total, size in zip(mix.names, mix.lines, more)
    ]
    seen = np.zeros_like(mix.lines)
    mix.bytes_drawn = np.zeros_like(mix.bytes)
    for table in tables(path):
        sizes, here = table["bytes"].to_numpy(), mix.group[table["source"].to_numpy()]
        here[np.isin(table["hash"].to_numpy(), held)] = -1
        copies = np.zeros(len(table), np.int64)
        for language in np.unique(here[here >= 0]):
            rows = np.flatnonzero(here == language)
            start, stop = int(seen[language]), int(seen[language]) + len(rows)
            copies[rows] = often[language] + once_more[language](start, stop)
            mix.bytes_drawn[language] += copies[rows] @ sizes[rows].astype(np.int64)
            seen[language] = stop
        reach = np.cumsum(copies * sizes)
        edges = np.searchsorted(reach, np.arange(BLOCK, reach[-1], BLOCK), side="right")
        for start, stop in pairwise(np.unique([0, *edges, len(table)]).tolist()):
            rows = np.repeat(np.arange(start, stop), copies[start:stop])
            if len(rows):
                yield table, rows


# ---------------------------------------------------------------------------------------- shuffling


def deal(
    drawn: Iterable[tuple],
    stem: Path,
    sections: int,
    fan: int,
    rng: np.random.Generator,
    report: Callable[[int], None] = lambda done: None,
) -> list[tuple[Path, int]]:
    """Write every row into one of `fan` files of its section, at random; the files, section by
    section, and their rows.

    Args: drawn, tables and the rows to take of each; stem, the files' path without a number;
    report, is told the rows done.
    """
    import pyarrow as pa

    paths = [stem.with_name(f"{stem.name}.{number}") for number in range(sections * fan)]
    writers, rows, done = {}, np.zeros(len(paths), np.int64), 0
    try:
        for table, taken in drawn:
            section = table["section"].to_numpy()[taken].astype(np.int64) if sections > 1 else 0
            bucket = section * fan + rng.integers(fan, size=len(taken))
            order = np.argsort(bucket, kind="stable")
            dealt = table.take(pa.array(taken[order]))
            edges = np.searchsorted(bucket[order], np.arange(len(paths) + 1))
            for number in np.unique(bucket).tolist():
                if number not in writers:
                    file = pa.OSFile(str(paths[number]), "wb")
                    writers[number] = pa.ipc.new_stream(file, table.schema), file
                writers[number][0].write_table(
                    dealt.slice(edges[number], edges[number + 1] - edges[number])
                )
            rows += np.diff(edges)
            done += len(taken)
            report(done)
    finally:
        for writer, file in writers.values():
            writer.close()
            file.close()
    return [(path, int(count)) for path, count in zip(paths, rows) if count]


def permuted(buckets: list[tuple[Path, int]], rng: np.random.Generator) -> Iterator:
    """The rows of each bucket in random order, as tables; a bucket that is too large is dealt out
    first. Files are removed."""
    import pyarrow as pa

    for path, rows in buckets:
        size = path.stat().st_size
        if size > 2 * BUCKET and rows > 1:
            whole = ((table, np.arange(len(table))) for table in tables(path))
            smaller = deal(whole, path, 1, max(2, min(-(-size // BUCKET), BUCKETS)), rng)
            path.unlink()
            yield from permuted(smaller, rng)
            continue
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
            yield reader.read_all().combine_chunks().take(pa.array(rng.permutation(rows)))
        path.unlink()
