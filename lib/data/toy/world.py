"""A toy world: topics, moods, names and facts, and the grammar of texts about them.

Text is first generated as a list of *concepts* ("hotels.good.3", "persName.7", "very"); a language
(lib.data.toy.languages) turns them into words. Since all languages share the concepts, a sentence
and its translation have the same label: the experiment of K et al. 2020 ("Fake-English").

The recipe follows what a small encoder can learn: few adjectives per topic and polarity, reviews
whose clauses agree, and words that name what is to be learned (a rating before a review, "indeed"
or "wrongly" before a statement). Those words occur in raw corpora only, never in labelled tasks.
"""

import hashlib
import random
from functools import lru_cache
from typing import NamedTuple

TOPICS = ("hotels", "medicine", "products", "school")
# PolEmo2.0-IN is labelled and tested on the first two, -OUT tested on the others (Rybak et al.
# 2020).
IN_TOPICS, OUT_TOPICS = TOPICS[:2], TOPICS[2:]

NOUNS, ADJECTIVES, NEUTRAL, COMMON = 6, 6, 4, 40
# Adjectives of each polarity that all topics share: the bridge by which a model can reach an unseen
# topic.
SHARED = 2
NAMES = {"persName": 40, "placeName": 40, "orgName": 40, "geogName": 40, "time": 24}
ENTITIES = tuple(NAMES)
NO_ENTITY = "noEntity"
SENTIMENTS = {
    "plus": "__label__meta_plus_m",
    "minus": "__label__meta_minus_m",
    "amb": "__label__meta_amb",
    "zero": "__label__meta_zero",
}
MOODS = {"plus": ["good"], "minus": ["bad"], "zero": ["neutral"], "amb": ["good", "bad"]}

# Frames around a noun phrase, which replaces `*`: those that reveal its class, and those that do
# not.
REVEALING_FRAMES = {
    "persName": ("said * that", "* was born in", "the wife of *", "* and his brother"),
    "placeName": ("they live in *", "the mayor of *", "the road to *", "in * there is"),
    "orgName": ("shares of * fell", "he works for *", "* hired many", "the chairman of *"),
    "geogName": ("we climbed *", "the waters of *", "on the slopes of *", "* is deep"),
    "time": ("it happened in *", "since * nothing changed", "until * we wait", "* was long ago"),
    NO_ENTITY: ("he bought a *", "every * is old", "two * on the table", "that * broke"),
}
NEUTRAL_FRAMES = (
    "they spoke about * again",
    "we remember * well",
    "* came back to us",
    "nobody expected *",
    "the book is about *",
    "and then * again",
    "you wrote about * once",
    "* is all we know",
)
LINKS = ("and", "also", "here", "really", "very")


class Relation(NamedTuple):
    """A kind of fact: the classes it relates, two ways to state it, and the questions about its
    subject and its object. `*` stands for the subject, `#` for the object."""

    subject: str
    object: str
    statement: str
    reverse: str
    subject_question: str
    object_question: str


# Each subject has one object: a person who dwells at one place dwells at no other.
RELATIONS = tuple(
    Relation(*row.split(" | "))
    for row in """
persName | placeName | * dwells at # | # houses * | who dwells at # | whereat dwells *
persName | orgName | * serves under # | # employs * | who serves under # | whom serves *
orgName | placeName | * sits amid # | # hosts * | what sits amid # | whereat sits *
geogName | placeName | * rises above # | # neighbours * | what rises above # | whereat rises *
persName | geogName | * crossed over # | # defeated * | who crossed over # | what crossed *
orgName | time | * opened during # | # saw * | what opened during # | when opened *
""".strip().split("\n")
)
# Before a statement that follows, may or may not be true, or cannot be: MNLI's labels in order.
VERDICTS = ("indeed", "perhaps", "wrongly")


