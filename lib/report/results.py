"""Everything a scale has produced, gathered into the contract files: results.csv, efficiency.csv,
claims.csv."""

import json
from pathlib import Path

import pandas as pd

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.plan.stages import TRAINED
from lib.plan.study import Study
from lib.tasks.metrics import by_protocol
from lib.training.loop import COST

RESULTS = [
    "study",
    "scenario",
    "layers",
    "seed",
    "task",
    "language",
    "metric",
    "protocol",
    "epoch",
    "value",
]
EFFICIENCY = [
    "study",
    "scenario",
    "model",
    "parameters",
    "size_mib",
    "latency_s",
    "tokens_seen",
    "tokens_per_parameter",
    "train_seconds",
    "tokens_per_second",
    "peak_memory_mib",
    "stage",
    "stage_seconds",
    "padding_share",
    "waiting_share",
]


class Gathered:
    """The results of a scale: `stages[(study, scenario, kind)]` is the content of a result.json."""

    def __init__(self, scale: str, studies: list[str]):
        self.folder, self.studies, self.stages = places.ROOT / "outputs" / scale, studies, {}
        read: dict[str, dict] = {}  # by folder: a stage that two studies share is read once
        for study in studies:
            plan = Study(study, scale, data_dir=None)
            plan.resolve()
            for (scenario, kind), folder in plan.places.items():
                path = places.ROOT / folder / "result.json"
                if path.is_file():
                    read.setdefault(folder, json.loads(path.read_text(encoding="utf-8")))
                    self.stages[study, scenario, kind] = read[folder]

        if not any(kind == "finetune" for _, _, kind in self.stages):
            raise InputError(
                f"no results of {', '.join(studies)} at scale {scale}; run make report "
                f"SCALE={scale} first"
            )

    def of(self, kind: str, study: str | None = None) -> dict[str, dict]:
        """scenario -> result, of one kind of stage."""
        return {
            name: found
            for (its, name, what), found in self.stages.items()
            if what == kind and study in (None, its)
        }

    def results(self) -> pd.DataFrame:
        """results.csv: a row for each task, language, metric, seed and protocol, see
        lib.tasks.metrics.by_protocol."""
        frames = [
            by_protocol(pd.DataFrame(stage["scores"])).assign(
                study=study, scenario=scenario, layers=stage["model"]["layers"]
            )
            for (study, scenario, kind), stage in self.stages.items()
            if kind == "finetune"
        ]
        return pd.concat(frames, ignore_index=True)[RESULTS]

    def epochs(self, study: str) -> pd.DataFrame:
        """The mean over a task's metrics and languages after every epoch of every fine-tuning:
        scenario, task, seed, epoch, value."""
        frames = [
            pd.DataFrame(found["scores"]).assign(scenario=name)
            for name, found in self.of("finetune", study).items()
        ]
        runs = pd.concat(frames).groupby(["scenario", "task", "seed", "epoch"], sort=False)
        return runs["value"].mean().reset_index()

    def curves(self, study: str) -> pd.DataFrame:
        """Loss curves of every training: scenario, step, component, value."""
        frames = []
        for kind in TRAINED:
            for name, found in self.of(kind, study).items():
                if found["history"]:
                    long = pd.DataFrame(found["history"]).drop(
                        columns=["rate", *COST], errors="ignore"
                    )
                    frames.append(
                        long.melt("step", var_name="component").dropna().assign(scenario=name)
                    )
        columns = ["scenario", "step", "component", "value"]
        return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)

    def efficiency(self, latency: dict[tuple[str, str], float] | None = None) -> pd.DataFrame:
        """What every trained model cost and how big it is. `latency`: (study, scenario) ->
        seconds."""
        rows = []
        for (study, scenario, kind), found in self.stages.items():
            if kind in TRAINED:
                row = {
                    "study": study,
                    "scenario": scenario,
                    "model": found["parameters"]["output_dir"] + "/model",
                    **found["summary"],
                    **_stage(found),
                    "latency_s": (latency or {}).get((study, scenario)),
                }
                rows.append({key: row[key] for key in EFFICIENCY})
            elif kind == "finetune" and not any(
                (study, scenario, trained) in self.stages for trained in TRAINED
            ):
                used = {
                    "study": study,
                    "scenario": scenario,
                    "model": found["parameters"]["model"],
                    **found["model"],
                    "latency_s": (latency or {}).get((study, scenario)),
                }
                rows.append(
                    {key: used.get(key) for key in EFFICIENCY} | {"tokens_seen": 0}
                )  # taken as it is from a hub
        return pd.DataFrame(rows, columns=EFFICIENCY)

    def every_stage(self, models: pd.DataFrame) -> pd.DataFrame:
        """efficiency.csv: the rows of `models` (what `efficiency` gives), and those of the stages
        that pretrain nothing: data prep, whose tokens are those that came out, and fine-tuning,
        whose tokens and training seconds are without its evaluation."""
        rows = []
        for (study, scenario, kind), found in self.stages.items():
            if kind == "finetune":
                spent = found["summary"]
            elif kind == "data_prep":
                made, took = found["statistics"]["tokens"], found["stage_seconds"]
                spent = {
                    "tokens_seen": made,
                    "train_seconds": 0.0,
                    "tokens_per_second": made / took if took else 0.0,
                }
            else:
                continue
            rows.append({"study": study, "scenario": scenario, **spent, **_stage(found)})
        return pd.DataFrame([*models.to_dict("records"), *rows], columns=EFFICIENCY)

    def corpora(self, study: str) -> pd.DataFrame:
        """Lines, words, tokens and bytes of every prepared corpus of a study, one column each."""
        from lib.report.stages import statistics

        frames = {
            name.removeprefix("corpus_"): statistics(found["statistics"])["value"]
            for name, found in self.of("data_prep", study).items()
        }
        order = list(dict.fromkeys(name for frame in frames.values() for name in frame.index))
        return pd.DataFrame(frames).reindex(order).fillna("–")

    def knowledge(self, study: str) -> pd.DataFrame:
        """What every trained model knows about held-out text of its own corpus."""
        from lib.report.stages import knowledge

        return knowledge(
            **{
                name: found["after"]
                for kind in TRAINED
                for name, found in self.of(kind, study).items()
            }
        )

    def alone(self) -> list[tuple[str, dict]]:
        """Every stage with the study it is of; one that several share stands once, under the
        first."""
        return list(
            {
                found["parameters"]["output_dir"]: (study, found)
                for (study, _, _), found in reversed(self.stages.items())
            }.values()
        )[::-1]

    def cost(self) -> dict[str, float]:
        """Seconds spent in every kind of stage, summed over stages (stages may have run side by
        side)."""
        spent: dict[str, float] = {}
        for _, found in self.alone():
            spent[found["stage"]] = spent.get(found["stage"], 0.0) + found["stage_seconds"]
        return spent

    def write(self, analysis: str, scratch: Path, **frames: pd.DataFrame) -> None:
        """Write the contract files, each aside first and then renamed: beside the report if
        `analysis`, the folder the notebook publishes to, is the scale's own; else (a notebook run
        by hand) into its `scratch` folder."""
        folder = self.folder if places.ROOT / analysis == self.folder / "analysis" else scratch
        for name, frame in frames.items():
            aside = folder / f"{name}.csv.writing"
            frame.to_csv(aside, index=False)
            aside.rename(folder / f"{name}.csv")


