"""The parameters of notebook 5."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from typing_extensions import (
    TypedDict,  # pydantic refuses the standard library's before Python 3.12
)

from lib.common.parameters import Optimised, Share
from lib.tasks.registry import TASKS

SequenceLength = Annotated[int, Field(ge=8, le=512)]
Pooling = Literal["first", "mean", "pooler"]


class OneTask(TypedDict, total=False):
    """What a single task may have a value of its own for."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    learning_rate: PositiveFloat
    epochs: PositiveInt
    batch_size: PositiveInt
    max_length: SequenceLength
    pooling: Pooling


class Finetune(Optimised):
    """5_finetune: every task with every seed. The windows and answers of spans (squad): see
    lib.tasks.spans."""

    model: str
    model_revision: str | None = None
    tokenizer: str = ""  # empty: the one beside the model
    tasks: list[str] = Field(min_length=1)
    task_source: Literal["toy", "files", "hub"]
    task_folder: str = ""
    task_language: str = (
        ""  # of a toy source: the language of training, and of evaluation where there is one only
    )
    languages: list[str] = []  # those that a task in several (xnli) is evaluated in
    task_revisions: dict[str, str] = {}
    train_examples: NonNegativeInt | dict[str, NonNegativeInt] = (
        0  # 0: all; or a number for each training set
    )
    validation_examples: NonNegativeInt = 0
    seeds: list[NonNegativeInt] = Field(min_length=1)
    epochs: PositiveInt = 8
    # tell a pair's two texts apart by token type, where the model can; False: it never saw pairs
    segments: bool = True
    evaluate: Literal["every_epoch", "last"] = (
        "every_epoch"  # last: saves time, and both protocols are the same then
    )
    batch_size: PositiveInt = 32
    max_length: SequenceLength = 256
    doc_stride: PositiveInt = (
        128  # tokens of the context from the start of one window to the start of the next
    )
    max_question_length: PositiveInt = 64  # tokens
    max_answer_length: PositiveInt = 30  # tokens
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
                "task_source files needs task_folder, the folder that holds "
                "<suite>/<task>/<split>.jsonl"
            )
        if self.task_source == "toy" and not self.task_language:
            raise ValueError("task_source toy needs task_language")
        for key in ("train_examples", "per_task"):
            named = getattr(self, key)
            if isinstance(named, dict) and not set(named) <= set(self.tasks):
                unknown = sorted(set(named) - set(self.tasks))[0]
                raise ValueError(
                    f"{key} names {unknown!r}, which is not among tasks ({', '.join(self.tasks)})"
                )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeat one")
        return self

    @model_validator(mode="after")
    def _languages(self):
        multilingual = [name for name, task in TASKS.items() if task.languages]
        among = [name for name in self.tasks if name in multilingual]
        if among and not self.languages:
            raise ValueError(
                f"languages is empty; {among[0]} is evaluated in several: name at least one"
            )
        if self.languages and not among:
            raise ValueError(
                f"languages {self.languages} need a task that comes in several, "
                f"{', '.join(multilingual)}; "
                f"tasks are {', '.join(self.tasks)}"
            )
        if len(set(self.languages)) < len(self.languages):
            raise ValueError(f"languages {self.languages} repeat one")
        return self

    @model_validator(mode="after")
    def _windows(self):
        for name in self.tasks:
            if name in TASKS and TASKS[name].kind == "span":
                length = self.per_task.get(name, {}).get("max_length", self.max_length)
                least = (
                    self.max_question_length + self.doc_stride + 4
                )  # special tokens: BERT has 3 of them, RoBERTa 4
                if length < least:
                    raise ValueError(
                        f"max_length {length} of {name} has no room for max_question_length "
                        f"{self.max_question_length} and "
                        f"doc_stride {self.doc_stride}; allowed are {least} and more"
                    )
        return self
