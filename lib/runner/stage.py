"""How a notebook begins and ends a stage: parameters checked, a scratch folder, publishing by
rename."""

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
from lib.plan.stages import KINDS, StageParameters, validate

HELD: dict[Path, FileLock] = {}
"""Locks of the stages that this process has under way: where one has been killed, its kernel may
live a moment longer."""

PATIENCE = 10.0
"""Seconds to wait for such a lock."""

HOW = ("processes",)
"""Parameters that change no result: under other values of them, work half done is gone on with."""


@dataclass
class Run:
    """A stage under way: its checked parameters `p`, and `folder`, the scratch folder to write
    into."""

    kind: str
    p: Any
    folder: Path
    target: Path
    began: float


def notebook_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """What the parameter cells of a notebook define. A misspelt parameter is among them, and is
    refused later.

    In a notebook those are the cells that hold nothing but assignments of constants: the parameter
    cell and the one that papermill injects. So a cell may be run again when later ones have filled
    the namespace. Elsewhere, every plain value.
    """
    if "In" in namespace:
        return {
            name: namespace[name]
            for cell in namespace["In"]
            for name in constants(cell)
            if name in namespace
        }
    return {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and not isinstance(value, (ModuleType, type))
        and not callable(value)
    }


def constants(cell: str) -> list[str]:
    """The names a cell assigns, if all it does is to assign constants; else none."""
    try:
        body = ast.parse(cell).body
        for node in body:
            ast.literal_eval(node.value if isinstance(node, ast.Assign) else None)
        return [target.id for node in body for target in node.targets]
    except (SyntaxError, ValueError, TypeError, AttributeError):
        return []


def begin(kind: str, namespace: dict[str, Any]) -> Run:
    """Check the parameters in `namespace` (a notebook's globals()) and open the stage's scratch
    folder.

    The scratch folder of an earlier run with the same parameters is kept, checkpoints included; any
    other is cleared. Raises InputError, also if another process has the same stage under way.
    """
    p: StageParameters = validate(
        kind, notebook_parameters(namespace), lambda key: f"notebooks/{KINDS[kind].notebook}.ipynb"
    )
    locks.take_gpus()
    if p.threads:
        os.environ.update(OMP_NUM_THREADS=str(p.threads), MKL_NUM_THREADS=str(p.threads))
        if "torch" in sys.modules:  # imported before this call: the variables come too late
            sys.modules["torch"].set_num_threads(p.threads)
    values = p.model_dump(mode="json")
    if not p.output_dir:
        values["output_dir"] = (
            f"outputs/lab/{kind}-{sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]}"
        )
        p = p.model_copy(update={"output_dir": values["output_dir"]})
    target = places.ROOT / p.output_dir
    if target not in HELD:
        HELD[target] = locks.take(
            target / "scratch.lock", f"the stage {p.output_dir}", print, PATIENCE
        )
    folder, note = target / "scratch", target / "scratch" / "parameters.json"
    whole = {"parameters": values, "made from": inputs(p, KINDS[kind].notebook)}
    if _work(note) != _work(whole):
        shutil.rmtree(folder, ignore_errors=True)
        with files.writing(folder):
            folder.mkdir(parents=True)
    write_json(note, whole)
    return Run(kind, p, folder, target, time.time())


def _work(noted: Path | dict[str, Any]) -> dict[str, Any]:
    """What is noted of a scratch folder, without the parameters that say how it is computed and not
    what."""
    try:
        noted = noted if isinstance(noted, dict) else json.loads(noted.read_text(encoding="utf-8"))
        return noted | {
            "parameters": {
                key: value for key, value in noted["parameters"].items() if key not in HOW
            }
        }
    except (OSError, ValueError, KeyError):
        return {}


def inputs(p: StageParameters, notebook: str) -> dict[str, str]:
    """What a stage reads besides its parameters, by content: work half done on other inputs is not
    gone on with."""
    paths = {"notebook": places.ROOT / "notebooks" / f"{notebook}.ipynb"}
    for name in ("teacher", "corpus", "model", "tokenizer", "sample_of", "trained_in"):
        place = places.ROOT / str(getattr(p, name, "") or "none")
        told = (place / "result.json", place.parent / "result.json", place / "training.json")
        paths |= {name: result for result in told if result.is_file()}
    return {
        name: sha256(path.read_bytes()).hexdigest()
        for name, path in paths.items()
        if path.is_file()
    }


def finish(run: Run, result: dict[str, Any]) -> Path:
    """Publish: everything in the scratch folder takes its place by renaming, a model gets its card,
    `result.json` comes last. Returns its path. A result that is there is a stage that is whole.
    """
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
            place = run.target / path.name
            if place.is_dir():
                shutil.rmtree(place)
            path.rename(place)
    whole = {
        "stage": run.kind,
        "parameters": run.p.model_dump(mode="json"),
        **result,
        "stage_seconds": round(time.time() - run.began, 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "machine": machine(),
        "versions": versions(),
    }
    if (run.target / "model" / "config.json").is_file():
        from lib.report import card

        with files.writing(run.target / "model"):
            card.write(run.target / "model", whole)
    path = write_json(run.target / "result.json", whole)
    shutil.rmtree(run.folder)  # only now: who is stopped before goes on from the checkpoints in it
    if run.target in HELD:
        locks.release(HELD.pop(run.target))
    return path
