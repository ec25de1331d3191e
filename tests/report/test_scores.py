"""GLUE's macro score as the sources average it, against plain NumPy."""

from functools import partial

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


def measured(rows, scenario, columns):
    study = rows["study"].iloc[0] if len(rows) else "ablation"
    return scores.samples(study, rows, scenario, columns)


@pytest.mark.parametrize("mnli, weights", [("both", [0.5, 0.5]), ("matched", [1, 0])])
def test_the_macro_score_is_a_mean_of_means(mnli, weights):
    rows = made_up.rows("ablation", "triple", made_up.DISTILBERT, noise=5)
    found = measured(rows, "triple", partial(scores.glue, mnli=mnli))
    for seed in range(5):
        by = rows[rows["seed"] == seed].set_index(["task", "metric"])["value"]
        tasks = [
            np.dot(weights, [by["mnli", "accuracy"], by["mnli", "accuracy_mismatched"]])
            if task == "mnli"
            else np.mean([by[task, metric] for metric in made_up.METRICS.get(task, ["accuracy"])])
            for task in scores.GLUE
        ]
        assert [found[task].values[seed] for task in scores.GLUE] == pytest.approx(tasks)
        assert found[MEAN].values[seed] == pytest.approx(np.mean(tasks))


def test_a_seed_without_all_nine_has_no_macro_score_but_keeps_its_tasks():
    rows = made_up.rows("ablation", "triple", 80)
    rows = rows[~((rows["seed"] == 2) & (rows["task"] == "wnli"))]
    found = measured(rows, "triple", scores.glue)
    assert list(found[MEAN].index) == [0, 1, 3, 4] and list(found["cola"].index) == [0, 1, 2, 3, 4]


def test_mnli_without_a_mismatched_set():
    rows = made_up.rows("ablation", "triple", 80)
    rows = rows[rows["metric"] != "accuracy_mismatched"]
    both, matched = (
        measured(rows, "triple", partial(scores.glue, mnli=mnli))[MEAN] for mnli in scores.MNLI
    )
    assert list(both) == list(matched) and len(both) == 5


def test_squad_is_not_among_the_nine():
    rows = made_up.rows("transfer_set", "teacher", 80, (10.0, 20.0), noise=0)
    assert list(measured(rows, "teacher", scores.glue)[MEAN]) == pytest.approx([80.0] * 5)
    found = measured(rows, "teacher", scores.squad)
    assert {name: found[name].values[3] for name in found} == {"exact_match": 10.0, "f1": 20.0}


def test_what_was_not_measured_has_no_sample():
    for columns in (scores.glue, scores.squad, scores.by_task):
        assert measured(made_up.NO_RESULTS, "triple", columns) == {}
    assert scores.per_task("ablation", made_up.NO_RESULTS, {"triple": "triple"}).empty


def test_two_protocols_at_once_are_refused():
    rows = made_up.rows("ablation", "triple", 80)
    with pytest.raises(InputError, match="final, best_epoch: choose one"):
        both = pd.concat([rows, rows.assign(protocol="best_epoch")])
        measured(both, "triple", scores.glue)
    with pytest.raises(InputError, match="mnli 'mismatched': allowed are both, matched"):
        scores.glue([], "mismatched")


def test_a_run_is_a_repeat_with_the_mean_over_its_seeds():
    rows = made_up.rows("ablation", "triple", {"cola": 80}, seeds=4, noise=3)
    one = measured(rows, "triple", scores.by_task)["cola"]
    assert one.values.index.name == "seed" and len(one) == 4
    nested = rows.assign(repeat=rows["seed"] // 2)
    two = measured(nested, "triple", scores.by_task)["cola"]
    values = rows["value"].to_numpy()
    assert two.values.index.name == "repeat"
    assert list(two) == pytest.approx([values[:2].mean(), values[2:].mean()])


def test_examples_follow_the_weights_of_a_score():
    """Metrics on the same examples share a test set, MNLI's two sets do not; without the
    predictions of one part only the values are known."""
    random = np.random.default_rng(0)
    rows = made_up.rows("ablation", "triple", {"mrpc": 80, "mnli": 70}, seeds=2, noise=3)
    arrays = [random.normal(size=30 if task == "mrpc" else 20) for task in rows["task"]]
    arrays = [array - array.mean() + value for array, value in zip(arrays, rows["value"])]
    rows = rows.assign(examples=arrays)
    found = measured(rows, "triple", scores.by_task)[MEAN]
    sizes = {name: array.shape for name, array in found.examples.items()}
    assert sizes == {"mrpc, 30": (2, 30), "mnli, 20": (2, 20), "mnli_mismatched, 20": (2, 20)}
    by = rows.set_index(["seed", "task", "metric"])["examples"]
    expected = (by[1, "mrpc", "accuracy"] + by[1, "mrpc", "f1"]) / 4
    assert found.examples["mrpc, 30"][1] == pytest.approx(expected)
    rows.at[rows.index[0], "examples"] = None
    assert measured(rows, "triple", scores.by_task)[MEAN].examples == {}


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
