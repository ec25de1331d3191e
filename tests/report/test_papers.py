"""The papers' numbers are copied right: means that the papers print follow from the cells they
print."""

import pytest

from lib.common.errors import InputError
from lib.report import papers


def test_herbert_table_2():
    table = papers.table("000", "results")
    assert list(table.index) == ["S0", "S1", "S2", "S3", "S4", "T1"]
    assert table.loc["T1"].tolist() == [90.9, 80.4, 94.5]
    assert table.idxmax().tolist() == ["T1"] * 3
    assert table.drop("T1").idxmax().tolist() == ["S4", "S3", "S4"]


def test_camembert_means_follow_from_the_languages():
    table = papers.table("004", "xnli")
    assert (table.drop(columns="mean").mean(axis=1) - table["mean"]).abs().max() <= 0.051


def test_glue_scores_follow_from_the_tasks_except_for_the_flagged_one():
    table = papers.table("002", "glue")
    table.loc["BERT-base", "mnli"] = 84.7
    assert (table.drop(columns="score").mean(axis=1) - table["score"]).abs().max() <= 0.051
    assert "84.7" in papers.flags("002", "glue")[0]


def test_a_changed_frame_does_not_change_the_source():
    mine = papers.table("002", "ablation")
    mine.loc["without_soft", "glue_change"] = 0
    assert papers.table("002", "ablation").loc["without_soft", "glue_change"] == -2.96


def test_squad_anomaly_is_kept():
    squad, glue = papers.table("001", "squad_composition"), papers.table("001", "glue_composition")
    assert squad.loc["generated", "f1"] > squad.loc["randomised", "f1"]
    assert glue.loc["generated", "glue"] < glue.loc["randomised", "glue"]


def test_student_share_follows_from_the_sizes():
    share = (
        100 * papers.fact("000", "student_parameters") / papers.fact("000", "teacher_parameters")
    )
    assert share == pytest.approx(papers.fact("000", "student_share"), abs=0.5)


@pytest.mark.parametrize("source", papers.sources())
def test_every_table_has_a_place_and_full_rows(source):
    for name, entry in papers.sources()[source]["tables"].items():
        assert entry["place"] and entry["about"]
        assert all(len(row) == len(entry["columns"]) for row in entry["rows"].values()), name
    for fact in papers.sources()[source].get("facts", {}).values():
        assert {"value", "unit", "place"} <= set(fact)


def test_an_unknown_name_is_one_line():
    with pytest.raises(
        InputError, match="sources.000.tables has no 'table9'; it has scenarios, results"
    ):
        papers.table("000", "table9")
    with pytest.raises(InputError, match="sources.003.facts has no 'x'; it has none"):
        papers.fact("003", "x")
