"""A transfer set derived from a prepared corpus: a folder like any that lib.data.prepare writes,
made from another one."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.common import places
from lib.common.errors import InputError
from lib.common.progress import clock
from lib.data import tokenizer
from lib.data.prepared import centre, describe_lengths, features, record_batches
from lib.data.reading import reporter
from lib.data.transfer_sets import (
    ROWS,
    Block,
    added,
    bigrams,
    chosen,
    generated,
    generated_by_bigrams,
    randomised,
    statistics,
    word_starts,
)

OF_THE_PARENT = (
    "lines",
    "sequences",
    "tokens",
    "tokens_with_specials",
    "words",
    "bytes",
    "tokens_per_sequence",
    "composition",
)


def derive(params, folder: Path, say: Callable[[str], None] = print) -> dict:
    """Make a transfer set, and return its statistics. Equal parameters give equal data; memory does
    not grow with it.

    Args: folder, where to write; say, where progress goes; params, with the attributes
        `sample_of`: a prepared folder, the parent; its `held_out/` and `tokenizer/` are taken over,
        so that probes compare; `share`, `nested`, `seed`: round(share · sequences) of the parent's
        sequences, without replacement; see
            transfer_sets.chosen;
        `composition`: `natural`, the sample as it is, in the parent's order; or made of it, with as
        many sequences and
            tokens: `randomised`, `generated`, `bigram`, see lib.data.transfer_sets.
    Returns: what prepare.prepare returns, where a line is a sequence, without what describes
    reading text, and with
        `composition`, `share`, `nested`, and `parent`, the parent's own figures. `words` are tokens
        that start a word; `bytes` (UTF-8) are those of the text that the tokens spell: a space
        between words, and one line end.
    Raises: InputError.
    """
    from datasets import (
        Dataset,
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    began, parent = time.perf_counter(), places.ROOT / params.sample_of
    known = parent_statistics(params)
    if parent.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise InputError(
            f"sample_of: {params.sample_of} is where the transfer set would go; allowed: another "
            f"folder"
        )
    scratch = folder / "scratch"
    for leftover in (scratch, folder / "data", folder / "held_out", folder / "tokenizer"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir(parents=True)
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        shutil.copytree(parent / "tokenizer", folder / "tokenizer")
        if (parent / "held_out").is_dir():
            shutil.copytree(parent / "held_out", folder / "held_out")
        words = tokenizer.load_tokenizer(str(folder / "tokenizer"))
        tally = write(composed(params, words, say), scratch / "data.arrow", spelling(words))
        Dataset.from_file(str(scratch / "data.arrow")).save_to_disk(folder / "data")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not silent:
            enable_progress_bars()
    found = {
        "composition": params.composition,
        "share": params.share,
        "nested": params.nested,
        "parent": {
            "folder": params.sample_of,
            **{name: known[name] for name in OF_THE_PARENT if name in known},
        },
        "held_out": known["held_out"],
        **tally.describe(),
        "vocabulary": len(words),
        "tokenizer_fingerprint": known["tokenizer_fingerprint"],
        "seconds": round(time.perf_counter() - began, 3),
    }
    found["tokens_per_second"] = round(found["tokens"] / found["seconds"])
    (folder / "statistics.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    say(
        f"prepared  {found['sequences']:,} sequences, {found['tokens']:,} tokens  in "
        f"{clock(found['seconds'])}"
    )
    return found


def parent_statistics(params) -> dict:
    """The statistics of the corpus a transfer set is made from. Raises InputError if it is not
    there, or not whole."""
    parent = places.ROOT / params.sample_of
    if not all(
        (parent / name).exists() for name in ("statistics.json", "data/state.json", "tokenizer")
    ):
        raise InputError(
            f"sample_of: {params.sample_of} holds no prepared corpus; run notebook 1_data_prep "
            f"for it first"
        )
    return json.loads((parent / "statistics.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------- sequences


def sample_tables(params, say: Callable[[str], None] = lambda line: None):
    """The sequences of the sample as Arrow tables of about ROWS rows, in the parent's order. Raises
    InputError if none is."""
    import pyarrow as pa

    total = sum(batch.num_rows for batch in record_batches(params.sample_of))
    size = round(params.share * total)
    if not size:
        raise InputError(
            f"share: {params.share:g} of {total:,} sequences is none; allowed: "
            f"{1 / max(total, 1):.2g} or more"
        )
    taken, report = chosen(total, size, params.seed, params.nested), reporter("sampling", say)
    start, waiting, rows = 0, [], 0
    for batch in record_batches(params.sample_of):
        few = batch.filter(pa.array(taken(start, start + batch.num_rows)))
        start, rows = start + batch.num_rows, rows + few.num_rows
        waiting.append(few)
        if rows >= ROWS or (start == total and rows):
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, rows = [], 0
            report(start, start / total)


def flat(table) -> Block:
    """The token ids of a table and the lengths of its sequences."""
    rows = table.column("input_ids").chunk(0)
    return rows.flatten().to_numpy(), rows.value_lengths().to_numpy().astype(np.int64)


def composed(
    params, words, say: Callable[[str], None]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The sequences of the transfer set, in blocks: ids, lengths, and where words start."""
    if params.composition == "natural":
        for table in sample_tables(params, say):
            yield (
                *flat(table),
                table.column("word_start").chunk(0).flatten().to_numpy(zero_copy_only=False),
            )
        return
    rng, spelled = np.random.default_rng(params.seed), spelling(words)
    if params.composition == "randomised":
        made = (
            (randomised(ids, lengths, rng), lengths)
            for ids, lengths in map(flat, sample_tables(params, say))
        )
    else:
        found = statistics(map(flat, sample_tables(params, say)), len(words))
        if params.composition == "generated":
            made = generated(found, rng)
        else:
            made = generated_by_bigrams(
                found, bigrams(map(flat, sample_tables(params, say)), len(words)), rng
            )
    for ids, lengths in made:
        yield ids, lengths, word_starts(ids, lengths, spelled.continues, spelled.ends)


