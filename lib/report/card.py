"""The model card of every model that a stage publishes: README.md in the model's folder.

A stage writes its card without results; the report, which has them, writes it once more. The text
is in card.md.j2 beside this file; this module collects the values for it from what the stages
recorded and from the study's files.
"""

import json
import re
from pathlib import Path

import pandas as pd
import yaml

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import atomic
from lib.common.hub import ModelRef
from lib.common.progress import clock
from lib.plan.stages import KINDS, TRAINED, StagePath
from lib.plan.study import CAPTIONS, Study
from lib.report import papers
from lib.report.latency import BUSY, in_words
from lib.report.latency import NOTE as LATENCY_NOTE
from lib.report.outcomes import TASK
from lib.report.results import Results
from lib.report.scores import Measure, samples
from lib.report.statistics import Sample, interval
from lib.report.wording import code, listed, number_of, plain, with_interval
from lib.tasks.parameters import OwnTask
from lib.tasks.registry import TASKS, Task
from lib.training.architectures import sizes
from lib.training.parameters import LOSSES, loss_weights

TEMPLATE = Path(__file__).with_name("card.md.j2")
FILES = Path(__file__).with_name("files.md.j2")
"""The template of the section on what `make export` has written."""
NOISE = {
    "randomised": "the tokens of every sequence shuffled",
    "generated": "new sequences: its lengths, its token frequencies",
    "bigram": "new sequences: its lengths, its frequencies of token pairs",
}
"""Transfer sets that are not natural text; see lib.data.derived."""
TASK_SOURCES = {
    "toy": "toy analogues of the tasks",
    "files": "the user's own files",
    "hub": "the hub's data sets",
}
LAYERS = {
    "alternate": "every second layer of its teacher, from layer 0",
    "to_top": "every second layer of its teacher, in the upper half one higher",
    "lowest": "the lower half of its teacher's layers",
    "highest": "the upper half of its teacher's layers",
}
PRECISIONS = {"no": "fp32", "auto": "the fastest on that machine, measured"}
MAPPINGS = {
    "adjacent": "a layer's target is the mean of neighbouring layers of the teacher's",
    "uniform": "a layer's target is one of the teacher's, evenly spaced",
    "top": "a layer's target is the teacher's layer as far from the top",
    "skip": "a layer's target is one of the teacher's, evenly spaced, and the last has none",
}
HUB_TASKS = {
    "classification": "text-classification",
    "regression": "text-classification",
    "span": "question-answering",
    "token_classification": "token-classification",
}
"""Kinds of lib.tasks.registry.Task as the hub calls them."""
ARTIFICIAL = "art"
"""The code of ISO 639-2 for artificial languages."""


# ------------------------------------------------------------------------------ writing the cards


def write(folder: Path, result: dict, **measured) -> Path:
    """Write the card of the model in `folder`, whole or not at all; returns its path.

    result: the result.json of the stage that made the model; measured: see `details`.
    """
    text, path = card(folder, result, **measured), folder / "README.md"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with atomic(path) as file:
            file.write(text.encode())
    return path


def write_all(
    results: Results, final: pd.DataFrame, efficiency: pd.DataFrame, analysis: str
) -> str:
    """Write the cards of all models of a scale again, with their results; returns a message.

    final: rows of results.csv after the last epoch; efficiency: rows with latencies. Only the
    scale's own analysis, which publishes to the folder `analysis`, writes cards: a notebook run by
    hand does not. A model that is being trained again at the moment is left to its stage.
    """
    if places.ROOT / analysis != results.folder / "analysis":
        return "The model cards are left as they are: this is a notebook run by hand."
    tuned = [key for key in results.stages if key[2] == "finetune"]
    # Of a model that was fine-tuned both ways, the scores without a teacher's help are its own.
    tuned.sort(key=lambda key: not results.stages[key]["parameters"].get("teacher"))
    finetunings = {results.stages[key]["parameters"]["model"]: key[:2] for key in tuned}
    written = 0
    for _, result in results.distinct():
        stage = places.ROOT / result["parameters"]["output_dir"]
        is_model = result["stage"] in TRAINED and (stage / "model" / "config.json").is_file()
        if is_model and _unchanged(stage / "result.json", result):
            measured = _measured(results, result, finetunings, final, efficiency)
            write(stage / "model", result, **measured)
            written += 1
    cards = number_of(written, "model card")
    return f"{cards} written with these results: `README.md` in the folder of each model."


