"""A family of toy languages: one world of meanings, one grammar, several lexicons.

Everything is first generated as a list of *concepts* (`"hotels.good.3"`, `"persName.7"`, `"very"`); a `Language` then turns
concepts into words. A new language is one entry in `LANGUAGES`, a new raw corpus one entry in `CORPORA`, a new task one
function from a random generator to a record, and one entry in `TASKS`. Because all languages share the concepts, a
sentence and its translation carry the same label: the controlled experiment of K et al. 2020 ("Fake-English").

The recipe follows what was found learnable by a small encoder: few adjectives per topic and polarity, reviews whose
clauses agree, and a rating word in front of most reviews of the raw corpora, never in the labelled tasks.
"""

import hashlib
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Callable, Iterator

TOPICS = ("hotels", "medicine", "products", "school")
IN_TOPICS, OUT_TOPICS = TOPICS[:2], TOPICS[2:]
"""PolEmo2.0-IN is labelled and tested on hotels and medicine; -OUT is tested on products and school (Rybak et al. 2020)."""

NOUNS, ADJECTIVES, NEUTRAL, COMMON = 6, 6, 4, 40
EVERYWHERE = 2  # adjectives of each polarity that every topic uses: the bridge a model can cross to an unseen topic
NAMES = {"persName": 40, "placeName": 40, "orgName": 40, "geogName": 40, "time": 24}
ENTITIES = tuple(NAMES)
NO_ENTITY = "noEntity"
SENTIMENTS = {"plus": "__label__meta_plus_m", "minus": "__label__meta_minus_m",
              "amb": "__label__meta_amb", "zero": "__label__meta_zero"}  # fmt: skip

# Frames that give the class of their slot away, and frames that any noun phrase can fill. `*` is the slot.
TELLING = {
    "persName": ("said * that", "* was born in", "the wife of *", "* and his brother"),
    "placeName": ("they live in *", "the mayor of *", "the road to *", "in * there is"),
    "orgName": ("shares of * fell", "he works for *", "* hired many", "the chairman of *"),
    "geogName": ("we climbed *", "the waters of *", "on the slopes of *", "* is deep"),
    "time": ("it happened in *", "since * nothing changed", "until * we wait", "* was long ago"),
    NO_ENTITY: ("he bought a *", "every * is old", "two * on the table", "that * broke"),
}
OPEN = ("they spoke about * again", "we remember * well", "* came back to us", "nobody expected *",
        "the book is about *", "and then * again", "you wrote about * once", "* is all we know")  # fmt: skip
RATING = {"plus": "rating.plus", "minus": "rating.minus", "amb": "rating.amb", "zero": "rating.zero"}
LINKS = ("and", "also", "here", "really", "very")


# ---------------------------------------------------------------------------------------------- the grammar


def zipf(count: int, exponent: float = 0.7) -> list[float]:
    """Weights ∝ rank^-exponent: names are not equally frequent, the last ones are rare."""
    return [rank**-exponent for rank in range(1, count + 1)]


def pick(rng: random.Random, count: int) -> int:
    """An index below `count`, Zipf-distributed."""
    return rng.choices(range(count), _weights(count))[0]


@lru_cache
def _weights(count: int) -> tuple[float, ...]:
    return tuple(zipf(count))


def clause(rng: random.Random, topic: str, mood: str, missing: float = 0.0) -> list[str]:
    """Two to four concepts about one noun of the topic; `mood` is good, bad or neutral.

    The last `missing` share of the topic's own adjectives of a mood is never used.
    """
    if mood == "neutral":
        adjective = f"{topic}.neutral.{rng.randrange(NEUTRAL)}"
    else:
        own = round(ADJECTIVES * (1 - missing))
        index = rng.randrange(own + EVERYWHERE)
        adjective = f"any.{mood}.{index - own}" if index >= own else f"{topic}.{mood}.{index}"
    words = [f"{topic}.noun.{rng.randrange(NOUNS)}", adjective]
    if rng.random() < 0.2:
        words.insert(1, rng.choice(LINKS[3:]))
    return words if rng.random() < 0.8 else [rng.choice(LINKS[:3]), *words]


