"""The parts of the report that belong to no single study, on a few made-up stages."""

from html import escape
from pathlib import Path

import pandas as pd
import pytest

from lib.common.places import ROOT
from lib.plan.schema import read_scenarios
from lib.report import overview, papers
from lib.report.results import Results
from lib.report.wording import plain
from tests.helpers.made_up import NO_RESULTS


def stage(kind: str, study: str, name: str, seconds: float = 60, **parameters) -> dict:
    folder = f"outputs/tiny/{study}/{name}/{kind}"
    spent = {"tokens_seen": 900, "train_seconds": 30.0, "padding_share": 0.1, "waiting_share": 0.01}
    made = {"statistics": {"tokens": 600}} if kind == "data_prep" else {"summary": spent}
    values = {"output_dir": folder, **parameters}
    return {
        "stage": kind,
        "parameters": values,
        "stage_seconds": seconds,
        "peak_memory_mib": 512.0,
        **made,
    }


class Found:
    """As results.Results, of a few stages."""

    folder, studies = Path("outputs/tiny"), ["ablation", "herbert"]

    def __init__(self):
        tuned = {
            "model": "outputs/tiny/herbert/S0/distillation/model",
            "model_revision": None,
            "seed": 0,
        }
        self.stages = {
            ("ablation", "triple", "distillation"): stage(
                "distillation", "ablation", "triple", temperature=2.0, seed=0
            ),
            ("herbert", "S0", "finetune"): stage("finetune", "herbert", "S0", **tuned)
            | {"scores": [{"task": "a", "seed": 1}]},
            ("herbert", "S3", "distillation"): stage(
                "distillation", "herbert", "S3", temperature=4.0, seed=0
            ),
            ("herbert", "S4", "distillation"): stage(
                "distillation", "herbert", "S4", temperature=8.0, seed=0
            ),
            ("herbert", "corpus_teacher", "data_prep"): stage(
                "data_prep",
                "herbert",
                "corpus_teacher",
                sources=[{"kind": "toy", "lines": 5}],
                sample_of="",
                folder=f"{ROOT}/text",
            ),
        }

    models, is_toy = Results.models, Results.is_toy

    def distinct(self):
        return [(study, stage) for (study, _, _), stage in self.stages.items()]

    def corpora(self, study):
        index = ["lines read", "dropped: blank", "dropped: duplicate"]
        return pd.DataFrame({"teacher": ["9", "0", "0"], "transfer": ["8", "–", "1"]}, index=index)


def test_parameters_stand_once_unless_studies_or_scenarios_differ():
    table = overview.parameters(Found())["value"]
    assert table["distillation", "seed"] == "0"
    assert table["distillation", "temperature"] == "HerBERT: 4.0 · 8.0; DistilBERT: 2.0", (
        "in the studies' order"
    )
    assert table["data prep", "sources"] == "toy 5" and table["data prep", "sample_of"] == "–"
    assert table["data prep", "folder"] == "text" and table["finetune", "model"] == "S0"
    assert list(dict.fromkeys(key[0] for key in table.index)) == [
        "data prep",
        "distillation",
        "finetune",
    ]
    assert "output_dir" not in table.index.get_level_values("parameter")
    nothing = Found()
    nothing.stages = {}
    assert overview.parameters(nothing).empty


def test_many_values_are_counted():
    found = Found()
    for n in range(9):
        found.stages["herbert", f"X{n}", "distillation"] = stage(
            "distillation", "herbert", f"X{n}", temperature=n / 10, seed=0
        )
    assert (
        "HerBERT: 11 different values"
        in overview.parameters(found)["value"]["distillation", "temperature"]
    )


def test_stages_stand_by_study_in_the_order_in_which_they_run():
    table = overview.stage_costs(Found())
    assert list(table.index) == [
        ("herbert", "data prep"),
        ("herbert", "distillation"),
        ("herbert", "finetune"),
        ("ablation", "distillation"),
    ]
    assert (
        table.loc[("herbert", "distillation"), "time"] == "2:00"
        and table.loc[("herbert", "distillation"), "share"] == "40 %"
    )


def test_facts_say_what_ran_when_and_at_what_cost():
    facts = overview.facts(Found(), NO_RESULTS)
    assert list(facts) == ["Scale", "Models", "Hardware", "Versions", "Date", "Cost"]
    assert facts["Scale"].startswith("tiny: toy languages")
    assert (
        facts["Cost"]
        == "5 stages, 5 minutes of computing time in all; 3,600 tokens trained on; at most 0.5 "
        "GiB of memory"
    )


def test_repeats_count_among_the_models_and_the_fine_tunings():
    class Twice(Found):
        def distinct(self):
            stages = super().distinct()
            [(study, first)] = [pair for pair in stages if pair[1]["stage"] == "finetune"]
            places = {"model": "another", "output_dir": "another"}
            return [*stages, (study, first | {"parameters": first["parameters"] | places})]

    assert overview.facts(Found(), NO_RESULTS)["Models"].startswith("1, fine-tuned 1 times")
    assert overview.facts(Twice(), NO_RESULTS)["Models"].startswith(
        "1, with their repeats 2, fine-tuned 2 times"
    )


def test_a_reason_that_dropped_no_line_is_not_listed():
    html = overview.corpora_table(Found().corpora("herbert")).data
    assert "lines read" in html and "duplicate" in html and "blank" not in html


@pytest.mark.parametrize("study", ["ablation", "cascade", "herbert", "transfer_set"])
def test_every_study_says_what_it_asks_and_after_whom(study):
    about = read_scenarios(study)
    text = overview.questions([study], {})
    assert f"](#{about.title.replace(' ', '-')})" in text and plain(about.question) in text
    html = "".join(table.data for table in overview.sources_table([study]))
    assert escape(papers.sources()[about.source]["title"]) in html and study in html


def test_toy_languages_are_said_to_be_toys():
    empty = pd.DataFrame(columns=["id", "verdict", "n"])
    toy, other = Found(), Found()
    other.stages["herbert", "corpus_teacher", "data_prep"]["parameters"]["sources"] = []
    assert "toy languages" in overview.opening(toy, empty)
    assert "toy" not in overview.opening(other, empty)
