"""What a stage reads besides its parameters and the results of other stages: code, the user's text
and tasks, models in folders. A change of any of it makes the stage run again."""

import ast
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from lib.common import places
from lib.common.hub import ModelRef
from lib.common.parameters import ModelName, TokenizerName, naming
from lib.data.sources import Source, source_files
from lib.plan.stages import KINDS, validate
from lib.tasks import examples

SMALL = 2**25
"""Bytes up to which files count by what they hold. More of them, or those in a store, count by size
and date."""
WEIGHTS, TOKENIZER = (".safetensors",), (".json", ".txt", ".model")
"""The endings of a model's files; its configuration ends like its tokenizer."""


def reads(
    kind: str, parameters: dict, needs: tuple[str, ...] = (), seen: dict | None = None
) -> dict[str, str]:
    """A digest of everything that a stage reads, by its place or what it is.

    Args:
        needs: the folders of other stages. What lies in them is not looked at: their results say
            when it changes.
        seen: what was looked at for other stages of the same plan; updated.
    Raises: InputError for text or task files that are not there.
    """
    seen, found = {} if seen is None else seen, {}

    def look(place: str, digest: Callable[..., str], *arguments) -> None:
        key = (digest, *map(str, arguments))
        if key not in seen:
            seen[key] = digest(*arguments)
        found[" ".join(place.split())] = seen[key]

    def folder(name: str | None) -> Path | None:
        ref = ModelRef(name or "")
        made = any(f"{name}/".startswith(f"{need}/") for need in needs)
        return ref.folder if name and ref.is_folder and not made else None

    notebook = f"notebooks/{KINDS[kind].notebook}.ipynb"
    look(notebook, _notebook, places.ROOT / notebook)
    for room in KINDS[kind].rooms:
        look(f"lib/{room}", _code, places.ROOT / "lib" / room)
    for name in map(parameters.get, naming(KINDS[kind].parameters, ModelName)):
        if path := folder(name):
            look(name, _checkpoint, path, WEIGHTS + TOKENIZER)
    for name in map(parameters.get, naming(KINDS[kind].parameters, TokenizerName)):
        if path := folder(name):
            look(f"the tokenizer in {name}", _checkpoint, path, TOKENIZER)
    if kind == "data_prep":
        for source in validate(kind, parameters).sources:
            if source.kind == "hub" and (path := folder(source.dataset)):
                look(source.dataset, _folder, path)
            elif source.kind not in ("hub", "toy"):
                look(source.path, _text, source)
    elif kind == "finetune":
        source = examples.TaskSource.of(validate(kind, parameters))
        for task in parameters["tasks"]:
            if paths := examples.files(task, source, parameters["languages"]):
                look(f"the files of {task}", _files, paths)
    elif kind == "analysis":  # so short that it runs again after any change, also of a comment
        look("lib", _folder, places.ROOT / "lib", ".py", ".j2", ".css", ".json")
        look("params", _folder, places.ROOT / "params", ".yaml")
    return found


def header(found: dict[str, str]) -> str:
    """What a stage reads, as comments at the head of its parameter file."""
    return "".join(f"# {place} {digest}\n" for place, digest in found.items())


def noted(path: Path) -> dict[str, str]:
    """What the head of a parameter file says."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line[2:].rsplit(" ", 1) for line in lines if line.startswith("# "))


def is_up_to_date(folder: Path) -> bool:
    """Whether a stage has a result that is not older than its parameter file, which also notes what
    it reads: Snakemake's rule."""
    result = folder / "result.json"
    planned = (folder / "parameters.yaml").stat().st_mtime_ns
    return result.is_file() and result.stat().st_mtime_ns >= planned


# ------------------------------------------------------------------------------------------ digests


def _digest(*parts: bytes | str) -> str:
    text = json.dumps([part if isinstance(part, str) else part.hex() for part in parts])
    return sha256(text.encode()).hexdigest()[:12]


def _files(paths: list[Path]) -> str:
    """Of files, by their names and what they hold, or by their sizes and dates."""
    names = [str(path).removeprefix(f"{places.ROOT}/") for path in paths]
    if any(map(places.is_address, names)):
        return _digest(*names, *(path.fs.ukey(path.path) for path in paths))
    stats = [path.stat() for path in paths]
    if sum(stat.st_size for stat in stats) <= SMALL:
        return _digest(*names, *(sha256(path.read_bytes()).digest() for path in paths))
    return _digest(*names, *(f"{stat.st_size} {int(stat.st_mtime)}" for stat in stats))


def _folder(path: Path, *endings: str) -> str:
    """Of all files in a folder and below it, or of those with one of the `endings`."""
    there = [file for file in path.rglob("*") if file.is_file()]
    return _files(sorted(file for file in there if not endings or file.suffix in endings))


def _checkpoint(path: Path, endings: tuple[str, ...]) -> str:
    return _files(sorted(file for file in path.iterdir() if file.suffix in endings))


def _text(source: Source) -> str:
    return _files(source_files(source))


def _notebook(path: Path) -> str:
    """Of a notebook's code."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    return _digest(*("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


def _code(room: Path) -> str:
    """Of what Python makes of the files of a room: comments, docstrings and layout do not
    count."""
    parts = []
    for path in sorted(room.rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(getattr(node, "body", None), list):
                node.body = [line for line in node.body if not _is_constant(line)]
        parts += [str(path.relative_to(room)), ast.dump(tree)]
    return _digest(*parts)


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement is a constant alone, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
