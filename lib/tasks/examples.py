"""Labelled examples of the tasks, read from a toy language, from files or from the hub."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from lib.common import hub
from lib.common.errors import InputError
from lib.common.places import to_path
from lib.data.toy import tasks as toy
from lib.data.toy.languages import LANGUAGES as TOY_LANGUAGES
from lib.tasks.parameters import Finetune, OwnTask
from lib.tasks.records import TABLES, TAGGED, find_file, read_records
from lib.tasks.registry import TASKS, Task

TOY_RECORDS = 4000
"""Of each split of a toy task, where all are asked for: samples are drawn from them."""
CUT_OFF = 0.1
"""The share of an own task's training records that validates where it has no validation file."""
VALIDATION = ("validation", "valid", "val", "dev")
"""What the validation file of an own task may be called."""
MOST_CLASSES = 1000
WHOLE = re.compile(r"-?\d+")
ENTITY_TAG = re.compile(r"O|[BIESLU]-.+")
"""Tags of which seqeval makes entities: O outside of all, B-PER at the beginning of one, …"""


@dataclass(frozen=True)
class TaskSource:
    """Where records come from: `toy` (a toy language), `hub`, or `files`, a folder of
    <suite>/<task>/<split>.jsonl, .tsv or .csv; squad and xnli are suites of one task, with their
    files in squad/ and xnli/<language>/. Those of `own` tasks come from where these say.

    `language` is that of the records; for hub and files it only matters to the validation data of a
    task in several languages. `revisions` pins a revision of a task's data set on the hub.
    """

    kind: str
    folder: str = ""
    language: str = ""
    revisions: dict[str, str] | None = None
    own: Mapping[str, OwnTask] = field(default_factory=dict)

    @classmethod
    def of(cls, p: Finetune) -> "TaskSource":
        """The source that the parameters of a fine-tuning stage name."""
        folder, language = p.task_folder, p.task_language
        return cls(p.task_source, folder, language, p.task_revisions, p.own_tasks)

    def task(self, name: str) -> Task:
        """A task by its name, own or published."""
        return self.own[name].task() if name in self.own else TASKS[name]