def _unchanged(path: Path, result: dict) -> bool:
    """Whether the file holds this result. Compared as text, because NaN is not equal to itself."""
    if not path.is_file():
        return False
    return json.dumps(json.loads(path.read_text(encoding="utf-8"))) == json.dumps(result)


def _measured(results, result, finetunings, final, efficiency) -> dict:
    """The measurements of a model and of its teacher, as `details` takes them."""

    def rows(frame: pd.DataFrame, model: str) -> pd.DataFrame:
        study, scenario = finetunings.get(model, ("", ""))
        return frame[(frame["study"] == study) & (frame["scenario"] == scenario)]

    # Other repeats are other students.
    final = final[(final["repeat"] == 1) & (final["task"] != TASK)]

    def cost(model: str) -> dict:
        found = rows(efficiency, model)
        return found.iloc[0].to_dict() if len(found) else {}

    model, teacher = f"{result['parameters']['output_dir']}/model", result["parameters"]["teacher"]
    finetuned = {}
    if model in finetunings:
        finetuned = results.stages[*finetunings[model], "finetune"]["parameters"]
    return {
        "finetuned": finetuned,
        "scores": rows(final, model),
        "teacher_scores": rows(final, teacher),
        "cost": cost(model),
        "teacher_cost": cost(teacher),
    }


