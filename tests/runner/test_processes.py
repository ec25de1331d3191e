"""Training in two processes: the same losses as in one, to 1e-5, each reading its own
micro-batches; and through the notebook."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
import torch

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data.tokenizer import load_tokenizer
from lib.plan.stages import Stage, StagePath, validate
from lib.runner import processes, stage
from lib.training import checkpoints, models
from lib.training.parameters import LOSSES
from tests.helpers import together

SAME = [
    name
    for name in together.TRAININGS
    if name not in ("exploding", "begun", "measured", "asked", "asked_beside")
]


def torchrun(*words, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    place = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, cwd=ROOT, env=os.environ | place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """What two processes found in every training: (folder, name -> [of process 0, of process
    1])."""
    folder = tmp_path_factory.mktemp("together")
    together.distil(
        folder / "resumed", dropout=0.2, stop=together.CUT
    )  # one process begins, two go on
    assert checkpoints.newest(folder / "resumed")["step"] == together.CUT
    torchrun("--standalone", "--nproc-per-node=2", "-m", "tests.helpers.together", str(folder))
    found = {
        name: [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)]
        for name in together.TRAININGS
    }
    return folder, found


def losses(history):
    parts = ("loss", *LOSSES)
    return torch.tensor(
        [[row[part] for part in parts if part in row] for row in history], dtype=torch.double
    )


def agree(a, b, tolerance=1e-5):
    assert [row["step"] for row in a["history"]] == [row["step"] for row in b["history"]]
    assert [row["tokens"] for row in a["history"]] == [row["tokens"] for row in b["history"]]
    assert torch.allclose(losses(a["history"]), losses(b["history"]), rtol=tolerance, atol=0)


@pytest.mark.parametrize("name", SAME)
def test_two_processes_have_the_losses_of_one(twice, name):
    found = twice[1][name]
    alone = together.TRAININGS["dropout" if name == "resumed" else name](None)
    assert len(alone["history"]) in (together.STEPS, 2 * together.STEPS)
    agree(found[0], alone, 1e-3 if "bf16" in name else 1e-5)
    assert found[0]["history"] == found[1]["history"]
    assert torch.equal(
        found[0]["weights"], found[1]["weights"]
    )  # to the last bit: they would drift apart


def test_one_process_goes_on_with_what_two_began(twice):
    folder, found = twice
    assert (
        found["begun"][0]["history"] == []
        and checkpoints.newest(folder / "begun")["step"] == together.CUT
    )
    agree(together.distil(folder / "begun", dropout=0.2), together.TRAININGS["dropout"](None))


def test_each_process_reads_its_own_sequences(twice):
    """In every step, the second of two reads the micro-batches that the first does not."""
    schedule = together.batches().schedule
    for rank in (0, 1):
        expected = [
            index
            for step in range(together.STEPS)
            for piece in schedule.indices(step)[rank::2]
            for index in piece
        ]
        assert twice[1]["plain"][rank]["read"] == expected
    read = [set(twice[1]["one_has_nothing"][rank]["read"]) for rank in (0, 1)]
    assert read[0] and not read[1]


def test_one_precision_for_all(twice):
    assert twice[1]["measured"][0]["history"] == twice[1]["measured"][1]["history"]


def test_a_loss_that_explodes_in_one_stops_both_with_the_step_named(twice):
    sequences = ", ".join(map(str, together.batches(steps=1, batch=8).schedule.indices(0)[1]))
    for rank in (0, 1):
        said = twice[1]["exploding"][rank]["said"]
        assert said.startswith(
            f"x: the loss is nan at step 1 (sequences {sequences} of the corpus); no checkpoint"
        )


@pytest.mark.parametrize("name", ["asked", "asked_beside"])
def test_one_that_is_asked_to_stop_stops_both_after_the_same_step(twice, name):
    """The first one, which was not asked, keeps the checkpoints."""
    folder, found = twice
    for rank in (0, 1):
        assert (
            f"after step {together.CUT} of {together.STEPS}; start it again"
            in found[name][rank]["said"]
        )
    kept = sorted((folder / name).glob("**/step-*.pt"))
    assert kept and {path.name for path in kept} == {f"step-{together.CUT:09}.pt"}


# ---------------------------------------------------------------------------- through the notebooks


SMALL = {
    "learning_rate": 1e-2,
    "steps": 6,
    "batch_size": 8,
    "micro_batch_size": 4,
    "warmup": 0.0,
    "checkpoint_seconds": 1e-9,
}
STUDENT = {
    "student_layers": [0, 2],
    "weight_soft": 5.0,
    "weight_mlm": 2.0,
    "weight_cosine": 1.0,
    "temperature": 2.0,
}


def notebook(name, folder, values):
    """The code cells of a notebook in turn; what it published."""
    cells = [
        cell
        for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells
        if cell.cell_type == "code"
    ]
    namespace = {}
    exec(cells[0].source, namespace)
    namespace |= {"threads": 0, "output_dir": str(folder)} | values
    for cell in cells[1:]:
        exec(cell.source, namespace)
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_an_encoder_alone_teaches_a_narrow_student_by_relations(prepared, tmp_path):
    """A sentence encoder as one finds it has no MLM head. Beside the student of half its width, one
    matches its hidden outputs and attention maps."""
    encoder = tmp_path / "encoder"
    models.load_trunk(prepared["teacher"]).save_pretrained(encoder)
    load_tokenizer(prepared["teacher"]).save_pretrained(encoder)
    beside = {"layers": {"student_layers": [0, 2], "weight_hidden": 1.0, "weight_attention": 9.0}}
    own = {"student_layers": [0, 2], "hidden_size": 8, "weight_relations": 1.0, "relation_heads": 4}
    own |= dict.fromkeys(("weight_soft", "weight_mlm", "weight_cosine"), 0.0)
    values = prepared | SMALL | own | {"teacher": str(encoder), "beside": beside, "steps": 12}
    result = notebook("3_distillation", tmp_path / "out", values)
    first, *_, last = result["history"]
    assert last["loss"] == pytest.approx(last["relations"]) and last["loss"] < first["loss"]
    when = {"first step", "last step"}
    assert {(row["component"], row["when"]) for row in result["components"]} == {
        ("relations", each) for each in when
    }
    assert all(row["gradient_norm"] > 0 for row in result["components"])
    assert result["before"] == result["after"] == {}
    assert models.load_trunk(tmp_path / "out/model").config.hidden_size == 8
    other = json.loads((tmp_path / "out/beside/layers/training.json").read_text())["history"]
    assert other[-1]["hidden"] < other[0]["hidden"]
    assert {"hidden_2", "attention_2"} <= other[-1].keys()


def test_a_notebook_trains_in_two_processes_and_loads_what_came_of_it(prepared, tmp_path, capfd):
    beside = {"mlm_alone": {"student_layers": [0], "weight_mlm": 1.0}}
    values = prepared | SMALL | STUDENT | {"beside": beside}
    one, two = (
        notebook("3_distillation", tmp_path / str(processes), values | {"processes": processes})
        for processes in (1, 2)
    )
    agree(one, two)
    assert (one["summary"]["tokens_seen"], one["summary"]["steps"]) == (
        two["summary"]["tokens_seen"],
        two["summary"]["steps"],
    )
    assert one["after"] == pytest.approx(two["after"], rel=1e-3)
    assert {path.name for path in (tmp_path / "2").iterdir()} == {
        "model",
        "beside",
        "tracking",
        "held_out.parquet",
        "result.json",
    }
    printed = capfd.readouterr().out
    assert printed.count("distillation  6/6") == 2  # one says how far it is, not both
    assert "resumed after step 6" in printed


def test_a_teacher_that_grows(prepared, tmp_path):
    """The shallow one's weights are noted once, by one of the two."""
    shape = {
        "layers": 2,
        "hidden": 16,
        "heads": 2,
        "intermediate": 32,
        "grow_from_layers": 1,
        "grow_steps": 4,
    }
    values = {"corpus": prepared["corpus"], "teacher": "", **shape, **SMALL}
    one, two = (
        notebook(
            "2_teacher_continuation", tmp_path / str(processes), values | {"processes": processes}
        )
        for processes in (1, 2)
    )
    agree(one, two)


