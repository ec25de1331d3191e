"""What the parameters of all stages share: the kinds of numbers there are, and the three every stage has."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


class Stage(BaseModel):
    """What every stage has. `output_dir` is where it publishes; empty means outputs/lab/, under a name of its own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    output_dir: str = ""
    seed: CountOrNone = 0
    threads: CountOrNone = 0  # CPU threads for arithmetic; 0: all of them
