"""The parts of the report that belong to no single study: the opening, the claims, cost, parameters, machine."""

from datetime import date

import pandas as pd

from lib import ROOT, papers
from lib.ledger import BY_STUDY
from lib.prepare import tokens_per_parameter
from lib.progress import clock
from lib.results import Gathered
from lib.stage import machine, versions

COST_NOTE = (
    "Tokens seen counts non-padding tokens over all epochs. Latency: median seconds of the encoder alone on one sequence of "
    "64 tokens, one CPU thread, the models taking turns. Peak memory is the whole process's, libraries included."
)
TOY = (
    "Text and tasks are those of toy languages made for this report: a task with a name from KLEJ or GLUE, SQuAD or XNLI, is "
    "the analogue there, with the same columns and labels. Its scores are not comparable with the papers' in size; what can be "
    "compared is which scenario does better than which."
)
SHAPE = ("layers", "hidden", "heads", "intermediate", "dropout", "initializer_range", "attention_init")
"""Parameters of a teacher trained from nothing; without effect when one is given."""
DATA = {
    "smoke": "toy languages, a few steps: these numbers mean nothing",
    "tiny": "toy languages, teachers trained on the spot",
    "local": "text and tasks from a folder",
    "paper": "the papers' own models, text and tasks",
}


def models(found: Gathered) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(study, scenario) -> folder or hub id, and revision, of every model that was fine-tuned."""
    from lib.pretraining import local

    return {
        (study, scenario): (local(stage["parameters"]["model"]), stage["parameters"]["model_revision"])
        for (study, scenario, kind), stage in found.stages.items()
        if kind == "finetune"
    }


def opening(found: Gathered, scores: pd.DataFrame, ledger: pd.DataFrame) -> str:
    """What was run, on what, when, at what cost, and how the claims came out, as Markdown."""
    box, spent = machine(), found.cost()
    counts = ledger["verdict"].value_counts()
    verdicts = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("holds", "contradicted", "unresolved"))
    scale = found.folder.name
    return (
        f"Scale **{scale}** ({DATA.get(scale, 'a scale of your own')}) · {date.today().isoformat()} · {box['cores']} cores of "
        f"{box['cpu']}{', ' + box['gpu'] if box['gpu'] else ''} · PyTorch {versions()['torch']}, transformers "
        f"{versions()['transformers']}.\n\n"
        f"{TOY + chr(10) * 2 if scale in ('smoke', 'tiny') else ''}"
        f"{len(set(models(found).values()))} models were fine-tuned {_runs(found)} "
        f"times on {scores['task'].nunique()} tasks; all stages together took {clock(sum(spent.values()))} of computing time. Of "
        f"{len(ledger)} claims of the sources: {verdicts}. Intervals are 95 % t intervals over fine-tuning seeds: they say how far "
        "another fine-tuning of the same model would move, not another pretraining."
    )


def claims_of(ledger: pd.DataFrame, studies: list[str]) -> pd.DataFrame:
    """The rows of the ledger whose sources these studies rerun; the others cannot be answered by this run."""
    ids = [claim.id for study in studies for claim in BY_STUDY.get(study, [])]
    return ledger[ledger["id"].isin(ids)]


def _runs(found: Gathered) -> int:
    """How many fine-tunings there were; those of a model that two studies share count once."""
    stages = (stage for (_, _, kind), stage in found.stages.items() if kind == "finetune")
    return len(
        {(stage["parameters"]["output_dir"], row["task"], row["seed"]) for stage in stages for row in stage["scores"]}
    )


def claims_table(ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger for readers: the claim, the paper's value, ours with its interval, and the verdict."""
    rows = []
    for claim in ledger.itertuples():
        ours = "not measured" if pd.isna(claim.measured) else f"{claim.measured:.2f}"
        if not pd.isna(claim.ci_low) and claim.ci_low != claim.ci_high:
            ours += f" [{claim.ci_low:.2f}, {claim.ci_high:.2f}]"
        printed = "–" if pd.isna(claim.paper_value) else f"{claim.paper_value:.2f}"
        rows.append({"claim": claim.claim, "place": claim.source, "printed": printed, "measured [95 %]": ours,
                     "n": claim.n, "verdict": claim.verdict})  # fmt: skip
    return pd.DataFrame(rows)


