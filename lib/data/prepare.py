"""Data preparation: text in; a tokenised corpus, a tokenizer and statistics out (notebook 1)."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from multiprocessing import Pool
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import numpy as np

from lib.common import files, places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.progress import clock
from lib.data import derived, mixing, prepared, reading
from lib.data.parameters import DataPrep
from lib.data.sources import source_name
from lib.data.tokenizer import fingerprint, load_tokenizer, train_tokenizer
from lib.data.transfer_sets import first_and_last
from lib.data.words import words_of

BLOCK = 1000  # lines tokenised, and rows written, at a time
BLOCKS = 50  # given to several processes at a time
LOOK = 1000  # lines of a source, evenly spaced, that show how its words are cut
MOST_TOKENS = 4  # a word, on average; with more, a mask of whole words hides most of a line


def prepare(params: DataPrep, folder: str | Path, say: Callable[[str], None] = print) -> dict:
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


def _prepare_text(params: DataPrep, folder: Path, say: Callable[[str], None]) -> dict:
    began = time.perf_counter()
    with prepared.scratch_folder(folder) as scratch:
        text, counts, tallies = reading.gather(params, scratch / "text.arrow", say)
        hashes = [chunk.to_numpy() for chunk in text.data.column("hash").chunks]
        held_out_hashes = reading.choose_held_out(hashes, params.held_out_lines)
        first, repeats = reading.first_and_repeats(hashes, held_out_hashes)
        held_out_text = text.select(first)
        mix = mixing.plan_mix(params, scratch / "text.arrow", held_out_hashes, say)
        if mixing.needs_mixing(params):
            text = mixing.mix_lines(mix, scratch, held_out_hashes, params, say)
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
        by_token = check_words(text, folder, params, unknown, say)
        tally, dropped = tokenise(text, folder, "data", params, budget, by_token, unknown, say)
        dropped["repeats_held_out"] = len(repeats)
        if mix.exponent is not None:
            dropped["not_drawn"] = int(np.maximum(mix.lines - mix.lines_drawn, 0).sum())
        held_out = {"lines": 0, "tokens": 0}
        if len(first):
            held_out_tally, more_dropped = tokenise(
                held_out_text, folder, "held_out", params, None, by_token, unknown, say
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
        "masked_by_token": [source_name(params.sources[index]) for index in by_token],
    }
    return prepared.write_statistics(folder, statistics, began, say)


class Texts:
    """The texts of a Dataset, which can be iterated several times without loading them all."""

    def __init__(self, text):
        self.text = text.select_columns("text")

    def __iter__(self) -> Iterator[str]:
        for block in self.text.iter(BLOCK):
            yield from block["text"]


def _make_tokenizer(params: DataPrep, text, say: Callable[[str], None]):
    action, _, kind = params.tokenizer.partition(":")
    if action != "train":
        return load_tokenizer(ModelRef(params.tokenizer, params.tokenizer_revision))
    began = time.perf_counter()
    tokenizer = train_tokenizer(Texts(text), kind, params.vocab_size)
    seconds = clock(time.perf_counter() - began)
    say(f"tokenizer  {kind}, {len(tokenizer):,} tokens  trained in {seconds}")
    return tokenizer


def check_words(
    text, folder: Path, params: DataPrep, unknown: int | None, say: Callable[[str], None]
) -> list[int]:
    """Indices of the sources to mask token by token: those whose words are not marked, or have more
    than MOST_TOKENS tokens on average. Prints one line that names them.

    Scripts without spaces between words are always masked token by token (lib.data.words).
    Raises: InputError if more of a source than `max_unknown_share` is unknown to the tokenizer.
    """
    file = str(folder / "tokenizer" / "tokenizer.json")
    backend, words, _, _ = _backend(file, os.stat(file).st_mtime_ns)
    source_of_line = text.with_format("numpy")["source"][:]
    by_token, reasons = [], []
    for index, source in enumerate(params.sources):
        lines = np.flatnonzero(source_of_line == index)
        lines = lines[:: max(1, len(lines) // LOOK)]
        encodings = backend.encode_batch(text.select(lines)["text"][:], add_special_tokens=False)
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        starts = sum(int(words.starts(row).sum()) for row in ids)
        ids = np.concatenate([np.empty(0, np.int32), *ids])
        if not len(ids):
            continue
        name = source_name(source)
        if (share := float((ids == unknown).mean())) > params.max_unknown_share:
            raise InputError(
                f"sources: {share:.1%} of the tokens of {name}, by {len(lines):,} of its lines, "
                f"are unknown to the tokenizer; allowed: {params.max_unknown_share:.1%} "
                "(max_unknown_share). To WordPiece, every word of more than 100 characters is "
                "unknown; train:unigram suits text without spaces"
            )
        per_word, unspaced = len(ids) / starts, float(words.unspaced[ids].mean())
        reason = ""
        if not words.marked:
            reason = "the tokenizer marks no words"
        elif per_word > MOST_TOKENS:
            reason = f"words average {per_word:.1f} tokens"
        if reason:
            by_token.append(index)
        elif unspaced > 0.05:  # a few are in any text
            reason = f"no spaces between words in {unspaced:.0%} of it"
        if reason:
            reasons.append(f"{name} ({reason})")
    if reasons:
        say(f"masking  token by token: {', '.join(reasons)}")
    return by_token


# -------------------------------------------------------------------------------------- tokenising


@dataclass
class TextTally(prepared.Tally):
    """Counts of the lines kept, and of their sequences.

    `by_source`: tokens of each source; `sections`: sequences in each section; `cut`: lines that
    were split or truncated; `lost`: tokens truncated.
    """

    by_source: np.ndarray | int = 0
    sections: np.ndarray | int = 0
    cut: int = 0
    lost: int = 0


def tokenise(
    text,
    folder: Path,
    part: str,
    params: DataPrep,
    budget: int | None,
    by_token: list[int],
    unknown: int | None,
    say: Callable[[str], None],
) -> tuple[TextTally, Counter]:
    """Tokenise the lines of a Dataset into `folder/part`, as many whole lines as a budget of tokens
    allows. In the sources `by_token`, each token counts as a word.

    Returns: the counts of what was kept, and the number of lines dropped by reason.
    """
    import pyarrow as pa
    from datasets import Dataset

    path = folder / "scratch" / f"{part}.arrow"
    report = reading.progress_reporter("tokenising", say)
    cut_texts = partial(
        cut_lines,
        file=str(folder / "tokenizer" / "tokenizer.json"),
        unknown=unknown,
        max_length=params.max_length,
        min_tokens=params.min_tokens,
        split=params.long_lines == "split",
    )
    tally, dropped, done = TextTally(), Counter(), 0
    with prepared.arrow_writer(path, schema := prepared.features().arrow_schema) as writer:
        for block, cut in _cut_blocks(text, cut_texts, by_token, params.processes):
            within = np.ones(len(block), bool)
            if budget is not None:  # a prefix of the lines
                within = tally.tokens + np.cumsum(cut.tokens) <= budget
            dropped["too_few_tokens"] += int((within & cut.too_few).sum())
            kept = within & ~cut.too_few
            kept_rows = kept[cut.line]
            columns = prepared.sequence_columns(cut.lengths, cut.ids, cut.starts)
            rows = pa.table(columns).filter(pa.array(kept_rows))
            writer.write_table(rows.cast(schema), max_chunksize=BLOCK)

            words, sizes, source, section = (
                block[name].to_numpy() for name in ("words", "bytes", "source", "section")
            )
            prepared.count_values(tally.lengths, cut.lengths[kept_rows])
            prepared.count_values(tally.words, words[kept])
            tokens, lost = cut.tokens[kept], cut.lost[kept]
            tally.tokens += int(tokens.sum())
            tally.bytes += int(sizes[kept].sum())
            tally.unknown += int(cut.unknown[kept].sum())
            tally.lost += int(lost.sum())
            pieces = np.bincount(cut.line, minlength=len(block))[kept]
            tally.cut += int(((pieces > 1) | (lost > 0)).sum())
            of_source = np.bincount(source[kept], tokens, len(params.sources))
            tally.by_source += of_source.astype(np.int64)
            tally.sections += np.bincount(section[cut.line[kept_rows]], minlength=params.sections)
            done += int(within.sum())
            if not within.all():
                break
            share = max(done / len(text), tally.tokens / budget if budget else 0.0)
            report(done, min(share, 0.999))
    report(done, 1.0)
    dropped["beyond_subset"] = len(text) - done
    if not tally.tokens:
        problem = f"no line of {len(text)} is left after tokenising ({dict(dropped)})"
        raise InputError(f"{part}: {problem}")
    Dataset.from_file(str(path)).save_to_disk(folder / part)
    return tally, dropped


def _cut_blocks(text, cut: Callable, by_token: list[int], processes: int) -> Iterator[tuple]:
    """The lines of a Dataset in blocks: Arrow tables, and what `cut` makes of their texts."""

    def arguments(block):
        return block["text"].to_pylist(), np.isin(block["source"].to_numpy(), by_token)

    blocks = text.with_format("arrow").iter(BLOCK)
    processes = min(processes, -(-len(text) // BLOCK))
    if processes <= 1:
        for block in blocks:
            yield block, cut(*arguments(block))
        return
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads do not survive a fork
    try:
        with Pool(processes) as pool:
            # Some at a time: a lazy map would put the whole text into its queue.
            while some := list(islice(blocks, BLOCKS)):
                yield from zip(some, pool.starmap(cut, map(arguments, some)))
    finally:
        os.environ.pop("TOKENIZERS_PARALLELISM")
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before


# Kept between calls, as a process tokenises many blocks; the time the file was written tells a new
# tokenizer at the same path from an old one.
@lru_cache(maxsize=2)
def _backend(file: str, written: int):
    """The tokenizer in a file, its words, and the special tokens that it puts before and after a
    text."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(file)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True  # "[MASK]" or "<s>" in a text from the web is text
    example = backend.encode("a")
    inside = np.flatnonzero(np.array(example.special_tokens_mask) == 0)
    return backend, words_of(backend), example.ids[: inside[0]], example.ids[inside[-1] + 1 :]


