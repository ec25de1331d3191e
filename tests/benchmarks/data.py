"""How fast text becomes a prepared corpus, with one process that tokenises and with two."""

import logging
import tempfile
from pathlib import Path

from lib.data import prepare
from lib.data.toy.corpora import corpus_lines
from lib.plan.stages import validate


def preparation(number: int, rounds: int, processes: tuple[int, ...] = (1, 2)) -> dict[str, float]:
    """Median tokens per second of data preparation by the number of processes, which take turns:
    `number` lines of a text file, read, tokenised by an existing tokenizer, and stored."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = folder / "text.txt"
        lines = corpus_lines("toy-en", "encyclopedia", number, seed=0)
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        values = {
            "sources": [{"kind": "files", "path": str(text)}],
            "cleaning": "none",
            "max_length": 128,
            "vocab_size": 4000,
            "held_out_lines": 1,
        }
        first = validate("data_prep", values | {"tokenizer": "train:wordpiece"})
        prepare.prepare(first, folder / "first", say=lambda line: None)
        values["tokenizer"] = str(folder / "first" / "tokenizer")
        rates: dict[int, list[float]] = {count: [] for count in processes}
        for turn in range(rounds):
            for count in processes:
                params = validate("data_prep", values | {"processes": count})
                corpus = folder / f"{turn}-{count}"
                statistics = prepare.prepare(params, corpus, say=lambda line: None)
                rates[count].append(statistics["tokens_per_second"])
    return {str(count): sorted(rates[count])[rounds // 2] for count in processes}
