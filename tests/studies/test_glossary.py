"""Every scenario and term has a meaning."""

import pandas as pd
import pytest

from lib.plan.study import Study, studies
from lib.studies import glossary


@pytest.mark.parametrize("scale", ["smoke", "paper"])
@pytest.mark.parametrize("study", studies())
def test_every_scenario_of_the_project_is_explained(study, scale):
    plan = Study(study, scale, data_dir=None)
    plan.resolve()
    names = [name for name, kind in plan.folders if kind == "finetune"]
    assert len(names) > 3 and [name for name in names if glossary.meaning(study, name) == "–"] == []


def test_scenarios_of_ones_own_have_a_dash():
    assert glossary.meaning("herbert", "mine") == "–" == glossary.meaning("another", "S0")
    assert glossary.meaning("cascade", "cascade_by_2-4") == "4 layers, by cascade_by_2"
    assert (
        glossary.meaning("cascade", "truncated-3")
        == "the teacher's lowest 3 layers as they are: the control"
    )


def test_the_tables():
    results = pd.DataFrame(
        {"study": ["herbert"] * 3, "scenario": ["S0", "S0", "T1"], "layers": [2, 2, 4]}
    )
    table = glossary.scenarios(results)
    assert list(table.index) == [("herbert", "S0"), ("herbert", "T1")]
    assert table.loc[("herbert", "S0"), "what it is"] == "random, not pretrained"
    terms = glossary.terms()["meaning"]
    assert len(terms) > 20 and terms.str.endswith(".").all()
