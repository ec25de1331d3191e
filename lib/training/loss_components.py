"""What each part of a student's loss weighs: its size, and the norm of its gradient, at the first
and the last step of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import PartialState

from lib.data.prepared import Corpus
from lib.training import ranks
from lib.training.batches import Batch, batches, seed_at
from lib.training.loop import DROPOUT
from lib.training.objectives import Objective
from lib.training.parameters import LOSSES, Training

SEQUENCES = 16
"""Of the step's batch, at most: they fit in memory where a training does, and cost little of its
time."""


def loss_components(
    p: Training, objective: Objective, corpus: Corpus, when: Literal["first step", "last step"]
) -> list[dict]:
    """The parts of the loss on sequences of the first or the last step's batch, with the student's
    weights as they are: to be called before a training and after it.

    A row for each loss with a weight: `when`; `component`; its `weight` α; its `value` L, a mean
    without the weight; `gradient_norm`, the Euclidean norm of the gradient of α L with respect to
    the student's parameters. In fp32, with the words masked and the dropout seeded as in that step.

    No gradient, random state or weight is changed, so that a training is the same with and without
    it. The objective is left in evaluation mode.
    """
    data = batches(p, corpus)
    step = 0 if when == "first step" else data.steps - 1
    objective.to(PartialState(cpu=ranks.on_cpu()).device)
    batch = _some(data.at(step, slice(1))[0]).to(objective.student.device)
    totals, weights = objective.counts(batch), objective.weights
    parameters = [weight for weight in objective.parameters() if weight.requires_grad]
    rows = []
    objective.train()
    with (
        torch.random.fork_rng([batch.inputs.device] if batch.inputs.is_cuda else []),
        _own_weights(objective),
    ):
        for name in (name for name in LOSSES if weights.get(name)):
            torch.manual_seed(seed_at(p.seed, step, batch.place) ^ DROPOUT)
            # With all other weights at 0, since the losses on logits have one gradient together.
            objective.weights = dict.fromkeys(weights, 0.0) | {name: weights[name]}
            parts = objective(batch, totals)
            gradient = torch.autograd.grad(parts["loss"], parameters, allow_unused=True)
            norm = torch.nn.utils.get_total_norm([part for part in gradient if part is not None])
            row = {"when": when, "component": name, "weight": weights[name]}
            rows.append(row | {"value": float(parts[name].detach()), "gradient_norm": float(norm)})
    objective.eval()
    return rows


@contextmanager
def _own_weights(objective: Objective) -> Iterator[None]:
    """Gives an objective its weights back. `forward` reads them at every call."""
    weights = objective.weights
    try:
        yield
    finally:
        objective.weights = weights


def _some(batch: Batch) -> Batch:
    """At most SEQUENCES of a batch, evenly spaced, as they are sorted by length."""
    every = slice(None, None, -(-len(batch.inputs) // SEQUENCES))
    return Batch(batch.inputs[every], batch.kept[every], batch.labels[every], place=batch.place)
