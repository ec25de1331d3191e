"""Data preparation: text in, a tokenised corpus, a tokenizer and statistics out. Everything
notebook 1 calls.

A prepared folder holds `data/` and, if asked for, `held_out/` (`datasets.load_from_disk` opens
them: `input_ids` with special tokens, `word_start`, True where a token starts a word), `tokenizer/`
and `statistics.json`. A transfer set derived from a prepared folder (lib.data.derived) is such a
folder too.
"""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from lib.common import files, places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.progress import clock
from lib.data import derived, mixing, tokenizer
from lib.data.prepared import (
    Kept,
    cut_lines,
    describe,
    features,
    one_thread_each,
)
from lib.data.reading import choose_held_out, first_and_repeats, gather, reporter, text_figures

BLOCK = 1000  # lines tokenised, and rows written, at a time
SLICE = 50_000  # lines between two looks at the subset and at the clock
REASONS = ("kept", "too_few_tokens", "too_many_unknown")
PER_LINE = ("tokens", "lost", "unknown", "words", "bytes", "pieces")


def prepare(params, folder: str | Path, say: Callable[[str], None] = print) -> dict:
    """Read, clean, tokenise and store a corpus; return its statistics. Equal parameters give equal
    data.

    With `sample_of`, a prepared folder, none of this: a transfer set is derived from it, see
    derived.derive.

    Args: folder, where to write; say, where progress goes, line by line; params, with the
    attributes
        `sources` (of lib.data.sources), `cleaning`, `deduplicate`, `min_words`, `max_words`,
        `seed`: see corpus.passages; `sentences`, `language`: whether passages are split into
        sentences, and the rules of which language split them;
            one sentence is then one line;
        `subset_unit`, `subset_size`: `none`, or so many `lines`, `bytes` or `tokens` at most
        (special tokens not
            counted), whole lines, in order;
        `sampling_exponent` or `sampling_target`, `sampled_lines`: languages of the sources are
        drawn with P' ∝ P^S, P by the
            bytes kept (004, eq. 1, 2): this many lines in all (0: as many as there are), with the
            shares of lines, or of bytes (`sampling_unit`), as P' says; a language with too few
            repeats them evenly. A target such as "en = 100 is" has S solved from P'(en) = 100
            P'(is);
        `shuffle`: lines in random order; `sections`: so many disjoint parts, one after the other,
        by the text's hash: copies
            of a line are in one, and a section's size and shares are those of the whole but for the
            chance of that. Sampling and sections shuffle too;
        `held_out_lines`: this many different lines, spread over all that was read, go to
        `held_out/`, and none of
            them, nor a copy, stays in `data/`; they come out of a subset by lines or bytes, not out
            of one by tokens (fewer where a chosen line has too few tokens or too many unknown
            ones);
        `tokenizer`: `train:wordpiece` or `train:herbert_bpe` (at most `vocab_size` tokens; the
        held-out lines are not
            used), or a folder or hub id (at `tokenizer_revision`);
        `max_length`: tokens of a sequence, special tokens included; `long_lines`: `split` (every
        token is kept; cuts
            fall between words) or `truncate`;
        `min_tokens`, with special tokens, and `max_unknown_share`: lines below and above are
        dropped; `processes`: how many tokenise; the result does not depend on it.
    Raises: InputError.
    """
    folder = places.ROOT / folder
    with files.writing(folder):
        return (
            derived.derive(params, folder, say)
            if params.sample_of
            else _from_text(params, folder, say)
        )


