"""lib.data.sources: one sentence a line, in several languages, and nothing lost."""

import os

import pytest

from lib.common.places import ROOT
from lib.data.sources import split_sentences

DATA = ROOT / os.environ.get("DATA_DIR", "../shared/data")
CASES = {
    "en": [
        [
            "Dr. Smith met Mr. J. R. Brown in Washington, D.C. on Monday.",
            "He paid $3.50, i.e. 2.1 percent more.",
        ],
        ["The U.S. Senate voted.", "It failed."],
        ['"Why did he go?" she asked.', '"I do not know."', "He laughed."],
        ["W. E. B. Du Bois wrote it.", "It sold well (see Fig. 3, e.g. the left panel)."],
    ],
    "de": [
        ["Am 3. Oktober 1990 war es z. B. kalt.", "Dr. Müller kam."],
        ["Das ist Nr. 5.", "„Komm her!“, rief er."],
    ],
    "pl": [["To jest np. dobry przykład.", "Był to prof. Jan Nowak.", "Zmarł nagle."]],
    "zh": [["北京是中国的首都。", "它有两千万人口！", "你去过吗？"]],
    "ar": [["القاهرة عاصمة مصر.", "هل زرتها؟", "نعم زرتها."]],
    "ur": [["لاہور پاکستان کا شہر ہے۔", "کیا آپ وہاں گئے ہیں؟", "ہاں۔"]],
    "es": [["El Sr. García llegó a EE. UU. en 1990.", "¿Qué pasó?", "¡Nada!"]],
}


@pytest.mark.parametrize("language", CASES)
def test_sentences(language):
    for sentences in CASES[language]:
        assert (
            split_sentences(("" if language == "zh" else " ").join(sentences), language)
            == sentences
        )


def test_a_sentence_is_one_line_without_blanks_around():
    assert split_sentences("  One is\nhere.   Two\tis. ", "en") == ["One is here.", "Two is."]
    assert split_sentences("", "en") == split_sentences(" \n ", "en") == []
    assert split_sentences("No stop", "en") == ["No stop"]
    assert split_sentences("He came. She left! Why?", "xx") == ["He came.", "She left!", "Why?"]


@pytest.mark.skipif(not (DATA / "text/en/wikipedia.txt").is_file(), reason="no folder of real text")
@pytest.mark.parametrize("name", ["en/wikipedia.txt", "en/books.txt", "pl/books.txt", "zh"])
def test_nothing_is_lost_of_real_text(name):
    path = next((DATA / "text" / name).glob("*.txt")) if name == "zh" else DATA / "text" / name
    for line in path.read_text(encoding="utf-8").split("\n")[:3000]:
        assert "".join("".join(split_sentences(line, name[:2])).split()) == "".join(line.split())
