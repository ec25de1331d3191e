"""What is read decides what is stale: which stages run again after which change, and what is said
of it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from lib.common import places
from lib.common.places import ROOT
from lib.plan import plan
from lib.plan import reads as what
from lib.plan.stages import KINDS
from tests.test_rooms import USES

SCENARIOS = """\
scenarios:
  S2: {weight_mlm: 1}
  S3: {weight_soft: 1}
  C: {hop: half, total_steps: 9, corpus: transfer, learning_rate: 1e-3}
"""
SIZES = """\
corpora:
  transfer: {sources: [{kind: files, path: data/text}], tokenizer: checkpoint}
teachers:
  teacher: {hub: checkpoint, layers: 6}
  T2: {start: teacher, corpus: transfer, steps: 9, learning_rate: 1e-3}
distillation: {student_layers: [0, 2], steps: 9, learning_rate: 1e-3}
cascade: {total_steps: 9}
finetune: {tasks: [nkjp-ner], task_source: files, task_folder: data, seeds: [1], learning_rate: 1e-4}
"""
FINETUNED = {f"{name}/finetune" for name in ("teacher", "T2", "S2", "S3", "C-3")}
STUDENTS = {"S2/distillation", "S3/distillation"}
TRAINED = {"T2/teacher_continuation", "C-3/cascade_ta"} | STUDENTS
CORPUS = {"corpus_transfer/data_prep"}
ALL = CORPUS | TRAINED | FINETUNED


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with a study `mine` of the user's own teacher, text and task, all of whose stages
    have a result."""
    for name in ("lib", "notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "Snakefile", tmp_path)
    shutil.copytree(ROOT / "params/herbert/T1", tmp_path / "checkpoint")
    for path, text in {
        "params/mine/scenarios.yaml": SCENARIOS,
        "params/mine/own.yaml": SIZES,
        "params/mine/claims.yaml": "claims: []\n",
        "data/text/one.txt": "a line\n",
        "data/klej/nkjp-ner/train.jsonl": record("persName") + record("noEntity"),
        "data/klej/nkjp-ner/validation.jsonl": record("persName"),
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    for stage in stages():
        folder = tmp_path / stage.folder
        (folder / KINDS[stage.kind].publishes).mkdir(parents=True, exist_ok=True)
        found = what.reads(stage.kind, stage.parameters, stage.needs)
        content = {"parameters": stage.parameters, "reads": found}
        (folder / "result.json").write_text(json.dumps(content))
    (tmp_path / "outputs/own/report.html").write_text("")
    plan.write_parameters(stages())
    for path in tmp_path.rglob("parameters.yaml"):  # written before the results
        os.utime(path, (1e9, 1e9))
    return tmp_path


def record(label):
    return json.dumps({"sentence": "a line", "target": label}) + "\n"


def stages():
    return [*plan.resolve("own", ["mine"]), plan.analysis("own", ["mine"])]


def name(folder):
    return folder.removeprefix("outputs/own/").removeprefix("mine/")


def stale():
    """What runs again: where the parameters are newer than the result, and what needs that."""
    again = set()
    plan.write_parameters(stages())
    for stage in stages():
        result = places.ROOT / stage.result
        newer = (places.ROOT / stage.parameter_file).stat().st_mtime > result.stat().st_mtime
        if newer or again & set(stage.needs) or stage.kind == "analysis" and again:
            again.add(stage.folder)
    return set(map(name, again))


CHANGES = [  # the file, what is replaced in it and by what; what runs again, and what is said
    ("data/text/one.txt", "a line", "b line", CORPUS | TRAINED | FINETUNED - {"teacher/finetune"}),
    ("data/text/two.txt", "", "one more\n", CORPUS | TRAINED | FINETUNED - {"teacher/finetune"}),
    ("data/klej/nkjp-ner/validation.jsonl", "persName", "orgName", FINETUNED),
    ("checkpoint/model.safetensors", None, None, TRAINED | FINETUNED),
    ("checkpoint/tokenizer.json", "{", "{ ", ALL),
    ("checkpoint/README.md", "a", "b", None),
    (
        "notebooks/3_distillation.ipynb",
        "summary = ",
        "summary  = ",
        STUDENTS | {"S2/finetune", "S3/finetune"},
    ),
    (
        "params/mine/own.yaml",
        "steps: 9, learning_rate: 1e-3}\ncascade",
        "steps: 8, learning_rate: 1e-3}\ncascade",
        STUDENTS | {"S2/finetune", "S3/finetune"},
    ),
    ("params/mine/claims.yaml", "[]", "[ ]", set()),
    ("lib/common/machine.py", "import ", "import re\nimport ", ALL),
    ("lib/data/cleaning.py", "import re\n", "import re\nX = 1\n", ALL),
    ("lib/fast/gelu.py", "import ", "import re\nimport ", ALL - CORPUS),
    ("lib/training/losses.py", "import ", "import re\nimport ", ALL - CORPUS),
    ("lib/tasks/metrics.py", "import ", "import re\nimport ", FINETUNED),
    ("lib/training/losses.py", '"""', '"""In other words. ', set()),
    ("lib/training/losses.py", "\nimport ", "\n# a comment\nimport ", set()),
    *(
        (f"lib/{room}/__init__.py", "", "x = 1\n", set())
        for room in ("plan", "report", "studies", "runner", "lab")
    ),
]


@pytest.mark.parametrize(
    "file, old, new, again",
    CHANGES,
    ids=lambda value: value if isinstance(value, str) and "/" in value else "",
)
def test_what_runs_again_after_which_change(project, file, old, new, again):
    assert stale() == set()
    path = project / file
    if old is None:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        text = path.read_text() if path.is_file() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1))
    assert stale() == (again if again is None else again | {"analysis"} or set())
