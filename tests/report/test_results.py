"""Rows of result.json gathered into the contract files: protocols, several metrics, epochs."""

import pandas as pd
import pytest

from lib.report import results
from lib.report.results import EXAMPLES, RESULTS, Results
from lib.report.stages import finetuning, scores_by_language, scores_by_task


def row(task, epoch, metric, value, seed=1, language="en"):
    return {
        "seed": seed,
        "task": task,
        "language": language,
        "epoch": epoch,
        "metric": metric,
        "value": value,
        "loss": 0.5,
    }


# The best accuracy and the best F1 of MRPC are in different epochs; the best mean is in the second.
ROWS = [
    row("mrpc", 1, "accuracy", 90.0),
    row("mrpc", 1, "f1", 60.0),
    row("mrpc", 2, "accuracy", 80.0),
    row("mrpc", 2, "f1", 78.0),
    row("mrpc", 3, "accuracy", 70.0),
    row("mrpc", 3, "f1", 79.0),
    row("cola", 1, "matthews", 40.0),
    row("cola", 2, "matthews", 50.0),
    row("cola", 3, "matthews", 50.0),
]


@pytest.fixture
def gathered():
    found = Results.__new__(Results)  # without reading a folder
    stage = {"scores": ROWS, "model": {"layers": 6}, "parameters": {"output_dir": "nowhere"}}
    found.repeats = {("glue", "S", "finetune"): {1: stage}}
    return found


def test_protocols_choose_one_epoch_for_all_metrics_of_a_task(gathered):
    results = gathered.scores()
    assert list(results) == [*RESULTS, EXAMPLES] and set(results["language"]) == {"en"}
    chosen = results.set_index(["task", "metric", "protocol"])[["epoch", "value"]].T.to_dict("list")
    assert chosen == {
        ("mrpc", "accuracy", "final"): [3, 70.0],
        ("mrpc", "f1", "final"): [3, 79.0],
        ("mrpc", "accuracy", "best_epoch"): [2, 80.0],
        ("mrpc", "f1", "best_epoch"): [2, 78.0],
        ("cola", "matthews", "final"): [3, 50.0],
        ("cola", "matthews", "best_epoch"): [2, 50.0],  # the first of equals
    }


def test_a_shared_model_counts_with_the_tasks_of_the_study_alone(gathered):
    """`S` belongs to another study, which fine-tuned it on MRPC too."""
    own = {"output_dir": "outputs/tiny/glue/mine/finetune", "tasks": ["cola"]}
    rows = [row for row in ROWS if row["task"] == "cola"]
    stage = {"scores": rows, "model": {"layers": 6}, "parameters": own}
    shared = gathered.scores()
    assert set(shared["task"]) == {"mrpc", "cola"}
    gathered.repeats["glue", "mine", "finetune"] = {1: stage}
    results = gathered.scores()
    assert set(results["task"]) == {"cola"} and set(results["scenario"]) == {"S", "mine"}


def test_a_training_under_two_names_has_one_curve(gathered):
    stage = {"parameters": {"output_dir": "S/distillation"}, "history": [{"step": 1, "mlm": 2.0}]}
    for name in ("S", "S_taught"):
        gathered.repeats["glue", name, "distillation"] = {1: stage}
    assert gathered.curves("glue").to_numpy().tolist() == [["S", 1, "mlm", 2.0]]


def test_with_the_last_epoch_alone_the_protocols_agree(gathered):
    gathered.repeats["glue", "S", "finetune"][1]["scores"] = [
        found for found in ROWS if found["epoch"] == 3
    ]
    wide = gathered.scores().pivot_table(
        index=["task", "metric"], columns="protocol", values="value"
    )
    assert (wide["final"] == wide["best_epoch"]).all() and len(wide) == 3


def test_a_score_of_the_last_epoch_has_what_its_examples_contribute(gathered, tmp_path):
    stage = gathered.repeats["glue", "S", "finetune"][1]
    stage["parameters"]["output_dir"] = str(tmp_path)
    measured = {"task": "mrpc", "language": "en", "metric": "accuracy"}
    kept = pd.DataFrame([{"seed": 1, "score": score, **measured} for score in (100.0, 40.0)])
    kept.to_parquet(tmp_path / "predictions.parquet")
    rows = gathered.scores().set_index(["task", "metric", "protocol"])[EXAMPLES]
    assert list(rows["mrpc", "accuracy", "final"]) == [100, 40]
    assert rows.drop(("mrpc", "accuracy", "final")).isna().all()


