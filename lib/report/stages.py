"""What the notebooks show of one training stage: curves, scores, sizes. Frames and figures, to be
passed to lib.report.page.show.

Tables and the figure of notebook 1: what the text was, what was done to it, and what came out.
"""

from itertools import islice

import numpy as np
import pandas as pd

from lib.data import derived, tokenizer
from lib.data.cleaning import clean, damage
from lib.data.prepared import record_batches
from lib.data.sources import read_passages
from lib.report.figures import draw_lines, layer_shade, panels, plain_axes
from lib.training.mappings import KINDS, layer_mapping
from lib.training.parameters import CascadeTA

COMPONENTS = {
    "loss": "weighted sum",
    "mlm": "MLM",
    "soft": "soft target",
    "cosine": "cosine",
    "hidden": "hidden outputs",
    "attention": "attention maps",
}


def curves(history: list[dict]):
    """Every loss component of a training, and its learning rate, against the step."""
    from matplotlib.figure import Figure

    frame = pd.DataFrame(history)
    names = [name for name in COMPONENTS if name in frame]
    if len(names) == 2:
        names = names[1:]  # a single component is the sum
    figure = Figure(figsize=(2.4 * (len(names) + 1), 2.2), layout="constrained")
    axes = figure.subplots(1, len(names) + 1, squeeze=False)[0]
    for axis, name in zip(axes, [*names, "rate"]):
        axis.plot(
            frame["step"], frame[name], color="#0072B2" if name != "rate" else "#D55E00", lw=1.2
        )
        axis.set(title=COMPONENTS.get(name, "learning rate"), xlabel="step")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def knowledge(**probes: dict) -> pd.DataFrame:
    """Probes beside each other: held-out MLM loss in nats, perplexity, accuracy in percent."""
    rows = {
        name.replace("_", " "): {
            "MLM loss, nats": f"{found['mlm_loss']:.3f}",
            "perplexity": f"{np.exp(min(found['mlm_loss'], 50)):,.1f}",
            "MLM accuracy, %": f"{found['mlm_accuracy']:.1f}",
            "masked positions": found["positions"],
        }
        for name, found in probes.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def sizes(**models) -> pd.DataFrame:
    """Layers, parameters and size of models beside each other, and the ratio to the first."""
    from lib.training.models import parameter_count, size_mib

    first = parameter_count(next(iter(models.values())))
    rows = {
        name: {
            "layers": model.config.num_hidden_layers,
            "parameters": f"{parameter_count(model):,}",
            "size, MiB": size_mib(model),
            "share of the teacher, %": 100 * parameter_count(model) / first,
        }
        for name, model in models.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def scores(rows: list[dict]) -> pd.DataFrame:
    """Fine-tuning results per task and metric under both protocols, in percent: mean ± half the 95
    % interval over seeds. Of a task in several languages, the mean over them."""
    from lib.report.statistics import pm
    from lib.tasks.metrics import PROTOCOLS, by_protocol

    out = {}
    for key, runs in by_protocol(pd.DataFrame(rows)).groupby(["task", "metric"], sort=False):
        seeds = runs.groupby(["protocol", "seed"])["value"].mean()
        means = {title: pm(seeds[protocol]) for protocol, title in PROTOCOLS.items()}
        out[key] = {**means, "seeds": runs["seed"].nunique()}
    return pd.DataFrame.from_dict(out, orient="index").rename_axis(["task", "metric"])


def scores_by_language(rows: list[dict]) -> pd.DataFrame:
    """The scores of the tasks that come in several languages: a column a language and their mean, a
    row for each task, metric and protocol; mean ± half the 95 % interval over seeds. There must be
    such a task."""
    from lib.report.statistics import pm
    from lib.tasks.metrics import PROTOCOLS, by_protocol

    frame = pd.DataFrame(rows)
    frame = frame[frame.groupby("task")["language"].transform("nunique") > 1]
    out = {}
    for key, both in by_protocol(frame).groupby(["task", "metric"], sort=False):
        for protocol, title in PROTOCOLS.items():
            runs = both[both["protocol"] == protocol]
            wide = runs.pivot(index="seed", columns="language", values="value")
            wide = wide[list(runs["language"].unique())].assign(mean=wide.mean(axis=1))
            out[*key, title] = {str(language): pm(wide[language]) for language in wide}
    return pd.DataFrame.from_dict(out, orient="index").rename_axis(["task", "metric", "protocol"])


def task_examples(p, count: int = 2, width: int = 140) -> pd.DataFrame:
    """A few training examples of every task with their labels: a class by its name, a number, an
    answer."""
    from lib.tasks.examples import TaskSource, load
    from lib.tasks.registry import TASKS

    def label_text(task, label) -> str:
        if task.kind == "span":
            return label.texts[0]
        return task.labels[label] if task.labels else f"{label:g}"

    rows = []
    for name in p.tasks:
        examples = load(name, "train", TaskSource.of(p), count)
        for text, label in zip(examples.texts, examples.labels):
            label = label_text(TASKS[name], label)
            rows.append({"task": name, "text": " ⏎ ".join(text)[:width], "label": label})
    return pd.DataFrame(rows)


def finetuning(rows: list[dict]):
    """Every metric after every epoch, one line a seed, one panel a task, language and metric, at
    most four panels beside each other."""
    from matplotlib.figure import Figure

    frame = pd.DataFrame(rows)
    panels = list(dict.fromkeys(zip(frame["task"], frame["language"], frame["metric"])))
    several = frame.groupby("task")["language"].nunique() > 1
    wide = min(4, len(panels))
    deep = -(-len(panels) // wide)
    figure = Figure(figsize=(2.4 * wide, 2.2 * deep), layout="constrained")
    axes = figure.subplots(
        deep, wide, squeeze=False, sharey=frame["metric"].nunique() == 1
    ).flatten()
    for axis, (task, language, metric) in zip(axes, panels):
        shown = frame[
            (frame["task"] == task) & (frame["language"] == language) & (frame["metric"] == metric)
        ]
        for _, group in shown.groupby("seed"):
            axis.plot(group["epoch"], group["value"], color="#0072B2", lw=1, alpha=0.7)
        axis.set(
            title=f"{task}, {language}" if several[task] else task,
            xlabel="epoch",
            ylabel=f"{metric.replace('_', ' ')}, %",
        )
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.remove()
    return figure


def samples(p, folder, count: int = 4, width: int = 160) -> pd.DataFrame:
    """The first passages of the first source, as they are and as `p.cleaning` leaves them; of a
    transfer set, the first sequences of its parent that are in the sample, and the first of what
    became of them in the prepared `folder`."""
    if p.sample_of:
        words = tokenizer.load_tokenizer(str(folder / "tokenizer"))
        before, after = next(derived.sample_tables(p)), next(record_batches(folder))
        cut = [
            tuple(words.decode(ids, skip_special_tokens=True)[:width] for ids in pair)
            for pair in zip(
                *(rows.slice(0, count)["input_ids"].to_pylist() for rows in (before, after))
            )
        ]
        return pd.DataFrame(cut, columns=["in the parent", f"here: {p.composition}"])
    lines = list(islice(read_passages(p.sources[0], p.seed), count))
    cut = [(line[:width], clean(line, p.cleaning)[:width]) for line in lines]
    return pd.DataFrame(cut, columns=["as it is", f"cleaned: {p.cleaning}"])


def effect(p, found: dict) -> pd.DataFrame:
    """What preparing did: to a text, what each kind of cleaning would do; to a parent, how much of
    it a transfer set has."""
    return beside_parent(found) if p.sample_of else cleaning_damage(p)


def beside_parent(found: dict) -> pd.DataFrame:
    """The sequences and tokens of a transfer set beside those of its parent. Words and bytes would
    not compare: a text's are counted between white space, a transfer set's by where tokens start
    words."""
    rows = {
        name: {
            "parent": f"{found['parent'][name]:,}",
            "here": f"{found[name]:,}",
            "share, %": f"{100 * found[name] / found['parent'][name]:.3g}",
        }
        for name in ("sequences", "tokens")
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("number of")


def cleaning_damage(p, count: int = 2000) -> pd.DataFrame:
    """What each kind of cleaning would do to the first passages: percent of words removed and
    changed, of characters lost."""
    lines = list(islice(read_passages(p.sources[0], p.seed), count))
    rows = {}
    for how in ("none", "careful", "neattext"):
        did = damage(lines, how)
        rows[how] = {
            "words removed, %": 100 * did["words_removed"],
            "words changed, %": 100 * did["words_changed"],
            "characters lost, %": 100 * did["characters_lost"],
            "lines lowercased, %": 100 * did["lines_lowercased"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("cleaning")


def statistics(found: dict) -> pd.DataFrame:
    """The statistics of a prepared corpus, or of a transfer set derived from one, as one column."""
    rows = {"made of": made_of(found)}
    if "lines_in" in found:
        rows |= {
            "lines read": found["lines_in"],
            **{
                f"dropped: {reason.replace('_', ' ')}": count
                for reason, count in found["dropped"].items()
            },
        }
    rows |= {
        "lines held out": found["held_out"]["lines"],
        "lines kept": found["lines"],
        "sequences": found["sequences"],
        **sections(found),
        "words": found["words"],
        "tokens": found["tokens"],
        "bytes of text": found["bytes"],
        "tokens a word": round(found["tokens_per_word"], 2),
        "unknown tokens, %": round(100 * found["unknown_share"], 3),
        "tokens a sequence, mean": round(found["tokens_per_sequence"]["mean"], 1),
        "tokens a sequence, median": found["tokens_per_sequence"]["median"],
        "tokens a sequence, most": found["tokens_per_sequence"]["max"],
        "words a line, mean": round(found["words_per_line"]["mean"], 1),
        "words a line, median": found["words_per_line"]["median"],
        "vocabulary": found["vocabulary"],
        "tokens prepared a second": round(found["tokens_per_second"]),
    }
    shown = [value if isinstance(value, str) else f"{value:,}" for value in rows.values()]
    return pd.DataFrame({"value": shown}, index=pd.Index(rows, name="statistic"))


def sections(found: dict) -> dict:
    """The sequences of each section, and the exponent that languages were sampled with, where there
    were such."""
    parts, sampled = found.get("sections", []), found.get("sampling")
    rows = (
        {"sequences of its sections": ", ".join(f"{part:,}" for part in parts)}
        if len(parts) > 1
        else {}
    )
    if sampled:
        asked = f", from {sampled['target']}" if sampled["target"] else ""
        rows["sampling exponent"] = f"{sampled['exponent']:.3f}{asked}"
    return rows


def made_of(found: dict) -> str:
    """In a few words, what a prepared corpus was made of."""
    if "parent" in found:
        return f"{100 * found['share']:g} % of a corpus, {found['composition']}"
    names = [source["name"] for source in found.get("sources", [])]
    if len(names) > 12:
        return f"{len(names)} sources, {names[0]} to {names[-1]}"
    return " + ".join(names) or "text"


def by_source(found: dict) -> pd.DataFrame:
    """001's Table 4 of a corpus: size, lines, words and words a line of each source and of all,
    before tokenising.

    A transfer set has one row, its own figures.
    """
    rows = {source["name"]: source for source in found.get("sources", [])} | {
        "all": found.get("text", found)
    }
    return pd.DataFrame.from_dict(
        {
            name: {
                "MB": f"{row['bytes'] / 1e6:,.2f}",
                "lines": f"{row['lines']:,}",
                "words": f"{row['words']:,}",
                "words a line, mean": f"{row['words_per_line']['mean']:.1f}",
                "words a line, median": f"{row['words_per_line']['median']:g}",
            }
            for name, row in rows.items()
        },
        orient="index",
    ).rename_axis("source")


def languages(found: dict) -> pd.DataFrame:
    """004's Table 1 of a corpus: the share of each language before sampling (of bytes, P) and after
    (of lines, P').

    `repeated` is how often a line was drawn in the mean. One row, `all`, where sources do not name
    their languages.
    """
    whole = {
        "language": "all",
        "share": 100.0,
        "share_drawn": 100.0,
        "share_bytes_drawn": 100.0,
        "share_tokens": 100.0,
    }
    whole |= {"lines": found["lines"], "lines_drawn": found["lines"], "tokens": found["tokens"]}
    rows = {
        row["language"]: {
            "before, % of bytes": f"{row['share']:.3g}",
            "after, % of lines": f"{row['share_drawn']:.3g}",
            "after, % of bytes": f"{row['share_bytes_drawn']:.3g}",
            "after, % of tokens": f"{row['share_tokens']:.3g}",
            "lines there": f"{row['lines']:,}",
            "lines drawn": f"{row['lines_drawn']:,}",
            "repeated": f"{row['lines_drawn'] / max(row['lines'], 1):.3g} ×",
            "tokens": f"{row['tokens']:,}",
        }
        for row in found.get("languages", [whole])
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")


def lengths(found: dict):
    """Histogram of sequence lengths in tokens."""
    from matplotlib.figure import Figure

    edges, counts = (
        np.asarray(found["length_histogram"]["edges"]),
        np.asarray(found["length_histogram"]["counts"]),
    )
    figure = Figure(figsize=(6.2, 2.4), layout="constrained")
    axis = figure.subplots()
    axis.bar(
        edges[:-1], counts, width=np.diff(edges), align="edge", color="#0072B2", edgecolor="none"
    )
    axis.set(xlabel="tokens in a sequence, special tokens included", ylabel="sequences")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def matching(p: CascadeTA, teacher_layers: int) -> pd.DataFrame:
    """Which layers of the teacher are averaged for each layer of the assistant; 0 is the output of
    the embeddings."""
    hidden, attention = layer_mapping(p.mapping, p.layers, teacher_layers)
    rows = {
        layer: [
            " + ".join(map(str, targets.get(layer, []))) or "–" for targets in (hidden, attention)
        ]
        for layer in range(p.layers + 1)
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(KINDS.values())).rename_axis(
        "layer"
    )


def by_layer(before: dict[str, float], after: dict[str, float]) -> pd.DataFrame:
    """The `distances` of every layer before and after a hop, and their ratio; a layer without
    target has none."""
    layers = sorted({int(key.rpartition("_")[2]) for key in before if "_" in key})
    columns = {}
    for kind, title in KINDS.items():
        for name, found in (("before", before), ("after", after)):
            columns[title, name] = [_said(found.get(f"{kind}_{layer}")) for layer in layers]
    return pd.DataFrame(columns, index=pd.Index(layers, name="layer"))


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def figure_layers(history: list[dict]):
    """The loss of every layer against the step: a panel for hidden outputs, one for attention maps,
    a line a layer, the lighter the higher. Logarithmic; a loss of 0 is not drawn.

    Lines are running means over a tenth of the steps: short sequences, which share a batch, have
    larger attention weights and so larger losses.
    """
    from matplotlib.ticker import LogLocator

    frame = pd.DataFrame(history).set_index("step")
    frame = frame.rolling(max(1, len(frame) // 10), min_periods=1).mean()
    layers = {kind: [name for name in frame if name.startswith(f"{kind}_")] for kind in KINDS}
    deepest = max(
        (int(name.rpartition("_")[2]) for names in layers.values() for name in names), default=0
    )
    figure, axes = panels(sum(map(bool, layers.values())), row_height=2.9)
    for ax, (kind, names) in zip(axes, ((kind, names) for kind, names in layers.items() if names)):
        powers = np.log10(
            frame[names].where(frame[names] > 0)
        )  # draw_lines sets its names apart on a linear scale
        powers.columns = [name.rpartition("_")[2] for name in names]
        shades = {name: layer_shade(int(name), deepest) for name in powers}
        draw_lines(ax, powers, width=1.3, gap=0.065, colours=shades)
        low, high = ax.get_ylim()
        ticks = [
            t
            for t in LogLocator(subs=(1, 2, 5)).tick_values(10**low, 10**high)
            if low <= np.log10(t) <= high
        ]
        ax.set_yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        plain_axes(ax, f"{KINDS[kind]}, mean squared error", grid="y")
        ax.set_ylim(low, high)
    figure.supxlabel("optimizer step", fontsize=9)
    return figure
