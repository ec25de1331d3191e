"""lib.data.cleaning: what stays, what goes, and how the damage is measured."""

import pytest

from lib.data.cleaning import ENGLISH_STOP_WORDS, clean, damage

POLISH = "Wójt z Gdańska mówił: „Jadę do Łodzi i o to proszę, a Ty?” – i poszedł."


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        (POLISH, POLISH),
        ("  dwa\t\tsłowa \u00a0\u3000", "dwa słowa"),
        ("cafe\u0301 z\u0307o\u0301\u0142w", "café żółw"),  # NFC
        ("zero\u200bwidth so\u00adft \ufeffbom \x07bell", "zerowidth soft bom bell"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the non-joiner is spelling in Persian
        ("<p class='x'>Ala <b>ma</b><br/>kota</p><!-- nic -->", "Ala ma kota"),
        ("if a <b and c> d or 3 < 4 > 2, love <3", "if a d or 3 < 4 > 2, love <3"),
        ("Tom &amp; Jerry&nbsp;&lt;razem&#33; AT&T &copy", "Tom & Jerry <razem! AT&T &copy"),
        ("tytuł ------- * * * * * koniec", "tytuł koniec"),
        (
            "Nie!!!!!!! No……… i 10.000.000 -- tak --- x...",
            "Nie!!! No……… i 10.000.000 -- tak --- x...",
        ),
        (
            "pisz: a.b@example.org, https://example.org/a_b?c=1",
            "pisz: a.b@example.org, https://example.org/a_b?c=1",
        ),
        ("", ""),
        (" \t ", ""),
    ],
)
def test_careful_keeps_case_words_and_diacritics(line, cleaned):
    assert clean(line, "careful") == cleaned
    assert clean(cleaned, "careful") == cleaned


def test_none_changes_nothing():
    line = "  <b> A\u200b\t &amp; \n"
    assert clean(line, "none") == line


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        # the package's own published example
        (
            "This is the mail example@gmail.com ,our WEBSITE is https://example.com 😊.",
            "mail example@gmail.com ,our website https://example.com .",
        ),
        (POLISH, "wójt z gdańska mówił: „jadę łodzi proszę, ty?” – poszedł."),
        ("to, to to. I ty", "to, to. ty"),
        ("北京 jest stolicą", " jest stolicą"),  # its emoji pattern swallows Han characters
    ],
)
def test_neattext_does_the_damage_of_its_defaults(line, cleaned):
    assert clean(line, "neattext") == cleaned


def test_stop_words():
    assert len(ENGLISH_STOP_WORDS) == 361
    assert {
        "i",
        "do",
        "to",
        "o",
        "a",
        "go",
        "by",
        "ten",
        "ma",
        "on",
        "wouldn't",
        "should've",
    } <= ENGLISH_STOP_WORDS
    assert not {"z", "w", "się", "nie", "że", "seven", "i'm"} & ENGLISH_STOP_WORDS


def test_unknown_way_of_cleaning():
    with pytest.raises(ValueError, match="one of none, careful, neattext"):
        clean("a", "thorough")


def test_damage_counts_what_happened():
    lines = ["Idę do domu i śpię", "bez zmian", "I to", ""]
    result = damage(lines, "neattext")
    assert result["words_removed"] == pytest.approx(4 / 9)  # do, i, I, to
    assert result["words_changed"] == pytest.approx(1 / 9)  # Idę → idę
    assert result["characters_lost"] == pytest.approx((2 + 1 + 1 + 2) / (14 + 8 + 3))
    assert result["lines_lowercased"] == 1.0  # both lines that had a capital


def test_damage_of_careful_cleaning_and_of_nothing():
    assert damage([POLISH] * 3, "careful")["words_removed"] == 0
    assert damage([POLISH] * 3, "careful")["lines_lowercased"] == 0
    assert damage([], "neattext")["words_removed"] == 0.0
