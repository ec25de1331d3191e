"""What is read decides what is stale: which stages run again after which change, and what is said
of it."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from lib.common import places
from lib.common.places import ROOT
from lib.plan import plan
from lib.plan import reads as what
from lib.plan.stages import KINDS
from tests.helpers.project import run_make
from tests.test_rooms import USES

SCENARIOS = """\
scenarios:
  S2: {weight_mlm: 1}
  S3: {weight_soft: 1}
  C: {hop: half, corpus: transfer, learning_rate: 1e-3}
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
    """A checkout with a study `mine` of the user's own teacher, text and task, and with results of
    all its stages. Its code is one line for each room."""
    for name in ("params/hub.yaml", "params/estimates.yaml", "Snakefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copytree(ROOT / "params/herbert/T1", tmp_path / "checkpoint")
    for path, text in {
        "params/mine/scenarios.yaml": SCENARIOS,
        "params/mine/own.yaml": SIZES,
        "params/mine/claims.yaml": "claims: []\n",
        "data/text/one.txt": "a line\n",
        "data/klej/nkjp-ner/train.jsonl": record("persName") + record("noEntity"),
        "data/klej/nkjp-ner/validation.jsonl": record("persName"),
        **{f"lib/{room}/code.py": '"""Words."""\n\nx = 1\n' for room in USES},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    publish(stages())
    return tmp_path


def publish(stages):
    """Results of stages, newer than their parameters."""
    plan.write_parameters(stages)
    for stage in stages:
        folder = places.ROOT / stage.folder
        os.utime(folder / "parameters.yaml", (1e9, 1e9))
        (folder / KINDS[stage.kind].publishes).mkdir(exist_ok=True)
        content = {"parameters": stage.parameters, "reads": what.noted(folder / "parameters.yaml")}
        (folder / "result.json").write_text(json.dumps(content))
    (places.ROOT / "outputs/own/report.html").write_text("")


def record(label):
    return json.dumps({"sentence": "a line", "target": label}) + "\n"


def stages(data_dir=""):
    return [*plan.resolve("own", ["mine"], data_dir), plan.analysis("own", ["mine"])]


def name(folder):
    return folder.removeprefix("outputs/own/").removeprefix("mine/")


def stale(data_dir=""):
    """What runs again: where the parameters are newer than the result, and what needs that."""
    again = set()
    planned = stages(data_dir)
    plan.write_parameters(planned)
    for stage in planned:
        result = places.ROOT / stage.result
        newer = (places.ROOT / stage.parameter_file).stat().st_mtime > result.stat().st_mtime
        if newer or again & set(stage.needs) or stage.kind == "analysis" and again:
            again.add(stage.folder)
    return set(map(name, again))


NOT_THE_TEACHER = CORPUS | TRAINED | FINETUNED - {"teacher/finetune"}
OF_STUDENTS = STUDENTS | {"S2/finetune", "S3/finetune"}
TEXT, TASKS = "data/text/one.txt", "data/klej/nkjp-ner/validation.jsonl"
REPORTING = ("plan", "report", "studies", "runner", "lab")
CHANGES = [  # a file, what is replaced in it by what, what runs again beside the analysis
    (TEXT, "a line", "b line", NOT_THE_TEACHER),
    ("data/text/two.txt", "", "one more", NOT_THE_TEACHER),
    (TASKS, "persName", "orgName", FINETUNED),
    ("checkpoint/model.safetensors", None, None, TRAINED | FINETUNED),
    ("checkpoint/tokenizer.json", "{", "{ ", ALL),
    ("notebooks/3_distillation.ipynb", "stage.begin(", "stage.begin( ", OF_STUDENTS),
    ("params/mine/own.yaml", "student_layers: [0, 2]", "student_layers: [0, 3]", OF_STUDENTS),
    (
        "params/mine/scenarios.yaml",
        "weight_soft: 1",
        "weight_soft: 2",
        {"S3/distillation", "S3/finetune"},
    ),
    ("params/mine/claims.yaml", "[]", "[ ]", set()),
    ("lib/common/code.py", "1", "2", ALL),
    ("lib/data/code.py", "1", "2", ALL),
    ("lib/fast/code.py", "1", "2", ALL - CORPUS),
    ("lib/training/code.py", "1", "2", ALL - CORPUS),
    ("lib/training/new.py", "", "y = 1", ALL - CORPUS),
    ("lib/tasks/code.py", "1", "2", FINETUNED),
    ("lib/training/code.py", "Words", "Other words", set()),
    ("lib/training/code.py", "x = 1", "# a comment\nx = (\n    1\n)", set()),
    *((f"lib/{room}/code.py", "1", "2", set()) for room in REPORTING),
    ("lib/report/page.css", "", "p { margin: 0 }", set()),
]


@pytest.mark.parametrize("file, old, new, again", CHANGES)
def test_what_runs_again_after_which_change(project, capsys, file, old, new, again):
    assert stale() == set() and capsys.readouterr().err == ""
    path = project / file
    existed = path.is_file()
    content = path.read_bytes() if existed else b""
    if old is None:  # one weight
        changed = content[:-1] + bytes([content[-1] ^ 1])
    else:
        changed = content.replace(old.encode(), new.encode(), 1)
    assert changed != content
    path.write_bytes(changed)
    assert stale() == again | {"analysis"}
    assert "runs again: " in (said := capsys.readouterr().err) and " changed\n" in said
    path.write_bytes(content) if existed else path.unlink()
    assert stale() == set() and capsys.readouterr().err == "", "all is as it was"


def test_what_is_no_change(project):
    (project / "checkpoint/README.md").write_text("another card")
    (project / "data/text/note.md").write_text("no text file")
    (project / "data/klej/nkjp-ner/test.jsonl").write_text("{}")
    for path in [
        *project.glob("notebooks/*"),
        *project.glob("data/**/*"),
        *project.glob("checkpoint/*"),
    ]:
        path.touch()
    assert stale() == set()


def test_a_moved_checkout_has_nothing_to_do(project, monkeypatch):
    """Also with a folder of data that was named by its absolute path."""
    sizes = project / "params/mine/own.yaml"
    sizes.write_text(
        SIZES.replace("data/text", "'{data_dir}/text'").replace(": data,", ": '{data_dir}',")
    )
    publish(stages(str(project / "data")))
    moved = project.with_name("moved")
    project.rename(moved)
    monkeypatch.setattr(places, "ROOT", moved)
    assert stale(str(moved / "data")) == stale("data") == set()


def test_large_files_count_by_size_and_date(project, monkeypatch):
    monkeypatch.setattr(what, "SMALL", 3)
    path = project / "data/text/one.txt"
    os.utime(path, (1e9, 1e9))
    before = what._files([path])
    path.write_text("b line\n")
    os.utime(path, (1e9, 1e9))
    assert what._files([path]) == before
    os.utime(path, (2e9, 2e9))
    assert what._files([path]) != before


def test_files_in_a_store_count_by_what_it_says_of_them():
    import fsspec

    store = fsspec.filesystem("memory")
    path = places.to_path("memory://reads/text.txt")
    store.pipe("/reads/text.txt", b"one")
    before = what._files([path])
    assert what._files([path]) == before
    store.pipe("/reads/text.txt", b"two")
    assert what._files([path]) != before


def test_a_reason_is_said_once_for_all_it_concerns(project, capsys):
    (project / "checkpoint/model.safetensors").write_bytes(b"other")
    (project / "data/text/one.txt").write_text("other")
    plan.write_parameters(stages())
    lines = capsys.readouterr().err.splitlines()
    assert "runs again: mine/corpus_transfer/data_prep: data/text changed" in lines
    trained = "mine/teacher/finetune, mine/T2/teacher_continuation, mine/S2/distillation"
    assert f"runs again: {trained} and 2 more: checkpoint changed" in lines
    plan.write_parameters(stages())  # said until it has been done
    assert capsys.readouterr().err.splitlines() == lines


def test_results_of_a_version_that_noted_nothing(project, capsys):
    for stage in stages():
        (project / stage.result).write_text(json.dumps({"parameters": stage.parameters}))
        (project / stage.parameter_file).write_text("old: 1\n")
    assert stale() == ALL | {"analysis"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" and 8 more: made by a version that did not note what it read")


def test_what_was_deleted_is_made_again(project, capsys):
    """By Snakemake itself: a stage whose folder is gone, and one that lacks its model."""
    shutil.copytree(ROOT / "lib", project / "lib", dirs_exist_ok=True)
    publish(stages())
    shutil.rmtree(project / "outputs/own/mine/S3/distillation")
    (project / "outputs/own/mine/S2/distillation/model").rmdir()
    environment = os.environ | {"PYTHONPATH": str(project), "SCALE": "own", "STUDIES": "mine"}
    options = ["--cores", "2", "--rerun-triggers", "mtime", "input"]
    command = [sys.executable, "-m", "snakemake", "-n", *options]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    printed = done.stdout + done.stderr
    made = re.findall(r"output: outputs/own/(?:mine/)?(\S+)/result.json", printed)
    assert set(made) == OF_STUDENTS, printed
    assert "runs again: mine/S2/distillation: model is gone" in printed


def test_a_stage_reads_the_rooms_that_its_rooms_use():
    for kind in KINDS.values():
        assert all(set(USES[room].split()) <= set(kind.rooms) for room in kind.rooms)


@pytest.mark.parametrize(
    "given, removed",
    [
        ([], "outputs/* .snakemake"),
        (["SCALE=smoke"], "outputs/smoke"),
        (["STUDIES=a b"], "outputs/tiny/a outputs/tiny/b"),
        (["SCALE=smoke", "STUDIES=a"], "outputs/smoke/a"),
    ],
)
def test_what_make_clean_removes(given, removed):
    assert run_make(ROOT, "-n", "clean", *given).stdout.splitlines()[-1] == f"rm -rf {removed}"
    for scale in "../lib", "smoke lib":
        done = run_make(ROOT, "-n", "clean", f"SCALE={scale}")
        assert done.returncode and "names, not folders, and SCALE is one" in done.stderr
