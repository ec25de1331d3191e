"""Shared by all tests: no hub, one thread, quiet libraries. Set before any of them is imported."""

import os
import shutil

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """A copy of params/ that a test may spoil, and that studies and plans are read from: its
    folder."""
    from lib.common import places

    shutil.copytree(places.ROOT / "params", tmp_path / "params")
    monkeypatch.setattr(places, "ROOT", tmp_path)
    return tmp_path / "params"


@pytest.fixture(params=[True, False], ids=["onednn", "default"])
def library(request, monkeypatch):
    """Either library for products of matrices, whichever is the faster here."""
    import torch

    from lib.fast import linear

    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch was built without oneDNN")
    monkeypatch.setattr(linear, "onednn_pays", lambda: request.param)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared corpus, and a saved teacher of four layers, with dropout: their folders."""
    from tests.helpers import small

    corpus, teacher = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("teacher")
    small.save_teacher(small.prepare_corpus(corpus), teacher)
    return {"corpus": str(corpus), "teacher": str(teacher)}
