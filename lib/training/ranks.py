"""What the processes of one training exchange besides gradients, which DistributedDataParallel
reduces. In a process that trains alone there is nobody to exchange with: what is summed, gathered
or taken from the leader is that process's own.

Each process takes some of the micro-batches of a step. Counts and losses are summed over all of
them, so that every process takes the same step as a single one would.
"""

from typing import Any

import torch
import torch.distributed as dist


def count() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def on_cpu() -> bool:
    """Whether several processes train on processors, which Accelerate does not see by itself."""
    return count() > 1 and not torch.cuda.is_available()


def leads() -> bool:
    """Whether this process writes the checkpoints and shows the progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def share() -> slice:
    """This process's share of a list, such as the micro-batches of a step."""
    return slice(dist.get_rank() if dist.is_initialized() else 0, None, count())


def _gathered(value: Any) -> list:
    """The value of every process."""
    values = [value] * count()
    if count() > 1:
        dist.all_gather_object(values, value)
    return values


def summed(numbers: dict[str, float]) -> dict[str, float]:
    """Each number summed over all processes; a process may lack any of them."""
    parts = _gathered(numbers)
    return {key: sum(part.get(key, 0) for part in parts) for part in parts for key in part}


def any_of(condition: Any) -> bool:
    """Whether the condition is true in any process: all get the same answer, after the same
    step."""
    return any(_gathered(bool(condition)))


def least(number: int | None) -> int | None:
    """The smallest number that any process has; None if none has one."""
    return min((each for each in _gathered(number) if each is not None), default=None)


def of_the_leader(value: Any) -> Any:
    """The value of the leading process."""
    return _gathered(value)[0]
