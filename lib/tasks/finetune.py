"""Fine-tuning: dropout and a linear layer on an encoder, for classes, numbers and spans of a text
(000 section 4)."""

import copy
import json
import shutil
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import nn

from lib.common.files import write_json
from lib.common.hub import ModelRef
from lib.common.progress import Progress
from lib.data.tokenizer import load_tokenizer
from lib.fast.quicken import quicken
from lib.tasks import spans
from lib.tasks.encoding import Encoded, TaskBatches, by_length
from lib.tasks.examples import Validation, encoded, settings, shared_training
from lib.tasks.metrics import METRICS
from lib.tasks.registry import TASKS
from lib.training import models
from lib.training.batches import Batch, Schedule
from lib.training.loop import COST, Recipe, expense, recipe, train
from lib.training.precision import fastest


class Classifier(nn.Module):
    """Trunk, dropout, linear layer. `pooling`: what the layer sees, the first token's hidden state,
    the same after BERT's `pooler`, a new dense layer and tanh (Devlin et al. 2018), the mean over
    real tokens, or `every` token by itself."""

    def __init__(
        self, trunk: nn.Module, outputs: int, dropout: float, pooling: str = "first", seed: int = 0
    ):
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.dropout, self.pooling = quicken(trunk), nn.Dropout(dropout), pooling
        width = trunk.config.hidden_size
        self.linear = nn.Linear(width, outputs)
        self.dense = nn.Linear(width, width) if pooling == "pooler" else None
        for layer in filter(None, (self.linear, self.dense)):
            nn.init.normal_(layer.weight, std=trunk.config.initializer_range)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits, [sequences, outputs]; [sequences, length, outputs] with pooling `every`."""
        segments = {} if batch.segments is None else {"token_type_ids": batch.segments}
        hidden = self.trunk(
            input_ids=batch.inputs, attention_mask=batch.kept.long(), **segments
        ).last_hidden_state
        if self.pooling == "mean":
            weight = batch.kept[..., None].to(hidden.dtype)
            hidden = (hidden * weight).sum(1) / weight.sum(1)
        elif self.pooling in ("first", "pooler"):
            hidden = hidden[:, 0]
        if self.dense is not None:
            hidden = self.dense(hidden).tanh()
        return self.linear(self.dropout(hidden))


def class_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the right class, summed over the examples of a micro-batch."""
    return nn.functional.cross_entropy(logits, batch.labels, reduction="sum")


