"""What notebooks 1 to 5 show of their stage, as frames and figures for lib.report.page.show."""

from itertools import islice

import numpy as np
import pandas as pd

from lib.data import derived, tokenizer
from lib.data.cleaning import clean, damage
from lib.data.prepared import record_batches
from lib.data.sources import read_passages
from lib.report.figures import COMPONENTS, draw_lines, layer_shade, panels, plain_axes
from lib.report.page.show import PALETTE
from lib.report.statistics import pm
from lib.report.wording import plain
from lib.tasks.metrics import PROTOCOLS, by_protocol
from lib.training.mappings import MATCHED, layer_mapping
from lib.training.parameters import LOSSES, CascadeTA

COMPONENTS_CAPTION = (
    "How large each loss is, and how hard it pulls, at the first and the last step."
)
COMPONENTS_NOTE = (
    "Size: the loss without its weight, a mean. Gradient: the norm of the gradient of the weighted "
    "loss over all of the student's parameters. On some sequences of the step's batch, before the "
    "training and after it, with dropout."
)

# ---------------------------------------------------------------- notebook 1: the prepared text


def samples(p, folder, count: int = 4, width: int = 160) -> pd.DataFrame:
    """The first passages of the first source, as they are and cleaned; for a transfer set, the
    first sequences drawn from its parent, and what became of them in the prepared `folder`."""
    if p.sample_of:
        words = tokenizer.load_tokenizer(str(folder / "tokenizer"))
        columns = {}
        tables = {"in the parent": derived.sample_tables(p)}
        tables[f"here: {p.composition}"] = record_batches(folder)
        for name, batches in tables.items():
            sequences = next(batches).slice(0, count)["input_ids"].to_pylist()
            columns[name] = [
                words.decode(ids, skip_special_tokens=True)[:width] for ids in sequences
            ]
        return pd.DataFrame(columns)
    lines = list(islice(read_passages(p.sources[0], p.seed), count))
    cleaned = [clean(line, p.cleaning)[:width] for line in lines]
    original = [line[:width] for line in lines]
    return pd.DataFrame({"as it is": original, f"cleaned: {p.cleaning}": cleaned})


def preparation(p, statistics: dict) -> pd.DataFrame:
    """What preparing changed: what each kind of cleaning would do to a text, or the size of a
    transfer set and of its parent."""
    return _share_of_parent(statistics) if p.sample_of else _cleaning_damage(p)


def _share_of_parent(statistics: dict) -> pd.DataFrame:
    # Words and bytes would not compare: a text's are counted between white space, a transfer set's
    # by the tokens that start words.
    rows = {}
    for unit in ("sequences", "tokens"):
        parent, here = statistics["parent"][unit], statistics[unit]
        share = f"{100 * here / parent:.3g}"
        rows[unit] = {"parent": f"{parent:,}", "here": f"{here:,}", "share, %": share}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("number of")


def _cleaning_damage(p, count: int = 2000) -> pd.DataFrame:
    """For every kind of cleaning: the share of words removed and changed, of characters lost and of
    lines lowercased, in percent, over the first passages."""
    lines = list(islice(read_passages(p.sources[0], p.seed), count))
    rows = {cleaning: damage(lines, cleaning) for cleaning in ("none", "careful", "neattext")}
    frame = 100 * pd.DataFrame.from_dict(rows, orient="index").rename_axis("cleaning")
    columns = ["words_removed", "words_changed", "characters_lost", "lines_lowercased"]
    return frame[columns].rename(columns=lambda name: f"{name.replace('_', ' ')}, %")