@dataclass(frozen=True)
class Answers:
    """The gold answers of a question: `texts[i]` starts at character `starts[i]` of the context."""

    texts: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Texts, each a tuple of one or two strings, and their labels: class ids, numbers (regression)
    or `Answers` (span). For token_classification a text is a tuple of words, and its label a tuple
    of as many class ids."""

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
    task = source.task(name)
    records, origin = _records(name, split, source, limit if seed is None else 0)
    if not records:
        raise InputError(f"{origin}: no records; the task {name} needs at least one")
    if limit and limit < len(records):
        numbers = range(limit)
        if seed is not None:
            numbers = np.random.default_rng(seed).choice(len(records), limit, replace=False)
        records = [records[number] for number in numbers]
    texts, labels = [], []
    for number, record in records:
        where = f"{origin}, record {number}"
        _require_columns(task, name, record, where)
        texts.append(_text(task, record, where))
        labels.append(_label(task, record, where, ids=name not in source.own))
    classes = {label for own in labels for label in own} if task.tags else set(labels)
    if for_training and task.labels and len(classes) == 1 and len(labels) > 1:
        raise InputError(
            f"{origin}: all {len(labels)} records have the label {task.labels[classes.pop()]}; "
            f"training for {name} needs at least two classes"
        )
    return Examples(texts, labels)


def training_task(name: str, source: TaskSource) -> str:
    """The task whose training data a task uses, itself or another. Which toy tasks use another's is
    said in TOY_TASKS."""
    if name in source.own:
        return name
    return (toy.TOY_TASKS if source.kind == "toy" else TASKS)[name].trains_on or name


def validation_splits(name: str, source: TaskSource) -> dict[str, str]:
    """The validation splits of a task in a source, each with the suffix of its metrics' names. A
    second split of files is optional."""
    first, *further = source.task(name).validations
    if further and source.kind == "files":
        further = [pair for pair in further if find_file(_folder(name, source), pair[0])]
    return dict([first, *further])


def evaluation_languages(name: str, source: TaskSource, languages: Sequence[str] = ()) -> list[str]:
    """The languages a task is evaluated in: `languages` if its validation data come in several,
    otherwise its only one. Raises InputError for a language that the source lacks, and if a task in
    several languages is given none."""
    task = source.task(name)
    if not task.languages:
        return [task.language if name in source.own else source.language or task.language]
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


def check(name: str, source: TaskSource, languages: Sequence[str] = ()) -> str:
    """Check before any training that the task exists in every language of evaluation, and that its
    files can be read and have the right columns and labels. Returns what an own task was found to
    be, in words, else "". Raises InputError."""
    if name in source.own:
        return _check_own(name, source.own[name]) if source.own[name].files else ""
    if name not in TASKS:
        known = ", ".join([*source.own, *TASKS])
        raise InputError(f"tasks: unknown task {name!r}; known are {known}")
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
    return ""


def repeated(name: str, source: TaskSource) -> int:
    """How many validation texts of an own task are among its training texts. Raises InputError."""
    known = set(load(name, "train", source).texts)
    return sum(text in known for text in load(name, "validation", source).texts)


def files(name: str, source: TaskSource, languages: Sequence[str] = ()) -> list[Path]:
    """The files that a fine-tuning reads for a task; none where its records are toy ones, or on the
    hub. Raises InputError for one that is not there."""
    if own := source.own.get(name):
        if not own.files:  # an id, or a folder in the hub's format
            folder = hub.ModelRef(own.hub).folder
            return sorted(path for path in folder.rglob("*") if path.is_file())
        return list(filter(None, (_own_file(own, split) for split in ("train", "validation"))))
    if source.kind != "files":
        return []
    paths = [_file(training_task(name, source), "train", source)]
    for language in evaluation_languages(name, source, languages):
        there = replace(source, language=language)
        paths += [_file(name, split, there) for split in validation_splits(name, there)]
    return paths


# ------------------------------------------------------------------------------- texts and labels


def _require_columns(task: Task, name: str, record: dict, where: str) -> None:
    """Raise InputError unless a record has the columns of the text and the label. A text may be
    empty."""
    columns = (*task.text, task.label)
    for column in columns:
        value = record.get(column)
        if value is None or column == task.label and not str(value).strip():
            problem = "an empty cell in" if column in record else "no"
            raise InputError(
                f"{where}: {problem} column {column!r}; {name} needs {', '.join(columns)}, "
                f"found {', '.join(map(str, record)) or 'none'}"
            )


def _text(task: Task, record: dict, where: str) -> tuple[str, ...]:
    """The texts of a record, or its words if they have tags."""
    if not task.tags:
        return tuple(_one_text(record[column], f"{where}: {column}") for column in task.text)
    (column,) = task.text
    words = record[column]
    if not isinstance(words, list) or not words:
        raise InputError(f"{where}: {column} is no list of words: {str(words)[:60]!r}")
    return tuple(_one_text(word, f"{where}: {column}") for word in words)


def _one_text(value, where: str) -> str:
    """A text; a number stands for its digits. Raises InputError for what else JSON has, and for
    half a surrogate pair, which no tokenizer reads."""
    if isinstance(value, str):
        if not value.isascii() and re.search("[\ud800-\udfff]", value):
            raise InputError(f"{where} has half a surrogate pair; allowed: Unicode text")
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise InputError(f"{where} is not text: {str(value)[:60]}")
    return str(value)


def _label(
    task: Task, record: dict, where: str, ids: bool = True
) -> int | float | Answers | tuple[int, ...]:
    """A record's label: a class id, a number, the answers, or the class ids of all words. Files may
    give classes by name or, with `ids`, by id."""
    value = record[task.label]
    if task.kind == "span":
        return _answers(str(record[task.text[1]]), value, where)
    if task.tags:
        tags, words = value if isinstance(value, list) else [], record[task.text[0]]
        if len(tags) != len(words):
            found = f"{len(tags)} for {len(words)} words" if tags else repr(str(value)[:60])
            raise InputError(f"{where}: {task.label} needs a tag for each word; found {found}")
        return tuple(_class(task, tag, f"{where}: tag", ids) for tag in tags)
    if ids and str(value) in ("-1", "-1.0"):
        raise InputError(
            f"{where}: label -1 marks a record without a label, as in GLUE's test sets; use "
            f"labelled records"
        )
    if task.kind == "regression":
        return _number(task, value, where)
    return _class(task, value, f"{where}: label", ids)


def _class(task: Task, value, where: str, ids: bool) -> int:
    """The id of a class, whose name may stand in `labels` as the file writes it, such as 1.0."""
    if str(value) in task.labels:
        return task.labels.index(str(value))
    try:
        name = class_name(value)
    except ValueError:
        name = repr(value)
    if name in task.labels:
        return task.labels.index(name)
    last = len(task.labels) - 1
    if ids and name in map(str, range(last + 1)):
        return int(name)
    by_id = f", or 0 … {last}" if ids else ""
    raise InputError(f"{where} {value!r} is not one of {', '.join(task.labels)}{by_id}")


def class_name(value) -> str:
    """What a class is called that files give as text, as a number or as a truth value: 1.0 is 1,
    as pandas writes whole numbers beside a missing one. Raises ValueError."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) or isinstance(value, str) and value.strip():
        return re.sub(r"^(-?\d+)\.0+$", r"\1", str(value).strip())
    if isinstance(value, list):
        raise ValueError("a list is no class; lists of tags are of the kind token_classification")
    raise ValueError(f"{value!r} is no class")


