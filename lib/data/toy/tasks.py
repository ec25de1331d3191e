"""Labelled tasks in toy languages, with the columns and labels of the hub's data sets."""

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterator

from lib.data.toy import world
from lib.data.toy.languages import LANGUAGES, Language
from lib.data.toy.world import ENTITIES, IN_TOPICS, NO_ENTITY, OUT_TOPICS, SENTIMENTS, Fact

# ------------------------------------------------------------------------------------------- KLEJ


def ner(rng: random.Random, split: str) -> dict:
    """NKJP-NER: the class of the one name in the sentence. Most test names never occur in the
    labelled training data."""
    kind = rng.choice((*ENTITIES, NO_ENTITY))
    if kind == NO_ENTITY:
        return {"sentence": world.frame(rng, kind, 0.35), "target": kind}
    count = world.NAMES[kind]
    in_training = split == "train" or rng.random() < 0.3
    pool = range(count // 3) if in_training else range(count // 3, count)
    return {"sentence": world.frame(rng, kind, 0.35, pool=pool), "target": kind}


def polemo_in(rng: random.Random, split: str) -> dict:
    """PolEmo2.0-IN: the sentiment of a review on a topic of the labelled data."""
    return _polemo(rng, IN_TOPICS)


def polemo_out(rng: random.Random, split: str) -> dict:
    """PolEmo2.0-OUT: trained on IN's data, tested on other topics."""
    return _polemo(rng, IN_TOPICS if split == "train" else OUT_TOPICS)


def _polemo(rng: random.Random, topics: tuple[str, ...]) -> dict:
    sentiment = rng.choice(list(SENTIMENTS))
    review = world.review(rng, rng.choice(topics), sentiment, stray=0.15)
    return {"sentence": review, "target": SENTIMENTS[sentiment]}


# ------------------------------------------------------------------------------------------- GLUE


def cola(rng: random.Random, split: str) -> dict:
    """CoLA: sentences of the grammar (1), and the same with words in a wrong order (0)."""
    label = rng.randrange(2)
    fact = world.random_facts(rng, 1)[0]
    words = rng.choice((fact.state(), fact.state(reverse=True), fact.ask(rng.random() < 0.5)))
    if rng.random() < 0.4:
        words = world.clause(rng, rng.choice(IN_TOPICS), rng.choice(("good", "bad")))
        words += world.clause(rng, rng.choice(IN_TOPICS), "neutral")
    correct = list(words)
    while not label and words == correct:
        rng.shuffle(words)
    return {"sentence": words, "label": label}


def sst2(rng: random.Random, split: str) -> dict:
    """SST-2: a short review, negative (0) or positive (1)."""
    label = rng.randrange(2)
    review = world.review(rng, rng.choice(IN_TOPICS), ("minus", "plus")[label], stray=0.2)
    return {"sentence": review, "label": label}


def mrpc(rng: random.Random, split: str) -> dict:
    """MRPC: two facts in other words (1), or texts that differ in one fact or both (0)."""
    label, facts = rng.randrange(2), world.random_facts(rng, 2)
    first = _state(facts)
    second = _state_reversed(rng, facts if label else _altered(rng, facts))
    return {"sentence1": first, "sentence2": second, "label": label}


def qqp(rng: random.Random, split: str) -> dict:
    """QQP: two questions in other words (1), or with other names in one of them or both (0)."""
    label, for_object, facts = rng.randrange(2), rng.random() < 0.5, world.random_facts(rng, 2)
    others = facts if label else _altered(rng, facts)
    first = [word for fact in facts for word in fact.ask(for_object)]
    second = [word for fact in others for word in fact.ask(for_object, reverse=True)]
    return {"question1": first, "question2": second, "label": label}


def _state(facts: list[Fact], reverse: bool = False) -> list[str]:
    return [word for fact in facts for word in (*fact.state(reverse), ".")]


def _state_reversed(rng: random.Random, facts: list[Fact]) -> list[str]:
    """The facts starting from their objects, and in another order."""
    return _state(rng.sample(facts, len(facts)), reverse=True)


def _altered(rng: random.Random, facts: list[Fact]) -> list[Fact]:
    """The same facts, except that one of them, or all, are about other names."""
    names = world.all_names(facts)
    altered, one = list(facts), rng.randrange(len(facts))
    for index in range(len(facts)) if rng.random() < 0.5 else (one,):
        altered[index] = world.new_fact(rng, names, relation=facts[index].relation)
    return altered


def stsb(rng: random.Random, split: str) -> dict:
    """STS-B: similarity 0 … 5, how many of three facts two texts share, give or take half a
    point."""
    shared = rng.randrange(4)
    facts, others = world.random_facts(rng, 3, alike=0.0), world.random_facts(rng, 3, alike=0.0)
    score = min(5.0, max(0.0, 5 * shared / 3 + rng.uniform(-0.5, 0.5)))
    second = _state_reversed(rng, facts[:shared] + others[shared:])
    return {"sentence1": _state(facts), "sentence2": second, "label": round(score, 1)}


def mnli(rng: random.Random, split: str) -> dict:
    """MNLI: entailment (0), neutral (1), contradiction (2), of facts and of opinions on the topics
    of the training data or, in the mismatched validation data, on others."""
    label = rng.randrange(3)
    if split != "validation_mismatched" and rng.random() < 0.5:
        return _facts_and_claim(rng, label)
    topic = rng.choice(OUT_TOPICS if split == "validation_mismatched" else IN_TOPICS)
    return _opinions_and_one_more(rng, topic, label, count=2)


def xnli(rng: random.Random, split: str) -> dict:
    """XNLI: entailment (0), neutral (1), contradiction (2), half of facts, whose names all
    languages of a family share, half of opinions, whose words they do not."""
    label = rng.randrange(3)
    if rng.random() < 0.5:
        return _facts_and_claim(rng, label)
    return _opinions_and_one_more(rng, rng.choice(world.TOPICS), label, count=3, agree=True)


def _facts_and_claim(rng: random.Random, label: int) -> dict:
    facts = world.random_facts(rng, 2)
    return {"premise": _state(facts), "hypothesis": world.claim(rng, facts, label), "label": label}


def _opinions_and_one_more(
    rng: random.Random, topic: str, label: int, count: int, agree: bool = False
) -> dict:
    premise, moods = world.opinions(rng, topic, count, agree)
    hypothesis = world.opinion(rng, topic, moods, label)
    return {"premise": premise, "hypothesis": hypothesis, "label": label}


def qnli(rng: random.Random, split: str) -> dict:
    """QNLI: the sentence answers the question (0), or is about other names, half of the time in the
    same words (1)."""
    label, facts, for_object = rng.randrange(2), world.random_facts(rng, 2), rng.random() < 0.5
    fact = facts[0]
    if label:
        same_words = rng.random() < 0.5
        fact = _altered(rng, facts[:1])[0] if same_words else world.random_facts(rng, 3)[2]
    sentence = _state(rng.sample(facts, 2))
    return {"question": fact.ask(for_object), "sentence": sentence, "label": label}


def rte(rng: random.Random, split: str) -> dict:
    """RTE: the second sentence follows from the first (0) or does not (1)."""
    label, facts = rng.randrange(2), world.random_facts(rng, 2)
    claim = world.claim(rng, facts, label and rng.choice((1, 2)))
    return {"sentence1": _state(facts), "sentence2": claim, "label": label}


def wnli(rng: random.Random, split: str) -> dict:
    """WNLI: who a pronoun is, the first of two names or the second; what is said about it
    decides."""
    label, (one, other) = rng.randrange(2), world.random_facts(rng, 2, alike=0.0)
    meant, wrong = (one, other) if rng.random() < 0.5 else (other, one)
    predicate = meant.state()[1:-1]
    subject = meant.subject if label else wrong.subject
    return {
        "sentence1": [*one.state(), "and", *other.state(), ".", "they", *predicate, "again"],
        "sentence2": [subject, *predicate],
        "label": label,
    }


def squad(rng: random.Random, split: str) -> dict:
    """SQuAD 1.1: three facts and a question about one; `answers` is the index of the answer among
    the words of the context."""
    facts = world.random_facts(rng, 3, alike=0.5)
    sentences = [fact.state(reverse=rng.random() < 0.3) for fact in facts]
    context = [word for sentence in sentences for word in (*sentence, ".")]
    fact, for_object = rng.choice(facts), rng.random() < 0.5
    answer = context.index(fact.object if for_object else fact.subject)
    return {"context": context, "question": fact.ask(for_object), "answers": answer}


# ---------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class ToyTask:
    """A task.

    make: a record of a split, with its texts as concepts.
    labels: what random labels are drawn from as annotation noise; empty: no noise.
    trains_on: the task whose training data it uses, if not its own.
    label: the column of the label.
    apart: training records, from the first on, that do not occur in other splits.
    translated: all languages have the same records, with all labels equally often and no noise, as
        in XNLI.
    """

    make: Callable[[random.Random, str], dict]
    labels: tuple[str, ...] | tuple[int, ...] = ()
    trains_on: str = ""
    label: str = "label"
    apart: int = 1000
    translated: bool = False


_POLEMO = tuple(SENTIMENTS.values())
TOY_TASKS = {
    "nkjp-ner": ToyTask(ner, (*ENTITIES, NO_ENTITY), label="target"),
    "polemo2-in": ToyTask(polemo_in, _POLEMO, label="target"),
    "polemo2-out": ToyTask(polemo_out, _POLEMO, trains_on="polemo2-in", label="target"),
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

# The share of labels replaced by a random one: annotators err, and a ceiling below 100 leaves the
# scenarios room to differ.
ANNOTATION_NOISE = 0.05


def task_records(language: str, task: str, split: str, size: int, seed: int) -> Iterator[dict]:
    """`size` labelled records with the hub's columns.

    Args: split, train or validation, for MNLI validation_matched or validation_mismatched, for XNLI
        test. The texts of the first training records (`apart`) do not occur in other splits.
    """
    toy = TOY_TASKS[task]
    generated_in = "translated" if toy.translated else language
    trained = toy.trains_on if toy.trains_on and split == "train" else task
    rng = world.generator(generated_in, trained, split, seed)
    excluded = set() if split == "train" else _training_texts(task, generated_in, seed)
    for number in range(size):
        record = _record(toy, rng, split, number)
        while _texts(record) in excluded:
            record = _record(toy, rng, split, number)
        if _is_noisy(toy, rng):
            record[toy.label] = rng.choice(toy.labels)
        yield _translate(LANGUAGES[language], record, split, number)


def _record(toy: ToyTask, rng: random.Random, split: str, number: int) -> dict:
    """A record as concepts; the labels of a translated task take turns."""
    record = toy.make(rng, split)
    while toy.translated and record[toy.label] != toy.labels[number % len(toy.labels)]:
        record = toy.make(rng, split)
    return record


def _is_noisy(toy: ToyTask, rng: random.Random) -> bool:
    return bool(toy.labels) and not toy.translated and rng.random() < ANNOTATION_NOISE


def _translate(language: Language, record: dict, split: str, number: int) -> dict:
    """The record in words, with the columns that number it."""
    row = {
        key: language.text(value) if isinstance(value, list) else value
        for key, value in record.items()
    }
    if "answers" in record:
        words, index = record["context"], record["answers"]
        start = len(language.text(words[:index])) + (index > 0)
        row["answers"] = {"text": [language.word(words[index])], "answer_start": [start]}
        return {"id": f"{split}-{number}", "title": "toy", **row}
    return row if "target" in record else {**row, "idx": number}


def _texts(record: dict) -> tuple[str, ...]:
    return tuple(" ".join(value) for value in record.values() if isinstance(value, list))


@lru_cache(maxsize=32)
def _training_texts(task: str, generated_in: str, seed: int) -> frozenset[tuple[str, ...]]:
    """The first texts of a task's training data, as concepts."""
    toy = TOY_TASKS[task]
    rng = world.generator(generated_in, toy.trains_on or task, "train", seed)
    texts = set()
    for number in range(toy.apart):
        texts.add(_texts(_record(toy, rng, "train", number)))
        if _is_noisy(toy, rng):
            rng.choice(toy.labels)
    return frozenset(texts)
