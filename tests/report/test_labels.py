"""The study `labels`, and scores against the number of labelled examples."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd

from lib.plan.study import Study
from lib.report import labels
from lib.report.declaration import from_files

SCORES = {
    ("teacher", 1): 90,
    ("teacher", 2): 92,
    ("S", 1): 80,
    ("S", 2): 82,
    ("S_50", 1): 60,
    ("S_50", 2): 66,
    ("S_all", 1): 85,
}


def stage(model, number):
    return {"parameters": {"model": model, "train_examples": number}}


STAGES = {
    "teacher": stage("T", 800),
    "S": stage("S/model", 800),
    "S_50": stage("S/model", 50),
    "S_all": stage("S/model", 0),
}
RESULTS = SimpleNamespace(by_scenario=lambda kind, study: STAGES)
"""Fine-tunings of a teacher, and of a student on three numbers of examples, one of them all."""


def curves():
    rows = [
        {"study": "mine", "scenario": name, "layers": 2, "repeat": run, "seed": 1, "task": "sst2"}
        | {"language": "", "metric": "accuracy", "protocol": "final", "epoch": 1, "value": value}
        for (name, run), value in SCORES.items()
    ]
    study = replace(from_files("labels"), name="mine", labels=dict.fromkeys(STAGES, ""), columns=[])
    return labels.curves(study, RESULTS, pd.DataFrame(rows))


def test_a_model_on_several_numbers_of_examples_is_a_line():
    frame = curves()
    means = frame.groupby(["model", "labels"])["value"].mean()
    assert dict(means) == {("S", 50): 63, ("S", 800): 81}
    assert (frame["low"] < frame["high"]).all()
    assert "S: 800 81.0, 50 63.0" in labels.describe(frame)
    (panel, *_) = labels.figure(frame, {"S": "distilled"}, {}).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["50", "800"]


def test_every_student_of_the_study_has_equally_many_steps():
    for scale in ("smoke", "tiny", "local", "mini", "gpuday", "paper"):
        study = Study("labels", scale, data_dir=None)
        stages = [stage for stage in study.resolve() if stage.kind == "finetune"]
        assert {stage.study for stage in stages} == {"labels"}
        counts = {(stage.path.scenario, stage.parameters["train_examples"]) for stage in stages}
        names = [name for name in study.design.scenarios if name.endswith("_50")]
        assert {(name, 50) for name in names} < counts and len(names) == 3
        assert {s.parameters["train_examples"] * s.parameters["epochs"] for s in stages} == {1600}
        assert {stage.parameters["batch_size"] for stage in stages} == {8}
