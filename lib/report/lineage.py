"""Where a model and its text come from: the trail of results, from a stage back to a hub's model or
to nothing.

What a model card may say: the facts about one model, read from what the stages recorded and from
the study's files.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef

NOISE = {
    "randomised": "the tokens of every sequence shuffled",
    "generated": "new sequences: its lengths, its token frequencies",
    "bigram": "new sequences: its lengths, its frequencies of token pairs",
}
"""What is done to a transfer set that is no natural text; see lib.data.derived."""


@dataclass(frozen=True)
class Text:
    """A prepared corpus: its name, the `sources` its words come from (lib.data.sources.Source, as
    parameters), what was `made` of them, oldest first, and its statistics; the last three are empty
    where the stage left no result."""

    name: str
    sources: tuple[dict, ...] = ()
    made: tuple[str, ...] = ()
    statistics: dict | None = None
    sentences_in: str = ""  # the language whose rules cut it into sentences

    @property
    def languages(self) -> list[str]:
        """The languages that the sources name, or that the sentences are in; empty where nothing
        says so."""
        named = [source.get("language") or self.sentences_in for source in self.sources]
        return list(dict.fromkeys(name for name in named if name))

    @property
    def noise(self) -> bool:
        """Whether its sequences are no longer natural text."""
        return any(made in NOISE.values() for made in self.made)


def result(folder: str | Path) -> dict | None:
    """The result of the stage that published to `folder` (relative to the checkout), or None."""
    path = places.ROOT / folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def text_of(corpus: str) -> Text:
    """The prepared corpus in a folder, back to the sources that it, or the corpus it is a sample
    of, was read from."""
    place = Path(corpus)
    name = place.parent.name.removeprefix("corpus_") if place.name == "data_prep" else place.name
    found = result(corpus)
    if found is None:
        return Text(name)
    p, statistics = found["parameters"], found["statistics"]
    if not p["sample_of"]:
        by_language = p["sampling_exponent"] is not None or p["sampling_target"]
        drawn = (
            ("lines drawn by language, smaller ones more often than their share",)
            if by_language
            else ()
        )
        return Text(
            name, tuple(p["sources"]), drawn, statistics, p["language"] if p["sentences"] else ""
        )
    parent = text_of(p["sample_of"])
    share = (
        (f"a random sample of {100 * p['share']:g} % of {parent.name}",) if p["share"] < 1 else ()
    )
    noise = (NOISE[p["composition"]],) if p["composition"] in NOISE else ()
    return Text(
        name, parent.sources, (*parent.made, *share, *noise), statistics, parent.sentences_in
    )


def teachers(found: dict) -> list[dict | str]:
    """The teachers of a stage's model, the nearest first: each the result of its own stage, or, at
    the end, a model of the hub or of a folder by its name. A model that was trained from nothing
    has none."""
    trail: list[dict | str] = []
    while taught_by := found["parameters"]["teacher"]:
        folder = Path(taught_by)
        before = result(folder.parent) if folder.name == "model" else None
        if before is None:
            return [*trail, taught_by]
        trail.append(before)
        found = before
    return trail


def place(output_dir: str) -> tuple[str, str, str]:
    """Scale, study and scenario of a stage of a plan; three empty strings for one that was run by
    hand.

    >>> place("outputs/tiny/herbert/S3/distillation")
    ('tiny', 'herbert', 'S3')
    """
    parts = Path(output_dir).parts
    return (
        (parts[1], parts[2], parts[3])
        if len(parts) == 5 and parts[0] == "outputs"
        else ("", "", "")
    )


def name_of(model: dict | str) -> str:
    """What a teacher is called: its scenario, its hub id, or its folder's own name."""
    if isinstance(model, str):
        return ModelRef(model).label
    return (
        place(model["parameters"]["output_dir"])[2] or Path(model["parameters"]["output_dir"]).name
    )


@dataclass(frozen=True)
class Facts:
    """What a card may say.

    found: the stage's result.json; config: the model's config.json; scale, study and scenario:
    empty for a stage run by hand; about: title and source of the study; text: what it was trained
    on; teachers: see lineage.teachers; texts: theirs, by name; licences: as the user stated them;
    finetuned: the parameters of the fine-tuning; scores and teachers_scores: rows of results.csv,
    of the model and of its teacher; cost and teachers_cost: their rows of efficiency.csv. The last
    five are empty before there are results.
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
        return (
            "the model it continues"
            if self.found["stage"] == "teacher_continuation"
            else "its teacher"
        )

    @property
    def scored(self) -> bool:
        """Whether there are results of the model."""
        return self.scores is not None and not self.scores.empty


def facts(folder: Path, found: dict, **results) -> Facts:
    """What is known of the model in `folder`, whose stage left the result `found`; `results`: the
    last five of Facts."""
    from lib.plan.study import Study

    p = found["parameters"]
    line, (scale, study, scenario) = teachers(found), place(p["output_dir"])
    about, licences = {}, {}
    try:
        if study:
            files = Study(study, scale, data_dir=None)
            about = {"title": files.about.title, "source": files.about.source}
            licences = files.licences
    except InputError:
        pass  # changed while the stage ran: a card without them is better than no model
    texts: dict[str, Text] = {
        name_of(one): text_of(one["parameters"]["corpus"]) for one in line if isinstance(one, dict)
    }
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Facts(
        found,
        config,
        text_of(p["corpus"]),
        line,
        texts,
        scale,
        study,
        scenario,
        about,
        licences,
        **results,
    )
