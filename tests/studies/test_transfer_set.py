"""The study transfer_set beside 001's own numbers, on made-up results."""

import re

import pytest

from lib.common.progress import short
from lib.report import papers, section, tables
from lib.studies import transfer_set
from tests.helpers import made_up
from tests.helpers.drawn import overlaps

STUDY = transfer_set.declared()
TRANSFER = made_up.TRANSFER
SETS = {
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
    table = tables.scores_table(STUDY, results)
    rows = results[(results["scenario"] == "corpus1pct") & (results["metric"] == "f1")]
    rows = rows[rows["task"] == "squad"]
    assert table.loc["corpus1pct", ("SQuAD F1", "ours")].startswith(f"{rows['value'].mean():.1f} ±")
    assert table.loc["corpus1pct", ("SQuAD F1", "paper")] == "66.4"
    assert table.loc["teacher", ("GLUE", "paper")] == "74.9"
    assert table.loc["generated", ("SQuAD EM", "paper")] == "27.0"
    assert table.loc["randomised", ("GLUE", "paper")] == "64.8"
    assert "bigram" not in table.index, "neither measured nor printed"


def test_what_was_not_measured_is_a_dash():
    made = made_up.transfer_set({"corpus1pct": (70, None)})
    table = tables.scores_table(STUDY, made)
    assert table.loc["corpus10pct", ("GLUE", "ours")] == "–"
    assert table.loc["corpus1pct", ("SQuAD EM", "ours")] == "–"
    assert table.loc["corpus1pct", ("GLUE", "ours")].startswith("70.")


def test_differences_stand_beside_the_papers():
    table = tables.differences_table(STUDY, made_up.transfer_set())
    table.index = table.index.get_level_values("difference")
    assert table.loc["corpus10pct − corpus0.1pct", "paper"] == "+2.5"
    assert table.loc["corpus10pct − randomised", "paper"] == "+7.7"
    assert table.loc["corpus10pct − corpus0.1pct", "GLUE"].startswith("+2.")


def test_networks_with_the_ratios_as_printed():
    table = transfer_set.networks(made_up.efficiency("transfer_set", ["teacher", "corpus1pct"]))
    assert table.loc["student"].tolist() == [
        *("66.4 (1.65×)", "66.4 (1.65×)"),
        *("253 (1.65×)", "253 (1.65×)"),
        *("8.00 ms (1.84×)", "0.80 s (1.83×)"),
    ]
    assert list(table.index) == ["teacher", "student"]
    nothing = transfer_set.networks(made_up.NO_EFFICIENCY)
    assert nothing.loc["student", ("MiB", "ours")] == "–"
    assert nothing.loc["teacher", ("MiB", "paper")] == "417 (1.00×)"


def test_corpora():
    table, printed = transfer_set.corpus_table(SETS), [("paper", "TBC"), ("paper", "TBC replica")]
    assert list(table.columns) == [("ours", "books"), ("ours", "whole"), *printed]
    assert table["ours", "books"].tolist() == ["5.10 MB", "65", "897", "13.7", "11.0"]
    assert table["paper", "TBC"].tolist() == ["4.7 GB", "74 M", "984.8 M", "13.3", "11"]
    assert list(transfer_set.corpus_table({}).columns) == printed
    samples = transfer_set.transfer_sets(SETS)
    assert samples.loc["corpus10pct"].tolist() == [
        *("2,000", "2,000", "10,900,000", "10,900,000", "402,600,000", "402,600,000")
    ]
    assert samples.loc["corpus1pct", ("tokens", "ours")] == "–"


def test_the_printed_facts_follow_from_the_printed_tables():
    networks = papers.table("001", "networks")
    m, mib, seconds = networks.loc["BERT-base"] / networks.loc["BERT-student"]
    assert m == pytest.approx(papers.fact("001", "parameter_ratio"), abs=0.005)
    assert mib == pytest.approx(papers.fact("001", "size_ratio"), abs=0.005)
    assert seconds == pytest.approx(papers.fact("001", "speed_ratio"), abs=0.01)
    corpus = papers.table("001", "transfer_sets_size").loc["corpus"]
    assert corpus["tokens"] == papers.fact("001", "corpus_tokens")
    assert corpus["sequences"] == papers.fact("001", "corpus_sequences")


def test_findings_turn_with_the_numbers():
    small, _, _, anomaly = transfer_set.findings(STUDY, made_up.transfer_set())
    assert "Yes, by exact match and by F1 alike" in small
    assert "Yes: the paper's anomaly is here too" in anomaly
    turned = {"randomised": (59, (27, 37)), "generated": (65, (9, 16))}
    turned |= {"corpus0.1pct": (40, (50, 60))}
    small, _, _, anomaly = transfer_set.findings(STUDY, made_up.transfer_set(TRANSFER | turned))
    assert "No: GLUE loses more" in small and "No: at least one half" in anomaly
    level = made_up.transfer_set(TRANSFER | {"generated": TRANSFER["randomised"]}, noise=4)
    assert "Undecided" in transfer_set.anomaly_paragraph(STUDY, level)


def test_findings_of_one_seed_or_none_conclude_nothing():
    one = " ".join(transfer_set.findings(STUDY, made_up.transfer_set(seeds=1)))
    assert not re.search(r"Yes|No:|undecided", one) and "One run has no interval" in one
    none = transfer_set.findings(STUDY, made_up.NO_RESULTS)
    assert len(none) == 4 and all("Not measured" in text for text in none)
    assert not re.search("nan|None", " ".join([one, *none]))


def test_figure_of_sizes_has_ours_the_papers_and_the_tokens():
    figure = transfer_set.figure_size(STUDY, made_up.transfer_set(noise=2), SETS)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(transfer_set.SUITES.values())
    for ax in figure.axes:
        diamonds = [line for line in ax.lines if line.get_marker() == "D"]
        assert len(diamonds) == 3 and all(line.get_markerfacecolor() == "none" for line in diamonds)
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["10 %\n403 M", "1 %", "0.1 %\n950"]
    assert overlaps(figure) == []


@pytest.mark.parametrize(
    "levels",
    [{}, {"corpus1pct": (70, None)}, {"randomised": ({"cola": 30.0}, (5, 6))}, TRANSFER],
)
def test_figures_of_little_or_nothing(levels):
    results = made_up.transfer_set(levels, seeds=1) if levels else made_up.NO_RESULTS
    assert overlaps(transfer_set.figure_size(STUDY, results, {})) == []
    assert overlaps(section.scores_figure(STUDY, results)) == []
    assert "nan" not in transfer_set.describe_size(results)


def test_short_counts():
    counts = [short(n) for n in (950.2, 312_000, 4.03e6, 4e9)]
    assert counts == ["950", "312 k", "4.03 M", "4 B"]
