"""Every bad input and fault of tests/helpers/fault_table.py ends in its expected message."""

import re

import pytest

from tests.helpers.fault_table import FAULTS
from tests.helpers.faults import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{fault.area}: {fault.description}" for fault in FAULTS]
)
def test_a_fault_ends_in_its_one_line_message(workspace, fault):
    message = fault.run(workspace)
    assert re.search(fault.expected, message), message
    assert "\n" not in message and "Traceback" not in message


def test_the_table_has_at_least_40_different_faults():
    different = {(fault.area, fault.description) for fault in FAULTS}
    assert len(FAULTS) == len(different) >= 40
