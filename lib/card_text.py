"""The sections of a model card that say how the model was made, and on what text."""

from lib.card_facts import Facts
from lib.lineage import Text, name_of, on_the_hub
from lib.markdown import bullets, code, plain, table
from lib.overview import DATA
from lib.progress import clock
from lib.wording import number_of

SHOWN = 6
"""Sources that a card lists; of more it says how many there are."""
LAYERS = {
    "alternate": "every second layer of its teacher, from layer 0",
    "to_top": "every second layer of its teacher, in the upper half one higher",
}
FORMATS = {"no": "fp32", "auto": "the fastest on that machine, measured"}
MAPPINGS = {
    "adjacent": "a layer's target is the mean of neighbouring layers of the teacher's",
    "uniform": "a layer's target is one of the teacher's, evenly spaced",
    "top": "a layer's target is the teacher's layer as far from the top",
    "skip": "a layer's target is one of the teacher's, evenly spaced, and the last has none",
}


# ------------------------------------------------------------------------------------------------------ how it was made


def made(f: Facts) -> str:
    """How the model came about: a table of what it starts from, what it minimised, on how much, at what cost."""
    p, summary = f.p, f.found["summary"]
    rows = {"made by": _made_by(f), "starts from": _start(f)}
    if f.teachers:
        rows[f.role] = " ← ".join(_teacher(teacher) for teacher in f.teachers)
    rows["minimises"] = _losses(f) if f.trained else "nothing: it is published as it starts"
    if f.trained:
        seconds = summary["train_seconds"]
        rows |= {
            "text": code(f.text.name) + (f", section {p['section']}" if p.get("section") else "") + ", see below",
            "steps": f"{summary['steps']:,} of {p['batch_size']} sequences",
            "tokens seen": f"{summary['tokens_seen']:,}, {summary['tokens_per_parameter']:.2f} for each parameter",
            "masked": _masking(p),
            "learning rate": f"{p['learning_rate']:g}, {p['schedule']} after a warmup over {100 * p['warmup']:g} % of the steps",
            "optimizer": _optimizer(p),
            "number format": FORMATS.get(p["precision"], p["precision"]),
            "time": f"{clock(seconds)} of training ({seconds / 3600:.3g} hours){_beside(p)}",
        }
    rows |= {"seed": str(p["seed"]), "machine": _machine(f.found["machine"], p["threads"])}
    rows["versions"] = plain(", ".join(f"{name} {number}" for name, number in f.found["versions"].items()))
    return table(("", ""), rows.items())


def _made_by(f: Facts) -> str:
    if not f.study:
        return f"a stage run by hand, {code(f.found['stage'])}"
    title = f" ({plain(f.about['title'])})" if f.about.get("title") else ""
    scale = DATA.get(f.scale, "a scale of the user's own")
    return f"scenario {code(f.scenario)} of the study {code(f.study)}{title}, scale {code(f.scale)}: {scale}"


def _start(f: Facts) -> str:
    p = f.p
    if f.found["stage"] == "cascade_ta":
        frozen = "; the embeddings stay as they are" if p["freeze_embeddings"] and f.trained else ""
        return f"its teacher's lowest {p['layers']} layers, embeddings and head{frozen}"
    if f.found["stage"] == "teacher_continuation":
        if p["teacher"]:
            return "all of the model it continues"
        grown = f"; {p['grow_from_layers']} layers trained first, then copied ({p['grow_by']})"
        return "random weights" + grown * bool(p["grow_from_layers"])
    if p["init"] == "random":
        return f"random weights; {number_of(f.config['num_hidden_layers'], 'layer')} of its teacher's shape"
    layers = p["student_layers"]
    named = isinstance(layers, str)
    chosen = LAYERS[layers] if named else f"its teacher's layers {', '.join(map(str, layers))} (counted from 0)"
    return f"{chosen}; the teacher's embeddings and head"


def _teacher(teacher: dict | str) -> str:
    """A teacher by its name, with what is known of it."""
    if isinstance(teacher, str):
        return f"{code(name_of(teacher))}, {'from the hub' if on_the_hub(teacher) else 'from a folder of the user'}"
    summary = teacher["summary"]
    nothing = "" if teacher["parameters"]["teacher"] else ", trained from nothing"
    return f"{code(name_of(teacher))} ({number_of(summary['layers'], 'layer')}, {summary['parameters']:,} parameters{nothing})"


