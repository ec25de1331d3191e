"""Fine-tuning: dropout and a linear layer on an encoder, for classes, numbers, spans of a text and
its words (000 section 4); also from a teacher that was fine-tuned before."""

import copy
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from torch import nn

from lib.common.errors import InputError
from lib.common.files import write_json
from lib.common.hub import ModelRef
from lib.common.progress import Progress
from lib.data.tokenizer import load_tokenizer, require_same
from lib.fast.quicken import quicken
from lib.tasks import classifier as classifiers
from lib.tasks import spans, words
from lib.tasks.classifier import Classifier, TaskDistillation, TaskLoss
from lib.tasks.encoding import Encoded, TaskBatches, by_length, encode
from lib.tasks.examples import (
    Examples,
    TaskSource,
    evaluation_languages,
    load,
    settled,
    training_task,
    validation_splits,
)
from lib.tasks.metrics import contributions, score
from lib.tasks.parameters import Finetune
from lib.tasks.registry import Task
from lib.training import models
from lib.training.architectures import sizes
from lib.training.batches import Schedule
from lib.training.loop import COST, Recipe, expense, fastest, recipe, train

Validation = dict[tuple[str, str], Encoded]
"""A task's validation sets by language and by the suffix of their metrics' names."""
PREDICTIONS = "predictions.parquet"
MODELS = "models"
"""The folder of the models that a fine-tuning keeps."""

# --------------------------------------------------------------------------------------- evaluation


@torch.inference_mode()
def outputs(
    classifier: Classifier,
    data: Encoded,
    device: torch.device,
    size: int = 256,
    precision: str = "no",
) -> np.ndarray:
    """The classifier's outputs for every example, [examples, outputs] in fp32: the logits of its
    classes, or a number. They are computed in bf16 if training is; with fp16 in fp32. Leaves the
    classifier in training mode."""
    classifier.eval()
    out = np.empty((len(data.rows), classifier.linear.out_features), np.float32)
    for indices in by_length(data.rows, size):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = classifier(data.batch(indices).to(device))
        out[indices] = logits.float().cpu().numpy()
    classifier.train()
    return out


def evaluate(
    classifier: Classifier,
    validation: dict[str, Validation],
    tasks: Mapping[str, Task],
    max_answer_length: int,
    precision: str = "no",
) -> tuple[list[dict], pd.DataFrame]:
    """The scores on every validation set of every task, and what they were computed from.

    Returns rows of task, language, metric and value (in percent), and a frame of predictions: a row
    per example and metric with task, language, metric, example (its number), label, prediction
    (both as text), score, what the example contributes to the value, which is the mean of them
    (lib.tasks.metrics.contributions), and probabilities, those of the classes (None where a text
    has none). `precision` as in `outputs`; spans are predicted in fp32.
    """
    device, rows, frames = next(classifier.parameters()).device, [], []
    for name, sets in validation.items():
        task = tasks[name]
        for (language, suffix), data in sets.items():
            labels = data.labels if task.kind in ("classification", "regression") else data.golds
            probabilities: list | None = None
            if task.kind == "span":
                predicted = spans.answers(classifier, data, device, max_answer_length)
            elif task.tags:
                blank = task.labels.index("O") if "O" in task.labels else 0
                predicted = words.classes(classifier, data, device, blank, precision)
            elif task.kind == "regression":
                predicted = outputs(classifier, data, device, precision=precision)[:, 0]
                predicted = predicted.astype(float)
            else:
                logits = outputs(classifier, data, device, precision=precision)
                predicted = logits.argmax(-1)
                probabilities = list(softmax(logits, axis=-1))
            parts = contributions(task, predicted, labels)
            columns = {
                "label": [as_text(task, label) for label in labels],
                "prediction": [as_text(task, own) for own in predicted],
                "probabilities": probabilities,
            }
            for metric, value in score(task, predicted, labels).items():
                row = {"task": name, "language": language, "metric": metric + suffix}
                rows.append({**row, "value": value})
                frame = pd.DataFrame(columns | {"score": np.asarray(parts[metric], np.float32)})
                frame = frame.rename_axis("example").reset_index()
                frames.append(frame.assign(**row))
    return rows, pd.concat(frames, ignore_index=True)


