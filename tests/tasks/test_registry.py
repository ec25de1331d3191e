"""Task files and toy tasks: columns, labels, errors, stable label ids."""

import json

import pytest

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.tasks import examples, registry
from lib.tasks.examples import Answers, TaskSource
from lib.tasks.registry import TASKS

DATA = ROOT.parent / "shared" / "data"


def folder(tmp_path, rows, task="nkjp-ner", split="train", ending="jsonl"):
    place = tmp_path / TASKS[task].suite / (task if task != "squad" else "")
    place.mkdir(parents=True, exist_ok=True)
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (place / f"{split}.{ending}").write_text(text, encoding="utf-8")
    return TaskSource("files", folder=str(tmp_path))


def test_records_and_label_ids(tmp_path):
    source = folder(
        tmp_path,
        [
            {"sentence": "Agata wypadła słabo .", "target": "persName"},
            {"sentence": "nic", "target": "noEntity"},
        ],
    )
    loaded = examples.load("nkjp-ner", "train", source)
    assert loaded.texts == [("Agata wypadła słabo .",), ("nic",)] and loaded.labels == [3, 1]
    assert examples.load("nkjp-ner", "train", source, limit=1).labels == [3]


def test_tsv_with_bare_quotation_marks_keeps_every_row(tmp_path):
    """csv's default quoting would swallow the rows between two stray quotation marks."""
    rows = 'sentence\ttarget\n"Ala ma kota\tpersName\nkot\tnoEntity\nto " jest\ttime\n'
    loaded = examples.load("nkjp-ner", "train", folder(tmp_path, rows, ending="tsv"))
    assert [text for (text,) in loaded.texts] == [
        '"Ala ma kota',
        "kot",
        'to " jest',
    ] and loaded.labels == [3, 1, 5]


def test_out_trains_on_in(tmp_path):
    source = folder(
        tmp_path, [{"sentence": "a", "target": "__label__meta_zero"}], task="polemo2-in"
    )
    assert examples.load("polemo2-out", "train", source).labels == [3]


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            [{"sentence": "a"}],
            r"train.jsonl, record 1: no column 'target'; nkjp-ner needs sentence, target, found sentence",
        ),
        ([{"sentence": "a", "target": "name"}], "record 1: label 'name' is not one of geogName"),
        ("{not json\n", "train.jsonl, record 1: not JSON"),
        ("", "train.jsonl: no records"),
    ],
)
def test_bad_files(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        examples.load("nkjp-ner", "train", folder(tmp_path, rows))


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(InputError, match="no train.jsonl and no train.tsv and no train.csv"):
        examples.load("nkjp-ner", "train", TaskSource("files", folder=str(tmp_path)))
    source = folder(tmp_path, "")
    (tmp_path / "klej/nkjp-ner/train.jsonl").write_bytes('{"sentence": "zażółć"}'.encode("cp1250"))
    with pytest.raises(InputError, match="not UTF-8"):
        examples.load("nkjp-ner", "train", source)
    with pytest.raises(InputError, match="unknown task 'cola2'; known are"):
        examples.check("cola2", source)


def test_label_order_is_written_down():
    """Ids come from the entry, never from a set or from the data at hand: KLEJ's sorted, GLUE's in
    the hub's order."""
    for name, task in TASKS.items():
        if task.suite == "klej":
            assert list(task.labels) == sorted(task.labels), name
    registered = {
        name: TASKS[name].labels
        for name in ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "wnli", "xnli")
    }
    assert registered == {
        "cola": ("unacceptable", "acceptable"),
        "sst2": ("negative", "positive"),
        "mrpc": ("not_equivalent", "equivalent"),
        "qqp": ("not_duplicate", "duplicate"),
        "mnli": ("entailment", "neutral", "contradiction"),
        "qnli": ("entailment", "not_entailment"),
        "rte": ("entailment", "not_entailment"),
        "wnli": ("not_entailment", "entailment"),
        "xnli": ("entailment", "neutral", "contradiction"),
    }


def test_metrics_of_glue_and_squad():
    """Wang et al. 2019, Table 1; Rajpurkar et al. 2016, section 6.1."""
    assert {
        name: task.metrics for name, task in TASKS.items() if task.metrics != ("accuracy",)
    } == {
        "cola": ("matthews",),
        "mrpc": ("accuracy", "f1"),
        "qqp": ("accuracy", "f1"),
        "stsb": ("pearson", "spearman"),
        "squad": ("exact_match", "f1"),
    }


@pytest.mark.parametrize(
    "task, record, texts, label",
    [
        ("cola", {"sentence": "They drank.", "label": 1}, ("They drank.",), 1),
        ("qqp", {"question1": "a?", "question2": "b?", "label": "duplicate"}, ("a?", "b?"), 1),
        ("mnli", {"premise": "a", "hypothesis": "b", "label": 2}, ("a", "b"), 2),
        ("qnli", {"question": "a?", "sentence": "b", "label": "1", "idx": 7}, ("a?", "b"), 1),
        ("wnli", {"sentence1": "a", "sentence2": "b", "label": "entailment"}, ("a", "b"), 1),
        ("rte", {"sentence1": "a", "sentence2": "b", "label": "entailment"}, ("a", "b"), 0),
        ("stsb", {"sentence1": "a", "sentence2": "b", "label": 3.8}, ("a", "b"), 3.8),
        ("stsb", {"sentence1": "a", "sentence2": "b", "label": 5}, ("a", "b"), 5.0),
        (
            "squad",
            {
                "id": "1",
                "question": "Who?",
                "context": "It was Ann.",
                "answers": {"text": ["Ann", "Ann."], "answer_start": [7, 7]},
            },
            ("Who?", "It was Ann."),
            Answers(("Ann", "Ann."), (7, 7)),
        ),
    ],
)
def test_records_of_glue_and_squad(tmp_path, task, record, texts, label):
    loaded = examples.load(task, "train", folder(tmp_path, [record], task=task))
    assert (loaded.texts, loaded.labels) == ([texts], [label]) and type(loaded.labels[0]) is type(
        label
    )


