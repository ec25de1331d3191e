"""The parameters of notebook 5."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic refuses typing's before Python 3.12

from lib.common.parameters import NAME, Beta, ModelName, Optimised, Share, TokenizerName
from lib.tasks.records import TAGS, WORDS
from lib.tasks.registry import AVERAGED, METRICS_OF, TASKS, Task

SequenceLength = Annotated[int, Field(ge=8, le=512)]
Pooling = Literal["first", "mean", "pooler"]


class OneTask(TypedDict, total=False):
    """The parameters that a single task may have a value of its own for."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    learning_rate: PositiveFloat
    epochs: PositiveInt
    batch_size: PositiveInt
    max_length: SequenceLength
    warmup: Share
    weight_decay: NonNegativeFloat
    adam_beta1: Beta
    adam_beta2: Beta
    pooling: Pooling


Kind = Literal["classification", "pair", "regression", "span", "token_classification"]
DEFAULTS: dict[str, tuple] = {
    "classification": (["text"], "label", ["accuracy"]),
    "regression": (["text"], "label", ["pearson", "spearman"]),
    "span": (["question", "context"], "answers", ["exact_match", "f1"]),
    "token_classification": ([WORDS], TAGS, ["entity_f1"]),
}
"""The columns of text and label, and the metrics, of an own task that names none, by its kind."""


class OwnTask(BaseModel):
    """A task of the user's own, an entry of `tasks` in a scale file.

    files: the folder of its train and validation records, .jsonl, .csv or .tsv, also compressed; or
        one file, of which a share is cut off for validation. Words with tags stand in a CoNLL file
        (.conll, .bio, .iob, .txt, .tsv) or as two lists in .jsonl.
    hub, config, revision: its data set on the hub instead.
    kind: `pair` is classification of two texts.
    text: the column of the text, or the two columns of a pair; of `span` question and context.
    label: the column of the label: a class, a number, SQuAD's answers, or the tags of all words. In
        a CoNLL file text and label are columns counted from 0, by default the first and the last.
    labels: the classes in the order of their ids; where none are given, those of the training
        records, sorted.
    metrics: names in `lib.tasks.registry.METRICS_OF` its kind.
    splits: the names of the files or of the hub's splits, where these are not train and validation.
    validation_share: how much of the training records is cut off for validation. If it is not
        given, that is done where there is no validation file: a tenth.
    """

    model_config = ConfigDict(extra="forbid")
    files: str = ""
    hub: str = ""
    config: str = ""
    revision: str | None = None
    kind: Kind = "classification"
    text: str | NonNegativeInt | list[str] = ""
    label: str | NonNegativeInt = ""
    labels: list[str | int] = []
    metrics: list[str] = []
    splits: dict[Literal["train", "validation"], str] = {}
    validation_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    language: str = "und"  # ISO 639's code for a language that is not said

    @field_validator("labels", mode="before")
    @classmethod
    def _no_truth_values(cls, labels):
        if isinstance(labels, list) and any(isinstance(label, bool) for label in labels):
            raise ValueError(
                "yes, no, true and false are truth values in YAML; put them in quotation marks"
            )
        return labels

    @model_validator(mode="after")
    def _whole(self):
        if bool(self.files) == bool(self.hub):
            raise ValueError("give the folder of its files or its id on the hub, one of the two")
        if self.kind != "token_classification" and int in (type(self.text), type(self.label)):
            raise ValueError("columns have names; those of CoNLL files alone are counted")
        texts = len(self.task().text)
        allowed = {"pair": (2,), "span": (2,), "token_classification": (1,)}
        if texts not in allowed.get(self.kind, (1, 2)):
            number = allowed[self.kind][0] if self.kind in allowed else "1 or 2"
            raise ValueError(f"text names {texts} columns; the kind {self.kind} has {number}")
        known = METRICS_OF[self.task().kind]
        for metric in self.metrics:
            if metric not in known:
                raise ValueError(
                    f"metrics: unknown {metric!r}; those of the kind {self.kind} are "
                    f"{', '.join(known)}"
                )
        if self.labels and self.task().kind not in ("classification", "token_classification"):
            raise ValueError(f"labels are for classes; the kind {self.kind} has none")
        labels = self.task().labels
        if again := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"labels name {again[0]!r} twice; each class once")
        two = [metric for metric in self.task().metrics if metric in AVERAGED]
        if self.task().kind == "classification" and len(self.labels) not in (0, 2) and two:
            raise ValueError(
                f"metrics: {two[0]} is of two classes, and there are {len(self.labels)}: "
                f"{two[0]}_macro, _micro or _weighted"
            )
        return self

    def task(self) -> Task:
        """The task that it describes; without classes if they have to be found."""
        kind = "classification" if self.kind == "pair" else self.kind
        text, label, metrics = DEFAULTS[kind]
        if isinstance(self.text, list):
            text = self.text
        elif isinstance(self.text, str) and self.text:
            text = [self.text]
        return Task(
            suite="",
            hub=self.hub,
            config=self.config,
            text=tuple(text),
            label=self.label if isinstance(self.label, str) and self.label else label,
            labels=tuple(map(str, self.labels)),
            language=self.language,
            metrics=tuple(self.metrics or metrics),
            kind=kind,
        )


