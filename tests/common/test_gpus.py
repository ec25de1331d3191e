"""Stages on one machine take different GPUs. No GPU is needed: what is chosen are numbers."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.common import locks
from lib.common.places import ROOT


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(locks, "HELD", [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def ask(monkeypatch, folder, words, visible=""):
    monkeypatch.setenv(locks.GPUS, words)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return locks.take_gpus(folder)


def test_each_takes_what_the_others_have_not(monkeypatch, tmp_path):
    assert ask(monkeypatch, tmp_path, "1 of 4") == ["0"]
    assert ask(monkeypatch, tmp_path, "2 of 4") == ["1", "2"]
    assert locks.os.environ["CUDA_VISIBLE_DEVICES"] == "1,2" and locks.GPUS not in locks.os.environ
    assert ask(monkeypatch, tmp_path, "1 of 4") == ["3"]
    locks.HELD.pop(0).release()
    assert ask(monkeypatch, tmp_path, "1 of 4") == ["0"]


def test_of_those_that_are_visible(monkeypatch, tmp_path):
    assert ask(monkeypatch, tmp_path, "2 of 2", visible="5,7") == ["5", "7"]


def test_by_hand_and_on_a_cluster_nothing_is_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv(locks.GPUS, raising=False)
    assert (
        locks.take_gpus(tmp_path) == []
        and ask(monkeypatch, tmp_path, "0 of 4") == []
        and list(tmp_path.iterdir()) == []
    )


def test_a_gpu_is_free_again_when_its_process_is_gone(monkeypatch, tmp_path):
    code = (
        f"from pathlib import Path; from lib.common import locks; "
        f"print(locks.take_gpus(Path({str(tmp_path)!r})), flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=locks.os.environ | {locks.GPUS: "1 of 1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "['0']\n"
    waited: list[float] = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: (waited.append(seconds), other.kill(), other.wait())
    )
    assert ask(monkeypatch, Path(tmp_path), "1 of 1") == ["0"] and waited == [1]