def corpus_statistics(statistics: dict) -> pd.DataFrame:
    """The statistics.json of a prepared corpus, or of a transfer set, as a column of strings."""
    s = statistics
    rows = {"made of": _made_of(s)}
    if "lines_in" in s:
        rows["lines read"] = s["lines_in"]
        for reason, count in s["dropped"].items():
            rows[f"dropped: {reason.replace('_', ' ')}"] = count
    rows["lines held out"] = s["held_out"]["lines"]
    rows["lines kept"] = s["lines"]
    rows["sequences"] = s["sequences"]
    if len(s.get("sections", [])) > 1:
        rows["sequences of its sections"] = ", ".join(f"{n:,}" for n in s["sections"])
    if sampling := s.get("sampling"):
        target = f", from {sampling['target']}" if sampling["target"] else ""
        rows["sampling exponent"] = f"{sampling['exponent']:.3f}{target}"
    rows |= {
        "words": s["words"],
        "tokens": s["tokens"],
        "bytes of text": s["bytes"],
        "tokens a word": round(s["tokens_per_word"], 2),
        "unknown tokens, %": round(100 * s["unknown_share"], 3),
        "tokens a sequence, mean": round(s["tokens_per_sequence"]["mean"], 1),
        "tokens a sequence, median": s["tokens_per_sequence"]["median"],
        "tokens a sequence, most": s["tokens_per_sequence"]["max"],
        "words a line, mean": round(s["words_per_line"]["mean"], 1),
        "words a line, median": s["words_per_line"]["median"],
        "vocabulary": s["vocabulary"],
        "tokens prepared a second": round(s["tokens_per_second"]),
    }
    values = [value if isinstance(value, str) else f"{value:,}" for value in rows.values()]
    return pd.DataFrame({"value": values}, index=pd.Index(rows, name="statistic"))


def _made_of(statistics: dict) -> str:
    """The sources of a prepared corpus in a few words."""
    if "parent" in statistics:
        return f"{100 * statistics['share']:g} % of a corpus, {statistics['composition']}"
    names = [source["name"] for source in statistics.get("sources", [])]
    if len(names) > 12:
        return f"{len(names)} sources, {names[0]} to {names[-1]}"
    return " + ".join(names) or "text"


def by_source(statistics: dict) -> pd.DataFrame:
    """001's Table 4: size, lines, words and words a line of each source and of all, before
    tokenising. A transfer set has one row, its own."""
    sources = {source["name"]: source for source in statistics.get("sources", [])}
    sources["all"] = statistics.get("text", statistics)
    rows = {
        name: {
            "MB": f"{source['bytes'] / 1e6:,.2f}",
            "lines": f"{source['lines']:,}",
            "words": f"{source['words']:,}",
            "words a line, mean": f"{source['words_per_line']['mean']:.1f}",
            "words a line, median": f"{source['words_per_line']['median']:g}",
        }
        for name, source in sources.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")


def languages(statistics: dict) -> pd.DataFrame:
    """004's Table 1: the share of each language before sampling (of bytes, P) and after (of lines,
    P'). `repeated`: how often a line was drawn in the mean. One row, `all`, if the sources do not
    name their languages."""
    s = statistics
    all_languages = {"language": "all", "lines": s["lines"], "lines_drawn": s["lines"]}
    all_languages["tokens"] = s["tokens"]
    shares = ("share", "share_drawn", "share_bytes_drawn", "share_tokens")
    all_languages |= dict.fromkeys(shares, 100.0)
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
        for row in s.get("languages", [all_languages])
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")


def length_histogram(statistics: dict):
    """The histogram of sequence lengths in tokens."""
    histogram = statistics["length_histogram"]
    edges, counts = np.asarray(histogram["edges"]), histogram["counts"]
    figure, (ax,) = panels(1, row_height=2.4)
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=PALETTE[0], edgecolor="none")
    plain_axes(ax, "", grid="y")
    ax.set(xlabel="tokens in a sequence, special tokens included", ylabel="sequences")
    return figure


# ----------------------------------------------------------- notebooks 2 to 4: a training


def sizes(**models) -> pd.DataFrame:
    """Layers, parameters and size of models by name, and the ratio to the first."""
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