def _from_text(params, folder: Path, say: Callable[[str], None]) -> dict:
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    began = time.perf_counter()
    scratch = folder / "scratch"
    for leftover in (scratch, folder / "data", folder / "held_out"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir(parents=True)
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        counts: Counter = Counter()
        tallies: list[Counter] = []
        text = gather(params, scratch / "text.arrow", counts, tallies, say)
        hashes = [chunk.to_numpy() for chunk in text.data.column("hash").chunks]
        secret = choose_held_out(hashes, params.held_out_lines)
        held, repeats = first_and_repeats(hashes, secret)
        apart = text.select(held) if len(held) else None
        mix = mixing.plan(params, scratch / "text.arrow", secret, say)
        if mixing.wanted(params):
            text = mixing.mixed(mix, scratch, secret, params, say)
        elif len(held):
            left = np.ones(len(text), bool)
            left[held] = left[repeats] = False
            text = text.select(np.flatnonzero(left))

        words = make_tokenizer(params, text, say)
        if params.max_length <= words.num_special_tokens_to_add():
            raise InputError(
                f"max_length: {params.max_length} has no room beside the special tokens; allowed: "
                f"more"
            )
        words.save_pretrained(folder / "tokenizer")
        budget = params.subset_size if params.subset_unit == "tokens" else None
        kept, dropped = tokenise(text, folder, "data", params, budget, words.unk_token_id, say)
        dropped["repeats_held_out"] = len(repeats)
        if mixing.sampling(params):
            dropped["not_drawn"] = int(np.maximum(mix.lines - mix.wanted, 0).sum())
        held_out = {"lines": 0, "tokens": 0}
        if apart is not None:
            held_kept, held_dropped = tokenise(
                apart, folder, "held_out", params, None, words.unk_token_id, say
            )
            dropped.update(held_dropped)
            held_out = {"lines": held_kept.lines, "tokens": held_kept.tokens}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not silent:
            enable_progress_bars()

    for reason in ("blank", "too_few_words", "too_many_words", "duplicate"):
        dropped[reason] = counts[reason]
    statistics = {
        "lines_in": counts["lines_in"],
        "bytes_in": counts["bytes_in"],
        "dropped": dict(sorted(dropped.items())),
        "held_out": held_out,
        **text_figures(params.sources, tallies),
        **describe(kept),
        "sections": kept.sections.tolist(),
        **mixing.describe(mix, params, kept.of_source),
        "vocabulary": len(words),
        "tokenizer_fingerprint": tokenizer.fingerprint(words),
        "seconds": round(time.perf_counter() - began, 3),
    }
    statistics["tokens_per_second"] = round(statistics["tokens"] / statistics["seconds"])
    (folder / "statistics.json").write_text(
        json.dumps(statistics, indent=2) + "\n", encoding="utf-8"
    )
    numbers = ", ".join(f"{statistics[name]:,} {name}" for name in ("lines", "sequences", "tokens"))
    say(f"prepared  {numbers}  in {clock(statistics['seconds'])}")
    return statistics


def tokens_per_parameter(statistics: dict, parameters: int) -> float:
    """Tokens of text for each parameter of a model; 000, section 6, recalls that about 20 are
    recommended."""
    return statistics["tokens"] / parameters


# --------------------------------------------------------------------------------------- tokenising


class Lines:
    """The text of a Dataset, readable several times and never wholly in memory."""

    def __init__(self, text):
        self.text = text.select_columns("text")

    def __iter__(self) -> Iterator[str]:
        for block in self.text.iter(BLOCK):
            yield from block["text"]


def make_tokenizer(params, text, say: Callable[[str], None]):
    """The tokenizer that `params.tokenizer` asks for."""
    how, _, kind = params.tokenizer.partition(":")
    if how != "train":
        return tokenizer.load_tokenizer(ModelRef(params.tokenizer, params.tokenizer_revision))
    began = time.perf_counter()
    trained = tokenizer.train_tokenizer(Lines(text), kind, params.vocab_size)
    say(
        f"tokenizer  {kind}, {len(trained):,} tokens  trained in "
        f"{clock(time.perf_counter() - began)}"
    )
    return trained


def tokenise(
    text,
    folder: Path,
    part: str,
    params,
    budget: int | None,
    unknown: int | None,
    say: Callable[[str], None],
) -> tuple[Kept, Counter]:
    """Tokenise the lines of a Dataset into `folder/part`, as many whole lines as `budget` tokens
    allow.

    Returns: what is known of those kept, and the number of lines dropped by reason.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import Dataset, Features, Value

    scratch, report = folder / "scratch", reporter("tokenising", say)
    row_features = Features(
        {
            **features(),
            "reason": Value("int8"),
            "first": Value("bool"),
            **{name: Value("int32") for name in PER_LINE},
        }
    )
    sizes = (params.max_length + 1, len(params.sources), params.sections)
    kept, dropped = Kept(*(np.zeros(size, np.int64) for size in sizes)), Counter()
    settings = dict(
        file=str(folder / "tokenizer" / "tokenizer.json"),
        unknown=unknown,
        max_length=params.max_length,
        min_tokens=params.min_tokens,
        max_unknown_share=params.max_unknown_share,
        split=params.long_lines == "split",
    )
    schema, arrow = features().arrow_schema, scratch / f"{part}.arrow"
    with pa.OSFile(str(arrow), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for start in range(0, len(text), SLICE):
            stop = min(start + SLICE, len(text))
            workers = min(params.processes, -(-(stop - start) // BLOCK))
            with one_thread_each(workers):
                rows = (
                    text.select(range(start, stop))
                    .with_format("arrow")
                    .map(
                        cut_lines,
                        batched=True,
                        batch_size=BLOCK,
                        remove_columns=text.column_names,
                        fn_kwargs=settings,
                        num_proc=workers if workers > 1 else None,
                        new_fingerprint=f"{part}{start}",
                        features=row_features,
                    )
                )
            table = rows.data.table
            column = {
                name: table.column(name).to_numpy() for name in ("reason", "first", *PER_LINE)
            }
            keep, first = column["reason"] == 0, column["first"]
            reach = kept.tokens + np.cumsum(
                np.where(first & keep, column["tokens"], 0)
            )  # the same for all pieces of a line
            within = reach <= budget if budget is not None else np.ones_like(keep)
            for code in (1, 2):
                dropped[REASONS[code]] += int((within & (column["reason"] == code)).sum())
            keep &= within
            chosen = table.select(schema.names).filter(pa.array(keep))
            writer.write_table(chosen.cast(schema), max_chunksize=BLOCK)
            lengths = np.asarray(pc.list_value_length(chosen.column("input_ids")))
            kept.add(lengths, {name: column[name][keep & first] for name in PER_LINE})
            lines = text.select(range(start, stop)).with_format("numpy")
            source, section = (
                lines[name][:][np.cumsum(first)[keep] - 1] for name in ("source", "section")
            )
            kept.of_source += np.bincount(
                source, column["tokens"][keep], len(kept.of_source)
            ).astype(np.int64)
            kept.sections += np.bincount(section, minlength=len(kept.sections))
            over = stop == len(text) or not within.all()
            report(
                stop,
                1.0 if over else max(stop / len(text), kept.tokens / budget if budget else 0.0),
            )
            for cache in rows.cache_files:
                Path(cache["filename"]).unlink(missing_ok=True)
            if over:
                dropped["beyond_subset"] = int((first & ~within).sum()) + len(text) - stop
                break
    if not kept.tokens:
        raise InputError(
            f"{part}: no line of {len(text)} is left after tokenising ({dict(dropped)})"
        )
    Dataset.from_file(str(arrow)).save_to_disk(folder / part)
    return kept, dropped
