"""All results of a scale, gathered from the stages' result.json into results.csv and
efficiency.csv."""

import json
from collections.abc import Iterator, Mapping
from math import nan
from pathlib import Path

import pandas as pd

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import atomic
from lib.common.hub import ModelRef
from lib.plan.stages import TRAINED, StagePath
from lib.plan.study import Study
from lib.report.latency import Latency
from lib.report.outcomes import OUTCOMES, TASK, contributions
from lib.tasks.metrics import by_protocol
from lib.training import probes
from lib.training.loop import COST

RESULTS = ["study", "scenario", "layers", "repeat", "seed", "task", "language", "metric"]
RESULTS += ["protocol", "epoch", "value"]
EXAMPLES = "examples"
"""A column of results that no file has: what every example of the test set contributes to the
value, which is the mean of them, as an array; None where the predictions were not kept."""
PREDICTIONS = ["study", "scenario", "repeat", "seed", "task", "language", "metric", "example"]
PREDICTIONS += ["label", "prediction", "score"]
KEPT = [name for name in PREDICTIONS if name not in ("study", "scenario", "repeat")]
"""The columns of a stage's own predictions.parquet that the scale's takes over; `probabilities`, of
the classes of each text, stay with the stage."""
EFFICIENCY = ["study", "scenario", "model", "parameters", "size_mib", "latency_s", "tokens_seen"]
EFFICIENCY += ["tokens_per_parameter", "train_seconds", "tokens_per_second", "peak_memory_mib"]
EFFICIENCY += ["stage", "stage_seconds", "padding_share", "waiting_share"]
LATENCY = ("latency_s", "latency_low", "latency_high")
"""The columns of efficiency.csv that hold a Latency."""
EFFICIENCY += LATENCY[1:]


