"""The form: a scenario of one's own, checked as it is typed, run in the background, its curves drawn while it trains."""

import asyncio
from pathlib import Path

import yaml
from IPython.display import HTML

from lib import ROOT, show, views
from lib.errors import InputError
from lib.forecast import does
from lib.lab import background, browser, own
from lib.lab.view import WIDE, View, offer, said, shown
from lib.progress import clock
from lib.study import Study

NOTHING = (
    "There is no teacher to learn from yet: run `make report` first, or `make report STUDIES=herbert` (some minutes), then "
    "this cell again."
)
EVERY = 1.5
"""Seconds between two looks at a run."""
STUDENT = {"teacher": "", "corpus": "transfer", "init": "truncated", "student_layers": "alternate", "weight_soft": 5,
           "weight_mlm": 2, "weight_cosine": 1, "temperature": 2, "positions": "all"}  # fmt: skip
CHAIN = {"hop": "half", "mapping": "top", "weight_hidden": 1, "weight_attention": 1, "weight_soft": 0, "temperature": 2}
"""The knobs of a student and of a chain of assistants, and what they are at first; every other parameter can be typed."""
CHOICES = {"init": ["truncated", "random"], "positions": ["all", "masked"], "hop": [1, 2, 3, "half"],
           "mapping": ["adjacent", "uniform", "top", "skip"]}  # fmt: skip


def knobs(scale: str, study: str) -> dict:
    """What the form asks of a scenario of this study, with first values."""
    plan = Study(study, scale, data_dir=None)
    if any("hop" in (entry or {}) for entry in plan.scenarios["scenarios"].values()):
        return dict(CHAIN)
    common = plan.scenarios.get("common") or {}
    texts = [entry["corpus"] for entry in plan.scenarios["scenarios"].values() if "corpus" in (entry or {})]
    first = {"teacher": next(iter(plan.teachers())), **({"corpus": texts[0]} if texts else {})}
    return {name: {**STUDENT, **first, **common}[name] for name in STUDENT}


def names(scale: str, study: str) -> dict[str, list[str]]:
    """The teachers and corpora that a scenario of this study may name."""
    plan = Study(study, scale, data_dir=None)
    corpora = {**(plan.used.sizes.get("corpora") or {} if plan.used else {}), **(plan.sizes.get("corpora") or {})}
    return {"teacher": list(plan.teachers()), "corpus": list(corpora)}


def entry_of(values: dict, others: str) -> dict:
    """The entry as it would stand in scenarios.yaml. Text is read as YAML; `others` holds more parameters, `name: value` between
    commas. Raises InputError where it cannot be read."""
    entry = {name: _read(name, value) for name, value in values.items()}
    more = _read("other parameters", f"{{{others}}}") if others.strip() else {}
    if not isinstance(more, dict) or None in more.values():
        raise InputError(f"other parameters: {others!r} cannot be read; write them as in batch_size: 32, seed: 1")
    return entry | more


def _read(name: str, value):
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise InputError(f"{name}: {value!r} cannot be read") from None


def planned(scale: str, study: str, name: str, entry: dict, finetune: bool) -> tuple[list, str]:
    """The stages, and a sentence that says what they do. Raises InputError, one line."""
    steps = own.steps_of(scale, study, name, entry, finetune)
    return steps, "Will run " + "; then ".join(f"{step.kind.replace('_', ' ')}: {does(step)}" for step in steps) + "."


def run_view(folder: Path) -> list[HTML]:
    """The static view of a run: where it is, the curves of its training, and when it is done its scores."""
    state = background.read(folder)
    parts = [HTML(said(state.line))]
    if len(state.history) > 1:
        last = state.history[-1]
        caption = (
            f"{folder.name}: {last['step']:,} steps, {clock(last['seconds'])} of training, "
            f"{last['tokens'] / max(last['seconds'], 1e-9):,.0f} tokens a second."
        )
        alt = f"Losses against the step; the loss went from {state.history[0]['loss']:.3f} to {last['loss']:.3f}."
        parts.append(show.figure(views.curves(state.history), caption, alt))
    scale, study = folder.relative_to(ROOT).parts[2:4]
    if state.done and any(stage.endswith("finetune") for stage in state.stages):
        beside = browser.filtered(browser.read(scale), study=study, protocol="final")
        parts.append(show.table(browser.table(beside), f"{folder.name} among the scenarios of {study}: last epoch, mean over seeds "
                                "± half of the 95 % interval, in percent."))  # fmt: skip
    return parts


