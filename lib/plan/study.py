"""A study of params/ at a scale: its two files, resolved into stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.parameters import ModelName, TokenizerName, naming
from lib.data.tokenizer import load_tokenizer, require_same
from lib.plan import entries, schema
from lib.plan.hub_facts import known_config
from lib.plan.schema import scales
from lib.plan.stages import KINDS, Stage, StagePath, validate
from lib.training.architectures import sizes
from lib.training.parameters import DistillationParameters

CAPTIONS = {
    "smoke": "toy languages, a few steps: these numbers mean nothing",
    "tiny": "toy languages, teachers that come with the project",
    "local": "text and tasks from a folder",
    "mini": "real text and tasks, BERT's miniatures and a small multilingual model",
    "gpuday": "the papers' own models and tasks, less text",
    "paper": "the papers' own models, text and tasks",
}
"""What a scale reads, for readers of the report."""
SEEDS_APART = 1000
"""Between the fine-tuning seeds of one repeat and those of the next."""


def studies() -> list[str]:
    """The studies there are: every folder of params/ with scenarios."""
    return sorted(path.parent.name for path in (places.ROOT / "params").glob("*/scenarios.yaml"))


def studies_with(scale: str) -> list[str]:
    """The studies of a run that names none: those that have the scale, without those that run on
    request alone. Raises InputError if there is none."""
    able = [
        study
        for study in studies()
        if scale in scales(study) and not schema.read_scenarios(study).on_request
    ]
    if not able:
        known = dict.fromkeys(name for study in studies() for name in scales(study))
        raise InputError(f"SCALE: no study has the scale {scale!r}; there are {', '.join(known)}")
    return able


class Model(NamedTuple):
    """A model that a stage reads: its folder or hub id, its revision, and the folders of the stages
    that have to run before."""

    name: str
    revision: str | None
    needs: list[str]


class Study:
    """A study at a scale: its two files, and what `resolve` makes of them.

    `design`: scenarios.yaml, what is compared. `settings`: <scale>.yaml, on what, and how much.
    `stages`: all stages, by folder, each after those it needs.
    `folders`: (scenario, kind, repeat) -> the folder of its stage, which may be another study's.
    `data_dir` None leaves {data_dir} as it stands: enough to know the folders, not to run.
    """

    def __init__(
        self, name: str, scale: str, data_dir: str | None = "", used_by: tuple[str, ...] = ()
    ):
        if name not in studies():
            known = ", ".join(studies())
            raise InputError(f"STUDIES: there is no study {name!r}; there are {known}")
        if scale not in scales(name):
            known = ", ".join(scales(name))
            raise InputError(f"SCALE: the study {name} has no scale {scale!r}; it has {known}")
        self.name, self.scale, self.is_to_run = name, scale, data_dir is not None
        self.scenario_file = f"params/{name}/scenarios.yaml"
        self.scale_file = f"params/{name}/{scale}.yaml"
        self.design = schema.read_scenarios(name)
        self.settings = schema.read_scale(name, scale, data_dir)
        self.used = self._used_study(data_dir, used_by)
        self.stages: dict[str, Stage] = self.used.stages if self.used else {}
        self.folders: dict[tuple[str, str, int], str] = {}
        self._unfinished: list[tuple[str, str]] = []  # corpora and teachers being resolved
        self._alike: set[tuple[str, str]] = set()  # tokenizers that were compared

    def _used_study(self, data_dir: str | None, used_by: tuple[str, ...]) -> Study | None:
        """The study whose corpora, teachers and values hold where this one gives none. The two
        share one plan. `used_by` are the studies that use this one."""
        name, where = self.settings.uses, f"{self.scale_file}: uses"
        if name is None:
            return None
        if name == self.name:
            raise InputError(f"{where}: a study cannot use itself")
        if name in used_by:
            circle = " uses ".join((*used_by[used_by.index(name) :], self.name, name))
            raise InputError(
                f"{where}: a study cannot use itself, directly or through others: {circle}"
            )
        known = [name for name in studies() if self.scale in scales(name) and name != self.name]
        if name not in known:
            raise InputError(
                f"{where}: there is no study {name!r} with this scale; there are {', '.join(known)}"
            )
        return Study(name, self.scale, data_dir, (*used_by, self.name))

    @property
    def licences(self) -> dict[str, str]:
        """What the scale files state of licences, for the model cards."""
        used = self.used.licences if self.used else {}
        return {**used, **self.settings.licences.model_dump(exclude_none=True)}

    def teachers(self) -> dict[str, schema.Teacher]:
        """The teachers there are, those of the used study first."""
        return {**(self.used.teachers() if self.used else {}), **self.settings.teachers}

    def corpora(self) -> list[str]:
        """The names of the corpora there are, those of the used study first."""
        used = self.used.corpora() if self.used else []
        return list(dict.fromkeys([*used, *self.settings.corpora]))

    @property
    def ignored(self) -> list[str]:
        """A line for each scenario that the scale file names and the study does not have, and for
        each own task that no model is fine-tuned on."""
        unknown = [
            f"{self.scale_file}: scenarios.{name}: ignored: {self.scenario_file} has no "
            f"scenario {name!r}; it has {', '.join(self.design.scenarios)}"
            for name in self.settings.scenarios
            if name not in self.design.scenarios
        ]
        of_all = self.parameters("finetune").get("tasks", self.settings.tasks)
        used = set(of_all).union(
            *(self._own_finetuning(name).get("tasks", ()) for name in self.design.scenarios)
        )
        return unknown + [
            f"{self.scale_file}: tasks.{name}: ignored: no finetune.tasks names it"
            for name in self.settings.tasks
            if name not in used
        ]

    @property
    def repeats(self) -> int:
        """Repeats for scenarios that set none."""
        return self.settings.repeats or (self.used.repeats if self.used else 1)

    @property
    def seed(self) -> int:
        """The number that is added to the seeds of students and fine-tunings."""
        if self.settings.seed is not None:
            return self.settings.seed
        return self.used.seed if self.used else 0

    def parameters(self, section: str) -> dict[str, Any]:
        """The parameters in a section of the scale file, over those of the used study."""
        values = getattr(self.settings, section)
        if not isinstance(values, dict):
            values = values.model_dump(exclude_unset=True)
        return {**(self.used.parameters(section) if self.used else {}), **values}

    # ------------------------------------------------------------------------------ all stages

    def resolve(self) -> list[Stage]:
        """Every stage of the study, each after what it needs. Raises InputError."""
        self._check_places()
        for repeat in range(1, self.repeats + 1):
            for name in self.teachers():
                self._finetune_teacher(name, repeat)
        for name, entry in self.design.scenarios.items():
            repeats = self._at_this_scale(name).repeats or entry.repeats or self.repeats
            for repeat in range(1, repeats + 1):
                self._finetune_scenario(name, repeat)
        return list(self.stages.values())

    def _check_places(self) -> None:
        """Raise InputError for a folder of a model or a tokenizer that is not there."""
        if not self.is_to_run:
            return
        if self.used:
            self.used._check_places()
        settings, named = self.settings, {}
        for name, values in settings.corpora.items():
            named |= _places(f"corpora.{name}", "data_prep", values)
        for name, entry in settings.teachers.items():
            named[f"teachers.{name}.hub"] = entry.hub
            trained = entry.model_extra or {}
            named |= _places(f"teachers.{name}", "teacher_continuation", trained)
        named["finetune.tokenizer"] = settings.finetune.get("tokenizer")
        for key, place in named.items():
            made = str(place).startswith(("train:", "same-as:")) or StagePath.parse(str(place))
            if place and not made:
                try:
                    ModelRef(str(place)).require_place()
                except InputError as error:
                    raise InputError(f"{self.scale_file}: {key}: {error}") from None

    def _finetune_teacher(self, name: str, repeat: int) -> str:
        """Fine-tune a teacher, in the study that it belongs to; or here if all of this study's
        scenarios are fine-tuned in another way, or if students learn from it at fine-tuning: its
        models are then kept. Returns the stage's folder."""
        model = self.teacher(name, repeat)
        own = {key: value for key, value in self.design.common.finetune.items() if key != "teacher"}
        taught = map(self._own_finetuning, self.design.scenarios)
        if name in [values.get("teacher") for values in taught]:
            own["keep_models"] = True
        if own:
            return self.finetune(name, model, repeat, own)
        if self._is_used("teachers", name):
            folder = self.used._finetune_teacher(name, repeat)
            return self._share(name, "finetune", folder, repeat)
        return self.finetune(name, model, repeat)

    def _finetune_scenario(self, name: str, repeat: int) -> str:
        """Fine-tune the models of a scenario; returns the folder of the last stage."""
        models, folder = self.models(name, repeat), ""
        for model_name, model in models.items():
            self._check_free(name, model_name, repeat)
            same_as, own = self.design.scenarios[name].same_as, self._own_finetuning(name)
            if same_as and not own:
                folder = self.used._finetune_scenario(same_as, repeat)
                self._share(name, "finetune", folder, repeat)
            else:
                folder = self.finetune(model_name, model, repeat, own, name)
        return folder

    def _own_finetuning(self, name: str) -> dict[str, Any]:
        """The parameters of a scenario's fine-tuning that are not the scale's for all."""
        of_scenario, of_all = self.design.scenarios[name], self.design.common
        return of_all.finetune | of_scenario.finetune | self._at_this_scale(name).finetune

    def _check_free(self, scenario: str, model: str, repeat: int) -> None:
        """Raise InputError if another model of the study has that name."""
        where = f"{self.scenario_file}: scenarios.{scenario}"
        if model in self.teachers():
            name = f", {model}" * (model != scenario)
            raise InputError(f"{where}: the name is taken by a teacher of {self.scale_file}{name}")
        if (model, "finetune", repeat) in self.folders:
            raise InputError(f"{where}: the name {model} is taken by another scenario")

    def models(self, name: str, repeat: int = 1) -> dict[str, Model]:
        """The models of a scenario by their names: one student, or the assistants of a chain."""
        if self._entry(name).hop is not None:
            return self._assistants(name, repeat)
        if "cascade" in self.settings.model_fields_set and not self.parameters("distillation"):
            raise InputError(
                f"{self.scenario_file}: scenarios.{name}: hop is missing; allowed are 1, 2, 3 and "
                f"half"
            )
        return {name: self.student(name, repeat)}

    def _at_this_scale(self, name: str) -> schema.Entry:
        """What the scale file says of a scenario."""
        return self.settings.scenarios.get(name, schema.Entry())

    def _entry(self, name: str) -> schema.Entry:
        """A scenario with what all have in common, and what the scale file says of it."""
        return self.design.entry(name, self._at_this_scale(name).parameters)

    # ------------------------------------------------------------------------ stages of each kind

    def corpus(self, name: str) -> str:
        """The folder of a prepared corpus. Its tokenizer is its own or, as `same-as:<corpus>`,
        another corpus's."""
        if self._is_used("corpora", name):
            return self._share(f"corpus_{name}", "data_prep", self.used.corpus(name))
        self._require("corpora", name)
        values, needs = dict(self.settings.corpora[name]), []
        tokenizer = str(values.get("tokenizer", ""))
        with self._resolving("corpora", name):
            if "sample_of" in values:
                values["sample_of"] = self.corpus(str(values["sample_of"]))
                needs = [values["sample_of"]]
            elif tokenizer.startswith("same-as:"):
                needs = [self.corpus(tokenizer.removeprefix("same-as:"))]
                values["tokenizer"] = f"{needs[0]}/tokenizer"
        where = _origin((f"{self.scale_file}: corpora.{name}", values))
        return self._add("data_prep", f"corpus_{name}", values, needs, where)

    def teacher(self, name: str, repeat: int = 1) -> Model:
        """A teacher, which a stage trains unless it is used as it is. Every repeat has the same
        one, unless it continues another teacher on the students' text."""
        if self._is_used("teachers", name):
            model = self.used.teacher(name, repeat)
            for folder in model.needs:
                self._share(name, "teacher_continuation", folder, StagePath.parse(folder).repeat)
            return model
        self._require("teachers", name)
        entry, needs = self.settings.teachers[name], []
        if entry.hub is not None:
            return Model(entry.hub, entry.revision, [])
        where = f"{self.scale_file}: teachers.{name}"
        values = entry.model_dump(exclude_unset=True, exclude={"start"})
        if entry.start:
            with self._resolving("teachers", name):
                start = self.teacher(entry.start, repeat)
            values |= {"teacher": start.name, "teacher_revision": start.revision}
            values["seed"] = self._seed(values, repeat)
            needs = start.needs
        else:
            repeat = 1
        values["corpus"] = self.corpus(entry.corpus or "")
        if values.get("teacher"):
            self._check_tokenizer(f"teachers.{name}", values["teacher"], values["corpus"])
        needs = [*needs, values["corpus"]]
        origin = _origin((where, values))
        folder = self._add("teacher_continuation", name, values, needs, origin, repeat)
        return Model(f"{folder}/model", None, [folder])

    def student(self, name: str, repeat: int = 1) -> Model:
        """A distilled student. One that is cut from its teacher and not trained is the same in
        every repeat in which its teacher is."""
        if self.design.scenarios[name].same_as:
            return self._same_student(name, repeat)
        values, where = self._student_parameters(name)
        p = validate("distillation", values, where)
        teacher_name = values["teacher"]
        teacher, corpus = self.teacher(teacher_name, repeat), self.corpus(values["corpus"])
        self._check_tokenizer(f"scenarios.{name}", teacher.name, corpus)
        if p.init == "truncated" and not p.trains and _repeat_of(teacher) == 1:
            repeat = 1
        together, leader = self._side_by_side(name, repeat)
        values |= {"teacher": teacher.name, "teacher_revision": teacher.revision, "corpus": corpus}
        values["seed"] = self._seed(values, repeat)
        needs = [*teacher.needs, corpus, *leader]
        folder = self._add("distillation", name, values | together, needs, where, repeat)
        self._check_layers(teacher_name, self.stages[folder].parameters["student_layers"])
        return Model(f"{folder}/model", None, [folder])

    def _student_parameters(self, name: str) -> tuple[dict[str, Any], Callable[[str], str]]:
        """The parameters of a student, with teacher and corpus by the names that its study has for
        them, and where each comes from."""
        own, common = self.design.scenarios[name].parameters, self.design.common.parameters
        sized = self._at_this_scale(name).parameters
        shared = self.parameters("distillation")
        shared.pop("side_by_side", None)
        where = _origin(
            (f"{self.scale_file}: scenarios.{name}", sized),
            (f"{self.scenario_file}: scenarios.{name}", own),
            (f"{self.scenario_file}: common", common),
            (f"{self.scale_file}: distillation", shared),
        )
        default = {"teacher": self.design.teacher, "corpus": "transfer"}
        values = {**default, **shared, **common, **own, **sized}
        if longer := values.pop("longer", None):
            p = validate("distillation", values, where)
            values["epochs"] = longer * p.epochs
            values["steps"] = max(1, round(longer * p.steps)) if p.steps else 0
        for key in ("beside", "trained_in"):
            if key in values:
                raise InputError(
                    f"{where(key)}: {key} cannot be given here: whether students are trained "
                    f"together is set by side_by_side, in {self.scale_file} under distillation"
                )
        return values, where

    def _same_student(self, name: str, repeat: int) -> Model:
        """The student of another scenario, the same stages under another name. One of this study
        has to stand before, and its fine-tuning to differ, as from a teacher's."""
        entry = self.design.scenarios[name]
        names = list(self.design.scenarios)
        before = [other for other in names[: names.index(name)] if self._entry(other).hop is None]
        before += self.teachers()
        known = list(self.used.design.scenarios) if self.used else []
        said = entry.parameters | self._at_this_scale(name).parameters
        own = entry.same_as in before and self._own_finetuning(name)
        if set(said) != {"same_as"} or not (own or entry.same_as in known):
            raise InputError(
                f"{self.scenario_file}: scenarios.{name}: same_as stands alone, or with finetune, "
                f"and names a scenario of the study that {self.scale_file} uses: "
                f"{', '.join(known) or 'it uses none'}; with finetune also one before it or a "
                f"teacher: {', '.join(before)}"
            )
        if entry.same_as in self.teachers():
            return self.teacher(entry.same_as, repeat)
        model = (self if own else self.used).student(entry.same_as, repeat)
        folder = model.needs[0]
        self._share(name, "distillation", folder, StagePath.parse(folder).repeat)
        corpus = self.stages[folder].parameters["corpus"]
        self._share(StagePath.parse(corpus).scenario, "data_prep", corpus)
        return model

    def _side_by_side(self, name: str, repeat: int) -> tuple[dict[str, Any], list[str]]:
        """The parameters that say where a student is trained, and the stages that its own stage
        needs for that.

        Students of a group are trained in the stage of its first one, the leader. The leader's
        `beside` holds the other students' own values by name; the others' `trained_in` is the
        folder that they are trained in.
        """
        if not self.parameters("distillation").get("side_by_side"):
            return {}, []
        students: dict[str, DistillationParameters] = {}
        for other in self.design.scenarios:
            entry = self._entry(other)
            if not entry.same_as and entry.hop is None:
                values, where = self._student_parameters(other)
                students[other] = validate("distillation", values, where)
        group = entries.trained_with(name, students)
        if len(group) < 2:
            return {}, []
        if name != group[0]:
            (folder,) = self.student(group[0], repeat).needs
            return {"trained_in": f"{folder}/beside/{name}"}, [folder]
        others = {other: students[other].model_dump(include=entries.VARIED) for other in group[1:]}
        return {"beside": others}, []

    def _assistants(self, name: str, repeat: int) -> dict[str, Model]:
        """The assistants of a chain, <chain>-<layers>, one stage each. Untrained ones are the same
        in every repeat in which their teacher is."""
        chain, own = self._entry(name), self.design.scenarios[name].parameters
        shared, where = self.parameters("cascade"), f"{self.scenario_file}: scenarios.{name}"
        teacher_name = chain.teacher or self.design.teacher
        teacher, corpus = self.teacher(teacher_name, repeat), self.corpus(chain.corpus or "corpus")
        self._check_tokenizer(f"scenarios.{name}", teacher.name, corpus)
        layers = entries.chain_layers(self._layers_for_chain(teacher_name), chain.hop)
        sections = self.stages[corpus].parameters["sections"]
        hops = entries.plan_hops(chain, shared, layers, sections, where, self.scale_file)
        if not entries.is_trained(hops[0]) and _repeat_of(teacher) == 1:
            repeat = 1
        first, assistants = teacher, {}
        for number, values in enumerate(hops, 1):
            values["seed"] = self._seed(values, repeat)
            values |= {"teacher": teacher.name, "teacher_revision": teacher.revision}
            if teacher is not first:
                values["first_teacher"] = first.name
                values["first_teacher_revision"] = first.revision
            origin = _origin(
                (f"{self.scale_file}: scenarios.{name}", self._at_this_scale(name).parameters),
                (where, own | chain.hops.get(number, {})),
                (f"{self.scenario_file}: common", self.design.common.parameters),
                (f"{self.scale_file}: cascade", shared),
            )
            values |= {"corpus": corpus}
            assistant = f"{name}-{values['layers']}"
            needs = [*teacher.needs, *first.needs, corpus]
            folder = self._add("cascade_ta", assistant, values, needs, origin, repeat)
            assistants[assistant] = Model(f"{folder}/model", None, [folder])
            if entries.is_trained(values):  # else all are cut from the chain's teacher
                teacher = assistants[assistant]
        return assistants

    def finetune(
        self,
        name: str,
        model: Model,
        repeat: int = 1,
        own: dict[str, Any] | None = None,
        scenario: str = "",
    ) -> str:
        """The stage that fine-tunes a model; returns its folder. Every repeat has seeds of its own,
        also where the model is the same. `own`: parameters over those of the scale, said by
        `scenario`."""
        tasks, shared, own = self.parameters("tasks"), self.parameters("finetune"), own or {}
        values = {"tasks": list(tasks), **shared, **own}
        if repeat > 1 and "keep_models" not in own:
            values.pop("keep_models", None)  # those of one repeat are enough to take home
        if "tasks" in own:  # what the scale says of other tasks is not for this one
            for key in {"per_task", "train_examples"} - set(own):
                if isinstance(of_task := values.get(key), dict):
                    values[key] = {task: of_task[task] for task in of_task if task in own["tasks"]}
        values |= {"model": model.name, "model_revision": model.revision}
        if isinstance(values["tasks"], list):
            used = [task for task in values["tasks"] if task in tasks]
            values["own_tasks"] = {
                task: tasks[task].model_dump(exclude_unset=True) for task in used
            }
        of_scenario = f"scenarios.{scenario}.finetune" if scenario else "common.finetune"
        where = _origin(
            (f"{self.scale_file}: {of_scenario}", self._at_this_scale(scenario).finetune),
            (f"{self.scenario_file}: {of_scenario}", own),
            (f"{self.scale_file}: finetune", values),
        )
        offset = self.seed + SEEDS_APART * (repeat - 1)
        if offset and isinstance(values.get("seeds"), list):
            seeds = validate("finetune", values, where).seeds
            values["seeds"] = [seed + offset for seed in seeds]
        needs = list(model.needs)
        if "teacher" in shared:
            raise InputError(
                f"{self.scale_file}: finetune.teacher cannot be given here: set it per scenario in "
                f"{self.scenario_file}, under finetune"
            )
        if teacher := own.get("teacher"):
            values["teacher"] = self._task_teacher(teacher, repeat, where("teacher"))
            needs += [values["teacher"]] * (teacher in self.teachers())
        return self._add("finetune", name, values, needs, where, repeat)

    def _task_teacher(self, teacher: Any, repeat: int, where: str) -> str:
        """The folder of the fine-tuned teacher that a scenario names: a teacher of the study, or a
        folder."""
        if teacher in self.teachers():
            return self._finetune_teacher(teacher, repeat)
        if self.is_to_run and not (isinstance(teacher, str) and ModelRef(teacher).is_folder):
            raise InputError(
                f"{where}: teacher = {teacher!r}; allowed are {', '.join(self.teachers())}, or the "
                f"folder of a fine-tuning that kept its models"
            )
        return teacher

    # ------------------------------------------------------------------------------------ helpers

    def _is_used(self, section: str, name: str) -> bool:
        """Whether a corpus or teacher is the used study's."""
        return self.used is not None and name not in getattr(self.settings, section)

    def _seed(self, values: dict[str, Any], repeat: int) -> Any:
        """The seed of a training in a repeat: its own, plus the run's, plus one for each repeat."""
        own = values.get("seed", 0)
        return own + self.seed + repeat - 1 if isinstance(own, int) else own

    def _share(self, name: str, kind: str, folder: str, repeat: int = 1) -> str:
        """Note that a stage of the used study is also one of this study; returns its folder."""
        self.folders[name, kind, repeat] = folder
        return folder

    def _require(self, section: str, name: str) -> None:
        known = getattr(self.settings, section)
        if name not in known:
            raise InputError(
                f"{self.scale_file}: {section}: there is no {name!r}; there are "
                f"{', '.join(known) or 'none'}"
            )

    @contextmanager
    def _resolving(self, section: str, name: str) -> Iterator[None]:
        """While a corpus or teacher is resolved: raises InputError if it needs itself."""
        if (section, name) in self._unfinished:
            raise InputError(f"{self.scale_file}: {section}.{name}: is made from itself")
        self._unfinished.append((section, name))
        yield
        self._unfinished.pop()

    def _add(
        self,
        kind: str,
        scenario: str,
        values: dict[str, Any],
        needs: list[str],
        where: Callable[[str], str],
        repeat: int = 1,
    ) -> str:
        """Add a stage, unless it is there already; returns its folder."""
        path = StagePath(self.scale, self.name, scenario, kind, repeat=repeat)
        folder = self.folders[scenario, kind, repeat] = str(path)
        if folder not in self.stages:
            p = validate(kind, {**values, "output_dir": folder}, where)
            parameters = p.model_dump(mode="json")
            self.stages[folder] = Stage(path, parameters, tuple(dict.fromkeys(needs)))
        return folder

    def _check_tokenizer(self, what: str, teacher: str, corpus: str) -> None:
        """Raise InputError unless a teacher and a corpus have one tokenizer: else token ids mean
        something else to each."""
        trained = self.stages.get(str(StagePath.parse(teacher)))
        expected = self._tokenizer(trained.parameters["corpus"]) if trained else teacher
        actual = self._tokenizer(corpus)
        if not self.is_to_run or (expected, actual) in self._alike:
            return
        try:
            _require_alike(ModelRef(expected), ModelRef(actual))
        except InputError as error:
            raise InputError(
                f"{self.scale_file}: {what}: teacher and student tokenizers differ: the teacher "
                f"reads {expected}, its text {actual}{error}; give corpora."
                f"{StagePath.parse(corpus).corpus} the teacher's (same-as:<its corpus>, its folder "
                f"or its hub id)"
            ) from None
        self._alike.add((expected, actual))

    def _tokenizer(self, corpus: str) -> str:
        """The tokenizer of a corpus: a folder or hub id."""
        p = self.stages[corpus].parameters
        if p["sample_of"]:
            return self._tokenizer(p["sample_of"])
        return f"{corpus}/tokenizer" if p["tokenizer"].startswith("train:") else p["tokenizer"]

    def _teacher_layers(self, name: str) -> int | None:
        """The number of layers that a teacher, or the one it starts from, has by the scale
        file."""
        entry = self.teachers()[name]
        return entry.layers or (self._teacher_layers(entry.start) if entry.start else None)

    def _checkpoint_layers(self, name: str) -> int | None:
        """The number of layers of the checkpoint that a teacher is, or is trained from, as far as
        that is known without asking the hub."""
        entry = self.teachers()[name]
        if entry.start:
            return self._checkpoint_layers(entry.start)
        trained = entry.model_extra or {}
        checkpoint = entry.hub or trained.get("teacher")
        revision = entry.revision or trained.get("teacher_revision")
        config = known_config(ModelRef(checkpoint, revision)) if checkpoint else None
        return sizes(config or {})["layers"]

    def _measured_layers(self, teacher: str) -> int | None:
        """The number of layers that a teacher had when it was fine-tuned; None before that. What
        has run is read without its checkpoint, which may be in a {data_dir} that is not known or
        in the cache of another machine."""
        own = StagePath(self.scale, self.name, teacher, "finetune")
        path = places.ROOT / self.folders.get((teacher, "finetune", 1), str(own)) / "result.json"
        if self.is_to_run or not path.is_file():
            return None
        return json.loads(path.read_text(encoding="utf-8"))["model"]["layers"]

    def _layers_for_chain(self, teacher: str) -> int:
        where = f"{self.scale_file}: teachers.{teacher}"
        sources = (self._teacher_layers, self._measured_layers, self._checkpoint_layers)
        try:
            layers = next(filter(None, (layers(teacher) for layers in sources)), None)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if layers is None:
            raise InputError(
                f"{where}: a chain of teacher assistants needs its number of layers, which is in "
                f"no config.json on this machine; give it as layers, a whole number, 2 or more"
            )
        if layers < 2:
            raise InputError(
                f"{where}: layers = {layers}; a chain of teacher assistants needs 2 or more"
            )
        return layers

    def _check_layers(self, teacher: str, student_layers: list[int] | str) -> None:
        """Raise InputError if a student takes layers that its teacher does not have."""
        layers = self._teacher_layers(teacher)
        if isinstance(student_layers, list) and layers and max(student_layers) >= layers:
            raise InputError(
                f"{self.scale_file}: distillation.student_layers: layer {max(student_layers)} is "
                f"not there; the teacher {teacher} has layers 0 … {layers - 1}"
            )