def _losses(f: Facts) -> str:
    p = f.p
    if f.found["stage"] == "teacher_continuation":
        return "the cross-entropy of the masked tokens"
    where = {"all": "all positions", "masked": "the masked positions"}[p.get("positions", "all")]
    names = {
        "soft": f"soft targets (T² · KL from the teacher to the student, T = {p['temperature']:g}, at {where})",
        "mlm": "cross-entropy of the masked tokens",
        "cosine": "cosine distance of the last hidden states",
        "hidden": "squared error of the hidden outputs",
        "attention": "squared error of the attention maps",
    }
    terms = [f"{p[f'weight_{name}']:g} × {said}" for name, said in names.items() if p.get(f"weight_{name}")]
    matched = f"; layers matched by {code(p['mapping'])}: {MAPPINGS[p['mapping']]}" if "mapping" in p else ""
    return " + ".join(terms) + matched


def _masking(p: dict) -> str:
    share = f"{100 * p['mask_probability']:g} %"
    return f"{share} of the {'words' if p['whole_words'] else 'tokens'}" if p["mask_probability"] else "nothing"


def _optimizer(p: dict) -> str:
    clip = f"gradient norm clipped at {p['clip_norm']:g}" if p["clip_norm"] else "no clipping"
    return (f"AdamW, β {p['adam_beta1']:g} and {p['adam_beta2']:g}, ε {p['adam_epsilon']:g}, weight decay {p['weight_decay']:g}, "
            + clip)  # fmt: skip


def _beside(p: dict) -> str:
    return ", on one pass of the teacher with other students" if p.get("beside") or p.get("trained_in") else ""


def _machine(box: dict, threads: int) -> str:
    used = number_of(threads, "thread") if threads else "all threads"
    return plain(f"{number_of(box['cores'], 'core')} of {box['cpu']}, {used}{', ' + box['gpu'] if box['gpu'] else ''}")


# ------------------------------------------------------------------------------------------------------------- the text


def text(f: Facts) -> str:
    """What it was trained on, and what the models before it in its line were."""
    own = "Its text" if f.found["stage"] == "teacher_continuation" else "Its transfer set"
    parts = [f"{own}, {code(f.text.name)}:", _text(f.text)] if f.trained else ["It was itself trained on nothing."]
    for name, read in f.texts.items():
        if f.trained and read == f.text:
            parts.append(f"{code(name)}, before it, was trained on the same text.")
        else:
            parts += [f"{code(name)}, before it, was trained on {code(read.name)}:", _text(read)]
    return "\n\n".join(parts)


def _text(read: Text) -> str:
    if read.statistics is None:
        return bullets(["where it comes from is not recorded"])
    items = [_source(source) for source in read.sources[:SHOWN]]
    if len(read.sources) > SHOWN:
        items.append(f"{len(read.sources) - SHOWN} more sources of the kind")
    found, made_of_it = read.statistics, [plain(f"then {'; then '.join(read.made)}")] if read.made else []
    longest = found["tokens_per_sequence"]["max"]
    size = f"in all {found['sequences']:,} sequences and {found['tokens']:,} tokens; the longest sequence has {longest}"
    return bullets([*items, *made_of_it, size])


def _source(source: dict) -> str:
    """A source of text as a card names it: of a path only the last part, the rest is nobody's business."""
    named = f", language {code(source['language'])}" if source.get("language") else ""
    if source["kind"] == "toy":
        made = f"{source['lines']:,} lines of {code(source['corpus'])} in the toy language {code(source['language'])}"
        return f"{made}, generated by this project"
    if source["kind"] == "hub":
        parts = [f"{key} {code(source[key])}" for key in ("config", "split", "revision") if source.get(key)]
        return f"{code(source['dataset'])} from the hub, {', '.join(parts)}{named}"
    part = source.get("share_to", 1) - source.get("share_from", 0)
    share = f", {100 * part:.0f} % of it" if part < 1 else ""
    return f"{code(source['path'].rstrip('/').rpartition('/')[2])}, the user's own{share}{named}"
