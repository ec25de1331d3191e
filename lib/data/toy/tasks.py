"""Labelled tasks in toy languages, with the columns and labels of the hub's data sets."""

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterator, Sequence

from lib.data.toy import world
from lib.data.toy.languages import LANGUAGES, Language
from lib.data.toy.world import (
    ADJECTIVES,
    ENTITIES,
    FORMS,
    IN_TOPICS,
    NO_ENTITY,
    OUT_TOPICS,
    SENTIMENTS,
    Fact,
)

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
    review = world.review(rng, rng.choice(topics), sentiment, stray=0.15, negated=0.3)
    return {"sentence": review, "target": SENTIMENTS[sentiment]}


# ------------------------------------------------------------------------------------------- GLUE


# Validation data say everything in words that no labelled training data hold: verbs and adjectives
# that only pretraining has shown to mean the same. The two texts of a pair share names or nouns and
# never those words, whatever the label is, so what they share gives nothing away.

Forms = Sequence[int]
"""Numbers of synonymous verbs, or of adjectives of one topic and mood."""


def _forms(count: int, split: str) -> Forms:
    """Those of `count` forms that a split uses."""
    return range(count // 2) if split == "train" else range(count // 2, count)


def _two_wordings(rng: random.Random, count: int, split: str) -> tuple[Forms, Forms]:
    """The forms that the first text of a pair uses, and those that the second one does."""
    forms = rng.sample(_forms(count, split), count // 2)
    return forms[:1], forms[1:]


def cola(rng: random.Random, split: str) -> dict:
    """CoLA: sentences of the grammar (1), and such with two neighbouring words swapped or a name of
    the wrong kind (0)."""
    label, fact = rng.randrange(2), world.random_fact(rng)
    if not label and rng.random() < 0.5:
        kinds = world.RELATIONS[fact.relation]
        wrong = [kind for kind in ENTITIES if kind not in kinds]
        place = rng.choice(("subject", "object"))
        fact = fact._replace(**{place: world.phrase(rng, rng.choice(wrong))})
        label = None
    sentence, forms = rng.random() < 0.5, _forms(FORMS, split)
    words = fact.state(rng, forms) if sentence else fact.ask(rng, rng.random() < 0.5, forms)
    if label == 0:
        place = rng.randrange(len(words) - 1 - (not sentence))
        words[place : place + 2] = words[place + 1], words[place]
    return {"sentence": words, "label": label or 0}


def sst2(rng: random.Random, split: str) -> dict:
    """SST-2: a short review, negative (0) or positive (1), a quarter of whose clauses are of any
    mood."""
    label, topic = rng.randrange(2), rng.choice(IN_TOPICS)
    words, forms = [], _forms(ADJECTIVES, split)
    for noun in rng.sample(range(world.NOUNS), 4):
        mood = ("bad", "good")[label if rng.random() < 0.75 else rng.randrange(2)]
        words += world.described(rng, topic, noun, mood, forms)
    return {"sentence": [*words, "."], "label": label}


def mrpc(rng: random.Random, split: str) -> dict:
    """MRPC: two facts in other words (1), or in the opposite sense (0)."""
    label, facts = rng.randrange(2), world.agreeing_facts(rng, 2)
    others = facts if label else [fact.denied() for fact in facts]
    return {**_two_texts(rng, facts, others, split), "label": label}


def qqp(rng: random.Random, split: str) -> dict:
    """QQP: two questions in other words (1), or in the opposite sense (0)."""
    label, for_object, fact = rng.randrange(2), rng.random() < 0.5, world.random_fact(rng)
    other, (first, second) = fact if label else fact.denied(), _two_wordings(rng, FORMS, split)
    return {
        "question1": fact.ask(rng, for_object, first),
        "question2": other.ask(rng, for_object, second),
        "label": label,
    }


def _state(rng: random.Random, facts: list[Fact], forms: Forms) -> list[str]:
    return [word for fact in facts for word in (*fact.state(rng, forms), ".")]


def _two_texts(rng: random.Random, facts: list[Fact], others: list[Fact], split: str) -> dict:
    """Two facts, and two others in a random order and in other words."""
    first, second = _two_wordings(rng, FORMS, split)
    others = rng.sample(others, 2)
    return {"sentence1": _state(rng, facts, first), "sentence2": _state(rng, others, second)}


def stsb(rng: random.Random, split: str) -> dict:
    """STS-B: similarity 0 … 5, how many of two facts two texts have in common, give or take half a
    point; the other facts are denied."""
    facts, shared = world.agreeing_facts(rng, 2), rng.randrange(3)
    score = min(5.0, max(0.0, 5 * shared / 2 + rng.uniform(-0.5, 0.5)))
    others = [fact if i < shared else fact.denied() for i, fact in enumerate(facts)]
    return {**_two_texts(rng, facts, others, split), "label": round(score, 1)}


def mnli(rng: random.Random, split: str) -> dict:
    """MNLI: entailment (0), neutral (1), contradiction (2), of facts and of opinions on the topics
    of the training data or, in the mismatched validation data, on others."""
    label = rng.randrange(3)
    if split != "validation_mismatched" and rng.random() < 0.5:
        return _facts_and_claim(rng, label, split)
    topic = rng.choice(OUT_TOPICS if split == "validation_mismatched" else IN_TOPICS)
    return _opinions_and_one_more(rng, topic, label, split)


def xnli(rng: random.Random, split: str) -> dict:
    """XNLI: entailment (0), neutral (1), contradiction (2), half of facts, whose names all
    languages of a family share, half of opinions, whose words they do not."""
    label = rng.randrange(3)
    if rng.random() < 0.5:
        return _facts_and_claim(rng, label, split)
    return _opinions_and_one_more(rng, rng.choice(world.TOPICS), label, split)


def _facts_and_claim(rng: random.Random, label: int, split: str) -> dict:
    facts, (first, second) = world.agreeing_facts(rng, 2), _two_wordings(rng, FORMS, split)
    premise, claim = _state(rng, facts, first), world.claim(rng, facts, label, second)
    return {"premise": premise, "hypothesis": claim, "label": label}


def _opinions_and_one_more(rng: random.Random, topic: str, label: int, split: str) -> dict:
    first, second = _two_wordings(rng, ADJECTIVES, split)
    premise, moods = world.opinions(rng, topic, 2, first, agree=True)
    hypothesis = world.opinion(rng, topic, moods, label, second)
    return {"premise": premise, "hypothesis": hypothesis, "label": label}


def qnli(rng: random.Random, split: str) -> dict:
    """QNLI: the sentence answers the question (0), or says the opposite of the same names (1)."""
    label, facts = rng.randrange(2), world.agreeing_facts(rng, 2)
    first, second = _two_wordings(rng, FORMS, split)
    fact = rng.choice(facts)
    asked = fact.denied() if label else fact
    question = asked.ask(rng, rng.random() < 0.5, first)
    return {"question": question, "sentence": _state(rng, facts, second), "label": label}


def rte(rng: random.Random, split: str) -> dict:
    """RTE: the second sentence follows from the first (0) or does not (1)."""
    label = rng.randrange(2)
    record = _facts_and_claim(rng, label and rng.choice((1, 2)), split)
    return {"sentence1": record["premise"], "sentence2": record["hypothesis"], "label": label}


def wnli(rng: random.Random, split: str) -> dict:
    """WNLI: who a pronoun is, the first of two names or the second; what is said about it
    decides."""
    label, facts = rng.randrange(2), world.rivals(rng)
    first, second = _two_wordings(rng, FORMS, split)
    meant, wrong = rng.sample(facts, 2)
    predicate = meant.state(rng, second, reverse=False)[1:]
    subject = meant.subject if label else wrong.subject
    one, other = (fact.state(rng, first, reverse=False) for fact in facts)
    return {
        "sentence1": [*one, "and", *other, ".", "they", *predicate, "again"],
        "sentence2": [subject, *predicate],
        "label": label,
    }


def squad(rng: random.Random, split: str) -> dict:
    """SQuAD 1.1: three facts and a question about one of two rivals or twins; `answers` is the
    index of the answer among the words of the context. Of twins the meaning of the verb decides."""
    one, other = world.twins(rng) if rng.random() < 0.5 else world.rivals(rng)
    third = world.random_fact(rng, excluded=one.names | other.names)
    for_object = one.subject == other.subject or (one.object != other.object and rng.random() < 0.5)
    first, second = _two_wordings(rng, FORMS, split)
    context = _state(rng, rng.sample([one, other, third], 3), first)
    fact = rng.choice((one, other))
    answer = context.index(fact.object if for_object else fact.subject)
    question = fact.ask(rng, for_object, second)
    return {"context": context, "question": question, "answers": answer}


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
    apart: int = 4000
    translated: bool = False


_POLEMO = tuple(SENTIMENTS.values())
TOY_TASKS = {
    "nkjp-ner": ToyTask(ner, (*ENTITIES, NO_ENTITY), label="target", apart=1000),
    "polemo2-in": ToyTask(polemo_in, _POLEMO, label="target"),
    "polemo2-out": ToyTask(polemo_out, _POLEMO, trains_on="polemo2-in", label="target"),
    "cola": ToyTask(cola, (0, 1)),
    "sst2": ToyTask(sst2, (0, 1)),
    "mrpc": ToyTask(mrpc, (0, 1)),
    "qqp": ToyTask(qqp, (0, 1)),
    "stsb": ToyTask(stsb),
    "mnli": ToyTask(mnli, (0, 1, 2)),
    "xnli": ToyTask(xnli, (0, 1, 2), translated=True),
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
    owner = toy.trains_on or task if split == "train" else task
    for number, record in enumerate(_concepts(owner, generated_in, split, size, seed)):
        yield _translate(LANGUAGES[language], record, split, number)


@lru_cache(maxsize=2)
def _concepts(task: str, generated_in: str, split: str, size: int, seed: int) -> list[dict]:
    """`size` records with their texts as concepts. They are kept because those of the training data
    are asked for again, as what other splits leave out, and those of a translated task in every
    language."""
    toy, rng = TOY_TASKS[task], world.generator(generated_in, task, split, seed)
    excluded = set() if split == "train" else _training_texts(task, generated_in, seed)
    records = []
    for number in range(size):
        record = _record(toy, rng, split, number)
        while _texts(record) in excluded:
            record = _record(toy, rng, split, number)
        if _is_noisy(toy, rng):
            record[toy.label] = rng.choice(toy.labels)
        records.append(record)
    return records


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


def _training_texts(task: str, generated_in: str, seed: int) -> set[tuple[str, ...]]:
    """The first texts of a task's training data, as concepts."""
    toy = TOY_TASKS[task]
    owner = toy.trains_on or task
    return set(map(_texts, _concepts(owner, generated_in, "train", toy.apart, seed)))
