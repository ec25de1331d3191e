"""The parameters of every stage: one flat model a notebook, checked in full before anything is
computed.

The notebooks' parameter cells, the files the plan writes, and `-p name value` on the command line
all end here. Unknown names are refused; numbers may be written as `1e-5`.

One stage of the plan.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from lib.common.errors import InputError
from lib.common.parameters import Stage
from lib.data.parameters import DataPrep
from lib.tasks.parameters import Finetune, OneTask
from lib.training.parameters import CascadeTA, Distillation, TeacherContinuation


class Analysis(Stage):
    """6_analysis: the tables and figures of a scale, for the studies that ran."""

    scale: str
    studies: list[str] = Field(min_length=1)


KINDS: dict[str, type[Stage]] = {
    "data_prep": DataPrep,
    "teacher_continuation": TeacherContinuation,
    "distillation": Distillation,
    "cascade_ta": CascadeTA,
    "finetune": Finetune,
    "analysis": Analysis,
}
NOTEBOOKS = {
    "data_prep": "1_data_prep",
    "teacher_continuation": "2_teacher_continuation",
    "distillation": "3_distillation",
    "cascade_ta": "4_cascade_ta",
    "finetune": "5_finetune",
    "analysis": "6_analysis",
}


def validate(kind: str, values: dict, where=lambda key: "parameters") -> Stage:
    """The checked parameters of a stage. Raises InputError for the first thing wrong; `where(key)`
    names its file."""
    try:
        return KINDS[kind](**values)
    except ValidationError as error:
        first = error.errors()[0]
        # Of a union pydantic names the branch too ("list[constrained-int]"), which says nothing to
        # a reader.
        path = ".".join(str(part) for part in first["loc"] if "[" not in str(part)) or kind
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            known = KINDS[kind].model_fields
            inner = (
                ", ".join(OneTask.__annotations__)
                if key == "per_task"
                else "see lib/parameters_*.py"
            )
            names = ", ".join(known) if len(first["loc"]) == 1 else inner
            raise InputError(
                f"{where(key)}: unknown key {path!r} for {kind}; allowed are {names}"
            ) from None
        if first["type"] == "missing":
            raise InputError(f"{where(key)}: {path} is missing for {kind}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise InputError(
            f"{where(key)}: {path}{given}: {message[0].lower() + message[1:]}"
        ) from None


@dataclass(frozen=True)
class Step:
    """One stage of the plan. `folder` is where it publishes, `needs` are the folders of the stages
    it reads."""

    kind: str
    study: str
    scenario: str
    folder: str
    parameters: dict[str, Any]
    needs: tuple[str, ...]

    @property
    def result(self) -> str:
        return f"{self.folder}/result.json"

    @property
    def notebook(self) -> str:
        return f"notebooks/{NOTEBOOKS[self.kind]}.ipynb"

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
