"""Parameter files, read safely."""

from pathlib import Path
from typing import Any

import yaml

from lib import ROOT, places
from lib.errors import InputError


def read_yaml(path: Path) -> dict:
    """A mapping from a YAML file, with safe loading. A key given twice is an error: one of them would be lost."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoRepeats)
    except (yaml.YAMLError, UnicodeDecodeError, OSError, TypeError) as error:
        said = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise InputError(f"{_named(path)}: {said}") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{_named(path)}: must hold keys and values")
    return loaded


def filled(value: Any, data_dir: str | None, scale: str, file: str) -> Any:
    """`value` with the folder the user named in place of `{data_dir}`, in any string of it; None leaves it as it stands."""
    if isinstance(value, dict):
        return {key: filled(inner, data_dir, scale, file) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, data_dir, scale, file) for inner in value]
    if not isinstance(value, str) or "{data_dir}" not in value or data_dir is None:
        return value
    if not data_dir:
        raise InputError(
            f"{file} reads your own data: name its folder, as in make report SCALE={scale} DATA_DIR=/path/to/folder"
        )
    folder = places.folder(data_dir, "DATA_DIR")
    as_given = places.is_address(data_dir) or Path(data_dir).expanduser().is_absolute()
    return value.replace("{data_dir}", str(folder if as_given else folder.resolve()).rstrip("/"))


class _NoRepeats(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(f"{key.value!r} stands twice, again at line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _named(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
