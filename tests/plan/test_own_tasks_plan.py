"""Tasks of the user's own in a scale file: from YAML to the parameters of the stages."""

import re

import pytest
import yaml

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.plan import plan
from lib.plan.study import Study

MOOD = {"files": "{data_dir}/mood", "text": "review", "label": "stars"}


@pytest.fixture
def scale(own_params, tmp_path):
    """Writes a scale of herbert that is like smoke, with a section of own tasks; a folder with the
    files of one task."""
    for split in ("train", "validation"):
        path = tmp_path / "data" / "mood" / f"{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("review,stars\ngood,5\nbad,1\n")

    def write(**values):
        text = yaml.safe_dump({"like": "smoke"} | values)
        (own_params / "herbert" / "mine.yaml").write_text(text)
        return str(tmp_path / "data")

    return write


def finetunings(data_dir):
    study = Study("herbert", "mine", data_dir)
    stages = study.resolve()
    return study, [stage for stage in stages if stage.kind == "finetune"]


def notes(stages) -> list[str]:
    """What the check of a plan's data says of its own tasks."""
    lines: list[str] = []
    plan.check_data(stages, online=False, note=lines.append)
    return lines


def test_own_tasks_reach_every_fine_tuning(scale):
    data_dir = scale(tasks={"mood": MOOD, "other": MOOD}, finetune={"tasks": ["mood", "nkjp-ner"]})
    study, stages = finetunings(data_dir)
    assert len(stages) > 5
    for stage in stages:
        own = stage.parameters["own_tasks"]
        assert list(own) == ["mood"] and own["mood"]["files"] == "data/mood"
    assert study.ignored == [
        "params/herbert/mine.yaml: tasks.other: ignored: no finetune.tasks names it"
    ]
    (note,) = notes(stages)
    assert note.startswith("task mood: classification with 2 classes (1, 5)")


def test_tasks_of_a_single_scenario_are_checked_too(scale, tmp_path):
    other = MOOD | {"files": "{data_dir}/other.csv"}
    data_dir = scale(
        tasks={"mood": MOOD, "other": other},
        finetune={"tasks": ["mood"]},
        scenarios={"S2": {"finetune": {"tasks": ["other"]}}},
    )
    (tmp_path / "data" / "other.csv").write_text("review,stars\n" + "good,5\nbad,1\n" * 20)
    study, stages = finetunings(data_dir)
    assert study.ignored == []
    assert [note.split(":")[0] for note in notes(stages)] == ["task mood", "task other"]
    (tmp_path / "data" / "other.csv").unlink()
    with pytest.raises(InputError, match=r"other.csv"):
        plan.resolve("mine", ["herbert"], data_dir)


def test_tasks_in_a_file_beside_the_data(scale, tmp_path):
    data_dir = scale(tasks="{data_dir}/tasks.yaml", finetune={"tasks": ["mood"]})
    file = tmp_path / "data" / "tasks.yaml"
    file.write_text("mood: {files: mood, text: review, label: stars}\n")
    _, stages = finetunings(data_dir)
    notes(stages)
    assert stages[0].parameters["own_tasks"]["mood"]["files"] == "data/mood"
    known, there = finetunings(None), stages
    assert [stage.folder for stage in known[1]] == [stage.folder for stage in there]
    file.write_text("mood: {file: mood}\n")
    with pytest.raises(InputError, match=r"tasks.yaml: unknown key 'tasks.mood.file'; allowed are"):
        finetunings(data_dir)


def test_a_study_of_own_tasks_alone_need_not_name_them(scale, own_params):
    data_dir = scale(tasks={"mood": MOOD})
    path = own_params / "herbert" / "mine.yaml"
    values = yaml.safe_load((own_params / "herbert" / "smoke.yaml").read_text())
    for key in ("tasks", "task_source", "task_language"):
        del values["finetune"][key]
    path.write_text(yaml.safe_dump(values | {"tasks": {"mood": MOOD}}))
    _, stages = finetunings(data_dir)
    assert stages[0].parameters["tasks"] == ["mood"]


def test_wrong_files_of_own_tasks_are_told_with_the_plan(scale, tmp_path):
    data_dir = scale(tasks={"mood": MOOD}, finetune={"tasks": ["mood"]})
    (tmp_path / "data" / "mood" / "train.csv").write_text("review,star\ngood,5\n")
    with pytest.raises(
        InputError, match=r"mine.yaml: .*train.csv, record 1: no column 'stars'; mood needs review"
    ):
        plan.resolve("mine", ["herbert"], data_dir)


def test_the_readme_s_example(scale):
    (example,) = re.findall(r"```yaml\n(tasks:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    data_dir = scale(**yaml.safe_load(example))
    _, stages = finetunings(data_dir)
    p = stages[0].parameters
    assert list(p["own_tasks"]) == p["tasks"] == ["mood", "names", "same"]
    assert p["own_tasks"]["same"]["files"] == "data/same.jsonl.gz"
