"""Data preparation: text in; a tokenised corpus, a tokenizer and statistics out (notebook 1)."""

import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from lib.common import files, places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.progress import clock
from lib.data import derived, mixing, prepared, reading
from lib.data.tokenizer import fingerprint, load_tokenizer, train_tokenizer
from lib.data.transfer_sets import first_and_last

BLOCK = 1000  # lines tokenised, and rows written, at a time
SLICE = 50_000  # lines between two looks at the subset and at the clock
REASONS = ("kept", "too_few_tokens", "too_many_unknown")
PER_LINE = ("tokens", "lost", "unknown", "words", "bytes", "pieces")


def prepare(params, folder: str | Path, say: Callable[[str], None] = print) -> dict:
    """Prepare a corpus in `folder` and return its statistics; equal parameters give equal data.

    Args:
        params: lib.data.parameters.DataPrep; with `sample_of`, see derived.derive.
        say: where progress goes, line by line.
    Raises: InputError.
    """
    folder = places.ROOT / folder
    with files.writing(folder):
        if params.sample_of:
            return derived.derive(params, folder, say)
        return _prepare_text(params, folder, say)


def _prepare_text(params, folder: Path, say: Callable[[str], None]) -> dict:
    began = time.perf_counter()
    with prepared.scratch_folder(folder) as scratch:
        text, counts, tallies = reading.gather(params, scratch / "text.arrow", say)
        hashes = [chunk.to_numpy() for chunk in text.data.column("hash").chunks]
        secret = reading.choose_held_out(hashes, params.held_out_lines)
        first, repeats = reading.first_and_repeats(hashes, secret)
        held_out_text = text.select(first)
        mix = mixing.plan_mix(params, scratch / "text.arrow", secret, say)
        if mixing.needs_mixing(params):
            text = mixing.mix_lines(mix, scratch, secret, params, say)
        elif len(first):
            left = np.ones(len(text), bool)
            left[first] = left[repeats] = False
            text = text.select(np.flatnonzero(left))

        tokenizer = _make_tokenizer(params, text, say)
        if params.max_length <= tokenizer.num_special_tokens_to_add():
            problem = f"{params.max_length} has no room beside the special tokens; allowed: more"
            raise InputError(f"max_length: {problem}")
        tokenizer.save_pretrained(folder / "tokenizer")
        budget = params.subset_size if params.subset_unit == "tokens" else None
        unknown = tokenizer.unk_token_id
        tally, dropped = tokenise(text, folder, "data", params, budget, unknown, say)
        dropped["repeats_held_out"] = len(repeats)
        if mix.exponent is not None:
            dropped["not_drawn"] = int(np.maximum(mix.lines - mix.lines_drawn, 0).sum())
        held_out = {"lines": 0, "tokens": 0}
        if len(first):
            held_out_tally, more_dropped = tokenise(
                held_out_text, folder, "held_out", params, None, unknown, say
            )
            dropped.update(more_dropped)
            held_out = {
                "lines": held_out_tally.words.total(),
                "tokens": held_out_tally.tokens,
            }
    for reason in ("blank", "too_few_words", "too_many_words", "duplicate"):
        dropped[reason] = counts[reason]
    statistics = {
        "lines_in": counts["lines_in"],
        "bytes_in": counts["bytes_in"],
        "dropped": dict(sorted(dropped.items())),
        "held_out": held_out,
        **reading.text_statistics(params.sources, tallies),
        **tally.describe(lines_cut=tally.cut, tokens_lost=tally.lost),
        "sections": tally.sections.tolist(),
        **mix.describe(params, tally.by_source),
        "vocabulary": len(tokenizer),
        "tokenizer_fingerprint": fingerprint(tokenizer),
    }
    return prepared.write_statistics(folder, statistics, began, say)


class Texts:
    """The texts of a Dataset, which can be iterated several times without loading them all."""

    def __init__(self, text):
        self.text = text.select_columns("text")

    def __iter__(self) -> Iterator[str]:
        for block in self.text.iter(BLOCK):
            yield from block["text"]


def _make_tokenizer(params, text, say: Callable[[str], None]):
    action, _, kind = params.tokenizer.partition(":")
    if action != "train":
        return load_tokenizer(ModelRef(params.tokenizer, params.tokenizer_revision))
    began = time.perf_counter()
    tokenizer = train_tokenizer(Texts(text), kind, params.vocab_size)
    seconds = clock(time.perf_counter() - began)
    say(f"tokenizer  {kind}, {len(tokenizer):,} tokens  trained in {seconds}")
    return tokenizer


# -------------------------------------------------------------------------------------- tokenising


