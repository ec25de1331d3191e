"""Tables, figures and findings of the transfer_set study, on made-up results."""

import re

import pytest

from lib.report import papers
from lib.studies import transfer_set
from tests.helpers import made_up
from tests.helpers.drawn import overlaps, texts

TRANSFER = made_up.TRANSFER
CORPORA = {
    "corpus": {
        "bytes": 20e9,
        "lines": 109,
        "words": 3000,
        "words_per_line": {"mean": 20.12, "median": 18.0},
        "sources": [
            {
                "name": "books",
                "bytes": 5.1e6,
                "lines": 65,
                "words": 897,
                "words_per_line": {"mean": 13.7, "median": 11},
            }
        ],
    },
    "corpus10pct": {"bytes": 2e9, "sequences": 10_900_000, "tokens": 402_600_000},
    "corpus0.1pct": {"bytes": 2e7, "sequences": 109_000, "tokens": 950},
}


def test_scores_stand_beside_the_papers():
    results = made_up.transfer_set()
    table = transfer_set.scores_table(results, transfer_set.SIZES)
    assert list(table.index) == [*transfer_set.SIZES.values(), "teacher", "DistilBERT"]
    assert [column for column in table.columns if column[1] == "paper"] == transfer_set.PAPER_SCORES
    rows = results[
        (results["scenario"] == "corpus1pct")
        & (results["task"] == "squad")
        & (results["metric"] == "f1")
    ]
    assert table.loc["1 %", ("SQuAD F1", "ours")].startswith(f"{rows['value'].mean():.1f} ± ")
    assert table.loc["1 %", ("SQuAD F1", "paper")] == "66.4"
    assert table.loc["teacher", ("GLUE", "paper")] == "74.9"
    noisy = transfer_set.scores_table(results, transfer_set.COMPOSITIONS)
    assert (
        noisy.loc["generated", ("SQuAD EM", "paper")] == "27.0"
        and noisy.loc["randomised", ("GLUE", "paper")] == "64.8"
    )
    assert "generated, bigrams" not in noisy.index, "neither measured nor printed"


def test_what_was_not_measured_is_a_dash():
    table = transfer_set.scores_table(
        made_up.transfer_set({"corpus1pct": (70, None)}), transfer_set.SIZES
    )
    assert (
        table.loc["10 % of the corpus", ("GLUE", "ours")]
        == "–"
        == table.loc["1 %", ("SQuAD EM", "ours")]
    )
    assert table.loc["1 %", ("GLUE", "ours")].startswith("70.")


def test_networks_with_the_ratios_as_printed():
    table = transfer_set.networks(made_up.efficiency("transfer_set", ["teacher", "corpus1pct"]))
    assert table.loc["student"].tolist() == [
        "66.4 (1.65×)",
        "66.4 (1.65×)",
        "253 (1.65×)",
        "253 (1.65×)",
        "8.00 ms (1.84×)",
        "0.80 s (1.83×)",
    ]
    assert list(table.index) == ["teacher", "student"]
    nothing = transfer_set.networks(made_up.NO_EFFICIENCY)
    assert (
        nothing.loc["student", ("MiB", "ours")] == "–"
        and nothing.loc["teacher", ("MiB", "paper")] == "417 (1.00×)"
    )


def test_corpora():
    table = transfer_set.corpus_table(CORPORA)
    assert list(table.columns) == [
        ("ours", "books"),
        ("ours", "whole"),
        *transfer_set.PAPER_CORPORA,
    ]
    assert table["ours", "books"].tolist() == ["5.10 MB", "65", "897", "13.7", "11.0"]
    assert table["paper", "TBC"].tolist() == ["4.7 GB", "74 M", "984.8 M", "13.3", "11"]
    assert list(transfer_set.corpus_table({}).columns) == transfer_set.PAPER_CORPORA
    samples = transfer_set.transfer_sets(CORPORA, transfer_set.SIZES, "transfer_sets_size")
    assert samples.loc["10 % of the corpus"].tolist() == [
        "2,000",
        "2,000",
        "10,900,000",
        "10,900,000",
        "402,600,000",
        "402,600,000",
    ]
    assert samples.loc["1 %", ("tokens", "ours")] == "–"
    prepared = {
        "corpus_corpus0.1pct": {"statistics": CORPORA["corpus0.1pct"], "stage": "data_prep"}
    }
    assert transfer_set.statistics(prepared) == {"corpus0.1pct": CORPORA["corpus0.1pct"]}


def test_the_printed_facts_follow_from_the_printed_tables():
    m, mib, seconds = (
        papers.table("001", "networks").loc["BERT-base"]
        / papers.table("001", "networks").loc["BERT-student"]
    )
    assert m == pytest.approx(papers.fact("001", "parameter_ratio"), abs=0.005)
    assert mib == pytest.approx(papers.fact("001", "size_ratio"), abs=0.005)
    assert seconds == pytest.approx(papers.fact("001", "speed_ratio"), abs=0.01)
    corpus = papers.table("001", "transfer_sets_size").loc["corpus"]
    assert corpus["tokens"] == papers.fact("001", "corpus_tokens")
    assert corpus["sequences"] == papers.fact("001", "corpus_sequences")


