"""lib.report.stages: what notebook 1 shows of a corpus, and of a transfer set made from one."""

import pytest

from lib.data import prepare
from lib.data.parameters import DataPrep
from lib.data.prepared import open_corpus
from lib.report import stages

LINES = [f"Ala ma {n} koty, <b>psa</b> i {n + 1} gęsi." for n in range(300)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "ala.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    source = {"kind": "files", "path": str(folder / "ala.txt")}
    p = DataPrep(
        sources=[source],
        tokenizer="train:wordpiece",
        vocab_size=120,
        held_out_lines=20,
        max_length=64,
    )
    return p, folder / "out", prepare.prepare(p, folder / "out", say=lambda line: None)


def derive(corpus, tmp_path, **changes):
    p = DataPrep(sample_of=str(corpus[1]), **changes)
    return p, prepare.prepare(p, tmp_path, say=lambda line: None)


def test_samples_of_text(corpus):
    p, folder, _ = corpus
    found = stages.samples(p, folder, count=3)
    assert found["as it is"].tolist() == LINES[:3]
    assert found["cleaned: careful"].tolist()[0] == "Ala ma 0 koty, psa i 1 gęsi."


def test_samples_of_a_transfer_set(corpus, tmp_path):
    p, _ = derive(corpus, tmp_path / "shuffled", composition="randomised", share=0.5)
    found = stages.samples(p, tmp_path / "shuffled", count=5)
    assert len(found) == 5 and list(found) == ["in the parent", "here: randomised"]
    made = open_corpus(tmp_path / "shuffled")
    words = made.tokenizer()
    assert found["here: randomised"].tolist() == [
        words.decode(row, skip_special_tokens=True) for row in made.rows(range(5))[0]
    ]
    ids = [words(text).input_ids for text in found["in the parent"]]
    assert [sorted(row) for row in ids] == [sorted(row.tolist()) for row in made.rows(range(5))[0]]
    p, _ = derive(corpus, tmp_path / "natural", share=0.5)
    found = stages.samples(p, tmp_path / "natural")
    assert found["in the parent"].tolist() == found["here: natural"].tolist()


def test_effect_is_the_right_table(corpus, tmp_path):
    p, _, statistics = corpus
    assert stages.preparation(p, statistics).index.tolist() == ["none", "careful", "neattext"]
    p, statistics = derive(corpus, tmp_path, share=0.5)
    found = stages.preparation(p, statistics)
    assert found.loc["sequences"].tolist() == ["280", "140", "50"]
    assert list(found.index) == ["sequences", "tokens"]


def test_statistics_of_both_kinds(corpus, tmp_path):
    text = stages.corpus_statistics(corpus[2])["value"]
    assert (
        text["made of"],
        text["lines read"],
        text["lines kept"],
        text["dropped: duplicate"],
    ) == ("ala.txt", "300", "280", "0")
    _, statistics = derive(corpus, tmp_path, share=0.5, composition="bigram")
    made = stages.corpus_statistics(statistics)["value"]
    assert (made["made of"], made["sequences"], made["lines held out"]) == (
        "50 % of a corpus, bigram",
        "140",
        "20",
    )
    assert set(made.index) < set(text.index)
    assert stages.length_histogram(statistics).axes[0].get_ylabel() == "sequences"


def test_by_source(corpus, tmp_path):
    found = stages.by_source(corpus[2])
    assert (
        list(found.index) == ["ala.txt", "all"]
        and found.loc["all"].tolist() == found.loc["ala.txt"].tolist()
    )
    assert found.loc["all", ["lines", "words", "words a line, median"]].tolist() == [
        "300",
        "2,400",
        "8",
    ]
    assert list(stages.by_source(derive(corpus, tmp_path)[1]).index) == ["all"]
