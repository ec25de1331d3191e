"""A scenario of one's own: its entry checked in one line, planned like any other, run in the
background, stopped, seen."""

import json
import os
import subprocess
import sys

import pytest

from lib.common import places
from lib.common.errors import InputError
from lib.lab import background, form
from lib.plan import plan
from lib.runner import run as runner
from tests.helpers import lab_outputs
from tests.helpers.project import copy_project


def test_an_entry_is_read_as_yaml():
    entry = form.entry_from(
        {"temperature": "4", "student_layers": "[0, 1]", "init": "random"},
        "batch_size: 32, seed: 1",
    )
    assert entry == {
        "temperature": 4,
        "student_layers": [0, 1],
        "init": "random",
        "batch_size": 32,
        "seed": 1,
    }
    for values, others in (({"temperature": "["}, ""), ({}, "batch_size"), ({}, "a: [")):
        with pytest.raises(InputError) as error:
            form.entry_from(values, others)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "study, name, change, message",
    [
        (
            "herbert",
            "mine",
            {"temperature": 0},
            "the form: scenarios.mine: temperature = 0: input should be greater than 0",
        ),
        (
            "herbert",
            "mine",
            {"temprature": 4},
            "the form: scenarios.mine: unknown key 'temprature'; allowed are",
        ),
        (
            "herbert",
            "mine",
            {"student_layers": [7]},
            "layer 7 is not there; the teacher T1 has layers 0 … 1",
        ),
        ("herbert", "mine", {"teacher": "T9"}, "there is no 'T9'; there are T1, T2"),
        ("herbert", "S3", {}, "name: herbert has a scenario or a teacher 'S3' already"),
        ("herbert", "a b", {}, "the name 'a b' has to begin with a letter or digit"),
        (
            "herbert",
            "mine",
            {},
            "outputs/smoke/herbert/T1/teacher_continuation is not there yet; run make report",
        ),
        (
            "cascade",
            "mine",
            {"hop": 7},
            "the form: scenarios.mine.hop = 7: input should be 1, 2, 3 or 'half'",
        ),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line(
    study, name, change, message, tmp_path, monkeypatch
):
    (tmp_path / "params").symlink_to(places.ROOT / "params")
    monkeypatch.setattr(places, "ROOT", tmp_path)  # nothing has run there
    with pytest.raises(InputError) as error:
        form.make_stages("smoke", study, name, form.first_values("smoke", study) | change, True)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("study", ["herbert", "cascade", "transfer_set", "ablation"])
def test_the_stages_of_an_entry_publish_in_the_lab(study, tmp_path, monkeypatch):
    for step in plan.resolve("smoke", [study]):
        (tmp_path / step.folder).mkdir(parents=True)
        (tmp_path / step.result).touch()
    (tmp_path / "params").symlink_to(places.ROOT / "params")
    monkeypatch.setattr(places, "ROOT", tmp_path)
    steps = form.make_stages("smoke", study, "mine", form.first_values("smoke", study), True)
    line = form.describe(steps)
    assert all(step.folder.startswith(f"outputs/lab/smoke/{study}/mine/") for step in steps)
    assert all(step.parameters["output_dir"] == step.folder for step in steps)
    assert [step.kind for step in steps][-1] == "finetune" and "; then fine-tuning: " in line
    assert (
        steps[-1].parameters["model"] == f"{steps[-2].folder}/model"
        and steps[-2].folder in steps[-1].needs
    )
    assert len({step.folder for step in steps}) == len(steps)


def test_a_run_goes_on_from_the_first_stage_whose_parameters_are_newer(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "ROOT", tmp_path)
    ran = []
    monkeypatch.setattr(runner, "run", lambda path: ran.append(path.parent.name))
    (tmp_path / background.PLANNED).write_text(json.dumps({"stages": ["a", "b", "c"]}))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for file in ("parameters.yaml", "result.json"):
            (tmp_path / name / file).touch()
    assert background.main(tmp_path) == 0 and ran == []
    os.utime(tmp_path / "b/parameters.yaml", (2e9, 2e9))
    assert background.main(tmp_path) == 0 and ran == ["b", "c"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    lab_outputs.make(folder / "outputs")
    return folder


def lab(project, code: str) -> str:
    """What some lines print that use the lab of a project elsewhere."""
    start = """
import atexit, time
from lib.lab import background, form

def begin(name, others=""):
    # It ends with this process, also when a check fails.
    entry = form.entry_from(form.first_values("smoke", "herbert"), others)
    folder = background.start(form.make_stages("smoke", "herbert", name, entry, True), entry)
    atexit.register(end, folder)
    return folder

def end(folder):
    background.stop(folder)
    until(lambda: not background.is_running(folder))

def until(true, seconds=300):
    last = time.monotonic() + seconds
    while not true() and time.monotonic() < last:
        time.sleep(0.1)
    assert true(), (folder / "log.txt").read_text()

"""
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(project)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_can_be_stopped_goes_on_and_ends_with_scores_beside_the_studys(project):
    printed = lab(
        project,
        """
long = "steps: 1000"
folder = begin("mine", long)
until(lambda: len(background.read(folder).history) > 1)
print(background.read(folder).line)
end(folder)
print(background.read(folder).line)
begin("mine", long)
assert background.is_running(folder)
until(lambda: not background.is_running(folder))
state = background.read(folder)
print(state.line, state.done, state.history[-1]["step"])
print("".join(part.data for part in form.run_view(folder)))
print(background.new_name())
try:
    begin("mine", long)
except ValueError as error:
    print(error)
""",
    )
    running, stopped, ended, *rest = printed.splitlines()
    assert running.startswith("Running: stage 1 of 2, distillation: ")
    assert "a checkpoint of step" in stopped and "the same entry goes on from there" in stopped
    folder = "outputs/lab/smoke/herbert/mine"
    assert ended == f"Done: the model and its scores are in {folder}. True 1000"
    log = (project / folder / "distillation/log.txt").read_text(encoding="utf-8")
    assert "resumed after step" in log
    view = "\n".join(rest)
    assert "mine (lab)" in view and view.count("<svg") == 1 and "mine-2" in view
    assert f"name: 'mine' is taken by another run in {folder}; choose another name" in view
    assert (project / folder / "distillation/model/model.safetensors").is_file()
