"""Sequences of token ids: cutting lines of text into them, and reading a prepared corpus of them
back from disk."""

import json
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Iterator

import numpy as np

from lib.common import places
from lib.common.errors import InputError
from lib.data import tokenizer


@contextmanager
def one_thread_each(processes: int):
    """Tokenise on one thread per process: threads do not survive the fork into several."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    if processes > 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if processes > 1:
            os.environ.pop("TOKENIZERS_PARALLELISM")
            if before is not None:
                os.environ["TOKENIZERS_PARALLELISM"] = before


@lru_cache(maxsize=2)
def backend(file: str, written: int):
    """The tokenizer of a file, and the special tokens it puts before and after a text."""
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(file)
    words.no_truncation()
    words.no_padding()
    words.encode_special_tokens = True  # "[MASK]" or "<s>" in a text from the web is text
    example = words.encode("a")
    inside = np.flatnonzero(np.array(example.special_tokens_mask) == 0)
    return words, example.ids[: inside[0]], example.ids[inside[-1] + 1 :]


def cut_lines(batch, *, file, unknown, max_length, min_tokens, max_unknown_share, split):
    """Rows of sequences for a batch of lines; a line that is dropped is one row with the reason and
    no tokens.

    What is said about a line (`tokens`, `unknown`, …) stands in its `first` row, zeros in the
    others.
    """
    import pyarrow as pa

    words, before, after = backend(file, os.stat(file).st_mtime_ns)
    specials, room = len(before) + len(after), max_length - len(before) - len(after)
    texts = batch.column("text").to_pylist()
    ids, starts, lengths, about = [], [], [], []
    for encoding, n_words, n_bytes in zip(
        words.encode_batch(texts, add_special_tokens=False),
        batch.column("words").to_pylist(),
        batch.column("bytes").to_pylist(),
    ):
        line, word = encoding.ids, encoding.word_ids
        full, strange = len(line), line.count(unknown)
        reason = 2 if strange > max_unknown_share * full else 0
        reason = 1 if full == 0 or full + specials < min_tokens else reason
        start = [True, *(a != b for a, b in zip(word, word[1:]))]
        edges = [0, min(full, room)]
        if split and full > room:
            edges = cuts(start, room, min_tokens - specials)
        if reason:
            lengths.append(0)
            about.append((reason, True, 0, 0, 0, 0, 0, 0))
            continue
        strange = strange if edges[-1] == full else line[: edges[-1]].count(unknown)
        about.append(
            (0, True, edges[-1], full - edges[-1], strange, n_words, n_bytes, len(edges) - 1)
        )
        about.extend([(0, False, 0, 0, 0, 0, 0, 0)] * (len(edges) - 2))
        for left, right in zip(edges, edges[1:]):
            ids += before + line[left:right] + after
            starts += (
                [False] * len(before) + [True] + start[left + 1 : right] + [False] * len(after)
            )
            lengths.append(right - left + specials)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    names = ("reason", "first", "tokens", "lost", "unknown", "words", "bytes", "pieces")
    types = (pa.int8(), pa.bool_(), *[pa.int32()] * 6)
    return pa.table(
        {
            "input_ids": pa.ListArray.from_arrays(offsets, pa.array(ids, pa.int32())),
            "word_start": pa.ListArray.from_arrays(offsets, pa.array(starts, pa.bool_())),
            **{
                name: pa.array(column, kind)
                for name, column, kind in zip(names, zip(*about), types)
            },
        }
    )


def cuts(start: list[bool], room: int, least: int) -> list[int]:
    """Where to cut a line of len(start) tokens into pieces of at most `room`: [0, …, len(start)].

    Cuts fall before a token that starts a word, unless one word fills a piece. A last piece that
    would be shorter than `least` shares evenly with the one before.
    """
    edges, end = [0], len(start)
    while end - edges[-1] > room:
        cut = edges[-1] + room
        if end - cut < least:
            cut = edges[-1] + (end - edges[-1] + 1) // 2
        whole = next((place for place in range(cut, edges[-1], -1) if start[place]), cut)
        edges.append(whole)
    return [*edges, end]


@dataclass
class Kept:
    """What is known of the lines and sequences that were kept; it does not grow with them.

    `lengths[n]`: sequences of n tokens, special tokens included; `words[n]`: lines of n words;
    `of_source`: tokens of each source; `sections`: sequences in each section; the others are sums
    over lines (tokens without special ones).
    """

    lengths: np.ndarray
    of_source: np.ndarray
    sections: np.ndarray
    words: Counter = field(default_factory=Counter)
    tokens: int = 0
    bytes: int = 0
    unknown: int = 0
    lost: int = 0
    cut: int = 0

    @property
    def lines(self) -> int:
        return self.words.total()

    def add(self, lengths: np.ndarray, of: dict[str, np.ndarray]) -> None:
        """Count more: lengths of sequences; `of` lines, their tokens, lost and unknown tokens,
        words, bytes, pieces."""
        self.lengths += np.bincount(lengths, minlength=len(self.lengths))
        self.words.update(
            dict(zip(*(part.tolist() for part in np.unique(of["words"], return_counts=True))))
        )
        for name in ("tokens", "bytes", "unknown", "lost"):
            setattr(self, name, getattr(self, name) + int(of[name].sum()))
        self.cut += int(((of["pieces"] > 1) | (of["lost"] > 0)).sum())


def describe(kept: Kept) -> dict:
    """The statistics of what was kept; see `lib.data.prepare.tokenise`. Bytes count one line end
    per line."""
    values, counts = (np.array(part, np.int64) for part in zip(*sorted(kept.words.items())))
    words = int(values @ counts)
    return {
        "lines": kept.lines,
        "bytes": kept.bytes,
        "words": words,
        "tokens": kept.tokens,
        "tokens_with_specials": int(kept.lengths @ np.arange(len(kept.lengths))),
        "sequences": int(kept.lengths.sum()),
        "lines_cut": kept.cut,
        "tokens_lost": kept.lost,
        "unknown_share": kept.unknown / kept.tokens,
        "tokens_per_word": kept.tokens / words,
        "words_per_line": centre(values, counts),
        **describe_lengths(kept.lengths),
    }


def describe_lengths(histogram: np.ndarray) -> dict:
    """What the statistics say of lengths, from `histogram[n]`, the number of sequences of n
    tokens."""
    lengths, top = np.arange(len(histogram)), int(np.flatnonzero(histogram)[-1])
    edges = list(range(0, top + 1, max(1, -(-top // 32)))) + [top + 1]
    return {
        "tokens_per_sequence": {**centre(lengths, histogram), "max": top},
        "length_histogram": {
            "edges": edges,
            "counts": np.histogram(lengths, edges, weights=histogram)[0].astype(int).tolist(),
        },
    }


def centre(values: np.ndarray, counts: np.ndarray) -> dict:
    """Mean and median of numbers that are given as rising `values` and how often each occurs; 0
    where there are none."""
    reach, total = np.cumsum(counts), int(counts.sum())
    if not total:
        return {"mean": 0.0, "median": 0.0}
    middle = values[np.searchsorted(reach, [(total - 1) // 2, total // 2], side="right")]
    return {"mean": float(values @ counts / total), "median": float(middle.mean())}


class Corpus:
    """A prepared corpus, or one of its sections, read from disk as needed: rows come from
    memory-mapped Arrow files.

    `lengths`: the tokens of every sequence with special tokens, numpy int32. `rows(indices)`: two
    lists, the ids (numpy int32) and where words start (numpy bool). Indices count from the first
    sequence of the section.
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
        self.lengths = np.concatenate([np.diff(offsets) for offsets, _ in self.ids]).astype(
            np.int32
        )
        self.first = np.cumsum([0] + [len(offsets) - 1 for offsets, _ in self.ids])
        self.begin = section.start if section else 0
        if section is not None:
            self.lengths = self.lengths[section.start : section.stop]

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, indices) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the sequences at `indices`, in that order."""
        indices = np.asarray(indices, dtype=np.int64) + self.begin
        chunks = np.searchsorted(self.first, indices, side="right") - 1
        ids, starts = [], []
        for chunk, row in zip(chunks.tolist(), (indices - self.first[chunks]).tolist()):
            offsets, values = self.ids[chunk]
            ids.append(values[offsets[row] : offsets[row + 1]].copy())
            offsets, bits = self.starts[chunk]
            starts.append(
                bits.slice(offsets[row], offsets[row + 1] - offsets[row]).to_numpy(
                    zero_copy_only=False
                )
            )
        return ids, starts

    def tokenizer(self):
        """The tokenizer the corpus was made with."""
        return tokenizer.load_tokenizer(str(self.folder / "tokenizer"))


def features():
    """The columns of a stored corpus."""
    from datasets import Features, List, Value

    return Features({"input_ids": List(Value("int32")), "word_start": List(Value("bool"))})


def record_batches(folder: str | Path, part: str = "data") -> Iterator:
    """The rows of a prepared folder as Arrow record batches, in order, from memory-mapped files:
    nothing is kept."""
    import pyarrow as pa

    place = places.ROOT / folder / part
    for file in json.loads((place / "state.json").read_text(encoding="utf-8"))["_data_files"]:
        with (
            pa.memory_map(str(place / file["filename"])) as mapped,
            pa.ipc.open_stream(mapped) as reader,
        ):
            yield from reader


def open_corpus(folder: str | Path, part: str = "data", section: int = 0) -> Corpus:
    """Open `data` or `held_out` of a prepared folder, or of `data` one of the sections it was cut
    into, counted from 1.

    Raises InputError if it is not there, or not whole.
    """
    folder = places.ROOT / folder
    if not (folder / part / "state.json").is_file():
        raise InputError(f"{folder / part}: no prepared corpus; run notebook 1_data_prep first")
    try:
        return Corpus(folder, part, section_of(folder, section) if section else None)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder / part}: the corpus is not whole ({reason}); run notebook 1_data_prep again"
        ) from error


def section_of(folder: Path, section: int) -> range:
    """Which of the stored sequences are in a section, from 1: `sections` of statistics.json says
    how many each has."""
    sizes = json.loads((folder / "statistics.json").read_text(encoding="utf-8")).get("sections", [])
    if not 1 <= section <= len(sizes):
        allowed = f"0 (all of it) … {len(sizes)}" if sizes else "0, all of it"
        raise InputError(
            f"section = {section}: the corpus {folder} has {len(sizes)} sections; allowed is "
            f"{allowed}"
        )
    first = sum(sizes[: section - 1])
    return range(first, first + sizes[section - 1])
