"""What the processes of one training tell each other. In a process that is alone, every function is
the identity.

Each process takes some of the micro-batches of a step; counts, losses and gradients are summed over
all of them, so that every one makes the same step as a single process would. Gradients are summed
by hand, once a step, and not by DistributedDataParallel: that averages, sends a weight's gradient
off before a hook has added the looked-up embeddings to it, and waits for ever for a process that
has no micro-batch in a step. What it could win, sending while the last micro-batch is still on its
way back, is little of a step of many micro-batches.

A frozen teacher in pieces, for one that a single device has no room for: each of several processes
keeps its share of every encoder layer (PyTorch's fully_shard, FSDP2). Embeddings and head stay
whole, as the losses of the head use their weights.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

LARGE = 2**20
"""Numbers of a gradient from which on it is sent by itself; smaller ones are sent together, as a
copy."""


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leads() -> bool:
    """Whether this process is the one that writes checkpoints and says how far the training is."""
    return not dist.is_initialized() or dist.get_rank() == 0


def mine() -> slice:
    """Which of a list of micro-batches, or of anything else, are this process's to do."""
    return (
        slice(dist.get_rank(), None, dist.get_world_size())
        if dist.is_initialized()
        else slice(None)
    )


def summed(numbers: dict[str, float]) -> dict[str, float]:
    """Each number, summed over all processes; one that has nothing to do may lack all of them."""
    if count() == 1:
        return numbers
    told: list[dict] = [{} for _ in range(count())]
    dist.all_gather_object(told, numbers)
    return {
        key: sum(part.get(key, 0) for part in told)
        for key in dict.fromkeys(key for part in told for key in part)
    }


def any_of(asked: Any) -> bool:
    """Whether it is true in any process: they all hear the same, and at the same step."""
    return bool(summed({"asked": bool(asked)})["asked"])


def least(number: int | None) -> int | None:
    """The smallest number that any process has; None if none has one."""
    told: list[int | None] = [number]
    if count() > 1:
        told = [None] * count()
        dist.all_gather_object(told, number)
    return min((one for one in told if one is not None), default=None)


def of_the_leader(value: Any) -> Any:
    """What the leading process has for `value`."""
    told = [value]
    if count() > 1:
        dist.broadcast_object_list(told, src=0)
    return told[0]


@torch.no_grad()
def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sum the gradients over all processes, in place. One that only some have is 0 in the others;
    one that none has stays None: to an optimizer with weight decay that is not the same as 0."""
    if count() == 1:
        return
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if not parameters:
        return
    there = torch.tensor(
        [parameter.grad is not None for parameter in parameters], dtype=torch.uint8
    )
    dist.all_reduce(there, op=dist.ReduceOp.MAX)
    gradients = []
    for parameter in (parameter for parameter, has in zip(parameters, there.tolist()) if has):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    for gradient in gradients:
        if gradient.numel() >= LARGE:
            dist.all_reduce(gradient)
    small = [gradient for gradient in gradients if gradient.numel() < LARGE]
    if small:
        together = torch.cat([gradient.reshape(-1) for gradient in small])
        dist.all_reduce(together)
        for gradient, part in zip(small, together.split([gradient.numel() for gradient in small])):
            gradient.copy_(part.view_as(gradient))


def shard(teacher: nn.Module) -> nn.Module:
    """Leave this process its share of the teacher's layers, on its device, in place; returns the
    teacher.

    A layer is whole only while it is read. So all processes must read equally often: see keep_pace.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (count(),))
    teacher.requires_grad_(False)
    for layer in teacher.base_model.encoder.layer:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(
        teacher.base_model.encoder, mesh=mesh
    )  # the root: while one layer computes, the next is on its way
    return teacher


def in_pieces(teacher: nn.Module) -> bool:
    """Whether a teacher is sharded. What its layers' weights are cast to must then not be kept: it
    would be all of them."""
    if count() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(teacher.base_model.encoder, FSDPModule)


def keep_pace(objective: nn.Module, done: int, of_all: int) -> None:
    """Where the objective's teacher is in pieces, and this process had fewer micro-batches than
    others in a step of `of_all`, let it read a token more: its share is needed for theirs."""
    for teacher in getattr(objective, "_teacher", []):
        if in_pieces(teacher):
            for _ in range(-(-of_all // count()) - done):
                with torch.inference_mode():
                    teacher.base_model(
                        input_ids=torch.zeros((1, 1), dtype=torch.long, device=teacher.device)
                    )