def knowledge(**probes: dict) -> pd.DataFrame:
    """Probes by name: held-out MLM loss in nats, perplexity, accuracy in percent; and where one
    was measured beside its teacher, the divergence from it and the agreement with it."""
    rows = {}
    for name, probe in probes.items():
        row = {
            "MLM loss, nats": f"{probe['mlm_loss']:.3f}",
            "perplexity": f"{np.exp(min(probe['mlm_loss'], 50)):,.1f}",
            "MLM accuracy, %": f"{probe['mlm_accuracy']:.1f}",
            "masked positions": probe["positions"],
        }
        if "kl" in probe:
            row["KL from the teacher, nats"] = f"{probe['kl']:.3f}"
            row["same first guess, %"] = f"{probe['agreement']:.1f}"
        rows[name.replace("_", " ")] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.fillna("–").rename_axis("model")


def curves(history: list[dict]):
    """Every loss component of a training, and its learning rate, against the step."""
    frame = pd.DataFrame(history)
    names = [name for name in COMPONENTS if name in frame]
    if len(names) == 2:
        names = names[1:]  # a single component is the sum
    figure, axes = panels(len(names) + 1, row_height=2.2, across=3)
    for ax, name in zip(axes, [*names, "rate"]):
        ax.plot(frame["step"], frame[name], color=PALETTE[name == "rate"], lw=1.2)
        plain_axes(ax, COMPONENTS.get(name, "learning rate"), grid="y")
    figure.supxlabel("optimizer step", fontsize=9)
    return figure


def components(rows: list[dict]) -> pd.DataFrame:
    """A row per loss, from those of lib.training.loss_components: its weight, and its size and the
    norm of its gradient at the first and the last step."""
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        cells = table.setdefault(LOSSES[row["component"]].title, {"weight": f"{row['weight']:g}"})
        cells[f"size, {row['when']}"] = f"{row['value']:.3g}"
        cells[f"gradient, {row['when']}"] = f"{row['gradient_norm']:.3g}"
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("loss")


def layer_targets(p: CascadeTA, teacher_layers: int) -> pd.DataFrame:
    """The layers of the teacher that are averaged for each layer of the assistant; 0 is the output
    of the embeddings."""
    columns = {}
    for name, targets in zip(MATCHED, layer_mapping(p.mapping, p.layers, teacher_layers)):
        columns[LOSSES[name].title] = [
            " + ".join(map(str, targets.get(layer, []))) or "–" for layer in range(p.layers + 1)
        ]
    return pd.DataFrame(columns).rename_axis("layer")


def layer_distances(before: dict[str, float], after: dict[str, float]) -> pd.DataFrame:
    """The distances (`hops.distances`) of every layer before and after a hop; a layer without
    target has none."""
    layers = sorted({int(key.rpartition("_")[2]) for key in before if "_" in key})
    columns = {}
    for loss in MATCHED:
        for when, distances in (("before", before), ("after", after)):
            values = [distances.get(f"{loss}_{layer}") for layer in layers]
            columns[LOSSES[loss].title, when] = [
                "–" if value is None else f"{value:.3g}" for value in values
            ]
    return pd.DataFrame(columns, index=pd.Index(layers, name="layer"))


