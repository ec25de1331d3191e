"""A scenario of one's own, planned as those of params/ are: from an entry to its stages, which publish under outputs/lab/."""

import json

from lib import OUTPUTS, ROOT, study_files
from lib.errors import InputError
from lib.step import Step
from lib.study import Study, scales, studies


def studies_to_join() -> list[tuple[str, str]]:
    """(scale, study) of every study that a scenario can be added to: something of it has been trained."""
    found = [path.parts[-5:-3] for path in sorted(OUTPUTS.glob("*/*/*/*/result.json"))]
    return [(scale, study) for scale, study in dict.fromkeys(found) if study in studies() and scale in scales(study)]


def steps_of(scale: str, study: str, name: str, entry: dict, finetune: bool = True) -> list[Step]:
    """The stages of one more scenario of a study, `entry` as it would stand in its scenarios.yaml, publishing under
    outputs/lab/<scale>/<study>/<name>/.

    Raises InputError for the first thing wrong: a name that is taken, a value that is not allowed, a teacher or a corpus that is
    not there.
    """
    plan = Study(study, scale, data_dir=None)
    if name in plan.scenarios["scenarios"] or name in plan.teachers():
        raise InputError(f"name: {study} has a scenario or a teacher {name!r} already; choose another name")
    plan.scenario_file, plan.scenarios["scenarios"] = "the form", {**plan.scenarios["scenarios"], name: entry}
    plan.sizes["distillation"] = {**(plan.sizes.get("distillation") or {}), "side_by_side": False}  # it runs alone
    study_files.check_scenarios(plan.scenarios, plan.scenario_file)
    students = plan.chain(name) if "hop" in entry else [(name, *plan.student(name))]
    for scenario, model, needs in students:
        if finetune:
            plan.finetuning(scenario, model, None, needs)
    scenarios = [scenario for scenario, _, _ in students]
    mine = [step for step in plan.steps.values() if step.scenario in scenarios and step.study == study]
    for needed in sorted({folder for step in mine for folder in step.needs} - {step.folder for step in mine}):
        if not (ROOT / needed / "result.json").is_file():
            raise InputError(f"{needed} is not there yet; run make report SCALE={scale} STUDIES={study} first")
    folder = f"outputs/lab/{scale}/{study}/{name}"
    places = {step.folder: "/".join([folder, *[step.scenario] * (len(students) > 1), step.kind]) for step in mine}
    return [_moved(_with_data(step, scale, study), places) for step in mine]


def _with_data(step: Step, scale: str, study: str) -> Step:
    """The step with the user's data folder as a finished stage of its kind has it, where its parameters name one."""
    wanting = [key for key, value in step.parameters.items() if "{data_dir}" in str(value)]
    finished = sorted((OUTPUTS / scale / study).glob(f"*/{step.kind}/result.json"))
    if not wanting or not finished:
        return step
    theirs = json.loads(finished[0].read_text(encoding="utf-8"))["parameters"]
    return Step(**{**vars(step), "parameters": {**step.parameters, **{key: theirs[key] for key in wanting}}})


def _moved(step: Step, places: dict[str, str]) -> Step:
    """The step with every folder of `places` in the place that it moves to."""

    def there(value):
        if isinstance(value, str):
            for old, new in places.items():
                if value == old or value.startswith(old + "/"):
                    return new + value[len(old) :]
        return value

    parameters = {key: there(value) for key, value in step.parameters.items()}
    return Step(step.kind, step.study, step.scenario, there(step.folder), parameters, tuple(map(there, step.needs)))