@dataclass
class TextTally(prepared.Tally):
    """Counts of the lines kept, and of their sequences.

    `by_source`: tokens of each source; `sections`: sequences in each section; `cut`: lines that
    were split or truncated; `lost`: tokens truncated.
    """

    by_source: np.ndarray = None
    sections: np.ndarray = None
    cut: int = 0
    lost: int = 0


def tokenise(
    text,
    folder: Path,
    part: str,
    params,
    budget: int | None,
    unknown: int | None,
    say: Callable[[str], None],
) -> tuple[TextTally, Counter]:
    """Tokenise the lines of a Dataset into `folder/part`, as many whole lines as a budget of tokens
    allows.

    Returns: the counts of what was kept, and the number of lines dropped by reason.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import Dataset, Features, Value

    path = folder / "scratch" / f"{part}.arrow"
    report = reading.progress_reporter("tokenising", say)
    per_line = {name: Value("int32") for name in PER_LINE}
    row_features = Features(
        {**prepared.features(), "reason": Value("int8"), "first": Value("bool"), **per_line}
    )
    settings = {
        "file": str(folder / "tokenizer" / "tokenizer.json"),
        "unknown": unknown,
        "max_length": params.max_length,
        "min_tokens": params.min_tokens,
        "max_unknown_share": params.max_unknown_share,
        "split": params.long_lines == "split",
    }
    tally, dropped = TextTally(), Counter()
    tally.by_source = np.zeros(len(params.sources), np.int64)
    tally.sections = np.zeros(params.sections, np.int64)
    with prepared.arrow_writer(path, schema := prepared.features().arrow_schema) as writer:
        for start in range(0, len(text), SLICE):
            stop = min(start + SLICE, len(text))
            lines = text.select(range(start, stop))
            workers = min(params.processes, -(-(stop - start) // BLOCK))
            with _one_thread_each(workers):
                rows = lines.with_format("arrow").map(
                    cut_lines,
                    batched=True,
                    batch_size=BLOCK,
                    remove_columns=text.column_names,
                    fn_kwargs=settings,
                    num_proc=workers if workers > 1 else None,
                    new_fingerprint=f"{part}{start}",
                    features=row_features,
                )
            table = rows.data.table
            column = {
                name: table.column(name).to_numpy() for name in ("reason", "first", *PER_LINE)
            }
            keep, first = column["reason"] == 0, column["first"]
            within = np.ones_like(keep)
            if budget is not None:  # the first row of a line has all its tokens
                within = tally.tokens + np.cumsum(column["tokens"]) <= budget
            for code in (1, 2):
                dropped[REASONS[code]] += int((within & (column["reason"] == code)).sum())
            keep &= within
            sequences = table.select(schema.names).filter(pa.array(keep))
            writer.write_table(sequences.cast(schema), max_chunksize=BLOCK)
            lengths = np.asarray(pc.list_value_length(sequences.column("input_ids")))
            _count(tally, lengths, {name: column[name][keep & first] for name in PER_LINE})
            line = np.cumsum(first)[keep] - 1  # of each sequence
            lines = lines.with_format("numpy")
            source, section = lines["source"][:][line], lines["section"][:][line]
            tokens = np.bincount(source, column["tokens"][keep], len(tally.by_source))
            tally.by_source += tokens.astype(np.int64)
            tally.sections += np.bincount(section, minlength=len(tally.sections))
            is_last = stop == len(text) or not within.all()
            share = max(stop / len(text), tally.tokens / budget if budget else 0.0)
            report(stop, 1.0 if is_last else share)
            for cache in rows.cache_files:
                Path(cache["filename"]).unlink(missing_ok=True)
            if is_last:
                dropped["beyond_subset"] = int((first & ~within).sum()) + len(text) - stop
                break
    if not tally.tokens:
        problem = f"no line of {len(text)} is left after tokenising ({dict(dropped)})"
        raise InputError(f"{part}: {problem}")
    Dataset.from_file(str(path)).save_to_disk(folder / part)
    return tally, dropped


def _count(tally: TextTally, lengths: np.ndarray, lines: dict[str, np.ndarray]) -> None:
    """Count sequences of these lengths, and lines, of which the columns PER_LINE are given."""
    prepared.count_values(tally.lengths, lengths)
    prepared.count_values(tally.words, lines["words"])
    tally.tokens += int(lines["tokens"].sum())
    tally.bytes += int(lines["bytes"].sum())
    tally.unknown += int(lines["unknown"].sum())
    tally.lost += int(lines["lost"].sum())
    tally.cut += int(((lines["pieces"] > 1) | (lines["lost"] > 0)).sum())


@contextmanager
def _one_thread_each(processes: int):
    """Tokenise on one thread in each of several processes: threads do not survive a fork."""
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


# Kept between calls, as a process tokenises many batches; the time the file was written tells a new
# tokenizer at the same path from an old one.
@lru_cache(maxsize=2)
def _backend(file: str, written: int):
    """The tokenizer in a file, and the special tokens that it puts before and after a text."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(file)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True  # "[MASK]" or "<s>" in a text from the web is text
    example = backend.encode("a")
    inside = np.flatnonzero(np.array(example.special_tokens_mask) == 0)
    return backend, example.ids[: inside[0]], example.ids[inside[-1] + 1 :]


