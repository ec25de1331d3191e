"""The parameters that several stages share. Each room defines its own stages from these."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from lib.common.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
NAME = re.compile(r"\w[\w.-]{0,99}")
"""Names become folders, and words of a command line."""

ModelName = Annotated[str, "a model"]
"""A parameter that names a model, by its folder or hub id; <parameter>_revision is its revision."""
TokenizerName = Annotated[str, "a tokenizer"]
"""A parameter that names a tokenizer, likewise, or says how one is trained."""
StageFolder = Annotated[str, "a stage"]
"""A parameter that is the folder of a stage, or lies in it."""


class StageParameters(BaseModel):
    """What every stage has. `output_dir` is where it publishes; empty stands for a folder in
    outputs/lab/."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    output_dir: str = ""
    seed: NonNegativeInt = 0
    threads: NonNegativeInt = 0  # CPU threads for arithmetic; 0: all of them


class Optimised(StageParameters):
    """What every stage that trains has; see lib.training.loop.Recipe."""

    processes: PositiveInt = 1  # one for each GPU or group of cores; results do not depend on it
    learning_rate: PositiveFloat
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    cosine_cycles: PositiveFloat = (
        0.5  # waves of the cosine: half of one falls to 0, 2 end at the peak
    )
    warmup: Share = 0.02
    weight_decay: NonNegativeFloat = 0.01
    adam_epsilon: PositiveFloat = 1e-8
    adam_beta1: Beta = 0.9
    adam_beta2: Beta = 0.999
    clip_norm: NonNegativeFloat = 1.0
    precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    checkpoint_seconds: PositiveFloat = 120.0  # between two checkpoints
    tracker: Literal["none", "tensorboard"] = "tensorboard"  # where the history is written as well


def naming(parameters: type[BaseModel], *types: Any) -> list[str]:
    """The parameters of these types, such as ModelName."""
    marks = [mark for kind in types for mark in kind.__metadata__]
    fields = parameters.model_fields.items()
    return [name for name, field in fields if any(mark in field.metadata for mark in marks)]


def checked(model: type[BaseModel], values: Any, where: Callable[[str], str]) -> Any:
    """`values` as a `model`. Raises InputError for the first error, in one line; `where(key)` names
    the file that has a key of `values` ("" stands for all of them)."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
    kind, value = first["type"], first["input"]
    # pydantic's own words say nothing to a reader: the branch of a union ("list[constrained-int]"),
    # and "[key]" behind a key that is wrong itself
    keys = [str(key) for key in first["loc"] if "[" not in str(key)]
    if first["loc"][-1:] == ("[key]",):
        keys, value = keys[:-1], {}
    file, path = where(keys[0] if keys else ""), ".".join(keys)
    if kind == "extra_forbidden":
        allowed = _fields(model, keys[:-1])
        ending = f"; allowed are {', '.join(allowed)}" if allowed else ""
        raise InputError(f"{file}: unknown key {path!r}{ending}")
    if kind == "missing":
        raise InputError(f"{file}: {path} is missing")
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if path and not isinstance(value, dict):
        path += f" = {value!r}"
    raise InputError(": ".join([file, *[path] * bool(path), message]))


def _fields(model: type, keys: list[str]) -> list[str]:
    """The names of the fields at `keys` within a model; empty where several models may stand."""
    for key in keys:
        fields = getattr(model, "model_fields", {})
        if key in fields:
            types = [fields[key].annotation]
            for outer in types:  # grows: what a dict or list holds comes after it
                types.extend(get_args(outer))
            models = [part for part in types if hasattr(part, "__annotations__")]
            models = [part for part in models if isinstance(part, type)]
            if len(models) != 1:
                return []
            model = models[0]
    return list(getattr(model, "model_fields", model.__annotations__))
