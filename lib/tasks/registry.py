"""The tasks students are judged by. A new task is one entry in `TASKS` (and, for `tiny`, one in
`toytasks.TASKS`)."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

from lib.common import hub
from lib.common.errors import InputError
from lib.common.places import to_path


@dataclass(frozen=True)
class Task:
    """Where a task's records are, how they read, and how a model is scored.

    `text` names one or two columns; `labels` is the fixed order of the classes, so that a label's
    id is the same in every process and for every subset; `kind` is classification, regression (a
    number in `range_of_label`) or span (an answer in the second text); `trains_on` names the task
    whose training data it borrows; `validations` maps each validation split to what its metrics'
    names end in; `languages` are those the validation data come in, each a part of the hub's data
    set and a folder of the files, empty where there is one language only.
    """

    suite: str
    hub: str
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...] = ()
    language: str = "en"
    metrics: tuple[str, ...] = ("accuracy",)
    kind: str = "classification"
    config: str = ""  # which part of the hub's data set
    trains_on: str = ""
    range_of_label: tuple[float, float] = (0.0, 5.0)  # of a regression
    validations: tuple[tuple[str, str], ...] = (("validation", ""),)
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """The gold answers of a question: `texts[i]` stands in the context from character `starts[i]`
    on."""

    texts: tuple[str, ...]
    starts: tuple[int, ...]


def _klej(name: str, labels: tuple[str, ...], trains_on: str = "") -> Task:
    return Task(
        "klej",
        f"allegro/klej-{name}",
        ("sentence",),
        "target",
        labels,
        language="pl",
        trains_on=trains_on,
    )


def _glue(name: str, text: tuple[str, ...], labels: tuple[str, ...], **more) -> Task:
    return Task("glue", "nyu-mll/glue", text, "label", labels, config=name, **more)


_POLEMO = (
    "__label__meta_amb",
    "__label__meta_minus_m",
    "__label__meta_plus_m",
    "__label__meta_zero",
)
_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")
_MATCHED = (("validation_matched", ""), ("validation_mismatched", "_mismatched"))
_INFERRED = ("entailment", "neutral", "contradiction")

TASKS = {
    "nkjp-ner": _klej(
        "nkjp-ner", ("geogName", "noEntity", "orgName", "persName", "placeName", "time")
    ),
    "polemo2-in": _klej("polemo2-in", _POLEMO),
    "polemo2-out": _klej("polemo2-out", _POLEMO, trains_on="polemo2-in"),
    # GLUE: classes in the order of the hub's label ids, metrics of Wang et al. 2019, Table 1.
    "cola": _glue("cola", ("sentence",), ("unacceptable", "acceptable"), metrics=("matthews",)),
    "sst2": _glue("sst2", ("sentence",), ("negative", "positive")),
    "mrpc": _glue("mrpc", _PAIR, ("not_equivalent", "equivalent"), metrics=("accuracy", "f1")),
    "qqp": _glue(
        "qqp",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
    ),
    "stsb": _glue("stsb", _PAIR, (), metrics=("pearson", "spearman"), kind="regression"),
    "mnli": _glue("mnli", ("premise", "hypothesis"), _INFERRED, validations=_MATCHED),
    "qnli": _glue("qnli", ("question", "sentence"), _ENTAILED),
    "rte": _glue("rte", _PAIR, _ENTAILED),
    "wnli": _glue("wnli", _PAIR, ("not_entailment", "entailment")),
    "squad": Task(
        "squad",
        "rajpurkar/squad",
        ("question", "context"),
        "answers",
        kind="span",
        metrics=("exact_match", "f1"),
    ),
    # Zero-shot across languages (Conneau et al. 2018): fine-tuned on English, measured on the test
    # split as in 004. The English training pairs are MNLI's: the hub's facebook/xnli holds the same
    # 392,702, once more for every language.
    "xnli": Task(
        "xnli",
        "facebook/xnli",
        ("premise", "hypothesis"),
        "label",
        _INFERRED,
        trains_on="mnli",
        validations=(("test", ""),),
        languages=tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split()),
    ),
}


@dataclass(frozen=True)
class TaskSource:
    """Where records come from: `toy` (a toy language), `hub`, or `files`, a folder of
    <suite>/<task>/<split>.jsonl or .tsv; squad and xnli are suites of one task, with their files in
    squad/ and xnli/<language>/.

    `language` is the records' own; of hub and files it matters to the validation data of a task in
    several languages only.
    """

    kind: str
    folder: str = ""
    language: str = ""
    revisions: dict[str, str] | None = None  # task -> pinned revision of its hub data set
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Texts, each a tuple of one or two strings, and their labels: class ids, numbers (regression)
    or `Answers` (span)."""

    texts: list[tuple[str, ...]]
    labels: list


