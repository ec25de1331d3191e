"""Fine-tuning: what is shared, what the protocols see, and that it learns classes, numbers and
spans."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.data.tokenizer import train_tokenizer
from lib.plan.stages import validate
from lib.tasks import examples
from lib.tasks import finetune as ft
from lib.tasks.classifier import Classifier, TaskLoss, class_loss, squared_error
from lib.tasks.encoding import Encoded
from lib.tasks.examples import TaskSource
from lib.tasks.registry import TASKS, Task
from lib.training import models
from lib.training.architectures import ARCHITECTURES
from lib.training.batches import Batch
from lib.training.loop import Recipe
from tests.helpers import small


def data(examples=64, seed=0, pad_id=1):
    """Two classes that differ in one token."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, examples)
    rows = [np.r_[0, rng.integers(10, 40, rng.integers(3, 9)), 5 + label, 2] for label in labels]
    return Encoded(rows, labels, pad_id)


@pytest.fixture
def trunk():
    return small.encoder(vocab_size=50, layers=1, hidden=32, seed=0).bert


def test_segments_reach_the_trunk(trunk):
    trunk.eval()
    classifier = Classifier(trunk, 2, 0.0).eval()
    batch = Encoded([np.arange(5, 15)], np.zeros(1, int), 1, second=np.array([4])).batch(
        np.array([0])
    )
    types = (torch.arange(batch.inputs.shape[1]) >= 4).long() * batch.kept
    hidden = trunk(batch.inputs, batch.kept.long(), token_type_ids=types).last_hidden_state
    logits = classifier(batch)
    assert torch.allclose(logits, classifier.linear(hidden[:, 0]))
    batch.segments = None
    assert not torch.allclose(logits, classifier(batch))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_an_encoder_of_every_kind_is_fine_tuned(kind, frozen):
    """From what the library's own forward pass gives; segments only where the encoder has them."""
    trunk = small.of_kind(kind).base_model
    values = {"model": "m", "tasks": ["sst2"], "task_source": "hub", "seeds": [1]}
    values |= {"learning_rate": 5e-3, "freeze_embeddings": frozen}
    second = np.full(8, 3) if models.tells_segments(trunk) else None
    batch = replace(data(8), second=second).batch(np.arange(8))
    inputs = {"input_ids": batch.inputs, "attention_mask": batch.kept.long()}
    inputs |= {} if batch.segments is None else {"token_type_ids": batch.segments}
    hidden = trunk(**inputs).last_hidden_state.detach()
    classifier = ft.new_classifier(validate("finetune", values), TASKS["sst2"], trunk, seed=0)
    classifier.eval()
    assert torch.allclose(classifier(batch), classifier.linear(hidden[:, 0]), atol=1e-5)
    embeddings = [weight.clone() for weight in models.embeddings_of(trunk).parameters()]
    recipe = Recipe(5e-3, "linear", 0.1, seed=1)
    measure = accuracies({"a": data(8)})
    loss = TaskLoss(classifier, "classification")
    ft.finetune(loss, data(8), measure, epochs=1, batch=8, recipe=recipe)
    after = list(models.embeddings_of(trunk).parameters())
    assert embeddings and frozen == all(map(torch.equal, embeddings, after))


def accuracies(validation):
    """What measures a classifier on sets of classes: accuracy in percent."""

    def evaluate(classifier):
        rows, frames = [], []
        for task, encoded in validation.items():
            predicted = ft.outputs(classifier, encoded, torch.device("cpu")).argmax(-1)
            scores = 100 * (predicted == encoded.labels)
            rows.append({"task": task, "value": scores.mean()})
            frames.append(pd.DataFrame({"task": task, "prediction": predicted, "score": scores}))
        return rows, pd.concat(frames)

    return evaluate


def run(trunk, validation, pooling="mean", seed=1, **more):
    rows, cost, predictions = ft.finetune(
        TaskLoss(Classifier(trunk, 2, 0.1, pooling, seed), "classification"),
        data(),
        accuracies(validation),
        epochs=6,
        batch=16,
        recipe=Recipe(5e-3, "linear", 0.1, seed=seed),
        **more,
    )
    assert cost["tokens"] == 6 * sum(map(len, data().rows)) <= cost["positions"]
    last = {row["task"]: row["value"] for row in rows if row["epoch"] == 6}
    assert predictions.groupby("task")["score"].mean().to_dict() == pytest.approx(last)
    return rows


