"""The parts of the report that belong to no single study: its opening, what the trainings of a
study took, and where the computing time went.

Functions named `…_table` return what `lib.report.page.show.table` does, ready to be displayed.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd

from lib.common import places
from lib.common.machine import machine, versions
from lib.common.progress import clock
from lib.plan.schema import ScenariosFile, read_scenarios
from lib.plan.stages import KINDS, StagePath
from lib.plan.study import CAPTIONS
from lib.report import claims_view, figures, papers, stages
from lib.report.declaration import Declaration
from lib.report.latency import NOTE as LATENCY_NOTE
from lib.report.latency import in_words
from lib.report.outcomes import TASK
from lib.report.page import show
from lib.report.results import Results
from lib.report.wording import plain, quoted

OPENING = (
    "How small may the student be, on how much text must it learn, with which losses, and what "
    "does it lose? Four documents each studied one side of this for BERT; this report runs their "
    "experiments again with one code base, and puts each of their claims to the test."
)
CONFIDENCE = (
    "**How sure it is.** What is measured here stands with a 95 % interval. Where a student was "
    "trained several times (*repeats*), it covers another distillation with other initial weights, "
    "masks and order of the text, fine-tuned anew, and other test examples; where it was trained "
    "once, only another fine-tuning and other test examples. Three runs say little of how much "
    "runs vary, so the differences of a study share what they say of it (empirical Bayes, Smyth "
    "2004). An interval does not cover another teacher, nor other text. Sizes are counted."
)
CORRECTED = (
    "The verdicts on claims are corrected for the number of claims; other intervals are not, so a "
    "claim may stay unresolved where a difference in the text leaves out zero."
)
PRINTED = (
    f"What the sources print is {quoted('set like this')} in sentences, in grey columns headed "
    "*paper* in tables, and as hollow grey diamonds in figures."
)
TOY = (
    "**What toy languages can show.** Text and tasks are those of toy languages made for this "
    "report: a task with a name from KLEJ or GLUE, SQuAD or XNLI, is the analogue there, with the "
    "same columns and labels. Its scores are not comparable with the papers' in size; what can be "
    "compared is which scenario does better than which. **What the toys build in.** The teachers "
    "lose much when layers are cut, so that training a student has something to win back. Most "
    "tests use words that are in no labelled example, so that only pretraining can teach them; "
    "where they do not, labels are few. Transfer sets of every size are read for equally many "
    "steps."
)
MANY = 8
"""More different values of a parameter than this are counted, not listed."""
NEW_TEACHER = ("layers", "hidden", "heads", "intermediate", "dropout", "initializer_range")
NEW_TEACHER += ("attention_init",)
"""Parameters of a teacher trained from nothing; without effect when one is given."""


def descriptions(studies: Sequence[str]) -> dict[str, ScenariosFile]:
    """How each study describes itself, in the order of the sources; a user's own studies last."""
    described = {study: read_scenarios(study) for study in studies}
    return dict(sorted(described.items(), key=lambda pair: pair[1].source or "~"))


# --------------------------------------------------------------------------------- the opening


def questions(studies: Sequence[str], answers: Mapping[str, str]) -> str:
    """What each study asks, and what it answers (study -> sentences): a Markdown list whose entries
    link to the sections; before it, what this report is, if any study is of a paper."""
    lines = [f"{OPENING}\n"] if sources_table(studies) else []
    for study, about in descriptions(studies).items():
        title = about.title or study
        source = papers.sources().get(about.source)
        line = f"- [{plain(title)}](#{title.replace(' ', '-')}) (study `{study}`)"
        line += f": {plain(about.question)}" if about.question else ""
        if source:
            line += f" After source {about.source}: {source['title']}; {source['authors']}."
        if answers.get(study):
            line += f"  \n  {answers[study]}"
        lines.append(line)
    return "\n".join(lines)


