"""The parameters of every stage: one flat model a notebook, checked in full before anything is computed.

The notebooks' parameter cells, the files the plan writes, and `-p name value` on the command line all end here. Unknown
names are refused; numbers may be written as `1e-5`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import TypedDict  # pydantic refuses the standard library's before Python 3.12

from lib.cleaning import How
from lib.corpus import Source
from lib.errors import InputError
from lib.tasks import TASKS

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


class Stage(BaseModel):
    """What every stage has. `output_dir` is where it publishes; empty means outputs/lab/, under a name of its own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    output_dir: str = ""
    seed: CountOrNone = 0
    threads: CountOrNone = 0  # CPU threads for arithmetic; 0: all of them


class DataPrep(Stage):
    """1_data_prep; see lib.prepare.prepare for what each does, and lib.derived.derive for what `sample_of` asks for."""

    sample_of: str = ""  # a prepared folder: a transfer set is made from it, and no text read
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    nested: bool = True
    composition: Literal["natural", "randomised", "generated", "bigram"] = "natural"
    sources: Annotated[list[Source], Field(validate_default=True)] = []
    cleaning: How = "careful"
    sentences: bool = False
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] = "en"  # of the sentences, an ISO 639 code
    deduplicate: bool = True
    min_words: CountOrNone = 1
    max_words: CountOrNone = 0
    min_tokens: Count = 3
    max_unknown_share: Share = 1.0
    subset_unit: Literal["none", "lines", "bytes", "tokens"] = "none"
    subset_size: CountOrNone = 0
    held_out_lines: Count = 500
    tokenizer: Annotated[str, Field(validate_default=True)] = ""
    tokenizer_revision: str | None = None
    vocab_size: Count = 30000
    max_length: Annotated[int, Field(ge=8, le=512)] = 128
    long_lines: Literal["split", "truncate"] = "split"
    processes: Count = 1

    @field_validator("share", "nested", "composition")
    @classmethod
    def _needs_a_sample(cls, value, info):
        if not info.data.get("sample_of") and value != cls.model_fields[info.field_name].default:
            raise ValueError("needs sample_of, the folder of a prepared corpus")
        return value

    @field_validator("sources", "tokenizer")
    @classmethod
    def _text_or_sample(cls, value, info):
        sampled = info.data.get("sample_of")
        if info.field_name == "sources" and sampled and value:
            raise ValueError("sources must be empty beside sample_of, whose text is tokenised already")
        if not sampled and not value:
            raise ValueError("there must be at least 1 item, or sample_of" if value == [] else "give one, or sample_of")
        return value

    @model_validator(mode="after")
    def _subset(self):
        if (self.subset_unit == "none") != (self.subset_size == 0):
            raise ValueError(f"subset_unit {self.subset_unit} does not go with subset_size {self.subset_size}")
        return self


class Training(Stage):
    """What every stage that trains has. `steps` > 0 counts optimizer steps and overrides `epochs`."""

    corpus: str
    epochs: Positive = 2.0
    steps: CountOrNone = 0
    batch_size: Count = 64  # sequences of one optimizer step
    micro_batch_size: Count = 64  # sequences that go through the model at once
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    whole_words: bool = True
    learning_rate: Positive
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.02
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    adam_epsilon: Positive = 1e-8
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    checkpoint_seconds: Positive = 120.0


class TeacherContinuation(Training):
    """2_teacher_continuation: `teacher` empty trains one from nothing, of the shape below; else it goes on from there."""

    teacher: str = ""
    teacher_revision: str | None = None
    layers: Count = 12
    hidden: Count = 768
    heads: Count = 12
    intermediate: Count = 3072
    dropout: Share = 0.1
    initializer_range: Positive = 0.02
    attention_init: Literal["normal", "mimetic"] = "normal"
    grow_from_layers: CountOrNone = 0  # first train so many layers, then copy them; 0: all layers from the start
    grow_by: Literal["stacking", "interpolation"] = "stacking"  # a b a b, or a a b b
    grow_steps: CountOrNone = 0
    grow_learning_rate: Positive = 1e-3

    @model_validator(mode="after")
    def _growth(self):
        if self.grow_from_layers and (self.layers % self.grow_from_layers or not self.grow_steps):
            raise ValueError("grow_from_layers must divide layers and needs grow_steps of at least 1")
        return self


class Distillation(Training):
    """3_distillation. All three weights 0: the student is published as it starts (000's S0, the control `truncated`)."""

    teacher: str
    teacher_revision: str | None = None
    init: Literal["random", "truncated"] = "truncated"
    student_layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | Literal["alternate", "to_top"]
    weight_mlm: Annotated[float, Field(ge=0)] = 0.0
    weight_soft: Annotated[float, Field(ge=0)] = 0.0
    weight_cosine: Annotated[float, Field(ge=0)] = 0.0
    temperature: Positive = 2.0
    positions: Literal["all", "masked"] = "all"

    @field_validator("student_layers", mode="before")
    @classmethod
    def _layer_rule(cls, value):
        if isinstance(value, str) and value not in ("alternate", "to_top"):
            raise ValueError("give a list of the teacher's layers, or alternate, or to_top")
        return value


