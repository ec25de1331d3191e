"""The tasks that models are fine-tuned on.

To add a task, add one entry to `TASKS`: where its data are, which columns hold texts and label, its
classes, its metrics. Reading, training, evaluation, tables and model cards follow from the entry.
At the scale `tiny` a task needs a toy version too, one entry in `lib.data.toy.tasks.TOY_TASKS`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Where a task's records are, how they read, and how a model is scored.

    suite: folder of the task in a folder of files: <suite>/<task>, or <suite> where both have the
        same name.
    hub, config: its data set on the hub, and the configuration of it.
    text: the columns of the text, one or two; of a span task, the question and the context.
    label: the column of the label.
    labels: the classes in a fixed order, so that a class has the same id in every process and for
        every subset of the data.
    language: that of its data, if there is only one.
    metrics: names in `lib.tasks.metrics.METRICS`; those of a span task are SQuAD's two.
    kind: classification, regression (a number in `label_range`) or span (an answer in the context).
    trains_on: the task whose training data it uses, if not its own.
    validations: each validation split with the suffix that the names of its metrics get.
    languages: those its validation data come in, each a configuration of the hub's data set and a
        subfolder of the files; empty where there is one language only.
    """

    suite: str
    hub: str
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...] = ()
    language: str = "en"
    metrics: tuple[str, ...] = ("accuracy",)
    kind: str = "classification"
    config: str = ""
    trains_on: str = ""
    label_range: tuple[float, float] = (0.0, 5.0)
    validations: tuple[tuple[str, str], ...] = (("validation", ""),)
    languages: tuple[str, ...] = ()


def _klej(name: str, labels: tuple[str, ...], **more) -> Task:
    hub = f"allegro/klej-{name}"
    return Task("klej", hub, ("sentence",), "target", labels, language="pl", **more)


def _glue(name: str, text: tuple[str, ...], labels: tuple[str, ...], **more) -> Task:
    return Task("glue", "nyu-mll/glue", text, "label", labels, config=name, **more)


_ENTITIES = ("geogName", "noEntity", "orgName", "persName", "placeName", "time")
_POLARITIES = ("amb", "minus_m", "plus_m", "zero")
_POLEMO = tuple(f"__label__meta_{polarity}" for polarity in _POLARITIES)
_PAIR = ("sentence1", "sentence2")
_QUESTIONS = ("question1", "question2")
_NLI = ("premise", "hypothesis")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_TWO_WAY = ("entailment", "not_entailment")
_DUPLICATE = ("not_duplicate", "duplicate")
_MATCHED = (("validation_matched", ""), ("validation_mismatched", "_mismatched"))

TASKS = {
    "nkjp-ner": _klej("nkjp-ner", _ENTITIES),
    "polemo2-in": _klej("polemo2-in", _POLEMO),
    "polemo2-out": _klej("polemo2-out", _POLEMO, trains_on="polemo2-in"),
    # GLUE: classes in the order of the hub's label ids, metrics of Wang et al. 2019, Table 1.
    "cola": _glue("cola", ("sentence",), ("unacceptable", "acceptable"), metrics=("matthews",)),
    "sst2": _glue("sst2", ("sentence",), ("negative", "positive")),
    "mrpc": _glue("mrpc", _PAIR, ("not_equivalent", "equivalent"), metrics=("accuracy", "f1")),
    "qqp": _glue("qqp", _QUESTIONS, _DUPLICATE, metrics=("accuracy", "f1")),
    "stsb": _glue("stsb", _PAIR, (), metrics=("pearson", "spearman"), kind="regression"),
    "mnli": _glue("mnli", _NLI, _THREE_WAY, validations=_MATCHED),
    "qnli": _glue("qnli", ("question", "sentence"), _TWO_WAY),
    "rte": _glue("rte", _PAIR, _TWO_WAY),
    "wnli": _glue("wnli", _PAIR, ("not_entailment", "entailment")),
    "squad": Task(
        "squad",
        "rajpurkar/squad",
        ("question", "context"),
        "answers",
        kind="span",
        metrics=("exact_match", "f1"),
    ),
    # Zero-shot across languages (Conneau et al. 2018): fine-tuned on English, measured on the test
    # split as in 004. The English training pairs are MNLI's: the hub's facebook/xnli holds the same
    # 392,702, once more for every language.
    "xnli": Task(
        "xnli",
        "facebook/xnli",
        _NLI,
        "label",
        _THREE_WAY,
        trains_on="mnli",
        validations=(("test", ""),),
        languages=tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split()),
    ),
}