def cost_table(efficiency: pd.DataFrame, study: str) -> pd.DataFrame:
    """efficiency.csv of one study for readers."""
    rows = {}
    for model in efficiency[efficiency["study"] == study].itertuples():
        trained = model.tokens_seen > 0
        rows[model.scenario] = {
            "latency, ms": f"{1000 * model.latency_s:.2f}" if pd.notna(model.latency_s) else "–",
            "tokens seen": f"{model.tokens_seen:,}" if trained else "–",
            "a parameter": f"{model.tokens_per_parameter:.2f}" if trained else "–",
            "training": clock(model.train_seconds) if trained else "–",
            "tokens/s": f"{model.tokens_per_second:,.0f}" if trained else "–",
            "peak MiB": f"{model.peak_memory_mib:,.0f}" if pd.notna(model.peak_memory_mib) else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def tokens_table(found: Gathered, study: str) -> pd.DataFrame:
    """Tokens of the transfer set over parameters of teacher and student, beside 000's section 6 (two and three times)."""
    transfer = found.of("data_prep", study).get("corpus_transfer")
    rows = {}
    for who, kind in (("teacher", "teacher_continuation"), ("student", "distillation")):
        sizes = [stage["summary"]["parameters"] for stage in found.of(kind, study).values()]
        if transfer and sizes:
            tokens = transfer["statistics"]["tokens"]
            ratio = tokens_per_parameter(transfer["statistics"], sizes[0])
            printed = papers.fact("000", f"tokens_per_{who}_parameter")
            rows[who] = {"tokens": f"{tokens:,}", "parameters": f"{sizes[0]:,}", "tokens a parameter": f"{ratio:.2f}",
                         "printed": f"{printed:g}"}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def parameter_table(found: Gathered) -> pd.DataFrame:
    """Every parameter of every kind of stage. A parameter that differs between scenarios lists each value once."""
    values: dict[tuple[str, str], list[str]] = {}
    for (_, _, kind), stage in found.stages.items():
        for name, value in stage["parameters"].items():
            shape_of_nothing = stage["parameters"].get("teacher") and name in SHAPE and kind == "teacher_continuation"
            if name != "output_dir" and not shape_of_nothing:
                values.setdefault((kind.replace("_", " "), name), []).append(str(value).replace(f"{ROOT}/", ""))
    rows = [
        {"stage": kind, "parameter": name, "value": " · ".join(dict.fromkeys(given))}
        for (kind, name), given in values.items()
    ]
    return pd.DataFrame(rows)


STAGES_NOTE = (
    "Seconds are summed over stages, which run side by side where there are cores for it. Tokens are those that are no padding; "
    "tokens a second are those of the time spent training, fine-tuning with its evaluation left out. Waiting: the share of that "
    "time in which a step waited for its batches."
)


def stages_table(found: Gathered) -> pd.DataFrame:
    """Where the computing time went: by study and kind of stage, with tokens a second, padding, and waiting for input."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for study, stage in found.alone():
        groups.setdefault((study, stage["stage"].replace("_", " ")), []).append(stage)
    whole, rows = sum(found.cost().values()), {}
    for key, stages in groups.items():
        took = sum(stage["stage_seconds"] for stage in stages)
        spent = [stage["summary"] for stage in stages if "summary" in stage]
        tokens, seconds = (sum(one[name] for one in spent) for name in ("tokens_seen", "train_seconds"))
        made = sum(stage["statistics"]["tokens"] for stage in stages if "statistics" in stage)
        positions = sum(one["tokens_seen"] / (1 - one["padding_share"]) for one in spent)
        waited = sum(one["waiting_share"] * one["train_seconds"] for one in spent)
        rows[key] = {
            "stages": str(len(stages)),
            "time": clock(took),
            "share": f"{100 * took / whole:.0f} %",
            "tokens/s": f"{tokens / seconds:,.0f}" if seconds else f"{made / took:,.0f}" if made and took else "–",
            "padding": f"{100 * (1 - tokens / positions):.0f} %" if positions else "–",
            "waiting": f"{100 * waited / seconds:.1f} %" if seconds else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["study", "stage"])


def machine_table(found: Gathered) -> pd.DataFrame:
    """The machine and the versions."""
    rows = {**{name: str(value) for name, value in machine().items() if value}, **versions()}
    return pd.DataFrame({"value": list(rows.values())}, index=pd.Index(list(rows), name="item"))
