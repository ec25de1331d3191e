"""A transfer set derived from a prepared corpus: a prepared folder made from another one."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.common import places
from lib.common.errors import InputError
from lib.data import prepared, transfer_sets
from lib.data.reading import progress_reporter
from lib.data.tokenizer import load_tokenizer
from lib.data.transfer_sets import Block

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


def derive(params, folder: Path, say: Callable[[str], None] = print) -> dict:
    """Make a transfer set from `params.sample_of` and return its statistics.

    Sampled are round(share · sequences) of the parent's sequences. `composition` is `natural`, the
    sample in the parent's order, or `randomised`, `generated` or `bigram`: made from it, with as
    many sequences and tokens (lib.data.transfer_sets). `held_out/` and `tokenizer/` are copied, so
    that probes are comparable. Equal parameters give equal data; memory does not grow with it.

    Returns: the statistics of prepare.prepare, except those of reading text, and `composition`,
        `share`, `nested` and `parent`, the parent's statistics. A line is a sequence; `words` are
        tokens that start a word; `bytes` are those of the text that the tokens spell, with spaces
        between words and one line end.
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
        spelling = token_spelling(tokenizer)
        blocks = _compose(params, len(tokenizer), spelling, say)
        tally = _write(blocks, scratch / "data.arrow", spelling)
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
    }
    return prepared.write_statistics(folder, statistics, began, say)


def _parent_statistics(sample_of: str) -> dict:
    parent = places.ROOT / sample_of
    needed = ("statistics.json", "data/state.json", "tokenizer")
    if not all((parent / name).exists() for name in needed):
        problem = "holds no prepared corpus; run notebook 1_data_prep for it first"
        raise InputError(f"sample_of: {sample_of} {problem}")
    return json.loads((parent / "statistics.json").read_text(encoding="utf-8"))


@dataclass
class Spelling:
    """Properties of each token of a vocabulary, [vocabulary]: `continues` and `ends`, see
    transfer_sets.word_starts; `bytes`, UTF-8, 0 for the special tokens at the ends of a sequence.
    `unknown`: the id of the unknown token."""

    continues: np.ndarray
    ends: np.ndarray | None
    bytes: np.ndarray
    unknown: int


def token_spelling(tokenizer) -> Spelling:
    """The spelling of a tokenizer's tokens. Raises InputError unless it is WordPiece, or BPE with a
    mark at the end of words."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    if not (prefix or suffix) or tokenizer.num_special_tokens_to_add() != 2:
        raise InputError(
            f"sample_of: its tokenizer ({model['type']}) marks no words that could be found in "
            "made-up sequences; allowed: WordPiece, or BPE with </w>"
        )
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    unknown = tokenizer.unk_token_id
    continues = np.array([bool(prefix) and token.startswith(prefix) for token in tokens])
    ends = None
    if not prefix:
        ends = np.array([token.endswith(suffix) for token in tokens])
        if unknown is not None:
            ends[unknown] = True  # the text it stands for is gone, and the end of the word with it
    texts = [token.removeprefix(prefix).removesuffix(suffix) for token in tokens]
    sizes = np.array([len(text.encode()) for text in texts])
    sizes[[tokenizer.cls_token_id, tokenizer.sep_token_id]] = 0
    return Spelling(continues, ends, sizes, -1 if unknown is None else unknown)


# --------------------------------------------------------------------------------------- sequences


def sample_tables(params, say: Callable[[str], None] = lambda line: None) -> Iterator:
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
            report(start := stop, stop / total)

    yield from prepared.merge_batches(sampled(), transfer_sets.ROWS, lambda batch: batch.num_rows)


def _block(table) -> Block:
    rows = table.column("input_ids").chunk(0)
    return rows.flatten().to_numpy(), rows.value_lengths().to_numpy().astype(np.int64)


def _compose(
    params, vocabulary: int, spelling: Spelling, say: Callable[[str], None]
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
        yield (
            ids,
            lengths,
            transfer_sets.word_starts(ids, lengths, spelling.continues, spelling.ends),
        )


def _write(
    blocks: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path, spelling: Spelling
) -> prepared.Tally:
    """Write blocks of ids, lengths and word starts to an Arrow file, and count them."""
    import pyarrow as pa

    tally, schema = prepared.Tally(), prepared.features().arrow_schema
    with prepared.arrow_writer(path, schema) as writer:
        for ids, lengths, starts in blocks:
            columns = prepared.sequence_columns(lengths, ids, starts)
            writer.write_table(pa.table(columns).cast(schema))
            first, _ = transfer_sets.first_and_last(lengths)
            words = np.add.reduceat(starts.astype(np.int64), first)
            prepared.count_values(tally.lengths, lengths)
            prepared.count_values(tally.words, words)
            tally.tokens += int(lengths.sum()) - 2 * len(lengths)
            tally.bytes += int(spelling.bytes[ids].sum() + np.maximum(words, 1).sum())
            tally.unknown += int((ids == spelling.unknown).sum())
    return tally
