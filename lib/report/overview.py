"""The parts of the report that belong to no single study: the opening, the claims, cost,
parameters, machine."""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from lib.common import places
from lib.common.hub import ModelRef
from lib.common.machine import machine, versions
from lib.common.progress import clock
from lib.data.prepare import tokens_per_parameter
from lib.plan.stages import KINDS, StagePath
from lib.plan.study import DATA
from lib.report import claims, papers
from lib.report.results import Gathered
from lib.report.wording import printed

COST_NOTE = (
    "Tokens seen counts non-padding tokens over all epochs. Latency: median seconds of the "
    "encoder alone on one sequence of "
    "64 tokens, one CPU thread, the models taking turns. Peak memory is the whole process's, "
    "libraries included."
)
SURE = (
    "**How sure it is.** What is measured here stands with a 95 % interval over fine-tuning "
    "seeds: it says how far another "
    "fine-tuning of the same model would move, not another pretraining. Sizes are counted, times "
    "taken once. What the sources "
    f"print is {printed('set like this')} in sentences, in grey columns headed *paper* in tables, "
    f"and as hollow grey diamonds in "
    "figures."
)
TOY = (
    "**What toy languages can show.** Text and tasks are those of toy languages made for this "
    "report: a task with a name from KLEJ "
    "or GLUE, SQuAD or XNLI, is the analogue there, with the same columns and labels. Its scores "
    "are not comparable with the "
    "papers' in size; what can be compared is which scenario does better than which."
)
ASKS = {
    "herbert": (
        "Distillation of HerBERT",
        "000",
        "what do weights taken from the teacher, the distillation loss, and a teacher trained on "
        "with the student's text buy?",
    ),
    "transfer_set": (
        "Transfer sets: how much text, and of what kind",
        "001",
        "on how much text must a student learn, and must it be text?",
    ),
    "ablation": (
        "DistilBERT: what each loss is worth",
        "002",
        "which of the three losses, and which start, is worth how much?",
    ),
    "cascade": (
        "Cascades: a multilingual teacher, one layer less at a time",
        "004",
        "is a student better when it is reached one layer at a time, and what happens in other "
        "languages?",
    ),
}
"""Study -> the title of its section, its source, and what it asks."""
MANY = 8
"""More different values of a parameter than this are counted, not listed."""
SHAPE = (
    "layers",
    "hidden",
    "heads",
    "intermediate",
    "dropout",
    "initializer_range",
    "attention_init",
)
"""Parameters of a teacher trained from nothing; without effect when one is given."""


def models(found: Gathered) -> dict[tuple[str, str], ModelRef]:
    """(study, scenario) -> every model that was fine-tuned."""
    return {
        (study, scenario): ModelRef(
            stage["parameters"]["model"], stage["parameters"]["model_revision"]
        )
        for (study, scenario, kind), stage in found.stages.items()
        if kind == "finetune"
    }


def asked(studies: list[str]) -> str:
    """What each study asks, after which source, as a Markdown list whose entries lead to the
    sections."""
    lines = []
    for name in [name for name in ASKS if name in studies]:
        section, source, question = ASKS[name]
        anchor = section.replace(" ", "-")
        found = papers.sources()[source]
        lines.append(
            f"- [{section}](#{anchor}) (study `{name}`): {question} After source {source}: "
            f"{found['title']}; {found['authors']}."
        )
    return "\n".join(lines)


def facts(found: Gathered, scores: pd.DataFrame) -> dict[str, str]:
    """What was run, on what, when and at what cost."""
    box, library, scale = machine(), versions(), found.folder.name
    stages = [stage for _, stage in found.alone()]
    seen = sum(stage.get("summary", {}).get("tokens_seen", 0) for stage in stages)
    peak = max((stage.get("peak_memory_mib", 0) for stage in stages), default=0)
    return {
        "Scale": f"{scale}: {DATA.get(scale, 'a scale of your own')}",
        "Models": f"{len(set(models(found).values()))}, fine-tuned {_runs(found):,} times on "
        f"{scores['task'].nunique()} tasks",
        "Hardware": f"{box['cores']} cores of {box['cpu']}; {box['gpu'] or 'no GPU'}",
        "Versions": f"Python {library['python']}, PyTorch {library['torch']}, transformers "
        f"{library['transformers']}",
        "Date": date.today().isoformat(),
        "Cost": f"{len(stages)} stages, {_duration(sum(found.cost().values()))} of computing time "
        f"in all; "
        f"{seen:,} tokens trained on; at most {peak / 1024:.1f} GiB of memory",
    }


def opening(found: Gathered, ledger: pd.DataFrame) -> str:
    """How the claims came out, how sure that is, and what toy languages can show, as Markdown."""
    toy = f"\n\n{TOY}" if found.folder.name in ("smoke", "tiny") else ""
    return f"**How the claims came out.** {claims.summary(ledger)}\n\n{SURE}{toy}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _runs(found: Gathered) -> int:
    """How many fine-tunings there were; those of a model that two studies share count once."""
    stages = (stage for (_, _, kind), stage in found.stages.items() if kind == "finetune")
    return len(
        {
            (stage["parameters"]["output_dir"], row["task"], row["seed"])
            for stage in stages
            for row in stage["scores"]
        }
    )