def _number(task: Task, value, where: str) -> float:
    """The number that a task of regression has as its label, within `label_range`."""
    low, high = task.label_range or (-math.inf, math.inf)
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high or math.isinf(number):
        within = f" from {low:g} to {high:g}" if task.label_range else ""
        raise InputError(f"{where}: label {value!r} is not a number{within}")
    return number


def _answers(context: str, value, where: str) -> Answers:
    """SQuAD's {text: [...], answer_start: [...]}, starts in characters of the context."""
    shape = "answers need text and answer_start, two lists of the same length, at least 1"
    if not isinstance(value, dict) or not value.get("text"):
        raise InputError(f"{where}: {shape}; found {str(value)[:60]!r}")
    texts, starts = value["text"], value.get("answer_start") or []
    if not (isinstance(texts, list) and isinstance(starts, list)):
        raise InputError(f"{where}: {shape}; found {str(value)[:60]!r}")
    if len(texts) != len(starts):
        raise InputError(f"{where}: {shape}; found {len(texts)} and {len(starts)}")
    numbers = tuple(map(_whole, starts))
    for text, start, number in zip(texts, starts, numbers):
        if not text or not isinstance(text, str) or number is None:
            raise InputError(f"{where}: {shape}; found {text!r} at {start!r}")
        if number < 0 or not context.startswith(text, number):
            raise InputError(
                f"{where}: the answer {text!r} is not at character {start} of the context"
            )
    return Answers(tuple(texts), numbers)


def _whole(value) -> int | None:
    """A whole number, also as 8.0 or "8"; None if it is none."""
    if isinstance(value, bool):
        return None
    try:
        return int(value) if float(value).is_integer() else None
    except (TypeError, ValueError):
        return None


# ------------------------------------------------------------------------------------------ records

Records = list[tuple[int, dict]]
"""Each record with its number in its file, from 1."""


