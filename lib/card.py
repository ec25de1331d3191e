"""The model card of every model that a stage publishes: README.md in its folder, made of what the stages recorded.

A stage writes it without results; the report, which knows them, writes it once more. Both replace it by renaming, and touch
nothing else. Text from data, paths and licences is shown as text, in YAML and in Markdown.
"""

import json
import re
from pathlib import Path

import pandas as pd
import yaml

from lib import ROOT, card_results, card_terms, card_text
from lib.card_facts import Facts, facts
from lib.lineage import HUB_ID, on_the_hub
from lib.markdown import block, plain
from lib.results import TRAINED, Gathered
from lib.statistics import interval
from lib.tasks import TASKS
from lib.wording import number_of

USE = """\
from transformers import pipeline

guess = pipeline("fill-mask", "path/of/this/folder")
guess(f"… {guess.tokenizer.mask_token} …")"""
KINDS = {"classification": "text-classification", "regression": "text-classification", "span": "question-answering"}
"""Kinds of lib.tasks.Task as the hub calls them."""
ARTIFICIAL = "art"
"""The code of ISO 639-2 for artificial languages."""


def card(f: Facts) -> str:
    """The whole card: YAML front matter of the hub's model cards, then a section for everything a reader asks."""
    what = {
        "distillation": "a student",
        "cascade_ta": "a teacher assistant, one hop of a cascade",
        "teacher_continuation": f"a teacher, {'continued' if f.p['teacher'] else 'trained from nothing'}",
    }[f.found["stage"]]
    sections = {
        "Use": block(USE, "python"),
        "How it was made": card_text.made(f),
        "Text": card_text.text(f),
        "Results": card_results.results(f),
        "Size and speed": card_results.sizes(f),
        "Limits": card_terms.limits(f),
        "Licences": card_terms.licences(f),
        "How to cite": card_terms.cite(f),
        "How to make it again": card_terms.again(f),
    }
    opening = (
        f"# {plain(name(f))}\n\nA masked language model of BERT's kind: {what}. Made by *Distilling BERT: a reproducible "
        "report*; this card is generated from what the run recorded."
    )
    front = yaml.safe_dump(front_matter(f), allow_unicode=True, sort_keys=False, width=120)
    parts = [f"---\n{front}---", opening, *(f"## {title}\n\n{body}" for title, body in sections.items())]
    return "\n\n".join(parts) + "\n"


def name(f: Facts) -> str:
    """What the model is called: study, scenario and scale, or its folder where it is of none."""
    return f"{f.study}-{f.scenario}-{f.scale}" if f.study else Path(f.p["output_dir"]).name


def front_matter(f: Facts) -> dict:
    """The metadata that the hub reads. A key without a value that is known is left out; an unstated licence is `unknown`."""
    from huggingface_hub import ModelCardData

    codes = [ARTIFICIAL] if f.toy else [one for one in f.languages if re.fullmatch("[a-z]{2,3}", one)]
    base = [teacher for teacher in f.teachers if on_the_hub(teacher)]
    datasets = [source["dataset"] for source in f.sources if source["kind"] == "hub"]
    results = _hub_results(f)
    data = ModelCardData(
        language=codes or None, **_licence(f.licences.get("model", "")), library_name="transformers", pipeline_tag="fill-mask",
        tags=_tags(f), base_model=base or None, datasets=list(filter(HUB_ID.fullmatch, dict.fromkeys(datasets))) or None,
        eval_results=results or None, model_name=name(f) if results else None,
    )  # fmt: skip
    return data.to_dict()


def _licence(stated: str) -> dict[str, str]:
    """A licence as the hub takes it: an identifier of its kind, or a name beside `other`."""
    if not stated:
        return {"license": "unknown"}
    return {"license": stated} if re.fullmatch("[a-z0-9.-]+", stated) else {"license": "other", "license_name": stated}


