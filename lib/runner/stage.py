"""How a notebook begins and ends a stage: checked parameters, a scratch folder, and publishing by
renaming."""

import ast
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from lib.common import files, locks, places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.common.machine import machine, peak_memory_mib, versions
from lib.common.parameters import ModelName, StageFolder, TokenizerName, naming
from lib.plan.reads import noted, reads
from lib.plan.stages import KINDS, StageParameters, validate

HELD: dict[Path, FileLock] = {}
"""The locks of this process's unfinished stages, by folder. A notebook's cells share them, and the
cell that begins a stage may run twice."""
PATIENCE = 10.0
"""Seconds to wait for such a lock: the kernel of a killed stage may live a moment longer."""
WITHOUT_EFFECT = ("processes",)
"""Parameters that do not change the result, so that unfinished work continues under other
values."""


@dataclass
class Run:
    """A running stage: its checked parameters `p`, the scratch `folder` to write into, and the
    `target` folder where it publishes. `reads`: see `lib.plan.reads`."""

    kind: str
    p: Any
    folder: Path
    target: Path
    began: float
    reads: dict[str, str]


def notebook_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a notebook defines, including misspelt ones, which are refused later.

    In a notebook, they are the names in cells that hold only assignments of constants: the
    parameters cell and the one that papermill adds. So a cell may run again when later ones have
    filled the namespace. Elsewhere, they are all plain values.
    """
    if "In" in namespace:
        names = [name for cell in namespace["In"] for name in _constants(cell)]
        return {name: namespace[name] for name in names if name in namespace}
    return {
        name: value
        for name, value in namespace.items()
        if not (name.startswith("_") or isinstance(value, ModuleType | type) or callable(value))
    }


def _constants(cell: str) -> list[str]:
    """The names that a cell assigns, if it only assigns constants; else none."""
    try:
        body = ast.parse(cell).body
        for node in body:
            ast.literal_eval(node.value if isinstance(node, ast.Assign) else None)
        return [target.id for node in body for target in node.targets]
    except (SyntaxError, ValueError, TypeError, AttributeError):
        return []


def begin(kind: str, namespace: dict[str, Any]) -> Run:
    """Check the parameters in `namespace` (a notebook's globals()) and open the scratch folder.

    The scratch folder of an earlier run with the same parameters and inputs is kept, with its
    checkpoints; any other is cleared. Raises InputError, also if another process runs the stage.
    """
    notebook = places.ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb"
    p = validate(kind, notebook_parameters(namespace), lambda key: f"notebooks/{notebook.name}")
    locks.take_gpus()
    if p.threads:
        os.environ.update(OMP_NUM_THREADS=str(p.threads), MKL_NUM_THREADS=str(p.threads))
        if "torch" in sys.modules:  # it has read the variables already
            sys.modules["torch"].set_num_threads(p.threads)
    if not p.output_dir:
        values = json.dumps(p.model_dump(mode="json"), sort_keys=True)
        name = f"{kind}-{sha256(values.encode()).hexdigest()[:8]}"
        p = p.model_copy(update={"output_dir": f"outputs/lab/{name}"})
    target = places.ROOT / p.output_dir
    if target not in HELD:
        purpose = f"the stage {p.output_dir}"
        HELD[target] = locks.take(target / "scratch.lock", purpose, print, PATIENCE)
    folder = target / "scratch"
    note = folder / "parameters.json"
    read = _planned_reads(target, p) or reads(kind, p.model_dump(mode="json"))
    work = {"parameters": p.model_dump(mode="json"), "made from": read | results(p)}
    if changed := _changes(note, work):
        if any(folder.rglob("step-*.pt")):
            print(f"starts over: {', '.join(changed)} changed since it was stopped", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        with files.writing(folder):
            folder.mkdir(parents=True)
    write_json(note, work)
    return Run(kind, p, folder, target, time.time(), read)


def _planned_reads(target: Path, p: StageParameters) -> dict[str, str]:
    """What the stage reads as the plan has noted it; empty where there is no plan of this very
    stage."""
    path = target / "parameters.yaml"
    planned = path.is_file() and files.read_yaml(path) == p.model_dump(mode="json")
    return noted(path) if planned else {}


def results(p: StageParameters) -> dict[str, str]:
    """The hashes of the results of the stages that a stage reads, by the results' paths."""
    hashes = {}
    for name in naming(type(p), ModelName, TokenizerName, StageFolder):
        folder = Path(getattr(p, name) or "none")
        for path in (
            folder / "result.json",
            folder.parent / "result.json",
            folder / "training.json",
        ):
            if (places.ROOT / path).is_file():
                hashes[str(path)] = sha256((places.ROOT / path).read_bytes()).hexdigest()
    return hashes


def _changes(note: Path, work: dict[str, Any]) -> list[str]:
    """What is other than the note in a scratch folder says: names of parameters, except for those
    without effect, and of what is read."""
    try:
        old = json.loads(note.read_text(encoding="utf-8"))
        before, now = (work["parameters"] | work["made from"] for work in (old, work))
    except (OSError, ValueError, KeyError, TypeError):
        return ["what it is made from"]
    names = [name for name in {**now, **before} if name not in WITHOUT_EFFECT]
    return [name for name in names if before.get(name) != now.get(name)]


def finish(run: Run, result: dict[str, Any]) -> Path:
    """Publish a stage: rename what is in the scratch folder to its place, write the model's card,
    and write `result.json` last. Returns its path. Where it exists, the stage is complete."""
    if not run.folder.is_dir():
        raise InputError(
            f"{run.p.output_dir} is published already; to make it again, run the notebook from "
            f"its top"
        )
    (run.target / "result.json").unlink(missing_ok=True)
    with files.writing(run.target):
        for path in sorted(run.folder.iterdir()):
            if path.name in ("checkpoints", "parameters.json", "processes"):
                continue
            files.flush(path)
            published = run.target / path.name
            if published.is_dir():
                shutil.rmtree(published)
            path.rename(published)
    result = {
        "stage": run.kind,
        "parameters": run.p.model_dump(mode="json"),
        "reads": run.reads,
        **result,
        "stage_seconds": round(time.time() - run.began, 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "machine": machine(),
        "versions": versions(),
    }
    if (run.target / "model" / "config.json").is_file():
        from lib.report import card

        with files.writing(run.target / "model"):
            card.write(run.target / "model", result)
    path = write_json(run.target / "result.json", result)
    shutil.rmtree(run.folder)  # last: until then, a stopped stage resumes from its checkpoints
    if run.target in HELD:
        locks.release(HELD.pop(run.target))
    return path
