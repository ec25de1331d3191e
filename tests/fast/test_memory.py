"""What is on disk need not fit into memory: the order of an epoch, a corpus."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lib.common.places import ROOT
from lib.training.batches import POOL, Schedule


def test_steps_can_be_asked_for_in_any_order():
    """A pool of steps is held at a time; going back begins the epoch again."""
    schedule = Schedule(np.arange(1, 1001) % 37 + 3, batch=8, micro=4, epochs=2, seed=3)
    whole = [np.concatenate(schedule.indices(step)).tolist() for step in range(schedule.steps)]
    for step in [200, 3, 130, 129, 249, 0, POOL, POOL - 1]:
        assert np.concatenate(schedule.indices(step)).tolist() == whole[step]
        assert np.concatenate(schedule.anew().indices(step)).tolist() == whole[step]
    first = sorted(index for step in whole[: schedule.steps_per_epoch] for index in step)
    assert first == list(range(1000)) and whole[0] != whole[schedule.steps_per_epoch]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_corpus_larger_than_the_memory_trains(tmp_path):
    """Some 300 MiB beside PyTorch's own for 900 MiB of sequences; `python -m
    tests.helpers.large_corpus` does the same at full size."""
    command = [
        sys.executable,
        "-m",
        "tests.helpers.large_corpus",
        "--folder",
        str(tmp_path),
        "--prepared-mib",
        "900",
        "--limit-mib",
        "800",
        "--steps",
        "4",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["train_peak_mib"] < 800 and found["sequences"] > 1_000_000
