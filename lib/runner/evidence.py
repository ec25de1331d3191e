"""What a model is measured on before it is handed out: the validation data of its tasks, and text
that it has not learned from."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.common import places
from lib.common.errors import InputError
from lib.data import prepare
from lib.data.prepared import Corpus, open_corpus
from lib.plan.stages import validate
from lib.report import card
from lib.tasks import classifier as classifiers
from lib.tasks import finetune
from lib.tasks.examples import settled
from lib.tasks.parameters import Finetune
from lib.training.architectures import longest_sequence

MODULES = "modules.json"
"""The file by which sentence-transformers knows a folder."""


def require_data(folder: Path, task: str, text: str) -> None:
    """Raises InputError if there is nothing to measure the model in `folder` on."""
    if is_finetuned(folder):
        finetuning(folder, task)
    else:
        require_text(folder, text)


def require_text(folder: Path, text: str) -> None:
    """Raises InputError if there is no text that the model in `folder` has not learned from."""
    if text and not Path(text).expanduser().exists():
        raise InputError(f"TEXT={text}: there is no such file or folder")
    if not text and not (places.ROOT / (corpus_of(folder) or "none") / "held_out").is_dir():
        raise InputError(
            f"MODEL={folder}: there is no text held out of its training to measure it on; give a "
            f"file or folder of text that it has not seen, as in TEXT=/path/to/text"
        )


def is_finetuned(folder: Path) -> bool:
    """Whether a fine-tuning has kept the model in `folder`."""
    return (folder / f"{classifiers.HEAD}.json").is_file()


def is_encoder(folder: Path) -> bool:
    """Whether `folder` holds an encoder of sentences, see lib.runner.embeddings."""
    return (folder / MODULES).is_file()


def corpus_of(folder: Path) -> str:
    """The prepared corpus of the stage that made the model in `folder`; empty if there is none."""
    stage = card.read_result(folder.parent) or {"parameters": {}}
    return stage["parameters"].get("corpus", "")


def finetuning(folder: Path, task: str) -> tuple[Finetune, list[str]]:
    """The parameters of the fine-tuning that kept the model in `folder`, and the tasks to measure
    it on: `task`, or all that share its training. Raises InputError."""
    stage = card.read_result(folder.parent.parent)
    if not stage or stage["stage"] != "finetune":
        raise InputError(
            f"MODEL={folder}: the fine-tuning that made it is needed for its validation data; "
            f"there is no result.json of one in {folder.parent.parent}"
        )
    p = settled(validate("finetune", stage["parameters"]))
    name = folder.name.rpartition("-")[0]
    names = finetune.shared_training(p)[name]
    if task and task not in names:
        raise InputError(f"TASK={task}: {folder.name} is for {', '.join(names)}")
    return finetune.settings(p, name), [task] if task else names


def finetuned_with(folder: Path) -> Finetune | None:
    """The parameters of the fine-tuning that made the model in `folder`, or that the model was
    measured by; None if there is no such."""
    place = folder.parent.parent if is_finetuned(folder) else folder.parent.parent / "finetune"
    result = card.read_result(place)
    return settled(validate("finetune", result["parameters"])) if result else None


@contextmanager
def unseen_text(folder: Path, text: str) -> Iterator[tuple[str, Corpus]]:
    """The name of text that the model in `folder` has not learned from, and its sequences: the text
    held out by the stage that made the model, or the user's own `text`, a file or folder."""
    if not text:
        corpus = corpus_of(folder)
        yield card.text_of(corpus)["name"], open_corpus(corpus, "held_out")
        return
    limit = longest_sequence(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as scratch:
        sources = [{"kind": "files", "path": str(Path(text).expanduser().resolve())}]
        values = {"sources": sources, "tokenizer": str(folder), "held_out_lines": 1}
        p = validate("data_prep", values | {"max_length": min(128, limit)})
        prepare.prepare(p, scratch, say=lambda line: None)
        yield Path(text).name, open_corpus(scratch)
