"""The shape of a study's two files, checked before anything is made of them."""

from lib.common.errors import InputError
from lib.common.parameters import NAME

SECTIONS = ("cascade", "corpora", "distillation", "expected", "finetune", "hub", "teachers")
LICENCES = ("text", "teacher", "model")
"""What a user may state the licence of: the text and the teacher that a study starts from, and the
models it makes."""
OF_SCENARIOS = ("title", "source", "common", "scenarios")


def check_scenarios(found: dict, file: str) -> None:
    """Raise InputError where scenarios.yaml has a key it cannot have, or a value that is no
    mapping."""
    if unknown := sorted(set(found) - set(OF_SCENARIOS), key=str):
        raise InputError(
            f"{file}: unknown key {unknown[0]!r}; allowed are {', '.join(OF_SCENARIOS)}"
        )
    _mapping(found.get("common"), f"{file}: common")
    _entries(found.get("scenarios"), f"{file}: scenarios")
    if not found.get("scenarios"):
        raise InputError(f"{file}: scenarios: name at least one")


def check_sizes(found: dict, file: str) -> None:
    """The same for <scale>.yaml, `licences` and `uses` taken out of it."""
    if unknown := sorted(set(found) - set(SECTIONS), key=str):
        raise InputError(
            f"{file}: unknown section {unknown[0]!r}; allowed are {', '.join(SECTIONS)}, "
            f"licences, uses"
        )
    for section, value in found.items():
        (_entries if section in ("corpora", "expected", "teachers") else _mapping)(
            value, f"{file}: {section}"
        )


def licences(found, file: str) -> dict[str, str]:
    """What <scale>.yaml says of licences, each as one line of text; see LICENCES. Raises InputError
    for anything else."""
    _mapping(found, f"{file}: licences")
    for key, value in (found or {}).items():
        if key not in LICENCES:
            raise InputError(
                f"{file}: licences: unknown key {key!r}; allowed are {', '.join(LICENCES)}"
            )
        if not isinstance(value, str) or not value.strip() or len(value) > 500:
            raise InputError(
                f"{file}: licences.{key} = {str(value)[:60]!r}: give its name or terms in words, "
                f"500 characters at most; "
                "leave the key out where nothing is stated"
            )
    return {key: " ".join(value.split()) for key, value in (found or {}).items()}


def _mapping(value, where: str) -> None:
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{where} = {value!r}: must hold keys and values")


def _entries(value, where: str) -> None:
    """A mapping of names to mappings."""
    _mapping(value, where)
    for name, entry in (value or {}).items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(
                f"{where}: the name {str(name)[:40]!r} has to begin with a letter or digit, and "
                f"may go on with "
                "these, dots, dashes and underscores, 100 characters at most"
            )
        _mapping(entry, f"{where}.{name}")


def stands(origins: list[tuple[str, str, dict]], key: str) -> str:
    """Where a key of a stage's parameters was given: the first of its `origins` (section, file,
    values) that has it, else the last; without a key, several together are meant: the first."""
    given = [f"{file}: {section}" for section, file, values in origins if key in values]
    first, last = (f"{file}: {section}" for section, file, _ in (origins[0], origins[-1]))
    return given[0] if given else last if key else first
