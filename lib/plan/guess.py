"""What the files of a user's tasks and text are taken to hold, by their names and their first
records."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.common import places
from lib.common.errors import InputError
from lib.common.parameters import NAME
from lib.data.textfiles import OPENERS, text_lines
from lib.tasks import examples
from lib.tasks.examples import ENTITY_TAG
from lib.tasks.parameters import Finetune
from lib.tasks.records import TABLES, TAGGED, TAGS, WORDS, find_file, read_records
from lib.tasks.registry import TASKS

LOOKED_AT = 2000
"""Records of a task that are looked at."""
SAMPLE = 500
"""Examples of a task that are tokenised."""
BETWEEN = 2
"""Special tokens between the two texts of a pair, at most: RoBERTa's."""
LABELS = """label labels target class category gold y answer score rating stars sentiment similarity
    intent topic tag polarity emotion""".split()
"""What a column of labels is called, most likely ones first."""
NUMBERS = ("id", "idx", "index", "guid", "uid", "pid", "")
"""Columns that only number the records."""
MOST_CLASSES = 30
"""Whole numbers with more values than this are a scale, and no classes."""


@dataclass(frozen=True)
class FoundTask:
    """A task and how large it is. `entry` is what a scale file says of it; `length` its mean number
    of tokens, special ones included; `said` what it was found to be, in words."""

    name: str
    entry: dict
    train: int
    validation: int
    length: float
    max_length: int
    said: str

    @property
    def is_span(self) -> bool:
        return self.entry["kind"] == "span"

    def __str__(self) -> str:
        columns = " and ".join(filter(None, (_listed(self.entry.get("text")), self.label)))
        return f"{self.said}; columns {columns}" if columns else self.said

    @property
    def label(self) -> str:
        return self.entry.get("label", "")


def _listed(text) -> str:
    return ", ".join(text) if isinstance(text, list) else text or ""


def look_at_tasks(path: str, tokenizer, positions: int) -> list[FoundTask]:
    """The tasks in a folder: each a subfolder with a file `train`, or a file. Raises InputError if
    there is none, or one cannot be understood."""
    folder = places.to_path(path).resolve()
    if _training_file(folder):
        return [look_at_task(folder, tokenizer, positions)]
    places.require_folder(path, "its folder")
    found = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    tasks = [entry for entry in found if _training_file(entry)]
    if not tasks:
        endings = ", ".join(dict.fromkeys((*TABLES, *TAGGED)))
        raise InputError(
            f"{folder} has no task: each is a subfolder with a file called train, or one file; "
            f"allowed are {endings}, also as .gz"
        )
    places_by_name: dict[str, Path] = {}
    for task in tasks:
        other = places_by_name.setdefault(_name(task), task)
        if other is not task:
            raise InputError(
                f"{folder}: {other.name} and {task.name} are both the task {_name(task)}; rename "
                f"one of them"
            )
    return [look_at_task(task, tokenizer, positions) for task in tasks]


def _name(place: Path) -> str:
    """What a task in a folder or a file is called: as that is, without endings."""
    name = place.name.split(".")[0] if place.is_file() else place.name
    return f"own-{name}" if name in TASKS else name


def look_at_task(place: Path, tokenizer, positions: int) -> FoundTask:
    """A task in a folder or in one file. Raises InputError."""
    name = _name(place)
    if not NAME.fullmatch(name):
        raise InputError(
            f"{place}: not a valid task name; allowed are letters, digits, dots, dashes"
        )
    entry = {"files": str(place)} | guess_columns(_training_file(place))
    alone = Finetune(model="", tasks=[name], own_tasks={name: entry}, seeds=[1], learning_rate=1)
    source = examples.TaskSource.of(examples.settled(alone))
    said = examples.check(name, source).removeprefix("task ")
    parts = {split: examples.load(name, split, source) for split in ("train", "validation")}
    texts = parts["train"].texts[:SAMPLE]
    if entry["kind"] == "token_classification":
        texts = [(" ".join(words),) for words in texts]
    encoded = tokenizer([" ".join(text) for text in texts], verbose=False)["input_ids"]
    lengths = [len(ids) + BETWEEN * (len(text) - 1) for ids, text in zip(encoded, texts)]
    most = min(positions, 256)
    max_length = usual_length(lengths, most)
    return FoundTask(
        name=name,
        entry=entry,
        train=len(parts["train"].labels),
        validation=len(parts["validation"].labels),
        length=sum(min(length, max_length) for length in lengths) / len(lengths),
        max_length=most if entry["kind"] == "span" else max_length,
        said=said,
    )


def usual_length(lengths: Iterable[int], most: int) -> int:
    """The length that holds 95 % of texts whole, special tokens included as in `lengths`: a
    multiple of 16, or `most`."""
    lengths = sorted(lengths)
    usual = lengths[int(0.95 * (len(lengths) - 1))]
    return min(most, 16 * math.ceil(usual / 16))