def load(
    name: str, split: str, source: TaskSource, limit: int = 0, to_learn: bool = False
) -> Examples:
    """The labelled examples of a task; `split` is train or one of `validations(name, source)`,
    `limit` > 0 keeps the first so many, `to_learn` wants two classes at least.

    Raises InputError naming the file, the column or the label that is wrong.
    """
    task = TASKS[name]
    records, where = _records(name, split, source, limit)
    if not records:
        raise InputError(f"{where}: no records; the task {name} needs at least one")
    texts, labels = [], []
    for number, record in enumerate(records, 1):
        at = f"{where}, record {number}"
        for column in (*task.text, task.label):
            if column not in record or record[column] is None:
                found = ", ".join(map(str, record)) or "none"
                raise InputError(
                    f"{at}: {'nothing in' if column in record else 'no'} column {column!r}; "
                    f"{name} needs "
                    f"{', '.join((*task.text, task.label))}, found {found}"
                )
            if column in task.text and not isinstance(record[column], str | int | float):
                raise InputError(f"{at}: {column} is no text but {str(record[column])[:60]}")
        texts.append(tuple(str(record[column]) for column in task.text))
        labels.append(_label(task, record, at))
    if to_learn and task.kind == "classification" and len(set(labels)) == 1 < len(labels):
        raise InputError(
            f"{where}: all {len(labels)} records have the label {task.labels[labels[0]]}; {name} "
            f"needs two classes "
            "or more to learn from"
        )
    return Examples(texts, labels)


def validations(name: str, source: TaskSource) -> dict[str, str]:
    """The validation splits of a task that its source has, each with what its metrics' names end
    in. The first always is among them; of files, a further one only if its file is there."""
    first, *further = TASKS[name].validations
    if source.kind == "files":
        further = [pair for pair in further if _found(_folder(name, source), pair[0])]
    return dict([first, *further])


def evaluated_in(name: str, source: TaskSource, languages: Sequence[str] = ()) -> list[str]:
    """The languages a task is evaluated in: `languages` if its validation data come in several,
    else the one it has.

    Raises InputError for a language the source does not have, or if there is none.
    """
    task, known = TASKS[name], TASKS[name].languages
    if not known:
        return [source.language or task.language]
    if source.kind == "toy":
        from lib.data.toy.languages import LANGUAGES

        known = tuple(LANGUAGES)
    if not languages:
        raise InputError(
            f"languages: {name} is evaluated in several; name at least one of {', '.join(known)}"
        )
    if unknown := [language for language in languages if language not in known]:
        raise InputError(
            f"languages: there is no {unknown[0]!r} of {name}; there are {', '.join(known)}"
        )
    return list(languages)


def check(name: str, source: TaskSource, languages: Sequence[str] = ()) -> None:
    """Before any compute: the task exists in every language it is to be evaluated in, and its files
    can be read, with their columns and labels."""
    if name not in TASKS:
        raise InputError(f"tasks: unknown task {name!r}; known are {', '.join(TASKS)}")
    if source.kind == "toy":
        from lib.data.toy.languages import LANGUAGES
        from lib.data.toy.tasks import TOY_TASKS

        if source.language not in LANGUAGES:
            raise InputError(
                f"task_language: unknown toy language {source.language!r}; known are "
                f"{', '.join(LANGUAGES)}"
            )
        if name not in TOY_TASKS:
            raise InputError(
                f"tasks: the toy languages have no task {name!r}; they have {', '.join(TOY_TASKS)}"
            )
    found = evaluated_in(name, source, languages)
    if source.kind == "files":
        load(name, "train", source, to_learn=True)
        for language in found:
            for split in validations(name, source):
                load(name, split, replace(source, language=language))


# ------------------------------------------------------------------------------------------- labels


