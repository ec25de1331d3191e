"""The parameters of notebook 1."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lib.cleaning import How
from lib.corpus import Source
from lib.parameters_base import Count, CountOrNone, Share, Stage


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
