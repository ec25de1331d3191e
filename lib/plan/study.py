"""A study of params/ at a scale: its two files read, checked, and resolved into stages."""

from lib.common import hub, places
from lib.common.errors import InputError
from lib.common.files import fill_data_dir, read_yaml
from lib.plan import entries as chains
from lib.plan import files
from lib.plan.stages import Stage, StagePath, validate

DATA = {
    "smoke": "toy languages, a few steps: these numbers mean nothing",
    "tiny": "toy languages, teachers trained on the spot",
    "local": "text and tasks from a folder",
    "paper": "the papers' own models, text and tasks",
}


def studies() -> list[str]:
    """The studies there are: every folder of params/ with scenarios."""
    return sorted(path.parent.name for path in (places.ROOT / "params").glob("*/scenarios.yaml"))


def scales(study: str) -> list[str]:
    """The scales a study can run at."""
    return sorted(
        path.stem
        for path in (places.ROOT / "params" / study).glob("*.yaml")
        if path.stem != "scenarios"
    )


class Study:
    """A study at a scale: its two files, read and resolved into steps. `data_dir` None leaves
    `{data_dir}` as it stands: enough to know the folders, not to run."""

    def __init__(
        self, name: str, scale: str, data_dir: str | None = "", users: tuple[str, ...] = ()
    ):
        if name not in studies():
            raise InputError(
                f"STUDIES: there is no study {name!r}; there are {', '.join(studies())}"
            )
        if scale not in scales(name):
            raise InputError(
                f"SCALE: the study {name} has no scale {scale!r}; it has {', '.join(scales(name))}"
            )
        self.name, self.scale, self.data_dir = name, scale, data_dir
        self.steps: dict[str, Stage] = {}
        self.places: dict[
            tuple[str, str], str
        ] = {}  # (scenario, kind) -> folder, also of what another study computes
        self.scenario_file, self.scale_file = (
            f"params/{name}/scenarios.yaml",
            f"params/{name}/{scale}.yaml",
        )
        self.about = files.read_scenarios(name)
        self.common = self.about.common
        self.scenarios = {
            scenario: entry.parameters for scenario, entry in self.about.scenarios.items()
        }
        self.sizes = read_yaml(places.ROOT / self.scale_file)
        self.used = self._study_used(self.sizes.pop("uses", None), users)
        licences = files.licences(self.sizes.pop("licences", None), self.scale_file)
        self.licences = {
            **(self.used.licences if self.used else {}),
            **licences,
        }  # for the model cards alone
        files.check_sizes(self.sizes, self.scale_file)
        self.hub = hub.settings(self.sizes.get("hub"), self.scale_file)
        self.under_way: list[tuple[str, str]] = []  # corpora and teachers that are being resolved

    def _study_used(self, name: str | None, users: tuple[str, ...]) -> "Study | None":
        """The study whose corpora, teachers and values stand in for what this one does not give:
        its stages are shared. `users` are those this one is used by."""
        if name is None:
            return None
        if name == self.name:
            raise InputError(f"{self.scale_file}: uses: a study cannot use itself")
        if name in users:
            circle = " uses ".join((*users[users.index(name) :], self.name, name))
            raise InputError(
                f"{self.scale_file}: uses: a study cannot use itself, also not by way of others: "
                f"{circle}"
            )
        if name not in studies() or self.scale not in scales(name):
            having = [
                study for study in studies() if self.scale in scales(study) and study != self.name
            ]
            raise InputError(
                f"{self.scale_file}: uses: there is no study {name!r} with this scale; there are "
                f"{', '.join(having)}"
            )
        used = Study(name, self.scale, self.data_dir, (*users, self.name))
        used.steps = self.steps  # one plan
        return used

    # ------------------------------------------------------------------ the stages of each kind

    def corpus(self, name: str) -> str:
        """The folder of a prepared corpus; its tokenizer is its own or, as `same-as:<corpus>`,
        another corpus's."""
        if self._elsewhere("corpora", name):
            return self._shared(f"corpus_{name}", "data_prep", self.used.corpus(name))
        values = dict(self._entry("corpora", name))
        if "sample_of" in values:
            self._not_of_itself("corpora", name)
            parent = self.corpus(str(values["sample_of"]))
            self.under_way.pop()
            values["sample_of"] = parent
            return self._add(
                "data_prep",
                f"corpus_{name}",
                values,
                [parent],
                [(f"corpora.{name}", self.scale_file, values)],
            )
        needs = []
        tokenizer = str(values.get("tokenizer", ""))
        if tokenizer.startswith("same-as:"):
            self._not_of_itself("corpora", name)
            other = self.corpus(tokenizer.removeprefix("same-as:"))
            self.under_way.pop()
            values["tokenizer"], needs = f"{other}/tokenizer", [other]
        return self._add(
            "data_prep",
            f"corpus_{name}",
            values,
            needs,
            [(f"corpora.{name}", self.scale_file, values)],
        )

    def teacher(self, name: str) -> tuple[str, str | None, list[str]]:
        """A teacher's model folder or hub id, its revision, and the stages it needs."""
        if self._elsewhere("teachers", name):
            model, revision, needs = self.used.teacher(name)
            for folder in needs:
                self._shared(name, "teacher_continuation", folder)
            return model, revision, needs
        values = dict(self._entry("teachers", name))
        if "hub" in values:  # used as it is: no stage of ours
            extra = sorted(set(values) - {"hub", "revision", "layers"})
            if extra:
                raise InputError(
                    f"{self.scale_file}: teachers.{name}.{extra[0]}: a hub teacher has only hub, "
                    f"revision, layers"
                )
            return values["hub"], values.get("revision"), []
        needs = []
        if "start" in values:
            self._not_of_itself("teachers", name)
            start, revision, before = self.teacher(str(values.pop("start")))
            self.under_way.pop()
            values |= {"teacher": start, "teacher_revision": revision}
            needs += before
        text = self.corpus(str(values.get("corpus", "")))
        if values.get("teacher"):
            self._one_tokenizer(f"teachers.{name}", values["teacher"], text)
        values["corpus"] = text
        folder = self._add(
            "teacher_continuation",
            name,
            values,
            [*needs, text],
            [(f"teachers.{name}", self.scale_file, values)],
        )
        return f"{folder}/model", None, [folder]

    def student(self, name: str) -> tuple[str, list[str]]:
        """A distilled student's model folder and the stages it needs."""
        scenario = dict(self.scenarios[name])
        if "same_as" in scenario:
            return self._student_of_another(name, scenario)
        own, shared, origins = self.given(name)
        taught_by = str(own.get("teacher", "T1"))
        teacher, revision, needs = self.teacher(taught_by)
        text = self.corpus(str({**shared, **own}.get("corpus", "transfer")))
        self._one_tokenizer(f"scenarios.{name}", teacher, text)
        together, leader = chains.placed(
            self, name, self._section("distillation").get("side_by_side", False)
        )
        values = {
            **shared,
            **own,
            "teacher": teacher,
            "teacher_revision": revision,
            "corpus": text,
            **together,
        }
        folder = self._add("distillation", name, values, [*needs, text, *leader], origins)
        self._check_layers(taught_by, folder)
        return f"{folder}/model", [folder]

    def given(self, name: str) -> tuple[dict, dict, list[tuple[str, str, dict]]]:
        """What is said of a scenario's student: the scenario's own values, those that all share,
        and where they stand."""
        own = {**self.common, **self.scenarios[name]}
        shared = {
            key: value
            for key, value in self._section("distillation").items()
            if key != "side_by_side"
        }
        return (
            own,
            shared,
            [
                (f"scenarios.{name}", self.scenario_file, own),
                ("distillation", self.scale_file, shared),
            ],
        )

    def chain(self, name: str) -> list[tuple[str, str, list[str]]]:
        """The assistants of a chain, one stage each: scenario, model folder, and the stages it
        needs."""
        own, common = self.scenarios[name], self.common
        entry, shared = {**common, **own}, dict(self._section("cascade"))
        taught_by, file = str(entry.get("teacher", "teacher")), self.scenario_file
        start, revision, needs = self.teacher(taught_by)
        text = self.corpus(str(entry.get("corpus") or "corpus"))
        self._one_tokenizer(f"scenarios.{name}", start, text)
        total = shared.pop("total_steps", None)
        deep = chains.check_teacher(
            self.teachers()[taught_by].get("layers"), f"{self.scale_file}: teachers.{taught_by}"
        )
        try:
            where = f"{file}: scenarios.{name}"
            layers, is_trained = (
                chains.depths_of(entry, shared, deep),
                chains.trained({**shared, **entry}),
            )
            where = self.scale_file
            chains.refuse(shared, "cascade.", (*chains.OF_THE_PLAN, *chains.OWN))
            hops = chains.expand(layers, is_trained, total, self.steps[text].parameters["sections"])
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        found, teacher = [], (start, revision)
        for number, hop in enumerate(hops, 1):
            values = {
                **chains.values(entry, shared, number),
                "steps": hop.steps,
                "section": hop.section,
                "layers": hop.layers,
                "teacher": teacher[0],
                "teacher_revision": teacher[1],
                "corpus": text,
            }
            origins = [
                (f"scenarios.{name}", file, own | ((own.get("hops") or {}).get(number) or {})),
                ("common", file, common),
                ("cascade", self.scale_file, shared),
            ]
            folder = self._add(
                "cascade_ta", f"{name}-{hop.layers}", values, [*needs, text], origins
            )
            found.append((f"{name}-{hop.layers}", f"{folder}/model", [folder]))
            if is_trained:  # else each is cut from the same teacher
                teacher, needs = (f"{folder}/model", None), [folder]
        return found

    def finetuning(self, scenario: str, model: str, revision: str | None, needs: list[str]) -> None:
        values = {**self._section("finetune"), "model": model, "model_revision": revision}
        self._add("finetune", scenario, values, needs, [("finetune", self.scale_file, values)])

    def resolve(self) -> list[Stage]:
        """Every step of the study, each after what it needs. Raises InputError for the first thing
        wrong."""
        for name in self.teachers():
            if self._elsewhere("teachers", name):
                self.teacher(name)
                self._finetuning_of_another(name, name)
            else:
                self.finetuning(name, *self.teacher(name))
        for name, scenario in self.scenarios.items():
            if "hop" in scenario:
                for assistant, model, needs in self.chain(name):
                    self._free(name, assistant)
                    self.finetuning(assistant, model, None, needs)
                continue
            if "cascade" in self.sizes and not self._section("distillation"):
                raise InputError(
                    f"{self.scenario_file}: scenarios.{name}: hop is missing; allowed are 1, 2, 3 "
                    f"and half"
                )
            self._free(name, name)
            model, needs = self.student(name)
            if "same_as" in scenario:
                self._finetuning_of_another(name, scenario["same_as"])
            else:
                self.finetuning(name, model, None, needs)
        return list(self.steps.values())

    def _free(self, name: str, model: str) -> None:
        """Raise InputError if a model of that name is fine-tuned already."""
        if model in self.teachers():
            raise InputError(
                f"{self.scenario_file}: scenarios.{name}: the name is taken by a teacher of "
                f"{self.scale_file}" + f", {model}" * (model != name)
            )
        if (model, "finetune") in self.places:
            raise InputError(
                f"{self.scenario_file}: scenarios.{name}: the name {model} is taken by another "
                f"scenario"
            )

    def _not_of_itself(self, section: str, name: str) -> None:
        """Note that an entry is being resolved. Raises InputError if it is one of those it was
        asked for by."""
        if (section, name) in self.under_way:
            raise InputError(f"{self.scale_file}: {section}.{name}: is made from itself")
        self.under_way.append((section, name))

    def teachers(self) -> dict[str, dict]:
        """The teachers there are, those of the used study first."""
        return {**(self.used.teachers() if self.used else {}), **(self.sizes.get("teachers") or {})}

    # ------------------------------------------------------------------ what another study computes

    def _elsewhere(self, section: str, name: str) -> bool:
        return self.used is not None and name not in (self.sizes.get(section) or {})

    def _shared(self, scenario: str, kind: str, folder: str) -> str:
        self.places[scenario, kind] = folder
        return folder

    def _student_of_another(self, name: str, scenario: dict) -> tuple[str, list[str]]:
        """A scenario that is one of the used study's: the same stages, here under another name."""
        there = list(self.used.scenarios) if self.used else []
        if len(scenario) > 1 or scenario["same_as"] not in there:
            raise InputError(
                f"{self.scenario_file}: scenarios.{name}: same_as stands alone and names a "
                f"scenario of the study that "
                f"{self.scale_file} uses: {', '.join(there) or 'it uses none'}"
            )
        model, needs = self.used.student(scenario["same_as"])
        self._shared(name, "distillation", needs[0])
        return model, needs

    def _finetuning_of_another(self, name: str, theirs: str) -> None:
        if theirs in self.used.teachers():
            model, revision, needs = self.used.teacher(theirs)
        else:
            (model, needs), revision = self.used.student(theirs), None
        self.used.finetuning(theirs, model, revision, needs)
        self._shared(name, "finetune", self.used.places[theirs, "finetune"])

    def _section(self, name: str) -> dict:
        return {**(self.used._section(name) if self.used else {}), **(self.sizes.get(name) or {})}

    # ------------------------------------------------------------------ helpers

    def _entry(self, section: str, name: str) -> dict:
        entries = self.sizes.get(section) or {}
        if name not in entries:
            raise InputError(
                f"{self.scale_file}: {section}: there is no {name!r}; there are "
                f"{', '.join(entries) or 'none'}"
            )
        return entries[name] or {}

    def _add(
        self,
        kind: str,
        scenario: str,
        values: dict,
        needs: list[str],
        origins: list[tuple[str, str, dict]],
    ) -> str:
        path = StagePath(self.scale, self.name, scenario, kind)
        folder = str(path)
        self.places[scenario, kind] = folder
        if folder not in self.steps:
            values = fill_data_dir(
                {**values, "output_dir": folder}, self.data_dir, self.scale, self.scale_file
            )
            p = validate(kind, values, lambda key: files.stands(origins, key))
            parameters = p.model_dump(mode="json")
            self.steps[folder] = Stage(path, parameters, tuple(dict.fromkeys(needs)))
        return folder

    def _one_tokenizer(self, what: str, teacher: str, text: str) -> None:
        """Token ids mean the same to teacher and corpus only if one tokenizer made both."""

        def of(corpus: str) -> str:
            while self.steps[corpus].parameters["sample_of"]:
                corpus = self.steps[corpus].parameters["sample_of"]
            given = self.steps[corpus].parameters["tokenizer"]
            return f"{corpus}/tokenizer" if given.startswith("train:") else given

        path = StagePath.parse(teacher)
        made = self.steps.get(str(path))
        theirs = of(made.parameters["corpus"]) if made else teacher
        if theirs != of(text):
            name = StagePath.parse(text).corpus
            raise InputError(
                f"{self.scale_file}: {what}: teacher and student tokenizers differ: the teacher "
                f"reads {theirs}, its text "
                f"{of(text)}; give corpora.{name} the teacher's (same-as:<its corpus>, or its hub "
                f"id)"
            )

    def _check_layers(self, teacher: str, folder: str) -> None:
        entries = self.teachers()
        layers = entries[teacher].get("layers") or entries[next(iter(entries))].get("layers")
        wanted = self.steps[folder].parameters["student_layers"]
        if isinstance(wanted, list) and layers and max(wanted) >= int(layers):
            raise InputError(
                f"{self.scale_file}: distillation.student_layers: layer {max(wanted)} is not "
                f"there; "
                f"the teacher {teacher} has layers 0 … {int(layers) - 1}"
            )