def layer_losses(history: list[dict]):
    """The loss of every layer against the step: a panel for hidden outputs, one for attention maps,
    a line per layer, the lighter the higher. Logarithmic; a loss of 0 is not drawn.

    Lines are running means over a tenth of the steps: short sequences, which share a batch, have
    larger attention weights and so larger losses.
    """
    from matplotlib.ticker import LogLocator

    frame = pd.DataFrame(history).set_index("step")
    frame = frame.rolling(max(1, len(frame) // 10), min_periods=1).mean()
    logs = {}  # on a linear axis, because draw_lines spaces its labels on a linear one
    for loss in MATCHED:
        losses = frame.filter(regex=f"^{loss}_")
        if len(losses.columns):
            losses.columns = [name.rpartition("_")[2] for name in losses]
            logs[loss] = np.log10(losses.where(losses > 0))
    deepest = max((int(layer) for own in logs.values() for layer in own), default=0)
    figure, axes = panels(len(logs), row_height=2.9)
    for ax, (loss, lines) in zip(axes, logs.items()):
        colours = {layer: layer_shade(int(layer), deepest) for layer in lines}
        draw_lines(ax, lines, width=1.3, gap=0.065, colours=colours)
        low, high = ax.get_ylim()
        ticks = LogLocator(subs=(1, 2, 5)).tick_values(10**low, 10**high)
        ticks = [tick for tick in ticks if low <= np.log10(tick) <= high]
        ax.set_yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        plain_axes(ax, f"{LOSSES[loss].title}, mean squared error", grid="y")
        ax.set_ylim(low, high)
    figure.supxlabel("optimizer step", fontsize=9)
    return figure


# ----------------------------------------------------------------- notebook 5: the fine-tuning


def own_tasks(p) -> str:
    """What the user's own tasks were found to be, a line each."""
    from lib.tasks.examples import TaskSource, check

    source = TaskSource.of(p)
    return "  \n".join(plain(found) for name in p.own_tasks if (found := check(name, source)))


def task_examples(p, count: int = 2, width: int = 140) -> pd.DataFrame:
    """A few training examples of every task with their labels: the name of a class, a number, or an
    answer."""
    from lib.tasks.examples import TaskSource, load, settled
    from lib.tasks.finetune import as_text

    rows, source = [], TaskSource.of(settled(p))
    for name in p.tasks:
        task, examples = source.task(name), load(name, "train", source, count)
        between = " " if task.tags else " ⏎ "
        for texts, label in zip(examples.texts, examples.labels):
            label = label.texts[0] if task.kind == "span" else as_text(task, label)
            text = between.join(texts)[:width]
            rows.append({"task": name, "text": text, "label": label[:width]})
    return pd.DataFrame(rows)


def scores_by_task(rows: list[dict]) -> pd.DataFrame:
    """Fine-tuning results by task and metric under both protocols, in percent: mean ± half of the
    95 % interval over seeds. For a task in several languages, their mean."""
    table = {}
    for key, runs in by_protocol(pd.DataFrame(rows)).groupby(["task", "metric"], sort=False):
        seeds = runs.groupby(["protocol", "seed"])["value"].mean()
        means = {title: pm(seeds[protocol]) for protocol, title in PROTOCOLS.items()}
        table[key] = {**means, "seeds": runs["seed"].nunique()}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["task", "metric"])


def scores_by_language(rows: list[dict]) -> pd.DataFrame:
    """The scores of the tasks in several languages: a column per language and one for their mean, a
    row per task, metric and protocol. There must be such a task."""
    frame = pd.DataFrame(rows)
    frame = frame[frame.groupby("task")["language"].transform("nunique") > 1]
    table = {}
    for key, both in by_protocol(frame).groupby(["task", "metric"], sort=False):
        for protocol, title in PROTOCOLS.items():
            runs = both[both["protocol"] == protocol]
            wide = runs.pivot(index="seed", columns="language", values="value")
            wide = wide[list(runs["language"].unique())].assign(mean=wide.mean(axis=1))
            table[*key, title] = {str(language): pm(wide[language]) for language in wide}
    index = ["task", "metric", "protocol"]
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(index)


def finetuning(rows: list[dict]):
    """Every metric after every epoch: a line per seed, a panel per task, language and metric."""
    frame = pd.DataFrame(rows)
    several = frame.groupby("task")["language"].nunique() > 1
    groups = list(frame.groupby(["task", "language", "metric"], sort=False))
    one_metric = frame["metric"].nunique() == 1
    figure, axes = panels(len(groups), row_height=2.2, sharey=one_metric, across=3)
    for ax, ((task, language, metric), runs) in zip(axes, groups):
        for _, run in runs.groupby("seed"):
            ax.plot(run["epoch"], run["value"], color=PALETTE[0], lw=1, alpha=0.7)
        plain_axes(ax, f"{task}, {language}" if several[task] else task, grid="y")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_ylabel(f"{metric.replace('_', ' ')}, %", fontsize=8.5)
    figure.supxlabel("epoch", fontsize=9)
    return figure