@pytest.mark.parametrize("pooling", ["first", "mean", "pooler"])
def test_it_learns_and_reports_every_epoch_of_every_validation_set(trunk, pooling):
    rows = run(trunk, {"a": data(seed=1), "b": data(seed=2)}, pooling)
    assert [(row["epoch"], row["task"]) for row in rows] == [
        (e, t) for e in range(1, 7) for t in "ab"
    ]
    assert rows[-1]["value"] > 90 and rows[-1]["loss"] < rows[0]["loss"]


def fresh_trunk():
    return small.encoder(vocab_size=50, layers=1, hidden=32, dropout=0.1, seed=0).bert


def test_one_run_for_two_validation_sets_is_the_run_of_each():
    """PolEmo2.0-IN and -OUT share their training: together or alone, the same numbers."""
    together = run(fresh_trunk(), {"a": data(seed=1), "b": data(seed=2)})
    alone = run(fresh_trunk(), {"b": data(seed=2)})
    assert [row["value"] for row in together if row["task"] == "b"] == [
        row["value"] for row in alone
    ]


def test_measuring_the_last_epoch_only_gives_what_every_epoch_gives_there():
    every = run(fresh_trunk(), {"a": data(seed=1)})
    assert (
        run(fresh_trunk(), {"a": data(seed=1)}, when="last") == every[-1:]
        and every[-1]["epoch"] == 6
    )


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_within_itself(tmp_path):
    """From its last checkpoint, with the results of the epochs before it, which are not
    measured again."""
    validation, evaluations = {"a": data(seed=1)}, []

    def kept(stop, measure=accuracies(validation)):
        def evaluate(classifier):
            evaluations.append(len(evaluations))
            if len(evaluations) == stop:
                raise Killed
            return measure(classifier)

        trunk, recipe = fresh_trunk(), Recipe(5e-3, "linear", 0.1, seed=1, checkpoint_seconds=1e-9)
        return ft.finetune(
            TaskLoss(Classifier(trunk, 2, 0.1, "mean", 1), "classification"),
            data(),
            evaluate,
            epochs=6,
            batch=16,
            recipe=recipe,
            folder=tmp_path / "run",
        )

    with pytest.raises(Killed):
        kept(stop=4)
    rows, cost, predictions = kept(stop=0)
    assert rows == run(fresh_trunk(), validation) and len(evaluations) == 4 + 3
    assert cost["tokens"] == 6 * sum(map(len, data().rows))
    assert predictions["score"].mean() == pytest.approx(rows[-1]["value"])


def test_a_short_run_leaves_no_checkpoint(tmp_path):
    run(fresh_trunk(), {"a": data(seed=1)}, folder=tmp_path)
    assert not list(tmp_path.glob("*.pt"))


def test_predictions_come_back_in_the_order_of_the_examples(trunk):
    classifier = Classifier(trunk, 2, 0.1)
    encoded = data(examples=40)
    one_by_one = [
        ft.outputs(classifier, Encoded([row], np.zeros(1, int), 1), torch.device("cpu"))[0]
        for row in encoded.rows
    ]
    together = ft.outputs(classifier, encoded, torch.device("cpu"), size=7)
    assert np.allclose(together, one_by_one, atol=1e-6)


def test_mean_pooling_ignores_padding(trunk):
    classifier = Classifier(trunk, 2, 0.0, "mean").eval()
    short = data(examples=1)
    long_row = np.r_[0, np.full(20, 7), 2]
    both = Encoded([short.rows[0], long_row], np.zeros(2, int), 1)
    alone, padded = classifier(short.batch(np.array([0]))), classifier(both.batch(np.array([0, 1])))
    assert torch.allclose(alone[0], padded[0], atol=1e-5)


def parameters(**more):
    values = {
        "model": "m",
        "tasks": ["nkjp-ner"],
        "task_source": "toy",
        "task_language": "toy-pl",
        "seeds": [1],
        "learning_rate": 1e-3,
    }
    return validate("finetune", values | more)


def test_tasks_that_share_training_data_are_one_group():
    names = ["nkjp-ner", "polemo2-in", "polemo2-out"]
    shared = {"nkjp-ner": ["nkjp-ner"], "polemo2-in": ["polemo2-in", "polemo2-out"]}
    assert ft.shared_training(parameters(tasks=names)) == shared
    own, other = {"epochs": 3}, {"epochs": 4}
    assert (
        ft.shared_training(
            parameters(tasks=names, per_task={"polemo2-in": own, "polemo2-out": own})
        )
        == shared
    )
    apart = {"nkjp-ner": ["nkjp-ner"], "polemo2-in": ["polemo2-in"], "polemo2-out": ["polemo2-out"]}
    assert ft.shared_training(parameters(tasks=names, per_task={"polemo2-in": own})) == apart
    assert (
        ft.shared_training(
            parameters(tasks=names, per_task={"polemo2-in": own, "polemo2-out": other})
        )
        == apart
    )
    assert ft.shared_training(parameters(tasks=names, train_examples={"polemo2-in": 9})) == shared
    assert ft.shared_training(parameters(tasks=names, train_examples={"polemo2-out": 9})) == apart