class CutLines(NamedTuple):
    """Lines cut into sequences.

    Flat, [tokens with special ones]: `ids` and `starts`, where words start. [sequences]: `lengths`,
    and `line`, the index of their line. [lines]: `too_few` tokens to keep; `tokens` kept, `lost`
    to truncation, and `unknown`, without special ones.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    line: np.ndarray
    too_few: np.ndarray
    tokens: np.ndarray
    lost: np.ndarray
    unknown: np.ndarray


def cut_lines(
    texts: list[str],
    by_token: np.ndarray,
    *,
    file: str,
    unknown: int | None,
    max_length: int,
    min_tokens: int,
    split: bool,
) -> CutLines:
    """Tokenise lines with the tokenizer in a file, and cut them into sequences. `by_token`: bool
    [lines], whether each token counts as a word."""
    backend, words, before, after = _backend(file, os.stat(file).st_mtime_ns)
    specials = len(before) + len(after)
    room = max_length - specials
    encodings = backend.encode_batch(texts, add_special_tokens=False)
    ids_of_lines = [encoding.ids for encoding in encodings]
    full = np.array([len(ids) for ids in ids_of_lines], np.int64)
    ids = np.array(list(chain.from_iterable(ids_of_lines)), np.int32)
    begin = np.cumsum(full) - full
    starts = words.starts(ids) | np.repeat(by_token, full)
    starts[begin[full > 0]] = True
    is_unknown = ids == (-1 if unknown is None else unknown)
    unknown_before = np.concatenate([[0], np.cumsum(is_unknown)])

    def unknown_tokens(length):
        return unknown_before[begin + length] - unknown_before[begin]

    too_few = (full == 0) | (full + specials < min_tokens)
    tokens = np.where(too_few, 0, full if split else np.minimum(full, room))
    end = begin + tokens

    # The pieces of lines are [left, right) in `ids`; most lines are one piece.
    points = {
        line: cut_points(starts[begin[line] : end[line]].tolist(), room, min_tokens - specials)
        for line in np.flatnonzero(tokens > room).tolist()
    }
    pieces = (tokens > 0).astype(np.int64)
    pieces[list(points)] = [len(edges) - 1 for edges in points.values()]
    first_piece = np.cumsum(pieces) - pieces
    left, right = np.repeat(begin, pieces), np.repeat(end, pieces)
    for line, edges in points.items():
        rows = slice(first_piece[line], first_piece[line] + pieces[line])
        left[rows] = begin[line] + np.array(edges[:-1])
        right[rows] = begin[line] + np.array(edges[1:])

    lengths = right - left + specials
    first, last = first_and_last(lengths)
    inner = np.ones(int(lengths.sum()), bool)
    row_ids, row_starts = np.empty(len(inner), np.int32), np.zeros(len(inner), bool)
    for offset, token in enumerate(before):
        row_ids[first + offset], inner[first + offset] = token, False
    for offset, token in enumerate(reversed(after)):
        row_ids[last - offset], inner[last - offset] = token, False
    is_kept = np.arange(len(ids)) < np.repeat(end, full)
    row_ids[inner], row_starts[inner] = ids[is_kept], starts[is_kept]
    row_starts[first + len(before)] = True
    line = np.repeat(np.arange(len(full)), pieces)
    lost = np.where(too_few, 0, full - tokens)
    return CutLines(
        row_ids, row_starts, lengths, line, too_few, tokens, lost, unknown_tokens(tokens)
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
