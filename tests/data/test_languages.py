"""lib.data.languages: sources of several languages, the sampling exponent, shares and whole lines;
against NumPy and by hand."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest

from lib.common.errors import InputError
from lib.data import languages
from lib.plan.stages import validate

WIKI = {
    "kind": "hub",
    "dataset": "wikimedia/wikipedia",
    "config": "20231101.{language}",
    "languages": ["en", "zh-yue"],
}
TOY = {"kind": "toy", "corpus": "books", "languages": ["toy-en", "toy-pl"], "lines": 5}


def prepared(*sources, **changes):
    return validate(
        "data_prep",
        {"sources": list(sources), "tokenizer": "train:wordpiece"} | changes,
        lambda key: "f",
    )


# ------------------------------------------------------------------------------------------ sources


def test_an_entry_stands_for_a_source_a_language():
    result = prepared(
        {"kind": "files", "path": "a.txt"}, WIKI, TOY | {"lines": {"toy-pl": 7, "toy-en": 9}}
    ).sources
    assert [source.language for source in result] == ["", "en", "zh-yue", "toy-en", "toy-pl"]
    assert [source.config for source in result[1:3]] == ["20231101.en", "20231101.zh-yue"]
    assert [source.lines for source in result[3:]] == [9, 7]
    assert [source.lines for source in prepared(TOY).sources] == [5, 5]


def test_a_language_may_be_spelt_by_a_pattern_and_other_braces_are_left_alone():
    entry = {
        "kind": "files",
        "path": "{root}/{language}/*.txt",
        "language": "toy-{language}",
        "languages": ["en", "es"],
    }
    result = prepared(entry).sources
    assert [(source.path, source.language) for source in result] == [
        ("{root}/en/*.txt", "toy-en"),
        ("{root}/es/*.txt", "toy-es"),
    ]


def test_expanded_parameters_are_unchanged_when_validated_again():
    p = prepared(WIKI, TOY, sampling_target="en = 100 toy-pl", sections=6, sampled_lines=1000)
    assert validate("data_prep", p.model_dump(mode="json")) == p


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (TOY | {"languages": []}, "sources.0.languages = []; allowed: a list of language codes"),
        (TOY | {"languages": "toy-en"}, "sources.0.languages = 'toy-en'; allowed: a list"),
        (
            WIKI | {"languages": ["en", False]},
            "sources.0.languages: False is no language code; allowed: short codes such",
        ),
        (WIKI | {"languages": ["en", "../x"]}, "sources.0.languages: '../x' is no language code"),
        (WIKI | {"languages": ["is", "en", "is"]}, "sources.0.languages names is twice"),
        (
            TOY | {"lines": {"toy-en": 5}},
            "sources.0.lines of toy-pl = None; allowed: a whole number of 1 and more",
        ),
        (
            TOY | {"lines": {"toy-en": 5, "toy-pl": 0}},
            "sources.0.lines of toy-pl = 0; allowed: a whole number of 1",
        ),
        (
            TOY | {"lines": {"toy-en": 5, "toy-pl": 1, "toy-zh": 2}},
            "sources.0.lines of toy-zh: not among languages",
        ),
        (WIKI | {"config": "20231101.en"}, "sources.0: en and zh-yue would be the same text"),
        (TOY | {"lines": 0}, "sources.0.toy.lines = 0: input should be greater than 0"),
        ({"kind": "files", "path": "a", "language": "a b"}, "sources.0.files.language = 'a b'"),
        ({"kind": "toy", "corpus": "books", "lines": 5}, "sources.0.toy.language is missing"),
    ],
)
def test_wrong_sources_are_one_line(entry, message):
    with pytest.raises(InputError) as caught:
        prepared(entry)
    assert (
        message in str(caught.value)
        and str(caught.value).startswith("f: ")
        and "\n" not in str(caught.value)
    )


def test_languages_are_grouped():
    def of(*codes):
        names, group = languages.group_by_language(
            [SimpleNamespace(language=code) for code in codes]
        )
        return names, group.tolist()

    assert of("en", "is", "en") == (["en", "is"], [0, 1, 0])
    assert of("en", "", "is") == ([""], [0, 0, 0])  # one source has no language


# ----------------------------------------------------------------------------------------- sampling


def test_the_exponent_of_mbert():
    assert languages.solve_exponent(1000, 100, 1) == pytest.approx(2 / 3)  # 1000^(2/3) = 100
    assert round(languages.solve_exponent(1000.0, 100, 1.0), 3) == 0.667
    assert languages.solve_exponent(7, 1, 3) == 0 and languages.solve_exponent(3, 1, 7) == 0
    assert languages.solve_exponent(10, 100, 1) == pytest.approx(2)  # above 1 is allowed


def test_the_solved_exponent_gives_the_factor():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.lognormal(10, 3, 20)
        one, other = np.argmax(sizes), np.argmin(sizes)
        factor = float(rng.uniform(1, 300))
        result = languages.sampling_probabilities(
            sizes, languages.solve_exponent(sizes[one], factor, sizes[other])
        )
        assert result[one] / result[other] == pytest.approx(
            factor
        ) and result.sum() == pytest.approx(1)


def test_probabilities_are_equation_1():
    sizes = [900, 90, 10]
    p = [0.9, 0.09, 0.01]
    for power in (0, 0.3, 0.7, 1, 1.5):
        expected = [share**power / sum(other**power for other in p) for share in p]
        assert languages.sampling_probabilities(sizes, power) == pytest.approx(expected)
    assert languages.sampling_probabilities([10**9, 1], 500).tolist() == [
        1,
        0,
    ]  # no overflow, no nan


@pytest.mark.parametrize(
    ("one", "factor", "other", "message"),
    [
        (5, 2, 5, "sampling_target: en and is are both 5 bytes"),
        (
            5,
            2,
            6,
            "en has 5 bytes and is 6, so a factor of 2 "
            "needs the exponent -3.8; allowed: 0 and more",
        ),
        (6, 0.5, 5, "needs the exponent -3.8; allowed"),
    ],
)
def test_impossible_exponents(one, factor, other, message):
    with pytest.raises(InputError) as caught:
        languages.solve_exponent(one, factor, other, ("en", "is"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_targets():
    assert languages.parse_target("en = 100 is", ["is", "en"]) == ("en", 100.0, "is")
    assert languages.parse_target(" zh-yue=2.5  toy-en ", ["zh-yue", "toy-en"]) == (
        "zh-yue",
        2.5,
        "toy-en",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sampling_target": "en = 100"},
            'allowed: two languages and a factor, as in "en = 100 is"',
        ),
        ({"sampling_target": "en = 0 zh-yue"}, "allowed: two languages and a factor"),
        ({"sampling_target": "en = 2 en"}, "allowed: two languages and a factor"),
        (
            {"sampling_target": "en = 100 is"},
            "sampling_target names is, of which there is no source; allowed: en, zh-yue",
        ),
        (
            {"sampling_target": "en = 9 zh-yue", "sampling_exponent": 0.7},
            "allowed: one of sampling_exponent and",
        ),
        (
            {"sampling_exponent": -0.1},
            "sampling_exponent = -0.1: input should be greater than or equal to 0",
        ),
        ({"sampling_exponent": "inf"}, "sampling_exponent = 'inf'"),
        ({"sampled_lines": 5}, "sampled_lines 5 needs sampling_exponent or sampling_target"),
        ({"sections": 0}, "sections = 0"),
        (
            {"sampling_exponent": 1, "subset_unit": "lines", "subset_size": 9},
            "subset_unit lines keeps the first lines",
        ),
        (
            {"sections": 2, "subset_unit": "tokens", "subset_size": 9},
            "subset_unit tokens keeps the first lines",
        ),
    ],
)
def test_wrong_sampling_is_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        prepared(WIKI, **changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_sampling_needs_the_language_of_every_source():
    with pytest.raises(
        InputError, match="sources.2.language is missing; allowed: a language for each"
    ):
        prepared(WIKI, {"kind": "books", "path": "b"}, sampling_exponent=0.7)
    assert prepared(WIKI, {"kind": "books", "path": "b"}, shuffle=True, sections=2).sections == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling_exponent": 0.7},
        {"sampling_target": "en = 2 is"},
        {"sampled_lines": 5},
        {"shuffle": True},
        {"sections": 2},
    ],
)
def test_a_transfer_set_is_not_sampled_again(changes):
    with pytest.raises(
        InputError,
        match=f"{next(iter(changes))} = .*: needs sources; a transfer set, made with sample_of",
    ):
        validate("data_prep", {"sample_of": "outputs/x"} | changes)


def test_whole_lines_are_less_than_one_off_and_none_is_lost():
    rng = random.Random(3)
    for _ in range(200):
        weights = np.array([rng.random() ** 6 for _ in range(rng.randrange(1, 105))])
        shares, total = weights / weights.sum(), rng.randrange(0, 10**9)
        lines = languages.apportion(total, shares)
        assert (
            lines.sum() == total and lines.min() >= 0 and np.abs(lines - total * shares).max() < 1
        )
    # By hand: 10 · (0.45, 0.33, 0.22) = 4.5, 3.3, 2.2, whose largest remainder is the first's.
    assert languages.apportion(10, np.array([0.45, 0.33, 0.22])).tolist() == [5, 3, 2]


def test_quotas_come_from_bytes_and_are_lines():
    params = SimpleNamespace(
        sampling_exponent=0.5, sampling_target="", sampling_unit="lines", sampled_lines=0
    )
    power, shares, lines = languages.lines_to_draw(
        params, ["en", "is"], np.array([60, 40]), np.array([8100, 900])
    )
    assert (
        power == 0.5 and shares == pytest.approx([0.75, 0.25]) and lines.tolist() == [75, 25]
    )  # √9 = 3
    with pytest.raises(InputError, match="no line of is is left to sample"):
        languages.lines_to_draw(params, ["en", "is"], np.array([60, 0]), np.array([8100, 0]))
    none = SimpleNamespace(sampling_exponent=None, sampling_target="", sampled_lines=0)
    assert languages.lines_to_draw(none, ["en", "is"], np.array([60, 40]), np.array([8100, 900]))[
        2
    ].tolist() == [60, 40]


def test_figures_by_hand():
    whole = languages.language_table(
        ["en", "is"],
        bytes=np.array([300, 100]),
        lines=np.array([30, 10]),
        target=np.array([0.6, 0.4]),
        lines_drawn=np.array([12, 8]),
        bytes_drawn=np.array([120, 80]),
        tokens=np.array([10, 30]),
    )
    assert whole[1] == {
        "language": "is",
        "bytes": 100,
        "lines": 10,
        "share": 25.0,
        "target": 40.0,
        "lines_drawn": 8,
        "share_drawn": 40.0,
        "bytes_drawn": 80,
        "share_bytes_drawn": 40.0,
        "tokens": 30,
        "share_tokens": 75.0,
    }
    assert math.isclose(sum(row["share_tokens"] for row in whole), 100)


def test_by_bytes_the_lines_make_up_for_their_length():
    """en's lines are 135 bytes long, is's 22.5: for P' = 3 : 1 of the bytes, three en lines go with
    six of is."""
    params = SimpleNamespace(
        sampling_exponent=0.5, sampling_target="", sampling_unit="bytes", sampled_lines=900
    )
    _, shares, lines = languages.lines_to_draw(
        params, ["en", "is"], np.array([60, 40]), np.array([8100, 900])
    )
    assert shares == pytest.approx([0.75, 0.25]) and lines.tolist() == [300, 600]
    assert lines[0] * 135 / (lines[1] * 22.5) == pytest.approx(3)
