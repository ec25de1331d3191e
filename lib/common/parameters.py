"""The parameters that several stages share. Each room defines its own stages from these."""

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
NAME = re.compile(r"\w[\w.-]{0,99}")
"""Names become folders, and words of a command line."""

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
"""The trackers that Accelerate has. Each is named like its package."""


class Stage(BaseModel):
    """What every stage has. `output_dir` is where it publishes; empty stands for a folder in
    outputs/lab/."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    output_dir: str = ""
    seed: NonNegativeInt = 0
    threads: NonNegativeInt = 0  # CPU threads for arithmetic; 0: all of them


class Optimised(Stage):
    """What every stage that trains has; see lib.training.loop.Recipe."""

    processes: PositiveInt = 1  # one for each GPU or group of cores; results do not depend on it
    learning_rate: PositiveFloat
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.02
    weight_decay: NonNegativeFloat = 0.01
    adam_epsilon: PositiveFloat = 1e-8
    adam_beta1: Beta = 0.9
    adam_beta2: Beta = 0.999
    clip_norm: NonNegativeFloat = 1.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    checkpoint_seconds: PositiveFloat = 120.0  # between two checkpoints
    tracker: Tracker = "tensorboard"  # where the history is written as well

    @field_validator("tracker")
    @classmethod
    def _is_installed(cls, value):
        if value != "none" and find_spec(value) is None:
            raise ValueError(f"needs the package {value}, which is not installed")
        return value
