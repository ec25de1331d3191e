"""Chance and bag of words in a study's section, and the tasks on which the teacher is above both."""

from dataclasses import replace

import pandas as pd
import pytest

from lib.report import floors
from lib.report.findings import kept_paragraph
from lib.report.floors import Baselines
from lib.report.scores import MEAN, samples, tasks
from lib.report.tables import kept_table, share_kept
from tests.helpers.made_up import NO_EFFICIENCY, RESULTS
from tests.report.test_tables import STUDY

FINETUNING = {
    "model": "none",
    "tasks": ["rte", "stsb"],
    "task_source": "toy",
    "task_language": "toy-en",
    "train_examples": 16,
    "validation_examples": 12,
    "seeds": [1],
    "learning_rate": 1e-3,
}


class Found:
    """Gathered results: the parameters of fine-tunings by study and scenario."""

    def __init__(self, **studies):
        self.studies = studies

    def by_scenario(self, kind, study):
        assert kind == "finetune"
        return {name: {"parameters": p} for name, p in self.studies.get(study, {}).items()}


def baselines(**tasks) -> Baselines:
    """task=(chance, bag of words) in percent."""
    rows = [
        (scenario, task, "en", "accuracy", value)
        for task, pair in tasks.items()
        for scenario, value in zip(("chance", "bag of words"), pair)
    ]
    return Baselines(pd.DataFrame(rows, columns=floors.COLUMNS))


def results(scenario="teacher", **tasks) -> pd.DataFrame:
    """task=[a score for each seed]."""
    rows = [
        ("mine", scenario, 4, 1, seed, task, "en", "accuracy", "final", 3, value)
        for task, values in tasks.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=RESULTS)


def test_the_whole_interval_has_to_be_above_the_higher_of_both():
    measured = baselines(cola=(0, 20), rte=(53, 50), mnli=(33, 60), sst2=(50, 51))
    teacher = results(cola=[40, 42, 41], rte=[50, 70, 60], mnli=[57, 58, 59], sst2=[90])
    decided = floors.measurable(STUDY, teacher, measured)
    assert decided == {"cola": True, "rte": False, "mnli": False}
    others = results("S3", cola=[90, 91, 92])
    assert floors.measurable(STUDY, others, measured) == {}
    assert floors.measurable(STUDY, teacher, Baselines()) == {}


def test_a_task_is_the_mean_of_its_metrics_and_languages():
    rows = [
        ("chance", "mrpc", "en", "accuracy", 50.0),
        ("chance", "mrpc", "en", "f1", 70.0),
        ("bag of words", "mrpc", "en", "accuracy", 55.0),
        ("bag of words", "mrpc", "en", "f1", 61.0),
    ]
    measured = Baselines(pd.DataFrame(rows, columns=floors.COLUMNS))
    assert floors.by_score(measured).loc["mrpc"].to_dict() == {"chance": 60.0, "bag of words": 58.0}
    teacher = results(mrpc=[59, 59, 59])
    f1 = teacher.assign(metric="f1", value=[63, 62, 64])
    both = pd.concat([teacher, f1])
    assert samples("mine", both, "teacher", tasks)["mrpc"].values.tolist() == [61, 60.5, 61.5]
    assert floors.measurable(STUDY, both, measured) == {"mrpc": False}  # 61 ± 1.2


def test_a_repeat_is_a_run():
    one = results(rte=[60, 61]).assign(repeat=1)
    scores = samples("mine", pd.concat([one, one.assign(repeat=2)]), "teacher", tasks)
    assert scores["rte"].values.tolist() == [60.5, 60.5]


def test_a_row_for_each_baseline_and_the_teacher():
    study = replace(STUDY, titles={"cola": "Grammar"})
    measured = baselines(cola=(0, 20.04), rte=(53, 50))
    teacher = results(cola=[40, 41, 42])
    table = floors.table(study, teacher, measured)
    assert table.to_dict() == {
        "Grammar": {"chance": "0.0", "bag of words": "20.0", "teacher": "41.0 ± 2.5"},
        "RTE": {"chance": "53.0", "bag of words": "50.0", "teacher": "–"},
    }
    teacher = pd.concat([teacher, results(rte=[45, 52, 60])])
    assert floors.sentence(study, teacher, measured) == (
        "The teacher's whole 95 % interval is above both baselines on Grammar; not on RTE: how "
        "models differ there says little of what they learnt in pretraining."
    )
    assert "no task; not on Grammar" in floors.sentence(study, teacher, baselines(cola=(60, 0)))
    assert floors.sentence(study, teacher, baselines(cola=(1, 0))).endswith("on Grammar.")
    assert "takes two runs" in floors.sentence(study, results(cola=[41]), measured)


