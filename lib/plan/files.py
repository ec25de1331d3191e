"""The files of params/ as pydantic models. What is wrong in them is one line: file, key, reason."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.parameters import NAME, checked


def _name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"the name {str(name)[:40]!r} has to begin with a letter or digit, and may go on with "
            f"these, dots, dashes and underscores, 100 characters at most"
        )
    return name


def _mapping(value: Any) -> dict:
    if value is not None and not isinstance(value, dict):
        raise ValueError("must hold keys and values")
    return value or {}


Name = Annotated[str, BeforeValidator(_name)]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Parameters = Annotated[dict[str, Any], BeforeValidator(_mapping)]
"""Parameters of a stage; the plan checks them when it makes the stage."""


class Section(BaseModel):
    """A mapping in a file of params/, which may be empty."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, values):
        return _mapping(values)


class Description(Section):
    """What the report says of a model and draws it in. Without a colour it is drawn in the ink of
    the page."""

    label: str = ""
    colour: Colour | None = None


class Scenario(Description):
    """One entry of `scenarios`: its description, and the parameters that are its own."""

    model_config = ConfigDict(extra="allow")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra)


class Question(Section):
    """A question that a paired difference answers: the score of `better` minus that of `worse`."""

    title: str
    better: Name
    worse: Name


class ScenariosFile(Section):
    """params/<study>/scenarios.yaml. All keys but `common` and `scenarios` describe: no stage
    depends on them."""

    name: str = ""  # the study in tables and legends; its folder's name if not given
    title: str = ""
    source: str = ""  # an entry of papers.yaml
    question: str = ""
    teacher: Name = "teacher"  # the scenario that students are compared with
    control: Name | None = None  # the untrained student; `truncated` if there is one
    columns: list[str] = []  # the scores that the report shows; all if empty
    questions: list[Question] = []
    models: Annotated[dict[Name, Description], BeforeValidator(_mapping)] = {}
    common: Parameters = {}
    scenarios: Annotated[dict[Name, Scenario], BeforeValidator(_mapping)]

    @field_validator("scenarios")
    @classmethod
    def _at_least_one(cls, scenarios):
        if not scenarios:
            raise ValueError("name at least one")
        return scenarios

    @model_validator(mode="after")
    def _default_control(self):
        if self.control is None and "truncated" in self.scenarios:
            self.control = "truncated"
        return self

    def description(self, model: str) -> Description:
        """Of a scenario, of a model in the scale file, or of a chain's hop: "cascade-5" has the
        description of "cascade". Empty if there is none."""
        described = {**self.models, **self.scenarios}
        chain, _, layers = model.rpartition("-")
        if model not in described and layers.isdigit():
            model = chain
        return described.get(model, Description())


def read_scenarios(study: str) -> ScenariosFile:
    """params/<study>/scenarios.yaml. Raises InputError."""
    file = f"params/{study}/scenarios.yaml"
    values = {"name": study} | read_yaml(places.ROOT / file)
    return checked(ScenariosFile, values, lambda key: file)


SECTIONS = ("cascade", "corpora", "distillation", "expected", "finetune", "hub", "teachers")
LICENCES = ("text", "teacher", "model")
"""What a user may state the licence of: the text and the teacher that a study starts from, and the
models it makes."""


def check_sizes(found: dict, file: str) -> None:
    """The same for <scale>.yaml, `licences` and `uses` taken out of it."""
    if unknown := sorted(set(found) - set(SECTIONS), key=str):
        raise InputError(
            f"{file}: unknown section {unknown[0]!r}; allowed are {', '.join(SECTIONS)}, "
            f"licences, uses"
        )
    for section, value in found.items():
        (_entries if section in ("corpora", "expected", "teachers") else _require_mapping)(
            value, f"{file}: {section}"
        )


def licences(found, file: str) -> dict[str, str]:
    """What <scale>.yaml says of licences, each as one line of text; see LICENCES. Raises InputError
    for anything else."""
    _require_mapping(found, f"{file}: licences")
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


def _require_mapping(value, where: str) -> None:
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{where} = {value!r}: must hold keys and values")


def _entries(value, where: str) -> None:
    """A mapping of names to mappings."""
    _require_mapping(value, where)
    for name, entry in (value or {}).items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(
                f"{where}: the name {str(name)[:40]!r} has to begin with a letter or digit, and "
                f"may go on with "
                "these, dots, dashes and underscores, 100 characters at most"
            )
        _require_mapping(entry, f"{where}.{name}")


def stands(origins: list[tuple[str, str, dict]], key: str) -> str:
    """Where a key of a stage's parameters was given: the first of its `origins` (section, file,
    values) that has it, else the last; without a key, several together are meant: the first."""
    given = [f"{file}: {section}" for section, file, values in origins if key in values]
    first, last = (f"{file}: {section}" for section, file, _ in (origins[0], origins[-1]))
    return given[0] if given else last if key else first
