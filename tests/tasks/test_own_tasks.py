"""Tasks of the user's own, from YAML alone: what is read, what is refused, and that their scores are
scikit-learn's and seqeval's."""

import csv
import gzip
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import seqeval.metrics as seqeval
import sklearn.metrics as sk
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from lib.common.errors import InputError
from lib.data.tokenizer import load_tokenizer, train_tokenizer
from lib.plan.stages import validate
from lib.tasks import examples, words
from lib.tasks import finetune as ft
from lib.tasks.baselines import BAG_OF_WORDS, CHANCE, baselines
from lib.tasks.encoding import Encoded
from lib.tasks.examples import Examples, TaskSource
from lib.tasks.metrics import METRICS, contributions, score
from lib.tasks.parameters import OwnTask
from lib.tasks.records import read_records
from lib.tasks.registry import METRICS_OF
from lib.training.batches import Batch
from tests.helpers import small

NAMES, PLACES = ["ana", "bela", "cyril"], ["rome", "oslo", "new york"]
RNG = np.random.default_rng(5)


def parameters(**more):
    values = {"model": "m", "seeds": [1], "learning_rate": 3e-3}
    values["tasks"] = list(more.get("own_tasks", {}))
    return validate("finetune", values | more)


def source(**own):
    """A source with one own task, `mine`, whose classes are found."""
    p = parameters(own_tasks={"mine": own})
    return TaskSource.of(examples.settled(p))