def _tags(f: Facts) -> list[str]:
    how = {"distillation": ["knowledge-distillation"], "cascade_ta": ["knowledge-distillation", "teacher-assistant"]}
    toy = ["toy-language"] if f.toy else []
    return ["bert", *how.get(f.found["stage"], []), *toy, *filter(None, (f.study, f.scenario))]


def _hub_results(f: Facts) -> list:
    """The results for the hub's model-index: percent, with the interval and the number of seeds beside each."""
    from huggingface_hub import EvalResult

    found = []
    for (task, language, metric), values in card_results.by_task(f.scores) if f.scored else []:
        known, source = TASKS[task], f.finetuned["task_source"]
        i = interval(values)
        ends = {"interval_95": [round(i.low, 2), round(i.high, 2)]} if len(values) > 1 else {}
        found.append(EvalResult(
            task_type=KINDS[known.kind], dataset_name=f"{task}, {language}",
            dataset_type=known.hub if source == "hub" else f"{source}/{task}", dataset_split=known.validations[0][0],
            dataset_config=(language if known.languages else known.config) or None if source == "hub" else None,
            metric_type=metric, metric_name=f"{metric}, percent", metric_value=round(i.mean, 2),
            metric_args={"seeds": len(values), **ends},
        ))  # fmt: skip
    return found


# --------------------------------------------------------------------------------------------- from results to files


def write(folder: Path, found: dict, **results) -> Path:
    """Write the card of the model in `folder`; `results` as for card_facts.facts. Appears whole or not at all."""
    text, path = card(facts(folder, found, **results)), folder / "README.md"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        aside = path.with_name("README.md.writing")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    return path


def write_all(gathered: Gathered, final: pd.DataFrame, efficiency: pd.DataFrame, analysis: str) -> str:
    """Write the cards of all models of a scale once more, with their results; returns a sentence that says so.

    `final`: rows of results.csv after the last epoch; `efficiency`: rows with latencies. Only the scale's own analysis, which
    publishes to the folder `analysis`, does: a notebook run by hand leaves them as they are. A model that is being made anew
    meanwhile is left to its stage.
    """
    if ROOT / analysis != gathered.folder / "analysis":
        return "The model cards are left as they are: this is a notebook run by hand."
    tuned = {one["parameters"]["model"]: key for key, one in gathered.stages.items() if key[2] == "finetune"}
    written = 0
    for _, found in gathered.alone():
        folder = ROOT / found["parameters"]["output_dir"] / "model"
        if found["stage"] in TRAINED and (folder / "config.json").is_file() and _still(folder.parent, found):
            write(folder, found, **_results(gathered, found, tuned, final, efficiency))
            written += 1
    return f"{number_of(written, 'model card')} written with these results: `README.md` in the folder of each model."


def _still(folder: Path, found: dict) -> bool:
    """Whether a stage's result is the one that was gathered. Compared as text: what is not a number is not equal to itself."""
    path = folder / "result.json"
    return path.is_file() and json.dumps(json.loads(path.read_text(encoding="utf-8"))) == json.dumps(found)


def _results(gathered: Gathered, found: dict, tuned: dict, final: pd.DataFrame, efficiency: pd.DataFrame) -> dict:
    """Of one model: the parameters of its fine-tuning, its scores and its teacher's, and what both cost."""
    own, teacher = f"{found['parameters']['output_dir']}/model", found["parameters"]["teacher"]

    def scores(model: str) -> pd.DataFrame | None:
        if model not in tuned:
            return None
        study, scenario, _ = tuned[model]
        return final[(final["study"] == study) & (final["scenario"] == scenario)]

    def cost(model: str) -> dict:
        study, scenario, _ = tuned.get(model, ("", "", ""))
        rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
        return rows.iloc[0].to_dict() if len(rows) else {}

    finetuned = gathered.stages[tuned[own]]["parameters"] if own in tuned else {}
    return {"finetuned": finetuned, "scores": scores(own), "teachers_scores": scores(teacher),
            "cost": cost(own), "teachers_cost": cost(teacher)}  # fmt: skip
