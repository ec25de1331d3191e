"""Toy languages: a lexicon each, one word for every concept of `lib.toyworld`. A new language is one entry in `LANGUAGES`."""

import random
from dataclasses import dataclass
from functools import lru_cache

from lib.toyworld import ENTITIES, concepts, generator


@dataclass(frozen=True)
class Language:
    """A lexicon: a word for every concept. `cognates` is the share of words it has in common with `base`."""

    name: str
    onsets: str
    vowels: str
    codas: str
    base: str = ""
    cognates: float = 0.0

    def word(self, concept: str) -> str:
        """The word for a concept: made of syllables, two for frequent function words and up to four for others."""
        return _word(self.name, concept)

    def say(self, concepts: list[str]) -> str:
        """A line of text; punctuation is written apart, as in the KLEJ files."""
        return " ".join(self.word(concept) for concept in concepts)


LANGUAGES = {
    "toy-en": Language(
        "toy-en", "b c d f g h l m n p r s t w bl cr st th sh gr", "a e i o u ea oo", "- - d l m n r s t ck nd st"
    ),
    "toy-pl": Language("toy-pl", "p b t d k g m n w z s ł r sz cz dz", "a e i o u y ą ę ó", "- - - n k ść l m rz"),
}


@lru_cache(maxsize=None)
def _word(language: str, concept: str) -> str:
    if concept in ",.?":
        return concept
    return _lexicon(language)[concept]


@lru_cache
def _lexicon(language: str) -> dict[str, str]:
    """Every concept's word, all different within a language. Independent of the order in which concepts are met."""
    speak, words, taken = LANGUAGES[language], {}, set()
    shared = _lexicon(speak.base) if speak.base else {}
    for concept in concepts():
        rng = generator(language, concept)
        if concept in shared and rng.random() < speak.cognates and shared[concept] not in taken:
            form = shared[concept]
        else:
            form = _form(speak, concept, rng)
            while form in taken:
                form = _form(speak, concept, rng)
        taken.add(form)
        words[concept] = form
    return words


def _form(speak: Language, concept: str, rng: random.Random) -> str:
    syllables = rng.randint(1, 2) if "." not in concept else rng.randint(2, 3)
    form = ""
    for _ in range(syllables):
        form += rng.choice(speak.onsets.split()) + rng.choice(speak.vowels.split())
    form += rng.choice(speak.codas.split()).strip("-")
    is_name = concept.split(".")[0] in ENTITIES and not concept.startswith("time")
    return form.capitalize() if is_name else form