def test_epochs_are_means_over_the_metrics(gathered):
    frame = gathered.epochs("glue")
    assert list(frame) == ["scenario", "task", "seed", "epoch", "value"]
    assert frame[frame["task"] == "mrpc"]["value"].tolist() == [75.0, 79.0, 74.5]
    assert set(frame["scenario"]) == {"S"} and len(frame) == 6


def test_the_table_of_a_stage_has_a_row_for_each_metric():
    again = [{**found, "seed": 2, "value": found["value"] + 2} for found in ROWS]
    table = scores_by_task(ROWS + again)
    assert list(table.index) == [("mrpc", "accuracy"), ("mrpc", "f1"), ("cola", "matthews")]
    assert table.loc[("mrpc", "accuracy"), "last epoch"].startswith("71.0 ±")
    assert table.loc[("mrpc", "f1"), "best epoch"].startswith("79.0 ±")
    assert set(table["seeds"]) == {2}


# English is best after the first epoch, the mean of the three languages after the second.
ZERO_SHOT = [
    row("xnli", epoch, "accuracy", value + seed, seed, language)
    for seed in (0, 2)
    for epoch, values in [
        (1, {"en": 80.0, "es": 50.0, "ur": 44.0}),
        (2, {"en": 76.0, "es": 62.0, "ur": 45.0}),
        (3, {"en": 78.0, "es": 59.0, "ur": 43.0}),
    ]
    for language, value in values.items()
]


def test_the_best_epoch_of_a_task_in_several_languages_is_that_of_their_mean(gathered):
    gathered.repeats["glue", "S", "finetune"][1]["scores"] = ZERO_SHOT + ROWS
    results = gathered.scores()
    xnli = results[results["task"] == "xnli"]
    assert (
        not xnli.duplicated(["seed", "language", "metric", "protocol"]).any()
        and len(xnli) == 2 * 3 * 2
    )
    chosen = (
        xnli[xnli["seed"] == 2]
        .set_index(["protocol", "language"])[["epoch", "value"]]
        .T.to_dict("list")
    )
    assert chosen == {
        ("final", "en"): [3, 80.0],
        ("final", "es"): [3, 61.0],
        ("final", "ur"): [3, 45.0],
        ("best_epoch", "en"): [2, 78.0],
        ("best_epoch", "es"): [2, 64.0],
        ("best_epoch", "ur"): [2, 47.0],
    }
    assert set(results[results["task"] != "xnli"]["language"]) == {"en"}
    epochs = gathered.epochs("glue")
    assert epochs[epochs["task"] == "xnli"]["value"].tolist() == [
        58.0,
        61.0,
        60.0,
        60.0,
        63.0,
        62.0,
    ]


def test_tables_and_figures_of_a_task_in_several_languages():
    """Seeds 0 and 2 differ by 2 points: mean + 1, and half the interval is t(1) · √2 / √2 =
    12.7."""
    table = scores_by_language(ZERO_SHOT + ROWS)
    assert list(table) == ["en", "es", "ur", "mean"]
    assert list(table.index) == [
        ("xnli", "accuracy", "last epoch"),
        ("xnli", "accuracy", "best epoch"),
    ]
    assert table.loc[("xnli", "accuracy", "last epoch")].tolist() == [
        f"{v} ± 12.7" for v in (79.0, 60.0, 44.0, 61.0)
    ]
    assert table.loc[("xnli", "accuracy", "best epoch"), "es"] == "63.0 ± 12.7"
    whole = scores_by_task(ZERO_SHOT + ROWS).loc[("xnli", "accuracy")]
    assert whole.tolist() == ["61.0 ± 12.7", "62.0 ± 12.7", 2]  # the seeds are two, not six
    titles = [
        axis.get_title() or axis.get_title(loc="left") for axis in finetuning(ZERO_SHOT + ROWS).axes
    ]
    assert titles == ["xnli, en", "xnli, es", "xnli, ur", "mrpc", "mrpc", "cola"]


def test_steps_add_up_along_the_chain_of_any_study():
    def hop(before: str, steps: int) -> dict:
        return {"parameters": {"teacher": before}, "summary": {"steps": steps}}

    teacher, folder = (
        "outputs/tiny/mine/teacher/teacher_continuation/model",
        "outputs/tiny/mine/{}/cascade_ta/model",
    )
    stages = {
        "cascade-5": hop(teacher, 400),
        "cascade-4": hop(folder.format("cascade-5"), 300),
        "cascade-3": hop(folder.format("cascade-4"), 200),
        "direct-3": hop(teacher, 900),
        "truncated-4": hop("bert-base-multilingual-cased", 0),
        "cascade_by_2-4": hop(folder.format("not_here"), 7),
    }
    expected = [400, 700, 900, 900, 0, 7]
    assert list(results.along_the_chain(stages, "steps").values()) == expected
