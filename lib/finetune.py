"""Fine-tuning for sequence classification: dropout and a linear layer on an encoder (000 section 4)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lib.batches import Batch, Schedule, pad
from lib.tasks import Examples
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
    return Encoded([np.asarray(row, dtype=np.int64) for row in ids], np.asarray(examples.labels), tokenizer.pad_token_id)


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


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Share of right predictions, in percent."""
    return 100.0 * float((predicted == labels).mean())


def finetune(trunk: nn.Module, training: Encoded, validation: Encoded, *, classes: int, epochs: int, batch: int,
             dropout: float, pooling: str, recipe: Recipe) -> list[dict]:  # fmt: skip
    """Fine-tune `trunk` in place; one dict(epoch, accuracy, loss) after every epoch.

    The paper reports the largest accuracy of these (protocol `best_epoch`), which is chosen on the data it is measured
    on; the last one (`final`) is not.
    """
    classifier = Classifier(trunk, classes, dropout, pooling, recipe.seed)
    schedule = Schedule(np.array([len(row) for row in training.rows]), batch=batch, micro=batch, epochs=epochs, seed=recipe.seed)
    history: list[dict] = []
    epoch_ends = {schedule.steps_per_epoch * epoch: epoch for epoch in range(1, epochs + 1)}

    def after_step(done: int) -> None:
        if done in epoch_ends:
            device = next(classifier.parameters()).device
            value = accuracy(predict(classifier, validation, device), validation.labels)
            history.append({"epoch": epoch_ends[done], "accuracy": value})

    losses = train(Classification(classifier), TaskBatches(training, schedule), recipe, after_step=after_step,
                   log_every=schedule.steps_per_epoch, quiet=True)  # fmt: skip
    return [{**row, "loss": loss["loss"]} for row, loss in zip(history, losses)]
