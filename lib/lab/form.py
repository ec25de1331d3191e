"""A scenario of the user's own: planned like those of params/, checked as it is typed, run in the
background, its curves drawn while it trains."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import yaml
from IPython.display import HTML

from lib.common import places
from lib.common.errors import InputError
from lib.common.parameters import checked
from lib.common.progress import clock
from lib.lab import background, browser
from lib.lab.page import own_runs
from lib.lab.view import ROW, View, control, message, nothing_yet, offer, render
from lib.plan import forecast, schema
from lib.plan.stages import Stage, StagePath
from lib.plan.study import Study, scales, studies
from lib.report.page import show
from lib.report.stages import curves

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
"""The parameters of a student and of a chain of assistants that the form shows, and their first
values; the others can be typed."""
CHOICES = {
    "init": ["truncated", "random"],
    "positions": ["all", "masked"],
    "hop": [1, 2, 3, "half"],
    "mapping": ["adjacent", "uniform", "top", "skip"],
}
KIND_NAMES = {"distillation": "distillation", "cascade_ta": "one hop", "finetune": "fine-tuning"}
INTERVAL = 1.5
"""Seconds between two looks at a run."""


# ---------------------------------------------------------------------------------------- the entry


def available_studies() -> list[tuple[str, str]]:
    """(scale, study) of every study of which something has been trained: a scenario can be added to
    it."""
    results = sorted((places.ROOT / "outputs").glob("*/*/*/*/result.json"))
    paths = [path for result in results if (path := StagePath.parse(result)) and not path.lab]
    return [
        (scale, study)
        for scale, study in dict.fromkeys((path.scale, path.study) for path in paths)
        if study in studies() and scale in scales(study)
    ]


def first_values(scale: str, study: str) -> dict:
    """The parameters that the form shows for a scenario of this study, with first values."""
    plan = Study(study, scale, data_dir=None)
    scenarios = plan.design.scenarios.values()
    if any(scenario.hop for scenario in scenarios):
        return dict(CHAIN)
    values = STUDENT | {"teacher": next(iter(plan.teachers()))}
    corpora = [scenario.corpus for scenario in scenarios if scenario.corpus]
    if corpora:
        values["corpus"] = corpora[0]
    common = plan.design.common.parameters
    return values | {name: value for name, value in common.items() if name in STUDENT}


def choices(scale: str, study: str) -> dict[str, list]:
    """The values that some parameters of the form can have."""
    plan = Study(study, scale, data_dir=None)
    return CHOICES | {"teacher": list(plan.teachers()), "corpus": plan.corpora()}


def entry_from(values: dict, others: str) -> dict:
    """The entry as it would stand in scenarios.yaml. Text is read as YAML; `others` holds more
    parameters, `name: value` between commas. Raises InputError if it cannot be read."""
    entry = {name: _from_yaml(name, value) for name, value in values.items()}
    more = _from_yaml("other parameters", f"{{{others}}}") if others.strip() else {}
    if not isinstance(more, dict) or None in more.values():
        raise InputError(
            f"other parameters: {others!r} cannot be read; write them as in batch_size: 32, seed: 1"
        )
    return entry | more


def _from_yaml(name: str, value):
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise InputError(f"{name}: {value!r} cannot be read") from None


# --------------------------------------------------------------------------------------- its stages


def make_stages(scale: str, study: str, name: str, entry: dict, finetune: bool) -> list[Stage]:
    """The stages of one more scenario of a study. They publish under
    outputs/lab/<scale>/<study>/<name>/.

    Raises InputError for the first problem: a name that is taken, a value that is not allowed, a
    teacher or a corpus that has not been made.
    """
    plan = Study(study, scale, data_dir=None)
    if name in plan.design.scenarios or name in plan.teachers():
        raise InputError(
            f"name: {study} has a scenario or a teacher {name!r} already; choose another name"
        )
    plan.scenario_file = "the form"
    entries = {"scenarios": {name: entry}}
    form = checked(schema.ScenariosFile, entries, lambda key: plan.scenario_file)
    plan.design.scenarios[name] = form.scenarios[name]
    plan.settings.distillation.side_by_side = False  # it is trained alone
    models = plan.models(name)
    if finetune:
        for scenario, model in models.items():
            plan.finetune(scenario, model)
    stages = [s for s in plan.stages.values() if s.scenario in models and s.study == study]
    own_folders = {stage.folder for stage in stages}
    for folder in sorted({folder for stage in stages for folder in stage.needs} - own_folders):
        if not (places.ROOT / folder / "result.json").is_file():
            raise InputError(
                f"{folder} is not there yet; run make report SCALE={scale} STUDIES={study} first"
            )
    return [_in_lab(_with_data_dir(stage), stages, name) for stage in stages]


def _with_data_dir(stage: Stage) -> Stage:
    """The stage with the user's data folder, as a finished stage of its kind has it, in those
    parameters that name one."""
    keys = [key for key, value in stage.parameters.items() if "{data_dir}" in str(value)]
    if "own_tasks" in keys:
        keys.append("tasks")  # their names may stand in that folder too
    of_any_scenario = replace(stage.path, scenario="*")
    finished = sorted(places.ROOT.glob(f"{of_any_scenario}/result.json"))
    if not keys or not finished:
        return stage
    recorded = json.loads(finished[0].read_text(encoding="utf-8"))["parameters"]
    return replace(stage, parameters=stage.parameters | {key: recorded[key] for key in keys})


def _in_lab(stage: Stage, stages: list[Stage], name: str) -> Stage:
    """The stage as it publishes in the lab, where all `stages` of its run publish."""

    def move(value):
        for old in stages:
            if isinstance(value, str) and f"{value}/".startswith(f"{old.folder}/"):
                return f"{replace(old.path, lab=name)}{value.removeprefix(old.folder)}"
        return value

    parameters = {key: move(value) for key, value in stage.parameters.items()}
    return Stage(replace(stage.path, lab=name), parameters, tuple(map(move, stage.needs)))


def describe(stages: list[Stage]) -> str:
    """A sentence that says what the stages do."""
    parts = [
        f"{KIND_NAMES.get(stage.kind, stage.kind)}: {forecast.describe(stage)}" for stage in stages
    ]
    return "Will run " + "; then ".join(parts) + "."


# ---------------------------------------------------------------------------------------- the views


def run_view(folder: Path) -> list[HTML]:
    """A run: how far it is, the curves of its training, and its scores when it is done."""
    state = background.read(folder)
    parts = [HTML(message(state.line))]
    if len(state.history) > 1:
        first, last = state.history[0], state.history[-1]
        caption = (
            f"{folder.name}: {last['step']:,} steps, {clock(last['seconds'])} of training, "
            f"{last['tokens'] / max(last['seconds'], 1e-9):,.0f} tokens a second."
        )
        alt = (
            f"Losses against the step; the loss went from {first['loss']:.3f} to "
            f"{last['loss']:.3f}."
        )
        parts.append(show.figure(curves(state.history), caption, alt))
    *_, last_stage = map(StagePath.parse, state.stages)
    if state.done and last_stage.kind == "finetune":
        study = last_stage.study
        results = browser.filtered(browser.read(last_stage.scale), study=study, protocol="final")
        caption = (
            f"{folder.name} among the scenarios of {study}: last epoch, mean over seeds ± half of "
            f"the 95 % interval, in percent."
        )
        parts.append(show.table(browser.table(results), caption))
    return parts


def plan_line(make: Callable[[], list[Stage]]) -> str:
    """What the stages will do, or why there are none, as a line of HTML."""
    return render(lambda: [HTML(message(describe(make())))])


def view(scale: str, study: str, name: str) -> list[HTML]:
    """The form on a page: its parameters with their first values, the stages they give, and the
    runs so far."""
    entry = first_values(scale, study)
    names = pd.Index(list(entry), name="parameter")
    rows = pd.DataFrame({"value": map(str, entry.values())}, index=names)
    line = plan_line(lambda: make_stages(scale, study, name, entry, True))
    caption = f"An entry of your own for {study} at the scale {scale}, called {name}."
    return [show.table(rows, caption), HTML(line), *own_runs()]


def widget(scale: str = "tiny"):
    """The form. A message if nothing has been trained yet."""
    available = available_studies()
    if not available:
        return nothing_yet("There is no teacher to learn from")
    return Form(available, scale).view()


class Form:
    """The controls of the form, and what they do."""

    def __init__(self, available: list[tuple[str, str]], scale: str = "tiny"):
        first = next((pair for pair in available if pair[0] == scale), available[0])
        options = [(" · ".join(pair), pair) for pair in available]
        self.study = control(widgets.Dropdown, "Study", options=options, value=first)
        self.name = control(widgets.Text, "Name", value=background.new_name())
        self.others = control(
            widgets.Text, "Other parameters", "36rem", placeholder="batch_size: 32, seed: 1"
        )
        self.finetune = widgets.Checkbox(value=True, description="fine-tune it too", indent=False)
        self.start = widgets.Button(description="Start", button_style="primary", icon="play")
        self.stop = widgets.Button(
            description="Stop", icon="stop", disabled=True, tooltip="ends with a checkpoint"
        )
        self.run = control(widgets.Dropdown, "Run")
        self.parameters, self.box = {}, widgets.HBox(layout=ROW)
        self.line, self.area = widgets.HTML(), widgets.HTML()
        self.watching: asyncio.Task | None = None

    def view(self) -> View:
        """All controls, connected."""
        self._choose_study()
        self.study.observe(self._choose_study, names="value")
        for box in (self.name, self.others, self.finetune):
            box.observe(self._check, names="value")
        self.start.on_click(self._start)
        self.stop.on_click(self._stop)
        self._list_runs()
        self.run.observe(self._look, names="value")
        self._look()
        rows = [
            widgets.HBox([self.study, self.name, self.finetune], layout=ROW),
            self.box,
            self.others,
            self.line,
            widgets.HBox([self.start, self.stop, self.run], layout=ROW),
            self.area,
        ]
        static = render(lambda: view(*self.study.value, self.name.value))
        return View(widgets.VBox(rows), static)

    def _choose_study(self, *_) -> None:
        options = choices(*self.study.value)
        self.parameters = {}
        for name, value in first_values(*self.study.value).items():
            if options.get(name):
                box = control(widgets.Dropdown, name, options=options[name], value=value)
            else:
                box = control(widgets.Text, name, "15rem", value=str(value))
            box.observe(self._check, names="value")
            self.parameters[name] = box
        self.box.children = list(self.parameters.values())
        self._check()

    def _plan(self) -> tuple[list[Stage], dict]:
        values = {name: box.value for name, box in self.parameters.items()}
        entry = entry_from(values, self.others.value)
        stages = make_stages(*self.study.value, self.name.value, entry, self.finetune.value)
        return stages, entry

    def _check(self, *_) -> None:
        self.line.value = plan_line(lambda: self._plan()[0])

    def _start(self, *_) -> None:
        try:
            folder = background.start(*self._plan())
        except InputError as error:
            self.line.value = message(str(error), "alert")
            return
        self._list_runs(folder)
        self._look()

    def _stop(self, *_) -> None:
        background.stop(self.run.value)
        self._look()

    def _list_runs(self, chosen: Path | None = None) -> None:
        runs = [(background.title(run), run) for run in background.runs()]
        offer(self.run, runs, chosen)

    def _look(self, *_) -> None:
        """Draw the chosen run, and again and again while it is running."""
        if self.run.value is None:
            self.area.value = message("No run of your own yet.")
            return
        self.area.value = render(lambda: run_view(self.run.value))
        running = background.is_running(self.run.value)
        self.stop.disabled = not running
        if running and (self.watching is None or self.watching.done()):
            self.watching = asyncio.get_event_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while background.is_running(self.run.value):
            await asyncio.sleep(INTERVAL)
            self.area.value = render(lambda: run_view(self.run.value))
        self._look()
