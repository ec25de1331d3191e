"""A transfer set derived from a prepared corpus: a prepared folder made from another one."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lib.common import places
from lib.common.errors import InputError
from lib.data import prepared, transfer_sets
from lib.data.parameters import DataPrep
from lib.data.reading import progress_reporter
from lib.data.tokenizer import load_tokenizer
from lib.data.transfer_sets import Block
from lib.data.words import Words, words_of

OF_PARENT = (
    "lines",
    "sequences",
    "tokens",
    "tokens_with_specials",
    "words",
    "bytes",
    "tokens_per_sequence",
    "composition",
)


def derive(params: DataPrep, folder: Path, say: Callable[[str], None] = print) -> dict:
    """Make a transfer set from `params.sample_of` and return its statistics.

    Sampled are round(share · sequences) of the parent's sequences. `composition` is `natural`, the
    sample in the parent's order, or `randomised`, `generated` or `bigram`: made from it, with as
    many sequences and tokens (lib.data.transfer_sets). `held_out/` and `tokenizer/` are copied, so
    that probes are comparable. Equal parameters give equal data; memory does not grow with it.

    Returns: the statistics of prepare.prepare, except those of reading text, and `composition`,
        `share`, `nested` and `parent`, the parent's statistics. A line is a sequence; `words` are
        tokens that start a word; `bytes` are those of the text that the tokens spell, with a space
        for each of their marks. Where a source of the parent is masked token by token, so is
        everything generated from it.
    Raises: InputError.
    """
    from datasets import Dataset

    began, parent = time.perf_counter(), places.ROOT / params.sample_of
    parent_statistics = _parent_statistics(params.sample_of)
    if parent.resolve() in (folder.resolve(), *folder.resolve().parents):
        problem = f"{params.sample_of} is where the transfer set would go; allowed: another folder"
        raise InputError(f"sample_of: {problem}")
    with prepared.scratch_folder(folder) as scratch:
        for name in ("tokenizer", "held_out"):
            shutil.rmtree(folder / name, ignore_errors=True)
            if (parent / name).is_dir():
                shutil.copytree(parent / name, folder / name)
        tokenizer = load_tokenizer(str(folder / "tokenizer"))
        words = words_of(tokenizer.backend_tokenizer)
        # In made-up sequences, the tokens of different sources cannot be told apart.
        by_token = parent_statistics.get("masked_by_token", [])
        blocks = _compose(params, len(tokenizer), words, bool(by_token), say)
        tally = _write(blocks, scratch / "data.arrow", words, tokenizer.unk_token_id)
        Dataset.from_file(str(scratch / "data.arrow")).save_to_disk(folder / "data")
    statistics = {
        "composition": params.composition,
        "share": params.share,
        "nested": params.nested,
        "parent": {
            "folder": params.sample_of,
            **{name: parent_statistics[name] for name in OF_PARENT if name in parent_statistics},
        },
        "held_out": parent_statistics["held_out"],
        **tally.describe(),
        "vocabulary": len(tokenizer),
        "tokenizer_fingerprint": parent_statistics["tokenizer_fingerprint"],
        "masked_by_token": by_token,
    }
    return prepared.write_statistics(folder, statistics, began, say)


def _parent_statistics(sample_of: str) -> dict:
    parent = places.ROOT / sample_of
    needed = ("statistics.json", "data/state.json", "tokenizer")
    if not all((parent / name).exists() for name in needed):
        problem = "holds no prepared corpus; run notebook 1_data_prep for it first"
        raise InputError(f"sample_of: {sample_of} {problem}")
    return json.loads((parent / "statistics.json").read_text(encoding="utf-8"))


# --------------------------------------------------------------------------------------- sequences


def sample_tables(params: DataPrep, say: Callable[[str], None] = lambda line: None) -> Iterator:
    """The sampled sequences as Arrow tables of about transfer_sets.ROWS rows, in order. Raises
    InputError if there are none."""
    import pyarrow as pa

    batches = prepared.record_batches
    total = sum(batch.num_rows for batch in batches(params.sample_of))
    size = round(params.share * total)
    if not size:
        problem = f"{params.share:g} of {total:,} sequences is none"
        raise InputError(f"share: {problem}; allowed: {1 / max(total, 1):.2g} or more")
    mask = transfer_sets.sample_mask(total, size, params.seed, params.nested)
    report = progress_reporter("sampling", say)

    def sampled():
        start = 0
        for batch in batches(params.sample_of):
            stop = start + batch.num_rows
            yield batch.filter(pa.array(mask(start, stop)))
            report(stop, stop / total)
            start = stop

    yield from prepared.merge_batches(sampled(), transfer_sets.ROWS, lambda batch: batch.num_rows)


def _block(table) -> Block:
    rows = table.column("input_ids").chunk(0)
    return rows.flatten().to_numpy(), rows.value_lengths().to_numpy().astype(np.int64)


def _compose(
    params, vocabulary: int, words: Words, by_token: bool, say: Callable[[str], None]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The sequences of the transfer set in blocks: ids, lengths, and where words start."""
    if params.composition == "natural":
        for table in sample_tables(params, say):
            starts = table.column("word_start").chunk(0).flatten()
            yield *_block(table), starts.to_numpy(zero_copy_only=False)
        return

    def sample() -> Iterator[Block]:
        return map(_block, sample_tables(params, say))

    rng = np.random.default_rng(params.seed)
    if params.composition == "randomised":
        blocks = ((transfer_sets.randomise(*block, rng), block[1]) for block in sample())
    else:
        statistics = transfer_sets.measure(sample(), vocabulary)
        if params.composition == "generated":
            blocks = transfer_sets.generate(statistics, rng)
        else:
            bigrams = transfer_sets.measure_bigrams(sample(), vocabulary)
            blocks = transfer_sets.generate_by_bigrams(statistics, bigrams, rng)
    for ids, lengths in blocks:
        starts = words.starts(ids) | by_token
        first, last = transfer_sets.first_and_last(lengths)
        starts[first[lengths > 2] + 1] = True
        starts[first] = starts[last] = False
        yield ids, lengths, starts


def _write(
    blocks: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]],
    path: Path,
    words: Words,
    unknown: int | None,
) -> prepared.Tally:
    """Write blocks of ids, lengths and word starts to an Arrow file, and count them."""
    import pyarrow as pa

    tally, schema = prepared.Tally(), prepared.features().arrow_schema
    with prepared.arrow_writer(path, schema) as writer:
        for ids, lengths, starts in blocks:
            columns = prepared.sequence_columns(lengths, ids, starts)
            writer.write_table(pa.table(columns).cast(schema))
            first, _ = transfer_sets.first_and_last(lengths)
            prepared.count_values(tally.lengths, lengths)
            prepared.count_values(tally.words, np.add.reduceat(starts.astype(np.int64), first))
            tally.tokens += int(lengths.sum()) - 2 * len(lengths)
            tally.bytes += int(words.bytes[ids].sum())
            tally.unknown += int((ids == unknown).sum())
    return tally
