"""Raw text in toy languages. A new corpus is one entry in `CORPORA`."""

import random
from dataclasses import dataclass, field
from typing import Iterable, Iterator

from lib.data.toy.languages import LANGUAGES
from lib.data.toy.world import (
    ENTITIES,
    FOLLOWS,
    NO_ENTITY,
    TOPICS,
    Fact,
    ask,
    claim,
    facts,
    frame,
    generator,
    opinion,
    opinions,
    review,
    tell,
)


@dataclass(frozen=True)
class Corpus:
    """What a raw corpus talks about: the share of reviews, the weights of topics and moods, and
    which words it lacks; then the share of passages that state facts and of those that weigh
    opinions."""

    reviews: float
    topics: tuple[float, ...]
    missing: float = 0.0
    telling: float = 0.9
    stray: float = 0.05
    rated: float = 0.9
    moods: dict[str, float] = field(
        default_factory=lambda: {"plus": 4, "minus": 4, "amb": 1, "zero": 1}
    )
    facts: float = 0.0
    opinions: float = 0.0


CORPORA = {
    "books": Corpus(reviews=0.55, topics=(3, 3, 2, 2)),
    "web": Corpus(reviews=0.65, topics=(2, 2, 3, 3), missing=0.4),
    "encyclopedia": Corpus(reviews=0.05, topics=(2, 2, 3, 3), facts=0.9, opinions=0.05),
    "novels": Corpus(reviews=0.4, topics=(3, 3, 2, 2), facts=0.45, opinions=0.15),
    "gazette": Corpus(reviews=0.3, topics=(3, 3, 2, 2), facts=0.55, opinions=0.15),
}
"""`books` is what the Polish teacher was pretrained on; `web` plays CC-100: the same language,
other shares, and many of the teacher's words never occur in it, so that a student trained on it can
keep them only by what its teacher says of them. `encyclopedia` and `novels` play English Wikipedia
and the book corpus, `gazette` the Wikipedias of several languages."""


def passage(rng: random.Random, corpus: Corpus) -> list[str]:
    """One line of a raw corpus: facts, opinions, a review, or two to four sentences that mention
    things."""
    if corpus.facts or corpus.opinions:
        kind = rng.random()
        if kind < corpus.facts:
            return account(rng, corpus)
        if kind < corpus.facts + corpus.opinions:
            return weighing(rng, corpus)
        if kind < corpus.facts + corpus.opinions + corpus.reviews:
            topic = rng.choices(TOPICS, corpus.topics)[0]
            return review(
                rng, topic, rng.choice(("plus", "minus")), stray=corpus.stray, rated=corpus.rated
            )
        return mentions(rng, corpus)
    if rng.random() < corpus.reviews:
        topic = rng.choices(TOPICS, corpus.topics)[0]
        sentiment = rng.choices(list(corpus.moods), list(corpus.moods.values()))[0]
        return review(
            rng, topic, sentiment, stray=corpus.stray, rated=corpus.rated, missing=corpus.missing
        )
    return mentions(rng, corpus)


def mentions(rng: random.Random, corpus: Corpus) -> list[str]:
    """Two to four sentences that mention names."""
    words: list[str] = []
    for _ in range(rng.randint(2, 4)):
        kind = rng.choice((*ENTITIES, NO_ENTITY))
        words += [*frame(rng, kind, corpus.telling, corpus.missing), "."]
    return words


def account(rng: random.Random, corpus: Corpus) -> list[str]:
    """Two or three facts, mostly told a second time in other words, and then asked for or judged.

    That names come again is what teaches an encoder to look them up.
    """
    said = facts(rng, rng.randint(2, 3), corpus.missing)
    words = _sentences(tell(one, turned=rng.random() < 0.3) for one in said)
    retold = rng.random() < 0.7
    if retold:
        words = _sentences(tell(one) for one in said)
        words += _sentences(tell(one, turned=True) for one in rng.sample(said, len(said)))
    if retold and rng.random() < 0.4:
        return words
    if rng.random() < 0.5:
        answered = [
            word for one in rng.sample(said, 1 if retold else 2) for word in exchange(rng, one)
        ]
        return answered + words if rng.random() < 0.5 else words + answered
    for label in rng.choices(range(3), k=1 if retold else 2):
        words += [FOLLOWS[label], *claim(rng, said, label, corpus.missing), "."]
    return words


def exchange(rng: random.Random, asked: Fact) -> list[str]:
    """A question and its answer."""
    for_object = rng.random() < 0.5
    answer = asked.object if for_object else asked.subject
    return [*ask(asked, for_object, turned=rng.random() < 0.3), answer, "."]


def _sentences(texts: Iterable[list[str]]) -> list[str]:
    return [word for text in texts for word in (*text, ".")]


def weighing(rng: random.Random, corpus: Corpus) -> list[str]:
    """Opinions on two or three things, and one more that is judged by them."""
    topic, label = rng.choices(TOPICS, corpus.topics)[0], rng.randrange(3)
    words, held = opinions(rng, topic, rng.randint(2, 3))
    return [*words, ".", FOLLOWS[label], *opinion(rng, topic, held, label), "."]


def corpus_lines(language: str, corpus: str, lines: int, seed: int) -> Iterator[str]:
    """`lines` passages of raw text. The same four arguments give the same text on every machine."""
    speak, rng = LANGUAGES[language], generator(language, corpus, seed)
    for _ in range(lines):
        yield speak.say(passage(rng, CORPORA[corpus]))
