"""Labelled examples of the tasks, read from a toy language, from files or from the hub."""

import csv
import json
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Sequence

import numpy as np

from lib.common import hub
from lib.common.errors import InputError
from lib.common.places import to_path
from lib.data.toy import tasks as toy
from lib.data.toy.languages import LANGUAGES as TOY_LANGUAGES
from lib.tasks.parameters import Finetune
from lib.tasks.registry import TASKS, Task

TOY_RECORDS = 4000
"""Of each split of a toy task, where all are asked for: samples are drawn from them."""


@dataclass(frozen=True)
class TaskSource:
    """Where records come from: `toy` (a toy language), `hub`, or `files`, a folder of
    <suite>/<task>/<split>.jsonl or .tsv; squad and xnli are suites of one task, with their files in
    squad/ and xnli/<language>/.

    `language` is that of the records; for hub and files it only matters to the validation data of a
    task in several languages. `revisions` pins a revision of a task's data set on the hub.
    """

    kind: str
    folder: str = ""
    language: str = ""
    revisions: dict[str, str] | None = None

    @classmethod
    def of(cls, p: Finetune) -> "TaskSource":
        """The source that the parameters of a fine-tuning stage name."""
        return cls(p.task_source, p.task_folder, p.task_language, p.task_revisions)


@dataclass(frozen=True)
class Answers:
    """The gold answers of a question: `texts[i]` starts at character `starts[i]` of the context."""

    texts: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Texts, each a tuple of one or two strings, and their labels: class ids, numbers (regression)
    or `Answers` (span)."""

    texts: list[tuple[str, ...]]
    labels: list


def load(
    name: str,
    split: str,
    source: TaskSource,
    limit: int = 0,
    for_training: bool = False,
    seed: int | None = None,
) -> Examples:
    """The labelled examples of a task, or `limit` of them: the first, or with a `seed` a random
    sample without replacement.

    split: train, or one of `validation_splits(name, source)`.
    for_training: raise InputError if all examples have the same class.

    Raises InputError that names the file and the missing column or wrong label.
    """
    task = TASKS[name]
    records, origin = _records(name, split, source, limit if seed is None else 0)
    if limit and limit < len(records):
        chosen = np.random.default_rng(seed).choice(len(records), limit, replace=False)
        records = [records[number] for number in chosen]
    if not records:
        raise InputError(f"{origin}: no records; the task {name} needs at least one")
    columns, texts, labels = (*task.text, task.label), [], []
    for number, record in enumerate(records, 1):
        where = f"{origin}, record {number}"
        for column in columns:
            if record.get(column) is None:
                problem = "nothing in" if column in record else "no"
                raise InputError(
                    f"{where}: {problem} column {column!r}; {name} needs {', '.join(columns)}, "
                    f"found {', '.join(map(str, record)) or 'none'}"
                )
            if column in task.text and not isinstance(record[column], str | int | float):
                raise InputError(f"{where}: {column} is not text: {str(record[column])[:60]}")
        texts.append(tuple(str(record[column]) for column in task.text))
        labels.append(_label(task, record, where))
    if for_training and task.kind == "classification" and len(set(labels)) == 1 < len(labels):
        raise InputError(
            f"{origin}: all {len(labels)} records have the label {task.labels[labels[0]]}; "
            f"training for {name} needs at least two classes"
        )
    return Examples(texts, labels)


def training_task(name: str, kind: str) -> str:
    """The task whose training data a task uses, itself or another, in a source of this kind. Which
    toy tasks use another's is said in TOY_TASKS."""
    return (toy.TOY_TASKS if kind == "toy" else TASKS)[name].trains_on or name


def validation_splits(name: str, source: TaskSource) -> dict[str, str]:
    """The validation splits of a task in a source, each with the suffix of its metrics' names. A
    second split of files is optional."""
    first, *further = TASKS[name].validations
    if source.kind == "files":
        further = [pair for pair in further if _find_file(_folder(name, source), pair[0])]
    return dict([first, *further])


def evaluation_languages(name: str, source: TaskSource, languages: Sequence[str] = ()) -> list[str]:
    """The languages a task is evaluated in: `languages` if its validation data come in several,
    otherwise its only one. Raises InputError for a language that the source lacks, and if a task in
    several languages is given none."""
    task = TASKS[name]
    if not task.languages:
        return [source.language or task.language]
    available = TOY_LANGUAGES if source.kind == "toy" else task.languages
    if not languages:
        raise InputError(
            f"languages: {name} is evaluated in several; name at least one of "
            f"{', '.join(available)}"
        )
    for language in languages:
        if language not in available:
            raise InputError(
                f"languages: {name} does not come in {language!r}; available are "
                f"{', '.join(available)}"
            )
    return list(languages)


def check(name: str, source: TaskSource, languages: Sequence[str] = ()) -> None:
    """Check before any training that the task exists in every language of evaluation, and that its
    files can be read and have the right columns and labels. Raises InputError."""
    if name not in TASKS:
        raise InputError(f"tasks: unknown task {name!r}; known are {', '.join(TASKS)}")
    if source.kind == "toy" and source.language not in TOY_LANGUAGES:
        raise InputError(
            f"task_language: unknown toy language {source.language!r}; known are "
            f"{', '.join(TOY_LANGUAGES)}"
        )
    if source.kind == "toy" and name not in toy.TOY_TASKS:
        raise InputError(
            f"tasks: the toy languages have no task {name!r}; they have {', '.join(toy.TOY_TASKS)}"
        )
    languages = evaluation_languages(name, source, languages)
    if source.kind == "files":
        load(name, "train", source, for_training=True)
        for language in languages:
            for split in validation_splits(name, source):
                load(name, split, replace(source, language=language))