SequenceLength = Annotated[int, Field(ge=8, le=512)]
Pooling = Literal["first", "mean"]


class OneTask(TypedDict, total=False):
    """What a single task may have a value of its own for."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    learning_rate: Positive
    epochs: Count
    batch_size: Count
    max_length: SequenceLength
    pooling: Pooling


class Finetune(Stage):
    """5_finetune: every task with every seed. The windows and answers of spans (squad): see lib.spans."""

    model: str
    model_revision: str | None = None
    tokenizer: str = ""  # empty: the one beside the model
    tasks: list[str] = Field(min_length=1)
    task_source: Literal["toy", "files", "hub"]
    task_folder: str = ""
    task_language: str = ""
    task_revisions: dict[str, str] = {}
    train_examples: CountOrNone | dict[str, CountOrNone] = 0  # 0: all; or a number for each training set
    validation_examples: CountOrNone = 0
    seeds: list[int] = Field(min_length=1)
    epochs: Count = 8
    segments: bool = True  # tell a pair's two texts apart by token type, where the model can; False: it never saw pairs
    evaluate: Literal["every_epoch", "last"] = "every_epoch"  # last: saves time, and both protocols are the same then
    batch_size: Count = 32
    max_length: SequenceLength = 256
    doc_stride: Count = 128  # tokens of the context from the start of one window to the start of the next
    max_question_length: Count = 64  # tokens
    max_answer_length: Count = 30  # tokens
    per_task: dict[str, OneTask] = {}
    learning_rate: Positive
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    dropout: Share = 0.1
    pooling: Pooling = "first"
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"

    @model_validator(mode="after")
    def _source(self):
        if self.task_source == "files" and not self.task_folder:
            raise ValueError("task_source files needs task_folder, the folder that holds <suite>/<task>/<split>.jsonl")
        if self.task_source == "toy" and not self.task_language:
            raise ValueError("task_source toy needs task_language")
        for key in ("train_examples", "per_task"):
            named = getattr(self, key)
            if isinstance(named, dict) and not set(named) <= set(self.tasks):
                unknown = sorted(set(named) - set(self.tasks))[0]
                raise ValueError(f"{key} names {unknown!r}, which is not among tasks ({', '.join(self.tasks)})")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeat one")
        return self

    @model_validator(mode="after")
    def _windows(self):
        for name in self.tasks:
            if name in TASKS and TASKS[name].kind == "span":
                length = self.per_task.get(name, {}).get("max_length", self.max_length)
                least = self.max_question_length + self.doc_stride + 4  # special tokens: BERT has 3 of them, RoBERTa 4
                if length < least:
                    raise ValueError(
                        f"max_length {length} of {name} has no room for max_question_length {self.max_question_length} and "
                        f"doc_stride {self.doc_stride}; allowed are {least} and more"
                    )
        return self


class Analysis(Stage):
    """6_analysis: the tables and figures of a scale, for the studies that ran."""

    scale: str
    studies: list[str] = Field(min_length=1)


KINDS: dict[str, type[Stage]] = {
    "data_prep": DataPrep,
    "teacher_continuation": TeacherContinuation,
    "distillation": Distillation,
    "finetune": Finetune,
    "analysis": Analysis,
}
NOTEBOOKS = {
    "data_prep": "1_data_prep",
    "teacher_continuation": "2_teacher_continuation",
    "distillation": "3_distillation",
    "finetune": "5_finetune",
    "analysis": "6_analysis",
}


def validate(kind: str, values: dict, where=lambda key: "parameters") -> Stage:
    """The checked parameters of a stage. Raises InputError for the first thing wrong; `where(key)` names its file."""
    try:
        return KINDS[kind](**values)
    except ValidationError as error:
        first = error.errors()[0]
        # Of a union pydantic names the branch too ("list[constrained-int]"), which says nothing to a reader.
        path = ".".join(str(part) for part in first["loc"] if "[" not in str(part)) or kind
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            known = KINDS[kind].model_fields
            inner = ", ".join(OneTask.__annotations__) if key == "per_task" else "see lib/parameters.py"
            names = ", ".join(known) if len(first["loc"]) == 1 else inner
            raise InputError(f"{where(key)}: unknown key {path!r} for {kind}; allowed are {names}") from None
        if first["type"] == "missing":
            raise InputError(f"{where(key)}: {path} is missing for {kind}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise InputError(f"{where(key)}: {path}{given}: {message[0].lower() + message[1:]}") from None
