"""Rows of result.json gathered into the contract files: protocols, several metrics, epochs."""

import pytest

from lib.results import RESULTS, Gathered
from lib.views import scores


def row(task, epoch, metric, value, seed=1):
    return {"seed": seed, "task": task, "epoch": epoch, "metric": metric, "value": value, "loss": 0.5}


# The best accuracy and the best F1 of MRPC are in different epochs; the best mean is in the second.
ROWS = [
    row("mrpc", 1, "accuracy", 90.0), row("mrpc", 1, "f1", 60.0),
    row("mrpc", 2, "accuracy", 80.0), row("mrpc", 2, "f1", 78.0),
    row("mrpc", 3, "accuracy", 70.0), row("mrpc", 3, "f1", 79.0),
    row("cola", 1, "matthews", 40.0), row("cola", 2, "matthews", 50.0), row("cola", 3, "matthews", 50.0),
]  # fmt: skip


@pytest.fixture
def gathered():
    found = Gathered.__new__(Gathered)  # without reading a folder
    parameters = {"task_language": "", "tasks": ["mrpc", "cola"]}
    found.stages = {("glue", "S", "finetune"): {"scores": ROWS, "model": {"layers": 6}, "parameters": parameters}}
    return found


def test_protocols_choose_one_epoch_for_all_metrics_of_a_task(gathered):
    results = gathered.results()
    assert list(results) == RESULTS and set(results["language"]) == {"en"}
    chosen = results.set_index(["task", "metric", "protocol"])[["epoch", "value"]].T.to_dict("list")
    assert chosen == {
        ("mrpc", "accuracy", "final"): [3, 70.0],
        ("mrpc", "f1", "final"): [3, 79.0],
        ("mrpc", "accuracy", "best_epoch"): [2, 80.0],
        ("mrpc", "f1", "best_epoch"): [2, 78.0],
        ("cola", "matthews", "final"): [3, 50.0],
        ("cola", "matthews", "best_epoch"): [2, 50.0],  # the first of equals
    }


def test_with_the_last_epoch_alone_the_protocols_agree(gathered):
    gathered.stages["glue", "S", "finetune"]["scores"] = [found for found in ROWS if found["epoch"] == 3]
    wide = gathered.results().pivot_table(index=["task", "metric"], columns="protocol", values="value")
    assert (wide["final"] == wide["best_epoch"]).all() and len(wide) == 3


def test_epochs_are_means_over_the_metrics(gathered):
    frame = gathered.epochs("glue")
    assert list(frame) == ["scenario", "task", "seed", "epoch", "value"]
    assert frame[frame["task"] == "mrpc"]["value"].tolist() == [75.0, 79.0, 74.5]
    assert set(frame["scenario"]) == {"S"} and len(frame) == 6


def test_the_table_of_a_stage_has_a_row_for_each_metric():
    again = [{**found, "seed": 2, "value": found["value"] + 2} for found in ROWS]
    table = scores(ROWS + again)
    assert list(table.index) == [("mrpc", "accuracy"), ("mrpc", "f1"), ("cola", "matthews")]
    assert table.loc[("mrpc", "accuracy"), "last epoch"].startswith("71.0 ±")
    assert table.loc[("mrpc", "f1"), "best epoch"].startswith("79.0 ±")
    assert set(table["seeds"]) == {2}
