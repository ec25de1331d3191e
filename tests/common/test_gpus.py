"""Stages on one machine take different GPUs. These tests need no GPU: only ids are chosen."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.common import locks
from lib.common.places import ROOT


@pytest.fixture(autouse=True)
def no_locks_held(monkeypatch):
    monkeypatch.setattr(locks, "HELD", [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def take_gpus(monkeypatch, folder, request, visible=""):
    """Take GPUs as a stage does; request: as the Snakefile writes it, "2 of 4"."""
    monkeypatch.setenv(locks.GPUS, request)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return locks.take_gpus(folder)


def test_stages_take_different_gpus(monkeypatch, tmp_path):
    assert take_gpus(monkeypatch, tmp_path, "1 of 4") == ["0"]
    assert take_gpus(monkeypatch, tmp_path, "2 of 4") == ["1", "2"]
    assert locks.os.environ["CUDA_VISIBLE_DEVICES"] == "1,2" and locks.GPUS not in locks.os.environ
    assert take_gpus(monkeypatch, tmp_path, "1 of 4") == ["3"]
    locks.HELD.pop(0).release()
    assert take_gpus(monkeypatch, tmp_path, "1 of 4") == ["0"]


def test_only_visible_gpus_are_taken(monkeypatch, tmp_path):
    assert take_gpus(monkeypatch, tmp_path, "2 of 2", visible="5,7") == ["5", "7"]


def test_without_a_request_no_gpu_is_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv(locks.GPUS, raising=False)
    assert (
        locks.take_gpus(tmp_path) == []
        and take_gpus(monkeypatch, tmp_path, "0 of 4") == []
        and list(tmp_path.iterdir()) == []
    )


def test_a_gpu_is_free_again_when_its_process_has_ended(monkeypatch, tmp_path):
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
    sleeps: list[float] = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: (sleeps.append(seconds), other.kill(), other.wait())
    )
    assert take_gpus(monkeypatch, Path(tmp_path), "1 of 1") == ["0"] and sleeps == [1]
