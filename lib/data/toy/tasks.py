"""Labelled tasks in toy languages, with the columns and labels of the hub's data sets."""

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterator

from lib.data.toy.languages import LANGUAGES
from lib.data.toy.world import (
    ENTITIES,
    IN_TOPICS,
    NAMES,
    NO_ENTITY,
    OUT_TOPICS,
    SENTIMENTS,
    TOPICS,
    Fact,
    ask,
    claim,
    clause,
    fact,
    facts,
    frame,
    generator,
    opinion,
    opinions,
    review,
    tell,
)

# --------------------------------------------------------------------------------------------- KLEJ


def ner(rng: random.Random, split: str) -> dict:
    """NKJP-NER: the class of the one name in the sentence. Most test names never occur in the
    labelled training data."""
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
    return {
        "sentence": review(rng, rng.choice(topics), sentiment, stray=0.15),
        "target": SENTIMENTS[sentiment],
    }


# --------------------------------------------------------------------------------------------- GLUE


def cola(rng: random.Random, split: str) -> dict:
    """CoLA: sentences of the grammar (1), and the same with words in a wrong order (0)."""
    label = rng.randrange(2)
    found = facts(rng, 1)[0]
    words = rng.choice((tell(found), tell(found, turned=True), ask(found, rng.random() < 0.5)))
    if rng.random() < 0.4:
        words = clause(rng, rng.choice(IN_TOPICS), rng.choice(("good", "bad"))) + clause(
            rng, rng.choice(IN_TOPICS), "neutral"
        )
    right = list(words)
    while not label and words == right:
        rng.shuffle(words)
    return {"sentence": words, "label": label}


def sst2(rng: random.Random, split: str) -> dict:
    """SST-2: a short review, negative (0) or positive (1)."""
    label = rng.randrange(2)
    return {
        "sentence": review(rng, rng.choice(IN_TOPICS), ("minus", "plus")[label], stray=0.2),
        "label": label,
    }


def mrpc(rng: random.Random, split: str) -> dict:
    """MRPC: two facts said in two ways (1), or two texts that differ in one fact or both (0)."""
    label, said = rng.randrange(2), facts(rng, 2)
    return {
        "sentence1": _told(said),
        "sentence2": _told(said if label else _altered(rng, said), rng),
        "label": label,
    }


def qqp(rng: random.Random, split: str) -> dict:
    """QQP: two questions asked in two ways (1), or that name others, in one of them or both (0)."""
    label, for_object, said = rng.randrange(2), rng.random() < 0.5, facts(rng, 2)
    asked = said if label else _altered(rng, said)
    first, second = (
        [word for one in found for word in ask(one, for_object, turned)]
        for found, turned in ((said, False), (asked, True))
    )
    return {"question1": first, "question2": second, "label": label}


def _told(said: list[Fact], rng: random.Random | None = None) -> list[str]:
    """The facts as sentences; with a generator, from their objects' side and in another order."""
    return [
        word
        for one in (rng.sample(said, len(said)) if rng else said)
        for word in (*tell(one, turned=bool(rng)), ".")
    ]


def _altered(rng: random.Random, said: list[Fact]) -> list[Fact]:
    """The same facts, but one of them, or all, about other names."""
    names = {name for one in said for name in (one.subject, one.object)}
    out, first = list(said), rng.randrange(len(said))
    for place in range(len(said)) if rng.random() < 0.5 else (first,):
        while {out[place].subject, out[place].object} & names:
            out[place] = fact(rng, relation=said[place].relation)
    return out


def stsb(rng: random.Random, split: str) -> dict:
    """STS-B: similarity 0 … 5, how many of three facts two texts share, give or take half a
    point."""
    shared, said, others = rng.randrange(4), facts(rng, 3, alike=0.0), facts(rng, 3, alike=0.0)
    again = said[:shared] + others[shared:]
    rated = min(5.0, max(0.0, 5 * shared / 3 + rng.uniform(-0.5, 0.5)))
    return {"sentence1": _told(said), "sentence2": _told(again, rng), "label": round(rated, 1)}