def moods(rng: random.Random, sentiment: str, clauses: int, stray: float) -> list[str]:
    """The mood of every clause of a review; each strays from what its review says with probability `stray`."""
    main = {"plus": ["good"], "minus": ["bad"], "zero": ["neutral"], "amb": ["good", "bad"]}[sentiment]
    out = [main[index % len(main)] for index in range(clauses)]
    rng.shuffle(out)
    return [rng.choice(("good", "bad", "neutral")) if rng.random() < stray else mood for mood in out]


def review(
    rng: random.Random, topic: str, sentiment: str, *, stray: float, rated: float = 0.0, missing: float = 0.0
) -> list[str]:
    """Five to seven clauses on one topic; with probability `rated` a rating word comes first."""
    words = [RATING[sentiment]] if rng.random() < rated else []
    for mood in moods(rng, sentiment, rng.randint(5, 7), stray):
        words += clause(rng, topic, mood, missing)
    return [*words, "."]


def phrase(rng: random.Random, kind: str, missing: float = 0.0, pool: range | None = None) -> str:
    """A word of one of the six NKJP-NER classes: one of `pool`, or a frequent one of all but the last `missing` share."""
    if kind == NO_ENTITY:
        return f"common.{pick(rng, COMMON)}"
    return f"{kind}.{rng.choice(pool) if pool else pick(rng, round(NAMES[kind] * (1 - missing)))}"


def frame(rng: random.Random, kind: str, telling: float, missing: float = 0.0, pool: range | None = None) -> list[str]:
    """A sentence around one such word; with probability `telling` its frame gives the class away."""
    text = rng.choice(TELLING[kind] if rng.random() < telling else OPEN)
    return [phrase(rng, kind, missing, pool) if word == "*" else word for word in text.split()]


# ---------------------------------------------------------------------------------------------- raw corpora


@dataclass(frozen=True)
class Corpus:
    """What a raw corpus talks about: the share of reviews, the weights of topics and moods, and which words it lacks."""

    reviews: float
    topics: tuple[float, ...]
    missing: float = 0.0
    telling: float = 0.9
    stray: float = 0.05
    rated: float = 0.9
    moods: dict[str, float] = field(default_factory=lambda: {"plus": 4, "minus": 4, "amb": 1, "zero": 1})


CORPORA = {
    "books": Corpus(reviews=0.55, topics=(3, 3, 2, 2)),
    "web": Corpus(reviews=0.65, topics=(2, 2, 3, 3), missing=0.4),
}
"""`books` is what the teacher was pretrained on; `web` plays CC-100: the same language, other shares, and many of the
teacher's words never occur in it, so that a student trained on it can keep them only by what its teacher says of them."""


def passage(rng: random.Random, corpus: Corpus) -> list[str]:
    """One line of a raw corpus: a review, or two to four sentences that mention things."""
    if rng.random() < corpus.reviews:
        topic = rng.choices(TOPICS, corpus.topics)[0]
        sentiment = rng.choices(list(corpus.moods), list(corpus.moods.values()))[0]
        return review(rng, topic, sentiment, stray=corpus.stray, rated=corpus.rated, missing=corpus.missing)
    words: list[str] = []
    for _ in range(rng.randint(2, 4)):
        kind = rng.choice((*ENTITIES, NO_ENTITY))
        words += [*frame(rng, kind, corpus.telling, corpus.missing), "."]
    return words


def corpus_lines(language: str, corpus: str, lines: int, seed: int) -> Iterator[str]:
    """`lines` passages of raw text. The same four arguments give the same text on every machine."""
    speak, rng = LANGUAGES[language], generator(language, corpus, seed)
    for _ in range(lines):
        yield speak.say(passage(rng, CORPORA[corpus]))


# ---------------------------------------------------------------------------------------------- labelled tasks


def ner(rng: random.Random, split: str) -> dict:
    """NKJP-NER: the class of the one name in the sentence. Most test names never occur in the labelled training data."""
    kind = rng.choice((*ENTITIES, NO_ENTITY))
    if kind == NO_ENTITY:
        return {"sentence": frame(rng, kind, 0.35), "target": kind}
    known = NAMES[kind] // 3
    pool = range(known) if split == "train" or rng.random() < 0.3 else range(known, NAMES[kind])
    return {"sentence": frame(rng, kind, 0.35, pool=pool), "target": kind}


