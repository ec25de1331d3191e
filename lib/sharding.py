"""A frozen teacher in pieces, for one that a single device has no room for: each of several processes keeps its share of every
encoder layer (PyTorch's fully_shard, FSDP2). Embeddings and head stay whole, as the losses of the head use their weights."""

import torch
from torch import nn

from lib import ranks


def shard(teacher: nn.Module) -> nn.Module:
    """Leave this process its share of the teacher's layers, on its device, in place; returns the teacher.

    A layer is whole only while it is read. So all processes must read equally often: see keep_pace.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (ranks.count(),))
    teacher.requires_grad_(False)
    for layer in teacher.base_model.encoder.layer:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(teacher.base_model.encoder, mesh=mesh)  # the root: while one layer computes, the next is on its way
    return teacher


def in_pieces(teacher: nn.Module) -> bool:
    """Whether a teacher is sharded. What its layers' weights are cast to must then not be kept: it would be all of them."""
    if ranks.count() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(teacher.base_model.encoder, FSDPModule)


def keep_pace(objective: nn.Module, done: int, of_all: int) -> None:
    """Where the objective's teacher is in pieces, and this process had fewer micro-batches than others in a step of `of_all`,
    let it read a token more: its share is needed for theirs."""
    for teacher in getattr(objective, "_teacher", []):
        if in_pieces(teacher):
            for _ in range(-(-of_all // ranks.count()) - done):
                with torch.inference_mode():
                    teacher.base_model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=teacher.device))
