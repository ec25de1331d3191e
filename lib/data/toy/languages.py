"""Toy languages: a lexicon each, one word for every concept of `lib.data.toy.world`. A new language
is one entry in `LANGUAGES`."""

import random
from dataclasses import dataclass
from functools import lru_cache

from lib.data.toy.world import ENTITIES, concepts, generator


@dataclass(frozen=True)
class Language:
    """A lexicon: a word for every concept. With a `base` it is one of a family: names, years and
    punctuation are those of the base language, and so is the share `cognates` of all other words.
    `digits`: years are written as numbers."""

    name: str
    onsets: str
    vowels: str
    codas: str
    base: str = ""
    cognates: float = 0.0
    digits: bool = False

    def word(self, concept: str) -> str:
        """The word for a concept: made of syllables, two for frequent function words and up to four
        for others."""
        return _word(self.name, concept)

    def say(self, concepts: list[str]) -> str:
        """A line of text; punctuation is written apart, as in the KLEJ files."""
        return " ".join(self.word(concept) for concept in concepts)


LANGUAGES = {
    "toy-en": Language(
        "toy-en",
        "b c d f g h l m n p r s t w bl cr st th sh gr",
        "a e i o u ea oo",
        "- - d l m n r s t ck nd st",
        digits=True,
    ),
    "toy-pl": Language(
        "toy-pl", "p b t d k g m n w z s ł r sz cz dz", "a e i o u y ą ę ó", "- - - n k ść l m rz"
    ),
    "toy-es": Language(
        "toy-es",
        "b c ch d f g j l ll m n ñ p r s t v",
        "a e i o u ue ie",
        "- - - - s n r l",
        "toy-en",
        0.8,
    ),
    "toy-de": Language(
        "toy-de",
        "b d f g h k l m n pf r s sch t w z",
        "a e i o u ä ö ü ei",
        "- n r t ch cht ng",
        "toy-en",
        0.6,
    ),
    "toy-zh": Language(
        "toy-zh", "b ch d h j k l p q t x y zh", "a ai ao e i ia iu o u", "- - n ng", "toy-en", 0.4
    ),
    "toy-ar": Language(
        "toy-ar",
        "b d dh f gh h j k kh l m n q s t",
        "a aa i ii u uu",
        "- b d l m n q r",
        "toy-en",
        0.2,
    ),
    "toy-ur": Language(
        "toy-ur",
        "b bh ch d dh g gh j jh k kh l m n p ph",
        "a aa e i ii o u",
        "- - l n r t h",
        "toy-en",
        0.05,
    ),
}
"""`toy-en` and the five after `toy-pl` are one family, from near to far, in the places of 004's
English, Spanish, German, Chinese, Arabic and Urdu; how near each is to English is our choice, not a
measurement of these languages."""


@lru_cache(maxsize=None)
def _word(language: str, concept: str) -> str:
    if concept in ",.?":
        return concept
    return _lexicon(language)[concept]


@lru_cache
def _lexicon(language: str) -> dict[str, str]:
    """Every concept's word, all different within a language. Independent of the order in which
    concepts are met."""
    speak, words, taken = LANGUAGES[language], {}, set()
    shared = _lexicon(speak.base) if speak.base else {}
    for concept in concepts():
        rng = generator(language, concept)
        kin = concept in shared and (
            rng.random() < speak.cognates or concept.split(".")[0] in ENTITIES
        )
        if kin and shared[concept] not in taken:
            form = shared[concept]
        elif speak.digits and concept.startswith("time."):
            form = str(1500 + 20 * int(concept.split(".")[1]) + rng.randrange(20))
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