def facts(results: Results, scores: pd.DataFrame) -> dict[str, str]:
    """What was run, on what, when and at what cost: name -> text. `scores` as results.csv."""
    computer, library, scale = machine(), versions(), results.folder.name
    stages = [stage for _, stage in results.distinct()]
    seconds = sum(stage["stage_seconds"] for stage in stages)
    time = f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
    tokens = sum(stage.get("summary", {}).get("tokens_seen", 0) for stage in stages)
    peak = max((stage.get("peak_memory_mib", 0) for stage in stages), default=0)
    runs = {  # a set: a fine-tuning that two studies share counts once
        (stage["parameters"]["output_dir"], score["task"], score["seed"])
        for stage in stages
        if stage["stage"] == "finetune"
        for score in stage["scores"]
    }
    models = len(set(results.models().values()))
    trained = len(
        {stage["parameters"]["model"] for stage in stages if stage["stage"] == "finetune"}
    )
    with_repeats = f", with their repeats {trained}" if trained > models else ""
    tasks = len(set(scores["task"]) - {TASK})
    return {
        "Scale": f"{scale}: {CAPTIONS.get(scale, 'a scale of your own')}",
        "Models": f"{models}{with_repeats}, fine-tuned {len(runs):,} times on "
        f"{tasks} task{'s' * (tasks != 1)}",
        "Hardware": f"{computer['cores']} cores of {computer['cpu']}; "
        f"{computer['gpu'] or 'no GPU'}",
        "Versions": f"Python {library['python']}, PyTorch {library['torch']}, transformers "
        f"{library['transformers']}",
        "Date": date.today().isoformat(),
        "Cost": f"{len(stages)} stages, {time} of computing time in all; {tokens:,} tokens trained "
        f"on; at most {peak / 1024:.1f} GiB of memory",
    }


def opening(results: Results, verdicts: pd.DataFrame) -> str:
    """How the claims came out, how sure that is, and what toy languages can show, as Markdown; of
    claims and sources only where there are some. verdicts: rows of claims.csv."""
    claims, confidence, toy = "", CONFIDENCE, ""
    if len(verdicts):
        claims = f"**How the claims came out.** {claims_view.summary(verdicts)}\n\n"
        confidence += f" {CORRECTED}"
    if sources_table(results.studies):
        confidence += f" {PRINTED}"
    if results.is_toy:
        toy = f"\n\n{TOY}"
    return claims + confidence + toy


def sources_table(studies: Sequence[str]) -> list:
    """The documents behind the studies, and the study that reruns each, as one table; no table if
    there are none."""
    rows = {}
    for study, about in descriptions(studies).items():
        if source := papers.sources().get(about.source):
            row = {"title": source["title"], "authors": source["authors"], "study": study}
            rows[about.source] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")
    return [show.table(frame, "The source documents, cited by number.")] if rows else []


# ------------------------------------------------------------------------ the trainings of a study


def training_details(results: Results, efficiency: pd.DataFrame, study: Declaration) -> list:
    """For the appendix: tables and figures of a study's corpora, of what its trainings took, and of
    their curves; a study of other studies' students has neither corpora nor curves."""
    curves, corpora = results.curves(study.name), results.corpora(study.name)
    return [
        *([corpora_table(corpora)] if len(corpora) else []),
        cost_table(efficiency, study.name),
        *([curves_figure(curves, study)] if len(curves) else []),
        *components_table(results, study.name),
    ]


def curves_figure(curves: pd.DataFrame, study: Declaration):
    return show.figure(
        figures.figure_curves(curves, study.colours, study.labels, study.teachers),
        "Every training: each loss against the step.",
        figures.describe_curves(curves),
    )


def corpora_table(table: pd.DataFrame):
    """The prepared corpora of a study, with the reasons for which any line was dropped."""
    unused = table.index.str.startswith("dropped:") & table.isin(["0", "–"]).all(axis=1)
    return show.table(table[~unused].rename_axis("statistic"), "The prepared corpora.")


def components_table(results: Results, study: str) -> list:
    """The losses of every student's training; no table if none has any."""
    table = results.components(study)
    if table.empty:
        return []
    return [show.table(table, stages.COMPONENTS_CAPTION, note=stages.COMPONENTS_NOTE)]


def cost_table(efficiency: pd.DataFrame, study: str):
    """What the models of a study cost: a row per model, from rows of efficiency.csv."""
    rows = {}
    for model in efficiency[efficiency["study"] == study].itertuples():
        trained = model.tokens_seen > 0
        rows[model.scenario] = {
            "latency, ms": in_words(model.latency_s, model.latency_low, model.latency_high),
            "tokens seen": f"{model.tokens_seen:,}" if trained else "–",
            "a parameter": f"{model.tokens_per_parameter:.2f}" if trained else "–",
            "training": clock(model.train_seconds) if trained else "–",
            "tokens/s": f"{model.tokens_per_second:,.0f}" if trained else "–",
            "peak MiB": f"{model.peak_memory_mib:,.0f}" if pd.notna(model.peak_memory_mib) else "–",
        }
    return show.table(
        pd.DataFrame.from_dict(rows, orient="index").rename_axis("model"),
        "What each training took, and how fast the model is.",
        note=f"Tokens seen counts non-padding tokens over all epochs. {LATENCY_NOTE} Peak memory "
        "is the whole process's, libraries included.",
    )


