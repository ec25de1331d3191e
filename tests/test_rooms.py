"""The layout of lib: each room uses only rooms above it, and no two files import each other in a
circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LIB = Path(__file__).parent.parent / "lib"
USES = {
    "common": "",
    "fast": "",
    "data": "common",
    "training": "common data fast",
    "tasks": "common data fast training",
    "plan": "common data tasks training",
    "report": "common data plan tasks training",
    "studies": "common report training",
    "runner": "common data plan report tasks training",
    "lab": "common data plan report runner tasks training",
}
"""The rooms, and which others each may import from."""
FILES = sorted(path for path in LIB.rglob("*.py") if path.name != "__init__.py")


def module(path: Path) -> str:
    return ".".join(path.relative_to(LIB.parent).with_suffix("").parts)


MODULES = {module(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """The modules of lib that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module or ""}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names & MODULES


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIB)))
def test_a_room_uses_only_the_rooms_above_it(path):
    own = room(module(path))
    others = {room(name) for name in imports(path)} - {own}
    assert others <= set(USES[own].split()), f"{module(path)} imports {sorted(imports(path))}"


def test_no_file_is_outside_the_rooms():
    assert {path.relative_to(LIB).parts[0] for path in FILES} == set(USES)


def test_no_circle_of_imports():
    graph = {module(path): imports(path) for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
