"""Several students trained side by side: their batches are masked once, and their teacher reads
each of them once.

Students that differ in their start, their layers, their losses' weights, temperature or positions
alone see the same batches in the same order. Each keeps its own optimizer, history and checkpoints,
and as everything random hangs on the seed and the step, it ends as it would have ended alone, bit
for bit.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState

from lib.common import interrupts, places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.data.prepared import Corpus
from lib.fast.quicken import quicken
from lib.training import batches as training_batches
from lib.training import checkpoints, loop, models, pretraining, ranks
from lib.training.batches import Batch
from lib.training.loop import Recipe, steps_of
from lib.training.objectives import Distillation, hidden_states
from lib.training.parameters import Distillation as DistillationParameters
from lib.training.parameters import StudentsOwn
from lib.training.precision import fastest

KEPT = 2
"""Steps whose batches are kept: while the last student is at a step, the first one's reader has
asked for the next."""


class SharedBatches:
    """Batches that several trainings ask for, each from a thread of its own: a step is read, masked
    and moved to the device once, and all are handed the same tensors."""

    def __init__(self, batches, device: torch.device):
        self.batches, self.steps, self.device = batches, batches.steps, device
        self._made: OrderedDict[int, list[Batch]] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    def at(self, step: int, mine: slice = slice(None)) -> list[Batch]:
        """The micro-batches of a step, or those that are `mine` (the same ones in every call), on
        the device."""
        with self._one_at_a_time:
            if step not in self._made:
                self._made[step] = [batch.to(self.device) for batch in self.batches.at(step, mine)]
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
            return self._made[step]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which sequences a step reads."""
        return self.batches.named(step, micro)


class RememberedReading:
    """What a teacher read last: its states of as many batches as a step has, so that each is read
    once for all students.

    A batch is known by its tensor of inputs (which is held, lest another take its place in memory)
    and by the number format.
    """

    def __init__(self, batches: int):
        self.batches = batches
        self._read: OrderedDict[tuple, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def __call__(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The last hidden states of the model's trunk, [sequences, length, hidden]: remembered, or
        read and remembered."""
        kind = batch.inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = id(model), id(batch.inputs), dtype
        if key not in self._read:
            while len(self._read) >= self.batches:
                self._read.popitem(last=False)  # first, so that never more than a step's are held
            self._read[key] = batch.inputs, hidden_states(model, batch)
        return self._read[key][1]


def train_together(
    objectives: Sequence[Distillation],
    batches,
    recipe: Recipe,
    names: Sequence[str],
    folders: Sequence[Path | None],
) -> list[list[dict]]:
    """Train the students of several objectives, each as lib.training.loop.train would alone;
    returns their histories.

    It is always the turn of one with the fewest steps done: so one that was stopped earlier catches
    up. Of several it is another one at each step that goes first, and pays for the masks and the
    teacher: `seconds` of the histories compare. Raises Diverged and Stopped as train does: all of
    them stop, with their checkpoints.
    """
    shared = SharedBatches(batches, PartialState().device)
    if recipe.precision == "auto":
        recipe = replace(recipe, precision=_common_precision(objectives[0], batches, folders))
    reading = RememberedReading(max(1, len(shared.at(0, ranks.mine()))))
    for objective in objectives:
        objective.read = reading
    trainings = [
        steps_of(objective, shared, recipe, name=name, folder=folder)
        for objective, name, folder in zip(objectives, names, folders, strict=True)
    ]
    histories: list[list[dict]] = [[] for _ in trainings]
    done = {}
    with interrupts.deferred() as asked:
        for number, training in enumerate(trainings):
            done[number], histories[number] = next(training)
        while done:
            if ranks.any_of(asked):
                _stop([trainings[number] for number in done])
            turn = min(
                done, key=lambda number: (done[number], (number - done[number]) % len(trainings))
            )
            after = next(trainings[turn], None)
            if after is None:
                del done[turn]
            else:
                done[turn], histories[turn] = after
    return histories


def _stop(trainings: Sequence[Generator]) -> None:
    """Let every training keep a checkpoint, then raise what the last of them says, or the first
    that could not."""
    said: list[BaseException] = []
    for training in trainings:
        try:
            training.throw(KeyboardInterrupt())
        except BaseException as error:
            said.append(error)
    raise next((error for error in said if not isinstance(error, KeyboardInterrupt)), said[-1])


def _common_precision(objective: Distillation, batches, folders: Sequence[Path | None]) -> str:
    """One number format for all, as one teacher's reading serves all: that of a checkpoint, else
    the fastest for the first."""
    for folder in folders:
        if folder and (kept := checkpoints.newest(folder)):
            return kept["precision"]
    return fastest(objective.train(), batches.at(0))


# ----------------------------------------------------------------------------- what notebook 3 does


def distil(
    p: DistillationParameters,
    student: models.BertForMaskedLM,
    teacher: models.BertForMaskedLM,
    corpus: Corpus,
    folder: Path,
) -> tuple[list[dict], dict[str, tuple[models.BertForMaskedLM, list[dict]]]]:
    """Train the student, or load what another stage has trained; returns its history, and of every
    student that was trained beside it, by name, the model and its history. Checkpoints go to
    `folder`."""
    if p.trained_in:
        return load_trained(p, student), {}
    if not p.beside:
        return pretraining.distil(p, student, teacher, corpus, folder), {}
    students = {"": student}
    for name, own in p.beside.items():
        students[name] = pretraining.starting_student(p.model_copy(update=dict(own)), teacher)
    histories = train_together(
        [
            pretraining.objective(own, students[name], teacher)
            for name, own in {"": p, **p.beside}.items()
        ],
        training_batches.batches(p, corpus),
        loop.recipe(p),
        [name or "distillation" for name in students],
        [folder / "beside" / name if name else folder for name in students],
    )
    found = dict(zip(students, zip(students.values(), histories)))
    _, history = found.pop("")
    return history, found


def save(p: DistillationParameters, trained: dict[str, tuple], tokenizer, folder: Path) -> None:
    """Write what `distil` found beside the stage's own student: in `folder`/<name> a complete
    checkpoint, and training.json, the student's own parameters and its history."""
    for name, (model, history) in trained.items():
        pretraining.save(model, tokenizer, folder / name)
        write_json(
            folder / name / "training.json",
            {"parameters": p.beside[name].model_dump(), "history": history},
        )


def load_trained(p: DistillationParameters, student: models.BertForMaskedLM) -> list[dict]:
    """Give the student the weights that the folder `trained_in` holds; returns the history of their
    training.

    Raises InputError where no student is, or one that was trained by other parameters than the
    student's own.
    """
    place = places.ROOT / p.trained_in
    if not (place / "training.json").is_file():
        raise InputError(
            f"trained_in = {p.trained_in!r}: no student there; run the stage that trains it first"
        )
    told = json.loads((place / "training.json").read_text(encoding="utf-8"))
    for key in StudentsOwn.model_fields:
        if told["parameters"].get(key) != getattr(p, key):
            raise InputError(
                f"trained_in = {p.trained_in!r}: the student there was trained with {key} = "
                f"{told['parameters'].get(key)!r}, this stage has {getattr(p, key)!r}"
            )
    student.load_state_dict(models.load(place).state_dict())
    quicken(
        student
    )  # as its training left it: what is measured of it is then the same, rounding included
    return told["history"]
