"""Raw text in toy languages. A new corpus is one entry in CORPORA."""

import random
from dataclasses import dataclass
from typing import Iterable, Iterator

from lib.data.toy import world
from lib.data.toy.languages import LANGUAGES
from lib.data.toy.world import TOPICS, Fact


@dataclass(frozen=True)
class Corpus:
    """What a raw corpus is about: shares of passages that are `reviews`, state `facts`, and weigh
    `opinions`; weights of topics; the share of words that is `missing`; see lib.data.toy.world for
    `revealing`, `stray`, `rated` and `negated`."""

    reviews: float
    topics: tuple[float, ...]
    missing: float = 0.0
    revealing: float = 0.9
    stray: float = 0.05
    rated: float = 0.9
    negated: float = 0.0
    facts: float = 0.0
    opinions: float = 0.0


SENTIMENT_WEIGHTS = {"plus": 4, "minus": 4, "amb": 1, "zero": 1}

# The Polish teacher is pretrained on `books`. `web` stands for CC-100: the same language, but with
# other shares and without many of the teacher's words, so that a student trained on it can keep
# those only by what its teacher says about them. `encyclopedia` and `novels` stand for English
# Wikipedia and the book corpus, `gazette` for the Wikipedias of several languages.
CORPORA = {
    "books": Corpus(reviews=0.55, topics=(3, 3, 2, 2), negated=0.3),
    "web": Corpus(reviews=0.65, topics=(2, 2, 3, 3), missing=0.4, negated=0.3),
    "encyclopedia": Corpus(reviews=0.05, topics=(2, 2, 3, 3), facts=0.7, opinions=0.2, rated=0.5),
    "novels": Corpus(reviews=0.4, topics=(3, 3, 2, 2), facts=0.3, opinions=0.25, rated=0.5),
    "gazette": Corpus(reviews=0.1, topics=(3, 3, 2, 2), facts=0.6, opinions=0.25, rated=0.5),
}


def corpus_lines(language: str, corpus: str, lines: int, seed: int) -> Iterator[str]:
    """`lines` passages of raw text. The same arguments give the same text on every machine."""
    rng = world.generator(language, corpus, seed)
    for _ in range(lines):
        yield LANGUAGES[language].text(passage(rng, CORPORA[corpus]))


def passage(rng: random.Random, corpus: Corpus) -> list[str]:
    """One line of a raw corpus."""
    kind = rng.random()
    if kind < corpus.facts:
        return account(rng, corpus)
    if kind < corpus.facts + corpus.opinions:
        return weighing(rng, corpus)
    if kind >= corpus.facts + corpus.opinions + corpus.reviews:
        return mentions(rng, corpus)
    topic = rng.choices(TOPICS, corpus.topics)[0]
    settings = {"stray": corpus.stray, "rated": corpus.rated}
    settings |= {"missing": corpus.missing, "negated": corpus.negated}
    if corpus.facts or corpus.opinions:
        sentiment = rng.choice(("plus", "minus"))
    else:
        sentiment = rng.choices(list(SENTIMENT_WEIGHTS), list(SENTIMENT_WEIGHTS.values()))[0]
    return world.review(rng, topic, sentiment, **settings)


def mentions(rng: random.Random, corpus: Corpus) -> list[str]:
    """Two to four sentences that mention names."""
    words: list[str] = []
    for _ in range(rng.randint(2, 4)):
        kind = rng.choice((*world.ENTITIES, world.NO_ENTITY))
        words += [*world.frame(rng, kind, corpus.revealing, corpus.missing), "."]
    return words


def account(rng: random.Random, corpus: Corpus) -> list[str]:
    """Facts, stated again in other words, or asked for, or judged.

    Most accounts are of one sense, which their first word often names: so the company that verbs
    keep shows which mean the same. In the others a verb can be guessed only by looking up its
    names, which an encoder learns because names are repeated.
    """
    words: list[str] = []
    if rng.random() < AGREEING:
        facts = world.agreeing_facts(rng, rng.randint(1, 2), corpus.missing)
        if rng.random() < corpus.rated:
            words = [RATING[facts[0].sense]]
    else:
        facts = world.random_facts(rng, rng.randint(2, 3), corpus.missing)
    words += _sentences(fact.state(rng) for fact in facts)
    ending = rng.random()
    if ending < 0.3:
        for label in rng.choices(range(3), k=2):
            words += [world.VERDICTS[label], *world.claim(rng, facts, label), "."]
        return words
    if ending < 0.6:
        for fact in rng.sample(facts, min(2, len(facts))):
            words += question_and_answer(rng, fact)
        return words
    for _ in range(2 if len(facts) == 1 else 1):
        words += _sentences(fact.state(rng) for fact in rng.sample(facts, len(facts)))
    return words


AGREEING = 0.65
"""The share of accounts of one sense, and of opinions of one mood."""
RATING = {"yes": "rating.plus", "no": "rating.minus", "good": "rating.plus", "bad": "rating.minus"}
"""The word that names a sense or a mood before a text."""


def question_and_answer(rng: random.Random, fact: Fact) -> list[str]:
    """A question that a fact answers, and the answer."""
    for_object = rng.random() < 0.5
    return [*fact.ask(rng, for_object), fact.object if for_object else fact.subject, "."]


def weighing(rng: random.Random, corpus: Corpus) -> list[str]:
    """Opinions on one to three things, repeated in other words, or followed by one more that is
    judged by them. Most agree, in a mood that the first word often names."""
    topic, label = rng.choices(TOPICS, corpus.topics)[0], rng.randrange(3)
    agree = rng.random() < AGREEING
    words, moods = world.opinions(rng, topic, rng.randint(1 if agree else 2, 3), agree=agree)
    if agree and rng.random() < corpus.rated:
        words = [RATING[min(moods.values())], *words]
    if rng.random() < 0.5:
        return [*words, ".", *world.opinions_again(rng, topic, moods), "."]
    return [*words, ".", world.VERDICTS[label], *world.opinion(rng, topic, moods, label), "."]


def _sentences(texts: Iterable[list[str]]) -> list[str]:
    return [word for text in texts for word in (*text, ".")]
