"""The report of a study shows whatever was measured: some of its tasks, others, other scenarios."""

import pandas as pd
import pytest

from lib.report import claims, findings, tables
from lib.report.declaration import with_every_task
from lib.report.scores import MEAN, MEAN_OF_RUN
from lib.studies import ablation, cascade, herbert, transfer_set
from tests.helpers import made_up
from tests.report import test_analysis


def own_task(rows, name="mood", below=3.0):
    return rows.assign(task=name, metric="f1_macro", value=rows["value"] - below)


def one_task():
    rows = made_up.herbert()
    return rows[rows["task"] == "nkjp-ner"]


def test_one_of_its_tasks_stands_beside_the_paper():
    study = with_every_task(herbert.declared(), one_task())
    table = tables.scores_table(study, one_task())
    assert list(table.columns) == [("NKJP-NER", "ours"), ("NKJP-NER", "paper")]
    assert table.loc["S2", ("NKJP-NER", "paper")] == "80.1"
    assert table.loc["S2", ("NKJP-NER", "ours")].startswith("79.1")
    text = " ".join(findings.findings(study, one_task(), made_up.NO_EFFICIENCY))
    assert "NKJP-NER: 79.1 against 68.3, +10.8" in text
    assert (
        "What any training after truncation buys** Not measured: this run has no truncated." in text
    )


def test_other_tasks_have_a_mean_that_no_paper_prints():
    rows = pd.concat([one_task(), own_task(one_task())])
    study = with_every_task(herbert.declared(), rows)
    table = tables.scores_table(study, rows)
    assert {column for column, _ in table.columns} == {MEAN_OF_RUN, "NKJP-NER", "mood"}
    assert table.loc["S3", (MEAN_OF_RUN, "paper")] == table.loc["S3", ("mood", "paper")] == "–"
    assert table.loc["S3", ("NKJP-NER", "paper")] == "80.6"
    assert study.scores(rows, "S3")[MEAN_OF_RUN].mean() == pytest.approx(80.6 - 1.5, abs=0.1)


def test_all_of_its_tasks_are_a_study_s_own_affair():
    rows = made_up.herbert()
    study = herbert.declared()
    assert with_every_task(study, rows) is study
    more = pd.concat([rows, own_task(rows[rows["task"] == "nkjp-ner"])])
    assert with_every_task(study, more).main == MEAN
    assert "mood" in tables.columns_of(with_every_task(study, more), more)


@pytest.mark.parametrize("module", [transfer_set, ablation, cascade])
def test_other_tasks_and_scenarios_in_every_study(module):
    rows = pd.concat(
        [
            made_up.rows(module.NAME, name, {"cola": level, "mood": level - 10}, key=level)
            for name, level in {"teacher": 70, "mine": 65}.items()
        ]
    )
    study = with_every_task(module.declared(), rows)
    table = tables.scores_table(study, rows)
    titles = [column[0] if isinstance(column, tuple) else column for column in table.columns]
    assert list(dict.fromkeys(titles)) == [MEAN_OF_RUN, "CoLA", "mood"]
    assert {"teacher", "mine"} <= set(table.index)
    kept = findings.findings(study, rows, made_up.NO_EFFICIENCY)
    assert any("mine 92." in paragraph for paragraph in kept)


def test_claims_wait_for_the_tasks_they_are_about():
    study = herbert.declared()
    found = claims.evaluate(one_task(), made_up.NO_EFFICIENCY, claims.read(study))
    needs = found.set_index("id")["needs"]
    assert (needs == claims.ALL_TASKS).any() and not (needs == claims.ALL_IT_COMPARES).any()


def test_the_report_of_all_studies_with_other_tasks(monkeypatch, tmp_path):
    """A subset of the tasks, own tasks, own names of scenarios and teachers: everything that was
    measured stands in the report, and nothing is called unmeasured for another reason."""
    scores = {"herbert": pd.concat([one_task(), own_task(one_task())])}
    for module in (transfer_set, ablation, cascade):
        names = {"teacher": 71, "mine": 65, "truncated": 60}
        rows = [
            made_up.rows(module.NAME, name, {"cola": level, "mood": level - 10.5}, key=level)
            for name, level in names.items()
        ]
        scores[module.NAME] = pd.concat(rows)
    text = test_analysis.run(monkeypatch, tmp_path, scores, list(scores))
    assert text.count("mean of the tasks measured") > 8 and text.count(">mood<") > 8
    assert "have no run in common" not in text and "this run has no S2_longer" in text
    assert text.count('<th scope="row">mine') > 8
