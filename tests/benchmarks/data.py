"""How fast text becomes a prepared corpus: with one process that tokenises, and with two."""

import logging
import tempfile
from pathlib import Path

from lib.data import prepare
from lib.data.toy.corpora import corpus_lines
from lib.plan.stages import validate


def preparation(number: int, rounds: int, processes: tuple[int, ...] = (1, 2)) -> dict[str, float]:
    """Median tokens per second of data prep, by the number of processes, which take turns: `number`
    lines of a text file, read, tokenised by a tokenizer that is there already, and stored."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text = folder / "text.txt"
        text.write_text(
            "\n".join(corpus_lines("toy-en", "encyclopedia", number, seed=0)) + "\n",
            encoding="utf-8",
        )
        given = {
            "sources": [{"kind": "files", "path": str(text)}],
            "cleaning": "none",
            "max_length": 128,
            "vocab_size": 4000,
            "held_out_lines": 1,
        }
        first = validate("data_prep", given | {"tokenizer": "train:wordpiece"})
        prepare.prepare(first, folder / "first", say=lambda line: None)
        found: dict[int, list[float]] = {count: [] for count in processes}
        for turn in range(rounds):
            for count in processes:
                own = {"tokenizer": str(folder / "first" / "tokenizer"), "processes": count}
                params = validate("data_prep", given | own)
                made = prepare.prepare(params, folder / f"{turn}-{count}", say=lambda line: None)
                found[count].append(made["tokens_per_second"])
    return {str(count): sorted(rates)[len(rates) // 2] for count, rates in found.items()}