# ------------------------------------------------------------------------------- the whole run


def stages_table(results: Results):
    """Where the computing time went: by study and kind of stage, with tokens a second, padding, and
    waiting for input."""
    frame = stage_costs(results)
    return show.table(
        frame,
        "Where the computing time went.",
        note="Seconds are summed over stages, which run side by side where there are cores for it. "
        "Tokens are those that are no padding; tokens a second are those of the time spent "
        "training, fine-tuning with its evaluation left out. Waiting: the share of that time in "
        "which a step waited for its batches.",
    )


def stage_costs(results: Results) -> pd.DataFrame:
    """The frame of `stages_table`: index study and stage; strings."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for study, stage in results.distinct():
        groups.setdefault((study, stage["stage"]), []).append(stage)
    studies = list(descriptions(dict.fromkeys(study for study, _ in groups)))
    order = sorted(groups, key=lambda key: (studies.index(key[0]), list(KINDS).index(key[1])))
    all_seconds = sum(stage["stage_seconds"] for stages in groups.values() for stage in stages)
    rows = {}
    for study, kind in order:
        stages = groups[study, kind]
        seconds = sum(stage["stage_seconds"] for stage in stages)
        trained = [stage["summary"] for stage in stages if "summary" in stage]
        tokens = sum(summary["tokens_seen"] for summary in trained)
        training = sum(summary["train_seconds"] for summary in trained)
        positions = sum(one["tokens_seen"] / (1 - one["padding_share"]) for one in trained)
        waiting = sum(one["waiting_share"] * one["train_seconds"] for one in trained)
        prepared = sum(stage["statistics"]["tokens"] for stage in stages if "statistics" in stage)
        speed = tokens / training if training else prepared / seconds if seconds else 0
        rows[study, kind.replace("_", " ")] = {
            "stages": str(len(stages)),
            "time": clock(seconds),
            "share": f"{100 * seconds / all_seconds:.0f} %",
            "tokens/s": f"{speed:,.0f}" if speed else "–",
            "padding": f"{100 * (1 - tokens / positions):.0f} %" if positions else "–",
            "waiting": f"{100 * waiting / training:.1f} %" if training else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["study", "stage"])


def machine_table():
    """This machine, and the versions of Python and of the libraries."""
    rows = {name: str(value) for name, value in machine().items() if value} | versions()
    frame = pd.DataFrame({"value": list(rows.values())}, index=pd.Index(list(rows), name="item"))
    return show.table(frame, "Machine and versions.")


def parameters_table(results: Results):
    """Every parameter of every kind of stage."""
    return show.table(
        parameters(results),
        "Every parameter of every kind of stage; where studies or scenarios differ, all values.",
    )


def parameters(results: Results) -> pd.DataFrame:
    """The frame of `parameters_table`: index stage and parameter, column value.

    One value where all studies have the same, else each study's; values that differ between
    scenarios follow each other. A folder of outputs is named by its scenario.
    """
    values: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    about = descriptions(dict.fromkeys(study for study, _, _ in results.stages))
    studies = list(about)
    stages = sorted(
        results.stages.items(),
        key=lambda item: (list(KINDS).index(item[0][2]), studies.index(item[0][0])),
    )
    for (study, _, kind), stage in stages:
        for name, value in stage["parameters"].items():
            continued = kind == "teacher_continuation" and stage["parameters"].get("teacher")
            if name != "output_dir" and not (continued and name in NEW_TEACHER):
                by_study = values.setdefault((kind.replace("_", " "), name), {})
                by_study.setdefault(study, {})[_readable(value)] = None
    rows = {}
    for key, by_study in values.items():
        texts = {
            about[study].name: " · ".join(own)
            if len(own) <= MANY
            else f"{len(own)} different values"
            for study, own in by_study.items()
        }
        if len(set(texts.values())) == 1:
            rows[key] = next(iter(texts.values()))
        else:
            rows[key] = "; ".join(f"{study}: {text}" for study, text in texts.items())
    index = pd.MultiIndex.from_tuples(rows, names=["stage", "parameter"]) if rows else None
    return pd.DataFrame({"value": list(rows.values())}, index=index)


def _readable(value) -> str:
    """A parameter's value for readers."""
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return "; ".join(" ".join(map(str, entry.values())) for entry in value)
    path = StagePath.parse(value) if isinstance(value, str) else None
    return path.scenario if path else str(value).replace(f"{places.ROOT}/", "")