def write(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def jsonl(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def conll(sentences, between=" "):
    lines = [[between.join(row) for row in sentence] for sentence in sentences]
    return "".join("\n".join(own) + "\n\n" for own in lines)


def sentence(number):
    """Two kinds of names among other words, one of two words."""
    name, place = NAMES[number % 3], PLACES[number % 3]
    rows = [("so", "O"), (name, "B-PER"), ("went", "O"), ("to", "O")]
    rows += [(w, "B-LOC" if i == 0 else "I-LOC") for i, w in enumerate(place.split())]
    return rows[number % 2 :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of three tasks: reviews as CSV with three classes, names in CoNLL columns, and pairs
    in a single compressed file."""
    place = tmp_path_factory.mktemp("own")
    stars = ["bad", "so", "good"]
    for split, number in (("train", 60), ("validation", 24)):
        rows = [("review,a", "stars")]
        rows += [(f'{RNG.choice(NAMES)}, "{stars[i % 3]}"\nso', i % 3 + 1) for i in range(number)]
        write(place / "mood", f"{split}.csv", "")
        with (place / "mood" / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        tagged = conll([sentence(i) for i in range(number)])
        write(place / "names", f"{split}.conll", f"-DOCSTART- -X-\n\n{tagged}")
    words = [RNG.choice(NAMES, 2) for _ in range(80)]
    pairs = [{"a": a, "b": b, "same": bool(a == b)} for a, b in words]
    write(place, "same.jsonl.gz", jsonl(pairs))
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    text = [" ".join([*NAMES, *PLACES, 'so went to good bad , "'])] * 3
    tokenizer = train_tokenizer(text, "wordpiece", 400)
    small.save_trunk("bert", tokenizer, place, layers=1, hidden=32, max_length=32, dropout=0.0)
    return place


def test_three_own_tasks_from_their_files_to_scores(folder, model, tmp_path):
    """One stage, from what stands in a parameter file: every score is what scikit-learn and seqeval
    compute from the stored predictions."""
    own = {
        "mood": {
            "files": str(folder / "mood"),
            "text": "review,a",
            "label": "stars",
            "metrics": ["accuracy", "f1_macro", "matthews_corrcoef", "balanced_accuracy"],
        },
        "names": {
            "files": str(folder / "names"),
            "kind": "token_classification",
            "metrics": ["entity_f1", "entity_precision", "entity_recall", "accuracy"],
        },
        "same": {
            "files": str(folder / "same.jsonl.gz"),
            "kind": "pair",
            "text": ["a", "b"],
            "label": "same",
            "metrics": ["f1", "accuracy"],
        },
    }
    p = parameters(
        model=str(model),
        own_tasks=own,
        seeds=[1, 2],
        epochs=3,
        batch_size=8,
        max_length=16,
        pooling="mean",
        evaluate="last",
    )
    rows, _ = ft.finetune_tasks(p, tmp_path)
    measured = {(row["task"], row["metric"], row["seed"]): row["value"] for row in rows}
    assert {key[:2] for key in measured} == {(t, m) for t in own for m in own[t]["metrics"]}
    kept = pd.read_parquet(tmp_path / "predictions.parquet")
    assert set(kept["task"]) == set(own)
    for (task, metric, seed), value in measured.items():
        run = kept[(kept["task"] == task) & (kept["metric"] == metric) & (kept["seed"] == seed)]
        label, prediction = run["label"].tolist(), run["prediction"].tolist()
        if task == "names":
            label, prediction = (
                [json.loads(tags) for tags in side] for side in (label, prediction)
            )
            flat = [sum(side, []) for side in (label, prediction)]
            expected = {
                "entity_f1": lambda: seqeval.f1_score(label, prediction),
                "entity_precision": lambda: seqeval.precision_score(label, prediction),
                "entity_recall": lambda: seqeval.recall_score(label, prediction),
                "accuracy": lambda: sk.accuracy_score(*flat),
            }[metric]()
        else:
            expected = {
                "accuracy": sk.accuracy_score,
                "f1_macro": lambda *sides: sk.f1_score(*sides, average="macro"),
                "f1": lambda *sides: sk.f1_score(*sides, pos_label="true"),
                "matthews_corrcoef": sk.matthews_corrcoef,
                "balanced_accuracy": sk.balanced_accuracy_score,
            }[metric](label, prediction)
        assert value == pytest.approx(100 * expected), (task, metric)
        assert run["score"].mean() == pytest.approx(value, abs=1e-3)
    assert measured["names", "entity_f1", 1] > 90
    assert {row["language"] for row in rows} == {"und"}
    floor = {}
    for name in own:
        for row in baselines(p, [name]):
            floor[row["scenario"], name, row["metric"]] = row["value"]
    assert floor[CHANCE, "names", "entity_f1"] == 0 < floor[CHANCE, "names", "accuracy"] < 60
    assert floor[BAG_OF_WORDS, "names", "entity_f1"] == 100
    assert floor[BAG_OF_WORDS, "mood", "accuracy"] > 90 > floor[CHANCE, "mood", "accuracy"]


@pytest.mark.parametrize("share, numbers", [(0.25, (60, 20, "25%")), (None, (72, 8, "10%"))])
def test_what_validates_is_cut_off_where_there_is_no_file(folder, share, numbers):
    own = {"files": str(folder / "same.jsonl.gz"), "kind": "pair", "text": ["a", "b"]}
    p = parameters(own_tasks={"same": own | {"label": "same", "validation_share": share}})
    found = examples.check("same", TaskSource.of(p))
    assert found.startswith(
        "task same: classification with 2 classes (false, true), scored by accuracy; {} training "
        "and {} validation records, for which {} of same.jsonl.gz is cut off; ".format(*numbers)
    )
    whole = TaskSource.of(examples.settled(p))
    parts = [examples.load("same", split, whole).texts for split in ("train", "validation")]
    records = [tuple(record[c] for c in "ab") for record in read_records(folder / "same.jsonl.gz")]
    assert sorted(sum(parts, [])) == sorted(records)


def test_classes_are_found_and_sorted(tmp_path):
    for labels, expected, ids in (
        (["10", "9", "-1"], ["-1", "9", "10"], [2, 1, 0]),
        ([2.0, 1, "1.0"], ["1", "2"], [1, 0, 0]),
        ([True, False], ["false", "true"], [1, 0]),
        (["b", "a", "2"], ["2", "a", "b"], [2, 1, 0]),
    ):
        for split in ("train", "validation"):
            records = jsonl({"text": "a", "label": label} for label in labels)
            write(tmp_path, f"{split}.jsonl", records)
        found = source(files=str(tmp_path))
        assert found.own["mine"].labels == expected
        assert examples.load("mine", "train", found).labels == ids
    write(tmp_path, "train.csv", "text,label\na,2.0\nb,1.0\n")
    named = source(files=str(tmp_path / "train.csv"), labels=["1.0", "2.0"])
    assert {
        label
        for split in ("train", "validation")
        for label in examples.load("mine", split, named).labels
    } == {0, 1}


def test_a_class_of_the_validation_file_alone_is_refused_by_its_record(tmp_path):
    write(tmp_path, "train.tsv", "text\tlabel\na\tx\nb\ty\n")
    write(tmp_path, "dev.tsv", "text\tlabel\na\tx\nb\t0\n")
    with pytest.raises(InputError, match=r"dev.tsv, record 2: label '0' is not one of x, y$"):
        examples.check("mine", source(files=str(tmp_path)))


@pytest.mark.parametrize(
    "own, message",
    [
        ({}, "give the folder of its files or its id on the hub"),
        ({"files": "a", "hub": "b"}, "one of the two"),
        ({"files": "a", "kind": "ner"}, "kind"),
        ({"files": "a", "kind": "pair"}, "text names 1 columns; the kind pair has 2"),
        ({"files": "a", "text": ["a", "b", "c"]}, "text names 3 columns"),
        (
            {"files": "a", "metrics": ["bleu"]},
            "unknown 'bleu'; those of the kind classification are",
        ),
        ({"files": "a", "metrics": ["f1"], "labels": ["a", "b", "c"]}, "f1 is of two classes"),
        ({"files": "a", "kind": "regression", "labels": ["a"]}, "labels are for classes"),
        ({"files": "a", "labels": [1, "1"]}, "labels name '1' twice"),
        ({"files": "a", "labels": [True, False]}, "yes, no, true and false are truth values"),
        ({"files": "a", "text": 1}, "columns have names"),
        ({"files": "a", "lables": []}, "unknown key 'own_tasks.mine.lables'"),
        ({"files": "a", "validation_share": 1}, "less than 1"),
    ],
)
def test_wrong_entries(own, message):
    with pytest.raises(InputError, match=message):
        parameters(own_tasks={"mine": own})


def test_published_names_are_taken():
    with pytest.raises(InputError, match="'sst2' is the name of a published task"):
        parameters(own_tasks={"sst2": {"files": "a"}})


LONG = "word " * 30_000


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("train.csv", 'text,label\n"a, ""b""\nc",x\nd,y\n', ['a, "b"\nc', "d"]),
        ("train.csv", "text;label\na, b;x\nd;y\n", ["a, b", "d"]),
        ("train.csv.gz", "text,label\n" + f"{LONG},x\nd,y\n", [LONG, "d"]),
        ("train.tsv", f"\ufefftext \t label\n{LONG}\tx\nd\ty\n", [LONG, "d"]),
        # what pandas quotes, and KLEJ's bare quotation marks
        ("train.tsv", 'text\tlabel\n"He said ""hi"""\tx\n"d\ty\n', ['He said "hi"', '"d']),
        ("train.jsonl", jsonl([{"text": 3, "label": "x"}, {"text": "d", "label": "y"}]), ["3", "d"]),
        ("train.csv", "text,label\na,x,z\n", "record 1: 3 columns, where the header has 2"),
        ("train.tsv", "text\tlabel\na\tb\tx\n", "text with tabs or line ends needs a .csv file"),
        ("train.csv", 'text,label\n"a,x\nb,y\n', "record 1: unexpected end of data"),
        ("train.csv", "text,label\na,\nb,y\n", "record 1: an empty cell in column 'label'"),
        ("train.csv", "text,label,text\na,x,b\n", "names the column 'text' twice"),
        ("train.csv", "text,label\na,x\n", "of 1 record none can be cut off"),
        ("train.csv", "words,label\na,x\n", "record 1: no column 'text'"),
        ("train.jsonl", '{"text": NaN, "label": "x"}\n{"text": "a", "label": "y"}\n', "text is not text: nan"),
        ("train.jsonl", jsonl([{"text": True, "label": "x"}, {"text": "a", "label": "y"}]), "text is not text: True"),
        ("train.jsonl", jsonl([{"text": "\ud800", "label": "x"}, {"text": "a", "label": "y"}]), "surrogate"),
        ("train.jsonl", jsonl([{"text": "a", "label": ["x"]}]), "the kind token_classification"),
        ("train.jsonl", jsonl([{"text": "a", "label": i / 7} for i in range(50)]), "0.0.* is no class|too many|no class"),
        ("train.jsonl", jsonl([{"text": "a", "label": i} for i in range(50)]), "50 different labels in 50 records"),
        ("train.jsonl", jsonl([{"text": "a", "label": "x"}] * 9), "all .* records have the label x"),
        ("train.csv.gz", b"no gzip", "cannot be read"),
        ("train.csv.xz", b"no xz", "cannot be read"),
        ("train.xlsx", "a", "no train file; allowed are train.jsonl, train.tsv, train.csv"),
    ],
)  # fmt: skip
def test_files_of_classes(tmp_path, name, content, expected):
    if isinstance(content, bytes):
        write(tmp_path, "x", content)
        (tmp_path / "x").rename(tmp_path / name)
    else:
        write(tmp_path, name, content)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as error:
            examples.check("mine", source(files=str(tmp_path)))
        assert "\n" not in str(error.value)
    else:
        write(tmp_path, "validation.csv", "text,label\nd,y\n")
        loaded = examples.load("mine", "train", source(files=str(tmp_path)))
        assert loaded.texts == [(text,) for text in expected] and loaded.labels == [0, 1]


@pytest.mark.parametrize(
    "content, own, expected",
    [
        ("a O\nb B-X\n\t\nd O\n", {}, [("a", "b"), ("d",)]),
        ("a\tO\nb c\tB-X\n\nd\tO\n", {}, [("a", "b c"), ("d",)]),
        ("# id 1\n1 a NN O\n2 b NN B-X\n\n1 d NN O\n", {"text": 1}, [("a", "b"), ("d",)]),
        ("# text = a b\na\tO\n#\tB-X\n\nd\tO\n\n\n", {}, [("a", "#"), ("d",)]),
        ("a O\nb\n", {}, r"record 1: 'b' has 1 columns; a line has a word and a tag$"),
        ("a O\nb B-X\n", {"text": 2}, "no column 2; counted from 0, the last is 1"),
        ("a NOUN\nb O\n", {}, "the tag 'NOUN' is none of an entity"),
        ("", {}, "no records"),
        ("a O\nb O\n\nc O\n", {}, "all 2 records have the label O"),
    ],
)
def test_conll_files(tmp_path, content, own, expected):
    write(tmp_path, "train.txt", content)
    write(tmp_path, "dev.txt", content)
    own = {"files": str(tmp_path), "kind": "token_classification"} | own
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            examples.check("mine", source(**own))
        return
    assert examples.check("mine", source(**own))
    loaded = examples.load("mine", "train", source(**own))
    assert loaded.texts == expected and loaded.labels == [(1, 0), (1,)]


def test_tags_as_lists_and_any_tags(tmp_path):
    records = [{"w": ["a", "b"], "pos": ["NOUN", "VERB"]}, {"w": ["c"], "pos": ["NOUN"]}]
    own = {"files": str(tmp_path), "kind": "token_classification", "text": "w", "label": "pos"}
    own["metrics"] = ["accuracy"]
    for split in ("train", "validation"):
        write(tmp_path, f"{split}.jsonl", jsonl(records))
    assert examples.load("mine", "train", source(**own)).labels == [(0, 1), (0,)]
    write(tmp_path, "validation.jsonl", jsonl([{"w": ["a", "b"], "pos": ["NOUN"]}]))
    with pytest.raises(InputError, match="record 1: pos needs a tag for each word; found 1 for 2"):
        examples.load("mine", "validation", source(**own))


def test_numbers_and_spans(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / "n", f"{split}.csv", "text,label\na,-3.5\nb,1e3\n")
        answers = {"text": ["king"], "answer_start": ["8"]}
        record = {"question": "who", "context": "the old king", "answers": answers}
        year = {"text": ["84"], "answer_start": [2]}
        year = {"question": "when", "context": 1984, "answers": year}
        write(tmp_path / "s", f"{split}.jsonl", jsonl([record, year]))
    numbers = source(files=str(tmp_path / "n"), kind="regression", metrics=["r2"])
    assert examples.load("mine", "train", numbers).labels == [-3.5, 1000.0]
    spans = source(files=str(tmp_path / "s"), kind="span")
    loaded = examples.load("mine", "train", spans)
    assert [label.starts for label in loaded.labels] == [(8,), (2,)]
    assert loaded.texts[1] == ("when", "1984")
    write(tmp_path / "n", "train.csv", "text,label\na,nan\n")
    with pytest.raises(InputError, match="record 1: label 'nan' is not a number$"):
        examples.load("mine", "train", numbers)


@pytest.mark.parametrize(
    "answers, message",
    [
        ({"text": "king", "answer_start": 8}, "two lists of the same length"),
        ({"text": ["king"], "answer_start": ["x"]}, "found 'king' at 'x'"),
        ({"text": [None], "answer_start": [8]}, "found None at 8"),
        ([{"text": "king", "answer_start": 8}], "two lists of the same length"),
    ],
)
def test_wrong_answers(tmp_path, answers, message):
    record = {"question": "who", "context": "the old king", "answers": answers}
    for split in ("train", "validation"):
        write(tmp_path, f"{split}.jsonl", jsonl([record]))
    with pytest.raises(InputError, match=message):
        examples.load("mine", "train", source(files=str(tmp_path), kind="span"))


def test_named_splits_and_doubtful_files(tmp_path):
    write(tmp_path, "learn.csv", "text,label\na,x\nb,y\n")
    write(tmp_path, "try.csv", "text,label\nc,y\n")
    own = {"files": str(tmp_path), "splits": {"train": "learn.csv", "validation": "try.csv"}}
    assert examples.load("mine", "validation", source(**own)).texts == [("c",)]
    with pytest.raises(InputError, match="splits: validation: there is no file"):
        splits = {"train": "learn.csv", "validation": "gone.csv"}
        examples.check("mine", source(files=str(tmp_path), splits=splits))
    write(tmp_path, "train.csv", "")
    write(tmp_path, "train.jsonl.gz", "")
    with pytest.raises(InputError, match="train.jsonl.gz and train.csv; keep one of them"):
        source(files=str(tmp_path))
    with pytest.raises(InputError, match="there is no file and no folder"):
        source(files=str(tmp_path / "gone"))


def test_the_hub_names_classes(monkeypatch):
    features = Features(
        {
            "tokens": Sequence(Value("string")),
            "ner": Sequence(ClassLabel(names=["O", "B-X", "B-A"])),
        }
    )
    rows = Dataset.from_dict({"tokens": [["a", "b"]], "ner": [[2, 0]]}, features=features)
    asked = []
    monkeypatch.setattr("lib.common.hub.rows", lambda *a, **k: asked.append((a, k)) or rows)
    own = {"hub": "me/mine", "kind": "token_classification", "label": "ner", "revision": "abc"}
    own["splits"] = {"validation": "test"}
    found = source(**own)
    assert found.own["mine"].labels == ["O", "B-X", "B-A"]
    assert examples.load("mine", "validation", found).labels == [(2, 0)]
    assert asked[-1] == (("me/mine", None), {"split": "test", "revision": "abc"})


# ------------------------------------------------------------------------------ words and their tags


def tagging(sentences, labels=("O", "B-X", "I-X")):
    own = OwnTask(files="a", kind="token_classification", labels=list(labels))
    return own.task(), [[labels.index(tag) for tag in tags] for tags in sentences]


def test_entities_of_random_tags_are_seqevals():
    labels, rng = ("O", "B-X", "I-X", "B-Y", "I-Y"), np.random.default_rng(0)
    gold, guess = (
        [rng.choice(labels, n).tolist() for n in rng.integers(1, 9, 60)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    for tags in guess:
        for place in np.flatnonzero(rng.random(len(tags)) < 0.3):
            tags[place] = str(rng.choice(labels))
    task, gold_ids = tagging(gold, labels)
    task = OwnTask(**{"files": "a", "kind": "token_classification", "labels": list(labels), "metrics": list(METRICS_OF["token_classification"])}).task()  # fmt: skip
    _, guess_ids = tagging(guess, labels)
    found = score(task, guess_ids, gold_ids)
    assert found["entity_f1"] == pytest.approx(100 * seqeval.f1_score(gold, guess))
    assert found["entity_precision"] == pytest.approx(100 * seqeval.precision_score(gold, guess))
    assert found["entity_recall"] == pytest.approx(100 * seqeval.recall_score(gold, guess))
    n = len(gold)
    for metric, parts in contributions(task, guess_ids, gold_ids).items():
        assert parts.mean() == pytest.approx(found[metric])
        without = [
            score(task, guess_ids[:i] + guess_ids[i + 1 :], gold_ids[:i] + gold_ids[i + 1 :])[
                metric
            ]
            for i in range(n)
        ]
        expected = found[metric] - (n - 1) * (np.array(without) - np.mean(without))
        assert parts == pytest.approx(expected), metric


def test_no_entities_at_all():
    task, ids = tagging([["O", "O"], ["O"]])
    assert score(task, ids, ids) == {"entity_f1": 0.0}
    assert contributions(task, ids, ids)["entity_f1"].tolist() == [0, 0]
    kind, labels = "token_classification", ["ADV", "NOUN"]
    task = OwnTask(files="a", kind=kind, labels=labels, metrics=["accuracy"]).task()
    with warnings.catch_warnings(action="error"):  # seqeval's, of tags that are no entity's
        assert score(task, [[1, 0]], [[1, 1]]) == {"accuracy": 50.0}


@pytest.mark.parametrize("length", [6, 9, 40])
def test_every_word_is_labelled_and_predicted_once(model, length):
    """However long the rows: a sentence that is cut has all its words."""
    tokenizer = load_tokenizer(str(model))
    long = ("\u200b", *("to", "ana", "went") * 9)  # cut into many rows, its first word has no token
    texts = [("ana", "went", "to", "new york", "zzz", "ana"), ("so",), ("\u200b", "to"), long]
    labels = [(1, 0, 0, 2, 0, 1), (0,), (1, 2), (1, *(2, 1, 0) * 9)]
    data = words.words(Examples(texts, labels), tokenizer, length)
    assert max(map(len, data.rows)) <= length
    assert (data.row >= 0).sum() == (data.labels != words.IGNORE).sum()
    batch = data.batch(np.arange(len(data.rows)))
    assert batch.labels.shape == batch.inputs.shape

    class Reads(torch.nn.Module):
        """Predicts what the labels are."""

        def forward(self, batch):
            return torch.nn.functional.one_hot(batch.labels.clamp(min=0), 3).float()

    found = words.classes(Reads(), data, torch.device("cpu"), blank=0)
    assert [own.tolist() for own in found[:2]] == [list(own) for own in labels[:2]]
    assert found[2].tolist()[1] == 2 and found[3].tolist() == [0, *labels[3][1:]]


def test_the_loss_of_words_is_their_mean():
    logits = torch.tensor([[[0.0, np.log(3)], [0.0, 0.0], [9.0, 0.0]]])
    batch = Batch(
        torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[1, 0, -100]])
    )
    loss = ft.TaskLoss(lambda batch: logits, "token_classification")
    totals = loss.counts(batch)
    assert totals["examples"] == 2
    assert loss(batch, totals)["loss"].item() == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2)
    batch.labels[:] = -100  # no word of the step has a token
    assert loss(batch, loss.counts(batch))["loss"].item() == 0


def test_all_metrics_that_are_named_are_there():
    assert set(METRICS) == set(METRICS_OF["classification"]) | set(METRICS_OF["regression"])


def test_numbers_of_any_size_are_learnt(tmp_path):
    """Labels around 5,000: the output begins at their mean, and has their spread."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 64)
    rows = [np.r_[0, rng.integers(10, 40, 4), 5 + kind, 2] for kind in kinds]
    data = Encoded(rows, np.float32(5000 + 800 * kinds + rng.normal(0, 20, 64)), 1)
    own = {"files": "a", "kind": "regression", "metrics": ["r2"]}
    p = parameters(own_tasks={"mine": own}, epochs=6, batch_size=8, evaluate="last", pooling="mean")
    trunk = small.encoder(vocab_size=50, layers=1, hidden=32, seed=0).bert
    task = p.own_tasks["mine"].task()
    run = ft.one_run(p, task, trunk, data, {"mine": {("und", ""): data}}, seed=1)
    assert run["scores"][-1]["value"] > 80
    assert run["predictions"]["prediction"].astype(float).between(4500, 6300).all()
