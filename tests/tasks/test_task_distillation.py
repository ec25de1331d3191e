"""Distillation at fine-tuning: the losses against plain versions, and a stage from files whose
teacher is another stage."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lib.common.errors import InputError
from lib.data.tokenizer import train_tokenizer
from lib.fast.quicken import quicken
from lib.plan.stages import validate
from lib.tasks import finetune as ft
from lib.tasks.classifier import SOFT_LOSSES, Classifier, TaskDistillation, TaskLoss
from lib.tasks.classifier import load as classifier_of
from lib.training.batches import IGNORE, Batch
from tests.helpers import small
from tests.tasks.test_finetune import WORDS, marked, phrase, question, similar, write

T = 3.0
OUTPUTS = {"classification": 3, "regression": 1, "span": 2, "token_classification": 4}
POOLINGS = {"span": "every", "token_classification": "every"}


def classifier(kind, layers, seed, **changes):
    trunk = small.encoder(vocab_size=50, layers=layers, seed=seed, **changes).bert
    return Classifier(trunk, OUTPUTS[kind], 0.0, POOLINGS.get(kind, "mean"), seed)


def batch_of(kind, size=6, length=9):
    rng = np.random.default_rng(2)
    lengths = torch.from_numpy(rng.integers(4, length + 1, size))
    lengths[0] = length
    kept = torch.arange(length) < lengths[:, None]
    inputs = torch.from_numpy(rng.integers(5, 50, (size, length))).masked_fill(~kept, 1)
    labels = {
        "classification": torch.from_numpy(rng.integers(0, 3, size)),
        "regression": torch.from_numpy(rng.normal(size=size)).float(),
        "span": torch.from_numpy(rng.integers(0, 4, (size, 2))),
        "token_classification": torch.from_numpy(rng.integers(0, 4, (size, length))),
    }[kind]
    if kind == "token_classification":
        labels = labels.masked_fill(~kept | (torch.arange(length) % 3 == 0), IGNORE)
    return Batch(inputs, kept, labels)


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def plain_soft(kind, ours, theirs, batch):
    """The soft loss of a kind in NumPy, double precision: the mean over examples or words."""
    ours, theirs = (logits.detach().double().numpy() for logits in (ours, theirs))
    kept, labels = batch.kept.numpy(), batch.labels.numpy()
    if kind == "regression":
        return np.mean((ours[:, 0] - theirs[:, 0]) ** 2)
    if kind == "span":
        rows = [
            (ours[i, kept[i], side], theirs[i, kept[i], side])
            for i in range(len(ours))
            for side in (0, 1)
        ]
    elif kind == "token_classification":
        rows = zip(ours[labels != IGNORE], theirs[labels != IGNORE])
    else:
        rows = zip(ours, theirs)
    values = []
    for s, t in rows:
        p, q = softmax(t / T), softmax(s / T)
        values.append(T**2 * np.sum(p * np.log(p / q)))
    return np.mean(values)


def objective_of(kind, student, teacher, **changes):
    """With every loss, unless `changes` say otherwise; ready to train."""
    weights = {"gold": 0.3, "soft": 0.7, "hidden": 0.5, "attention": 2.0}
    objective = TaskDistillation(student, kind, teacher, temperature=T, **weights | changes)
    return quicken(objective).train()


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_part_of_the_loss_is_that_of_a_plain_version(kind):
    student, teacher, batch = classifier(kind, 2, 1), classifier(kind, 4, 2), batch_of(kind)
    plain = [copy.deepcopy(model.trunk) for model in (student, teacher)]
    objective = objective_of(kind, student, teacher)
    totals = objective.counts(batch)
    parts = objective(batch, totals)
    assert not any(module.training for module in teacher.modules())
    assert parts["gold"].item() == pytest.approx(
        TaskLoss(student, kind)(batch, totals)["loss"].item(), rel=1e-5
    )
    soft = plain_soft(kind, student(batch), teacher(batch), batch)
    assert parts["soft"].item() == pytest.approx(soft, rel=1e-4)
    for trunk in plain:
        trunk.set_attn_implementation("eager")
    keys = {"output_hidden_states": True, "output_attentions": True}
    ours, theirs = (trunk(batch.inputs, batch.kept.long(), **keys) for trunk in plain)
    pairs = (batch.kept[:, :, None] & batch.kept[:, None])[:, None].expand_as(ours.attentions[0])
    hidden = [
        ((ours.hidden_states[k] - theirs.hidden_states[2 * k]) ** 2)[batch.kept].mean()
        for k in (0, 1, 2)
    ]
    maps = [
        ((ours.attentions[j] - theirs.attentions[2 * j + 1]) ** 2)[pairs].mean() for j in (0, 1)
    ]
    assert parts["hidden"].item() == pytest.approx(sum(hidden).item() / 2, rel=1e-4)
    assert parts["attention"].item() == pytest.approx(sum(maps).item() / 2, rel=1e-4)
    total = sum(weight * parts[name] for name, weight in objective.weights.items())
    assert parts["loss"].item() == pytest.approx(total.item(), rel=1e-5)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_gradient_of_the_soft_loss_is_the_distance_of_the_distributions(kind):
    """T · (σ(z_s/T) - σ(z_t/T)) for classes and, halved, for the ends of an answer; twice the
    distance for numbers; 0 at padding and at tokens without a class."""
    batch = batch_of(kind)
    with torch.no_grad():
        ours, theirs = (classifier(kind, 2, seed)(batch) for seed in (1, 2))
    ours.requires_grad_()
    SOFT_LOSSES[kind](ours, theirs, batch, T).backward()
    axis, inside, factor = -1, torch.ones_like(ours, dtype=torch.bool), T
    if kind == "span":
        axis, inside, factor = 1, batch.kept[..., None].expand_as(ours), T / 2
    elif kind == "token_classification":
        inside = (batch.labels != IGNORE)[..., None].expand_as(ours)
    s, t = (z.detach().double() for z in (ours, theirs))
    if kind == "regression":
        expected = 2 * (s - t)
    else:
        p, q = ((z / T).masked_fill(~inside, -torch.inf).softmax(axis) for z in (t, s))
        expected = (factor * (q - p)).masked_fill(~inside, 0.0)
    assert torch.allclose(ours.grad.double(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it(kind):
    teacher, batch = classifier(kind, 2, 1), batch_of(kind)
    objective = objective_of(kind, copy.deepcopy(teacher), teacher, gold=0.0)
    parts = objective(batch, objective.counts(batch))
    assert {name: parts[name].item() for name in ("soft", "hidden", "attention", "loss")} == (
        pytest.approx(dict.fromkeys(("soft", "hidden", "attention", "loss"), 0.0), abs=1e-9)
    )


@pytest.mark.parametrize("kind", OUTPUTS)
def test_micro_batches_add_up_to_one_batch(kind):
    batch = batch_of(kind)
    objective = objective_of(kind, classifier(kind, 2, 1), classifier(kind, 4, 2))
    totals = objective.counts(batch)
    objective(batch, totals)["loss"].backward()
    whole = [weight.grad.clone() for weight in objective.parameters()]
    objective.zero_grad()
    for some in (slice(0, 2), slice(2, 6)):
        part = Batch(batch.inputs[some], batch.kept[some], batch.labels[some])
        objective(part, totals)["loss"].backward()
    for weight, gradient in zip(objective.parameters(), whole, strict=True):
        assert torch.allclose(weight.grad, gradient, atol=1e-6)


@pytest.mark.parametrize("matched", [0.0, 1.0])
def test_segments_reach_both_networks(matched):
    """Also where layers are matched, and a student that has none reads without them."""
    kind = "classification"
    batch = replace(batch_of(kind), segments=torch.arange(9).expand(6, 9) // 5)
    student, teacher = classifier(kind, 2, 1), classifier(kind, 4, 2)
    objective = objective_of(kind, student, teacher, gold=0.0, hidden=matched, attention=matched)
    soft = plain_soft(kind, student(batch), teacher(batch), batch)
    parts = objective(batch, objective.counts(batch))
    assert parts["soft"].item() == pytest.approx(soft, rel=1e-4)
    student.tells_segments = False
    soft = plain_soft(kind, student(replace(batch, segments=None)), teacher(batch), batch)
    parts = objective(batch, objective.counts(batch))
    assert parts["soft"].item() == pytest.approx(soft, rel=1e-4)


# ------------------------------------------------------------------------------- a stage from files


TASKS = {
    "mood": {"text": "sentence"},
    "level": {"kind": "regression", "text": ["sentence1", "sentence2"]},
    "names": {"kind": "token_classification"},
    "squad_like": {"kind": "span"},
}


def tagged(number):
    words = phrase(5).split()
    words[number % 5] = "good"
    return {"tokens": words, "tags": ["B-X" if word == "good" else "O" for word in words]}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Parameters of a fine-tuning of a small student, and the folder of its teacher's, which kept
    its models."""
    place = tmp_path_factory.mktemp("stage")
    records = {"mood": lambda i: marked(i % 2), "level": lambda i: similar(i % 6)}
    records |= {"names": tagged, "squad_like": question}
    for name, record in records.items():
        write(place, name, train=map(record, range(48)), validation=map(record, range(20)))
    tokenizer = train_tokenizer([" ".join(WORDS) + " good bad"] * 3, "wordpiece", 400)
    for name, layers, hidden in (
        ("student", 1, 32),
        ("deep", 2, 32),
        ("deeper", 3, 32),
        ("wide", 1, 48),
    ):
        shape = {"layers": layers, "hidden": hidden, "max_length": 64}
        small.save_trunk("bert", tokenizer, place / name, **shape)
    values = {"tasks": list(TASKS), "seeds": [1, 2], "learning_rate": 2e-3, "epochs": 1}
    values |= {"own_tasks": {n: {"files": str(place / n), **own} for n, own in TASKS.items()}}
    values |= {"batch_size": 8, "max_length": 48, "doc_stride": 12, "max_question_length": 8}
    teacher = place / "teacher"
    kept = {"model": str(place / "deep"), "keep_models": True, "seeds": [1]}
    ft.finetune_tasks(validate("finetune", values | kept), teacher)
    return values | {"model": str(place / "student"), "teacher": str(teacher)}