def test_a_hop(prepared, tmp_path):
    values = prepared | SMALL | {"layers": 2, "section": 0, "batch_size": 12}
    one = notebook("4_cascade_ta", tmp_path / "one", values)
    agree(one, notebook("4_cascade_ta", tmp_path / "two", values | {"processes": 2}))


def test_fine_tunings_are_dealt_out_and_stay_the_same(prepared, tmp_path):
    values = {
        "model": prepared["teacher"],
        "tasks": ["nkjp-ner", "polemo2-in"],
        "train_examples": 24,
        "validation_examples": 12,
        "seeds": [1, 2, 3],
        "epochs": 1,
    }
    one, two = (
        notebook("5_finetune", tmp_path / str(processes), values | {"processes": processes})
        for processes in (1, 2)
    )
    assert one["scores"] == two["scores"] and len(one["scores"]) == 6


def test_the_error_of_a_process_is_the_users(prepared, tmp_path):
    values = prepared | SMALL | STUDENT | {"processes": 2, "learning_rate": 1e30, "clip_norm": 0.0}
    with pytest.raises(
        FloatingPointError,
        match=r"^distillation: the loss is nan at step \d \(sequences .*\); the last good checkpoint is /",
    ):
        notebook("3_distillation", tmp_path, values)


def test_who_failed_first_is_told(tmp_path):
    assert "one of 2 processes was killed, perhaps for memory, or cut off" in str(
        processes._first_error(tmp_path, 2)
    )
    for rank, kind, when in ((0, "RuntimeError", 3), (1, "InputError", 2), (2, "OSError", 4)):
        note = {"rank": rank, "kind": kind, "time": when, "message": f"of {rank}"}
        (tmp_path / f"failed-{rank}.json").write_text(json.dumps(note))
    found = processes._first_error(tmp_path, 3)
    assert isinstance(found, InputError) and str(found) == "of 1"
    (tmp_path / "failed-1.json").unlink()
    assert str(processes._first_error(tmp_path, 3)) == "process 0 of 3: RuntimeError: of 0"