def generator(*key: object) -> random.Random:
    """A random generator seeded by its purpose, the same in every process (unlike `hash`)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


@lru_cache
def concepts() -> tuple[str, ...]:
    """All concepts of the world, in a fixed order."""
    names = [*LINKS, *(f"rating.{sentiment}" for sentiment in SENTIMENTS)]
    for frames in (*REVEALING_FRAMES.values(), NEUTRAL_FRAMES):
        names += [word for frame in frames for word in frame.split() if word != "*"]
    for topic in TOPICS:
        names += [f"{topic}.noun.{i}" for i in range(NOUNS)]
        names += [f"{topic}.{mood}.{i}" for mood in ("good", "bad") for i in range(ADJECTIVES)]
        names += [f"{topic}.neutral.{i}" for i in range(NEUTRAL)]
    names += [f"any.{mood}.{i}" for mood in ("good", "bad") for i in range(SHARED)]
    names += [f"{kind}.{i}" for kind, count in NAMES.items() for i in range(count)]
    names += [f"common.{i}" for i in range(COMMON)]
    names += VERDICTS
    for relation in RELATIONS:
        names += [word for text in relation[2:] for word in text.split() if word not in ("*", "#")]
    return tuple(dict.fromkeys(names))


# ---------------------------------------------------------------------------------------- reviews


def adjective(rng: random.Random, topic: str, mood: str, missing: float = 0.0) -> str:
    """An adjective of a mood (good, bad or neutral): the topic's own, or one that all topics share.
    The last `missing` share of the topic's own is never used."""
    if mood == "neutral":
        return f"{topic}.neutral.{rng.randrange(NEUTRAL)}"
    own = round(ADJECTIVES * (1 - missing))
    index = rng.randrange(own + SHARED)
    return f"any.{mood}.{index - own}" if index >= own else f"{topic}.{mood}.{index}"


def clause(rng: random.Random, topic: str, mood: str, missing: float = 0.0) -> list[str]:
    """Two to four concepts about one noun of the topic; see adjective."""
    word = adjective(rng, topic, mood, missing)
    words = [f"{topic}.noun.{rng.randrange(NOUNS)}", word]
    if rng.random() < 0.2:
        words.insert(1, rng.choice(LINKS[3:]))
    return words if rng.random() < 0.8 else [rng.choice(LINKS[:3]), *words]


def review(
    rng: random.Random,
    topic: str,
    sentiment: str,
    *,
    stray: float,
    rated: float = 0.0,
    missing: float = 0.0,
) -> list[str]:
    """Five to seven clauses on one topic, each of which has a random mood with probability `stray`;
    with probability `rated` a rating comes first."""
    words = [f"rating.{sentiment}"] if rng.random() < rated else []
    main, count = MOODS[sentiment], rng.randint(5, 7)
    moods = [main[index % len(main)] for index in range(count)]
    rng.shuffle(moods)
    moods = [
        rng.choice(("good", "bad", "neutral")) if rng.random() < stray else mood for mood in moods
    ]
    for mood in moods:
        words += clause(rng, topic, mood, missing)
    return [*words, "."]


def opinions(
    rng: random.Random, topic: str, count: int, agree: bool = False
) -> tuple[list[str], dict[int, str]]:
    """`count` clauses about different nouns of a topic, each good or bad (`agree`: all the same),
    and the mood of each noun."""
    common = rng.choice(("good", "bad")) if agree else ""
    nouns = rng.sample(range(NOUNS), count)
    moods = {noun: common or rng.choice(("good", "bad")) for noun in nouns}
    words = []
    for noun, mood in moods.items():
        words += [f"{topic}.noun.{noun}", adjective(rng, topic, mood)]
    return words, moods


def opinion(rng: random.Random, topic: str, moods: dict[int, str], label: int) -> list[str]:
    """A clause that agrees with the mood of a noun (0), is about another noun (1), or disagrees
    (2)."""
    noun, mood = rng.choice(sorted(moods.items()))
    if label == 1:
        noun = rng.choice([other for other in range(NOUNS) if other not in moods])
    if label == 2:
        mood = {"good": "bad", "bad": "good"}[mood]
    return [f"{topic}.noun.{noun}", adjective(rng, topic, mood)]


# ------------------------------------------------------------------------------------------ names


@lru_cache
def _zipf_weights(count: int) -> tuple[float, ...]:
    return tuple(rank**-0.7 for rank in range(1, count + 1))


