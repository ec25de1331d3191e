"""The family of toy languages: how far its lexicons overlap, and entailment with the same pairs in
every language."""

import itertools
import re
from collections import Counter

import pytest

from lib.data.toy import tasks
from lib.data.toy.corpora import corpus_lines
from lib.data.toy.languages import LANGUAGES
from lib.data.toy.world import ENTITIES, concepts

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


def test_each_label_of_entailment_is_as_frequent():
    counts = Counter(r["label"] for r in tasks.task_records("toy-en", "xnli", "train", 1500, 0))
    assert set(counts.values()) == {500}  # so that guessing gives 33.3 %


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
    connecting = {concept for concept in concepts() if concept.startswith("verb.")}
    for language, text in lines.items():
        spoken = set(itertools.chain.from_iterable(line.split() for line in text))
        assert {LANGUAGES[language].word(word) for word in connecting} <= spoken
