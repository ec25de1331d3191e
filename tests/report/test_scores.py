"""GLUE's macro score as the sources average it, against plain NumPy."""

import numpy as np
import pandas as pd
import pytest

from lib.common.errors import InputError
from lib.report import papers, scores
from lib.report.scores import MEAN
from tests.helpers import made_up


def test_the_printed_score_of_distilbert_is_the_mean_of_its_nine_tasks():
    printed = papers.table("002", "glue").loc["DistilBERT"]
    assert len(scores.GLUE) == 9 and set(scores.GLUE) == set(printed.index) - {"score"}
    assert np.mean([printed[task] for task in scores.GLUE]) == pytest.approx(
        printed["score"], abs=0.05
    )


@pytest.mark.parametrize("mnli, weights", [("both", [0.5, 0.5]), ("matched", [1, 0])])
def test_the_macro_score_is_a_mean_of_means(mnli, weights):
    rows = made_up.rows("ablation", "triple", made_up.DISTILBERT, noise=5)
    mean = scores.glue("ablation", rows, "triple", mnli)
    for seed in range(5):
        by = rows[rows["seed"] == seed].set_index(["task", "metric"])["value"]
        tasks = [
            np.dot(weights, [by["mnli", "accuracy"], by["mnli", "accuracy_mismatched"]])
            if task == "mnli"
            else np.mean([by[task, metric] for metric in made_up.METRICS.get(task, ["accuracy"])])
            for task in scores.GLUE
        ]
        assert mean.loc[seed, list(scores.GLUE)].tolist() == pytest.approx(tasks)
        assert mean.loc[seed, MEAN] == pytest.approx(np.mean(tasks))


def test_a_seed_without_all_nine_has_no_macro_score_but_keeps_its_tasks():
    rows = made_up.rows("ablation", "triple", 80)
    rows = rows[~((rows["seed"] == 2) & (rows["task"] == "wnli"))]
    found = scores.glue("ablation", rows, "triple")
    assert (
        np.isnan(found.loc[2, MEAN]) and found.loc[2, "cola"] > 0 and found[MEAN].notna().sum() == 4
    )


def test_mnli_without_a_mismatched_set():
    rows = made_up.rows("ablation", "triple", 80)
    rows = rows[rows["metric"] != "accuracy_mismatched"]
    both, matched = (scores.glue("ablation", rows, "triple", mnli) for mnli in scores.MNLI)
    assert both.equals(matched) and both[MEAN].notna().all()


def test_squad_is_not_among_the_nine():
    rows = made_up.rows("transfer_set", "teacher", 80, (10.0, 20.0), noise=0)
    assert scores.glue("transfer_set", rows, "teacher")[MEAN].tolist() == [80.0] * 5
    assert scores.squad("transfer_set", rows, "teacher").loc[3].to_dict() == {
        "exact_match": 10.0,
        "f1": 20.0,
    }


def test_nothing_measured_gives_empty_frames():
    assert scores.glue("ablation", made_up.NO_RESULTS, "triple").empty
    assert list(scores.squad("ablation", made_up.NO_RESULTS, "triple").columns) == [
        "exact_match",
        "f1",
    ]
    assert scores.per_task("ablation", made_up.NO_RESULTS, {"triple": "triple"}).empty


def test_two_protocols_at_once_are_refused():
    rows = made_up.rows("ablation", "triple", 80)
    with pytest.raises(InputError, match="final, best_epoch: choose one"):
        scores.glue("ablation", pd.concat([rows, rows.assign(protocol="best_epoch")]), "triple")
    with pytest.raises(InputError, match="mnli 'mismatched': allowed are both, matched"):
        scores.glue("ablation", rows, "triple", "mismatched")


def test_every_task_has_its_column():
    rows = made_up.rows("transfer_set", "teacher", made_up.BERT, (70.0, 80.0), noise=0)
    table = scores.per_task(
        "transfer_set", rows, {"teacher": "the teacher", "generated": "generated"}
    )
    assert list(table.index) == ["the teacher"] and len(table.columns) == 12
    assert (
        table.loc["the teacher", "CoLA"] == "56.3 ± 0.0"
        and table.loc["the teacher", "SQuAD F1"] == "80.0 ± 0.0"
    )