@dataclass
class Spelling:
    """What each token of a vocabulary says about words: [vocabulary] each; see
    transfer_sets.word_starts.

    `bytes`: UTF-8 bytes of what it spells, 0 for the special tokens at the ends of a sequence.
    """

    continues: np.ndarray
    ends: np.ndarray | None
    bytes: np.ndarray
    unknown: int


def spelling(words) -> Spelling:
    """The spelling of a tokenizer's tokens. Raises InputError if it is neither WordPiece nor BPE
    with a word-end mark."""
    model = json.loads(words.backend_tokenizer.to_str())["model"]
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    if not (prefix or suffix) or words.num_special_tokens_to_add() != 2:
        raise InputError(
            f"sample_of: its tokenizer ({model['type']}) marks no words that could be told in "
            f"made-up sequences; "
            "allowed: WordPiece, or BPE with </w>"
        )
    texts = words.convert_ids_to_tokens(list(range(len(words))))
    continues = np.array([bool(prefix) and text.startswith(prefix) for text in texts])
    ends = np.array([text.endswith(suffix) for text in texts]) if suffix and not prefix else None
    if ends is not None and words.unk_token_id is not None:
        ends[words.unk_token_id] = True  # what it stood for is gone, and its end with it
    spelled = [text.removeprefix(prefix or "").removesuffix(suffix or "") for text in texts]
    sizes = np.array([len(text.encode()) for text in spelled])
    sizes[[words.cls_token_id, words.sep_token_id]] = 0
    return Spelling(
        continues, ends, sizes, -1 if words.unk_token_id is None else words.unk_token_id
    )


# ------------------------------------------------------------------------------------------ writing


@dataclass
class Tally:
    """What has been written so far: how many sequences have n tokens (with the special ones), and n
    words."""

    lengths: np.ndarray
    words: np.ndarray
    bytes: int = 0
    unknown: int = 0

    def describe(self) -> dict:
        sequences, values = int(self.lengths.sum()), np.arange(len(self.lengths))
        whole, words = int(values @ self.lengths), int(np.arange(len(self.words)) @ self.words)
        tokens = whole - 2 * sequences
        return {
            "lines": sequences,
            "bytes": self.bytes,
            "words": words,
            "tokens": tokens,
            "tokens_with_specials": whole,
            "sequences": sequences,
            "unknown_share": self.unknown / tokens,
            "tokens_per_word": tokens / words,
            "words_per_line": centre(np.arange(len(self.words)), self.words),
            **describe_lengths(self.lengths),
        }


def write(
    made: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path, spelled: Spelling
) -> Tally:
    """Write blocks of ids, lengths and word starts to an Arrow file, and count them on the way."""
    import pyarrow as pa

    tally, schema = Tally(np.zeros(1, np.int64), np.zeros(1, np.int64)), features().arrow_schema
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for ids, lengths, starts in made:
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            columns = [
                pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(column)).cast(kind.type)
                for column, kind in zip((ids, starts), schema)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            words = np.add.reduceat(starts.astype(np.int64), offsets[:-1])
            tally.lengths, tally.words = added(tally.lengths, lengths), added(tally.words, words)
            tally.bytes += int(spelled.bytes[ids].sum() + np.maximum(words, 1).sum())
            tally.unknown += int((ids == spelled.unknown).sum())
    return tally
