"""The parameters of notebook 1."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from lib.common.parameters import Share, StageParameters
from lib.data import languages
from lib.data.cleaning import How
from lib.data.sources import Source


class DataPrep(StageParameters):
    """1_data_prep; see lib.data.prepare.prepare for what each does, and lib.data.derived.derive for
    what `sample_of` asks for."""

    sample_of: str = ""  # a prepared folder: a transfer set is made from it, and no text read
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    nested: bool = True
    composition: Literal["natural", "randomised", "generated", "bigram"] = "natural"
    sources: Annotated[list[Source], Field(validate_default=True)] = []
    cleaning: How = "careful"
    sentences: bool = False
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] = (
        "en"  # of the sentences, an ISO 639 code
    )
    deduplicate: bool = True
    min_words: NonNegativeInt = 1
    max_words: NonNegativeInt = 0
    min_tokens: PositiveInt = 3
    max_unknown_share: Share = 1.0
    subset_unit: Literal["none", "lines", "bytes", "tokens"] = "none"
    subset_size: NonNegativeInt = 0
    sampling_exponent: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sampling_target: str = ""
    sampling_unit: Literal["lines", "bytes"] = "lines"
    sampled_lines: NonNegativeInt = 0
    shuffle: bool = False
    sections: Annotated[int, Field(ge=1, le=100)] = 1
    held_out_lines: PositiveInt = 500
    tokenizer: Annotated[str, Field(validate_default=True)] = ""
    tokenizer_revision: str | None = None
    vocab_size: PositiveInt = 30000
    max_length: Annotated[int, Field(ge=8, le=512)] = 128
    long_lines: Literal["split", "truncate"] = "split"
    processes: PositiveInt = 1

    @model_validator(mode="before")
    @classmethod
    def _of_each_language(cls, values):
        given = isinstance(values, dict) and "sources" in values
        return values | {"sources": languages.expanded(values["sources"])} if given else values

    @field_validator(
        "sampling_exponent",
        "sampling_target",
        "sampling_unit",
        "sampled_lines",
        "shuffle",
        "sections",
    )
    @classmethod
    def _needs_text(cls, value, info):
        if info.data.get("sample_of") and value != cls.model_fields[info.field_name].default:
            raise ValueError(
                "needs sources; a transfer set, made with sample_of, keeps the order and shares "
                "of its parent"
            )
        return value

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
            raise ValueError(
                "sources must be empty beside sample_of, whose text is tokenised already"
            )
        if not sampled and not value:
            raise ValueError(
                "there must be at least 1 item, or sample_of"
                if value == []
                else "give one, or sample_of"
            )
        return value

    @model_validator(mode="after")
    def _subset(self):
        if (self.subset_unit == "none") != (self.subset_size == 0):
            raise ValueError(
                f"subset_unit {self.subset_unit} does not go with subset_size {self.subset_size}"
            )
        return self

    @model_validator(mode="after")
    def _sampling(self):
        if self.sampling_target and self.sampling_exponent is not None:
            raise ValueError(
                "sampling_target gives the exponent; allowed: one of sampling_exponent and "
                "sampling_target"
            )
        sampled = bool(self.sampling_target) or self.sampling_exponent is not None
        if self.sampled_lines and not sampled:
            raise ValueError(
                f"sampled_lines {self.sampled_lines} needs sampling_exponent or sampling_target"
            )
        if (sampled or self.sections > 1) and self.subset_unit != "none":
            allowed = "none; the size of a sampled corpus is sampled_lines" if sampled else "none"
            name = "sampling" if sampled else "sections"
            raise ValueError(
                f"subset_unit {self.subset_unit} keeps the first lines, and {name} need all; "
                f"allowed: {allowed}"
            )
        if not sampled:
            return self
        if nameless := [
            number for number, source in enumerate(self.sources) if not source.language
        ]:
            raise ValueError(
                f"sources.{nameless[0]}.language is missing; allowed: a language for each, to "
                f"sample by"
            )
        if self.sampling_target:
            languages.target(self.sampling_target, languages.grouped(self.sources)[0])
        return self