def mnli(rng: random.Random, split: str) -> dict:
    """MNLI: entailment (0), neutral (1), contradiction (2): of facts and of opinions on the topics
    of the training data, or, in the mismatched validation data, on others."""
    label = rng.randrange(3)
    if split != "validation_mismatched" and rng.random() < 0.5:
        said = facts(rng, 2)
        return {"premise": _told(said), "hypothesis": claim(rng, said, label), "label": label}
    topic = rng.choice(OUT_TOPICS if split == "validation_mismatched" else IN_TOPICS)
    premise, held = opinions(rng, topic, 2)
    return {"premise": premise, "hypothesis": opinion(rng, topic, held, label), "label": label}


def xnli(rng: random.Random, split: str) -> dict:
    """XNLI: entailment (0), neutral (1), contradiction (2), half of facts, whose names all
    languages of a family share, half of opinions, whose words they do not."""
    label = rng.randrange(3)
    if rng.random() < 0.5:
        said = facts(rng, 2)
        return {"premise": _told(said), "hypothesis": claim(rng, said, label), "label": label}
    topic = rng.choice(TOPICS)
    premise, held = opinions(rng, topic, 3, agree=True)
    return {"premise": premise, "hypothesis": opinion(rng, topic, held, label), "label": label}


def qnli(rng: random.Random, split: str) -> dict:
    """QNLI: the sentence answers the question (0), or tells of other names, as often as not in the
    same words (1)."""
    label, said, for_object = rng.randrange(2), facts(rng, 2), rng.random() < 0.5
    asked = said[0]
    if label:
        asked = _altered(rng, said[:1])[0] if rng.random() < 0.5 else facts(rng, 3)[2]
    return {
        "question": ask(asked, for_object),
        "sentence": _told(rng.sample(said, 2)),
        "label": label,
    }


def rte(rng: random.Random, split: str) -> dict:
    """RTE: the second sentence follows from the first (0) or does not (1)."""
    label, said = rng.randrange(2), facts(rng, 2)
    return {
        "sentence1": _told(said),
        "sentence2": claim(rng, said, label and rng.choice((1, 2))),
        "label": label,
    }


def wnli(rng: random.Random, split: str) -> dict:
    """WNLI: whom a pronoun means, the first of two names or the second; the noun that was spoken of
    decides."""
    label, (one, other) = rng.randrange(2), facts(rng, 2, alike=0.0)
    said = [*tell(one), "and", *tell(other)]
    meant = one if rng.random() < 0.5 else other
    asked = meant if label else (other if meant is one else one)
    return {
        "sentence1": [*said, ".", "they", *tell(meant)[1:-1], "again"],
        "sentence2": [asked.subject, *tell(meant)[1:-1]],
        "label": label,
    }


def squad(rng: random.Random, split: str) -> dict:
    """SQuAD 1.1: three facts and a question about one of them; `answers` is the place of the answer
    among the context's words."""
    said = facts(rng, 3, alike=0.5)
    told = [tell(one, turned=rng.random() < 0.3) for one in said]
    context = [word for sentence in told for word in (*sentence, ".")]
    asked, for_object = rng.choice(said), rng.random() < 0.5
    answer = asked.object if for_object else asked.subject
    return {
        "context": context,
        "question": ask(asked, for_object),
        "answers": context.index(answer),
    }


# ------------------------------------------------------------------------------------------ records


@dataclass(frozen=True)
class ToyTask:
    """How to make one record, the labels noise draws from, whose training data it uses, the column
    of its label, how many training records are never asked again, and whether all languages have
    the same records, translated: these have every label equally often, as XNLI does, and no
    noise."""

    make: Callable[[random.Random, str], dict]
    labels: tuple[str, ...] | tuple[int, ...] = ()
    trains_on: str = ""
    label: str = "label"
    apart: int = 1000
    translated: bool = False


