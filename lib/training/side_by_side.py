"""Training the student of notebook 3, alone or with others beside it: then batches are masked once,
and the teacher reads each of them once.

Students that differ only in their start, layers and losses see the same batches in the same order.
Each keeps its own optimizer, history and checkpoints. As everything random depends on the seed and
the step, each ends as it would have ended alone, bit for bit.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from lib.common import interrupts, places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.data.prepared import Corpus
from lib.training import checkpoints, loop, models, pretraining, ranks
from lib.training.batches import Batch
from lib.training.batches import batches as masked_batches
from lib.training.loop import Recipe, fastest, training_steps
from lib.training.objectives import Distillation, Reading, Wanted, read
from lib.training.parameters import DistillationParameters, StudentParameters

STEPS_HELD = 2
"""Steps whose batches are held: while the last student is at one, the first one's reader asks for
the next."""

# ----------------------------------------------------------------------------- what notebook 3 does


def train_student(
    p: DistillationParameters, objective: Distillation, corpus: Corpus, folder: Path
) -> tuple[list[dict], dict[str, tuple[PreTrainedModel, list[dict]]]]:
    """Train the student of an objective by the parameters of its stage, together with the students
    in `beside`, or load what the stage `trained_in` has trained.

    Returns the student's history, empty if no loss has a weight; and for every student beside it,
    by name, the model and its history. Checkpoints go to `folder`: an interrupted run resumes.
    """
    if not p.trains:
        return [], {}
    if p.trained_in:
        return load_trained(p, objective.student), {}
    data, recipe = masked_batches(p, corpus), loop.recipe(p)
    if not p.beside:
        history = loop.train(objective, data, recipe, name="distillation", folder=folder)
        return history, {}
    objectives = {"distillation": objective}
    folders = {"distillation": folder}
    for name, own in p.beside.items():
        student = pretraining.starting_student(p.model_copy(update=dict(own)), objective.teacher)
        objectives[name] = pretraining.objective(own, student, objective.teacher)
        folders[name] = folder / "beside" / name
    histories = train_together(
        list(objectives.values()), data, recipe, list(objectives), list(folders.values())
    )
    students = [each.student for each in objectives.values()]
    others = dict(zip(p.beside, zip(students[1:], histories[1:])))
    return histories[0], others


def save(p: DistillationParameters, others: dict[str, tuple], tokenizer, folder: Path) -> None:
    """Write the students that `train_student` has trained beside the stage's own: in
    `folder`/<name> a complete checkpoint, and training.json, its own parameters and its history."""
    for name, (model, history) in others.items():
        pretraining.save(model, tokenizer, folder / name)
        content = {"parameters": p.beside[name].model_dump(), "history": history}
        write_json(folder / name / "training.json", content)


def load_trained(p: DistillationParameters, student: PreTrainedModel) -> list[dict]:
    """Load the weights in the folder `trained_in` into the student; returns the history of their
    training.

    Raises InputError if there is no student, or one that was trained with other parameters.
    """
    folder = places.ROOT / p.trained_in
    if not (folder / "training.json").is_file():
        raise InputError(
            f"trained_in = {p.trained_in!r}: no student there; run the stage that trains it first"
        )
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    for key in StudentParameters.model_fields:
        value = training["parameters"].get(key)
        if value != getattr(p, key):
            raise InputError(
                f"trained_in = {p.trained_in!r}: the student there was trained with {key} = "
                f"{value!r}, this stage has {getattr(p, key)!r}"
            )
    trained = models.load(folder, head=models.has_head(student))
    student.load_state_dict(trained.state_dict())
    return training["history"]


# ------------------------------------------------------------------------- several students at once


class SharedBatches:
    """Batches that several trainings ask for, each from its own thread: a step is read, masked and
    moved to the device once, and all get the same tensors."""

    def __init__(self, batches, device: torch.device):
        self.batches, self.steps, self.device = batches, batches.steps, device
        self._held: OrderedDict[int, list[Batch]] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, step: int, share: slice = slice(None)) -> list[Batch]:
        """The micro-batches of a step, or a `share` of them (the same in every call), on the
        device."""
        with self._lock:
            if step not in self._held:
                self._held[step] = [batch.to(self.device) for batch in self.batches.at(step, share)]
                while len(self._held) > STEPS_HELD:
                    self._held.popitem(last=False)
            return self._held[step]

    def named(self, step: int, micro: int | None = None) -> str:
        """Which sequences a step reads."""
        return self.batches.named(step, micro)


class SharedReading:
    """What a teacher gave for the last batches it read, as many as a step has, so that each is read
    once for all students that want the same of it.

    The key is a batch's tensor of inputs (which is held, so that no other takes its place in
    memory), what is wanted, and the number format.
    """

    def __init__(self, readings: int):
        self.readings = readings
        self._held: OrderedDict[tuple, tuple[torch.Tensor, Reading]] = OrderedDict()

    def __call__(
        self, model: torch.nn.Module, batch: Batch, wanted: Wanted, **functions
    ) -> Reading:
        """As lib.training.objectives.read."""
        kind = batch.inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = id(model), id(batch.inputs), wanted, dtype
        if key not in self._held:
            while len(self._held) >= self.readings:  # before reading: memory for one step's only
                self._held.popitem(last=False)
            self._held[key] = batch.inputs, read(model, batch, wanted, **functions)
        return self._held[key][1]


def train_together(
    objectives: Sequence[Distillation],
    batches,
    recipe: Recipe,
    names: Sequence[str],
    folders: Sequence[Path | None],
) -> list[list[dict]]:
    """Train the students of several objectives, each as lib.training.loop.train would alone;
    returns their histories.

    The next step is always that of a student with the fewest steps done, so one that was stopped
    earlier catches up. Who goes first changes from step to step: the first one waits for the masks
    and the teacher, and `seconds` in the histories are to be comparable. Raises Diverged and
    Stopped as `train` does: all stop, with their checkpoints.
    """
    shared = SharedBatches(batches, PartialState(cpu=ranks.on_cpu()).device)
    if recipe.precision == "auto":
        precision = _common_precision(objectives[0], batches, folders)
        recipe = replace(recipe, precision=precision)
    kinds = len({objective.of_teacher for objective in objectives})
    reading = SharedReading(kinds * max(1, len(shared.at(0, ranks.share()))))
    for objective in objectives:
        objective.read_teacher = reading
    trainings = [
        training_steps(objective, shared, recipe, name=name, folder=folder)
        for objective, name, folder in zip(objectives, names, folders, strict=True)
    ]
    done, histories = {}, [[] for _ in trainings]
    with interrupts.deferred() as asked:
        for number, training in enumerate(trainings):
            done[number], histories[number] = next(training)
        while done:
            if ranks.any_of(asked):
                _stop([trainings[number] for number in done])
            turn = min(
                done, key=lambda number: (done[number], (number - done[number]) % len(names))
            )
            state = next(trainings[turn], None)
            if state is None:
                del done[turn]
            else:
                done[turn], histories[turn] = state
    return histories


def _stop(trainings: Sequence[Generator]) -> None:
    """Let every training keep a checkpoint, then raise the error of the first that could not, else
    what the last one raised."""
    errors: list[BaseException] = []
    for training in trainings:
        try:
            training.throw(KeyboardInterrupt())
        except BaseException as error:
            errors.append(error)
    failures = [error for error in errors if not isinstance(error, KeyboardInterrupt)]
    raise (failures or errors[-1:])[0]


def _common_precision(objective: Distillation, batches, folders: Sequence[Path | None]) -> str:
    """One precision for all, as they share the teacher's reading: that of a checkpoint, else the
    fastest for the first."""
    for folder in folders:
        if folder and (state := checkpoints.newest(folder)):
            return state["precision"]
    return fastest(objective.train(), batches.at(0))