def paragraph(results, start: str) -> str:
    return next(text for text in transfer_set.findings(results) if text.startswith(f"**{start}"))


def test_findings_on_results_like_the_papers():
    results = made_up.transfer_set()
    assert "Yes, by exact match and by F1 alike" in paragraph(
        results, "Does SQuAD lose more than GLUE with a small"
    )
    assert "Yes: the paper's anomaly is here too" in paragraph(results, "Is generated")
    assert "From 1 % to 0.1 % (5 seeds): a loss on GLUE, SQuAD EM and SQuAD F1." in paragraph(
        results, "RQ 1"
    )
    assert "From 10 % to randomised (5 seeds): a loss on GLUE, SQuAD EM and SQuAD F1." in paragraph(
        results, "RQ 2"
    )


def test_differences_stand_beside_the_papers():
    results = made_up.transfer_set()
    sizes = transfer_set.differences_table(results, "size")
    assert list(sizes.index) == ["10 % → 1 %", "1 % → 0.1 %", "10 % → 0.1 %"]
    assert sizes.loc["1 % → 0.1 %", ("GLUE", "ours")].startswith("−2.") and "[" in sizes.iloc[0, 0]
    assert sizes.loc["1 % → 0.1 %", ("SQuAD EM", "paper")] == "−9.7"
    noise = transfer_set.differences_table(results, "composition")
    assert noise.loc["10 % → randomised", ("SQuAD EM", "paper")] == "−48.2"
    assert noise.loc["randomised → generated", ("GLUE", "paper")] == "−5.6"
    nothing = transfer_set.differences_table(made_up.NO_RESULTS, "size")
    assert set(nothing["GLUE", "ours"]) == {"–"} and len(nothing) == 3, "what is printed stays"


def test_shares_kept_stand_beside_the_papers():
    table = transfer_set.kept_table(made_up.transfer_set())
    assert (
        table.loc["0.1 %", ("GLUE", "ours")].startswith("93.")
        and table.loc["0.1 %", ("GLUE", "paper")] == "93"
    )
    assert "generated, bigrams" not in table.index


def test_findings_turn_with_the_numbers():
    turned = TRANSFER | {
        "randomised": (59, (27, 37)),
        "generated": (65, (9, 16)),
        "corpus0.1pct": (40, (50, 60)),
    }
    results = made_up.transfer_set(turned)
    assert "No: at least one half of the paper's anomaly is reversed" in paragraph(
        results, "Is generated"
    )
    assert "No: GLUE loses more" in paragraph(
        results, "Does SQuAD lose more than GLUE with a small"
    )
    level = made_up.transfer_set(TRANSFER | {"generated": TRANSFER["randomised"]}, noise=4)
    assert "Undecided" in paragraph(level, "Is generated")


def test_findings_of_one_seed_or_none_conclude_nothing():
    one = transfer_set.findings(made_up.transfer_set(seeds=1))
    assert not re.search(
        r"Yes|No:|undecided", " ".join(one)
    ) and "One seed has no interval" in " ".join(one)
    none = transfer_set.findings(made_up.NO_RESULTS)
    assert len(none) == 6 and all("Not measured" in text for text in none)
    assert not re.search("nan|None", " ".join(one + none))


def test_bigrams_are_spoken_of_only_if_they_ran():
    results = made_up.transfer_set(TRANSFER | {"bigram": (60, (40, 50))})
    assert "SQuAD EM +1" in paragraph(results, "Does generated text gain from bigrams?")
    assert len(transfer_set.findings(made_up.transfer_set())) == 6


def test_figure_of_sizes_has_ours_the_papers_and_the_tokens():
    figure = transfer_set.figure_size(made_up.transfer_set(noise=2), CORPORA)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(transfer_set.SUITES.values())
    for ax in figure.axes:
        diamonds = [line for line in ax.lines if line.get_marker() == "D"]
        assert len(diamonds) == 3 and all(line.get_markerfacecolor() == "none" for line in diamonds)
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["10 %\n403 M", "1 %", "0.1 %\n950"]
    assert overlaps(figure) == []


def test_figure_of_compositions():
    figure = transfer_set.figure_composition(
        made_up.transfer_set(TRANSFER | {"bigram": (60, (40, 50))})
    )
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [5] * 5
    assert "randomised" in texts(figure) and overlaps(figure) == []


@pytest.mark.parametrize(
    "levels", [{}, {"corpus1pct": (70, None)}, {"randomised": ({"cola": 30.0}, (5, 6))}]
)
def test_figures_of_little_or_nothing(levels):
    results = made_up.transfer_set(levels, seeds=1) if levels else made_up.NO_RESULTS
    for figure in (transfer_set.figure_size(results, {}), transfer_set.figure_composition(results)):
        assert overlaps(figure) == []
    assert "nan" not in transfer_set.describe(results, transfer_set.SIZES)


def test_short_counts():
    assert [transfer_set.short(n) for n in (950, 312_000, 4.03e6, 4e9)] == [
        "950",
        "312 k",
        "4.03 M",
        "4 B",
    ]