def static(scale: str, study: str, name: str) -> list[HTML]:
    """The form on a page: its knobs with their first values, what they would run, and the runs there have been."""
    import pandas as pd

    entry = knobs(scale, study)
    rows = pd.DataFrame({"value": map(str, entry.values())}, index=pd.Index(list(entry), name="parameter"))
    parts = [show.table(rows, f"An entry of one's own for {study} at the scale {scale}, called {name}."),
             HTML(shown(lambda: [HTML(said(planned(scale, study, name, entry, True)[1]))]))]  # fmt: skip
    if runs := background.runs():
        states = pd.DataFrame({"state": [background.read(run).line for run in runs]},
                              index=pd.Index([" · ".join(run.parts[-3:]) for run in runs], name="run"))  # fmt: skip
        parts.append(show.table(states, "Runs of one's own so far."))
    return parts


def widget() -> View:
    """The form with its buttons; or the line that says what to run first."""
    joined = own.studies_to_join()
    if not joined:
        return show.prose(NOTHING)
    return Form(joined).view()


class Form:
    """The controls of the form, and what they do."""

    def __init__(self, joined: list[tuple[str, str]]):
        import ipywidgets as widgets

        self.w = widgets
        first = next((where for where in joined if where[0] == "tiny"), joined[0])
        self.study = widgets.Dropdown(options=[(" · ".join(where), where) for where in joined], value=first,
                                      description="Study", style=WIDE)  # fmt: skip
        self.name = widgets.Text(value=background.new_name(), description="Name", style=WIDE)
        self.others = widgets.Text(description="Other parameters", placeholder="batch_size: 32, seed: 1", style=WIDE,
                                   layout={"width": "36rem"})  # fmt: skip
        self.finetune = widgets.Checkbox(value=True, description="fine-tune it too", indent=False)
        self.begin = widgets.Button(description="Start", button_style="primary", icon="play")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, tooltip="ends with a checkpoint")
        self.run = widgets.Dropdown(description="Run", style=WIDE)
        self.knobs, self.box, self.line, self.area = (
            {},
            widgets.HBox(layout={"flex_flow": "row wrap"}),
            widgets.HTML(),
            widgets.HTML(),
        )
        self.watching: asyncio.Task | None = None

    def view(self) -> View:
        """Everything connected."""
        self._study_chosen()
        self.study.observe(self._study_chosen, names="value")
        for control in (self.name, self.others, self.finetune):
            control.observe(self._typed, names="value")
        self.begin.on_click(self._begin)
        self.stop.on_click(lambda _: (background.stop(self.run.value), self._look()))
        self._list_runs()
        self.run.observe(self._look, names="value")
        self._look()
        rows = [self.w.HBox([self.study, self.name, self.finetune]), self.box, self.others, self.line,
                self.w.HBox([self.begin, self.stop, self.run]), self.area]  # fmt: skip
        scale, study = self.study.value
        return View(self.w.VBox(rows), shown(lambda: static(scale, study, self.name.value)))

    def _study_chosen(self, *_) -> None:
        self.knobs = {name: self._knob(name, value) for name, value in knobs(*self.study.value).items()}
        for control in self.knobs.values():
            control.observe(self._typed, names="value")
        self.box.children = list(self.knobs.values())
        self._typed()

    def _knob(self, name: str, value):
        title = name.replace("_", " ").capitalize()
        if options := {**CHOICES, **names(*self.study.value)}.get(name):
            return self.w.Dropdown(options=options, value=value, description=title, style=WIDE)
        return self.w.Text(value=str(value), description=title, style=WIDE, layout={"width": "15rem"})

    def _planned(self) -> tuple[list, str, dict]:
        entry = entry_of({name: control.value for name, control in self.knobs.items()}, self.others.value)
        return *planned(*self.study.value, self.name.value, entry, self.finetune.value), entry

    def _typed(self, *_) -> None:
        self.line.value = shown(lambda: [HTML(said(self._planned()[1]))])

    def _begin(self, *_) -> None:
        try:
            steps, _, entry = self._planned()
            folder = background.start(steps, entry)
        except InputError as error:
            self.line.value = said(str(error), "alert")
            return
        self._list_runs(folder)
        self._look()

    def _list_runs(self, chosen: Path | None = None) -> None:
        runs = background.runs()
        offer(self.run, [(" · ".join(run.parts[-3:]), run) for run in runs], chosen)

    def _look(self, *_) -> None:
        """Draw the chosen run, and while it is running do so again and again."""
        if self.run.value is None:
            self.area.value = said("No run of one's own yet.")
            return
        self.area.value = shown(lambda: run_view(self.run.value))
        running = background.is_running(self.run.value)
        self.stop.disabled = not running
        if running and (self.watching is None or self.watching.done()):
            self.watching = asyncio.get_event_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while background.is_running(self.run.value):
            await asyncio.sleep(EVERY)
            self.area.value = shown(lambda: run_view(self.run.value))
        self._look()
