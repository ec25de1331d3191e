"""A stage of a plan: its kind, where it publishes, its parameters and the stages it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from lib.common import places
from lib.common.parameters import StageParameters, checked
from lib.data.parameters import DataPrep
from lib.tasks.parameters import Finetune
from lib.training.parameters import CascadeTA, DistillationParameters, TeacherContinuation


class Analysis(StageParameters):
    """6_analysis: the tables and figures of a scale, for the studies that ran."""

    scale: str
    studies: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class Kind:
    """A kind of stage.

    notebook: its name in notebooks/, without the ending.
    parameters: the model of its parameters.
    rooms: the rooms of lib that decide its result; others that its notebook uses only show it.
    publishes: what it leaves beside its result, for others to read.
    makes: what the model is that it trains from text, for its card; empty: it trains none.
    priority: stages that others wait for go first.
    """

    notebook: str
    parameters: type[StageParameters]
    rooms: tuple[str, ...] = ()
    publishes: str = ""
    makes: str = ""
    priority: int = 0


TEXT = ("common", "data")
TRAINING = (*TEXT, "fast", "training")
TASKS = (*TRAINING, "tasks")
KINDS = {
    "data_prep": Kind("1_data_prep", DataPrep, TEXT, "data", priority=4),
    "teacher_continuation": Kind(
        "2_teacher_continuation", TeacherContinuation, TRAINING, "model", "a teacher", priority=3
    ),
    "distillation": Kind(
        "3_distillation", DistillationParameters, TRAINING, "model", "a student", priority=2
    ),
    "cascade_ta": Kind(
        "4_cascade_ta",
        CascadeTA,
        TRAINING,
        "model",
        "a teacher assistant, one hop of a cascade",
        priority=2,
    ),
    "finetune": Kind("5_finetune", Finetune, TASKS, "predictions.parquet", priority=1),
    "analysis": Kind("6_analysis", Analysis),
}
"""Every kind of stage, in the order in which they run."""
REPEAT = r"repeat_([2-9]|[1-9]\d+)"
"""The folder of a repeat, between those of its scenario and its stage."""
TRAINED = tuple(name for name, kind in KINDS.items() if kind.makes)
"""The kinds that train a model from text."""


@dataclass(frozen=True)
class StagePath:
    """Where a stage publishes: outputs/<scale>/<study>/<scenario>/<kind>; from the second repeat on
    in outputs/<scale>/<study>/<scenario>/repeat_<number>/<kind>.

    A stage that was started in the lab publishes under outputs/lab/<scale>/<study>/<run>/, where
    `lab` is the run: in <kind>, or in <scenario>/<kind> if the scenario is named otherwise.
    """

    scale: str
    study: str
    scenario: str
    kind: str
    lab: str = ""
    repeat: int = 1

    @classmethod
    def parse(cls, path: str | Path) -> StagePath | None:
        """The stage whose folder is `path` or holds it, as a model, a tokenizer or a checkpoint;
        None if there is no such stage. A path may be absolute or start at the checkout.

        >>> StagePath.parse("outputs/tiny/herbert/S3/distillation/model").scenario
        'S3'
        """
        path = Path(path)
        if path.is_absolute() and path.is_relative_to(places.ROOT):
            path = path.relative_to(places.ROOT)
        root, *parts = path.parts or [""]
        in_lab = parts[:1] == ["lab"]
        parts = parts[in_lab:]
        repeat = 1
        if not in_lab and len(parts) > 3 and (number := re.fullmatch(REPEAT, parts[3])):
            repeat = int(number[1])
            del parts[3]
        at = next((i for i, part in enumerate(parts) if i > 2 and part in KINDS), 0)
        if root != "outputs" or at not in ((3, 4) if in_lab else (3,)):
            return None
        lab = parts[2] if in_lab else ""
        return cls(parts[0], parts[1], parts[at - 1], parts[at], lab, repeat)

    def __str__(self) -> str:
        scenario = "" if self.scenario == self.lab else self.scenario
        repeat = f"repeat_{self.repeat}" if self.repeat > 1 else ""
        root = self.lab_run if self.lab else f"outputs/{self.scale}/{self.study}"
        return str(Path(root, scenario, repeat, self.kind))

    @property
    def lab_run(self) -> str:
        """The folder of all stages that were started together in the lab."""
        return f"outputs/lab/{self.scale}/{self.study}/{self.lab}"

    @property
    def name(self) -> str:
        """<study>/<scenario>/<kind>, and which repeat if it is not the first."""
        repeat = f" (repeat {self.repeat})" if self.repeat > 1 else ""
        return f"{self.study}/{self.scenario}/{self.kind}{repeat}"

    @property
    def model(self) -> str:
        """The folder of the model that the stage trains."""
        return f"{self}/model"

    @property
    def corpus(self) -> str:
        """What the scale file calls the corpus of a data preparation."""
        return self.scenario.removeprefix("corpus_")


@dataclass(frozen=True)
class Stage:
    """One stage of the plan. `needs` are the folders of the stages that it reads."""

    path: StagePath
    parameters: dict[str, Any]
    needs: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.path.kind

    @property
    def study(self) -> str:
        return self.path.study

    @property
    def scenario(self) -> str:
        return self.path.scenario

    @property
    def folder(self) -> str:
        """Where it publishes, relative to the checkout."""
        return str(self.path)

    @property
    def result(self) -> str:
        return f"{self.folder}/result.json"

    @property
    def parameter_file(self) -> str:
        return f"{self.folder}/parameters.yaml"

    @property
    def threads(self) -> int:
        """CPU cores to book; 0 stands for all there are."""
        processes = self.parameters.get("processes", 1)
        threads = self.parameters["threads"]
        return max(threads, processes) if self.kind == "data_prep" else threads * processes

    @property
    def gpus(self) -> int:
        """GPUs to book, where there are any."""
        return 0 if self.kind == "data_prep" else self.parameters.get("processes", 1)


def validate(
    kind: str, values: dict, where: Callable[[str], str] = lambda key: "parameters"
) -> StageParameters:
    """The checked parameters of a stage. Raises InputError for the first error; `where(key)` names
    the file and section that a key comes from."""
    return checked(KINDS[kind].parameters, values, where)