class Finetune(Optimised):
    """5_finetune: every task with every seed."""

    model: ModelName
    model_revision: str | None = None
    tokenizer: TokenizerName = ""  # empty: the model's own
    tasks: list[str] = Field(min_length=1)
    own_tasks: dict[str, OwnTask] = {}  # those of `tasks` that are the user's own
    # of all others
    task_source: Literal["toy", "files", "hub"] = "files"
    task_folder: str = ""
    # of a toy source: the language of training, and of evaluation if there is only one
    task_language: str = ""
    languages: list[str] = []  # those that a task in several languages (xnli) is evaluated in
    task_revisions: dict[str, str] = {}
    # 0: all; or a number for each training set
    train_examples: NonNegativeInt | dict[str, NonNegativeInt] = 0
    validation_examples: NonNegativeInt = 0
    seeds: list[NonNegativeInt] = Field(min_length=1)
    epochs: PositiveInt = 8
    # tell a pair's two texts apart by token type, if the model can; False: it never saw pairs
    segments: bool = True
    # last: saves time, and both protocols are the same then
    evaluate: Literal["every_epoch", "last"] = "every_epoch"
    batch_size: PositiveInt = 32
    max_length: SequenceLength = 256
    # for spans (squad), see lib.tasks.spans; all in tokens. doc_stride: from the start of one
    # window of a context to the start of the next
    doc_stride: PositiveInt = 128
    max_question_length: PositiveInt = 64
    max_answer_length: PositiveInt = 30
    per_task: dict[str, OneTask] = {}
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    warmup: Share = 0.1
    freeze_embeddings: bool = False
    dropout: Share = 0.1
    pooling: Pooling = "first"
    keep_models: bool = False  # keep every fine-tuned model, as a teacher for others
    # The folder of a fine-tuning that kept its models; empty: no teacher. What follows is for
    # learning from it: DistilBERT's weights and temperature at fine-tuning
    teacher: ModelName = ""
    weight_gold: NonNegativeFloat = 0.5  # the task's own loss, on the gold labels
    weight_soft: NonNegativeFloat = 0.5  # the teacher's outputs: classes, numbers, answers, tags
    weight_hidden: NonNegativeFloat = 0.0
    weight_attention: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 2.0  # of the soft targets; a number has none
    # which of the teacher's layers each layer learns to match: lib.training.mappings
    mapping: Literal["adjacent", "uniform", "top", "skip"] = "uniform"

    @field_validator("own_tasks")
    @classmethod
    def _own_names(cls, own_tasks):
        for name in own_tasks:
            if name in TASKS or not NAME.fullmatch(name):
                problem = "is the name of a published task" if name in TASKS else "is no name"
                raise ValueError(f"{name!r} {problem}; choose another")
        return own_tasks

    @model_validator(mode="after")
    def _source(self):
        published = [name for name in self.tasks if name not in self.own_tasks]
        if published and self.task_source == "files" and not self.task_folder:
            raise ValueError(
                f"task_source files needs task_folder, the folder of <suite>/<task>/<split>.jsonl, "
                f"for {published[0]}"
            )
        if published and self.task_source == "toy" and not self.task_language:
            raise ValueError("task_source toy needs task_language")
        for key in ("train_examples", "per_task"):
            value = getattr(self, key)
            unknown = sorted(set(value) - set(self.tasks)) if isinstance(value, dict) else []
            if unknown:
                names = ", ".join(self.tasks)
                raise ValueError(f"{key} names {unknown[0]!r}, which is not among tasks ({names})")
        for key in ("seeds", "languages"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {values} repeat one")
        return self

    @model_validator(mode="after")
    def _teaches(self):
        weights = self.weight_soft, self.weight_hidden, self.weight_attention
        if self.teacher and not any(weights):
            raise ValueError(
                "a teacher needs weight_soft, weight_hidden or weight_attention above 0"
            )
        return self

    @model_validator(mode="after")
    def _languages(self):
        multilingual = [name for name, task in TASKS.items() if task.languages]
        chosen = [name for name in self.tasks if name in multilingual]
        if chosen and not self.languages:
            raise ValueError(
                f"languages is empty; {chosen[0]} is evaluated in several: name at least one"
            )
        if self.languages and not chosen:
            raise ValueError(
                f"languages {self.languages} need a task that comes in several, "
                f"{', '.join(multilingual)}; tasks are {', '.join(self.tasks)}"
            )
        return self

    @model_validator(mode="after")
    def _windows(self):
        # special tokens: BERT has 3 of them, RoBERTa 4
        least = self.max_question_length + self.doc_stride + 4
        for name in self.tasks:
            length = self.per_task.get(name, {}).get("max_length", self.max_length)
            if self.kind_of(name) == "span" and length < least:
                raise ValueError(
                    f"max_length {length} of {name} has no room for max_question_length "
                    f"{self.max_question_length} and doc_stride {self.doc_stride}; allowed are "
                    f"{least} and more"
                )
        return self

    def kind_of(self, name: str) -> str:
        """The kind of a task; "" where there is no such task."""
        if name in self.own_tasks:
            return self.own_tasks[name].task().kind
        return TASKS[name].kind if name in TASKS else ""