def squared_error(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Squared difference between the one output and the number wanted, summed over the examples of
    a micro-batch."""
    return nn.functional.mse_loss(logits[:, 0], batch.labels, reduction="sum")


LOSSES = {"classification": class_loss, "regression": squared_error, "span": spans.span_loss}


class TaskLoss(nn.Module):
    """The loss of a kind of task, mean over the examples of a step."""

    def __init__(self, classifier: Classifier, kind: str):
        super().__init__()
        self.classifier, self.loss = classifier, LOSSES[kind]

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"examples": len(batch.labels), "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        return {"loss": self.loss(self.classifier(batch).float(), batch) / totals["examples"]}


@torch.inference_mode()
def predict(
    classifier: Classifier,
    data: Encoded,
    device: torch.device,
    size: int = 256,
    precision: str = "no",
) -> np.ndarray:
    """Predicted class of every example, or its number where the classifier has a single output:
    [examples]. Of the formats, bf16 is used here too; fp16 is for gradients' sake, and predictions
    are made in fp32."""
    classifier.eval()
    number = classifier.linear.out_features == 1
    out = np.empty(len(data.rows), dtype=np.float64 if number else np.int64)
    for indices in by_length(data.rows, size):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = classifier(data.batch(indices).to(device))
        out[indices] = (logits[:, 0].float() if number else logits.argmax(-1)).cpu().numpy()
    classifier.train()
    return out


def finetune(
    classifier: Classifier,
    training: Encoded,
    kind: str,
    evaluate: Callable[[Classifier], list[dict]],
    *,
    epochs: int,
    batch: int,
    recipe: Recipe,
    when: str = "every_epoch",
    folder: Path | None = None,
    name: str = "fine-tuning",
) -> tuple[list[dict], dict]:
    """Fine-tune `classifier` in place; the rows of `evaluate(classifier)` after every epoch, or
    after the last one only, each with `epoch` and the mean training `loss` of that epoch added, and
    what it all cost (see lib.training.loop.COST).

    The paper reports the largest accuracy over epochs (protocol `best_epoch`), which is chosen on
    the data it is measured on; the last one (`final`) is not. Checkpoints, and what was found after
    each epoch, go to `folder`: one that was stopped goes on from there.
    """
    schedule = Schedule(
        np.array([len(row) for row in training.rows]),
        batch=batch,
        micro=batch,
        epochs=epochs,
        seed=recipe.seed,
    )
    evaluated = range(1, epochs + 1) if when == "every_epoch" else [epochs]
    epoch_ends = {schedule.steps_per_epoch * epoch: epoch for epoch in evaluated}
    before = folder.glob("*.json") if folder else []
    found = {int(path.stem): json.loads(path.read_text(encoding="utf-8")) for path in before}

    def after_step(done: int) -> None:
        if done in epoch_ends:
            found[epoch_ends[done]] = evaluate(classifier)
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                write_json(folder / f"{epoch_ends[done]}.json", found[epoch_ends[done]])

    losses = train(
        TaskLoss(classifier, kind),
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
        {"epoch": epoch, **row, "loss": losses[epoch - 1]["loss"]}
        for epoch, rows in sorted(found.items())
        for row in rows
    ]
    return rows, {key: losses[-1][key] for key in COST}


def evaluation(
    validation: dict[str, Validation], max_answer_length: int, precision: str = "no"
) -> Callable[[Classifier], list[dict]]:
    """What measures a classifier on the validation sets of each task, in rows of task, language,
    metric and value."""

    def evaluate(classifier: Classifier) -> list[dict]:
        device, rows = next(classifier.parameters()).device, []
        for name, sets in validation.items():
            for (language, ending), data in sets.items():
                if TASKS[name].kind == "span":
                    values = spans.score(
                        spans.answers(classifier, data, device, max_answer_length), data
                    )
                else:
                    predicted = predict(classifier, data, device, precision=precision)
                    values = {
                        metric: METRICS[metric](predicted, data.labels)
                        for metric in TASKS[name].metrics
                    }
                rows += [
                    {"task": name, "language": language, "metric": metric + ending, "value": value}
                    for metric, value in values.items()
                ]
        return rows

    return evaluate


def finetune_tasks(p, folder, mine: slice = slice(None)) -> tuple[list[dict], dict[str, float]]:
    """Fine-tune `p.model` on every task with every seed; one row of seed, task, language, epoch,
    metric, value (in percent) and training loss for each metric, each language of evaluation and
    each epoch that is evaluated. And what the training of all of them cost: tokens, seconds,
    padding.

    A task in several languages is learnt in one and measured in all, by a single fine-tuning for
    each seed. Tasks that share their training data (PolEmo2.0-IN and -OUT) share the fine-tuning
    too: it would be the same, bit for bit. Each finished run is kept in `folder`/runs, so a stage
    that was stopped goes on with the next one. The model is loaded and the text tokenised once for
    all seeds. Of several processes that share the runs, each does those that are `mine`.
    """
    trunk, tokenizer = _loaded(p)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    groups = shared_training(p)
    runs = [(owner, seed) for owner in groups for seed in p.seeds][mine]
    progress = Progress(len(runs), "fine-tuning")
    rows, done, cost = [], 0, dict.fromkeys(COST, 0.0)
    for owner, names in groups.items():
        data, own = None, settings(p, names[0])
        for seed in (seed for whose, seed in runs if whose == owner):
            kept = folder / "runs" / f"{owner}-{seed}.json"
            if not kept.is_file():
                data = data or encoded(
                    own, names, tokenizer, p.segments and models.tells_segments(trunk)
                )
                own = settled(
                    own, TASKS[names[0]], trunk, data[0], folder / "runs" / "precision.json"
                )
                under_way = folder / "checkpoints" / f"{owner}-{seed}"
                write_json(
                    kept,
                    one_run(own, TASKS[names[0]], copy.deepcopy(trunk), *data, seed, under_way),
                )
                shutil.rmtree(under_way, ignore_errors=True)
            found = json.loads(kept.read_text(encoding="utf-8"))
            rows += [{"seed": seed, **row} for row in found["scores"]]
            cost = {name: cost[name] + found["cost"][name] for name in COST}
            done += 1
            last = [row for row in found["scores"] if row["epoch"] == own.epochs]
            progress.at(done, f"seed {seed}: {_outcome(last)}")
    return rows, expense(cost)


def settle(p, folder: Path) -> None:
    """Measure what `precision: auto` is here, unless `folder` has it noted: several processes must
    not find different ones."""
    if p.precision == "auto" and not (note := folder / "runs" / "precision.json").is_file():
        note.parent.mkdir(parents=True, exist_ok=True)
        trunk, tokenizer = _loaded(p)
        names = next(iter(shared_training(p).values()))
        own = settings(p, names[0])
        training, _ = encoded(own, names, tokenizer, p.segments and models.tells_segments(trunk))
        settled(own, TASKS[names[0]], trunk, training, note)


def _loaded(p) -> tuple:
    """The encoder to fine-tune, and its tokenizer or the one that is given."""
    model = ModelRef(p.model, p.model_revision).require()
    tokenizer = load_tokenizer(p.tokenizer or model)
    return models.load_trunk(model), tokenizer


def settled(p, task, trunk: nn.Module, training: Encoded, note: Path):
    """The parameters with a precision in place of `auto`: the one that is faster here, measured
    once for the stage and kept in `note`."""
    if p.precision != "auto":
        return p
    if not note.is_file():
        some = training.batch(np.arange(min(p.batch_size, len(training.rows))))
        write_json(
            note,
            fastest(
                TaskLoss(_classifier(p, task, copy.deepcopy(trunk), seed=0), task.kind), [some]
            ),
        )
    return p.model_copy(update={"precision": json.loads(note.read_text(encoding="utf-8"))})


def _outcome(rows: list[dict]) -> str:
    """Each metric of each task, the mean over languages."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(f"{row['task']} {row['metric']}", []).append(row["value"])
    return ", ".join(f"{what} {np.mean(found):.1f}" for what, found in values.items())


def one_run(
    p,
    task,
    trunk: nn.Module,
    training: Encoded,
    validation: dict,
    seed: int,
    folder: Path | None = None,
) -> dict:
    """Fine-tune `trunk` in place with one seed and the parameters `p` of the task: its `scores` and
    its `cost`. What is under way is kept in `folder`."""
    classifier = _classifier(p, task, trunk, seed)
    evaluate = evaluation(validation, p.max_answer_length, p.precision)
    found, cost = finetune(
        classifier,
        training,
        task.kind,
        evaluate,
        epochs=p.epochs,
        batch=p.batch_size,
        recipe=recipe(p, seed),
        when=p.evaluate,
        folder=folder,
        name=folder.name if folder else "fine-tuning",
    )
    names = ("task", "language", "epoch", "metric", "value", "loss")
    return {"scores": [{key: row[key] for key in names} for row in found], "cost": cost}


def _classifier(p, task, trunk: nn.Module, seed: int) -> Classifier:
    """A new classifier on `trunk` for a task. Frozen embeddings (those of words, positions and
    segments, and the LayerNorm after them) get no gradient, and the optimizer does not hold
    them."""
    trunk.embeddings.requires_grad_(not p.freeze_embeddings)
    outputs = {"classification": len(task.labels), "regression": 1, "span": 2}[task.kind]
    return Classifier(
        trunk, outputs, p.dropout, "every" if task.kind == "span" else p.pooling, seed
    )


def size(p) -> dict:
    """Layers, parameters and size of the model that was fine-tuned: a BERT's encoder with its MLM
    head, as it was pretrained; a DistilBERT's encoder."""
    ref = ModelRef(p.model, p.model_revision)
    bert = models.kind_of(ref) == "bert"
    model = models.load(ref, head=False) if bert else models.load_trunk(ref)
    return {
        "layers": model.config.num_hidden_layers,
        "parameters": models.parameter_count(model),
        "size_mib": models.size_mib(model),
    }