def write_files(folder: Path) -> None:
    """Write the section on what `make export` has written to the model in `folder` into its card
    anew. A folder without a card, as of a fine-tuned model, gets one of this section."""
    path, section = folder / "README.md", files_section(folder)
    if not path.is_file() and not section:
        return
    text = path.read_text(encoding="utf-8") if path.is_file() else _heading(folder)
    text = re.sub(r"^## Files\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    before, heading, after = text.partition("## Limits\n")
    with atomic(path) as file:
        file.write(f"{before.rstrip()}\n\n{section}{heading}{after}".encode())


def _heading(folder: Path) -> str:
    """The head of a card that has nothing but the section on files, with the hub's metadata."""
    scale, study, scenario = scenario_of(folder)
    name = f"{study}-{scenario}-{scale}" if study else folder.parent.name
    heading = f"# {plain(name)}: {plain(folder.name)}\n\n"
    if (folder / "embeddings.json").is_file():
        tags = "library_name: sentence-transformers\npipeline_tag: sentence-similarity"
        return f"---\n{tags}\n---\n\n{heading}"
    return heading


def files_section(folder: Path) -> str:
    """What `make export` has written to the model in `folder`, with what was measured and how to
    load it; empty if that is nothing."""
    from jinja2 import Environment

    places = {
        "onnx": "onnx/model.json",
        "int8": "onnx/model_int8.json",
        "embeddings": "embeddings/embeddings.json",
        "encoder": "embeddings.json",
    }
    measured = {
        name: json.loads((folder / path).read_text(encoding="utf-8"))
        for name, path in places.items()
        if (folder / path).is_file()
    }
    if not measured:
        return ""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["ends"] = lambda ends: f"[{ends[0]:.1f}, {ends[1]:.1f}]".replace("-", "−")
    template = environment.from_string(FILES.read_text(encoding="utf-8"))
    parts = [f"the {part}" for part in measured.get("int8", {}).get("fp32_parts", [])]
    functions = {"plain": plain, "milliseconds": latency_in_words, "stays": listed(parts)}
    return template.render(**functions, **measured)


def latency_in_words(cost: dict) -> str:
    """Milliseconds with their interval, of an entry of `costs` in model_int8.json."""
    if cost["latency_s"] is None:
        return BUSY
    return in_words(cost["latency_s"], cost["latency_low_s"], cost["latency_high_s"])


def card(folder: Path, result: dict, **measured) -> str:
    """The card as text: the hub's YAML front matter, then the sections of the template."""
    from huggingface_hub import ModelCard

    values = details(folder, result, **measured)
    functions = {
        "plain": plain,
        "code": code,
        "block": block,
        "clock": clock,
        "counted": number_of,
        "describe_source": describe_source,
        "missing": lambda value: value is None or pd.isna(value),
    }
    front = front_matter(values, measured.get("scores"))
    return ModelCard.from_template(front, str(TEMPLATE), **functions, **values).content


# ------------------------------------------------------------------------ where a model comes from


def read_result(folder: str | Path) -> dict | None:
    """The result of the stage that published to `folder` (relative to the checkout), also if it is
    to run again; None if there is none."""
    path = places.ROOT / folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def text_of(corpus: str) -> dict:
    """Where the words of a prepared corpus come from.

    Returns name; sources (lib.data.sources.Source, as parameters), of the corpus that this one is
    sampled from, if it is; steps: what was done to them; statistics; languages; noise: what
    makes it noise, or "". Everything but the name is empty without a result of its stage.
    """
    path = StagePath.parse(corpus)
    name = path.corpus if path else Path(corpus).name
    text = {"name": name, "sources": [], "steps": [], "languages": [], "noise": ""}
    result = read_result(corpus)
    if result is None:
        return text | {"statistics": None}
    p, text["statistics"] = result["parameters"], result["statistics"]
    if p["sample_of"]:
        whole_text = text_of(p["sample_of"])
        share = f"a random sample of {100 * p['share']:g} % of {whole_text['name']}"
        noise = NOISE.get(p["composition"])
        text["steps"] = [*whole_text["steps"], *[share] * (p["share"] < 1), *filter(None, [noise])]
        text["sources"], text["languages"] = whole_text["sources"], whole_text["languages"]
        return text | {"noise": noise or whole_text["noise"]}
    text["sources"] = p["sources"]
    if p["sampling_exponent"] is not None or p["sampling_target"]:
        text["steps"] = ["lines drawn by language, smaller ones more often than their share"]
    default = p["language"] if p["sentences"] else ""
    languages = [source.get("language") or default for source in p["sources"]]
    return text | {"languages": list(dict.fromkeys(filter(None, languages)))}


def teachers_of(result: dict) -> list[dict]:
    """The teachers of a stage's model, nearest first; none if it was trained from nothing.

    Each has a name, and either the summary of its stage, its text and whether it was itself trained
    from nothing, or, at the end of the chain, whether it is from the hub (if not, from a folder).
    """
    teachers = []
    while model := result["parameters"]["teacher"]:
        folder = Path(model)
        result = read_result(folder.parent) if folder.name == "model" else None
        if result is None:
            model = ModelRef(model)
            return [*teachers, {"name": model.label, "on_hub": model.on_hub}]
        p = result["parameters"]
        teachers.append(
            {
                "name": scenario_of(p["output_dir"])[2] or Path(p["output_dir"]).name,
                "summary": result["summary"],
                "text": text_of(p["corpus"]),
                "from_nothing": not p["teacher"],
            }
        )
    return teachers


def scenario_of(output_dir: str | Path) -> tuple[str, str, str]:
    """Scale, study and scenario of a stage; three empty strings for one that was run by hand.

    >>> scenario_of("outputs/tiny/herbert/S3/distillation")
    ('tiny', 'herbert', 'S3')
    """
    path = StagePath.parse(output_dir)
    return (path.scale, path.study, path.scenario) if path and not path.lab else ("", "", "")


# ----------------------------------------------------------------------- the template's values


def details(
    folder: Path,
    result: dict,
    *,
    finetuned: dict | None = None,
    scores: pd.DataFrame | None = None,
    teacher_scores: pd.DataFrame | None = None,
    cost: dict | None = None,
    teacher_cost: dict | None = None,
) -> dict:
    """Everything the template names, for the model in `folder` with its stage's `result`.

    finetuned: the parameters of the fine-tuning; scores: rows of results.csv; cost: a row of
    efficiency.csv. They are missing before the model has been measured.
    """
    p, stage = result["parameters"], result["stage"]
    scale, study, scenario = scenario_of(p["output_dir"])
    title = source = ""
    licences = {}
    try:
        if study:
            files = Study(study, scale, data_dir=None)
            title, source, licences = files.design.title, files.design.source, files.licences
    except InputError:
        pass  # changed while the stage ran: a card without them is better than no model
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    teachers, text, trained = teachers_of(result), text_of(p["corpus"]), bool(result["history"])
    texts = [text] * trained + [teacher["text"] for teacher in teachers if "text" in teacher]
    sources = [source for one in texts for source in one["sources"]]
    known = bool(texts) and all(one["sources"] for one in texts)
    role, from_what = "its teacher", ""
    if stage == "teacher_continuation":
        role = "the model it continues"
        from_what = ", continued" if p["teacher"] else ", trained from nothing"
    rows = score_rows(scores, teacher_scores)
    costs = {"this model": cost or result["summary"]}
    if teacher_cost:
        costs[f"{role}, {code(teachers[0]['name'])}"] = teacher_cost
    return {
        "name": f"{study}-{scenario}-{scale}" if study else Path(p["output_dir"]).name,
        "kind": KINDS[stage].makes + from_what,
        **{"p": p, "stage": stage, "scale": scale, "study": study, "scenario": scenario},
        "title": title,
        "scale_data": CAPTIONS.get(scale, "a scale of the user's own"),
        "notebook": KINDS[stage].notebook,
        "summary": result["summary"],
        "machine": result["machine"],
        "versions": ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
        **{"config": config, "sizes": sizes(config)},
        **{"teachers": teachers, "role": role, "text": text},
        "trained": trained,
        "start": describe_start(result, config),
        "cut_to": describe_cut(result["parameters"].get("vocabulary")),
        "losses": describe_losses(result),
        "precision": PRECISIONS.get(p["precision"], p["precision"]),
        "languages": list(dict.fromkeys(name for one in texts for name in one["languages"])),
        "toy": known and all(one["kind"] == "toy" for one in sources),
        "from_nothing": not teachers or "summary" in teachers[-1],
        "needs_data_dir": any("path" in one for one in sources),
        "needs_hub": any(teacher.get("on_hub") for teacher in teachers)
        or any(one["kind"] == "hub" for one in sources),
        "hub_datasets": [one["dataset"] for one in sources if one["kind"] == "hub"],
        **{"licences": licences, "source": source, "document": papers.sources().get(source)},
        "parameters": yaml.safe_dump(
            {key: _without_folder(value) for key, value in p.items() if key != "output_dir"},
            allow_unicode=True,
            sort_keys=False,
        ),
        "scores": rows,
        "compared": any("teacher" in row for row in rows),
        "seeds": scores["seed"].nunique() if rows else 0,
        "finetuned": finetuned or {},
        "epochs": _epochs(finetuned, rows),
        "task_source": _task_sources(finetuned, rows),
        "knowledge": _knowledge(result, trained),
        "costs": costs,
        "latency_note": LATENCY_NOTE,
        "files": files_section(folder),
    }


def _task_sources(finetuned: dict | None, rows: list[dict]) -> str:
    """Where the records of the tasks that were measured come from, in words."""
    kinds = [_task(row["task"], finetuned)[1] for row in rows]
    return listed([TASK_SOURCES[kind] for kind in dict.fromkeys(kinds)])


def _task(name: str, finetuned: dict) -> tuple[Task, str]:
    """A task, and the kind of source that its records come from."""
    own = finetuned.get("own_tasks", {}).get(name)
    if own is None:
        return TASKS[name], finetuned["task_source"]
    return OwnTask(**own).task(), "files" if own["files"] else "hub"


def score_rows(scores: pd.DataFrame | None, teacher_scores: pd.DataFrame | None) -> list[dict]:
    """The table of results: task, language, metric, the model's own score, and, if the teacher was
    measured on anything, its score and their difference."""
    if scores is None or scores.empty:
        return []
    teacher = {} if teacher_scores is None else _by_score(teacher_scores)
    rows = []
    for key, own in _by_score(scores).items():
        row = dict(zip(("task", "language", "metric"), key)) | {"own": _with_ends(own)}
        if key in teacher:
            row["teacher"] = _with_ends(teacher[key])
            row["difference"] = with_interval(interval(own - teacher[key]))
        elif teacher:
            row |= {"teacher": "–", "difference": "–"}
        rows.append(row)
    return rows


def _by_score(scores: pd.DataFrame) -> dict[Measure, Sample]:
    """The sample of every task, language and metric, in the order of the rows of one model."""
    if scores.empty:
        return {}
    study, scenario = scores[["study", "scenario"]].iloc[0]
    return samples(study, scores, scenario, lambda measured: {m: {m: 1.0} for m in measured})


def _with_ends(values: Sample) -> str:
    mean, low, high = interval(values)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]" if len(values) > 1 else f"{mean:.1f}"


