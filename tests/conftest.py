"""Shared by all tests: no hub, one thread, quiet libraries. Set before any of them is imported."""

import os
import shutil

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """A copy of params/ that a test may spoil, and that studies and plans are read from: its folder."""
    from lib import ROOT, plan, study

    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setattr(study, "PARAMS", tmp_path / "params")
    for module in (plan, study):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path / "params"