class Results:
    """The results of a scale: `repeats[study, scenario, kind]` is the content of a result.json by
    the number of the repeat."""

    def __init__(self, scale: str, studies: list[str]):
        """Read the results that there are. Raises InputError if nothing was fine-tuned."""
        self.folder, self.studies = places.ROOT / "outputs" / scale, studies
        self.repeats: dict[tuple[str, str, str], dict[int, dict]] = {}
        by_folder: dict[str, dict] = {}  # a stage that two studies share is read once
        for study in studies:
            plan = Study(study, scale, data_dir=None)
            plan.resolve()
            for (scenario, kind, repeat), folder in plan.folders.items():
                path = places.ROOT / folder / "result.json"
                if path.is_file():
                    if folder not in by_folder:
                        by_folder[folder] = json.loads(path.read_text(encoding="utf-8"))
                    stages = self.repeats.setdefault((study, scenario, kind), {})
                    stages[repeat] = by_folder[folder]
        if not any(kind == "finetune" for _, _, kind in self.stages):
            raise InputError(
                f"no results of {', '.join(studies)} at scale {scale}; run make report "
                f"SCALE={scale} first"
            )

    # ------------------------------------------------------------------------------ the stages

    @property
    def stages(self) -> dict[tuple[str, str, str], dict]:
        """The result of the first repeat of every stage."""
        return {key: stages[min(stages)] for key, stages in self.repeats.items()}

    def by_scenario(self, kind: str, study: str | None = None) -> dict[str, dict]:
        """scenario -> result, for one kind of stage of one study or of all."""
        return {
            scenario: result
            for (own_study, scenario, own_kind), result in self.stages.items()
            if own_kind == kind and study in (None, own_study)
        }

    def distinct(self) -> list[tuple[str, dict]]:
        """(study, result) of every stage; one that several studies share only under the first."""
        stages: dict[str, tuple[str, dict]] = {}
        for (study, _, _), repeats in self.repeats.items():
            for result in repeats.values():
                stages.setdefault(result["parameters"]["output_dir"], (study, result))
        return list(stages.values())

    @property
    def is_toy(self) -> bool:
        """Whether any text or task is one of toy languages."""
        parameters = [stage["parameters"] for _, stage in self.distinct()]
        sources = [source["kind"] for p in parameters for source in p.get("sources", [])]
        return "toy" in [*sources, *(p.get("task_source") for p in parameters)]

    def models(self) -> dict[tuple[str, str], ModelRef]:
        """(study, scenario) -> the model, for every model that was fine-tuned."""
        return {
            (study, scenario): ModelRef(
                result["parameters"]["model"], result["parameters"]["model_revision"]
            )
            for (study, scenario, kind), result in self.stages.items()
            if kind == "finetune"
        }

    # ------------------------------------------------------------------------------ the tables

    def finetunings(self) -> Iterator[tuple[dict, dict]]:
        """Every fine-tuning stage: its columns study, scenario and repeat; and its result."""
        for (study, scenario, kind), stages in self.repeats.items():
            for repeat, result in stages.items() if kind == "finetune" else ():
                yield {"study": study, "scenario": scenario, "repeat": repeat}, result

    def _own_tasks(self) -> dict[str, set[str]]:
        """Study -> the tasks that it fine-tunes models on; models that it shares with another study
        may have been fine-tuned on more."""
        tasks: dict[str, set[str]] = {}
        for columns, result in self.finetunings():
            path = StagePath.parse(result["parameters"]["output_dir"])
            if path and path.study == columns["study"]:
                tasks.setdefault(path.study, set()).update(result["parameters"]["tasks"])
        return tasks

    def scores(self) -> pd.DataFrame:
        """results.csv, a row per repeat, seed, task, language, metric and protocol (see
        lib.tasks.metrics.by_protocol), and the column EXAMPLES. Of models that a study shares with
        another one, only the tasks are taken that it fine-tunes its own models on."""
        frames, own_tasks = [], self._own_tasks()
        for columns, result in self.finetunings():
            frame = by_protocol(pd.DataFrame(result["scores"]))
            frame = frame[frame["task"].isin(own_tasks.get(columns["study"], frame["task"]))]
            frame = frame.assign(layers=result["model"]["layers"], **columns)
            key = ["seed", "task", "language", "metric"]
            examples = pd.Series(dtype=object)
            if (kept := predictions(result, [*key, "score"])) is not None:
                examples = kept.groupby(key, sort=False)["score"].agg(lambda s: s.to_numpy(float))
            last = frame["protocol"] == "final"
            frame[EXAMPLES] = [
                examples.get(tuple(names)) if is_last else None
                for is_last, *names in zip(last, *(frame[name] for name in key))
            ]
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)[[*RESULTS, EXAMPLES]]

    def predictions(self) -> pd.DataFrame:
        """predictions.parquet: a row per repeat, seed, task, language, metric and example."""
        frames = [
            kept.assign(**columns)
            for columns, result in self.finetunings()
            if (kept := predictions(result, KEPT)) is not None
        ]
        if not frames:
            return pd.DataFrame(columns=PREDICTIONS)
        return pd.concat(frames, ignore_index=True)[PREDICTIONS]

    def outcomes(self) -> pd.DataFrame:
        """What every model that was fine-tuned knows of held-out text, in the columns of `scores`:
        a row per repeat and outcome of lib.report.outcomes. `task` is TASK, `seed` and `epoch` are
        0. Teachers have their loss alone.

        The models of a study compare because the same words are masked for all; one that was
        measured on other text than the study's first is left out.
        """
        studies = dict.fromkeys(study for study, _, _ in self.repeats)
        measured = {study: self._held_out(study) for study in studies}
        rows = []
        for columns, result in self.finetunings():
            frame = measured[columns["study"]].get(result["parameters"]["model"], pd.DataFrame())
            for metric in [name for name in OUTCOMES if name in frame]:
                examples = contributions(frame[metric], frame["positions"])
                row = columns | {"layers": result["model"]["layers"], "metric": metric}
                rows.append(row | {"value": examples.mean(), EXAMPLES: examples})
        same = {"seed": 0, "task": TASK, "language": "", "protocol": "final", "epoch": 0}
        return pd.DataFrame(rows, columns=[*RESULTS, EXAMPLES]).assign(**same)

    def _held_out(self, study: str) -> dict[str, pd.DataFrame]:
        """Model -> its row per held-out sequence, see lib.training.probes.outcomes; of a teacher
        only what it was measured by beside its students."""
        students, teachers = {}, {}
        for (own_study, _, _), stages in self.repeats.items():
            for result in stages.values() if own_study == study else ():
                if (kept := held_out(result)) is None:
                    continue
                p = result["parameters"]
                students[f"{p['output_dir']}/model"] = kept
                if p.get("mlm_head", True):  # else the teacher was measured without its own
                    loss = kept[["positions", "teacher_mlm_loss"]]
                    loss = loss.rename(columns={"teacher_mlm_loss": "mlm_loss"})
                    teachers.setdefault(p.get("first_teacher") or p["teacher"], loss)
        first = next(iter(students.values()), pd.DataFrame(columns=["positions"]))["positions"]
        models = (teachers | students).items()
        return {name: frame for name, frame in models if frame["positions"].equals(first)}

    def epochs(self, study: str) -> pd.DataFrame:
        """The score after every epoch of every fine-tuning of the first repeat, as the mean over a
        task's metrics and languages: scenario, task, seed, epoch, value."""
        frames = [
            pd.DataFrame(result["scores"]).assign(scenario=name)
            for name, result in self.by_scenario("finetune", study).items()
        ]
        runs = pd.concat(frames).groupby(["scenario", "task", "seed", "epoch"], sort=False)
        return runs["value"].mean().reset_index()

    def curves(self, study: str) -> pd.DataFrame:
        """The loss curves of every training of the first repeat, under the first name that it
        has in the study: scenario, step, component, value."""
        columns = ["scenario", "step", "component", "value"]
        frames, known = [pd.DataFrame(columns=columns)], set()
        for kind in TRAINED:
            for name, result in self.by_scenario(kind, study).items():
                folder = result["parameters"]["output_dir"]
                if result["history"] and folder not in known:
                    known.add(folder)
                    losses = pd.DataFrame(result["history"])
                    losses = losses.drop(columns=["rate", *COST], errors="ignore")
                    long = losses.melt("step", var_name="component").dropna()
                    frames.append(long.assign(scenario=name)[columns])
        return pd.concat(frames[1:] or frames)

    def efficiency(self, latency: dict[tuple[str, str], Latency]) -> pd.DataFrame:
        """Size and cost of every model that was trained, or taken from the hub or a folder as it
        is, in the columns of efficiency.csv. latency: by (study, scenario)."""
        rows = []
        for (study, scenario, kind), result in self.stages.items():
            row = {"study": study, "scenario": scenario}
            row |= zip(LATENCY, latency.get((study, scenario), ()))
            if kind in TRAINED:
                row["model"] = result["parameters"]["output_dir"] + "/model"
                rows.append(row | result["summary"] | _stage_cost(result))
            elif kind == "finetune" and not self._trained(study, scenario):
                row |= {"model": result["parameters"]["model"], "tokens_seen": 0}
                rows.append(result["model"] | row)
        return pd.DataFrame(rows, columns=EFFICIENCY)

    def _trained(self, study: str, scenario: str) -> bool:
        return any((study, scenario, kind) in self.stages for kind in TRAINED)

    def with_other_stages(self, models: pd.DataFrame) -> pd.DataFrame:
        """efficiency.csv: the rows of `models` (from `efficiency`), then a row for every stage that
        pretrains nothing.

        The tokens of data preparation are those that came out. The tokens and seconds of
        fine-tuning leave its evaluation out.
        """
        rows = []
        for (study, scenario, kind), result in self.stages.items():
            row = {"study": study, "scenario": scenario}
            if kind == "finetune":
                rows.append(row | result["summary"] | _stage_cost(result))
            elif kind == "data_prep":
                tokens, seconds = result["statistics"]["tokens"], result["stage_seconds"]
                row |= {"tokens_seen": tokens, "train_seconds": 0.0}
                row["tokens_per_second"] = tokens / seconds if seconds else 0.0
                rows.append(row | _stage_cost(result))
        return pd.DataFrame([*models.to_dict("records"), *rows], columns=EFFICIENCY)

    def corpora(self, study: str) -> pd.DataFrame:
        """The statistics of every prepared corpus of a study: a column each, cells of text."""
        from lib.report.stages import corpus_statistics

        columns = {
            name.removeprefix("corpus_"): corpus_statistics(result["statistics"])["value"]
            for name, result in self.by_scenario("data_prep", study).items()
        }
        order = dict.fromkeys(name for column in columns.values() for name in column.index)
        return pd.DataFrame(columns).reindex(list(order)).fillna("–")

    def components(self, study: str) -> pd.DataFrame:
        """What each loss of every student's training weighs: lib.report.stages.components by
        model."""
        from lib.report.stages import components

        frames = {
            name: components(result["components"])
            for kind in TRAINED
            for name, result in self.by_scenario(kind, study).items()
            if result.get("components")
        }
        return pd.concat(frames, names=["model"]) if frames else pd.DataFrame()

    def write(self, analysis: str, scratch: Path, **frames: pd.DataFrame) -> None:
        """Write each frame to <name>.csv, and predictions.parquet, whole or not at all: next to the
        report if `analysis`, the folder to which the notebook publishes, is the scale's own. A
        notebook run by hand writes into its `scratch` folder."""
        folder = self.folder if places.ROOT / analysis == self.folder / "analysis" else scratch
        for name, frame in frames.items():
            with atomic(folder / f"{name}.csv") as file:
                frame.to_csv(file, index=False)
        with atomic(folder / "predictions.parquet") as file:
            self.predictions().to_parquet(file)


