"""Task files and toy tasks: columns, labels, errors, stable label ids."""

import json
import subprocess
import sys

import pytest

from lib import tasks, toyworld
from lib.errors import InputError
from lib.tasks import TASKS, TaskSource


def folder(tmp_path, rows, task="nkjp-ner", split="train", ending="jsonl"):
    place = tmp_path / "klej" / task
    place.mkdir(parents=True, exist_ok=True)
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (place / f"{split}.{ending}").write_text(text, encoding="utf-8")
    return TaskSource("files", folder=str(tmp_path))


def test_records_and_label_ids(tmp_path):
    source = folder(
        tmp_path,
        [{"sentence": "Agata wypadła słabo .", "target": "persName"}, {"sentence": "nic", "target": "noEntity"}],
    )
    found = tasks.load("nkjp-ner", "train", source)
    assert found.texts == [("Agata wypadła słabo .",), ("nic",)] and found.labels == [3, 1]
    assert tasks.load("nkjp-ner", "train", source, limit=1).labels == [3]


def test_tsv_with_bare_quotation_marks_keeps_every_row(tmp_path):
    """csv's default quoting would swallow the rows between two stray quotation marks."""
    rows = 'sentence\ttarget\n"Ala ma kota\tpersName\nkot\tnoEntity\nto " jest\ttime\n'
    found = tasks.load("nkjp-ner", "train", folder(tmp_path, rows, ending="tsv"))
    assert [text for (text,) in found.texts] == ['"Ala ma kota', "kot", 'to " jest'] and found.labels == [3, 1, 5]


def test_out_trains_on_in(tmp_path):
    source = folder(tmp_path, [{"sentence": "a", "target": "__label__meta_zero"}], task="polemo2-in")
    assert tasks.load("polemo2-out", "train", source).labels == [3]


@pytest.mark.parametrize("rows, message", [
    ([{"sentence": "a"}], r"train.jsonl, record 1: no column 'target'; nkjp-ner needs sentence, target, found sentence"),
    ([{"sentence": "a", "target": "name"}], "record 1: label 'name' is not one of geogName"),
    ("{not json\n", "train.jsonl, record 1: not JSON"),
    ("", "train.jsonl: no records"),
])  # fmt: skip
def test_bad_files(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        tasks.load("nkjp-ner", "train", folder(tmp_path, rows))


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(InputError, match="no train.jsonl and no train.tsv"):
        tasks.load("nkjp-ner", "train", TaskSource("files", folder=str(tmp_path)))
    source = folder(tmp_path, "")
    (tmp_path / "klej/nkjp-ner/train.jsonl").write_bytes('{"sentence": "zażółć"}'.encode("cp1250"))
    with pytest.raises(InputError, match="not UTF-8"):
        tasks.load("nkjp-ner", "train", source)
    with pytest.raises(InputError, match="unknown task 'cola2'; known are"):
        tasks.check("cola2", source)


def test_label_order_is_written_down_and_sorted():
    """Ids come from the entry, never from a set or from the data at hand."""
    for name, task in TASKS.items():
        assert list(task.labels) == sorted(task.labels), name


def test_toy_tasks_have_the_hub_s_columns_and_labels():
    assert set(toyworld.TASKS) <= set(TASKS)
    for name in toyworld.TASKS:
        records = list(toyworld.task_records("toy-pl", name, "validation", 400, 0))
        assert all(set(record) == {*TASKS[name].text, TASKS[name].label} for record in records)
        assert {record["target"] for record in records} == set(TASKS[name].labels)


def test_toy_text_is_the_same_in_every_process():
    code = ("from lib import toyworld as t; import hashlib; "
            "text = [*t.corpus_lines('toy-pl', 'web', 50, 0), *map(str, t.task_records('toy-pl', 'nkjp-ner', 'train', 50, 0))]; "
            "print(hashlib.md5(''.join(text).encode()).hexdigest())")  # fmt: skip
    seen = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}  # fmt: skip
    assert len(seen) == 1


def test_toy_lexicon_has_a_word_of_its_own_for_every_concept():
    words = [toyworld.LANGUAGES["toy-pl"].word(concept) for concept in toyworld.concepts()]
    assert len(set(words)) == len(words)


def test_out_reviews_talk_of_unseen_topics():
    word = toyworld.LANGUAGES["toy-pl"].word
    unseen = {word(f"{topic}.noun.{i}") for topic in toyworld.OUT_TOPICS for i in range(toyworld.NOUNS)}
    text = {split: {w for r in toyworld.task_records("toy-pl", "polemo2-out", split, 200, 0) for w in r["sentence"].split()}
            for split in ("train", "validation")}  # fmt: skip
    assert not unseen & text["train"] and unseen <= text["validation"]


def test_most_test_names_are_unknown_to_the_labelled_data():
    names = {
        toyworld.LANGUAGES["toy-pl"].word(f"{kind}.{i}")
        for kind in toyworld.ENTITIES
        for i in range(toyworld.NAMES[kind])
    }
    seen = {
        w for r in toyworld.task_records("toy-pl", "nkjp-ner", "train", 2000, 0) for w in r["sentence"].split()
    } & names
    tested = [
        w
        for r in toyworld.task_records("toy-pl", "nkjp-ner", "validation", 1000, 0)
        for w in r["sentence"].split()
        if w in names
    ]
    assert 0.5 < sum(w not in seen for w in tested) / len(tested) < 0.9


def test_no_validation_sentence_stands_in_the_training_data():
    for name in toyworld.TASKS:
        train, asked = ({r["sentence"] for r in toyworld.task_records("toy-pl", name, split, size, 0)}
                        for split, size in (("train", 300), ("validation", 500)))  # fmt: skip
        assert not train & asked, name


def test_the_two_raw_corpora_differ():
    """The shift between them: total variation of their unigrams, against that of two halves of one."""

    def counts(corpus, seed):
        words = [w for line in toyworld.corpus_lines("toy-pl", corpus, 3000, seed) for w in line.split()]
        return {w: words.count(w) / len(words) for w in set(words)}

    def distance(a, b):
        return sum(abs(a.get(w, 0) - b.get(w, 0)) for w in {*a, *b}) / 2

    books, again, web = counts("books", 0), counts("books", 1), counts("web", 0)
    assert distance(books, web) > 2 * distance(books, again)
