"""The run browser: what results.csv of a scale says of some scenarios, tasks, languages and
metrics, as figure and table."""

import json
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML

from lib.common import places
from lib.common.errors import InputError
from lib.lab.view import WIDE, View, live, offer
from lib.report.figures import leave_room_for_numbers, panels, plain_axes, seeds_row
from lib.report.page import show
from lib.report.statistics import pm

NOTHING = (
    "There are no results to browse yet: run `make report` first, or `make report "
    "STUDIES=herbert` (some minutes), then this "
    "cell again."
)
ALL = "all"
MOST = 16
"""Panels of a figure; what does not fit is in the table."""
PROTOCOLS = {"last epoch": "final", "best epoch": "best_epoch"}


def scales(outputs: Path | None = None) -> list[str]:
    """The scales that have results."""
    return sorted(
        path.parent.name for path in (outputs or (places.ROOT / "outputs")).glob("*/results.csv")
    )


def read(scale: str, outputs: Path | None = None) -> pd.DataFrame:
    """results.csv of a scale, and below it the rows of scenarios of one's own that were fine-tuned
    in the lab."""
    outputs = outputs or (places.ROOT / "outputs")
    written = outputs / scale / "results.csv"
    frames = (
        [pd.read_csv(written, keep_default_na=False, dtype={"scenario": str})]
        if written.is_file()
        else []
    )
    for path in sorted((outputs / "lab" / scale).rglob("finetune/result.json")):
        study, own = path.relative_to(outputs / "lab" / scale).parts[0], path.parent.parent.name
        frames.append(rows(study, f"{own} (lab)", json.loads(path.read_text(encoding="utf-8"))))
    return pd.concat(frames, ignore_index=True)


def rows(study: str, scenario: str, stage: dict) -> pd.DataFrame:
    """What results.csv would say of a fine-tuning stage: the last epoch of every run, and the best,
    which has the largest mean over the task's metrics and languages."""
    runs = pd.DataFrame(stage["scores"]).drop(columns="loss", errors="ignore")
    runs = runs.assign(study=study, scenario=scenario, layers=stage["model"]["layers"])
    means = runs.groupby(["task", "seed", "epoch"])["value"].mean()
    best = means.groupby(["task", "seed"]).idxmax().map(lambda key: key[-1])
    chosen = {"final": runs.groupby(["task", "seed"])["epoch"].max(), "best_epoch": best}
    kept = [
        runs.merge(epochs.rename("epoch").reset_index()).assign(protocol=name)
        for name, epochs in chosen.items()
    ]
    return pd.concat(kept, ignore_index=True)