def _epochs(finetuned: dict | None, rows: list[dict]) -> list[int]:
    """How many epochs the tasks were fine-tuned for."""
    if not rows:
        return []
    own = [finetuned["per_task"].get(row["task"], {}) for row in rows]
    return sorted({values.get("epochs", finetuned["epochs"]) for values in own})


def _knowledge(result: dict, trained: bool) -> dict[str, dict]:
    """What the model and its neighbours know of held-out text: label -> measurement."""
    labels = {"before training": "before", "this model": "after", "its teacher": "teacher"}
    return {
        label: result[key]
        for label, key in labels.items()
        if result.get(key) and (trained or key != "before")
    }


def _without_folder(value):
    """A parameter; of a path outside the project only its last part, to keep the rest private."""
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def describe_start(result: dict, config: dict) -> str:
    """The weights that training started from."""
    p = result["parameters"]
    if result["stage"] == "cascade_ta":
        frozen = p["freeze_embeddings"] and result["history"]
        others = ", embeddings and head" if result["after"] else " and embeddings"
        start = f"its teacher's lowest {p['layers']} layers{others}"
        return start + "; the embeddings stay as they are" * bool(frozen)
    if result["stage"] == "teacher_continuation":
        if p["teacher"]:
            return "all of the model it continues"
        grown = f"; {p['grow_from_layers']} layers trained first, then copied ({p['grow_by']})"
        return "random weights" + grown * bool(p["grow_from_layers"])
    if p["init"] == "random":
        layers = number_of(sizes(config)["layers"], "layer")
        shape = f"{p['hidden_size']} dimensions" if p.get("hidden_size") else "its teacher's shape"
        return f"random weights; {layers} of {shape}"
    layers = p["student_layers"]
    if not isinstance(layers, str):
        layers = f"its teacher's layers {', '.join(map(str, layers))} (counted from 0)"
    start = f"{LAYERS.get(layers, layers)}; the teacher's embeddings"
    start += " and head" * bool(result["after"])
    return start + f"; of all that the leading {p['hidden_size']} dimensions" * bool(
        p.get("hidden_size")
    )