def test_a_student_learns_every_kind_of_task_from_kept_models(stage, tmp_path):
    """From the soft targets alone, and of layers too; its second seed from the teacher's first."""
    more = {"weight_gold": 0, "weight_hidden": 0.1, "weight_attention": 0.1}
    rows, cost = ft.finetune_tasks(validate("finetune", stage | more), tmp_path)
    assert {(row["task"], row["seed"]) for row in rows} == {(n, s) for n in TASKS for s in (1, 2)}
    assert cost["tokens_seen"] > 0 and not (tmp_path / "models").exists()


def test_a_kept_model_predicts_what_it_did(stage):
    """It is read again with its head; the encoder alone is a model for plain transformers."""
    teacher = Path(stage["teacher"])
    p = ft.settled(validate("finetune", stage | {"model": str(teacher / "models/mood-1")}))
    _, validation = ft.read_data(p, ["mood"], ft.load_encoder(p)[1], segments=True)
    (data,) = validation["mood"].values()
    kept = pd.read_parquet(teacher / "predictions.parquet")
    kept = kept[kept["task"] == "mood"]
    classes = ft.TaskSource.of(p).task("mood").labels
    again = ft.outputs(classifier_of(teacher / "models/mood-1"), data, torch.device("cpu"))
    assert [classes[own] for own in again.argmax(-1)] == kept["prediction"].tolist()
    assert np.allclose(softmax(again), np.stack(kept["probabilities"]), atol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"teacher": "nowhere"},
            "teacher = 'nowhere' has no fine-tuned model of mood; it has none",
        ),
        ({"labels": ["1", "0"]}, r"mood-1 was fine-tuned with the labels \['0', '1'\], not \['1',"),
        ({"weight_hidden": 1, "model": "wide"}, "has hidden 32, the student 48; weight_hidden"),
        ({"weight_attention": 1, "model": "deeper"}, "has 2 layers, the student 3; it can have no"),
        ({"model": "other"}, "mood-1: tokenizers of teacher and student differ: "),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_before_any_run(stage, change, message, tmp_path):
    values, change = stage | {"tasks": ["mood"]}, dict(change)
    values["own_tasks"] = {
        "mood": values["own_tasks"]["mood"] | {"labels": change.pop("labels", [])}
    }
    if change.get("model") == "other":
        tokenizer = train_tokenizer(["other words good bad"] * 3, "wordpiece", 100)
        small.save_trunk("bert", tokenizer, tmp_path / "m", layers=1, hidden=32, max_length=64)
        change["model"] = str(tmp_path / "m")
    elif "model" in change:
        change["model"] = str(Path(stage["model"]).parent / change["model"])
    with pytest.raises(InputError, match=message):
        ft.finetune_tasks(validate("finetune", values | change), tmp_path / "out")
    assert not (tmp_path / "out").exists()