def test_that_one_was_stopped_is_told_only_if_it_was_asked_to(tmp_path):
    """Else torchrun has stopped it because of one that was killed, and left no note."""
    note = {"rank": 0, "kind": "Stopped", "time": 1, "message": "x after step 3"}
    (tmp_path / "failed-0.json").write_text(json.dumps(note))
    assert "was killed, perhaps for memory" in str(processes._first_error(tmp_path, 2))
    assert repr(processes._first_error(tmp_path, 2, was_asked=True)) == "Stopped('x after step 3')"
    (tmp_path / "failed-1.json").write_text(
        json.dumps(note | {"rank": 1, "kind": "InputError", "time": 2, "message": "full"})
    )
    assert repr(processes._first_error(tmp_path, 2, was_asked=True)) == "InputError('full')"
    for path in tmp_path.iterdir():
        path.unlink()
    assert isinstance(processes._first_error(tmp_path, 2, was_asked=True), KeyboardInterrupt)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"processes": 3},
            r"processes 3 share the micro-batches of a step, and there are 2 \(batch_size 8, micro_batch_size 4\); "
            "allowed are 1 … 2",
        ),
        ({"processes": 0}, "processes = 0: input should be greater than 0"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(InputError, match=message) as error:
        validate("distillation", {"corpus": "c", "teacher": "t"} | SMALL | STUDENT | wrong)
    assert "\n" not in str(error.value)


def test_more_processes_than_gpus_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        InputError, match="processes = 4: each needs a GPU of its own, and there are 2"
    ):
        processes._check_gpus(4)


def test_work_half_done_is_gone_on_with_by_another_number_of_processes(prepared, tmp_path):
    given = validate(
        "distillation", prepared | SMALL | STUDENT | {"output_dir": str(tmp_path)}
    ).model_dump()
    for number, other, kept in ((1, {}, False), (2, {}, True), (2, {"temperature": 3.0}, False)):
        folder = stage.begin("distillation", given | {"processes": number} | other).folder
        assert (folder / "half").exists() == kept
        (folder / "half").touch()
        assert (
            json.loads((folder / "parameters.json").read_text())["parameters"]["processes"]
            == number
        )


def test_cores_and_gpus_of_a_stage():
    def booked(kind, **parameters):
        found = Stage(StagePath("", "", "", kind), {"threads": 0} | parameters)
        return found.threads, found.gpus

    assert booked("distillation", threads=2, processes=3) == (6, 3) and booked(
        "distillation", processes=3
    ) == (0, 3)
    assert booked("data_prep", processes=3) == (3, 0) and booked(
        "data_prep", threads=4, processes=1
    ) == (4, 0)
    assert booked("analysis", threads=2) == (2, 1)