# ------------------------------------------------------------------------------------------- labels


def _label(task: Task, record: dict, where: str) -> int | float | Answers:
    """A record's label: a class id, a number, or the answers. Files may give classes by name or by
    id."""
    value = record[task.label]
    if task.kind == "span":
        context = record[task.text[1]]
        return _answers(context, value, where)
    if str(value) in ("-1", "-1.0"):
        raise InputError(
            f"{where}: label -1 marks a record without a label, as in GLUE's test sets; use "
            f"labelled records"
        )
    if task.kind == "regression":
        return _number(task, value, where)
    if value in task.labels:
        return task.labels.index(value)
    if str(value) in map(str, range(len(task.labels))):
        return int(value)
    raise InputError(
        f"{where}: label {value!r} is not one of {', '.join(task.labels)}, or "
        f"0 … {len(task.labels) - 1}"
    )


def _number(task: Task, value, where: str) -> float:
    """The number that a task of regression has as its label, within `label_range`."""
    low, high = task.label_range
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise InputError(f"{where}: label {value!r} is not a number from {low:g} to {high:g}")
    return number


def _answers(context: str, value, where: str) -> Answers:
    """SQuAD's {text: [...], answer_start: [...]}, starts in characters of the context."""
    shape = "answers need text and answer_start, two lists of the same length, at least 1"
    if not isinstance(value, dict) or not value.get("text"):
        raise InputError(f"{where}: {shape}; found {str(value)[:60]!r}")
    texts, starts = list(value["text"]), list(value.get("answer_start") or [])
    if len(texts) != len(starts):
        raise InputError(f"{where}: {shape}; found {len(texts)} and {len(starts)}")
    for text, start in zip(texts, starts):
        if not text or start < 0 or not context.startswith(text, start):
            raise InputError(
                f"{where}: the answer {text!r} is not at character {start} of the context"
            )
    return Answers(tuple(texts), tuple(starts))


# ------------------------------------------------------------------------------------------ records


def _records(name: str, split: str, source: TaskSource, limit: int) -> tuple[list[dict], str]:
    """The records of a split, and in words where they come from, for messages. With limit 0 a toy
    task has TOY_RECORDS."""
    if source.kind == "toy":
        records = toy.task_records(source.language, name, split, limit or TOY_RECORDS, seed=0)
        return list(records), f"toy task {name}"
    owner = training_task(name, source.kind) if split == "train" else name
    if source.kind == "files":
        path = _file(owner, split, source)
        return _read(path, limit), str(path)
    task = TASKS[owner]
    config = source.language if task.languages else task.config
    revision = (source.revisions or {}).get(owner)
    try:
        rows = hub.rows(task.hub, config or None, split=split, revision=revision)
    except InputError as error:
        raise InputError(f"task {name}: {error}") from error
    if limit:
        rows = rows.select(range(min(limit, len(rows))))
    return list(rows), " ".join(filter(None, (task.hub, config, split)))


def _folder(name: str, source: TaskSource) -> Path:
    """The folder of a task's files, those of one language if it comes in several."""
    task = TASKS[name]
    folder = to_path(source.folder) / task.suite
    if name != task.suite:
        folder = folder / name
    return folder / source.language if task.languages else folder


def _find_file(folder: Path, split: str) -> Path | None:
    """The .jsonl or .tsv file of a split, None if there is neither."""
    paths = [folder / f"{split}.{ending}" for ending in ("jsonl", "tsv")]
    return next((path for path in paths if path.is_file()), None)


def _file(name: str, split: str, source: TaskSource) -> Path:
    """The file of a split. A task's first validation split may simply be called validation, but a
    test split may not."""
    folder = _folder(name, source)
    path = _find_file(folder, split)
    first_split, _ = TASKS[name].validations[0]
    if path is None and split == first_split and split != "test":
        path = _find_file(folder, "validation")
    if path is None:
        raise InputError(
            f"{folder}: no {split}.jsonl and no {split}.tsv; put the task's {split} records there"
        )
    return path


def _read(path: Path, limit: int) -> list[dict]:
    """The records of a .jsonl or .tsv file, the first `limit` of them, or all with 0."""
    records: list[dict] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if path.suffix == ".tsv":
                # KLEJ's files hold bare quotation marks: with csv's default quoting a record would
                # swallow its neighbours.
                rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            else:
                rows = (json.loads(line) for line in lines if line.strip())
            for record in islice(rows, limit or None):
                if not isinstance(record, dict):
                    raise InputError(
                        f"{path}, record {len(records) + 1}: not a JSON object with columns"
                    )
                records.append(record)
    except UnicodeDecodeError as error:
        number = len(records) + 1
        raise InputError(f"{path}: not UTF-8 ({error.reason} near record {number})") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, record {len(records) + 1}: not JSON ({error.msg})") from error
    return records