ANSWERED = {"question": "Who?", "context": "It was Ann."}


@pytest.mark.parametrize(
    "task, record, message",
    [
        (
            "cola",
            {"sentence": "a", "label": -1},
            "record 1: label -1 marks a record without a label",
        ),
        (
            "stsb",
            {"sentence1": "a", "sentence2": "b", "label": -1.0},
            "label -1 marks a record without a label",
        ),
        (
            "stsb",
            {"sentence1": "a", "sentence2": "b", "label": 5.5},
            "label 5.5 is not a number from 0 to 5",
        ),
        (
            "stsb",
            {"sentence1": "a", "sentence2": "b", "label": "much"},
            "label 'much' is not a number from 0 to 5",
        ),
        (
            "mnli",
            {"premise": "a", "hypothesis": "b", "label": 3},
            "label 3 is not one of entailment, neutral, contradiction, or 0 … 2",
        ),
        (
            "sst2",
            {"sentence": "a", "label": True},
            "label True is not one of negative, positive, or 0 … 1",
        ),
        (
            "qqp",
            {"question1": "a", "label": 0},
            "no column 'question2'; qqp needs question1, question2, label",
        ),
        ("squad", ANSWERED, "no column 'answers'; squad needs question, context, answers"),
        (
            "squad",
            ANSWERED | {"answers": {"text": [], "answer_start": []}},
            "answers need text and answer_start",
        ),
        (
            "squad",
            ANSWERED | {"answers": {"text": ["Ann"], "answer_start": [7, 8]}},
            "the same length, at least 1; found 1 and 2",
        ),
        (
            "squad",
            ANSWERED | {"answers": {"text": ["Ann"], "answer_start": [6]}},
            "'Ann' is not at character 6",
        ),
        ("squad", "[1]\n", "record 1: not a JSON object"),
    ],
)
def test_bad_records_of_glue_and_squad(tmp_path, task, record, message):
    source = folder(tmp_path, record if isinstance(record, str) else [record], task=task)
    with pytest.raises(InputError, match=message):
        examples.load(task, "train", source)


def test_both_validation_sets_of_mnli(tmp_path):
    """Matched may simply be called validation; without mismatched there is one set."""
    record = {"premise": "a", "hypothesis": "b", "label": 0}
    source = folder(tmp_path, [record], task="mnli", split="train")
    with pytest.raises(
        InputError, match="no validation_matched.jsonl and no validation_matched.tsv"
    ):
        examples.check("mnli", source)
    folder(tmp_path, [record, record], task="mnli", split="validation")
    examples.check("mnli", source)
    assert examples.validation_splits("mnli", source) == {"validation_matched": ""}
    assert examples.load("mnli", "validation_matched", source).labels == [0, 0]
    folder(tmp_path, [record | {"label": 9}], task="mnli", split="validation_mismatched")
    assert examples.validation_splits("mnli", source) == {
        "validation_matched": "",
        "validation_mismatched": "_mismatched",
    }
    with pytest.raises(InputError, match="validation_mismatched.jsonl, record 1: label 9"):
        examples.check("mnli", source)
    assert (
        examples.validation_splits("mnli", TaskSource("hub"))["validation_mismatched"]
        == "_mismatched"
    )
    assert examples.validation_splits("nkjp-ner", source) == {"validation": ""}


def test_the_hub_is_asked_for_the_part_and_the_revision(monkeypatch):
    import datasets

    requests = []

    def load_dataset(*names, **options):
        requests.append((names, options))
        return datasets.Dataset.from_list(
            [{"sentence": "a", "label": 1}, {"sentence": "b", "label": -1}]
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = TaskSource("hub", revisions={"cola": "abc"})
    assert examples.load("cola", "train", source, limit=1).labels == [1]
    assert requests == [(("nyu-mll/glue", "cola"), {"split": "train", "revision": "abc"})]
    with pytest.raises(InputError, match="nyu-mll/glue cola train, record 2: label -1"):
        examples.load("cola", "train", source)


@pytest.mark.skipif(not (DATA / "glue").is_dir(), reason="real tasks are not here")
def test_real_task_files():
    for name, task in TASKS.items():
        examples.check(
            name, TaskSource("files", folder=str(DATA)), ["en", "ur"] if task.languages else []
        )


def test_a_task_that_no_toy_language_has():
    task = registry.Task("none", "none", ("sentence",), "label")
    TASKS["no-such-toy"] = task
    try:
        with pytest.raises(
            InputError, match="the toy languages have no task 'no-such-toy'; they have nkjp-ner"
        ):
            examples.check("no-such-toy", TaskSource("toy", language="toy-pl"))
    finally:
        del TASKS["no-such-toy"]
