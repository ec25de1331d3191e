"""Every scenario and term is explained."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lib.plan.study import Study, studies_with
from lib.report.section import Analysis
from lib.studies import glossary, registry


def table(study: str, names: list[str]) -> pd.Series:
    final = pd.DataFrame({"study": study, "scenario": names, "layers": 2})
    return glossary.scenarios(SimpleNamespace(studies=registry.declared([study]), final=final))[
        "what it is"
    ].droplevel("study")


@pytest.mark.parametrize("scale", ["smoke", "paper"])
@pytest.mark.parametrize("study", studies_with("paper"))
def test_every_scenario_of_the_project_is_explained(study, scale):
    plan = Study(study, scale, data_dir=None)
    plan.resolve()
    names = [name for name, kind, _ in plan.folders if kind == "finetune"]
    explained = table(study, names)
    assert len(names) > 3 and set(explained.index) == set(names)
    assert "–" not in set(explained)


def test_undeclared_scenarios_have_a_dash():
    explained = table("cascade", ["truncated-3", "mine"])
    assert dict(explained) == {"truncated-3": "control: no training", "mine": "–"}


def test_terms():
    studies = registry.declared(["herbert"])
    analysis = Analysis(None, studies, {"herbert": [None]}, None, None, None, None)
    meanings = glossary.terms(analysis)["meaning"]
    assert len(meanings) > 20 and meanings.str.endswith(".").all()
