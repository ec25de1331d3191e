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
from itertools import accumulate
from typing import NamedTuple, Sequence

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
OPPOSITE = {"good": "bad", "bad": "good", "yes": "no", "no": "yes"}
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

# The two kinds of name that a fact relates.
RELATIONS = (
    ("persName", "placeName"),
    ("persName", "orgName"),
    ("orgName", "placeName"),
    ("geogName", "placeName"),
    ("persName", "geogName"),
    ("orgName", "time"),
)
# A fact can be stated in three senses: two that exclude each other (she loves it, she hates it) and
# one that leaves both open (she knows it). Each has FORMS verbs: synonyms.
SENSES, FORMS = ("yes", "no", "open"), 8
PRONOUNS = {
    "persName": "who",
    "orgName": "which",
    "placeName": "where",
    "geogName": "what",
    "time": "when",
}
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
    names += [*VERDICTS, "not", "by", *PRONOUNS.values()]
    names += [f"verb.{sense}.{i}" for sense in SENSES for i in range(FORMS)]
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


def clause(
    rng: random.Random, topic: str, mood: str, missing: float = 0.0, negated: float = 0.0
) -> list[str]:
    """Two to five concepts about one noun of the topic; see adjective. With probability `negated` a
    good or bad mood is said as not the opposite."""
    denied = mood in OPPOSITE and negated and rng.random() < negated
    word = adjective(rng, topic, OPPOSITE[mood] if denied else mood, missing)
    words = [f"{topic}.noun.{rng.randrange(NOUNS)}", *["not"] * bool(denied), word]
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
    negated: float = 0.0,
) -> list[str]:
    """Five to seven clauses on one topic, each of which has a random mood with probability `stray`;
    with probability `rated` a rating comes first. `negated`: see clause."""
    words = [f"rating.{sentiment}"] if rng.random() < rated else []
    main, count = MOODS[sentiment], rng.randint(5, 7)
    moods = [main[index % len(main)] for index in range(count)]
    rng.shuffle(moods)
    moods = [
        rng.choice(("good", "bad", "neutral")) if rng.random() < stray else mood for mood in moods
    ]
    for mood in moods:
        words += clause(rng, topic, mood, missing, negated)
    return [*words, "."]


def described(
    rng: random.Random, topic: str, noun: int, mood: str, forms: Sequence[int]
) -> list[str]:
    """A noun with one of the adjectives of a mood that the topic has: those in `forms`."""
    return [f"{topic}.noun.{noun}", f"{topic}.{mood}.{rng.choice(forms)}"]


def opinions(
    rng: random.Random,
    topic: str,
    count: int,
    forms: Sequence[int] = range(ADJECTIVES),
    agree: bool = False,
) -> tuple[list[str], dict[int, str]]:
    """`count` clauses about different nouns of a topic, good and bad in turns (`agree`: all the
    same), and the mood of each noun."""
    moods = [rng.choice(("good", "bad"))] * 2 if agree else rng.sample(("good", "bad"), 2)
    nouns = {noun: moods[i % 2] for i, noun in enumerate(rng.sample(range(NOUNS), count))}
    return opinions_again(rng, topic, nouns, forms), nouns


def opinions_again(
    rng: random.Random, topic: str, moods: dict[int, str], forms: Sequence[int] = range(ADJECTIVES)
) -> list[str]:
    """A clause about each of the nouns, in a random order, that agrees with its mood."""
    order = rng.sample(sorted(moods), len(moods))
    return [word for noun in order for word in described(rng, topic, noun, moods[noun], forms)]