def _training_file(place: Path) -> Path | None:
    """The file of a task's training records; None if `place` is no task."""
    if place.is_dir():
        return find_file(place, "train") or find_file(place, "train", TAGGED)
    return place if _ending(place) in (*TABLES, *TAGGED) else None


def _ending(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix in OPENERS else path.suffix


def guess_columns(path: Path) -> dict:
    """The kind of a task, and its columns of text and label, by a file of its records. Raises
    InputError where that is not clear."""
    ending = _ending(path)
    if ending not in TABLES or ending == ".tsv" and _is_conll(path):
        sentences = read_records(path, LOOKED_AT, columns=(0, -1))
        return {"kind": "token_classification"} | _metrics(record[TAGS] for record in sentences)
    records = read_records(path, LOOKED_AT)
    if not records:
        raise InputError(f"{path} has no records")
    values = {name: [record.get(name) for record in records] for name in records[0]}
    if all(isinstance(value, dict) for value in values.get("answers", [None])):
        return {"kind": "span"}
    lists = [name for name, column in values.items() if isinstance(column[0], list)]
    if lists:
        columns = _words_and_tags(path, lists, values)
        metrics = _metrics(values[columns["label"]])
        return {"kind": "token_classification"} | columns | metrics
    label = _label_column(path, values)
    if label in map(str, values[label]):
        raise InputError(
            f"{path} begins with a record; its first line has to name the columns, as text,label"
        )
    kind = "regression" if _is_scale(values[label]) else "classification"
    text = _text_columns(path, {key: values[key] for key in values if key != label})
    if len(text) == 2 and kind == "classification":
        kind = "pair"
    return {"kind": kind, "text": text if len(text) > 1 else text[0], "label": label}


def _is_conll(path: Path) -> bool:
    """Whether a .tsv file is a word a line, with empty lines between sentences. A table may have an
    empty line too, but it has texts of several words between its tabs."""
    lines = [line.strip() for line, _ in zip(text_lines(path), range(LOOKED_AT))]
    texts = [line for line in lines if "\t" in line and " " in line]
    return "" in lines[:-1] and 2 * len(texts) < len(lines)


def _words_and_tags(path: Path, lists: Sequence[str], values: dict[str, list]) -> dict:
    """The columns of words and of their tags: those of few different ones are the tags."""
    if len(lists) != 2:
        raise InputError(
            f"{path}: cannot tell which of the columns {', '.join(values)} are the lists of words "
            f"and of tags; name them {WORDS} and {TAGS}"
        )
    different = {name: len({str(v) for row in values[name] for v in row}) for name in lists}
    words, tags = sorted(lists, key=lambda name: (name != WORDS, name == TAGS, -different[name]))
    return {"text": words, "label": tags}


def _metrics(tags: Iterable[list]) -> dict:
    """What tags are scored by that are none of entities: how many are right."""
    found = {str(tag) for own in tags if isinstance(own, list) for tag in own}
    return {} if all(map(ENTITY_TAG.fullmatch, found)) else {"metrics": ["accuracy"]}


def _label_column(path: Path, values: dict[str, list]) -> str:
    """The column of the label: by its name, or else the only one with few different values, or the
    only one of numbers."""
    for name in LABELS:
        for column in values:
            if column.lower() == name:
                return column
    few = [
        column
        for column, own in values.items()
        if 1 < len(set(map(str, own))) <= max(2, min(20, len(own) // 5))
    ]
    if len(few) != 1:
        few = [
            column
            for column, own in values.items()
            if column.lower() not in NUMBERS and all(map(_is_number, own))
        ]
    if len(few) != 1:
        raise InputError(
            f"{path}: cannot tell which of the columns {', '.join(values)} is the label; name it "
            f"label"
        )
    return few[0]


def _text_columns(path: Path, values: dict[str, list]) -> list[str]:
    """The column of the text, or two of about the same length."""
    lengths = {
        column: sum(len(str(value)) for value in own) / len(own)
        for column, own in values.items()
        if column.lower() not in NUMBERS and not all(_is_number(value) for value in own)
    }
    if not lengths:
        raise InputError(f"{path}: none of the columns {', '.join(values)} holds text")
    longest = sorted(lengths, key=lambda column: -lengths[column])
    if len(longest) == 2 and 4 * lengths[longest[1]] > lengths[longest[0]]:
        return list(lengths)  # in the order of the file
    return longest[:1]


def _is_number(value) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _is_scale(values: list) -> bool:
    """Whether labels are numbers on a scale: fractions, or very many of them."""
    if not all(_is_number(value) for value in values):
        return False
    numbers = {float(value) for value in values}
    return len(numbers) > MOST_CLASSES or not all(number.is_integer() for number in numbers)


def text_column(paths: Sequence[Path]) -> str:
    """The column of the text in the first .jsonl file, `text` or the longest; `text` if there is no
    such file."""
    path = next((path for path in paths if _ending(path) == ".jsonl"), None)
    record = read_records(path, 1) if path else []
    if not record or "text" in record[0]:
        return "text"
    return max(record[0], key=lambda name: len(str(record[0][name])))
