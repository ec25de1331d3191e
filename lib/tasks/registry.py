"""The published tasks that models are fine-tuned on, and what a task is.

A task of the user's own stands in a scale file, see `lib.tasks.parameters.OwnTask`. A published one
is an entry of `TASKS`: where its data are, which columns hold texts and label, its classes, its
metrics. Reading, training, evaluation, tables and model cards follow from the entry. At the scale
`tiny` a task needs a toy version too, one entry in `lib.data.toy.tasks.TOY_TASKS`.
"""

from dataclasses import dataclass

AVERAGED = ("f1", "precision", "recall", "jaccard")
"""Metrics of two classes, and under these names with _macro, _micro or _weighted of any number."""
METRICS_OF = {
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "cohen_kappa_score",
        "matthews",
        "matthews_corrcoef",
        *AVERAGED,
        *(f"{name}_{average}" for name in AVERAGED for average in ("macro", "micro", "weighted")),
    ),
    "regression": ("pearson", "spearman", "r2"),
    "span": ("exact_match", "f1"),
    "token_classification": ("entity_f1", "entity_precision", "entity_recall", "accuracy"),
}
"""The metrics there are for a kind of task: scikit-learn's by its names, SQuAD's, and seqeval's.
They are computed in `lib.tasks.metrics`."""


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
    metrics: names in METRICS_OF its kind.
    kind: classification, regression (a number, in `label_range` if there is one), span (an answer
        in the context) or token_classification (a class for each word of a list).
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
    label_range: tuple[float, float] | None = None
    validations: tuple[tuple[str, str], ...] = (("validation", ""),)
    languages: tuple[str, ...] = ()

    @property
    def tags(self) -> bool:
        """Whether it has a class for each word of a text."""
        return self.kind == "token_classification"


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
_FROM_0_TO_5 = {"kind": "regression", "label_range": (0.0, 5.0)}
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
    "stsb": _glue("stsb", _PAIR, (), metrics=("pearson", "spearman"), **_FROM_0_TO_5),
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