def along_the_chain(hops: Mapping[str, Mapping], key: str) -> dict[str, int]:
    """Scenario -> a number of its stage's summary ("steps", "tokens_seen"), summed over its hop and
    every hop before it; the teacher's own training is not counted. `hops`: scenario -> result of
    its cascade_ta stage, of one study."""

    def total(scenario: str) -> int:
        hop = hops[scenario]
        before = StagePath.parse(hop["parameters"]["teacher"])
        is_hop = before and before.kind == "cascade_ta" and before.scenario in hops
        earlier = total(before.scenario) if is_hop else 0
        return int(hop["summary"].get(key, 0)) + earlier

    return {scenario: total(scenario) for scenario in hops}


def predictions(result: dict, columns: list[str]) -> pd.DataFrame | None:
    """Columns of the predictions of a fine-tuning stage; None if they were not kept."""
    path = places.ROOT / result["parameters"]["output_dir"] / "predictions.parquet"
    return pd.read_parquet(path, columns=columns) if path.is_file() else None


def held_out(result: dict) -> pd.DataFrame | None:
    """What a stage measured of its student on held-out text, see lib.training.probes.outcomes; None
    if it trains none, or did before there were such measurements."""
    path = places.ROOT / result["parameters"]["output_dir"] / probes.FILE
    return pd.read_parquet(path) if path.is_file() else None


def _stage_cost(result: dict) -> dict:
    return {name: result[name] for name in ("stage", "stage_seconds", "peak_memory_mib")}


def efficiency_value(efficiency: pd.DataFrame, study: str, scenario: str, column: str) -> float:
    """The scenario's value in efficiency.csv, NaN if there is none.

    Several rows (stages) give the largest; those of stages that made no model of their own, such
    as fine-tuning, have no parameters and do not count.
    """
    rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
    rows = rows[rows["parameters"].notna()]
    return float(rows[column].max()) if len(rows) else nan


def number_of_layers(results: pd.DataFrame, study: str, scenario: str) -> float:
    """Of the scenario's model, by rows of results.csv; NaN if there are none."""
    rows = results[(results["study"] == study) & (results["scenario"] == scenario)]
    return float(rows["layers"].max())
