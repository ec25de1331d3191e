"""What the parameters of stages share: the kinds of numbers there are, what every stage has, and
every one that optimises."""

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]

Tracker = Literal[
    "none",
    "tensorboard",
    "aim",
    "clearml",
    "comet_ml",
    "dvclive",
    "mlflow",
    "swanlab",
    "trackio",
    "wandb",
]
"""None, or one that Accelerate knows."""


class Stage(BaseModel):
    """What every stage has. `output_dir` is where it publishes; empty means outputs/lab/, under a
    name of its own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    output_dir: str = ""
    seed: CountOrNone = 0
    threads: CountOrNone = 0  # CPU threads for arithmetic; 0: all of them


class Optimised(Stage):
    """What every stage that optimises has; see lib.training.loop.Recipe. `processes`: see
    lib.runner.processes."""

    processes: Count = (
        1  # one for each GPU, or for so many cores; what comes out does not depend on it
    )

    learning_rate: Positive
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.02
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    adam_epsilon: Positive = 1e-8
    adam_beta1: Beta = 0.9
    adam_beta2: Beta = 0.999
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    checkpoint_seconds: Positive = 120.0  # between two checkpoints of a training
    tracker: Tracker = "tensorboard"  # where its history goes as well, see lib.training.tracking

    @field_validator("tracker")
    @classmethod
    def _installed(cls, value):
        if value != "none" and find_spec(value) is None:  # each is named as its package is
            raise ValueError(f"needs the package {value}, which is not installed")
        return value


NAME = re.compile(r"\w[\w.-]{0,99}")
"""Names become folders, and words of a command line."""