TOY_TASKS = {
    "nkjp-ner": ToyTask(ner, (*ENTITIES, NO_ENTITY), label="target"),
    "polemo2-in": ToyTask(polemo_in, tuple(SENTIMENTS.values()), label="target"),
    "polemo2-out": ToyTask(
        polemo_out, tuple(SENTIMENTS.values()), trains_on="polemo2-in", label="target"
    ),
    "cola": ToyTask(cola, (0, 1)),
    "sst2": ToyTask(sst2, (0, 1)),
    "mrpc": ToyTask(mrpc, (0, 1)),
    "qqp": ToyTask(qqp, (0, 1)),
    "stsb": ToyTask(stsb),
    "mnli": ToyTask(mnli, (0, 1, 2)),
    "xnli": ToyTask(xnli, (0, 1, 2), apart=4000, translated=True),
    "qnli": ToyTask(qnli, (0, 1)),
    "rte": ToyTask(rte, (0, 1)),
    "wnli": ToyTask(wnli, (0, 1)),
    "squad": ToyTask(squad, label="answers"),
}

ANNOTATION_NOISE = 0.05
"""Share of labels replaced by a random one: annotators err, and a ceiling below 100 leaves the
scenarios room to differ."""


def task_records(language: str, task: str, split: str, size: int, seed: int) -> Iterator[dict]:
    """`size` labelled records with the hub's columns; `split` is train or validation, for MNLI
    validation_matched or validation_mismatched, for XNLI test. No record of the first for training
    (`apart` of them) is asked again."""
    made, speak = TOY_TASKS[task], LANGUAGES[language]
    told = "translated" if made.translated else language
    rng = generator(
        told, made.trains_on if made.trains_on and split == "train" else task, split, seed
    )
    seen = set() if split == "train" else _training_texts(task, told, seed)
    for number in range(size):
        record = _record(made, rng, split, number)
        while _texts(record) in seen:
            record = _record(made, rng, split, number)
        if _noisy(made, rng):
            record[made.label] = rng.choice(made.labels)
        yield _said(speak, record, f"{split}-{number}", number)


def _record(made: ToyTask, rng: random.Random, split: str, number: int) -> dict:
    """A record as concepts; of a translated task the labels take turns."""
    record = made.make(rng, split)
    while made.translated and record[made.label] != made.labels[number % len(made.labels)]:
        record = made.make(rng, split)
    return record


def _noisy(made: ToyTask, rng: random.Random) -> bool:
    return bool(made.labels) and not made.translated and rng.random() < ANNOTATION_NOISE


def _said(speak, record: dict, name: str, number: int) -> dict:
    """The record in words, with the columns that number it."""
    said = {
        key: speak.say(value) if isinstance(value, list) else value for key, value in record.items()
    }
    if "answers" in record:
        words = record["context"]
        start = len(speak.say(words[: record["answers"]])) + (record["answers"] > 0)
        answers = {"text": [speak.word(words[record["answers"]])], "answer_start": [start]}
        return {"id": name, "title": "toy", **said, "answers": answers}
    return said if "target" in record else {**said, "idx": number}


def _texts(record: dict) -> tuple[str, ...]:
    return tuple(" ".join(value) for value in record.values() if isinstance(value, list))


@lru_cache(maxsize=32)
def _training_texts(task: str, told: str, seed: int) -> frozenset[tuple[str, ...]]:
    """The first texts of a task's training data, as concepts: none of them is asked again in the
    validation data."""
    made = TOY_TASKS[task]
    rng = generator(told, made.trains_on or task, "train", seed)
    seen = set()
    for number in range(made.apart):
        seen.add(_texts(_record(made, rng, "train", number)))
        if _noisy(made, rng):
            rng.choice(made.labels)
    return frozenset(seen)