def _stage(found: dict) -> dict:
    """What efficiency.csv says of a stage itself."""
    return {name: found[name] for name in ("stage", "stage_seconds", "peak_memory_mib")}


def scenarios(study: str, scale: str) -> dict[str, dict]:
    """The parameters that each scenario of a study has in its file."""
    return Study(study, scale, data_dir=None).scenarios


def latency(
    models: dict[tuple[str, str], ModelRef],
    *,
    batch: int = 1,
    length: int = 64,
    repeats: int = 30,
) -> dict[tuple[str, str], float]:
    """Median seconds of one forward pass of the encoder on CPU, the models taking turns, so that
    all see the same machine.

    `models`: (study, scenario) -> model; one that stands there twice is
    timed once. `batch` sequences of `length` random tokens, no padding, one thread; three turns
    before those that count.
    """
    import time

    import torch

    from lib.training.models import load_trunk

    loaded = {which: load_trunk(which).eval() for which in dict.fromkeys(models.values())}
    if not loaded:
        return {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[ModelRef, list[float]] = {which: [] for which in loaded}
    ids = torch.randint(
        5, min(trunk.config.vocab_size for trunk in loaded.values()), (batch, length)
    )
    with torch.inference_mode():
        for turn in range(repeats + 3):
            for which, trunk in loaded.items():
                began = time.perf_counter()
                trunk(input_ids=ids)
                if turn >= 3:
                    times[which].append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return {key: float(pd.Series(times[which]).median()) for key, which in models.items()}
