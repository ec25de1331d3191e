"""What the notebooks show of one training stage: curves, scores, sizes. Frames and figures, to be passed to lib.show."""

import numpy as np
import pandas as pd

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
        axis.plot(frame["step"], frame[name], color="#0072B2" if name != "rate" else "#D55E00", lw=1.2)
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
    from lib.models import parameter_count, size_mib

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
    """Fine-tuning results per task and metric under both protocols, in percent: mean ± half the 95 % interval over seeds.
    Of a task in several languages, the mean over them."""
    from lib.statistics import pm

    frame = pd.DataFrame(rows)
    chosen = _protocols(frame)
    out = {}
    for task, metric in dict.fromkeys(zip(frame["task"], frame["metric"])):
        runs = {
            name: found[(found["task"] == task) & (found["metric"] == metric)].groupby("seed")["value"].mean()
            for name, found in chosen.items()
        }
        out[task, metric] = {**{name: pm(values) for name, values in runs.items()}, "seeds": len(runs["last epoch"])}
    index = pd.MultiIndex.from_tuples(out, names=["task", "metric"])
    return pd.DataFrame(list(out.values()), index=index)


def scores_by_language(rows: list[dict]) -> pd.DataFrame:
    """The scores of the tasks that come in several languages: a column a language and their mean, a row for each task, metric
    and protocol; mean ± half the 95 % interval over seeds. There must be such a task."""
    from lib.statistics import pm

    frame = pd.DataFrame(rows)
    frame = frame[frame.groupby("task")["language"].transform("nunique") > 1]
    chosen = _protocols(frame)
    out = {}
    for task, metric in dict.fromkeys(zip(frame["task"], frame["metric"])):
        for name, found in chosen.items():
            found = found[(found["task"] == task) & (found["metric"] == metric)]
            wide = found.pivot(index="seed", columns="language", values="value")[list(found["language"].unique())]
            out[task, metric, name] = {
                **{str(column): pm(wide[column]) for column in wide},
                "mean": pm(wide.mean(axis=1)),
            }
    index = pd.MultiIndex.from_tuples(out, names=["task", "metric", "protocol"])
    return pd.DataFrame(list(out.values()), index=index)


def _protocols(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Which rows each protocol takes. The best epoch of a run has the largest mean over the task's metrics and languages."""
    mean = frame.groupby(["task", "seed", "epoch"], sort=False)["value"].mean().reset_index()
    best = mean.loc[mean.groupby(["task", "seed"])["value"].idxmax(), ["task", "seed", "epoch"]]
    last = frame.groupby(["task", "seed"], sort=False)["epoch"].max().reset_index()
    return {"last epoch": frame.merge(last), "best epoch": frame.merge(best)}


def task_examples(p, count: int = 2, width: int = 140) -> pd.DataFrame:
    """A few training examples of every task with their labels: a class by its name, a number, an answer."""
    from lib.tasks import TASKS, TaskSource, load

    def said(task, label) -> str:
        if task.kind == "span":
            return label.texts[0]
        return task.labels[label] if task.labels else f"{label:g}"

    source = TaskSource(p.task_source, folder=p.task_folder, language=p.task_language, revisions=p.task_revisions)
    rows = []
    for name in p.tasks:
        found = load(name, "train", source, count)
        rows += [
            {"task": name, "text": " ⏎ ".join(text)[:width], "label": said(TASKS[name], label)}
            for text, label in zip(found.texts, found.labels)
        ]
    return pd.DataFrame(rows)


def finetuning(rows: list[dict]):
    """Every metric after every epoch, one line a seed, one panel a task, language and metric, at most four panels beside each
    other."""
    from matplotlib.figure import Figure

    frame = pd.DataFrame(rows)
    panels = list(dict.fromkeys(zip(frame["task"], frame["language"], frame["metric"])))
    several = frame.groupby("task")["language"].nunique() > 1
    wide = min(4, len(panels))
    deep = -(-len(panels) // wide)
    figure = Figure(figsize=(2.4 * wide, 2.2 * deep), layout="constrained")
    axes = figure.subplots(deep, wide, squeeze=False, sharey=frame["metric"].nunique() == 1).flatten()
    for axis, (task, language, metric) in zip(axes, panels):
        shown = frame[(frame["task"] == task) & (frame["language"] == language) & (frame["metric"] == metric)]
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