def test_losses_by_hand():
    logits, labels = torch.tensor([[1.5], [-1.0]]), torch.tensor([1.0, 2.0])
    batch = Batch(torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), labels)
    assert squared_error(logits, batch).item() == pytest.approx(0.25 + 9)
    logits = torch.tensor([[0.0, np.log(3)], [0.0, 0.0]])
    batch.labels = torch.tensor([1, 0])
    assert class_loss(logits, batch).item() == pytest.approx(-np.log(0.75) - np.log(0.5))


def test_a_regression_starts_at_the_mean_label(trunk, monkeypatch):
    started = {}

    def finetune(objective, *args, **kwargs):
        started[objective.kind] = objective.classifier.linear.bias.tolist()
        return [], {}, None

    monkeypatch.setattr(ft, "finetune", finetune)
    numbers = Encoded([np.array([0, 7, 2])] * 3, np.array([1.0, 2.0, 4.5]), pad_id=1)
    ft.one_run(parameters(), TASKS["stsb"], trunk, numbers, {}, seed=1)
    ft.one_run(parameters(), TASKS["sst2"], trunk, data(), {}, seed=1)
    assert started == {"regression": [2.5], "classification": [0, 0]}


# ------------------------------------------------------------------------------- a stage from files

WORDS = [f"{a}{b}{c}" for a in "bdgkmp" for b in "aeiou" for c in "lnrst"]
RNG = np.random.default_rng(3)


def phrase(count):
    return " ".join(RNG.choice(WORDS, count))


def marked(yes):
    return {"label": int(yes), "sentence": phrase(4) + (" good" if yes else " bad")}


def entailed(label):
    return {
        "premise": phrase(3),
        "hypothesis": phrase(2) + [" good", " so", " bad"][label],
        "label": label,
    }


def similar(level):
    return {
        "sentence1": phrase(2),
        "sentence2": "good " * level + "bad " * (5 - level),
        "label": float(level),
    }


def question(number):
    before = phrase(RNG.integers(0, 40))
    context = f"{before} good {phrase(RNG.integers(1, 30))}".strip()
    answers = {"text": ["good"], "answer_start": [context.index("good")]}
    return {"id": str(number), "context": context, "question": phrase(3), "answers": answers}


