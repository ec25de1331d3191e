"""The files of a study in params/, read as pydantic models."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    StrictBool,
    field_validator,
    model_validator,
)

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import fill_data_dir, read_yaml
from lib.common.hub import Hub
from lib.common.parameters import NAME, checked
from lib.tasks.parameters import OwnTask
from lib.training.parameters import TeacherContinuation


def _check_name(name: Any) -> str:
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


Mapping = BeforeValidator(_mapping)
Name = Annotated[str, BeforeValidator(_check_name)]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Parameters = Annotated[dict[str, Any], Mapping]
"""Parameters of a stage, which are checked when the plan makes the stage."""


class Section(BaseModel):
    """A mapping in a file of params/, which may be empty."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, values):
        return _mapping(values)


# ----------------------------------------------------------------------------------- scenarios.yaml


class Description(Section):
    """What the report calls a model, and the colour it draws it in; without one it is drawn in the
    ink of the page."""

    label: str = ""
    colour: Colour | None = None


class Entry(Section):
    """What a scenario is made from. All other keys are parameters of its stages.

    An entry with `hop` is a chain of teacher assistants, from its teacher down to half of the
    teacher's layers, `hop` layers fewer at a time ("half": all in one hop); `hops` holds parameters
    of single hops, by their number from 1. An entry with `same_as` is the student of a scenario of
    the study that the scale file uses, or of one before it in its own study. `finetune`: parameters
    of its fine-tuning, over the scale's; its `teacher` is one of the study's, which is fine-tuned
    on the same tasks before, or the folder of a fine-tuning that kept its models. `repeats`: how
    many students, instead of the scale's number. `longer`: how many times the scale's epochs or
    steps the student is trained for.
    """

    model_config = ConfigDict(extra="allow")
    teacher: Name | None = None
    corpus: Name | None = None
    hop: Literal[1, 2, 3, "half"] | None = None
    hops: Annotated[dict[PositiveInt, Parameters], Mapping] = {}
    same_as: Name | None = None
    finetune: Parameters = {}
    repeats: PositiveInt | None = None
    longer: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the entry says of its models: not their description, their number and
        their fine-tuning."""
        others = {"label", "colour", "repeats", "finetune"}
        return self.model_dump(exclude_unset=True, exclude=others)

    @property
    def stage_parameters(self) -> dict[str, Any]:
        """The parameters of its stages."""
        return dict(self.model_extra or {})


class Scenario(Description, Entry):
    """One entry of `scenarios`."""

    model_config = ConfigDict(extra="allow")


class Question(Section):
    """A question that a paired difference answers: the score of `better` minus that of `worse`."""

    title: str
    better: Name
    worse: Name


class Grid(Section):
    """A table of scenarios by two things in which they differ: of every row, by its title, the
    scenarios under the titles `columns`; null where there is none."""

    columns: list[str]
    rows: Annotated[dict[str, list[Name | None]], Mapping]

    @model_validator(mode="after")
    def _as_many_as_columns(self):
        for title, names in self.rows.items():
            if len(names) != len(self.columns):
                raise ValueError(
                    f"the row {title!r} has {len(names)} scenarios, and there are "
                    f"{len(self.columns)} columns; write null where there is no scenario"
                )
        return self


class ScenariosFile(Section):
    """params/<study>/scenarios.yaml. All keys but `common` and `scenarios` describe: no stage
    depends on them."""

    name: str = ""  # the study in tables and legends; its folder's name if not given
    title: str = ""
    source: str = ""  # an entry of papers.yaml
    question: str = ""
    words: str = ""  # the names that claims use, explained; Markdown
    teacher: Name = "teacher"  # the scenario that students are compared with
    control: Name | None = None  # the untrained student; `truncated` if there is one
    on_request: StrictBool = False  # runs only where STUDIES names it
    columns: list[str] = []  # scores shown besides the main one ("mean"); all if empty
    grid: Grid | None = None
    questions: list[Question] = []
    models: Annotated[dict[Name, Description], Mapping] = {}  # those of the scale file
    common: Entry = Entry()
    scenarios: Annotated[dict[Name, Scenario], Mapping]

    @field_validator("scenarios")
    @classmethod
    def _at_least_one(cls, scenarios):
        if not scenarios:
            raise ValueError("name at least one")
        return scenarios

    @model_validator(mode="after")
    def _grid_of_scenarios(self):
        for names in self.grid.rows.values() if self.grid else ():
            if unknown := [name for name in names if name and name not in self.scenarios]:
                raise ValueError(
                    f"grid: there is no scenario {unknown[0]!r}; there are "
                    f"{', '.join(self.scenarios)}"
                )
        return self

    @model_validator(mode="after")
    def _defaults(self):
        entries = [self.common, *self.scenarios.values()]
        taught_by = [entry.teacher for entry in entries if entry.teacher]
        if "teacher" not in self.model_fields_set and taught_by:
            self.teacher = taught_by[0]
        if self.control is None and "truncated" in self.scenarios:
            self.control = "truncated"
        return self

    def entry(self, name: str, at_this_scale: dict[str, Any]) -> Entry:
        """A scenario over what all scenarios have in common, and over it what a scale file says."""
        return Entry(**self.common.parameters | self.scenarios[name].parameters | at_this_scale)

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


# ------------------------------------------------------------------------------------ <scale>.yaml


def _one_line(text: Any) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > 500:
        raise ValueError(
            "give its name or terms in words, 500 characters at most; leave the key out where "
            "nothing is stated"
        )
    return " ".join(text.split())


def _number_or_place(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, list) and len(value) in (2, 4)):
        raise ValueError(
            "give a number, or where it stands in params/papers.yaml: [source, fact] or "
            "[source, table, row, column]"
        )
    return value


Terms = Annotated[str, BeforeValidator(_one_line)]
NumberOrPlace = Annotated[Any, AfterValidator(_number_or_place)]


class Licences(Section):
    """The licences that a user states for the model cards: of the text and the teacher that a study
    starts from, and of the models it makes."""

    text: Terms | None = None
    teacher: Terms | None = None
    model: Terms | None = None


class Teacher(Section):
    """A model that others learn from, or that is compared with them.

    With `hub` (an id, or a folder) it is used as it is. Otherwise a stage trains it, with the
    other keys as parameters: from the teacher `start` on, or from nothing.
    """

    model_config = ConfigDict(extra="allow")
    hub: str | None = None
    revision: str | None = None
    layers: PositiveInt | None = None
    start: Name | None = None
    corpus: Name | None = None

    @model_validator(mode="after")
    def _used_or_trained(self):
        trained_by = [key for key in self.model_dump(exclude_unset=True) if key not in HUB_KEYS]
        if self.hub is not None and trained_by:
            raise ValueError(f"{trained_by[0]}: a hub teacher has only {', '.join(HUB_KEYS)}")
        known = TeacherContinuation.model_fields
        if unknown := [key for key in self.model_extra if key not in known]:
            raise ValueError(
                f"unknown key {unknown[0]!r}; a model that is used as it is has hub (its folder or "
                f"its id on the hub), revision and layers; one that a stage trains has start and "
                f"{', '.join(known)}"
            )
        if self.hub is None and not self.corpus:
            raise ValueError("give hub, the model's folder or its id on the hub, or a corpus")
        return self


HUB_KEYS = ("hub", "revision", "layers")


class DistillationSection(Section):
    """What all students share; all other keys are parameters of notebook 3."""

    model_config = ConfigDict(extra="allow")
    side_by_side: StrictBool = False  # students that see the same batches train in one stage
    corpus: Name | None = None


class CascadeSection(Section):
    """What all chains share; all other keys are parameters of notebook 4."""

    model_config = ConfigDict(extra="allow")
    total_steps: PositiveInt | None = None  # of every chain, shared out among its hops


class ExpectedSize(Section):
    """How large a corpus will be, until it is prepared."""

    sequences: NumberOrPlace = None
    tokens: NumberOrPlace = None
    vocabulary: NumberOrPlace = None


class ScaleFile(Section):
    """params/<study>/<scale>.yaml. A study that `uses` another one takes over all that the other
    file says and this one does not, and shares its stages. A scale that is `like` another one of
    the same study takes over all that the other's file says and its own does not, and shares none.

    `repeats`: how many students of every scenario are trained, alike but for what is random:
    initial weights, masks, the order of the text, dropout. Repeat r of one scenario shares these
    with repeat r of every other, so that their differences pair; each is fine-tuned with all seeds.
    `seed` is added to the seeds of all students, continued teachers and fine-tunings: another
    number gives the whole run other random numbers. `scenarios`: what single ones have instead at
    this scale. `tasks`: the user's own; or the name of a file that holds them, in which places are
    relative to its folder.
    """

    uses: Name | None = None
    repeats: PositiveInt | None = None
    seed: NonNegativeInt | None = None
    licences: Licences = Licences()
    hub: Annotated[Hub, Mapping] = Hub()
    corpora: Annotated[dict[Name, Parameters], Mapping] = {}
    teachers: Annotated[dict[Name, Teacher], Mapping] = {}
    distillation: DistillationSection = DistillationSection()
    cascade: CascadeSection = CascadeSection()
    scenarios: Annotated[dict[Name, Entry], Mapping] = {}
    tasks: Annotated[dict[Name, OwnTask], Mapping] = {}
    finetune: Parameters = {}
    expected: Annotated[dict[Name, ExpectedSize], Mapping] = {}

    @model_validator(mode="after")
    def _expected_corpora(self):
        if unknown := sorted(set(self.expected) - set(self.corpora)):
            raise ValueError(f"expected: there is no corpus {unknown[0]!r}")
        return self


def scales(study: str) -> list[str]:
    """The scales a study can run at."""
    paths = (places.ROOT / "params" / study).glob("*.yaml")
    return sorted(path.stem for path in paths if path.stem not in ("scenarios", "claims"))


def read_scale(study: str, scale: str, data_dir: str | None = None) -> ScaleFile:
    """params/<study>/<scale>.yaml, with `data_dir` in place of {data_dir} (None: left as it
    stands). A corpus with `sources_in_data_dir` has these sources where a `data_dir` is given.
    Raises InputError."""
    file = f"params/{study}/{scale}.yaml"
    values = _with_those_alike(study, scale)
    for corpus in _mapping(values.get("corpora")).values():
        in_data_dir = corpus.pop("sources_in_data_dir", None) if isinstance(corpus, dict) else None
        if in_data_dir and data_dir:
            corpus["sources"] = in_data_dir
    values = fill_data_dir(values, data_dir, scale, file)
    name = values.get("tasks")
    if not isinstance(name, str):
        return checked(ScaleFile, values, lambda key: file)
    # a file in a folder that is not known stays one task without a name
    tasks = {"own": {"files": name}} if "{data_dir}" in name else _read_tasks(name)
    return checked(
        ScaleFile, values | {"tasks": tasks}, lambda key: name if key == "tasks" else file
    )


def _read_tasks(name: str) -> dict[str, Any]:
    """The tasks in a file of their own; places are relative to its folder."""
    tasks = read_yaml(places.to_path(name))
    for task in tasks.values():
        files = task.get("files") if isinstance(task, dict) else None
        if isinstance(files, str) and not places.is_address(files):
            if not Path(files).expanduser().is_absolute():
                task["files"] = f"{name.rpartition('/')[0] or '.'}/{files}"
    return tasks


def _with_those_alike(study: str, scale: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the file of a scale says, and what it does not say as the scale that it is `like` says
    it. `above` are the scales that are like this one."""
    file = f"params/{study}/{scale}.yaml"
    values = read_yaml(places.ROOT / file)
    other = values.pop("like", None)
    if other is None:
        return values
    known = [name for name in scales(study) if name not in (scale, *above)]
    if other not in known:
        raise InputError(
            f"{file}: like = {other!r}; allowed is another scale of the study: {', '.join(known)}"
        )
    return _over(values, _with_those_alike(study, other, (scale, *above)))


def _over(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Mappings within mappings, where `values` are in place of `others`."""
    inner = {
        key: _over(value, others[key])
        for key, value in values.items()
        if isinstance(value, dict) and isinstance(others.get(key), dict)
    }
    return others | values | inner