def _records(name: str, split: str, source: TaskSource, limit: int) -> tuple[Records, str]:
    """The records of a split, and in words where they come from, for messages. With limit 0 a toy
    task has TOY_RECORDS."""
    if name in source.own:
        records, origin, _ = _own_records(source.own[name], split)
        return records, origin
    if source.kind == "toy":
        records = toy.task_records(source.language, name, split, limit or TOY_RECORDS, seed=0)
        return list(enumerate(records, 1)), f"toy task {name}"
    owner = training_task(name, source) if split == "train" else name
    if source.kind == "files":
        path = _file(owner, split, source)
        return list(enumerate(read_records(path, limit), 1)), str(path)
    task = TASKS[owner]
    config = source.language if task.languages else task.config
    revision = (source.revisions or {}).get(owner)
    try:
        rows = hub.rows(task.hub, config or None, split=split, revision=revision)
    except InputError as error:
        raise InputError(f"task {name}: {error}") from error
    if limit:
        rows = rows.select(range(min(limit, len(rows))))
    return list(enumerate(rows, 1)), " ".join(filter(None, (task.hub, config, split)))


def _folder(name: str, source: TaskSource) -> Path:
    """The folder of a task's files, those of one language if it comes in several."""
    task = TASKS[name]
    folder = to_path(source.folder) / task.suite
    if name != task.suite:
        folder = folder / name
    return folder / source.language if task.languages else folder


def _file(name: str, split: str, source: TaskSource) -> Path:
    """The file of a split. A task's first validation split may simply be called validation, but a
    test split may not."""
    folder = _folder(name, source)
    path = find_file(folder, split)
    first_split, _ = TASKS[name].validations[0]
    if path is None and split == first_split and split != "test":
        path = find_file(folder, "validation")
    if path is None:
        raise InputError(
            f"{folder}: no {' and no '.join(split + ending for ending in TABLES)}; put the "
            f"task's {split} records there"
        )
    return path


# -------------------------------------------------------------------------------------- own tasks


def settled(p: Finetune) -> Finetune:
    """The parameters with the classes of all own tasks: where one names none, those of its training
    records, sorted. Raises InputError."""
    own = {name: _with_classes(name, own) for name, own in p.own_tasks.items() if name in p.tasks}
    return p.model_copy(update={"own_tasks": own})


def _with_classes(name: str, own: OwnTask) -> OwnTask:
    task, found = own.task(), list(own.labels)
    if task.kind not in ("classification", "token_classification"):
        return own
    if not found:
        records, origin, found = _own_records(own, "train", whole=True)
        found = found or _classes(task, name, records, origin)
    if task.tags and any(metric.startswith("entity") for metric in task.metrics):
        for tag in found:
            if not ENTITY_TAG.fullmatch(tag):
                raise InputError(
                    f"task {name}: the tag {tag!r} is none of an entity (O, B-PER, I-PER, …); for "
                    f"tags of any kind give metrics: [accuracy]"
                )
    try:
        return OwnTask(**own.model_dump(exclude_unset=True) | {"labels": found})
    except ValidationError as error:
        raise InputError(f"task {name}: {error.errors()[0]['ctx']['error']}") from None


def _classes(task: Task, name: str, records: Records, origin: str) -> list[str]:
    """The classes in records: numbers by their size, then names by the alphabet."""
    classes: set[str] = set()
    for number, record in records:
        where = f"{origin}, record {number}"
        _require_columns(task, name, record, where)
        value = record[task.label]
        try:
            classes.update(map(class_name, value if task.tags else [value]))
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: column {task.label!r}: {error}") from None
    if len(classes) > min(MOST_CLASSES, max(20, len(records) / 2)) and not task.tags:
        raise InputError(
            f"{origin}: {len(classes)} different labels in {len(records)} records are too many for "
            f"classes; the kind regression takes numbers, and labels: [...] any number of classes"
        )
    return sorted(classes, key=lambda name: (0, int(name)) if WHOLE.fullmatch(name) else (1, name))


