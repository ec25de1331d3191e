"""Fixtures of the lab's tests."""

import pytest

from lib.lab import models
from tests.helpers import lab_outputs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return lab_outputs.make(tmp_path_factory.mktemp("lab") / "outputs")


@pytest.fixture
def pair(outputs):
    """The student S3 and its teacher."""
    return next(pair for pair in models.pairs(outputs) if "S3" in pair.name)
