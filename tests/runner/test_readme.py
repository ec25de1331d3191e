"""Every command of the README is run, at a size that takes seconds; a command this file does not
know fails."""

import json
import os
import re
import shlex
import shutil
import subprocess

import yaml

from lib.common.places import ROOT
from lib.data.toy import corpora, tasks
from lib.tasks.registry import TASKS
from tests.helpers.project import copy_project, make, needs_environment, run_make

pytestmark = needs_environment


def commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [line for kind, block in blocks if not kind for line in block.strip().splitlines()]


RUN_BY = {
    "make report": "test_a_report_then_a_notebook_by_hand",
    "make test": "this test, when make runs it",
    "make new STUDY=mine TEACHER=/path/to/model TEXT=/path/to/text "
    "TASKS=/path/to/tasks": "see tests/studies/test_own_study.py",
    "make report STUDIES=mine SCALE=local": "see tests/studies/test_own_study.py",
    "make report SCALE=local STUDIES=herbert DATA_DIR=/path/to/folder": "test_a_folder_of_your_own",
    "make report SCALE=local "
    'STUDIES="transfer_set '
    'ablation" DATA_DIR=/path/to/folder': "see tests/studies/test_english_studies.py",
    "make report SCALE=local "
    "STUDIES=cascade DATA_DIR=/path/to/folder": "see tests/studies/test_cascade_plan.py",
    "make lab": "test_the_lab_opens",
    "papermill "
    "notebooks/3_distillation.ipynb "
    "outputs/hot.ipynb -p temperature 4": "test_a_report_then_a_notebook_by_hand",
    "make export MODEL=outputs/tiny/herbert/S3/distillation": "see tests/runner/test_export.py",
    "make export MODEL=outputs/tiny/herbert/S3/distillation INT8=yes": "see "
    "tests/runner/test_int8.py",
    "make export MODEL=outputs/tiny/herbert/S3/distillation EMBEDDINGS=yes INT8=yes": "see "
    "tests/runner/test_embeddings.py",
    "make export MODEL=outputs/local/mine/S3/finetune TASK=mood INT8=yes": "see "
    "tests/runner/test_int8.py",
    "make plan SCALE=mini": "see tests/plan/test_forecast.py",
    "make report SCALE=mini STUDIES=herbert": "see tests/paper",
    "make plan SCALE=paper": "test_the_plan",
    "make report SCALE=paper STUDIES=herbert": "see tests/paper",
    "make report PROFILE=slurm SCALE=paper GPUS=8": "see tests/runner/test_cluster.py",
    "make bench": "see tests/report/test_bench.py",
}


def test_every_command_is_known_here():
    assert commands() == list(RUN_BY)
    for name in RUN_BY.values():
        assert name.startswith(("this", "see")) or name in globals()


def shrink(project, scale, **data):
    """Give a scale the sizes of `smoke` and only what a test needs: T1 and S3."""
    path, smoke = (
        project / f"params/herbert/{scale}.yaml",
        yaml.safe_load((project / "params/herbert/smoke.yaml").read_text()),
    )
    own = yaml.safe_load(path.read_text())
    for name, corpus in own["corpora"].items():
        lines = {"lines": 400}
        smoke["corpora"][name]["sources"] = [
            source | lines if source["kind"] == "toy" else source for source in corpus["sources"]
        ]
    if "hub" in own["teachers"]["T1"]:  # it comes with the project, and its tokenizer with it
        smoke["teachers"] = {"T1": own["teachers"]["T1"]}
        tokenizer = {"tokenizer": own["corpora"]["transfer"]["tokenizer"]}
        smoke["corpora"] = {"transfer": smoke["corpora"]["transfer"] | tokenizer}
    else:
        smoke["teachers"] = {"T1": smoke["teachers"]["T1"] | {"layers": 4, "grow_from_layers": 2}}
    smoke["distillation"]["student_layers"] = [0, 2]
    smoke["finetune"] |= data
    path.write_text(yaml.safe_dump(smoke))
    scenarios = project / "params/herbert/scenarios.yaml"
    kept = yaml.safe_load(scenarios.read_text())
    kept["scenarios"] = {"S3": kept["scenarios"]["S3"]}
    scenarios.write_text(yaml.safe_dump(kept))


