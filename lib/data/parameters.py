"""The parameters of notebook 1."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from lib.common.parameters import Share, StageFolder, StageParameters, TokenizerName
from lib.data import languages
from lib.data.cleaning import Cleaning
from lib.data.sources import Source
from lib.data.tokenizer import SPECIAL_TOKENS

FOR_TEXT = (
    "sampling_exponent",
    "sampling_target",
    "sampling_unit",
    "sampled_lines",
    "shuffle",
    "sections",
)


class DataPrep(StageParameters):
    """Parameters of 1_data_prep.

    With `sample_of`, a transfer set is derived from a prepared folder (lib.data.derived), and of
    the parameters below only those of the first group and the `seed` apply.
    """

    # A transfer set: its parent folder, the share of the parent's sequences (without replacement),
    # whether smaller shares with one seed lie within larger ones, and what is made of the sample.
    sample_of: StageFolder = ""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    nested: bool = True
    composition: Literal["natural", "randomised", "generated", "bigram"] = "natural"

    # Text: a line is a passage or, with `sentences`, a sentence by the rules of the `language` (an
    # ISO 639 code). Dropped are duplicates, and lines with too few or too many words (0: no limit)
    # or too few tokens (special tokens included). A source of which more than `max_unknown_share`
    # of the tokens are unknown to the tokenizer is refused.
    sources: Annotated[list[Source], Field(validate_default=True)] = []
    cleaning: Cleaning = "careful"
    sentences: bool = False
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] = "en"
    deduplicate: bool = True
    min_words: NonNegativeInt = 1
    max_words: NonNegativeInt = 0
    min_tokens: PositiveInt = 3
    max_unknown_share: Share = 0.05

    # Only the first lines: whole ones, in order, at most `subset_size` lines, bytes or tokens
    # (special tokens not counted).
    subset_unit: Literal["none", "lines", "bytes", "tokens"] = "none"
    subset_size: NonNegativeInt = 0

    # Languages drawn with P' ∝ P^S, where P is their share of the bytes (004, eq. 1, 2). S is given
    # or solved from a target: "en = 100 is" means P'(en) = 100 P'(is). P' are the shares of lines
    # or of bytes. `sampled_lines` are drawn in all (0: as many as there are); languages with too
    # few repeat them evenly.
    sampling_exponent: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sampling_target: str = ""
    sampling_unit: Literal["lines", "bytes"] = "lines"
    sampled_lines: NonNegativeInt = 0

    # Random order. Sections are disjoint parts of the corpus, one after the other, chosen by the
    # hash of the text, so that copies of a line are in one section. Sampling and sections shuffle
    # too.
    shuffle: bool = False
    sections: Annotated[int, Field(ge=1, le=100)] = 1

    # Distinct lines, spread over all text, that go to held_out/; no copy of them stays in data/.
    # They reduce a subset by lines or bytes, not one by tokens.
    held_out_lines: PositiveInt = 500

    # train: and a kind of tokenizer.SPECIAL_TOKENS (at most vocab_size tokens; held-out lines are
    # not used), or a folder or hub id (at tokenizer_revision).
    tokenizer: Annotated[TokenizerName, Field(validate_default=True)] = ""
    tokenizer_revision: str | None = None
    vocab_size: PositiveInt = 30000
    max_length: Annotated[int, Field(ge=8, le=512)] = 128  # tokens, special tokens included
    long_lines: Literal["split", "truncate"] = "split"  # split keeps every token
    processes: PositiveInt = 1  # that tokenise; the result does not depend on it

    @model_validator(mode="before")
    @classmethod
    def _expand_languages(cls, values):
        if isinstance(values, dict) and "sources" in values:
            return values | {"sources": languages.expand_languages(values["sources"])}
        return values

    @field_validator(*FOR_TEXT)
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
    def _needs_parent(cls, value, info):
        if not info.data.get("sample_of") and value != cls.model_fields[info.field_name].default:
            raise ValueError("needs sample_of, the folder of a prepared corpus")
        return value

    @field_validator("sources")
    @classmethod
    def _text_or_parent(cls, value, info):
        sampled = info.data.get("sample_of")
        if sampled and value:
            raise ValueError(
                "sources must be empty beside sample_of, whose text is tokenised already"
            )
        if not sampled and not value:
            raise ValueError("there must be at least 1 item, or sample_of")
        return value

    @field_validator("tokenizer")
    @classmethod
    def _tokenizer_or_parent(cls, value, info):
        if not info.data.get("sample_of") and not value:
            raise ValueError("give one, or sample_of")
        action, _, kind = value.partition(":")
        if action == "train" and kind not in SPECIAL_TOKENS:
            allowed = ", ".join(f"train:{name}" for name in SPECIAL_TOKENS)
            raise ValueError(f"{value} is unknown; allowed: {allowed}, a folder, or a hub id")
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
        sampled = bool(self.sampling_target) or self.sampling_exponent is not None
        if self.sampling_target and self.sampling_exponent is not None:
            raise ValueError(
                "sampling_target gives the exponent; allowed: one of sampling_exponent and "
                "sampling_target"
            )
        if self.sampled_lines and not sampled:
            raise ValueError(
                f"sampled_lines {self.sampled_lines} needs sampling_exponent or sampling_target"
            )
        if (sampled or self.sections > 1) and self.subset_unit != "none":
            reason = f"subset_unit {self.subset_unit} keeps the first lines"
            if not sampled:
                raise ValueError(f"{reason}, and sections need all; allowed: none")
            size = "the size of a sampled corpus is sampled_lines"
            raise ValueError(f"{reason}, and sampling needs all; allowed: none; {size}")
        if not sampled:
            return self
        for number, source in enumerate(self.sources):
            if not source.language:
                allowed = "a language for each, to sample by"
                raise ValueError(f"sources.{number}.language is missing; allowed: {allowed}")
        if self.sampling_target:
            names, _ = languages.group_by_language(self.sources)
            languages.parse_target(self.sampling_target, names)
        return self
