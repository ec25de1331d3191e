"""The toy languages: the same text everywhere, labels that follow from the text, tasks in the hub's
form."""

import random
import subprocess
import sys
from collections import Counter

import pytest

from lib.data.toy import corpora, languages, tasks, world
from lib.tasks import examples
from lib.tasks.examples import TaskSource
from lib.tasks.registry import TASKS


def test_toy_tasks_have_the_hub_s_columns_and_labels():
    assert set(tasks.TOY_TASKS) <= set(TASKS)
    for name in tasks.TOY_TASKS:
        source = TaskSource("toy", language="toy-pl")
        for split in ("train", *examples.validation_splits(name, source)):
            result = examples.load(name, split, source, 400)
            assert len(result.texts) == 400
            if split != "train" and TASKS[name].kind == "classification":
                assert set(result.labels) == set(range(len(TASKS[name].labels))), name


def test_toy_text_is_the_same_in_every_process():
    code = (
        "import hashlib; from lib.data.toy import corpora as c, tasks as t; text = "
        "[*c.corpus_lines('toy-en', 'encyclopedia', 50, 0), *map(str, t.task_records('toy-en', "
        "'squad', 'train', 50, 0))]; "
        "print(hashlib.md5(''.join(text).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_toy_lexicon_has_a_word_of_its_own_for_every_concept():
    words = [languages.LANGUAGES["toy-pl"].word(concept) for concept in world.concepts()]
    assert len(set(words)) == len(words)


def test_out_reviews_talk_of_unseen_topics():
    word = languages.LANGUAGES["toy-pl"].word
    unseen = {word(f"{topic}.noun.{i}") for topic in world.OUT_TOPICS for i in range(world.NOUNS)}
    text = {
        split: {
            w
            for r in tasks.task_records("toy-pl", "polemo2-out", split, 200, 0)
            for w in r["sentence"].split()
        }
        for split in ("train", "validation")
    }
    assert not unseen & text["train"] and unseen <= text["validation"]


def test_most_test_names_are_unknown_to_the_labelled_data():
    names = {
        languages.LANGUAGES["toy-pl"].word(f"{kind}.{i}")
        for kind in world.ENTITIES
        for i in range(world.NAMES[kind])
    }
    words_in_training = {
        w
        for r in tasks.task_records("toy-pl", "nkjp-ner", "train", 2000, 0)
        for w in r["sentence"].split()
    } & names
    tested = [
        w
        for r in tasks.task_records("toy-pl", "nkjp-ner", "validation", 1000, 0)
        for w in r["sentence"].split()
        if w in names
    ]
    assert 0.5 < sum(w not in words_in_training for w in tested) / len(tested) < 0.9


def test_no_validation_text_stands_in_the_training_data():
    for name in tasks.TOY_TASKS:
        train, validation = (
            {texts(record) for record in tasks.task_records("toy-pl", name, split, size, 0)}
            for split, size in (("train", 300), ("validation", 500))
        )
        assert not train & validation, name


def texts(record):
    return tuple(
        value
        for key, value in record.items()
        if isinstance(value, str) and key not in ("id", "title", "target")
    )


def test_the_two_raw_corpora_differ():
    """The shift between them: total variation of their unigrams, against that of two halves of
    one."""

    def counts(corpus, seed):
        words = [
            w for line in corpora.corpus_lines("toy-pl", corpus, 3000, seed) for w in line.split()
        ]
        return {w: words.count(w) / len(words) for w in set(words)}

    def distance(a, b):
        return sum(abs(a.get(w, 0) - b.get(w, 0)) for w in {*a, *b}) / 2

    books, again, web = counts("books", 0), counts("books", 1), counts("web", 0)
    assert distance(books, web) > 2 * distance(books, again)


def records(task, split="validation", size=600):
    return list(tasks.task_records("toy-en", task, split, size, 0))


def test_polish_is_unchanged():
    """The herbert study's text must not change when another language or corpus is added."""
    lines = list(corpora.corpus_lines("toy-pl", "web", 3, 0))
    assert world.generator(*lines).random() == pytest.approx(0.07123438999778353)


def test_english_names_come_again():
    """Most accounts repeat their names: without that an encoder does not learn to look one up."""
    word = languages.LANGUAGES["toy-en"].word
    names = {word(f"{kind}.{i}") for kind, count in world.NAMES.items() for i in range(count)}
    repeated = []
    for line in corpora.corpus_lines("toy-en", "encyclopedia", 2000, 0):
        result = Counter(w for w in line.split() if w in names)
        if len(result) >= 2:
            repeated.append(sum(count > 1 for count in result.values()) / len(result))
    assert len(repeated) > 1000 and sum(repeated) / len(repeated) > 0.6


@pytest.mark.parametrize("task", ["cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "wnli"])
def test_no_label_is_rare(task):
    split = "validation_matched" if task == "mnli" else "validation"
    result = Counter(record["label"] for record in records(task, split))
    assert min(result.values()) > 0.6 * 600 / len(result) and set(result) == set(
        range(len(TASKS[task].labels))
    )


def test_answers_are_at_their_start():
    for record in records("squad"):
        (text,), (start,) = record["answers"]["text"], record["answers"]["answer_start"]
        assert (
            record["context"][start : start + len(text)] == text and text not in record["question"]
        )


PAIRS = ("mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli", "xnli")
MEANING = ("verb", *world.TOPICS)


CONCEPTS = {languages.LANGUAGES["toy-en"].word(concept): concept for concept in world.concepts()}


def in_concepts(text):
    return [CONCEPTS.get(word, word) for word in text.split()]


def carries_meaning(concept):
    """Whether it is a verb or an adjective, which the labels of English tasks depend on."""
    return concept.split(".")[0] in MEANING and ".noun." not in concept


@pytest.mark.parametrize("task", ["sst2", *PAIRS])
def test_verbs_and_adjectives_of_validation_data_are_unknown_to_training_data(task):
    seen = {}
    for split in ("train", *examples.validation_splits(task, TaskSource("toy", language="toy-en"))):
        texts_of_split = [" ".join(texts(record)) for record in records(task, split, 400)]
        seen[split] = {c for text in texts_of_split for c in in_concepts(text)}
        seen[split] = {concept for concept in seen[split] if carries_meaning(concept)}
        assert seen[split]
    training = seen.pop("train")
    assert not any(training & validation for validation in seen.values())


@pytest.mark.parametrize("task", PAIRS)
def test_overlap_of_a_pair_says_nothing_of_its_label(task):
    split = {"mnli": "validation_matched", "xnli": "test"}.get(task, "validation")
    shares = {}
    for record in records(task, split, 1500):
        first, second = map(in_concepts, texts(record))
        shared = [concept for concept in second if concept in first]
        assert task == "wnli" or not any(carries_meaning(concept) for concept in shared)
        label = record["label"] // 1.7 if task == "stsb" else record["label"]
        shares.setdefault(label, []).append(len(shared) / len(second))
    means = [sum(values) / len(values) for values in shares.values()]
    assert len(means) > 1 and max(means) - min(means) < 0.05


def test_rivals_differ_in_sense_and_names_and_twins_share_one_name():
    rng = random.Random(0)
    for _ in range(300):
        one, other = world.rivals(rng)
        assert (one.relation, one.sense) == (other.relation, world.OPPOSITE[other.sense])
        assert not one.names & other.names
        one, other = world.twins(rng)
        assert one.relation == other.relation and one.sense != other.sense
        assert len(one.names & other.names) == 1


def test_claims_follow_or_do_not():
    rng = random.Random(1)
    for _ in range(300):
        facts = world.random_facts(rng, 2)
        stated = {(fact.sense, *sorted(fact.names)) for fact in facts}
        denied = {(fact.denied().sense, *sorted(fact.names)) for fact in facts}
        for label in range(3):
            words = world.claim(rng, facts, label)
            (verb,) = (word for word in words if word.startswith("verb."))
            names = sorted(word for word in words if word.split(".")[0] in world.ENTITIES)
            read = (verb.split(".")[1], *names)
            assert (read in stated, read in denied) == ((label == 0), (label == 2))
            assert any(set(names) == fact.names for fact in facts)


def test_similarity_is_the_number_of_facts_in_common():
    for record in records("stsb", size=200):
        senses = [{}, {}]
        for told, column in zip(senses, ("sentence1", "sentence2")):
            for sentence in " ".join(in_concepts(record[column])).split(" . "):
                words = sentence.split()
                names = frozenset(word for word in words if word.split(".")[0] in world.ENTITIES)
                (verb,) = (word for word in words if word.startswith("verb."))
                told[names] = verb.split(".")[1]
        assert senses[0].keys() == senses[1].keys()
        shared = sum(senses[0][names] == senses[1][names] for names in senses[0])
        assert abs(record["label"] - 2.5 * shared) <= 0.51


def test_half_of_the_questions_have_a_wrong_answer_that_only_the_verb_excludes():
    doubtful = 0
    for record in records("squad", size=400):
        question, context = in_concepts(record["question"]), in_concepts(record["context"])
        (name,) = (word for word in question if word.split(".")[0] in world.ENTITIES)
        doubtful += context.count(name) == 2
        assert not set(question) & {word for word in context if word.startswith("verb.")}
    assert 0.4 < doubtful / 400 < 0.6


def test_the_mismatched_set_speaks_of_other_topics():
    word = languages.LANGUAGES["toy-en"].word
    unseen = {word(f"{topic}.noun.{i}") for topic in world.OUT_TOPICS for i in range(world.NOUNS)}
    for split, expected in (("validation_matched", False), ("validation_mismatched", True)):
        assert (
            any(unseen & set(record["premise"].split()) for record in records("mnli", split, 100))
            == expected
        )
