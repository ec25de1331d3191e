"""Every bad input and fault of tests/helpers/fault_table.py is answered by the one line that stands
there."""

import re

import pytest

from tests.helpers.fault_table import FAULTS
from tests.helpers.faults import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.about}: {fault.what}" for fault in FAULTS])
def test_a_fault_is_answered_in_one_line(world, fault):
    said = fault.tried(world)
    assert re.search(fault.answer, said), said
    assert "\n" not in said and "Traceback" not in said


def test_there_are_enough_and_each_is_another():
    assert len(FAULTS) >= 40 and len({(fault.about, fault.what) for fault in FAULTS}) == len(FAULTS)
