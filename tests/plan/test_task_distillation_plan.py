"""Scenarios whose students learn from a teacher at fine-tuning: which stages the plan makes of
them, and what it refuses."""

import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import plan
from lib.plan.study import Study


def stages(study="task_distillation", scale="tiny"):
    return {stage.folder: stage for stage in plan.resolve(scale, [study])}


@pytest.mark.parametrize("study", ["task_distillation", "task_distillation_klej"])
@pytest.mark.parametrize("scale", ["smoke", "tiny", "local", "mini", "gpuday", "paper"])
def test_every_scale_has_the_same_scenarios(study, scale):
    """Each taught student is a model that its study has, and learns from a teacher that keeps."""
    plan = Study(study, scale, data_dir=None)
    by_folder = {stage.folder: stage for stage in plan.resolve()}
    scenarios = plan.design.scenarios
    taught = [name for name in scenarios if name.endswith(("_taught", "_matched"))]
    assert len(taught) == len(scenarios) - 2
    for name in taught:
        stage = by_folder[plan.folders[name, "finetune", 1]]
        plain = by_folder[plan.folders[name.rpartition("_")[0], "finetune", 1]]
        teacher = by_folder[plan.folders[plan.design.teacher, "finetune", 1]]
        assert teacher.parameters["keep_models"] and teacher.study == study
        assert stage.parameters["teacher"] == teacher.folder and teacher.folder in stage.needs
        same = ("model", "tasks", "train_examples", "seeds", "epochs", "learning_rate")
        assert all(stage.parameters[key] == plain.parameters[key] for key in same)
        assert plain.study != study and not plain.parameters["teacher"]
        matched = stage.parameters["weight_hidden"], stage.parameters["weight_attention"]
        assert all(matched) if name.endswith("_matched") else not any(matched)


def test_each_repeat_learns_from_the_teacher_with_its_seeds():
    found = stages()
    for repeat, seeds in (("", [1]), ("repeat_3/", [2001])):
        taught = found[f"outputs/tiny/task_distillation/triple_taught/{repeat}finetune"].parameters
        assert taught["teacher"] == f"outputs/tiny/task_distillation/teacher/{repeat}finetune"
        assert taught["seeds"] == found[taught["teacher"]].parameters["seeds"] == seeds
        assert taught["model"].startswith(f"outputs/tiny/transfer_set/corpus10pct/{repeat}")


def test_the_teacher_of_the_used_study_is_left_as_it_is():
    """Its own fine-tuning keeps no models, so that running both studies makes none run again."""
    alone, both = stages("transfer_set"), {s.folder: s for s in plan.resolve("tiny", [])}
    shared = stages()
    for folder in shared.keys() & alone.keys():
        assert shared[folder] == alone[folder] == both[folder]
    assert not any(folder.startswith("outputs/tiny/task_distillation") for folder in both)


def test_the_forecast_counts_the_teacher_and_names_it(capsys):
    assert plan.main(["--scale", "paper", "--studies", "task_distillation"]) == 0
    out = capsys.readouterr().out
    assert "2 seeds" not in out and "learns from task_distillation/teacher/finetune" in out


@pytest.mark.parametrize(
    "file, change, message",
    [
        (
            "scenarios",
            {"teacher": "nobody"},
            "nobody'; allowed are teacher, or the folder of a fine",
        ),
        ("scenarios", {"teacher": 3}, "scenarios.mine.finetune: teacher = 3; allowed are teacher"),
        (
            "scenarios",
            {"teacher": "teacher", "weight_soft": 0},
            "a teacher needs weight_soft, weig",
        ),
        ("scenarios", {"teacher": "teacher", "weights": 1}, "unknown key 'weights'; allowed are"),
        ("scenarios", {}, "same_as stands alone, or with finetune, and names .*: triple"),
        ("smoke", {"teacher": "teacher"}, "smoke.yaml: finetune.teacher cannot be given here"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_line(own_params, file, change, message):
    folder = own_params / "task_distillation"
    scenarios = yaml.safe_load((folder / "scenarios.yaml").read_text())
    values = {"same_as": "triple", "finetune": change} if change else {"same_as": "triple"}
    scenarios["scenarios"] = {"triple": scenarios["scenarios"]["triple"], "mine": values}
    scenarios["questions"] = []
    if file == "smoke":
        (folder / "smoke.yaml").write_text(
            yaml.safe_dump({"uses": "transfer_set", "finetune": change})
        )
        scenarios["scenarios"]["mine"]["finetune"] = {"epochs": 1}
    (folder / "scenarios.yaml").write_text(yaml.safe_dump(scenarios, sort_keys=False))
    with pytest.raises(InputError, match=message) as error:
        stages(scale="smoke")
    assert "\n" not in str(error.value)
