"""The form: a scenario of one's own, checked as it is typed, run in the background, its curves
drawn while it trains."""

import asyncio
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML

from lib.common import places
from lib.common.errors import InputError
from lib.common.progress import clock
from lib.lab import background, browser, own
from lib.lab.page import own_runs
from lib.lab.view import ROW, WIDE, View, offer, said, shown
from lib.report import stages
from lib.report.page import show

NOTHING = (
    "There is no teacher to learn from yet: run `make report` first, or `make report "
    "STUDIES=herbert` (some minutes), then "
    "this cell again."
)
EVERY = 1.5
"""Seconds between two looks at a run."""


def run_view(folder: Path) -> list[HTML]:
    """The static view of a run: where it is, the curves of its training, and when it is done its
    scores."""
    state = background.read(folder)
    parts = [HTML(said(state.line))]
    if len(state.history) > 1:
        last = state.history[-1]
        caption = (
            f"{folder.name}: {last['step']:,} steps, {clock(last['seconds'])} of training, "
            f"{last['tokens'] / max(last['seconds'], 1e-9):,.0f} tokens a second."
        )
        alt = (
            f"Losses against the step; the loss went from {state.history[0]['loss']:.3f} to "
            f"{last['loss']:.3f}."
        )
        parts.append(show.figure(stages.curves(state.history), caption, alt))
    scale, study = folder.relative_to(places.ROOT).parts[2:4]
    if state.done and any(stage.endswith("finetune") for stage in state.stages):
        beside = browser.filtered(browser.read(scale), study=study, protocol="final")
        parts.append(
            show.table(
                browser.table(beside),
                f"{folder.name} among the scenarios of {study}: last epoch, mean over seeds "
                "± half of the 95 % interval, in percent.",
            )
        )
    return parts


def static(scale: str, study: str, name: str) -> list[HTML]:
    """The form on a page: its knobs with their first values, what they would run, and the runs
    there have been."""
    entry = own.knobs(scale, study)
    rows = pd.DataFrame(
        {"value": map(str, entry.values())}, index=pd.Index(list(entry), name="parameter")
    )
    parts = [
        show.table(rows, f"An entry of your own for {study} at the scale {scale}, called {name}."),
        HTML(shown(lambda: [HTML(said(own.planned(scale, study, name, entry, True)[1]))])),
    ]
    return [*parts, *own_runs()]


def widget(scale: str = "tiny") -> View:
    """The form with its buttons; or the line that says what to run first."""
    joined = own.studies_to_join()
    if not joined:
        return show.prose(NOTHING)
    return Form(joined, scale).view()


class Form:
    """The controls of the form, and what they do."""

    def __init__(self, joined: list[tuple[str, str]], scale: str = "tiny"):
        first = next((where for where in joined if where[0] == scale), joined[0])
        self.study = widgets.Dropdown(
            options=[(" · ".join(where), where) for where in joined],
            value=first,
            description="Study",
            style=WIDE,
        )
        self.name = widgets.Text(value=background.new_name(), description="Name", style=WIDE)
        self.others = widgets.Text(
            description="Other parameters",
            placeholder="batch_size: 32, seed: 1",
            style=WIDE,
            layout={"width": "36rem"},
        )
        self.finetune = widgets.Checkbox(value=True, description="fine-tune it too", indent=False)
        self.begin = widgets.Button(description="Start", button_style="primary", icon="play")
        self.stop = widgets.Button(
            description="Stop", icon="stop", disabled=True, tooltip="ends with a checkpoint"
        )
        self.run = widgets.Dropdown(description="Run", style=WIDE)
        self.knobs, self.box = {}, widgets.HBox(layout=ROW)
        self.line, self.area = widgets.HTML(), widgets.HTML()
        self.watching: asyncio.Task | None = None

    def view(self) -> View:
        """Everything connected."""
        self._study_chosen()
        self.study.observe(self._study_chosen, names="value")
        for control in (self.name, self.others, self.finetune):
            control.observe(self._typed, names="value")
        self.begin.on_click(self._begin)
        self.stop.on_click(self._stop)
        self._list_runs()
        self.run.observe(self._look, names="value")
        self._look()
        rows = [
            widgets.HBox([self.study, self.name, self.finetune], layout=ROW),
            self.box,
            self.others,
            self.line,
            widgets.HBox([self.begin, self.stop, self.run], layout=ROW),
            self.area,
        ]
        scale, study = self.study.value
        return View(widgets.VBox(rows), shown(lambda: static(scale, study, self.name.value)))

    def _study_chosen(self, *_) -> None:
        self.knobs = {
            name: self._knob(name, value) for name, value in own.knobs(*self.study.value).items()
        }
        for control in self.knobs.values():
            control.observe(self._typed, names="value")
        self.box.children = list(self.knobs.values())
        self._typed()

    def _knob(self, name: str, value):
        if options := {**own.CHOICES, **own.names(*self.study.value)}.get(name):
            return widgets.Dropdown(options=options, value=value, description=name, style=WIDE)
        return widgets.Text(
            value=str(value), description=name, style=WIDE, layout={"width": "15rem"}
        )

    def _planned(self) -> tuple[list, str, dict]:
        entry = own.entry_of(
            {name: control.value for name, control in self.knobs.items()}, self.others.value
        )
        return *own.planned(*self.study.value, self.name.value, entry, self.finetune.value), entry

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

    def _stop(self, *_) -> None:
        background.stop(self.run.value)
        self._look()

    def _list_runs(self, chosen: Path | None = None) -> None:
        runs = background.runs()
        offer(self.run, [(" · ".join(run.parts[-3:]), run) for run in runs], chosen)

    def _look(self, *_) -> None:
        """Draw the chosen run, and while it is running do so again and again."""
        if self.run.value is None:
            self.area.value = said("No run of your own yet.")
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
