"""Training checkpoints: written aside and renamed, the last two kept, a damaged one passed over."""

import pickle
from pathlib import Path

import torch

KEPT = 2


def save(folder: Path, step: int, state: dict) -> Path:
    """Write `state` (tensors, numbers, strings, lists, dicts) as the checkpoint of `step`. Appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09}.pt"
    aside = path.with_suffix(".writing")
    torch.save({"step": step, **state}, aside)
    aside.rename(path)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink()
    return path


def newest(folder: Path) -> dict | None:
    """The state of the newest checkpoint that can be read, or None. Only plain tensors and values are ever unpickled."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError):
            print(f"{path} is damaged; trying the checkpoint before it", flush=True)
    return None