def as_text(task: Task, value) -> str:
    """A label or a prediction as text: a class by its name; gold answers and the classes of words
    as JSON."""
    if task.kind == "classification":
        return task.labels[value]
    if task.kind == "regression":
        return f"{value:g}"
    if task.tags:
        value = [task.labels[own] for own in value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ----------------------------------------------------------------------------------------- training


def finetune(
    objective: TaskLoss,
    training: Encoded,
    evaluate: Callable[[Classifier], tuple[list[dict], pd.DataFrame]],
    *,
    epochs: int,
    batch: int,
    recipe: Recipe,
    when: str = "every_epoch",
    folder: Path | None = None,
    name: str = "fine-tuning",
) -> tuple[list[dict], dict, pd.DataFrame]:
    """Fine-tune the classifier of `objective` in place, with a `batch` of examples in each step.

    Returns the rows of `evaluate(classifier)` after every epoch (`when="every_epoch"`) or after the
    last one only (`when="last"`), each with its `epoch` and the mean training `loss` of that epoch;
    the cost of the training, see lib.training.loop.COST; and the predictions after the last epoch.
    Which epoch is reported: lib.tasks.metrics.by_protocol.

    Checkpoints, the rows of each epoch and the predictions are kept in `folder`, so that a run that
    was stopped can resume.
    """
    schedule = Schedule(
        np.array([len(row) for row in training.rows]),
        batch=batch,
        micro=batch,
        epochs=epochs,
        seed=recipe.seed,
    )
    evaluated = range(1, epochs + 1) if when == "every_epoch" else [epochs]
    paths = folder.glob("*.json") if folder else []
    results = {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in paths}
    kept = folder / PREDICTIONS if folder else None
    predictions = pd.read_parquet(kept) if kept and kept.is_file() else None

    def after_step(step: int) -> None:
        nonlocal predictions
        epoch, within = divmod(step, schedule.steps_per_epoch)
        if within == 0 and epoch in evaluated:
            results[epoch], latest = evaluate(objective.classifier)
            predictions = latest if epoch == epochs else None
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                if epoch == epochs:
                    predictions.to_parquet(kept)
                write_json(folder / f"{epoch}.json", results[epoch])

    history = train(
        objective,
        TaskBatches(training, schedule),
        recipe,
        after_step=after_step,
        log_every=schedule.steps_per_epoch,
        quiet=True,
        keep_last=False,
        folder=folder,
        name=name,
    )
    rows = [
        {**row, "epoch": epoch, "loss": history[epoch - 1]["loss"]}
        for epoch, epoch_rows in sorted(results.items())
        for row in epoch_rows
    ]
    return rows, {key: history[-1][key] for key in COST}, predictions


def finetune_tasks(
    p: Finetune, folder: Path, share: slice = slice(None)
) -> tuple[list[dict], dict[str, float]]:
    """Fine-tune `p.model` on every task with every seed.

    Returns rows of seed, task, language, metric, value (in percent), epoch and training loss, and
    the cost of all training as lib.training.loop.expense gives it. The predictions of all runs
    after their last epochs are written to `folder`/predictions.parquet, see `evaluate`.

    With a teacher each run learns from the teacher's model of the same task and seed (of its first
    seed, if it has no such). With `keep_models` the model of every run is kept in
    `folder`/models/<task>-<seed>, for a later fine-tuning to learn from.

    A task in several languages is trained in one and evaluated in all. Tasks with the same training
    data (PolEmo2.0-IN and -OUT) share a run, since their runs would be equal bit for bit. Finished
    runs are kept in `folder`/runs, so a stage that was stopped resumes with the next one. Several
    processes each do their `share` of the runs.
    """
    p = settled(p)
    trunk, tokenizer = load_encoder(p)
    groups = shared_training(p)
    runs = [(name, seed) for name in groups for seed in p.seeds][share]
    teachers = {run: kept_teacher(p, groups[run[0]], run[1]) for run in runs if p.teacher}
    told = [models.tells_segments(trunk)]
    for (name, _), place in teachers.items():
        check_teacher(p, TaskSource.of(p).task(name), place, trunk, tokenizer)
        told.append((sizes(ModelRef.of(place).config())["segments"] or 0) > 1)
    segments = p.segments and any(told)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    precision = settle_precision(p, folder)
    progress = Progress(len(runs), "fine-tuning")
    rows, cost, data = [], dict.fromkeys(COST, 0.0), {}
    for done, (name, seed) in enumerate(runs, 1):
        own = settings(p, name).model_copy(update={"precision": precision})
        path = folder / "runs" / f"{name}-{seed}.json"
        if not path.is_file():
            sample = (name, seed if training_size(own, name) else 0)  # 0: all examples
            if sample not in data:  # only one is held at a time
                data = {sample: read_data(own, groups[name], tokenizer, segments, seed)}
            checkpoints = folder / "checkpoints" / f"{name}-{seed}"
            task = TaskSource.of(own).task(name)
            teacher = teachers.get((name, seed))
            student = copy.deepcopy(trunk)
            run = one_run(own, task, student, *data[sample], seed, checkpoints, teacher)
            run.pop("predictions").assign(seed=seed).to_parquet(path.with_suffix(".parquet"))
            classifier = run.pop("classifier")
            if p.keep_models:
                classifiers.save(classifier, task, tokenizer, folder / MODELS / f"{name}-{seed}")
            write_json(path, run)
            shutil.rmtree(checkpoints, ignore_errors=True)
        run = json.loads(path.read_text(encoding="utf-8"))
        rows += [{"seed": seed, **row} for row in run["scores"]]
        cost = {key: cost[key] + run["cost"][key] for key in COST}
        last_epoch = [row for row in run["scores"] if row["epoch"] == own.epochs]
        progress.at(done, f"seed {seed}: {_outcome(last_epoch)}")
    if share == slice(None):
        paths = [folder / "runs" / f"{name}-{seed}.parquet" for name, seed in runs]
        predictions = pd.concat(map(pd.read_parquet, paths), ignore_index=True)
        predictions.to_parquet(folder / PREDICTIONS)
    return rows, expense(cost)


def one_run(
    p: Finetune,
    task: Task,
    trunk: nn.Module,
    training: Encoded,
    validation: dict[str, Validation],
    seed: int,
    folder: Path | None = None,
    teacher: Path | None = None,
) -> dict:
    """Fine-tune `trunk` in place with one seed: {scores, cost, predictions, classifier};
    checkpoints go to `folder`. `teacher`: the folder of the fine-tuned model to learn from."""
    classifier = new_classifier(p, task, trunk, seed)
    if task.kind == "regression":
        # A bias moves by about the learning rate in a step. From 0 it would not reach the labels'
        # mean in a short training, and some seeds would learn nothing. Nor would weights reach the
        # spread of labels of any size.
        if task.label_range is None:
            classifier.scale = float(np.std(training.labels)) or 1.0
        mean = float(np.mean(training.labels))
        nn.init.constant_(classifier.linear.bias, mean / classifier.scale)
    objective = TaskLoss(classifier, task.kind)
    if teacher:
        objective = task_distillation(p, classifier, task, teacher)
    scores, cost, predictions = finetune(
        objective,
        training,
        partial(
            evaluate,
            validation=validation,
            tasks={name: TaskSource.of(p).task(name) for name in validation},
            max_answer_length=p.max_answer_length,
            precision=p.precision,
        ),
        epochs=p.epochs,
        batch=p.batch_size,
        recipe=recipe(p, seed),
        when=p.evaluate,
        folder=folder,
        name=folder.name if folder else "fine-tuning",
    )
    results = {"scores": scores, "cost": cost, "predictions": predictions}
    return results | {"classifier": classifier}


def new_classifier(p: Finetune, task: Task, trunk: nn.Module, seed: int) -> Classifier:
    """A new classifier on `trunk` for a task. Frozen embeddings (words, positions, segments, and
    the LayerNorm after them) get no gradient, and the optimizer does not hold them."""
    models.embeddings_of(trunk).requires_grad_(not p.freeze_embeddings)
    outputs = {"regression": 1, "span": 2}.get(task.kind, len(task.labels))
    pooling = "every" if task.kind == "span" or task.tags else p.pooling
    return Classifier(quicken(trunk), outputs, p.dropout, pooling, seed)


# --------------------------------------------------------------------------- what a teacher teaches


def kept_teacher(p: Finetune, names: list[str], seed: int) -> Path:
    """The folder of the teacher's model of the tasks `names`, which share their training: the one
    with this seed, or else with its first. Raises InputError if there is none."""
    place = ModelRef(p.teacher).folder / MODELS
    for name in dict.fromkeys([*names, training_task(names[0], TaskSource.of(p))]):
        kept = {int(path.name.rpartition("-")[2]): path for path in place.glob(f"{name}-[0-9]*")}
        if kept:
            return kept.get(seed, kept[min(kept)])
    known = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    raise InputError(
        f"teacher = {p.teacher!r} has no fine-tuned model of {names[0]}; it has "
        f"{', '.join(known) or 'none'} (a fine-tuning with keep_models: true keeps its models)"
    )


def check_teacher(p: Finetune, task: Task, teacher: Path, trunk: nn.Module, tokenizer) -> None:
    """Raise InputError unless a student can learn a task from the fine-tuned model in the folder
    `teacher`: the same classes and tokenizer, and where layers are matched, a shape that fits."""
    where, about = f"teacher = {p.teacher!r}: {teacher.name}", classifiers.describe(teacher)
    asked = {"kind": task.kind, "labels": list(task.labels)}
    for key, own in asked.items():
        if about[key] != own:
            raise InputError(f"{where} was fine-tuned with the {key} {about[key]}, not {own}")
    try:
        require_same(load_tokenizer(teacher), tokenizer, "teacher", "student")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    theirs, ours = sizes(ModelRef.of(teacher).config()), sizes(trunk.config.to_dict())
    for weight, size in (("weight_hidden", "hidden"), ("weight_attention", "heads")):
        if getattr(p, weight) and theirs[size] != ours[size]:
            raise InputError(
                f"{where} has {size} {theirs[size]}, the student {ours[size]}; {weight} compares "
                f"layers of one shape: allowed is 0"
            )
    if (p.weight_hidden or p.weight_attention) and ours["layers"] > theirs["layers"]:
        raise InputError(
            f"{where} has {theirs['layers']} layers, the student {ours['layers']}; it can have no "
            f"more where layers are matched"
        )


def task_distillation(
    p: Finetune, classifier: Classifier, task: Task, teacher: Path
) -> TaskDistillation:
    """What a student minimises that learns a task from the fine-tuned model in `teacher`."""
    objective = TaskDistillation(
        classifier,
        task.kind,
        classifiers.load(teacher),
        gold=p.weight_gold,
        soft=p.weight_soft,
        hidden=p.weight_hidden,
        attention=p.weight_attention,
        temperature=p.temperature,
        mapping=p.mapping,
    )
    return quicken(objective)


def _outcome(rows: list[dict]) -> str:
    """Each metric of each task in words, the mean over languages."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(f"{row['task']} {row['metric']}", []).append(row["value"])
    return ", ".join(f"{name} {np.mean(numbers):.1f}" for name, numbers in values.items())


# ----------------------------------------------------------------------- what a stage trains on


def settings(p: Finetune, name: str) -> Finetune:
    """The stage's parameters for one task: with the values that `per_task` gives it."""
    return p.model_copy(update=p.per_task.get(name, {}))


def training_size(p: Finetune, name: str) -> int:
    """How many training examples a task uses, 0 for all: the number given for it, otherwise the one
    given for the task whose training data it uses."""
    if isinstance(p.train_examples, int):
        return p.train_examples
    owner = training_task(name, TaskSource.of(p))
    return p.train_examples.get(name, p.train_examples.get(owner, 0))


def shared_training(p: Finetune) -> dict[str, list[str]]:
    """The tasks that share a fine-tuning, by the name of the first of them: those with the same
    training data, the same number of examples, and the same values in `per_task`."""
    groups: dict[tuple, list[str]] = {}
    for name in p.tasks:
        owner = training_task(name, TaskSource.of(p))
        own = frozenset(p.per_task.get(name, {}).items())
        groups.setdefault((owner, training_size(p, name), own), []).append(name)
    return {names[0]: names for names in groups.values()}


def read_examples(
    p: Finetune, names: list[str], seed: int = 0
) -> tuple[Examples, dict[str, dict[tuple[str, str], Examples]]]:
    """The training examples that the tasks `names` share, a sample by `seed` where not all are
    used; and their `validation_examples`."""
    source, number = TaskSource.of(p), training_size(p, names[0])
    training = load(names[0], "train", source, number, for_training=True, seed=seed)
    return training, validation_examples(p, names)


def validation_examples(
    p: Finetune, names: list[str]
) -> dict[str, dict[tuple[str, str], Examples]]:
    """Each task's validation examples by language and by the suffix of their metrics' names."""
    source = TaskSource.of(p)
    return {
        name: {
            (language, suffix): load(
                name, split, replace(source, language=language), p.validation_examples
            )
            for language in evaluation_languages(name, source, p.languages)
            for split, suffix in validation_splits(name, source).items()
        }
        for name in names
    }


def read_data(
    p: Finetune, names: list[str], tokenizer, segments: bool, seed: int = 0
) -> tuple[Encoded, dict[str, Validation]]:
    """`read_examples` as tokens."""
    examples, sets = read_examples(p, names, seed)
    training = encode_examples(p, names[0], examples, tokenizer, segments)
    return training, encode_sets(p, sets, tokenizer, segments)


def encode_sets(
    p: Finetune, sets: dict[str, dict[tuple[str, str], Examples]], tokenizer, segments: bool
) -> dict[str, Validation]:
    """`validation_examples` as tokens."""
    return {
        name: {
            place: encode_examples(p, name, examples, tokenizer, segments)
            for place, examples in own.items()
        }
        for name, own in sets.items()
    }


def encode_examples(
    p: Finetune, name: str, examples: Examples, tokenizer, segments: bool
) -> Encoded:
    """Examples of a task as tokens, cut to the lengths that the parameters allow."""
    task = TaskSource.of(p).task(name)
    if task.tags:
        return words.words(examples, tokenizer, p.max_length)
    if task.kind != "span":
        return encode(examples, tokenizer, p.max_length, segments)
    return spans.windows(
        examples,
        tokenizer,
        max_length=p.max_length,
        doc_stride=p.doc_stride,
        max_question_length=p.max_question_length,
        segments=segments,
    )


def load_encoder(p: Finetune) -> tuple:
    """The encoder to fine-tune, and its tokenizer, or the one that the parameters name instead."""
    model = ModelRef(p.model, p.model_revision).require()
    trunk, tokenizer = models.load_trunk(model), load_tokenizer(p.tokenizer or model)
    if len(tokenizer) > trunk.config.vocab_size:
        raise InputError(
            f"tokenizer = {p.tokenizer!r}: it has {len(tokenizer):,} tokens, and the model "
            f"{p.model} {trunk.config.vocab_size:,}; allowed is empty, the model's own"
        )
    return trunk, tokenizer


def settle_precision(p: Finetune, folder: Path) -> str:
    """The precision to train in: for `auto` the fastest on this machine, measured on the first
    training batch.

    It is measured once for a stage and kept in `folder`/runs/precision.json: a resumed run, or
    another process of the same stage, must use the same.
    """
    if p.precision != "auto":
        return p.precision
    path = folder / "runs" / "precision.json"
    if not path.is_file():
        trunk, tokenizer = load_encoder(p)
        p, name = settled(p), p.tasks[0]
        own, task = settings(p, name), TaskSource.of(p).task(name)
        limit = min(own.batch_size, training_size(p, name) or own.batch_size)
        examples = load(name, "train", TaskSource.of(p), limit)
        segments = p.segments and models.tells_segments(trunk)
        data = encode_examples(own, name, examples, tokenizer, segments)
        batch = data.batch(np.arange(min(own.batch_size, len(data.rows))))
        loss = TaskLoss(new_classifier(own, task, trunk, seed=0), task.kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, fastest(loss, [batch]))
    return json.loads(path.read_text(encoding="utf-8"))


def size(p: Finetune) -> dict:
    """Layers, parameters and size of the encoder that was fine-tuned."""
    model = models.load_trunk(ModelRef(p.model, p.model_revision))
    return {
        "layers": model.config.num_hidden_layers,
        "parameters": models.parameter_count(model),
        "size_mib": models.size_mib(model),
    }
