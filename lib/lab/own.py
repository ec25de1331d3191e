"""A scenario of one's own, planned as those of params/ are: from what is asked to an entry, and
from an entry to its stages, which publish under outputs/lab/."""

import json
from dataclasses import replace

import yaml

from lib.common import places
from lib.common.errors import InputError
from lib.common.parameters import checked
from lib.plan import files
from lib.plan.forecast import does
from lib.plan.stages import Stage, StagePath
from lib.plan.study import Study, scales, studies

STUDENT = {
    "teacher": "",
    "corpus": "transfer",
    "init": "truncated",
    "student_layers": "alternate",
    "weight_soft": 5,
    "weight_mlm": 2,
    "weight_cosine": 1,
    "temperature": 2,
    "positions": "all",
}
CHAIN = {
    "hop": "half",
    "mapping": "top",
    "weight_hidden": 1,
    "weight_attention": 1,
    "weight_soft": 0,
    "temperature": 2,
}
"""The knobs of a student and of a chain of assistants, and what they are at first; every other
parameter can be typed."""
CHOICES = {
    "init": ["truncated", "random"],
    "positions": ["all", "masked"],
    "hop": [1, 2, 3, "half"],
    "mapping": ["adjacent", "uniform", "top", "skip"],
}

WHAT = {"distillation": "distillation", "cascade_ta": "one hop", "finetune": "fine-tuning"}
"""Kinds of stages in words."""


def studies_to_join() -> list[tuple[str, str]]:
    """(scale, study) of every study that a scenario can be added to: something of it has been
    trained."""
    results = sorted((places.ROOT / "outputs").glob("*/*/*/*/result.json"))
    paths = [path for result in results if (path := StagePath.parse(result)) and not path.lab]
    return [
        (scale, study)
        for scale, study in dict.fromkeys((path.scale, path.study) for path in paths)
        if study in studies() and scale in scales(study)
    ]


def steps_of(scale: str, study: str, name: str, entry: dict, finetune: bool = True) -> list[Stage]:
    """The stages of one more scenario of a study, `entry` as it would stand in its scenarios.yaml,
    publishing under outputs/lab/<scale>/<study>/<name>/.

    Raises InputError for the first thing wrong: a name that is taken, a value that is not allowed,
    a teacher or a corpus that is not there.
    """
    plan = Study(study, scale, data_dir=None)
    if name in plan.scenarios or name in plan.teachers():
        raise InputError(
            f"name: {study} has a scenario or a teacher {name!r} already; choose another name"
        )
    plan.scenario_file = "the form"
    entries = {"scenarios": {name: entry}}
    form = checked(files.ScenariosFile, entries, lambda key: plan.scenario_file)
    plan.scenarios[name] = form.scenarios[name].parameters
    plan.sizes["distillation"] = {
        **(plan.sizes.get("distillation") or {}),
        "side_by_side": False,
    }  # it runs alone
    students = plan.chain(name) if "hop" in entry else [(name, *plan.student(name))]
    for scenario, model, needs in students:
        if finetune:
            plan.finetuning(scenario, model, None, needs)
    scenarios = [scenario for scenario, _, _ in students]
    mine = [
        stage
        for stage in plan.steps.values()
        if stage.scenario in scenarios and stage.study == study
    ]
    for needed in sorted(
        {folder for stage in mine for folder in stage.needs} - {stage.folder for stage in mine}
    ):
        if not (places.ROOT / needed / "result.json").is_file():
            raise InputError(
                f"{needed} is not there yet; run make report SCALE={scale} STUDIES={study} first"
            )
    return [_in_the_lab(_with_data(stage), mine, name) for stage in mine]


def _with_data(stage: Stage) -> Stage:
    """The stage with the user's data folder, as a finished stage of its kind has it, where its
    parameters name one."""
    keys = [key for key, value in stage.parameters.items() if "{data_dir}" in str(value)]
    study = places.ROOT / "outputs" / stage.path.scale / stage.study
    finished = sorted(study.glob(f"*/{stage.kind}/result.json"))
    if not keys or not finished:
        return stage
    recorded = json.loads(finished[0].read_text(encoding="utf-8"))["parameters"]
    return replace(stage, parameters=stage.parameters | {key: recorded[key] for key in keys})


def _in_the_lab(stage: Stage, stages: list[Stage], run: str) -> Stage:
    """The stage as it publishes in the lab, where all `stages` of its run publish."""

    def moved(value):
        if not isinstance(value, str):
            return value
        for old in stages:
            if value == old.folder or value.startswith(f"{old.folder}/"):
                return f"{replace(old.path, lab=run)}{value.removeprefix(old.folder)}"
        return value

    parameters = {key: moved(value) for key, value in stage.parameters.items()}
    return Stage(replace(stage.path, lab=run), parameters, tuple(map(moved, stage.needs)))


# ---------------------------------------------------------------------------------------- the entry


def knobs(scale: str, study: str) -> dict:
    """What the form asks of a scenario of this study, with first values."""
    plan = Study(study, scale, data_dir=None)
    if any("hop" in entry for entry in plan.scenarios.values()):
        return dict(CHAIN)
    texts = [entry["corpus"] for entry in plan.scenarios.values() if "corpus" in entry]
    first = {"teacher": next(iter(plan.teachers())), **({"corpus": texts[0]} if texts else {})}
    return {name: {**STUDENT, **first, **plan.common}[name] for name in STUDENT}


def names(scale: str, study: str) -> dict[str, list[str]]:
    """The teachers and corpora that a scenario of this study may name."""
    plan = Study(study, scale, data_dir=None)
    corpora = {
        **(plan.used.sizes.get("corpora") or {} if plan.used else {}),
        **(plan.sizes.get("corpora") or {}),
    }
    return {"teacher": list(plan.teachers()), "corpus": list(corpora)}


def entry_of(values: dict, others: str) -> dict:
    """The entry as it would stand in scenarios.yaml. Text is read as YAML; `others` holds more
    parameters, `name: value` between commas. Raises InputError where it cannot be read."""
    entry = {name: _read(name, value) for name, value in values.items()}
    more = _read("other parameters", f"{{{others}}}") if others.strip() else {}
    if not isinstance(more, dict) or None in more.values():
        raise InputError(
            f"other parameters: {others!r} cannot be read; write them as in batch_size: 32, seed: 1"
        )
    return entry | more


def _read(name: str, value):
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise InputError(f"{name}: {value!r} cannot be read") from None


def planned(scale: str, study: str, name: str, entry: dict, finetune: bool) -> tuple[list, str]:
    """The stages, and a sentence that says what they do. Raises InputError, one line."""
    steps = steps_of(scale, study, name, entry, finetune)
    return steps, "Will run " + "; then ".join(
        f"{WHAT.get(step.kind, step.kind)}: {does(step)}" for step in steps
    ) + "."
