"""Parameter files, read safely."""

from pathlib import Path

import yaml

from lib import ROOT
from lib.errors import InputError


def read_yaml(path: Path) -> dict:
    """A mapping from a YAML file, with safe loading. A key given twice is an error: one of them would be lost."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoRepeats)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{_named(path)}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{_named(path)}: must hold keys and values")
    return loaded


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
