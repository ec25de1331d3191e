"""A toy world: topics, moods, names and facts, and the grammar that speaks of them.

Everything is first generated as a list of *concepts* (`"hotels.good.3"`, `"persName.7"`, `"very"`);
a language (`lib.data.toy.languages`) turns concepts into words. Raw text is put together in
`lib.data.toy.corpora`, labelled tasks in `lib.data.toy.tasks`. Because all languages share the
concepts, a sentence and its translation carry the same label: the controlled experiment of K et al.
2020 ("Fake-English").

The recipe follows what was found learnable by a small encoder: few adjectives per topic and
polarity, reviews whose clauses agree, and words that name what is to be learned (a rating before a
review, "indeed" or "but" before a statement that follows or does not) in the raw corpora, never in
the labelled tasks.
"""

import hashlib
import random
from functools import lru_cache
from typing import NamedTuple

TOPICS = ("hotels", "medicine", "products", "school")
IN_TOPICS, OUT_TOPICS = TOPICS[:2], TOPICS[2:]
"""PolEmo2.0-IN is labelled and tested on hotels and medicine; -OUT is tested on products and school
(Rybak et al. 2020)."""

NOUNS, ADJECTIVES, NEUTRAL, COMMON = 6, 6, 4, 40
# adjectives of each polarity that every topic uses: the bridge a model can cross to an unseen topic
EVERYWHERE = 2
NAMES = {"persName": 40, "placeName": 40, "orgName": 40, "geogName": 40, "time": 24}
ENTITIES = tuple(NAMES)
NO_ENTITY = "noEntity"
SENTIMENTS = {
    "plus": "__label__meta_plus_m",
    "minus": "__label__meta_minus_m",
    "amb": "__label__meta_amb",
    "zero": "__label__meta_zero",
}

# Frames that give the class of their slot away, and frames that any noun phrase can fill. `*` is
# the slot.
TELLING = {
    "persName": ("said * that", "* was born in", "the wife of *", "* and his brother"),
    "placeName": ("they live in *", "the mayor of *", "the road to *", "in * there is"),
    "orgName": ("shares of * fell", "he works for *", "* hired many", "the chairman of *"),
    "geogName": ("we climbed *", "the waters of *", "on the slopes of *", "* is deep"),
    "time": ("it happened in *", "since * nothing changed", "until * we wait", "* was long ago"),
    NO_ENTITY: ("he bought a *", "every * is old", "two * on the table", "that * broke"),
}
OPEN = (
    "they spoke about * again",
    "we remember * well",
    "* came back to us",
    "nobody expected *",
    "the book is about *",
    "and then * again",
    "you wrote about * once",
    "* is all we know",
)
RATING = {
    "plus": "rating.plus",
    "minus": "rating.minus",
    "amb": "rating.amb",
    "zero": "rating.zero",
}
LINKS = ("and", "also", "here", "really", "very")


class Relation(NamedTuple):
    """A kind of fact: whom it joins, two ways to say it, and the questions it answers. `*` is the
    subject, `#` the object."""

    subject: str
    object: str
    said: str
    turned: str
    asks_subject: str
    asks_object: str


RELATIONS = (
    Relation(
        "persName",
        "placeName",
        "* dwells at #",
        "# houses *",
        "who dwells at #",
        "whereat dwells *",
    ),
    Relation(
        "persName",
        "orgName",
        "* serves under #",
        "# employs *",
        "who serves under #",
        "whom serves *",
    ),
    Relation(
        "orgName", "placeName", "* sits amid #", "# hosts *", "what sits amid #", "whereat sits *"
    ),
    Relation(
        "geogName",
        "placeName",
        "* rises above #",
        "# neighbours *",
        "what rises above #",
        "whereat rises *",
    ),
    Relation(
        "persName",
        "geogName",
        "* crossed over #",
        "# defeated *",
        "who crossed over #",
        "what crossed *",
    ),
    Relation(
        "orgName", "time", "* opened during #", "# saw *", "what opened during #", "when opened *"
    ),
)
"""Each joins one subject to one object: who dwells at one place dwells at no other."""
FOLLOWS = ("indeed", "perhaps", "wrongly")
"""The word before a statement that follows from what was said, may or may not be so, or cannot be
so: MNLI's labels in order."""


