"""How a stage begins and ends: parameters from a notebook, scratch folder, publishing; and the
notebooks' defaults."""

import json
import math
import os

import nbformat
import pytest
import yaml

from lib.common import places
from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.plan import plan
from lib.plan.stages import KINDS
from lib.runner import run, stage

TINY_STAGE = {
    "data_prep": "herbert/corpus_transfer/data_prep",
    "teacher_continuation": "herbert/T2/teacher_continuation",
    "distillation": "herbert/S3/distillation",
    "cascade_ta": "cascade/cascade-5/cascade_ta",
    "finetune": "herbert/S3/finetune",
}


def notebook(kind):
    return nbformat.read(ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb", as_version=4)


def defaults(kind) -> dict:
    """What a notebook's parameter cell defines."""
    (cell,) = [
        cell for cell in notebook(kind).cells if "parameters" in cell.metadata.get("tags", [])
    ]
    namespace: dict = {}
    exec(cell.source, namespace)
    namespace.pop("__builtins__")
    return namespace


@pytest.mark.parametrize("kind", TINY_STAGE)
def test_notebook_defaults_are_the_tiny_run(kind):
    """Every knob is in the parameter cell, and a notebook opened by itself computes what the tiny
    run does, which also keeps its models."""
    steps = {step.folder: step for step in plan.resolve("tiny", ["herbert", "cascade"])}
    resolved = steps[f"outputs/tiny/{TINY_STAGE[kind]}"].parameters
    found = defaults(kind)
    checked = stage.validate(kind, found).model_dump(mode="json")
    assert found.keys() == resolved.keys()
    shape = {
        "layers",
        "hidden",
        "heads",
        "intermediate",
        "dropout",
        "initializer_range",
    }  # of no effect when a teacher is given
    for name in (
        resolved.keys()
        - {"output_dir", "keep_models"}
        - (shape if kind == "teacher_continuation" else set())
    ):
        assert checked[name] == resolved[name], name


@pytest.mark.parametrize("kind", KINDS)
def test_committed_notebooks_are_stripped_and_thin(kind):
    for cell in notebook(kind).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert (
                "parameters" in cell.metadata.get("tags", []) or len(cell.source.splitlines()) <= 20
            )
            assert not any(line.startswith(("def ", "class ")) for line in cell.source.splitlines())


def minimal(tmp_path, **more):
    return {**defaults("distillation"), "output_dir": str(tmp_path / "out"), "threads": 0, **more}


def test_a_misspelt_parameter_is_refused(tmp_path):
    with pytest.raises(
        InputError,
        match="3_distillation.ipynb: unknown key 'temprature'; allowed are",
    ):
        stage.begin("distillation", minimal(tmp_path, temprature=4))


def test_modules_functions_and_hidden_names_are_no_parameters(tmp_path):
    stage.begin(
        "distillation", minimal(tmp_path, math=math, _private=1, helper=lambda: 0, Kind=dict)
    )


def test_in_a_notebook_the_cells_of_constants_are_the_parameters():
    """So the cell that begins a stage can be run again after the others, and a misspelt name is
    still seen."""
    cells = [
        "",
        "# comment\ntemperature = 2.0  # warm\nstudent_layers = [0, -1]",
        "temprature = 4",
        "rows = run()",
        "history = []; x()",
        "1 +",
    ]
    namespace = {
        "In": cells,
        "temperature": 2.0,
        "student_layers": [0, -1],
        "temprature": 4,
        "rows": [1],
        "history": [],
        "p": object(),
    }
    assert stage.notebook_parameters(namespace) == {
        "temperature": 2.0,
        "student_layers": [0, -1],
        "temprature": 4,
    }


def test_scratch_survives_the_same_parameters_and_no_others(tmp_path):
    run = stage.begin("distillation", minimal(tmp_path))
    (run.folder / "checkpoint").write_text("half done")
    assert (stage.begin("distillation", minimal(tmp_path)).folder / "checkpoint").is_file()
    assert not (
        stage.begin("distillation", minimal(tmp_path, temperature=4)).folder / "checkpoint"
    ).exists()


def test_publishing(tmp_path):
    run = stage.begin("distillation", minimal(tmp_path))
    (run.folder / "model").mkdir()
    (run.folder / "model/weights").write_text("new")
    (tmp_path / "out/model").mkdir()
    (tmp_path / "out/model/old").write_text("from an earlier run")
    path = stage.finish(run, {"summary": {"parameters": 3}})
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["model", "result.json"]
    assert [p.name for p in (tmp_path / "out/model").iterdir()] == ["weights"]
    found = json.loads(path.read_text())
    assert found["summary"] == {"parameters": 3} and found["parameters"]["temperature"] == 2
    assert found["versions"]["torch"] and found["peak_memory_mib"] > 0


def test_without_an_output_folder_a_run_gets_one_of_its_own():
    runs = [
        stage.begin("distillation", {**defaults("distillation"), "threads": 0, "temperature": t})
        for t in (2.5, 3.5, 2.5)
    ]
    try:
        assert runs[0].target == runs[2].target != runs[1].target
        assert runs[0].p.output_dir.startswith("outputs/lab/distillation-")
    finally:
        for run in runs:
            stage.shutil.rmtree(run.target, ignore_errors=True)


def test_an_input_error_shows_as_one_line():
    assert InputError("temperature = 0").__getattribute__("_render_traceback_")() == [
        "InputError: temperature = 0"
    ]


def test_scratch_of_other_inputs_is_not_gone_on_with(tmp_path):
    """A teacher trained anew under the same path: what was half done on the old one is dropped."""
    (tmp_path / "T1/model").mkdir(parents=True)
    (tmp_path / "T1/result.json").write_text("first")
    given = minimal(tmp_path, teacher=str(tmp_path / "T1/model"))
    run = stage.begin("distillation", given)
    (run.folder / "checkpoint").write_text("half done")
    assert (stage.begin("distillation", given).folder / "checkpoint").is_file()
    (tmp_path / "T1/result.json").write_text("second")
    assert not (stage.begin("distillation", given).folder / "checkpoint").exists()


def test_a_checkpoint_of_another_teacher_is_thrown_away_and_said(tmp_path, capsys):
    teacher = tmp_path / "T1"
    teacher.mkdir()
    (teacher / "model.safetensors").write_text("first")
    given = minimal(tmp_path, teacher=str(teacher))
    run = stage.begin("distillation", given)
    (run.folder / "checkpoints").mkdir()
    (run.folder / "checkpoints/step-000000001.pt").write_text("half done")
    stage.begin("distillation", given)
    assert any(run.folder.rglob("step-*")) and not capsys.readouterr().out
    (teacher / "model.safetensors").write_text("other")
    stage.begin("distillation", given)
    assert not any(run.folder.rglob("step-*"))
    assert capsys.readouterr().out == f"starts over: {teacher} changed since it was stopped\n"


def test_a_result_says_what_was_read_as_the_plan_has_noted_it(tmp_path):
    given = minimal(tmp_path)
    (tmp_path / "out").mkdir()
    planned = stage.validate("distillation", given).model_dump(mode="json")
    text = "# a text with spaces 0123\n" + yaml.safe_dump(planned)
    (tmp_path / "out/parameters.yaml").write_text(text)
    result = stage.finish(stage.begin("distillation", given), {})
    assert json.loads(result.read_text())["reads"] == {"a text with spaces": "0123"}
    changed = stage.begin("distillation", given | {"temperature": 3})  # by hand: of no plan
    assert "lib/training" in changed.reads and "params/herbert/T1" in changed.reads


def test_the_last_cell_run_twice_harms_nothing(tmp_path):
    run = stage.begin("distillation", minimal(tmp_path))
    path = stage.finish(run, {})
    with pytest.raises(InputError, match="is published already"):
        stage.finish(run, {})
    assert path.is_file()


def test_stages_are_counted_while_another_one_publishes(tmp_path, monkeypatch):
    """Its scratch folder may be gone between being listed and being read."""
    monkeypatch.setattr(places, "ROOT", tmp_path)
    folder = tmp_path / "outputs/tiny/herbert/S3/distillation"
    (folder / "scratch").mkdir(parents=True)
    (folder / "parameters.yaml").touch()
    scandir = os.scandir

    def vanished(path):
        if str(path).endswith("scratch"):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanished)
    assert run._stages_done(folder) == "0 of 1 stages done"
