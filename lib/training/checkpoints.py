"""Training checkpoints: written whole or not at all, the last two kept, a damaged one skipped."""

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.common import files
from lib.common.errors import InputError

KEPT = 2
DAMAGE = (
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    pickle.UnpicklingError,
)
"""What reading a damaged checkpoint can raise."""


def save(folder: Path, step: int, state: dict) -> Path:
    """Write `state` (tensors, numbers, strings, lists, dicts) as the checkpoint of `step`; returns
    its path. Raises InputError if the disk refuses; earlier checkpoints stay."""
    path = folder / f"step-{step:09}.pt"
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as file:
        torch.save({"step": step, **state}, file)
    for old in every(folder)[:-KEPT]:
        old.unlink()
    return path


def every(folder: Path | None) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt")) if folder else []


def newest(folder: Path) -> dict | None:
    """The state of the newest undamaged checkpoint, or None. Only plain tensors and values are ever
    unpickled."""
    for path in reversed(every(folder)):
        try:
            with zipfile.ZipFile(path) as parts:  # torch.load skips the checksums
                intact = parts.testzip() is None
            state = torch.load(path, map_location="cpu", weights_only=True) if intact else None
            if isinstance(state, dict) and "step" in state:
                return state
        except DAMAGE:
            pass
        print(f"{path} is damaged; trying the checkpoint before it", flush=True)
    return None


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Turns the error of a checkpoint that does not fit the model into an InputError of one
    line."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{folder}: the checkpoint there belongs to another training ({reason}); remove the "
            f"folder to start again"
        ) from error