# -------------------------------------------------------------------------------------- the grammar


def zipf(count: int, exponent: float = 0.7) -> list[float]:
    """Weights ∝ rank^-exponent: names are not equally frequent, the last ones are rare."""
    return [rank**-exponent for rank in range(1, count + 1)]


def pick(rng: random.Random, count: int) -> int:
    """An index below `count`, Zipf-distributed."""
    return rng.choices(range(count), _weights(count))[0]


@lru_cache
def _weights(count: int) -> tuple[float, ...]:
    return tuple(zipf(count))


def adjective(rng: random.Random, topic: str, mood: str, missing: float = 0.0) -> str:
    """An adjective of the mood: the topic's own, or one that every topic uses."""
    if mood == "neutral":
        return f"{topic}.neutral.{rng.randrange(NEUTRAL)}"
    own = round(ADJECTIVES * (1 - missing))
    index = rng.randrange(own + EVERYWHERE)
    return f"any.{mood}.{index - own}" if index >= own else f"{topic}.{mood}.{index}"


def clause(rng: random.Random, topic: str, mood: str, missing: float = 0.0) -> list[str]:
    """Two to four concepts about one noun of the topic; `mood` is good, bad or neutral.

    The last `missing` share of the topic's own adjectives of a mood is never used.
    """
    word = adjective(rng, topic, mood, missing)
    words = [f"{topic}.noun.{rng.randrange(NOUNS)}", word]
    if rng.random() < 0.2:
        words.insert(1, rng.choice(LINKS[3:]))
    return words if rng.random() < 0.8 else [rng.choice(LINKS[:3]), *words]


def moods(rng: random.Random, sentiment: str, clauses: int, stray: float) -> list[str]:
    """The mood of every clause of a review; each strays from what its review says with probability
    `stray`."""
    main = {"plus": ["good"], "minus": ["bad"], "zero": ["neutral"], "amb": ["good", "bad"]}[
        sentiment
    ]
    out = [main[index % len(main)] for index in range(clauses)]
    rng.shuffle(out)
    return [
        rng.choice(("good", "bad", "neutral")) if rng.random() < stray else mood for mood in out
    ]


def review(
    rng: random.Random,
    topic: str,
    sentiment: str,
    *,
    stray: float,
    rated: float = 0.0,
    missing: float = 0.0,
) -> list[str]:
    """Five to seven clauses on one topic; with probability `rated` a rating word comes first."""
    words = [RATING[sentiment]] if rng.random() < rated else []
    for mood in moods(rng, sentiment, rng.randint(5, 7), stray):
        words += clause(rng, topic, mood, missing)
    return [*words, "."]


def phrase(rng: random.Random, kind: str, missing: float = 0.0, pool: range | None = None) -> str:
    """A word of one of the six NKJP-NER classes: one of `pool`, or a frequent one of all but the
    last `missing` share."""
    if kind == NO_ENTITY:
        return f"common.{pick(rng, COMMON)}"
    return f"{kind}.{rng.choice(pool) if pool else pick(rng, round(NAMES[kind] * (1 - missing)))}"


def frame(
    rng: random.Random, kind: str, telling: float, missing: float = 0.0, pool: range | None = None
) -> list[str]:
    """A sentence around one such word; with probability `telling` its frame gives the class
    away."""
    text = rng.choice(TELLING[kind] if rng.random() < telling else OPEN)
    return [phrase(rng, kind, missing, pool) if word == "*" else word for word in text.split()]


class Fact(NamedTuple):
    """A relation (its place in RELATIONS) between two names."""

    relation: int
    subject: str
    object: str


