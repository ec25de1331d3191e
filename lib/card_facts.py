"""What a model card may say: the facts about one model, read from what the stages recorded and from the study's files."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lib.errors import InputError
from lib.lineage import Text, name_of, place, teachers, text_of


@dataclass(frozen=True)
class Facts:
    """What a card may say.

    found: the stage's result.json; config: the model's config.json; scale, study and scenario: empty for a stage run by hand;
    about: title and source of the study; text: what it was trained on; teachers: see lineage.teachers; texts: theirs, by name;
    licences: as the user stated them; finetuned: the parameters of the fine-tuning; scores and teachers_scores: rows of
    results.csv, of the model and of its teacher; cost and teachers_cost: their rows of efficiency.csv. The last five are empty
    before there are results.
    """

    found: dict
    config: dict
    text: Text
    teachers: list
    texts: dict[str, Text] = field(default_factory=dict)
    scale: str = ""
    study: str = ""
    scenario: str = ""
    about: dict = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    finetuned: dict = field(default_factory=dict)
    scores: pd.DataFrame | None = None
    teachers_scores: pd.DataFrame | None = None
    cost: dict = field(default_factory=dict)
    teachers_cost: dict = field(default_factory=dict)

    @property
    def p(self) -> dict:
        """The stage's parameters."""
        return self.found["parameters"]

    @property
    def trained(self) -> bool:
        return bool(self.found["history"])

    @property
    def read(self) -> list[Text]:
        """Every text that the model or one before it in its line was trained on."""
        return [self.text] * self.trained + list(self.texts.values())

    @property
    def sources(self) -> list[dict]:
        return [source for text in self.read for source in text.sources]

    @property
    def languages(self) -> list[str]:
        return list(dict.fromkeys(language for text in self.read for language in text.languages))

    @property
    def toy(self) -> bool:
        """Whether all text is known to be of toy languages."""
        known = self.read and all(text.sources for text in self.read)
        return bool(known) and all(source["kind"] == "toy" for source in self.sources)

    @property
    def role(self) -> str:
        """What the model before this one in its line is to it."""
        return "the model it continues" if self.found["stage"] == "teacher_continuation" else "its teacher"

    @property
    def scored(self) -> bool:
        """Whether there are results of the model."""
        return self.scores is not None and not self.scores.empty


def facts(folder: Path, found: dict, **results) -> Facts:
    """What is known of the model in `folder`, whose stage left the result `found`; `results`: the last five of Facts."""
    from lib.study import Study

    p = found["parameters"]
    line, (scale, study, scenario) = teachers(found), place(p["output_dir"])
    about, licences = {}, {}
    try:
        if study:
            files = Study(study, scale, data_dir=None)
            about, licences = files.scenarios, files.licences
    except InputError:
        pass  # changed while the stage ran: a card without them is better than no model
    texts: dict[str, Text] = {
        name_of(one): text_of(one["parameters"]["corpus"]) for one in line if isinstance(one, dict)
    }
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Facts(found, config, text_of(p["corpus"]), line, texts, scale, study, scenario, about, licences, **results)