def _label(task: Task, record: dict, at: str):
    """The label of a record: a class id, a number, or the answers. Files may give classes by name
    or by id."""
    given = record[task.label]
    if task.kind == "span":
        return _answers(record["context"], given, at)
    if str(given) in ("-1", "-1.0"):
        raise InputError(
            f"{at}: label -1 marks a record without a label, as in GLUE's test sets; put a "
            f"labelled one there"
        )
    if task.kind == "regression":
        return _number(task, given, at)
    if given in task.labels:
        return task.labels.index(given)
    if str(given) in map(str, range(len(task.labels))):
        return int(given)
    allowed = f"one of {', '.join(task.labels)}" + f", or 0 … {len(task.labels) - 1}"
    raise InputError(f"{at}: label {given!r} is not {allowed}")


def _number(task: Task, given, at: str) -> float:
    low, high = task.range_of_label
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{at}: label {given!r} is not a number from {low:g} to {high:g}")
    return value


def _answers(context: str, given, at: str) -> Answers:
    """SQuAD's {text: [...], answer_start: [...]}, starts in characters of the context."""
    shape = "answers need text and answer_start, two lists of one length, at least 1"
    if not isinstance(given, dict) or not given.get("text"):
        raise InputError(f"{at}: {shape}; found {str(given)[:60]!r}")
    texts, starts = list(given["text"]), list(given.get("answer_start") or [])
    if len(texts) != len(starts):
        raise InputError(f"{at}: {shape}; found {len(texts)} and {len(starts)}")
    for text, start in zip(texts, starts):
        if not text or start < 0 or not context.startswith(text, start):
            raise InputError(
                f"{at}: the answer {text!r} does not stand at character {start} of the context"
            )
    return Answers(tuple(texts), tuple(starts))


# ------------------------------------------------------------------------------------------ records


def _records(name: str, split: str, source: TaskSource, limit: int) -> tuple[list[dict], str]:
    owner = TASKS[name].trains_on if split == "train" and TASKS[name].trains_on else name
    if source.kind == "toy":
        from lib.data.toy import tasks

        size = limit or 1000
        return list(
            tasks.task_records(source.language, name, split, size, source.seed)
        ), f"toy task {name}"
    if source.kind == "files":
        path = _file(_folder(owner, source), split, _first(owner, split))
        return _read(path, limit), str(path)
    dataset, config = (
        TASKS[owner].hub,
        source.language if TASKS[owner].languages else TASKS[owner].config,
    )
    try:
        rows = hub.rows(
            dataset, config or None, split=split, revision=(source.revisions or {}).get(owner)
        )
    except InputError as error:
        raise InputError(f"task {name}: {error}") from error
    where = f"{dataset} {config} {split}".replace("  ", " ")
    return list(rows.select(range(min(limit, len(rows))))) if limit else list(rows), where


def _folder(name: str, source: TaskSource) -> Path:
    suite = to_path(source.folder) / TASKS[name].suite
    folder = suite if name == TASKS[name].suite else suite / name  # squad is a suite of one
    return folder / source.language if TASKS[name].languages else folder


def _first(name: str, split: str) -> bool:
    return split == TASKS[name].validations[0][0] != "test"


def _found(folder: Path, split: str) -> Path | None:
    return next(
        (path for end in ("jsonl", "tsv") if (path := folder / f"{split}.{end}").is_file()), None
    )


def _file(folder: Path, split: str, first: bool) -> Path:
    """The file of a split. A task's first validation split may simply be called validation, but a
    test split may not."""
    path = _found(folder, split) or (_found(folder, "validation") if first else None)
    if path is None:
        raise InputError(
            f"{folder}: no {split}.jsonl and no {split}.tsv; put the task's {split} records there"
        )
    return path


def _read(path: Path, limit: int) -> list[dict]:
    records: list[dict] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            # KLEJ's files hold bare quotation marks: with csv's default quoting a record would
            # swallow its neighbours.
            rows = (
                csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                if path.suffix == ".tsv"
                else lines
            )
            for row in rows:
                if limit and len(records) == limit:
                    break
                if isinstance(row, dict):
                    records.append(row)
                elif row.strip():
                    records.append(json.loads(row))
                    if not isinstance(records[-1], dict):
                        raise InputError(
                            f"{path}, record {len(records)}: not a JSON object with columns"
                        )
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} near record {len(records) + 1})"
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, record {len(records) + 1}: not JSON ({error.msg})") from error
    return records
