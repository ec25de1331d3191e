"""The sections of a model card that hold numbers measured: results beside the teacher's, size and latency."""

import pandas as pd

from lib.card_facts import Facts
from lib.lineage import name_of
from lib.markdown import code, plain, table
from lib.statistics import interval, paired_difference
from lib.wording import number_of, with_interval

LATENCY = "Latency: median of the encoder alone on one sequence of 64 tokens, one CPU thread, the models taking turns."
NOT_YET = "Not measured yet: the model has not been fine-tuned, or the report has not been made since."
COLUMNS = ("task", "language", "metric", "this model")


def results(f: Facts) -> str:
    """Scores with intervals beside the teacher's, and what it knows of held-out text."""
    return "\n\n".join([_scores(f) if f.scored else NOT_YET, _knowledge(f)])


def _scores(f: Facts) -> str:
    theirs = dict(by_task(f.teachers_scores)) if f.teachers_scores is not None else {}
    rows = []
    for (task, language, metric), own in by_task(f.scores):
        row = [code(task), code(language), plain(metric), _interval(own)]
        other = theirs.get((task, language, metric))
        beside = ["–", "–"] if other is None else [_interval(other), with_interval(paired_difference(own, other))]
        rows.append(row + beside if theirs else row)
    p = f.finetuned
    epochs = {p["per_task"].get(task, {}).get("epochs", p["epochs"]) for task in f.scores["task"].unique()}
    note = (
        f"Percent, after the last of {' or '.join(map(str, sorted(epochs)))} epochs of fine-tuning: mean over "
        f"{number_of(f.scores['seed'].nunique(), 'seed')} and, in brackets, its 95 % t interval. The intervals say how far "
        "another fine-tuning of the same weights would move, not another pretraining."
    )
    if not theirs:
        return f"{note}\n\n{table(COLUMNS, rows)}"
    against = (f"{f.role}, {code(name_of(f.teachers[0]))}", "difference")
    return f"{note} The difference is paired by seed.\n\n{table((*COLUMNS, *against), rows)}"


def by_task(scores: pd.DataFrame) -> list[tuple[tuple[str, str, str], pd.Series]]:
    """The values by seed of every task, language and metric, in the order of the rows."""
    groups = scores.groupby(["task", "language", "metric"], sort=False)
    return [(key, rows.set_index("seed")["value"]) for key, rows in groups]


def _interval(values: pd.Series) -> str:
    i = interval(values)
    return f"{i.mean:.1f} [{i.low:.1f}, {i.high:.1f}]" if len(values) > 1 else f"{i.mean:.1f}"


def _knowledge(f: Facts) -> str:
    named = {"before training": "before", "this model": "after", "its teacher": "teacher"}
    known = {name: f.found[key] for name, key in named.items() if f.found.get(key) and (f.trained or key != "before")}
    rows = [[name, f"{one['mlm_accuracy']:.1f}", f"{one['mlm_loss']:.2f}"] for name, one in known.items()]
    positions = f.found["after"]["positions"]
    asked = f"On {positions:,} masked tokens of text held out of {code(f.text.name)}: percent right, and loss in nats."
    return f"{asked}\n\n{table(('', 'right, %', 'loss'), rows)}"


def sizes(f: Facts) -> str:
    """Parameters, size and latency, beside the teacher's."""
    costs = {"this model": f.cost or f.found["summary"]}
    if f.teachers_cost:
        costs[f"{f.role}, {code(name_of(f.teachers[0]))}"] = f.teachers_cost
    rows = [[name, f"{int(one['parameters']):,}", f"{one['size_mib']:.2f}", _latency(one.get("latency_s"))]
            for name, one in costs.items()]  # fmt: skip
    shape = (
        f"{number_of(f.config['num_hidden_layers'], 'layer')} of {f.config['hidden_size']} dimensions and "
        f"{number_of(f.config['num_attention_heads'], 'attention head')}, a vocabulary of {f.config['vocab_size']:,} "
        f"tokens, {f.config['max_position_embeddings']} positions; fp32."
    )
    return f"{shape}\n\n{table(('', 'parameters', 'MiB', 'latency, ms'), rows)}\n\n{LATENCY}"


def _latency(seconds) -> str:
    return "not measured yet" if seconds is None or pd.isna(seconds) else f"{1000 * seconds:.2f}"
