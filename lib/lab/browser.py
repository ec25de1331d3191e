"""The run browser: the results of a scale for chosen scenarios, tasks, languages and metrics, as
figure and table."""

import json
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML

from lib.common import places
from lib.common.errors import InputError
from lib.lab.view import control, live, nothing_yet, offer
from lib.plan.stages import StagePath
from lib.report.figures import describe_rows, rows_of_runs
from lib.report.page import show
from lib.report.statistics import interval, pm
from lib.tasks.metrics import PROTOCOLS, by_protocol

ALL = "all"
MOST = 16
"""Panels of a figure; the table has the rest."""


def scales(outputs: Path | None = None) -> list[str]:
    """The scales that have results."""
    outputs = outputs or places.ROOT / "outputs"
    return sorted(path.parent.name for path in outputs.glob("*/results.csv"))


def read(scale: str, outputs: Path | None = None) -> pd.DataFrame:
    """results.csv of a scale, then the rows of scenarios that were fine-tuned in the lab."""
    outputs = outputs or places.ROOT / "outputs"
    path = outputs / scale / "results.csv"
    frames = []
    if path.is_file():
        frames.append(pd.read_csv(path, keep_default_na=False, dtype={"scenario": str}))
    for path in sorted((outputs / "lab" / scale).rglob("finetune/result.json")):
        stage = StagePath.parse(Path("outputs", path.relative_to(outputs)))
        result = json.loads(path.read_text(encoding="utf-8"))
        frames.append(rows(stage.study, f"{stage.scenario} (lab)", result))
    return pd.concat(frames, ignore_index=True)


def rows(study: str, scenario: str, stage: dict) -> pd.DataFrame:
    """The rows of results.csv for the result of a fine-tuning stage."""
    scores = by_protocol(pd.DataFrame(stage["scores"])).drop(columns="loss", errors="ignore")
    columns = {"study": study, "scenario": scenario, "repeat": 1}
    return scores.assign(layers=stage["model"]["layers"], **columns)


def filtered(results: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with these values, or one of several, in these columns; `all` and an empty list
    match everything. Raises InputError if no row is left."""
    for column, value in values.items():
        options = [value] if isinstance(value, str) else list(value)
        if options and ALL not in options:
            results = results[results[column].isin(options)]
    if results.empty:
        chosen = ", ".join(f"{name} {value}" for name, value in values.items() if value)
        raise InputError(f"no result has {chosen}; choose others")
    return results


def _score_names(results: pd.DataFrame) -> pd.Series:
    """Metric and language of every row, without what is the same in all of them."""
    metric, language = results["metric"].str.replace("_", " "), results["language"]
    if language.nunique() == 1:
        return metric
    return language if metric.nunique() == 1 else metric + " " + language


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Mean ± half of the 95 % interval over fine-tunings, in percent: a row for each
    scenario, a column for each task, metric and language."""
    scores = results.assign(score=_score_names(results))
    order = scores["scenario"].unique()
    columns = scores[["task", "score"]].drop_duplicates().itertuples(index=False, name=None)
    groups = scores.groupby(["scenario", "task", "score"])["value"]
    wide = groups.apply(pm).unstack([1, 2]).loc[order, list(columns)].fillna("–")
    layers = scores.groupby("scenario")["layers"].first()
    wide.insert(0, ("", "layers"), layers.loc[order])
    return wide


def view(results: pd.DataFrame) -> list[HTML]:
    """Some rows of results.csv as figure and table."""
    column = results["task"] + ", " + _score_names(results)
    panels = list(column.unique())
    scores = results.assign(column=column)[column.isin(panels[:MOST])]
    order = list(results["scenario"].unique())
    colours = {name: show.PALETTE[name.endswith("(lab)")] for name in order}
    ends = scores.groupby(["scenario", "column"])["value"].transform
    scores = scores.assign(
        low=ends(lambda v: interval(v).low), high=ends(lambda v: interval(v).high)
    )
    figure = rows_of_runs(scores, order, {}, colours, xlabel="percent")
    caption = "Scores in percent by scenario. Dots: fine-tunings; bars: mean and 95 % interval."
    if len(panels) > MOST:
        caption += f" {MOST} of {len(panels)} panels; the table has them all."
    note = (
        "The same in numbers: mean over fine-tunings ± half of the 95 % interval. The report's "
        "intervals cover test examples too, and count a repeat of the distillation once."
    )
    return [
        show.figure(figure, caption, describe_rows(scores, order, {})),
        show.table(table(results), note),
    ]


def widget(outputs: Path | None = None, scale: str = "tiny"):
    """The view with filters: scale, study, scenarios, task, language, metric, protocol. A message
    if there are no results."""
    results = {name: read(name, outputs) for name in scales(outputs)}
    results = {name: frame for name, frame in results.items() if len(frame)}
    if not results:
        return nothing_yet("There are no results to browse")
    first = scale if scale in results else next(iter(results))
    scale_box = control(widgets.Dropdown, "Scale", options=list(results), value=first)
    boxes = {
        name: control(widgets.Dropdown, name.capitalize())
        for name in ("study", "task", "language", "metric")
    }
    scenario = control(widgets.SelectMultiple, "Scenarios", "22rem", rows=8)
    titles = [(title, protocol) for protocol, title in PROTOCOLS.items()]
    protocol = control(widgets.Dropdown, "Protocol", options=titles)

    def values(column: str, **chosen) -> list:
        return list(filtered(results[scale_box.value], **chosen)[column].unique())

    def choose_scale() -> None:
        offer(boxes["study"], values("study"))
        choose_study()

    def choose_study() -> None:
        study = boxes["study"].value
        scenario.options = values("scenario", study=study)
        tasks = values("task", study=study)
        offer(boxes["task"], [ALL, *tasks], tasks[0] if len(tasks) > 4 else ALL)
        choose_task()

    def choose_task() -> None:
        chosen = {"study": boxes["study"].value, "task": boxes["task"].value}
        for name in ("language", "metric"):
            offer(boxes[name], [ALL, *values(name, **chosen)])

    def draw(scale, **chosen):
        return view(filtered(results[scale], **chosen))

    choose_scale()
    controls = {"scale": scale_box, **boxes, "scenario": scenario, "protocol": protocol}
    rows = [[scale_box, boxes["study"], protocol], [scenario]]
    rows.append([boxes["task"], boxes["metric"], boxes["language"]])
    before = {"scale": choose_scale, "study": choose_study, "task": choose_task}
    return live(draw, controls, rows, before)
