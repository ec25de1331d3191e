"""The parameters of notebook 5."""

from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic refuses typing's before Python 3.12

from lib.common.parameters import Beta, Optimised, Share
from lib.tasks.registry import TASKS

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


class Finetune(Optimised):
    """5_finetune: every task with every seed."""

    model: str
    model_revision: str | None = None
    tokenizer: str = ""  # empty: the model's own
    tasks: list[str] = Field(min_length=1)
    task_source: Literal["toy", "files", "hub"]
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

    @model_validator(mode="after")
    def _source(self):
        if self.task_source == "files" and not self.task_folder:
            raise ValueError(
                "task_source files needs task_folder, the folder of <suite>/<task>/<split>.jsonl"
            )
        if self.task_source == "toy" and not self.task_language:
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
            if name in TASKS and TASKS[name].kind == "span" and length < least:
                raise ValueError(
                    f"max_length {length} of {name} has no room for max_question_length "
                    f"{self.max_question_length} and doc_stride {self.doc_stride}; allowed are "
                    f"{least} and more"
                )
        return self
