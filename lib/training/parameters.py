"""The parameters of the stages that pretrain: notebooks 2, 3 and 4."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from lib.common.errors import InputError
from lib.common.parameters import NAME, ModelName, Optimised, Share, StageFolder
from lib.training.architectures import sizes

LAYER_RULES = ("alternate", "to_top", "lowest", "highest")
"""Names for half of a teacher's layers; see lib.training.models.layer_choice for which."""
RELATION_WIDTH = 16
"""Dimensions of the teacher for one relation head, if not said otherwise: 48 heads for 768, 64 for
1,024, as in MiniLMv2."""
Mappings = Literal["adjacent", "uniform", "top", "skip"]
"""Of lib.training.mappings."""


def _vocabulary(value: Any) -> Any:
    if value in ("", "corpus") or type(value) is int and value > 0:  # YAML's yes is no number
        return value
    raise ValueError(
        "allowed are corpus (the tokens that occur in the stage's corpus), a whole number above 0 "
        "(so many of them, the most frequent) and empty (all)"
    )


Vocabulary = Annotated[str | int, BeforeValidator(_vocabulary)]
"""What a student's vocabulary is cut to once it is trained (lib.data.vocabulary)."""


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

    corpus: StageFolder
    epochs: PositiveFloat = 2.0
    steps: NonNegativeInt = 0
    batch_size: PositiveInt = 64  # sequences of one optimizer step
    micro_batch_size: PositiveInt = 64  # sequences that go through the model at once
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    whole_words: bool = True
    # s > 0: tokens are masked with a probability in proportion to count^-s, rare ones more often,
    # and their number is exact; DistilBERT's authors have 0.7. 0: all words alike
    mask_smoothing: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _tokens_one_by_one(self):
        if self.mask_smoothing and self.whole_words:
            raise ValueError(
                f"mask_smoothing {self.mask_smoothing:g} chooses token by token and needs "
                f"whole_words false; set whole_words: false, or mask_smoothing: 0"
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

    teacher: ModelName
    teacher_revision: str | None = None


class TeacherContinuation(Training):
    """2_teacher_continuation. An empty `teacher` trains one from nothing, of the shape below;
    otherwise that teacher is trained further."""

    teacher: ModelName = ""
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
        Annotated[list[NonNegativeInt], Field(min_length=1)]
        | Literal["alternate", "to_top", "lowest", "highest"]
    )
    hidden_size: NonNegativeInt = 0  # of a student of another width than its teacher; 0: the same
    vocabulary: Vocabulary = ""
    weight_mlm: NonNegativeFloat = 0.0
    weight_soft: NonNegativeFloat = 0.0
    weight_cosine: NonNegativeFloat = 0.0
    weight_hidden: NonNegativeFloat = 0.0
    weight_attention: NonNegativeFloat = 0.0
    weight_relations: NonNegativeFloat = 0.0
    mapping: Mappings = "uniform"  # of layers, whose hidden outputs and attention maps are matched
    relation_heads: NonNegativeInt = 0  # 0: one for every 16 dimensions of the teacher
    teacher_layer: NonNegativeInt = 0  # whose relations are matched, from 1; 0: the last
    temperature: PositiveFloat = 2.0
    positions: Literal["all", "masked"] = "all"
    cosine_of: Literal["hidden", "logits"] = "hidden"  # logits: at `positions`
    mlm_head: bool = True  # False: the logits of student and teacher are hidden · embeddingsᵀ

    @field_validator("student_layers", mode="before")
    @classmethod
    def _layer_rule(cls, value):
        if isinstance(value, str) and value not in LAYER_RULES:
            raise ValueError(
                f"give a list of the teacher's layers, or one of {', '.join(LAYER_RULES)}"
            )
        return value

    @model_validator(mode="after")
    def _last_layer_learns(self):
        others = (self.weight_mlm, self.weight_soft, self.weight_cosine, self.weight_relations)
        if self.mapping == "skip" and self.trains and not any(others):
            raise ValueError(
                "mapping skip gives the last layer no target and needs another loss than hidden "
                "outputs and attention maps; without one allowed are adjacent, uniform and top"
            )
        return self

    @property
    def uses_head(self) -> bool:
        """Whether a loss needs the MLM heads of student and teacher."""
        on_logits = self.weight_cosine and self.cosine_of == "logits"
        return bool(self.weight_mlm or self.weight_soft or on_logits)

    def require_fit(self, config: dict[str, Any], teacher: str) -> None:
        """Raise InputError if a teacher with this config.json cannot have such a student, or a loss
        cannot compare the two. What the config does not say is not checked."""
        known = sizes(config)
        theirs, heads, depth = known["hidden"], known["heads"], known["layers"]
        if depth and self.weight_relations and self.teacher_layer > depth:
            raise InputError(
                f"teacher_layer = {self.teacher_layer}: the teacher {teacher} has layers 1 … "
                f"{depth}; 0 is the last"
            )
        if depth and isinstance(self.student_layers, list) and len(self.student_layers) > depth:
            if matched := [name for name in ("hidden", "attention") if self._weight(name)]:
                raise InputError(
                    f"weight_{matched[0]} = {self._weight(matched[0]):g}: the layers of a student "
                    f"of {len(self.student_layers)} cannot be matched with the {depth} of the "
                    f"teacher {teacher}; allowed is 0"
                )
        if not (theirs and heads):
            return
        own = self.hidden_size or theirs
        if own % heads:
            raise InputError(
                f"hidden_size = {own}: allowed are multiples of the teacher's {heads} attention "
                f"heads, of which its student has as many"
            )
        if own > theirs and self.init == "truncated":
            raise InputError(
                f"hidden_size = {own}: with init truncated allowed are at most the {theirs} "
                f"dimensions of the teacher {teacher}; with init random any"
            )
        of_hidden = [name for name in ("cosine", "hidden") if self._weight(name)]
        if self.cosine_of == "logits":
            of_hidden = [name for name in of_hidden if name != "cosine"]
        if own != theirs and of_hidden:
            raise InputError(
                f"weight_{of_hidden[0]} = {self._weight(of_hidden[0]):g}: hidden states of {own} "
                f"dimensions (hidden_size) cannot be compared with the {theirs} of the teacher "
                f"{teacher}; allowed is 0, and losses on logits, attention maps and relations"
            )
        relation_heads = self.relation_heads or theirs // RELATION_WIDTH
        widths = {theirs, own}
        if self.weight_relations and any(n % max(1, relation_heads) for n in widths):
            raise InputError(
                f"relation_heads = {relation_heads}: allowed are numbers that divide the "
                f"{theirs} dimensions of the teacher {teacher} and the {own} of its student"
            )

    def _weight(self, loss: str) -> float:
        return getattr(self, f"weight_{loss}")

    @property
    def losses(self) -> dict[str, Any]:
        """The weights of the losses and what goes with them, as Distillation takes them by name."""
        names = ("temperature", "positions", "cosine_of", "mlm_head")
        names += ("mapping", "relation_heads", "teacher_layer")
        return loss_weights(dict(self)) | {name: getattr(self, name) for name in names}

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
    trained_in: StageFolder = ""

    @property
    def uses_head(self) -> bool:
        """Whether a loss of any student of the stage needs the MLM heads of it and its teacher."""
        return super().uses_head or any(own.uses_head for own in self.beside.values())

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
    first_teacher: ModelName = ""
    first_teacher_revision: str | None = None
    layers: PositiveInt
    mapping: Mappings = "adjacent"
    weight_hidden: NonNegativeFloat = 1.0
    weight_attention: NonNegativeFloat = 1.0
    weight_soft: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 2.0
    freeze_embeddings: bool = True
    dropout: Literal["both", "student", "none"] = "both"
    section: NonNegativeInt = 0  # which of the corpus's sections to read, from 1; 0: all of it
    vocabulary: Vocabulary = ""  # an assistant that teaches the next hop needs all of it
    mask_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: plain text, as in 004
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    warmup: Share = 0.1
    weight_decay: NonNegativeFloat = 0.0
    adam_epsilon: PositiveFloat = 1e-9
    clip_norm: NonNegativeFloat = 0.0

    @property
    def uses_head(self) -> bool:
        """Whether a loss needs the MLM heads of assistant and teacher."""
        return self.weight_soft > 0

    @model_validator(mode="after")
    def _last_layer(self):
        if self.mapping == "skip" and not self.weight_soft:
            raise ValueError(
                "mapping skip gives the last layer no target and needs weight_soft above 0; "
                "without soft targets allowed are adjacent, uniform and top"
            )
        return self