def describe_cut(vocabulary: str | int | None) -> str:
    """What the vocabulary was cut to after training; empty if it was not."""
    if not vocabulary:
        return ""
    which = "" if vocabulary == "corpus" else f"{vocabulary:,} most frequent "
    return f" (after training, cut to the {which}tokens of its text, and what spells them)"


def describe_losses(result: dict) -> str:
    """The weighted sum that training minimised."""
    p = result["parameters"]
    if result["stage"] == "teacher_continuation":
        return LOSSES["mlm"].meaning
    meanings = {name: loss.meaning for name, loss in LOSSES.items()}
    if p.get("weight_soft"):
        where = "the masked positions" if p.get("positions") == "masked" else "all positions"
        meanings["soft"] += f" (× T², T = {p['temperature']:g}, at {where})"
    if p.get("cosine_of") == "logits":
        meanings["cosine"] = "cosine distance of the logits"
    weights = loss_weights(p)
    terms = [f"{weight:g} × {meanings[name]}" for name, weight in weights.items() if weight]
    more = ""
    if weights.get("relations"):
        layer = p["teacher_layer"]
        which = f"layer {layer} (from 1)" if layer else "last layer"
        heads = f"{p['relation_heads']} heads" if p["relation_heads"] else "16 dimensions a head"
        more += f"; relations of the teacher's {which} and the student's last, {heads}"
    if weights.get("hidden") or weights.get("attention"):
        more += f"; layers matched by {code(p['mapping'])}: {MAPPINGS[p['mapping']]}"
    if not p.get("mlm_head", True):
        more = "; logits are hidden states times embeddings, and the MLM head is not trained"
    return " + ".join(terms) + more


