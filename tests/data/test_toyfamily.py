"""The family of toy languages: how far its lexicons overlap, and entailment with the same pairs in
every language."""

import itertools
import re

import pytest

from lib.data.toy import tasks
from lib.data.toy.corpora import corpus_lines
from lib.data.toy.languages import LANGUAGES
from lib.data.toy.world import ENTITIES, RELATIONS, concepts

FAMILY = ["toy-es", "toy-de", "toy-zh", "toy-ar", "toy-ur"]
OWN = [concept for concept in concepts() if concept.split(".")[0] not in ENTITIES]
NAMES = [concept for concept in concepts() if concept.split(".")[0] in ENTITIES]


def words(language: str, of: list[str]) -> list[str]:
    return [LANGUAGES[language].word(concept) for concept in of]


@pytest.mark.parametrize("language", FAMILY)
def test_a_language_shares_its_stated_part_of_words_with_english_and_all_names(language):
    alike = sum(a == b for a, b in zip(words(language, OWN), words("toy-en", OWN))) / len(OWN)
    expected = LANGUAGES[language].cognates
    assert abs(alike - expected) < 3 * (expected * (1 - expected) / len(OWN)) ** 0.5
    assert words(language, NAMES) == words("toy-en", NAMES)
    assert LANGUAGES[language].text([",", ".", "?"]) == ", . ?"


@pytest.mark.parametrize("language", ["toy-en", *FAMILY])
def test_no_word_means_two_things(language):
    assert len(set(words(language, list(concepts())))) == len(concepts())


def test_the_family_runs_from_near_to_far():
    near_to_far = [
        sum(a == b for a, b in zip(words(language, OWN), words("toy-en", OWN)))
        for language in FAMILY
    ]
    assert near_to_far == sorted(near_to_far, reverse=True) and near_to_far[-1] < 0.1 * len(OWN)


def test_years_are_numbers_in_the_family_and_words_elsewhere():
    assert all(
        re.fullmatch("1[5-9][0-9][0-9]|20[0-9][0-9]", LANGUAGES["toy-ur"].word(f"time.{i}"))
        for i in range(24)
    )
    assert not any(LANGUAGES["toy-pl"].word(f"time.{i}").isdigit() for i in range(24))


def test_all_languages_are_tested_on_the_same_pairs():
    meant = {}
    for language in ("toy-en", "toy-ur"):
        back = {LANGUAGES[language].word(concept): concept for concept in concepts()}
        meant[language] = [
            (
                [
                    [back.get(word, word) for word in record[column].split()]
                    for column in ("premise", "hypothesis")
                ],
                record["label"],
            )
            for record in tasks.task_records(language, "xnli", "test", 200, 0)
        ]
    assert meant["toy-en"] == meant["toy-ur"]


def test_labels_of_entailment_are_what_the_pair_says_and_each_is_as_frequent():
    """A second reading of the pairs: names in common for facts, noun and mood for opinions."""
    back = {LANGUAGES["toy-en"].word(concept): concept for concept in concepts()}
    right, counts = 0, dict.fromkeys(range(3), 0)
    for record in tasks.task_records("toy-en", "xnli", "train", 1500, 0):
        premise, claim = (
            [back.get(word, word) for word in record[column].split()]
            for column in ("premise", "hypothesis")
        )
        if any(concept.split(".")[0] in ENTITIES for concept in claim):
            result = [concept in premise for concept in claim if concept.split(".")[0] in ENTITIES]
            read = 0 if all(result) else 2 if any(result) else 1
        else:
            noun, adjective = claim
            moods = {concept.split(".")[1] for concept in premise if ".noun." not in concept}
            read = 1 if noun not in premise else 0 if adjective.split(".")[1] in moods else 2
        right += read == record["label"]
        counts[record["label"]] += 1
    assert set(counts.values()) == {500}  # so that guessing gives 33.3 %
    assert right >= 1490  # a name of the other fact may make a contradiction look entailed


def test_no_training_pair_is_in_the_test_data():
    def pairs(split, size):
        return {
            (r["premise"], r["hypothesis"])
            for r in tasks.task_records("toy-es", "xnli", split, size, 0)
        }

    assert not pairs("train", 4000) & pairs("test", 1000)


def test_text_of_two_languages_differs_though_its_sentences_are_built_alike():
    lines = {
        language: list(corpus_lines(language, "gazette", 300, 0))
        for language in ("toy-en", "toy-ur")
    }
    assert not set(lines["toy-en"]) & set(lines["toy-ur"])
    connecting = {
        word for relation in RELATIONS for word in relation.statement.split() if word not in "*#"
    }
    for language, text in lines.items():
        spoken = set(itertools.chain.from_iterable(line.split() for line in text))
        assert {LANGUAGES[language].word(word) for word in connecting} <= spoken