def test_a_report_then_a_notebook_by_hand(tmp_path):
    """make report, then the notebook by itself with nothing but -p temperature 4: its defaults are
    the tiny run's, with fewer steps here."""
    project = copy_project(tmp_path)
    shrink(project, "tiny")
    notebook = project / "notebooks/3_distillation.ipynb"
    text = notebook.read_text(encoding="utf-8")
    assert text.count("steps = 400 ") == 1
    notebook.write_text(text.replace("steps = 400 ", "steps = 4 "), encoding="utf-8")
    for study in ("transfer_set", "ablation", "cascade"):  # a study is a folder of params/
        shutil.rmtree(project / "params" / study)
    assert "outputs/tiny/report.html" in make(project, "report")
    page = (project / "outputs/tiny/report.html").read_text(encoding="utf-8")
    assert "S3" in page and "not measured" in page
    papermill = shlex.split(next(line for line in commands() if line.startswith("papermill")))
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(
        [str(ROOT / ".venv/bin" / papermill[0]), *papermill[1:]],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    (result,) = project.glob("outputs/lab/distillation-*/result.json")
    found = json.loads(result.read_text())
    assert found["parameters"]["temperature"] == 4
    assert found["parameters"]["teacher"] == "params/herbert/T1"
    assert found["summary"]["layers"] == 3


def test_a_folder_of_your_own(tmp_path):
    project, folder = copy_project(tmp_path / "project"), tmp_path / "data"
    (folder / "text/pl").mkdir(parents=True)
    (folder / "text/pl/books.txt").write_text(
        "\n".join(corpora.corpus_lines("toy-pl", "books", 800, 1)), encoding="utf-8"
    )
    for task in (name for name in tasks.TOY_TASKS if TASKS[name].suite == "klej"):
        place = folder / "klej" / task
        place.mkdir(parents=True)
        for split in ("train", "validation") if not TASKS[task].trains_on else ("validation",):
            records = tasks.task_records("toy-pl", task, split, 40, 0)
            (place / f"{split}.jsonl").write_text(
                "\n".join(map(json.dumps, records)), encoding="utf-8"
            )
    shrink(project, "local", task_source="files", task_folder="{data_dir}")
    make(project, "report", "SCALE=local", "STUDIES=herbert", f"DATA_DIR={folder}")
    assert (project / "outputs/local/report.html").is_file()
    statistics = [
        json.loads(p.read_text())["statistics"]
        for p in project.glob("outputs/local/herbert/*/data_prep/result.json")
    ]
    assert (
        sum(found["lines"] + found["held_out"]["lines"] for found in statistics) <= 800
    )  # the two parts are disjoint
    (folder / "klej/nkjp-ner/train.jsonl").write_text('{"sentence": "a"}\n')
    done = run_make(project, "report", "SCALE=local", "STUDIES=herbert", f"DATA_DIR={folder}")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and len(lines) == 1 and "no column 'target'" in lines[0], done.stderr


def test_the_lab_opens():
    """The Makefile starts a JupyterLab that is installed. (No browser opens here.)"""
    recipe = run_make(ROOT, "-n", "lab").stdout.strip().splitlines()[-1]
    assert recipe == "python -m jupyterlab notebooks/lab.ipynb"
    words = shlex.split(recipe)
    done = subprocess.run(
        [str(ROOT / ".venv/bin" / words[0]), *words[1:], "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("4.")


def test_the_plan():
    printed = make(ROOT, "plan", "SCALE=paper")
    assert "allegro/herbert-base-cased" in printed and "1600 sequences" in printed
