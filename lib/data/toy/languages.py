"""Toy languages: one word for every concept of lib.data.toy.world. A new language is one entry in
LANGUAGES."""

import random
from dataclasses import dataclass
from functools import cached_property

from lib.data.toy.world import ENTITIES, concepts, generator


@dataclass(frozen=True)
class Language:
    """A lexicon, whose words are made of syllables: onsets, vowels and final consonants.

    With a `base` it belongs to a family: names, years and punctuation are those of the base, and so
    is the share `cognates` of all other words. `digits`: years are written as numbers.
    """

    name: str
    onsets: str
    vowels: str
    codas: str
    base: str = ""
    cognates: float = 0.0
    digits: bool = False

    def word(self, concept: str) -> str:
        """The word for a concept; punctuation stands for itself."""
        return concept if concept in ",.?" else self.lexicon[concept]

    def text(self, concepts: list[str]) -> str:
        """A line of text, with spaces around punctuation as in the KLEJ files."""
        return " ".join(map(self.word, concepts))

    @cached_property
    def lexicon(self) -> dict[str, str]:
        """The word for each concept; all are different. Two syllables at most for function words,
        three for others, before the final consonant."""
        words, taken = {}, set()
        base = LANGUAGES[self.base].lexicon if self.base else {}
        for concept in concepts():
            rng = generator(self.name, concept)
            is_name = concept.split(".")[0] in ENTITIES
            cognate = concept in base and (rng.random() < self.cognates or is_name)
            if cognate and base[concept] not in taken:
                word = base[concept]
            elif self.digits and concept.startswith("time."):
                word = str(1500 + 20 * int(concept.split(".")[1]) + rng.randrange(20))
            else:
                word = self._invent(concept, rng)
                while word in taken:
                    word = self._invent(concept, rng)
            taken.add(word)
            words[concept] = word
        return words

    def _invent(self, concept: str, rng: random.Random) -> str:
        syllables = rng.randint(2, 3) if "." in concept else rng.randint(1, 2)
        word = ""
        for _ in range(syllables):
            word += rng.choice(self.onsets.split()) + rng.choice(self.vowels.split())
        word += rng.choice(self.codas.split()).strip("-")
        kind = concept.split(".")[0]
        return word.capitalize() if kind in ENTITIES and kind != "time" else word


# fmt: off
_LANGUAGES = (
    Language("toy-en", "b c d f g h l m n p r s t w bl cr st th sh gr", "a e i o u ea oo",
             "- - d l m n r s t ck nd st", digits=True),
    Language("toy-pl", "p b t d k g m n w z s ł r sz cz dz", "a e i o u y ą ę ó",
             "- - - n k ść l m rz"),
    # A family, from near to far, for 004's English, Spanish, German, Chinese, Arabic and Urdu. How
    # near each is to English is our choice, not a measurement.
    Language("toy-es", "b c ch d f g j l ll m n ñ p r s t v", "a e i o u ue ie",
             "- - - - s n r l", "toy-en", 0.8),
    Language("toy-de", "b d f g h k l m n pf r s sch t w z", "a e i o u ä ö ü ei",
             "- n r t ch cht ng", "toy-en", 0.6),
    Language("toy-zh", "b ch d h j k l p q t x y zh", "a ai ao e i ia iu o u",
             "- - n ng", "toy-en", 0.4),
    Language("toy-ar", "b d dh f gh h j k kh l m n q s t", "a aa i ii u uu",
             "- b d l m n q r", "toy-en", 0.2),
    Language("toy-ur", "b bh ch d dh g gh j jh k kh l m n p ph", "a aa e i ii o u",
             "- - l n r t h", "toy-en", 0.05),
)
# fmt: on
LANGUAGES = {language.name: language for language in _LANGUAGES}