def _own_records(own: OwnTask, split: str, whole: bool = False) -> tuple[Records, str, list[str]]:
    """The records of a split of an own task, where they come from, and the classes that the hub
    names. Where validation is cut off, both splits are parts of the training records, always the
    same ones; `whole` takes them all."""
    share = _cut_off(own)
    file = "train" if share else split
    if own.hub:
        records, origin, classes = _hub_records(own, file)
    else:
        path = _own_file(own, file)
        records, origin, classes = _read_own(path, own), str(path), []
    numbered = list(enumerate(records, 1))
    if share and not whole:
        if len(numbered) == 1:
            raise InputError(f"{origin}: of 1 record none can be cut off for validation")
        order = np.random.default_rng(0).permutation(len(numbered))
        cut = max(1, round(share * len(numbered)))
        chosen = order[:cut] if split == "validation" else order[cut:]
        numbered = [numbered[i] for i in sorted(chosen)]
    return numbered, origin, classes


def _cut_off(own: OwnTask) -> float:
    """The share of the training records that validates; 0 where validation has records of its
    own."""
    if own.validation_share or own.hub:
        return own.validation_share or 0.0
    return 0.0 if _own_file(own, "validation") else CUT_OFF


def _hub_records(own: OwnTask, split: str) -> tuple[list[dict], str, list[str]]:
    """The records of a split on the hub, with classes by name where the data set names them."""
    split = own.splits.get(split, split)
    rows = hub.rows(own.hub, own.config or None, split=split, revision=own.revision)
    records, label = list(rows), own.task().label
    feature = rows.features.get(label)
    classes = list(getattr(getattr(feature, "feature", feature), "names", []))

    def named(value):
        return classes[value] if value in range(len(classes)) else value

    for record in records if classes else ():
        value = record[label]
        record[label] = list(map(named, value)) if isinstance(value, list) else named(value)
    return records, " ".join(filter(None, (own.hub, own.config, split))), classes


def _own_file(own: OwnTask, split: str) -> Path | None:
    """The file of a split of an own task; None if it has no validation file."""
    place = to_path(own.files)
    if name := own.splits.get(split):
        if not (place / name).is_file():
            raise InputError(f"splits: {split}: there is no file {place / name}")
        return place / name
    if place.is_file():
        return place if split == "train" else None
    if not place.is_dir():
        raise InputError(f"there is no file and no folder {place}")
    endings = TAGGED if own.task().tags else TABLES
    for name in ("train",) if split == "train" else VALIDATION:
        if path := find_file(place, name, endings):
            return path
    if split == "train":
        raise InputError(f"{place}: no train file; allowed are train{', train'.join(endings)}")
    return None


def _read_own(path: Path, own: OwnTask) -> list[dict]:
    if not own.task().tags:
        return read_records(path)
    word = own.text if isinstance(own.text, int) else 0
    tag = own.label if isinstance(own.label, int) else -1
    return read_records(path, columns=(word, tag))


def _check_own(name: str, own: OwnTask) -> str:
    """Check the files of an own task; returns in words what was found."""
    own = _with_classes(name, own)
    task, source = own.task(), TaskSource("files", own={name: own})
    training = load(name, "train", source, for_training=True)
    validation = load(name, "validation", source)
    kind = task.kind.replace("_", " ")
    if task.labels:
        more = ", …" * (len(task.labels) > 20)
        kind += f" with {len(task.labels)} classes ({', '.join(task.labels[:20])}{more})"
    found = f"task {name}: {kind}, scored by {', '.join(task.metrics)}; {len(training.labels):,} "
    found += f"training and {len(validation.labels):,} validation records"
    if share := _cut_off(own):
        found += f", for which {share:.0%} of {_own_file(own, 'train').name} is cut off"
    if again := repeated(name, source):
        found += f"; {again:,} validation texts are among the training texts"
    return found