def cut_lines(batch, *, file, unknown, max_length, min_tokens, max_unknown_share, split):
    """The sequences of a batch of lines, one a row; both are Arrow tables.

    A dropped line is one row without tokens and with its `reason`, an index in REASONS. What
    describes a line (PER_LINE) is in its `first` row; its other rows have zeros there.
    """
    import pyarrow as pa

    backend, before, after = _backend(file, os.stat(file).st_mtime_ns)
    specials = len(before) + len(after)
    room = max_length - specials
    encodings = backend.encode_batch(batch.column("text").to_pylist(), add_special_tokens=False)
    ids_of_lines = [encoding.ids for encoding in encodings]
    full = np.array([len(ids) for ids in ids_of_lines], np.int64)
    ids = np.array(list(chain.from_iterable(ids_of_lines)), np.int32)
    word = np.array(list(chain.from_iterable(e.word_ids for e in encodings)), np.int64)
    begin = np.cumsum(full) - full
    starts = np.diff(word, prepend=-1) != 0
    starts[begin[full > 0]] = True
    is_unknown = ids == (-1 if unknown is None else unknown)
    unknown_before = np.concatenate([[0], np.cumsum(is_unknown)])

    def unknown_tokens(length):
        return unknown_before[begin + length] - unknown_before[begin]

    reason = np.where(unknown_tokens(full) > max_unknown_share * full, 2, 0)
    reason[(full == 0) | (full + specials < min_tokens)] = 1
    kept = np.where(reason == 0, full if split else np.minimum(full, room), 0)
    end = begin + kept

    # The pieces of lines are [left, right) in `ids`, a row each; most lines are one piece.
    edges = {
        line: cut_points(starts[begin[line] : end[line]].tolist(), room, min_tokens - specials)
        for line in np.flatnonzero(kept > room).tolist()
    }
    pieces = np.ones(len(full), np.int64)
    pieces[list(edges)] = [len(points) - 1 for points in edges.values()]
    row = np.cumsum(pieces) - pieces  # the first of each line
    left, right = np.repeat(begin, pieces), np.repeat(end, pieces)
    for line, points in edges.items():
        rows = slice(row[line], row[line] + pieces[line])
        left[rows] = begin[line] + np.array(points[:-1])
        right[rows] = begin[line] + np.array(points[1:])

    lengths = np.where(right > left, right - left + specials, 0)
    first, last = first_and_last(lengths)
    first, last = first[lengths > 0], last[lengths > 0]
    is_kept = np.arange(len(ids)) < np.repeat(end, full)
    inner = np.ones(int(lengths.sum()), bool)
    row_ids, row_starts = np.empty(len(inner), np.int32), np.zeros(len(inner), bool)
    for offset, token in enumerate(before):
        row_ids[first + offset], inner[first + offset] = token, False
    for offset, token in enumerate(reversed(after)):
        row_ids[last - offset], inner[last - offset] = token, False
    row_ids[inner], row_starts[inner] = ids[is_kept], starts[is_kept]
    row_starts[first + len(before)] = True

    def in_first_row(values):
        column = np.zeros(len(lengths), np.int32)
        column[row] = np.where(reason == 0, values, 0)
        return column

    per_line = {
        "tokens": kept,
        "lost": full - kept,
        "unknown": unknown_tokens(kept),
        "words": batch.column("words").to_numpy(),
        "bytes": batch.column("bytes").to_numpy(),
        "pieces": pieces,
    }
    return pa.table(
        {
            **prepared.sequence_columns(lengths, row_ids, row_starts),
            "reason": np.repeat(reason, pieces).astype(np.int8),
            "first": np.isin(np.arange(len(lengths)), row),
            **{name: in_first_row(values) for name, values in per_line.items()},
        }
    )


def cut_points(starts: list[bool], room: int, least: int) -> list[int]:
    """Where to cut a line of len(starts) tokens into pieces of at most `room`: [0, …, len(starts)].

    Cuts are before a token that starts a word, unless one word fills a piece. If the last piece
    would be shorter than `least`, the last two are of about the same length.
    """
    edges, end = [0], len(starts)
    while end - edges[-1] > room:
        cut = edges[-1] + room
        if end - cut < least:
            cut = edges[-1] + (end - edges[-1] + 1) // 2
        edges.append(next((i for i in range(cut, edges[-1], -1) if starts[i]), cut))
    return [*edges, end]