def opinion(
    rng: random.Random,
    topic: str,
    moods: dict[int, str],
    label: int,
    forms: Sequence[int] = range(ADJECTIVES),
) -> list[str]:
    """A clause about one of the nouns that agrees with its mood (0), is neither good nor bad (1),
    or disagrees (2)."""
    noun, mood = rng.choice(sorted(moods.items()))
    if label == 1:
        return described(
            rng, topic, noun, "neutral", [form * NEUTRAL // ADJECTIVES for form in forms]
        )
    return described(rng, topic, noun, OPPOSITE[mood] if label == 2 else mood, forms)


# ------------------------------------------------------------------------------------------ names


@lru_cache
def _zipf_cumulative(count: int) -> tuple[float, ...]:
    return tuple(accumulate(rank**-0.7 for rank in range(1, count + 1)))


def pick(rng: random.Random, count: int) -> int:
    """An index below `count`, Zipf-distributed: the last ones are rare."""
    return rng.choices(range(count), cum_weights=_zipf_cumulative(count))[0]


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
    """A relation (its index in RELATIONS) between two names, in one of its senses."""

    relation: int
    sense: str
    subject: str
    object: str

    @property
    def names(self) -> set[str]:
        return {self.subject, self.object}

    def denied(self) -> "Fact":
        """The same names in the opposite sense."""
        return self._replace(sense=OPPOSITE[self.sense])

    def state(
        self, rng: random.Random, forms: Sequence[int] = range(FORMS), reverse: bool | None = None
    ) -> list[str]:
        """The fact as a sentence, its verb one of the synonyms in `forms`; `reverse`: in the
        passive, from its object on, at random if not given."""
        return self._sentence(rng, forms, reverse, self.subject, self.object)

    def ask(
        self,
        rng: random.Random,
        for_object: bool,
        forms: Sequence[int] = range(FORMS),
        reverse: bool | None = None,
    ) -> list[str]:
        """The question that the fact answers with its object or its subject."""
        kinds = RELATIONS[self.relation]
        names = [self.subject, self.object]
        names[for_object] = PRONOUNS[kinds[for_object]]
        return [*self._sentence(rng, forms, reverse, *names), "?"]

    def _sentence(
        self,
        rng: random.Random,
        forms: Sequence[int],
        reverse: bool | None,
        subject: str,
        object: str,
    ) -> list[str]:
        verb = f"verb.{self.sense}.{rng.choice(forms)}"
        if rng.random() < 0.5 if reverse is None else reverse:
            return [object, verb, "by", subject]
        return [subject, verb, object]


def random_fact(
    rng: random.Random,
    missing: float = 0.0,
    relation: int | None = None,
    sense: str = "",
    excluded: set[str] = frozenset(),
) -> Fact:
    """A fact about two frequent names, none of them `excluded`."""
    relation = rng.randrange(len(RELATIONS)) if relation is None else relation
    sense = sense or rng.choice(SENSES[:2])
    while True:
        subject, object = (phrase(rng, kind, missing) for kind in RELATIONS[relation])
        if not {subject, object} & excluded:
            return Fact(relation, sense, subject, object)


def rivals(rng: random.Random, missing: float = 0.0) -> list[Fact]:
    """Two facts of one relation about different names, in opposite senses: a question cannot be
    answered, nor a statement judged, by the words alone."""
    one = random_fact(rng, missing)
    other = random_fact(rng, missing, one.relation, OPPOSITE[one.sense], one.names)
    return rng.sample([one, other], 2)


def twins(rng: random.Random, missing: float = 0.0) -> list[Fact]:
    """Two facts that differ in their sense and in one name alone."""
    one, other = rivals(rng, missing)
    if rng.random() < 0.5:
        return [one, other._replace(subject=one.subject)]
    return [one, other._replace(object=one.object)]


def random_facts(rng: random.Random, count: int, missing: float = 0.0) -> list[Fact]:
    """Facts about different names. The first two are rivals or, a third of the time, twins, which
    share a name."""
    facts = twins(rng, missing) if rng.random() < 1 / 3 else rivals(rng, missing)
    while len(facts) < count:
        facts.append(random_fact(rng, missing, excluded=set().union(*(f.names for f in facts))))
    return rng.sample(facts, len(facts))


def agreeing_facts(rng: random.Random, count: int, missing: float = 0.0) -> list[Fact]:
    """Facts about different names, all in the same sense."""
    facts = [random_fact(rng, missing)]
    while len(facts) < count:
        excluded = set().union(*(fact.names for fact in facts))
        facts.append(random_fact(rng, missing, sense=facts[0].sense, excluded=excluded))
    return facts


def claim(
    rng: random.Random, facts: list[Fact], label: int, forms: Sequence[int] = range(FORMS)
) -> list[str]:
    """A sentence about the names of one of the facts, which follows from it (0), may or may not be
    true (1), or contradicts it (2)."""
    fact = rng.choice(facts)
    sense = (fact.sense, "open", OPPOSITE[fact.sense])[label]
    return fact._replace(sense=sense).state(rng, forms)
