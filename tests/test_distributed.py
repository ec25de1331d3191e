"""Training in two processes: the same losses as in one, to 1e-5, each reading its own micro-batches; and through the notebook."""

import os
import subprocess
import sys

import pytest
import torch

from lib import ROOT, checkpoints
from tests import together

SAME = [name for name in together.TRAININGS if name not in ("exploding", "begun", "measured")]


def torchrun(*words, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    place = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, cwd=ROOT, env=os.environ | place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """What two processes found in every training: (folder, name -> [of process 0, of process 1])."""
    folder = tmp_path_factory.mktemp("together")
    together.distil(folder / "resumed", dropout=0.2, stop=together.CUT)  # one process begins, two go on
    assert checkpoints.newest(folder / "resumed")["step"] == together.CUT
    torchrun("--standalone", "--nproc-per-node=2", "-m", "tests.together", str(folder))
    found = {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)] for name in together.TRAININGS}
    return folder, found


def losses(history):
    parts = ("loss", "mlm", "soft", "cosine", "hidden", "attention")
    return torch.tensor([[row[part] for part in parts if part in row] for row in history], dtype=torch.double)


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
    assert torch.equal(found[0]["weights"], found[1]["weights"])  # to the last bit: they would drift apart


def test_one_process_goes_on_with_what_two_began(twice):
    folder, found = twice
    assert found["begun"][0]["history"] == [] and checkpoints.newest(folder / "begun")["step"] == together.CUT
    agree(together.distil(folder / "begun", dropout=0.2), together.TRAININGS["dropout"](None))


def test_each_process_reads_its_own_sequences(twice):
    """In every step, the second of two reads the micro-batches that the first does not."""
    schedule = together.batches().schedule
    for rank in (0, 1):
        expected = [
            index for step in range(together.STEPS) for piece in schedule.indices(step)[rank::2] for index in piece
        ]
        assert twice[1]["plain"][rank]["read"] == expected
    read = [set(twice[1]["one_has_nothing"][rank]["read"]) for rank in (0, 1)]
    assert read[0] and not read[1]


def test_of_a_sharded_teacher_each_holds_a_part(twice):
    layers = sum(weight.numel() for weight in together.teacher().bert.encoder.parameters())
    whole = twice[1]["plain"][0]["held"]
    for rank in (0, 1):
        assert whole - twice[1]["sharded"][rank]["held"] == pytest.approx(layers / 2, rel=0.05)


def test_one_precision_for_all(twice):
    assert twice[1]["measured"][0]["history"] == twice[1]["measured"][1]["history"]


def test_a_loss_that_explodes_in_one_stops_both_with_the_step_named(twice):
    for rank in (0, 1):
        assert twice[1]["exploding"][rank]["said"] == "x: the loss is nan at step 1; no checkpoint had been written yet"
