"""Where a model and its text come from: the trail of results, from a stage back to a hub's model or to nothing."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lib import ROOT

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
NOISE = {
    "randomised": "the tokens of every sequence shuffled",
    "generated": "new sequences: its lengths, its token frequencies",
    "bigram": "new sequences: its lengths, its frequencies of token pairs",
}
"""What is done to a transfer set that is no natural text; see lib.derived."""


@dataclass(frozen=True)
class Text:
    """A prepared corpus: its name, the `sources` its words come from (lib.corpus.Source, as parameters), what was `made` of
    them, oldest first, and its statistics; the last three are empty where the stage left no result."""

    name: str
    sources: tuple[dict, ...] = ()
    made: tuple[str, ...] = ()
    statistics: dict | None = None
    sentences_in: str = ""  # the language whose rules cut it into sentences

    @property
    def languages(self) -> list[str]:
        """The languages that the sources name, or that the sentences are in; empty where nothing says so."""
        named = [source.get("language") or self.sentences_in for source in self.sources]
        return list(dict.fromkeys(name for name in named if name))

    @property
    def noise(self) -> bool:
        """Whether its sequences are no longer natural text."""
        return any(made in NOISE.values() for made in self.made)


def result(folder: str | Path) -> dict | None:
    """The result of the stage that published to `folder` (relative to the checkout), or None."""
    path = ROOT / folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def text_of(corpus: str) -> Text:
    """The prepared corpus in a folder, back to the sources that it, or the corpus it is a sample of, was read from."""
    place = Path(corpus)
    name = place.parent.name.removeprefix("corpus_") if place.name == "data_prep" else place.name
    found = result(corpus)
    if found is None:
        return Text(name)
    p, statistics = found["parameters"], found["statistics"]
    if not p["sample_of"]:
        by_language = p["sampling_exponent"] is not None or p["sampling_target"]
        drawn = ("lines drawn by language, smaller ones more often than their share",) if by_language else ()
        return Text(name, tuple(p["sources"]), drawn, statistics, p["language"] if p["sentences"] else "")
    parent = text_of(p["sample_of"])
    share = (f"a random sample of {100 * p['share']:g} % of {parent.name}",) if p["share"] < 1 else ()
    noise = (NOISE[p["composition"]],) if p["composition"] in NOISE else ()
    return Text(name, parent.sources, (*parent.made, *share, *noise), statistics, parent.sentences_in)


def teachers(found: dict) -> list[dict | str]:
    """The teachers of a stage's model, the nearest first: each the result of its own stage, or, at the end, a model of the hub or
    of a folder by its name. A model that was trained from nothing has none."""
    trail: list[dict | str] = []
    while taught_by := found["parameters"]["teacher"]:
        folder = Path(taught_by)
        before = result(folder.parent) if folder.name == "model" else None
        if before is None:
            return [*trail, taught_by]
        trail.append(before)
        found = before
    return trail


def on_the_hub(model: dict | str) -> bool:
    """Whether a teacher is named as a model of the hub is, and is no folder here."""
    return isinstance(model, str) and bool(HUB_ID.fullmatch(model)) and not (ROOT / model).exists()


def place(output_dir: str) -> tuple[str, str, str]:
    """Scale, study and scenario of a stage of a plan; three empty strings for one that was run by hand.

    >>> place("outputs/tiny/herbert/S3/distillation")
    ('tiny', 'herbert', 'S3')
    """
    parts = Path(output_dir).parts
    return (parts[1], parts[2], parts[3]) if len(parts) == 5 and parts[0] == "outputs" else ("", "", "")


def name_of(model: dict | str) -> str:
    """What a teacher is called: its scenario, its hub id, or its folder's own name."""
    if isinstance(model, str):
        return model if on_the_hub(model) else Path(model).name
    return place(model["parameters"]["output_dir"])[2] or Path(model["parameters"]["output_dir"]).name