def sources_table(studies: list[str]) -> pd.DataFrame:
    """The source documents behind the studies: number, title, authors, and the study that reruns
    it."""
    rows = {}
    for study in [name for name in ASKS if name in studies]:
        source = ASKS[study][1]
        rows[source] = {key: papers.sources()[source][key] for key in ("title", "authors")} | {
            "study": study
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")


def corpora_table(found: Gathered, study: str) -> pd.DataFrame:
    """The prepared corpora of a study; of the reasons to drop a line only those that befell any."""
    table = found.corpora(study)
    idle = table.index.str.startswith("dropped:") & table.isin(["0", "–"]).all(axis=1)
    return table[~idle].rename_axis("statistic")


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
    """Tokens of the transfer set over parameters of teacher and student, beside 000's section 6
    (two and three times)."""
    transfer = found.of("data_prep", study).get("corpus_transfer")
    rows = {}
    for who, kind in (("teacher", "teacher_continuation"), ("student", "distillation")):
        sizes = [stage["summary"]["parameters"] for stage in found.of(kind, study).values()]
        if transfer and sizes:
            tokens = transfer["statistics"]["tokens"]
            ratio = tokens_per_parameter(transfer["statistics"], sizes[0])
            printed = papers.fact("000", f"tokens_per_{who}_parameter")
            rows[who] = {
                "tokens": f"{tokens:,}",
                "parameters": f"{sizes[0]:,}",
                "tokens a parameter": f"{ratio:.2f}",
                "printed": f"{printed:g}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def parameter_table(found: Gathered) -> pd.DataFrame:
    """Every parameter of every kind of stage: one value where all studies have the same, else each
    study's, and values that differ between scenarios beside each other. A folder of outputs is
    named by its scenario, or counted where there are many."""
    values: dict[tuple[str, str], dict[str, list[str]]] = {}
    for (study, _, kind), stage in sorted(
        found.stages.items(), key=lambda item: _place(item[0][2], list(KINDS))
    ):
        for name, value in stage["parameters"].items():
            shape_of_nothing = (
                stage["parameters"].get("teacher")
                and name in SHAPE
                and kind == "teacher_continuation"
            )
            if name != "output_dir" and not shape_of_nothing:
                values.setdefault((kind.replace("_", " "), name), {}).setdefault(study, []).append(
                    _said(value)
                )
    rows = {
        key: _of_studies(
            {study: _listed(list(dict.fromkeys(given))) for study, given in by_study.items()}
        )
        for key, by_study in values.items()
    }
    frame = pd.DataFrame({"value": list(rows.values())})
    return frame.set_axis(
        pd.MultiIndex.from_tuples(rows, names=["stage", "parameter"]) if rows else frame.index
    )


def _of_studies(values: dict[str, str]) -> str:
    """One value if all are alike, else each after the name of its study."""
    alike = set(values.values())
    if len(alike) == 1:
        return alike.pop()
    in_order = sorted(values, key=lambda study: _place(study, list(ASKS)))
    return "; ".join(f"{claims.STUDIES.get(study, study)}: {values[study]}" for study in in_order)


def _said(value) -> str:
    """A parameter's value for readers."""
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return "; ".join(" ".join(map(str, entry.values())) for entry in value)
    path = StagePath.parse(value) if isinstance(value, str) else None
    return path.scenario if path else str(value).replace(f"{places.ROOT}/", "")


def _listed(values: list[str]) -> str:
    return " · ".join(values) if len(values) <= MANY else f"{len(values)} different ones"


STAGES_NOTE = (
    "Seconds are summed over stages, which run side by side where there are cores for it. Tokens "
    "are those that are no padding; "
    "tokens a second are those of the time spent training, fine-tuning with its evaluation left "
    "out. Waiting: the share of that "
    "time in which a step waited for its batches."
)


def stages_table(found: Gathered) -> pd.DataFrame:
    """Where the computing time went: by study and kind of stage, with tokens a second, padding, and
    waiting for input."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for study, stage in sorted(
        found.alone(),
        key=lambda pair: (_place(pair[0], list(ASKS)), _place(pair[1]["stage"], list(KINDS))),
    ):
        groups.setdefault((study, stage["stage"].replace("_", " ")), []).append(stage)
    whole, rows = sum(found.cost().values()), {}
    for key, stages in groups.items():
        took = sum(stage["stage_seconds"] for stage in stages)
        spent = [stage["summary"] for stage in stages if "summary" in stage]
        tokens, seconds = (
            sum(one[name] for one in spent) for name in ("tokens_seen", "train_seconds")
        )
        made = sum(stage["statistics"]["tokens"] for stage in stages if "statistics" in stage)
        positions = sum(one["tokens_seen"] / (1 - one["padding_share"]) for one in spent)
        waited = sum(one["waiting_share"] * one["train_seconds"] for one in spent)
        rows[key] = {
            "stages": str(len(stages)),
            "time": clock(took),
            "share": f"{100 * took / whole:.0f} %",
            "tokens/s": f"{tokens / seconds:,.0f}"
            if seconds
            else f"{made / took:,.0f}"
            if made and took
            else "–",
            "padding": f"{100 * (1 - tokens / positions):.0f} %" if positions else "–",
            "waiting": f"{100 * waited / seconds:.1f} %" if seconds else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["study", "stage"])


def _place(name: str, order: Sequence[str]) -> int:
    return list(order).index(name) if name in order else len(order)


def machine_table(found: Gathered) -> pd.DataFrame:
    """The machine and the versions."""
    rows = {**{name: str(value) for name, value in machine().items() if value}, **versions()}
    return pd.DataFrame({"value": list(rows.values())}, index=pd.Index(list(rows), name="item"))