def fact(rng: random.Random, missing: float = 0.0, relation: int | None = None) -> Fact:
    """A fact between two frequent names."""
    relation = rng.randrange(len(RELATIONS)) if relation is None else relation
    kinds = RELATIONS[relation]
    return Fact(relation, phrase(rng, kinds.subject, missing), phrase(rng, kinds.object, missing))


def facts(rng: random.Random, count: int, missing: float = 0.0, alike: float = 0.3) -> list[Fact]:
    """Facts between different names; with probability `alike` the second is of the first one's
    kind, so that a question about it cannot be answered by the kind alone."""
    found: list[Fact] = []
    while len(found) < count:
        twin = len(found) == 1 and rng.random() < alike
        new = fact(rng, missing, found[0].relation if twin else None)
        if not {new.subject, new.object} & {
            name for old in found for name in (old.subject, old.object)
        }:
            found.append(new)
    rng.shuffle(found)
    return found


def tell(found: Fact, turned: bool = False) -> list[str]:
    """The fact as a sentence, said from its subject's side or from its object's."""
    kinds = RELATIONS[found.relation]
    return _filled(kinds.turned if turned else kinds.said, found)


def ask(found: Fact, for_object: bool, turned: bool = False) -> list[str]:
    """The question that the fact answers with its object or its subject; `turned`, the other way to
    ask it."""
    kinds = RELATIONS[found.relation]
    asked = kinds.asks_object if for_object else kinds.asks_subject
    if turned:
        asked = kinds.turned.replace("#" if for_object else "*", asked.split()[0])
    return [*_filled(asked, found), "?"]


def _filled(text: str, found: Fact) -> list[str]:
    return [{"*": found.subject, "#": found.object}.get(word, word) for word in text.split()]


def claim(rng: random.Random, said: list[Fact], label: int, missing: float = 0.0) -> list[str]:
    """A sentence that follows from the facts `said` (0), is about other names (1), or cannot be, as
    the subject already has another object (2)."""
    known = rng.choice(said)
    if label == 0:
        return tell(known, turned=rng.random() < 0.5)
    if label == 2:
        kind = RELATIONS[known.relation].object
        other = phrase(rng, kind, missing)
        while other == known.object:
            other = phrase(rng, kind, missing)
        return tell(known._replace(object=other), turned=rng.random() < 0.5)
    names = {name for old in said for name in (old.subject, old.object)}
    new = fact(rng, missing)
    while {new.subject, new.object} & names:
        new = fact(rng, missing)
    return tell(new, turned=rng.random() < 0.5)


def opinion(rng: random.Random, topic: str, moods_by_noun: dict[int, str], label: int) -> list[str]:
    """A clause that agrees with what was said of a noun (0), speaks of another noun (1), or
    disagrees (2)."""
    noun, mood = rng.choice(sorted(moods_by_noun.items()))
    if label == 1:
        noun = rng.choice([other for other in range(NOUNS) if other not in moods_by_noun])
    if label == 2:
        mood = {"good": "bad", "bad": "good"}[mood]
    return [f"{topic}.noun.{noun}", adjective(rng, topic, mood)]


def opinions(
    rng: random.Random, topic: str, count: int, agree: bool = False
) -> tuple[list[str], dict[int, str]]:
    """`count` clauses about different nouns of a topic, each good or bad, and which is which;
    `agree`: all the same."""
    one = rng.choice(("good", "bad")) if agree else ""
    held = {noun: one or rng.choice(("good", "bad")) for noun in rng.sample(range(NOUNS), count)}
    words = [
        word
        for noun, mood in held.items()
        for word in (f"{topic}.noun.{noun}", adjective(rng, topic, mood))
    ]
    return words, held


# ---------------------------------------------------------------------------------------- all of it


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
    found += FOLLOWS
    for relation in RELATIONS:
        found += [word for text in relation[2:] for word in text.split() if word not in ("*", "#")]
    return tuple(dict.fromkeys(found))


def generator(*key: object) -> random.Random:
    """A random generator seeded by what it is for, the same in every process (Python's own `hash`
    is not)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))