def write(folder, name, **splits):
    (folder / name).mkdir(parents=True)
    for split, records in splits.items():
        (folder / name / f"{split}.jsonl").write_text(
            "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8"
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Task files that a small model can learn, one word being the sign."""
    place = tmp_path_factory.mktemp("tasks")
    write(
        place,
        "glue/cola",
        train=[marked(i % 2) for i in range(64)],
        validation=[marked(i % 2) for i in range(30)],
    )
    write(
        place,
        "glue/mnli",
        train=[entailed(i % 3) for i in range(96)],
        validation_matched=[entailed(i % 3) for i in range(30)],
        validation_mismatched=[entailed(i % 3) for i in range(30)],
    )
    write(
        place,
        "glue/stsb",
        train=[similar(i % 6) for i in range(96)],
        validation=[similar(i % 6) for i in range(30)],
    )
    write(
        place,
        "squad",
        train=[question(i) for i in range(96)],
        validation=[question(i) for i in range(30)],
    )
    return place


@pytest.fixture(scope="module", params=["wordpiece", "herbert_bpe", "distilbert"])
def model(request, tmp_path_factory):
    """A model folder: a BERT with each kind of tokenizer, and a DistilBERT."""
    place = tmp_path_factory.mktemp(request.param)
    kind = "wordpiece" if request.param == "distilbert" else request.param
    tokenizer = train_tokenizer([" ".join(WORDS) + " good bad so"] * 3, kind, 400)
    model = "distilbert" if request.param == "distilbert" else "bert"
    small.save_trunk(model, tokenizer, place, layers=2, hidden=48, max_length=64, dropout=0.0)
    return place


def test_every_kind_of_task_is_learnt_from_files(folder, model, tmp_path):
    p = parameters(
        model=str(model),
        tasks=["cola", "mnli", "stsb", "squad"],
        task_source="files",
        task_folder=str(folder),
        epochs=4,
        batch_size=8,
        max_length=48,
        learning_rate=2e-3,
        pooling="mean",
        doc_stride=12,
        max_question_length=8,
        max_answer_length=4,
        per_task={"squad": {"epochs": 6}},
    )
    rows, cost = ft.finetune_tasks(p, tmp_path)
    assert (
        cost["tokens_seen"] > 0
        and 0 <= cost["padding_share"] < 0.5
        and 0 <= cost["waiting_share"] < 1
    )
    assert list(rows[0]) == ["seed", "task", "language", "metric", "value", "epoch", "loss"]
    assert {row["language"] for row in rows} == {p.task_language}
    names = {
        "cola": ["matthews"],
        "mnli": ["accuracy", "accuracy_mismatched"],
        "stsb": ["pearson", "spearman"],
        "squad": ["exact_match", "f1"],
    }
    expected = [
        (task, epoch, metric)
        for task, metrics in names.items()
        for epoch in range(1, 7 if task == "squad" else 5)
        for metric in metrics
    ]
    assert [(row["task"], row["epoch"], row["metric"]) for row in rows] == expected
    last = {(row["task"], row["metric"]): row["value"] for row in rows}
    assert min(last.values()) > 80, last
    assert ft.finetune_tasks(p, tmp_path) == (rows, cost)  # from the runs kept
    size = ft.size(p)
    counted = models.load_trunk(model) if "distilbert" in model.name else models.load(model)
    assert (size["layers"], size["parameters"]) == (2, models.parameter_count(counted))


def test_trunks_get_segments_if_and_only_if_they_have_them(folder, model, tmp_path, monkeypatch):
    batches = []
    forward = Classifier.forward
    monkeypatch.setattr(
        Classifier, "forward", lambda self, batch: (batches.append(batch), forward(self, batch))[1]
    )
    p = parameters(
        model=str(model),
        tasks=["mnli", "squad"],
        task_source="files",
        task_folder=str(folder),
        epochs=1,
        max_length=40,
        doc_stride=12,
        max_question_length=8,
        evaluate="last",
    )
    ft.finetune_tasks(p, tmp_path)
    wordpiece_bert = "wordpiece" in model.name
    assert batches and all((batch.segments is not None) == wordpiece_bert for batch in batches)
    assert not wordpiece_bert or all(batch.segments.any() for batch in batches)


def test_a_new_task_is_one_entry(model, tmp_path, monkeypatch):
    task = Task("mine", "me/mine", ("sentence",), "label", ("no", "yes"), metrics=("f1",))
    monkeypatch.setitem(TASKS, "mine", task)
    records = [marked(i % 2) for i in range(16)]
    write(tmp_path, "mine", train=records, validation=records)
    source = {"task_source": "files", "task_folder": str(tmp_path), "task_language": ""}
    p = parameters(model=str(model), tasks=["mine"], epochs=1, **source)
    examples.check("mine", TaskSource.of(p))
    rows, _ = ft.finetune_tasks(p, tmp_path)
    assert [(row["task"], row["language"], row["metric"]) for row in rows] == [("mine", "en", "f1")]


def test_automatic_precision_is_measured_once_for_a_stage(folder, model, tmp_path, monkeypatch):
    measured, precisions = [], []
    none = {"scores": [], "cost": {}, "predictions": pd.DataFrame(), "classifier": None}
    monkeypatch.setattr(ft, "fastest", lambda loss, batches: measured.append(batches) or "bf16")
    monkeypatch.setattr(
        ft, "one_run", lambda p, *args: precisions.append(p.precision) or dict(none)
    )
    monkeypatch.setattr(ft, "COST", ())
    source = {"task_source": "files", "task_folder": str(folder), "max_length": 48}
    windows = {"doc_stride": 12, "max_question_length": 8}
    p = parameters(model=str(model), tasks=["squad", "cola"], precision="auto", batch_size=8)
    p = p.model_copy(update={**source, **windows, "seeds": [1, 2]})
    ft.settle_precision(p, tmp_path)
    ft.finetune_tasks(p, tmp_path)
    assert [len(batch.labels) for (batch,) in measured] == [8]
    assert precisions == ["bf16"] * 4


def test_mismatched_pairs_may_be_missing(folder, model, tmp_path):
    other = tmp_path / "tasks"
    records = [entailed(i % 3) for i in range(12)]
    write(other, "glue/mnli", train=records, validation=records)
    p = parameters(
        model=str(model), tasks=["mnli"], task_source="files", task_folder=str(other), epochs=1
    )
    assert [row["metric"] for row in ft.finetune_tasks(p, tmp_path)[0]] == ["accuracy"]