def _require_alike(a: ModelRef, b: ModelRef) -> None:
    """Raise InputError, with the reason if that is known, unless two tokenizers are in the same
    place or, where both are in a user's folders, do the same."""
    made = StagePath.parse(a.name) or StagePath.parse(b.name)  # by a stage, perhaps not yet
    if a.path == b.path:
        return
    if made or not (a.is_folder and b.is_folder):
        raise InputError("")
    if a.folder.resolve() != b.folder.resolve():
        try:
            require_same(load_tokenizer(a), load_tokenizer(b), "the teacher", "the text")
        except InputError as error:
            raise InputError(f" ({error})") from None


def _places(section: str, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """The models and tokenizers that a section with a stage's parameters names, by their keys."""
    names = naming(KINDS[kind].parameters, ModelName, TokenizerName)
    return {f"{section}.{name}": values.get(name) for name in names}


def _repeat_of(model: Model) -> int:
    """The repeat that the stage which trains a model belongs to; 1 if none does."""
    return max((StagePath.parse(folder).repeat for folder in model.needs), default=1)


def _origin(*places: tuple[str, dict[str, Any]]) -> Callable[[str], str]:
    """A function that says where a key comes from: the first of `places` (file and section, values)
    that has it, else the last. "" stands for several keys together: the first that has any."""

    def where(key: str) -> str:
        if not key:
            return next((place for place, values in places if values), places[0][0])
        return next((place for place, values in places if key in values), places[-1][0])

    return where
