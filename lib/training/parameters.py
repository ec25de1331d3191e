"""The parameters of the stages that pretrain: notebooks 2, 3 and 4."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

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

from lib.common.parameters import NAME, Optimised, Share


class Loss(NamedTuple):
    """A loss as readers know it."""

    title: str  # in tables and figures
    meaning: str


LOSSES = {
    "soft": Loss("soft targets", "soft targets, KL from the teacher to the student"),
    "mlm": Loss("MLM", "cross-entropy of the masked tokens"),
    "cosine": Loss("cosine", "cosine distance of the last hidden states"),
    "hidden": Loss("hidden outputs", "squared error of the hidden outputs"),
    "attention": Loss("attention maps", "squared error of the attention maps"),
    "relations": Loss("relations", "KL of the relations among queries, keys and values"),
}
"""Every loss that a student can be trained with. Its weight is the parameter weight_<name>; an
objective and a history call it by the same name."""


def loss_weights(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The weights among a stage's parameters, or among those of an entry: loss -> weight."""
    keys = {name: f"weight_{name}" for name in LOSSES}
    return {name: parameters[key] for name, key in keys.items() if key in parameters}


def needs_teacher(weights: Mapping[str, float]) -> bool:
    """Whether a loss with a weight compares with the teacher: all but the MLM loss do."""
    return any(weight for name, weight in weights.items() if name != "mlm")


class Training(Optimised):
    """What every stage that pretrains has. `steps` > 0 counts optimizer steps and overrides
    `epochs`."""

    corpus: str
    epochs: PositiveFloat = 2.0
    steps: NonNegativeInt = 0
    batch_size: PositiveInt = 64  # sequences of one optimizer step
    micro_batch_size: PositiveInt = 64  # sequences that go through the model at once
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    whole_words: bool = True
    # s > 0: tokens are masked with a probability in proportion to count^-s, rare ones more often,
    # and exactly so many; DistilBERT's authors have 0.7. 0: all words alike
    mask_smoothing: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _tokens_one_by_one(self):
        if self.mask_smoothing and self.whole_words:
            raise ValueError(
                f"mask_smoothing {self.mask_smoothing:g} chooses token by token and needs "
                f"whole_words false; with whole words allowed is 0"
            )
        return self

    @model_validator(mode="after")
    def _enough_for_every_process(self):
        micros = -(-self.batch_size // self.micro_batch_size)
        if self.processes > micros:
            raise ValueError(
                f"processes {self.processes} share the micro-batches of a step, and there are "
                f"{micros} (batch_size {self.batch_size}, micro_batch_size "
                f"{self.micro_batch_size}); allowed are 1 … {micros}"
            )
        return self


class Taught(Training):
    """What the stages in which a student learns from a teacher have."""

    teacher: str
    teacher_revision: str | None = None


class TeacherContinuation(Training):
    """2_teacher_continuation. An empty `teacher` trains one from nothing, of the shape below;
    otherwise that teacher is trained further."""

    teacher: str = ""
    teacher_revision: str | None = None
    layers: PositiveInt = 12
    hidden: PositiveInt = 768
    heads: PositiveInt = 12
    intermediate: PositiveInt = 3072
    dropout: Share = 0.1
    initializer_range: PositiveFloat = 0.02
    attention_init: Literal["normal", "mimetic"] = "normal"
    grow_from_layers: NonNegativeInt = 0  # train so many first, then copy them; 0: all at once
    grow_by: Literal["stacking", "interpolation"] = "stacking"  # a b a b, or a a b b
    grow_steps: NonNegativeInt = 0
    grow_learning_rate: PositiveFloat = 1e-3

    @model_validator(mode="after")
    def _growth(self):
        if self.grow_from_layers and (self.layers % self.grow_from_layers or not self.grow_steps):
            raise ValueError(
                "grow_from_layers must divide layers and needs grow_steps of at least 1"
            )
        if not self.teacher and self.hidden % self.heads:
            raise ValueError(f"heads {self.heads} must divide hidden {self.hidden}")
        return self


class StudentParameters(BaseModel):
    """What students trained side by side may differ in. All weights 0: the student is not
    trained. `cosine_of` and `mlm_head` are for what the code of 000 does."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    init: Literal["random", "truncated"] = "truncated"
    student_layers: (
        Annotated[list[NonNegativeInt], Field(min_length=1)] | Literal["alternate", "to_top"]
    )
    weight_mlm: NonNegativeFloat = 0.0
    weight_soft: NonNegativeFloat = 0.0
    weight_cosine: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 2.0
    positions: Literal["all", "masked"] = "all"
    cosine_of: Literal["hidden", "logits"] = "hidden"  # logits: at `positions`
    mlm_head: bool = True  # False: the logits of student and teacher are hidden · embeddingsᵀ

    @field_validator("student_layers", mode="before")
    @classmethod
    def _layer_rule(cls, value):
        if isinstance(value, str) and value not in ("alternate", "to_top"):
            raise ValueError("give a list of the teacher's layers, or alternate, or to_top")
        return value

    @property
    def trains(self) -> bool:
        """Whether the student is trained at all."""
        return any(loss_weights(dict(self)).values())


class DistillationParameters(Taught, StudentParameters):
    """3_distillation. All weights 0: the student is published as it starts (S0 of 000, the
    control `truncated`).

    The plan sets `beside` and `trained_in`: a stage trains the students of other scenarios along
    with its own, and their stages load them from there (lib.training.side_by_side).
    """

    beside: dict[Annotated[str, Field(pattern=f"^{NAME.pattern}$")], StudentParameters] = {}
    # A folder beside/<name> of the stage that trains this student; empty: this one does.
    trained_in: str = ""

    @model_validator(mode="after")
    def _one_place_of_training(self):
        if self.trained_in and self.beside:
            raise ValueError(
                "trained_in and beside exclude each other: a stage whose student another one "
                "trains trains none"
            )
        if (self.trained_in or self.beside) and not self.trains:
            raise ValueError(
                "trained_in and beside need a weight above 0: this student is not trained"
            )
        for name, own in self.beside.items():
            if not own.trains:
                raise ValueError(f"beside.{name} needs a weight above 0: it is not trained")
        return self


class CascadeTA(Taught):
    """4_cascade_ta: one hop, from a teacher to a teacher assistant of its lowest `layers` layers.
    The optimizer is that of 004.

    All weights 0: the assistant is published as it starts (the control `truncated`).
    """

    # Of the whole chain, which the assistant's guesses are compared with; empty: the `teacher`.
    # The plan sets both.
    first_teacher: str = ""
    first_teacher_revision: str | None = None
    layers: PositiveInt
    mapping: Literal["adjacent", "uniform", "top", "skip"] = "adjacent"
    weight_hidden: NonNegativeFloat = 1.0
    weight_attention: NonNegativeFloat = 1.0
    weight_soft: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 2.0
    freeze_embeddings: bool = True
    dropout: Literal["both", "student", "none"] = "both"
    section: NonNegativeInt = 0  # which of the corpus's sections to read, from 1; 0: all of it
    mask_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: plain text, as in 004
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    warmup: Share = 0.1
    weight_decay: NonNegativeFloat = 0.0
    adam_epsilon: PositiveFloat = 1e-9
    clip_norm: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _last_layer(self):
        if self.mapping == "skip" and not self.weight_soft:
            raise ValueError(
                "mapping skip gives the last layer no target and needs weight_soft above 0; "
                "without soft targets allowed are adjacent, uniform and top"
            )
        return self