def describe_source(source: dict) -> str:
    """A source of text as Markdown; of a path only the last part."""
    language = f", language {code(source['language'])}" if source.get("language") else ""
    if source["kind"] == "toy":
        lines = f"{source['lines']:,} lines of {code(source['corpus'])}"
        toy_language = code(source["language"])
        return f"{lines} in the toy language {toy_language}, generated by this project"
    if source["kind"] == "hub":
        keys = [key for key in ("config", "split", "revision") if source.get(key)]
        which = ", ".join(f"{key} {code(source[key])}" for key in keys)
        return f"{code(source['dataset'])} from the hub, {which}{language}"
    part = source.get("share_to", 1) - source.get("share_from", 0)
    share = f", {100 * part:.0f} % of it" if part < 1 else ""
    name = source["path"].rstrip("/").rpartition("/")[2]
    return f"{code(name)}, the user's own{share}{language}"


def block(text: str, language: str = "") -> str:
    """Lines as a block of code, fenced by more backticks than the text has in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


# ------------------------------------------------------------------------------- the hub's metadata


def front_matter(values: dict, scores: pd.DataFrame | None):
    """The metadata that the hub reads. Unknown keys are left out; an unstated licence is
    `unknown`."""
    from huggingface_hub import ModelCardData

    languages = [name for name in values["languages"] if re.fullmatch("[a-z]{2,3}", name)]
    licence = values["licences"].get("model", "unknown")
    if re.fullmatch("[a-z0-9.-]+", licence):
        licence = {"license": licence}
    else:  # the hub takes an identifier of its own, or `other` and a name
        licence = {"license": "other", "license_name": licence}
    tags = {
        "distillation": ["knowledge-distillation"],
        "cascade_ta": ["knowledge-distillation", "teacher-assistant"],
    }.get(values["stage"], [])
    tags = [values["config"].get("model_type"), *tags, *["toy-language"] * values["toy"]]
    tags += [values["study"], values["scenario"]]
    results = hub_results(values, scores)
    datasets = [name for name in dict.fromkeys(values["hub_datasets"]) if ModelRef(name).on_hub]
    return ModelCardData(
        language=([ARTIFICIAL] if values["toy"] else languages) or None,
        **licence,
        library_name="transformers",
        pipeline_tag="fill-mask" if values["knowledge"] else "feature-extraction",
        tags=list(filter(None, tags)),
        base_model=[one["name"] for one in values["teachers"] if one.get("on_hub")] or None,
        datasets=datasets or None,
        eval_results=results or None,
        model_name=values["name"] if results else None,
    )


def hub_results(values: dict, scores: pd.DataFrame | None) -> list:
    """The results for the hub's model-index: percent, with interval and number of seeds."""
    from huggingface_hub import EvalResult

    results = []
    by_score = _by_score(scores) if values["scores"] else {}
    for (name, language, metric), seeds in by_score.items():
        task, source = _task(name, values["finetuned"])
        mean, low, high = interval(seeds)
        ends = {"interval_95": [round(low, 2), round(high, 2)]} if len(seeds) > 1 else {}
        config = (language if task.languages else task.config) or None
        results.append(
            EvalResult(
                task_type=HUB_TASKS[task.kind],
                dataset_name=f"{name}, {language}",
                dataset_type=task.hub if source == "hub" else f"{source}/{name}",
                dataset_split=task.validations[0][0],
                dataset_config=config if source == "hub" else None,
                metric_type=metric,
                metric_name=f"{metric}, percent",
                metric_value=round(mean, 2),
                metric_args={"seeds": len(seeds), **ends},
            )
        )
    return results