def polemo_in(rng: random.Random, split: str) -> dict:
    """PolEmo2.0-IN: the sentiment of a review from the topics the labelled data covers."""
    return _polemo(rng, IN_TOPICS)


def polemo_out(rng: random.Random, split: str) -> dict:
    """PolEmo2.0-OUT: trained on IN's data, tested on topics it never saw."""
    return _polemo(rng, IN_TOPICS if split == "train" else OUT_TOPICS)


def _polemo(rng: random.Random, topics: tuple[str, ...]) -> dict:
    sentiment = rng.choice(list(SENTIMENTS))
    return {"sentence": review(rng, rng.choice(topics), sentiment, stray=0.15), "target": SENTIMENTS[sentiment]}


@dataclass(frozen=True)
class ToyTask:
    """How to make one record, the labels noise draws from, and whose training data it uses."""

    make: Callable[[random.Random, str], dict]
    labels: tuple[str, ...]
    trains_on: str = ""


TASKS = {
    "nkjp-ner": ToyTask(ner, (*ENTITIES, NO_ENTITY)),
    "polemo2-in": ToyTask(polemo_in, tuple(SENTIMENTS.values())),
    "polemo2-out": ToyTask(polemo_out, tuple(SENTIMENTS.values()), trains_on="polemo2-in"),
}

ANNOTATION_NOISE = 0.05
"""Share of labels replaced by a random one: annotators err, and a ceiling below 100 leaves the scenarios room to differ."""


def task_records(language: str, task: str, split: str, size: int, seed: int) -> Iterator[dict]:
    """`size` labelled records with the hub's columns; `split` is train or validation."""
    made = TASKS[task]
    rng = generator(language, made.trains_on if made.trains_on and split == "train" else task, split, seed)
    speak = LANGUAGES[language]
    seen = set() if split == "train" else _training_sentences(task, language, seed)
    for _ in range(size):
        record = made.make(rng, split)
        while tuple(record["sentence"]) in seen:
            record = made.make(rng, split)
        if rng.random() < ANNOTATION_NOISE:
            record["target"] = rng.choice(made.labels)
        yield {key: speak.say(value) if isinstance(value, list) else value for key, value in record.items()}


def _training_sentences(task: str, language: str, seed: int, size: int = 1000) -> set[tuple[str, ...]]:
    """The first sentences of a task's training data, as concepts: none of them is asked again in the validation data."""
    made = TASKS[task]
    rng = generator(language, made.trains_on or task, "train", seed)
    seen = set()
    for _ in range(size):
        seen.add(tuple(made.make(rng, "train")["sentence"]))
        if rng.random() < ANNOTATION_NOISE:
            rng.choice(made.labels)
    return seen


# ---------------------------------------------------------------------------------------------- lexicons


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
    "toy-pl": Language("toy-pl", "p b t d k g m n w z s ł r sz cz dz", "a e i o u y ą ę ó", "- - - n k ść l m rz"),
}


@lru_cache(maxsize=None)
def _word(language: str, concept: str) -> str:
    if concept in ",.":
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


@lru_cache
def concepts() -> tuple[str, ...]:
    """All concepts of the world, in one fixed order."""
    found = [*LINKS, *RATING.values()]
    for text in (*(text for texts in TELLING.values() for text in texts), *OPEN):
        found += [word for word in text.split() if word != "*"]
    for topic in TOPICS:
        found += [f"{topic}.noun.{i}" for i in range(NOUNS)]
        found += [f"{topic}.{mood}.{i}" for mood in ("good", "bad") for i in range(ADJECTIVES)]
        found += [f"{topic}.neutral.{i}" for i in range(NEUTRAL)]
    found += [f"any.{mood}.{i}" for mood in ("good", "bad") for i in range(EVERYWHERE)]
    found += [f"{kind}.{i}" for kind, count in NAMES.items() for i in range(count)]
    found += [f"common.{i}" for i in range(COMMON)]
    return tuple(dict.fromkeys(found))


def generator(*key: object) -> random.Random:
    """A random generator seeded by what it is for, the same in every process (Python's own `hash` is not)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))