def filtered(results: pd.DataFrame, **wanted) -> pd.DataFrame:
    """The rows where every column of `wanted` has the value given, or one of several; `all` and an
    empty list leave a column as it is. Raises InputError where nothing is left."""
    for column, value in wanted.items():
        values = [value] if isinstance(value, str) else list(value)
        if values and ALL not in values:
            results = results[results[column].isin(values)]
    if results.empty:
        raise InputError(
            f"no result has "
            f"{', '.join(f'{name} {value}' for name, value in wanted.items() if value)}; choose "
            f"others"
        )
    return results


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Mean ± half of the 95 % interval over seeds, in percent: a row a scenario, a column a task,
    metric and language."""
    order = list(dict.fromkeys(results["scenario"]))
    several, alike = results["language"].nunique() > 1, results["metric"].nunique() == 1
    groups = results.groupby(["scenario", "task", "metric", *["language"] * several], sort=False)[
        "value"
    ]
    wide = groups.apply(pm).unstack([*range(1, 3 + several)]).reindex(order).fillna("–")
    layers = results.groupby("scenario")["layers"].first().reindex(order)
    named = [
        (task, " ".join(rest[several and alike :]).replace("_", " "))
        for task, *rest in wide.columns
    ]
    wide.columns = pd.MultiIndex.from_tuples(named)
    wide.insert(0, ("", "layers"), layers)
    return wide


def figure(results: pd.DataFrame):
    """A panel for each task, metric and language, at most MOST: a dot a seed, the mean and its 95 %
    interval, by scenario."""
    shown, kinds = list(dict.fromkeys(results["scenario"])), ["task", "metric", "language"]
    groups = list(results.groupby(kinds, sort=False))[:MOST]
    drawn, axes = panels(len(groups), row_height=0.6 + 0.3 * len(shown), sharey=True)
    several = results["language"].nunique() > 1
    for ax, ((task, metric, language), found) in zip(axes, groups):
        for row, name in enumerate(shown):
            values = found.loc[found["scenario"] == name, "value"]
            if len(values):
                seeds_row(ax, values, row, show.PALETTE[1 if name.endswith("(lab)") else 0])
                ax.text(
                    1.0,
                    row,
                    pm(values),
                    transform=ax.get_yaxis_transform(),
                    ha="right",
                    va="center",
                    fontsize=8,
                )
        leave_room_for_numbers(ax)
        plain_axes(ax, f"{task}, {metric.replace('_', ' ')}" + f", {language}" * several, grid="x")
        ax.spines["left"].set_visible(False)
    for ax in axes:
        ax.set_yticks(range(len(shown)), shown)
        ax.set_ylim(len(shown) - 0.5, -0.5)
    return drawn


def view(results: pd.DataFrame) -> list[HTML]:
    """The static view of some rows of results.csv: figure and table."""
    panels_ = results.groupby(["task", "metric", "language"]).ngroups
    more = f" {MOST} of {panels_} panels; the table has them all." if panels_ > MOST else ""
    means = results.groupby("scenario", sort=False)["value"].mean()
    alt = "Mean in percent: " + ", ".join(f"{name} {value:.1f}" for name, value in means.items())
    caption = (
        f"Scores in percent by scenario. Dots: fine-tuning seeds; bars: mean and 95 % "
        f"interval.{more}"
    )
    return [
        show.figure(figure(results), caption, alt),
        show.table(
            table(results), "The same in numbers: mean over seeds ± half of the 95 % interval."
        ),
    ]


def widget(outputs: Path | None = None, scale: str = "tiny") -> View:
    """The view with its filters: scale, study, scenarios, task, language, metric, protocol; or what
    to run first."""
    found = {scale: read(scale, outputs) for scale in scales(outputs)}
    found = {scale: results for scale, results in found.items() if len(results)}
    if not found:
        return show.prose(NOTHING)
    first = scale if scale in found else next(iter(found))
    scale = widgets.Dropdown(options=list(found), value=first, description="Scale", style=WIDE)
    boxes = {
        name: widgets.Dropdown(description=name.capitalize(), style=WIDE)
        for name in ("study", "task", "language", "metric")
    }
    scenario = widgets.SelectMultiple(
        description="Scenarios", rows=8, style=WIDE, layout={"width": "22rem"}
    )
    protocol = widgets.Dropdown(options=PROTOCOLS, description="Protocol", style=WIDE)

    def of_scale() -> None:
        offer(boxes["study"], list(dict.fromkeys(found[scale.value]["study"])))
        of_study()

    def of_study() -> None:
        here = filtered(found[scale.value], study=boxes["study"].value)
        scenario.options = list(dict.fromkeys(here["scenario"]))
        tasks = list(dict.fromkeys(here["task"]))
        offer(boxes["task"], [ALL, *tasks], tasks[0] if len(tasks) > 4 else ALL)
        of_task()

    def of_task() -> None:
        here = filtered(found[scale.value], study=boxes["study"].value, task=boxes["task"].value)
        for name in ("language", "metric"):
            offer(boxes[name], [ALL, *dict.fromkeys(here[name])])

    def draw(scale, **wanted):
        return view(filtered(found[scale], **wanted))

    of_scale()
    controls = {"scale": scale, **boxes, "scenario": scenario, "protocol": protocol}
    rows_ = [
        [scale, boxes["study"], protocol],
        [scenario],
        [boxes["task"], boxes["metric"], boxes["language"]],
    ]
    return live(draw, controls, rows_, {"scale": of_scale, "study": of_study, "task": of_task})