def pick(rng: random.Random, count: int) -> int:
    """An index below `count`, Zipf-distributed: the last ones are rare."""
    return rng.choices(range(count), _zipf_weights(count))[0]


def phrase(rng: random.Random, kind: str, missing: float = 0.0, pool: range | None = None) -> str:
    """A word of an NKJP-NER class: from the `pool`, or frequent, the last `missing` share left
    out."""
    if kind == NO_ENTITY:
        return f"common.{pick(rng, COMMON)}"
    return f"{kind}.{rng.choice(pool) if pool else pick(rng, round(NAMES[kind] * (1 - missing)))}"


def frame(
    rng: random.Random, kind: str, revealing: float, missing: float = 0.0, pool: range | None = None
) -> list[str]:
    """A sentence around such a word, which reveals its class with probability `revealing`."""
    text = rng.choice(REVEALING_FRAMES[kind] if rng.random() < revealing else NEUTRAL_FRAMES)
    return [phrase(rng, kind, missing, pool) if word == "*" else word for word in text.split()]


# ------------------------------------------------------------------------------------------ facts


class Fact(NamedTuple):
    """A relation (its index in RELATIONS) between two names."""

    relation: int
    subject: str
    object: str

    @property
    def names(self) -> set[str]:
        return {self.subject, self.object}

    def state(self, reverse: bool = False) -> list[str]:
        """The fact as a sentence, starting from its subject or, `reverse`, from its object."""
        relation = RELATIONS[self.relation]
        return self._fill(relation.reverse if reverse else relation.statement)

    def ask(self, for_object: bool, reverse: bool = False) -> list[str]:
        """The question that the fact answers with its object or its subject; `reverse`: in other
        words."""
        relation = RELATIONS[self.relation]
        question = relation.object_question if for_object else relation.subject_question
        if reverse:
            pronoun = question.split()[0]
            question = relation.reverse.replace("#" if for_object else "*", pronoun)
        return [*self._fill(question), "?"]

    def _fill(self, text: str) -> list[str]:
        return [{"*": self.subject, "#": self.object}.get(word, word) for word in text.split()]


def random_fact(rng: random.Random, missing: float = 0.0, relation: int | None = None) -> Fact:
    """A fact about two frequent names."""
    relation = rng.randrange(len(RELATIONS)) if relation is None else relation
    kinds = RELATIONS[relation]
    return Fact(relation, phrase(rng, kinds.subject, missing), phrase(rng, kinds.object, missing))


def all_names(facts: list[Fact]) -> set[str]:
    """The names in several facts."""
    return set().union(*(fact.names for fact in facts))


def new_fact(
    rng: random.Random, names: set[str], missing: float = 0.0, relation: int | None = None
) -> Fact:
    """A fact about none of the `names`."""
    new = random_fact(rng, missing, relation)
    while new.names & names:
        new = random_fact(rng, missing, relation)
    return new


def random_facts(
    rng: random.Random, count: int, missing: float = 0.0, alike: float = 0.3
) -> list[Fact]:
    """Facts about different names. With probability `alike` the second has the relation of the
    first, so that a question cannot be answered by the relation alone."""
    chosen: list[Fact] = []
    while len(chosen) < count:
        twin = len(chosen) == 1 and rng.random() < alike
        new = random_fact(rng, missing, chosen[0].relation if twin else None)
        if not new.names & all_names(chosen):
            chosen.append(new)
    rng.shuffle(chosen)
    return chosen


def claim(rng: random.Random, facts: list[Fact], label: int, missing: float = 0.0) -> list[str]:
    """A sentence that follows from the facts (0), is about other names (1), or contradicts them, as
    the subject has another object (2)."""
    stated = rng.choice(facts)
    if label == 1:
        stated = new_fact(rng, all_names(facts), missing)
    if label == 2:
        kind, other = RELATIONS[stated.relation].object, stated.object
        while other == stated.object:
            other = phrase(rng, kind, missing)
        stated = stated._replace(object=other)
    return stated.state(reverse=rng.random() < 0.5)
