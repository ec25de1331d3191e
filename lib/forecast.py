"""What a plan would run: `make plan`. Printed from the parameters alone; nothing is loaded and no network touched."""

from lib.corpus import name
from lib.parameters import validate
from lib.study import Step


def table(steps: list[Step]) -> str:
    """One line a stage: where it publishes, its notebook, and what it does."""
    rows = [("stage", "notebook", "does")]
    for step in steps:
        rows.append((step.folder.split("/", 2)[2], step.notebook.split("/")[1], does(step)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = ["  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2]]) for row in rows]
    return "\n".join([*lines, f"{len(steps)} stages, and the analysis"])


def does(step: Step) -> str:
    """A stage in a few words: its text, its optimizer steps, its tasks."""
    p = step.parameters
    if step.kind == "data_prep" and p["sample_of"]:
        return f"{100 * p['share']:g} % of {p['sample_of'].split('/')[-2].removeprefix('corpus_')}, {p['composition']}"
    if step.kind == "data_prep":
        sources = " + ".join(map(name, validate(step.kind, p).sources))
        languages = list(dict.fromkeys(source.language for source in validate(step.kind, p).sources if source.language))
        if len(languages) > 3:
            sources = f"{len(languages)} languages, {languages[0]} to {languages[-1]}"
        size = "" if p["subset_unit"] == "none" else f", {p['subset_size']:,} {p['subset_unit']}"
        return f"{sources}{size}; tokenizer {p['tokenizer']}"
    if step.kind == "teacher_continuation":
        start = p["teacher"] or f"nothing, {p['layers']} layers of {p['hidden']}"
        return f"MLM from {start}; {_length(p)}"
    if step.kind == "distillation":
        weights = {name: p[f"weight_{name}"] for name in ("soft", "mlm", "cosine")}
        losses = " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        trained = f"{losses}; {_length(p)}" if losses else "not trained"
        if p["trained_in"]:
            trained = f"{losses}, trained in {p['trained_in'].split('/')[-4]}"
        beside = f", and {len(p['beside'])} more beside it" if p["beside"] else ""
        return f"{p['init']}, layers {p['student_layers']}; {trained}{beside}"
    if step.kind == "cascade_ta":
        weights = {name: p[f"weight_{name}"] for name in ("hidden", "attention", "soft")}
        losses = " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        read = f", section {p['section']}" if p["section"] else ""
        trained = f"{losses}, {p['mapping']} layers; {_length(p)}{read}" if losses else "not trained"
        return f"the lowest {p['layers']} layers; {trained}"
    tasks = ", ".join(p["tasks"]) + (f" in {', '.join(p['languages'])}" if p["languages"] else "")
    return f"{tasks}; {len(p['seeds'])} seeds × {p['epochs']} epochs"


def _length(p: dict) -> str:
    much = f"{p['steps']:,} steps" if p["steps"] else f"{p['epochs']:g} epochs"
    if p.get("grow_steps"):
        much = f"{p['grow_steps']:,} + {much}"
    return f"{much} of {p['batch_size']} sequences, {p['precision']} mixed precision"
