"""Small trainings that one process and several do alike: `python -m torch.distributed.run … -m
tests.helpers.together <folder>` does each of them in several and leaves what came out, for
tests/runner/test_processes.py to compare."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from lib.fast.quicken import quicken
from lib.training import models, ranks
from lib.training.loop import Recipe, train
from lib.training.objectives import Distillation, Hop
from lib.training.side_by_side import train_together
from tests.helpers import small
from tests.helpers.small import LENGTHS, Rows

STEPS, CUT = 12, 5
RECIPE = Recipe(1e-2, checkpoint_seconds=1e-9)


class Noted(Rows):
    """A corpus that notes which sequences are read."""

    def __init__(self, lengths):
        super().__init__(lengths)
        self.read = []

    def rows(self, indices):
        self.read += indices.tolist()
        return super().rows(indices)


class Stopped(Exception):
    pass


def teacher(dropout=0.0):
    return small.encoder(dropout=dropout)


def batches(batch=16, micro=4, steps=STEPS):
    return small.batches(batch, micro, steps, corpus=Noted(LENGTHS))


def outcome(history, *students, **more):
    weights = [weight.detach().flatten() for student in students for weight in student.parameters()]
    rows = [
        {key: value for key, value in row.items() if key not in ("seconds", "waited")}
        for row in history
    ]
    return {"history": rows, "weights": torch.cat(weights), **more}


def distil(
    folder,
    *,
    dropout=0.0,
    stop=0,
    recipe=RECIPE,
    mlm=2.0,
    soft=5.0,
    cosine=1.0,
    relations=0.0,
    fast=True,
    **sizes,
):
    """Several losses together; `stop`: give up after so many steps, with a checkpoint in `folder`."""
    taught = teacher(dropout)
    student, data = models.truncate(taught, [0, 2]), batches(**sizes)

    def after_step(done):
        if done == stop + 1:  # the checkpoint of `stop` is written, the one of this step is not
            raise Stopped

    history = []
    with suppress(Stopped):
        losses = {"mlm": mlm, "soft": soft, "cosine": cosine, "relations": relations}
        objective = Distillation(student, taught, relation_heads=4, **losses)
        objective = quicken(objective) if fast else objective
        history = train(
            objective,
            data,
            recipe,
            quiet=True,
            folder=folder,
            after_step=after_step if stop else None,
        )
    return outcome(history, student, read=data.corpus.read)


def hop(folder, *, dropout="none", **options):
    taught = teacher(0.2)
    student = models.truncate(taught, [0, 1, 2])
    student.bert.embeddings.requires_grad_(False)
    objective = quicken(Hop(student, taught, dropout=dropout, **options))
    history = train(objective, batches(), RECIPE, quiet=True)
    return outcome(history, student)


def side_by_side(folder):
    taught = teacher()
    students = [models.truncate(taught, layers) for layers in ([0, 2], [1])]
    objectives = [quicken(Distillation(student, taught, mlm=1.0, soft=2.0)) for student in students]
    histories = train_together(objectives, batches(), RECIPE, ["a", "b"], [None, None])
    return outcome(sum(histories, []), *students)


def exploding(folder):
    """Not a number in the second micro-batch of a step: only one of two processes has it."""

    class Exploding(Distillation):
        def forward(self, batch, totals):
            found = super().forward(batch, totals)
            return {**found, "loss": found["loss"] * (float("nan") if batch.place == 1 else 1)}

    try:
        train(Exploding(teacher()), batches(steps=1, batch=8), RECIPE, quiet=True, name="x")
    except FloatingPointError as error:
        return {"said": str(error)}


def asked(folder, beside=False):
    """The last process is asked to stop while a step is under way, the others are not."""
    taught, calm = teacher(), Recipe(1e-2)  # of itself it keeps no checkpoint
    students = [models.truncate(taught, layers) for layers in ([0, 2], [1])]
    objectives = [quicken(Distillation(student, taught, mlm=1.0, soft=2.0)) for student in students]

    last = objectives[1 if beside else 0]  # whose turn at a step is the last
    whole = last.counts

    def counts(batch):
        counts.calls += 1
        if (
            not ranks.leads() and counts.calls == 2 * CUT - 1
        ):  # of its two micro-batches in a step, the first of step CUT
            os.kill(os.getpid(), signal.SIGINT)
        return whole(batch)

    counts.calls = 0
    last.counts = counts
    try:
        if beside:
            train_together(objectives, batches(), calm, ["a", "b"], [folder / "a", folder / "b"])
        else:
            train(objectives[0], batches(), calm, quiet=True, folder=folder)
    except KeyboardInterrupt as error:
        return {"said": str(error)}


TRAININGS = {
    "plain": distil,
    "dropout": lambda folder: distil(folder, dropout=0.2),
    "bf16": lambda folder: distil(folder, recipe=Recipe(1e-3, precision="bf16")),
    "measured": lambda folder: distil(folder, recipe=Recipe(1e-3, precision="auto"), steps=2),
    "uneven": lambda folder: distil(folder, batch=12),
    "one_has_nothing": lambda folder: distil(folder, batch=4),
    "hop": hop,
    "hop_dropout": lambda folder: hop(folder, dropout="both"),
    "side_by_side": side_by_side,
    "hop_attention": lambda folder: hop(folder, mapping="uniform", hidden=0.0),
    "hop_soft": lambda folder: hop(folder, soft=1.0),
    "plain_objective": lambda folder: distil(folder, fast=False),
    "cosine_alone": lambda folder: distil(folder, mlm=0.0, soft=0.0),
    "relations": lambda folder: distil(folder, mlm=0.0, soft=0.0, cosine=0.0, relations=1.0),
    "relations_too": lambda folder: distil(folder, relations=1.0),
    "exploding": exploding,
    "asked": asked,
    "asked_beside": lambda folder: asked(folder, beside=True),
    "begun": lambda folder: distil(
        folder, dropout=0.2, stop=CUT
    ),  # … by several, for one to go on with
    "resumed": lambda folder: distil(folder, dropout=0.2),  # … by several, what one has begun
}


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for name, training in TRAININGS.items():
        found = training(
            folder / name if name in ("begun", "resumed", "asked", "asked_beside") else None
        )
        torch.save(found, folder / f"{name}-{rank}.pt")
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
