"""Fine-tuning for sequence classification: dropout and a linear layer on an encoder (000 section 4)."""

import copy
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lib import models
from lib.batches import Batch, Schedule, pad
from lib.metrics import accuracy
from lib.pretraining import beside, local
from lib.progress import Progress
from lib.stage import write_json
from lib.tasks import TASKS, Examples, TaskSource
from lib.tasks import load as load_task
from lib.tokenizer import load as load_tokenizer
from lib.train import Recipe, train


class Classifier(nn.Module):
    """Trunk, dropout, linear layer. `pooling`: the first token's hidden state, or the mean over real tokens."""

    def __init__(self, trunk: nn.Module, classes: int, dropout: float, pooling: str = "first", seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.dropout, self.pooling = trunk, nn.Dropout(dropout), pooling
        self.linear = nn.Linear(trunk.config.hidden_size, classes)
        nn.init.normal_(self.linear.weight, std=trunk.config.initializer_range)
        nn.init.zeros_(self.linear.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits, [sequences, classes]."""
        hidden = self.trunk(input_ids=batch.inputs, attention_mask=batch.kept.long()).last_hidden_state
        if self.pooling == "mean":
            weight = batch.kept[..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1)
        else:
            pooled = hidden[:, 0]
        return self.linear(self.dropout(pooled))


class Classification(nn.Module):
    """Cross-entropy of the right class, mean over the examples of a step."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"examples": len(batch.labels), "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        logits = self.classifier(batch).float()
        return {"loss": nn.functional.cross_entropy(logits, batch.labels, reduction="sum") / totals["examples"]}


@dataclass(frozen=True)
class Encoded:
    """A task's examples as token ids: rows of different lengths, and label ids [examples]."""

    rows: list[np.ndarray]
    labels: np.ndarray
    pad_id: int

    def batch(self, indices: np.ndarray) -> Batch:
        rows = [self.rows[i] for i in indices]
        inputs = pad(rows, self.pad_id)
        kept = torch.arange(inputs.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        return Batch(inputs, kept, torch.from_numpy(self.labels[indices]))


def encode(examples: Examples, tokenizer, max_length: int) -> Encoded:
    """Tokenise once; every seed and every epoch uses the result."""
    columns = [list(column) for column in zip(*examples.texts)]
    ids = tokenizer(*columns, truncation=True, max_length=max_length, add_special_tokens=True)["input_ids"]
    return Encoded(
        [np.asarray(row, dtype=np.int64) for row in ids], np.asarray(examples.labels), tokenizer.pad_token_id
    )


class TaskBatches:
    """Batches of labelled examples, grouped by length; `at(step)` as in `lib.batches`."""

    def __init__(self, data: Encoded, schedule: Schedule):
        self.data, self.schedule, self.steps = data, schedule, schedule.steps

    def at(self, step: int) -> list[Batch]:
        return [self.data.batch(indices) for indices in self.schedule.indices(step)]


@torch.inference_mode()
def predict(classifier: Classifier, data: Encoded, device: torch.device, size: int = 256) -> np.ndarray:
    """Predicted class of every example, [examples]. Similar lengths go together, which changes nothing but the time."""
    classifier.eval()
    order = np.argsort([len(row) for row in data.rows], kind="stable")
    out = np.empty(len(order), dtype=np.int64)
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        out[indices] = classifier(data.batch(indices).to(device)).argmax(-1).cpu().numpy()
    classifier.train()
    return out


def finetune(trunk: nn.Module, training: Encoded, validations: dict[str, Encoded], *, classes: int, epochs: int,
             batch: int, dropout: float, pooling: str, recipe: Recipe) -> list[dict]:  # fmt: skip
    """Fine-tune `trunk` in place; one dict(task, epoch, accuracy, loss) for every epoch and validation set.

    The paper reports the largest accuracy over epochs (protocol `best_epoch`), which is chosen on the data it is measured
    on; the last one (`final`) is not.
    """
    classifier = Classifier(trunk, classes, dropout, pooling, recipe.seed)
    schedule = Schedule(
        np.array([len(row) for row in training.rows]), batch=batch, micro=batch, epochs=epochs, seed=recipe.seed
    )
    found: list[dict] = []
    epoch_ends = {schedule.steps_per_epoch * epoch: epoch for epoch in range(1, epochs + 1)}

    def after_step(done: int) -> None:
        if done in epoch_ends:
            device = next(classifier.parameters()).device
            for task, data in validations.items():
                value = accuracy(predict(classifier, data, device), data.labels)
                found.append({"task": task, "epoch": epoch_ends[done], "accuracy": value})

    losses = train(Classification(classifier), TaskBatches(training, schedule), recipe, after_step=after_step,
                   log_every=schedule.steps_per_epoch, quiet=True)  # fmt: skip
    return [{**row, "loss": losses[row["epoch"] - 1]["loss"]} for row in found]


def finetune_tasks(p, folder) -> list[dict]:
    """Fine-tune `p.model` on every task with every seed; one row per task, seed and epoch.

    Tasks that share their training data (PolEmo2.0-IN and -OUT) share the fine-tuning too: it would be the same, bit for
    bit. Each finished run is kept in `folder`/runs, so a stage that was stopped goes on with the next one. The model is
    loaded and the text tokenised once for all seeds.
    """
    place = beside(p.model)
    trunk = models.load(place, p.model_revision, head=False).bert
    tokenizer = load_tokenizer(local(p.tokenizer)) if p.tokenizer else load_tokenizer(place, p.model_revision)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    groups = shared_training(p)
    progress = Progress(len(groups) * len(p.seeds), "fine-tuning")
    rows, done = [], 0
    for owner, names in groups.items():
        data = None
        for seed in p.seeds:
            kept = folder / "runs" / f"{owner}-{seed}.json"
            if not kept.is_file():
                data = data or encoded(p, names, tokenizer)
                recipe = Recipe(p.learning_rate, p.schedule, p.warmup, p.weight_decay, clip=p.clip_norm,
                                precision=p.precision, seed=seed)  # fmt: skip
                found = finetune(copy.deepcopy(trunk), *data, classes=len(TASKS[owner].labels), epochs=p.epochs,
                                 batch=p.batch_size, dropout=p.dropout, pooling=p.pooling, recipe=recipe)  # fmt: skip
                write_json(kept, found)
            found = json.loads(kept.read_text(encoding="utf-8"))
            rows += [{"seed": seed, **row} for row in found]
            done += 1
            last = {row["task"]: row["accuracy"] for row in found}
            progress.at(done, f"seed {seed}: " + ", ".join(f"{task} {value:.1f} %" for task, value in last.items()))
    return rows


def shared_training(p) -> dict[str, list[str]]:
    """Tasks by the task whose training data they use."""
    groups: dict[str, list[str]] = {}
    for name in p.tasks:
        groups.setdefault(TASKS[name].trains_on or name, []).append(name)
    return groups


def encoded(p, names: list[str], tokenizer) -> tuple[Encoded, dict[str, Encoded]]:
    """The training examples that the tasks `names` share, and the validation examples of each."""
    source = TaskSource(p.task_source, folder=p.task_folder, language=p.task_language, revisions=p.task_revisions)

    def read(name: str, split: str, limit) -> Encoded:
        limit = limit if isinstance(limit, int) else limit.get(TASKS[name].trains_on or name, 0)
        return encode(load_task(name, split, source, limit), tokenizer, p.max_length)

    return read(names[0], "train", p.train_examples), {
        name: read(name, "validation", p.validation_examples) for name in names
    }


def size(p) -> dict:
    """Layers, parameters and size of the model that was fine-tuned (its encoder with the MLM head)."""
    model = models.load(local(p.model), p.model_revision, head=False)
    return {
        "layers": model.config.num_hidden_layers,
        "parameters": models.parameter_count(model),
        "size_mib": models.size_mib(model),
    }
