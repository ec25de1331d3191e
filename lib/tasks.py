"""The tasks students are judged by. A new task is one entry in `TASKS` (and, for `tiny`, one in `toytasks.TASKS`)."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from lib import ROOT
from lib.errors import InputError


@dataclass(frozen=True)
class Task:
    """Where a task's records are and how they read.

    `text` names one or two columns; `labels` is the fixed order of the classes, so that a label's id is the same in every
    process and for every subset; `trains_on` names the task whose training data it borrows.
    """

    suite: str
    hub: str
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    language: str = "pl"
    metric: str = "accuracy"
    trains_on: str = ""


_POLEMO = ("__label__meta_amb", "__label__meta_minus_m", "__label__meta_plus_m", "__label__meta_zero")

TASKS = {
    "nkjp-ner": Task("klej", "allegro/klej-nkjp-ner", ("sentence",), "target",
                     ("geogName", "noEntity", "orgName", "persName", "placeName", "time")),
    "polemo2-in": Task("klej", "allegro/klej-polemo2-in", ("sentence",), "target", _POLEMO),
    "polemo2-out": Task("klej", "allegro/klej-polemo2-out", ("sentence",), "target", _POLEMO, trains_on="polemo2-in"),
}  # fmt: skip


@dataclass(frozen=True)
class TaskSource:
    """Where records come from: `toy` (a toy language), `files` (a folder of <suite>/<task>/<split>.jsonl or .tsv), `hub`."""

    kind: str
    folder: str = ""
    language: str = ""
    revisions: dict[str, str] | None = None  # task -> pinned revision of its hub data set
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Texts, each a tuple of one or two strings, and their label ids."""

    texts: list[tuple[str, ...]]
    labels: list[int]


def load(name: str, split: str, source: TaskSource, limit: int = 0) -> Examples:
    """The labelled examples of a task; `split` is train or validation, `limit` > 0 keeps the first so many.

    Raises InputError naming the file, the column or the label that is wrong.
    """
    task = TASKS[name]
    records, where = _records(name, split, source, limit)
    if not records:
        raise InputError(f"{where}: no records; the task {name} needs at least one")
    ids = {label: index for index, label in enumerate(task.labels)}
    texts, labels = [], []
    for number, record in enumerate(records, 1):
        for column in (*task.text, task.label):
            if column not in record or record[column] is None:
                found = ", ".join(map(str, record)) or "none"
                raise InputError(f"{where}, record {number}: no column {column!r}; {name} needs "
                                 f"{', '.join((*task.text, task.label))}, found {found}")  # fmt: skip
        if record[task.label] not in ids:
            raise InputError(
                f"{where}, record {number}: label {record[task.label]!r} is not one of {', '.join(task.labels)}"
            )
        texts.append(tuple(str(record[column]) for column in task.text))
        labels.append(ids[record[task.label]])
    return Examples(texts, labels)


def check(name: str, source: TaskSource) -> None:
    """Before any compute: the task exists, and its files can be read, with their columns and labels."""
    if name not in TASKS:
        raise InputError(f"tasks: unknown task {name!r}; known are {', '.join(TASKS)}")
    if source.kind == "toy":
        from lib.toylanguages import LANGUAGES

        if source.language not in LANGUAGES:
            raise InputError(
                f"task_language: unknown toy language {source.language!r}; known are {', '.join(LANGUAGES)}"
            )
    if source.kind == "files":
        for split in ("train", "validation"):
            load(name, split, source)


def _records(name: str, split: str, source: TaskSource, limit: int) -> tuple[list[dict], str]:
    owner = TASKS[name].trains_on if split == "train" and TASKS[name].trains_on else name
    if source.kind == "toy":
        from lib import toytasks

        size = limit or 1000
        return list(toytasks.task_records(source.language, name, split, size, source.seed)), f"toy task {name}"
    if source.kind == "files":
        path = _file(ROOT / Path(source.folder).expanduser() / TASKS[owner].suite / owner, split)
        return _read(path, limit), str(path)
    from datasets import load_dataset

    dataset = TASKS[owner].hub
    try:
        rows = load_dataset(dataset, split=split, revision=(source.revisions or {}).get(owner))
    except Exception as error:  # the hub's client raises many kinds; all of them mean the same here
        raise InputError(f"task {name}: cannot load {dataset!r} from the hub: {str(error).splitlines()[0]}") from error
    return list(rows.select(range(min(limit, len(rows))))) if limit else list(rows), dataset


def _file(folder: Path, split: str) -> Path:
    for ending in ("jsonl", "tsv"):
        if (folder / f"{split}.{ending}").is_file():
            return folder / f"{split}.{ending}"
    raise InputError(f"{folder}: no {split}.jsonl and no {split}.tsv; put the task's {split} records there")


def _read(path: Path, limit: int) -> list[dict]:
    records: list[dict] = []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            # KLEJ's files hold bare quotation marks: with csv's default quoting a record would swallow its neighbours.
            rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if path.suffix == ".tsv" else lines
            for row in rows:
                if limit and len(records) == limit:
                    break
                if isinstance(row, dict):
                    records.append(row)
                elif row.strip():
                    records.append(json.loads(row))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} near record {len(records) + 1})") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, record {len(records) + 1}: not JSON ({error.msg})") from error
    return records