def test_studies_with_the_same_data_are_measured_once(monkeypatch):
    asked = []

    def of_finetuning(parameters):
        asked.append(parameters["train_examples"])
        return Baselines()

    monkeypatch.setattr(floors, "of_finetuning", of_finetuning)
    more = FINETUNING | {"train_examples": 20}
    other_model = FINETUNING | {"model": "another", "seeds": [4]}
    found = Found(
        mine={"S3": more, "teacher": FINETUNING}, yours={"S2": other_model}, theirs={"S2": more}
    )
    studies = [replace(STUDY, name=name) for name in ("mine", "yours", "theirs", "none")]
    measured = floors.measure(found, studies)
    assert list(measured) == ["mine", "yours", "theirs"] and asked == [16, 20]
    assert measured["mine"] is measured["yours"]


def test_of_a_stage_s_parameters():
    measured = floors.of_finetuning(FINETUNING)
    assert measured.missing == {} and len(measured.rows) == 2 * (1 + 2)
    shown = floors.shown(STUDY, results(rte=[60, 61]), measured)
    assert "bag of words" in shown[0].data and "both baselines" in shown[1].data
    assert floors.shown(STUDY, results(), Baselines()) == []


@pytest.mark.parametrize("there", [True, False])
def test_data_that_are_not_there_are_said_in_one_line(tmp_path, there):
    """At the hub's scale a machine without network may have some tasks and not others."""
    lines = "".join(f'{{"sentence": "w{n % 2} x", "label": {n % 2}}}\n' for n in range(20))
    if there:
        (tmp_path / "glue" / "sst2").mkdir(parents=True)
        for split in ("train", "validation"):
            (tmp_path / "glue" / "sst2" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    files = {"tasks": ["sst2", "cola", "rte"], "task_source": "files", "task_folder": str(tmp_path)}
    measured = floors.of_finetuning(FINETUNING | files)
    assert set(measured.rows["task"]) == ({"sst2"} if there else set())
    shown = floors.shown(STUDY, results(sst2=[60, 61]), measured)
    assert len(shown) == (3 if there else 1)
    tasks = "CoLA and RTE" if there else "SST-2, CoLA and RTE"
    assert f"not measured for {tasks}: " in shown[-1].data and "\n" not in shown[-1].data


def test_texts_that_are_both_learnt_and_tested_on_are_counted(tmp_path):
    for split, numbers in ("train", range(9)), ("validation", range(6, 12)):
        rows = "\n".join(f"text {number},{number % 2}" for number in numbers)
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{rows}\n")
    own = {"tasks": ["mood"], "own_tasks": {"mood": {"files": str(tmp_path)}}}
    measured = floors.of_finetuning(FINETUNING | own)
    shown = floors.shown(STUDY, results(mood=[60, 61]), measured)
    assert shown[-1].data == "Validation texts that are among the training texts: 3 of mood."


def test_a_study_is_judged_by_score():
    """Guessing and failures go by the study's own scores, a mean of tasks among them."""
    measured = baselines(cola=(0, 20), rte=(50, 45))
    teacher = results(cola=[40, 42, 41], rte=[48, 52, 50])
    study = floors.judged(STUDY, teacher, measured)
    assert study.guessing == {"cola": 0, "rte": 50, MEAN: 25} and study.failed == ["rte"]
    student = results("S3", cola=[20, 21, 20.5], rte=[50, 50, 50])
    kept = share_kept(study, pd.concat([teacher, student]), "S3", "cola")
    assert list(kept) == pytest.approx([50, 50, 50])
    assert floors.judged(STUDY, teacher, Baselines()).failed == []


@pytest.mark.parametrize("scores", [[50.2, 50.1, 50.6], [50]])
def test_a_teacher_that_guesses_has_no_share_to_keep(scores):
    """Of a hundredth of a point above guessing a student would keep 400 %."""
    teacher, student = results(rte=scores), results("S3", rte=[score + 0.8 for score in scores])
    rows = pd.concat([teacher, student])
    study = floors.judged(STUDY, teacher, baselines(rte=(50, 45)))
    assert len(share_kept(study, rows, "S3")) == 0 < len(share_kept(STUDY, rows, "S3"))
    assert kept_table(study, rows).loc["S3", "RTE, % kept"] == "–"
    text = kept_paragraph(study, rows, NO_EFFICIENCY)
    assert (
        "teacher itself (50." in text and "cannot be told from guessing, which scores 50.0" in text
    )
