"""The machinery of the claims, on made-up results of the herbert study. Every claim's verdicts:
test_claims_flip."""

import math

import pandas as pd
import pytest

from lib.report import claims
from lib.report.claims import COLUMNS, Evidence, about, above, below, evaluate, verdict
from lib.report.statistics import paired_difference
from lib.studies import registry
from lib.studies.herbert import HERBERT, HERBERT_TASKS, IN, NER, OUT
from tests.helpers.made_up import HERBERT as HERBERT_LEVELS
from tests.helpers.made_up import NO_EFFICIENCY, herbert, herbert_models

REVERSED = dict(zip(HERBERT_LEVELS, reversed(HERBERT_LEVELS.values())))
REVERSED |= {"S2": (89, 79, 93), "S3": (80, 70, 80), "S4": (79, 69, 79)}
MODELS, TOYS = herbert_models(), herbert_models(2e6, 1.4e6, 7.6, 5.3, 1e6)


def verdicts(*tables) -> dict:
    return evaluate(*tables, registry.CLAIMS).set_index("id")["verdict"].to_dict()


def test_the_columns_are_the_contracts():
    table = evaluate(herbert(), MODELS, registry.CLAIMS)
    assert list(table.columns) == COLUMNS
    assert table["id"].is_unique and len(table) == len(registry.CLAIMS) >= 18
    assert set(table["verdict"]) <= {"holds", "contradicted", "unresolved"}
    assert table["source"].str.match(r"00[0124], ").all()


def test_claims_about_herberts_own_size_are_left_open_by_toy_models():
    found = verdicts(herbert(), TOYS)
    assert {found[c.id] for c in HERBERT if c.asks} == {"unresolved"}
    assert found["herbert-half-layers-not-half-size"] == found["herbert-short-training"] == "holds"


@pytest.mark.parametrize(
    "claim, value",
    [
        ("herbert-s4-best-ner", 1.6),
        ("herbert-s4-best-in", 0.7),
        ("herbert-s3-best-out", 0.2),
        ("herbert-s0-worst", 0.3),
        ("herbert-s3-over-s2", 0.4),
        ("herbert-s4-over-s3", 0.7),
        ("herbert-s4-not-everywhere", -0.2),
        ("herbert-order", 0.63),
        ("herbert-below-teacher", 3.6),
        ("herbert-share", 65),
        ("herbert-short-training", 5.4),
    ],
)
def test_paper_values_follow_from_the_papers_table(claim, value):
    assert next(c for c in HERBERT if c.id == claim).paper_value == pytest.approx(value)


AGAINST_ITSELF = {
    "cascade-assistants-help": "004 quotes it of others; its own cascade is below one hop"
}


def test_every_paper_value_lies_in_its_own_claimed_region():
    for c in registry.CLAIMS:
        inside = c.expected[0] < c.paper_value < c.expected[1]
        assert inside != (c.id in AGAINST_ITSELF) or math.isnan(c.paper_value), c.id


def test_the_verdict_rule():
    assert verdict(Evidence(1, 0.5, 1.5, 5), above(0)) == "holds"
    assert verdict(Evidence(-1, -1.5, -0.5, 5), above(0)) == "contradicted"
    assert verdict(Evidence(1, -0.5, 2.5, 5), above(0)) == "unresolved"
    assert verdict(Evidence(1, 0.5, 1.5, 5), below(0)) == "contradicted"
    assert verdict(Evidence(1, 0.5, 1.5, 5), about(1, 1)) == "holds"
    assert verdict(Evidence(3, 2.5, 3.5, 5), about(1, 1)) == "contradicted"
    assert verdict(Evidence(2, 1.5, 2.5, 5), about(1, 1)) == "unresolved"
    assert verdict(Evidence(0, 0, 0, 5), above(0)) == "unresolved"
    assert verdict(Evidence(9, math.nan, math.nan, 1), above(0)) == "unresolved"
    assert verdict(Evidence(9, 9, 9, 1), above(0)) == "holds", "counted"
    assert verdict(Evidence(9, 9, 9, 5), above(0)) == "unresolved", (
        "five seeds that all give the same"
    )


def test_the_protocol_chooses_the_rows():
    both = pd.concat([herbert(), herbert(REVERSED, protocol="best_epoch")])
    assert evaluate(both, MODELS, registry.CLAIMS).equals(
        evaluate(herbert(), MODELS, registry.CLAIMS)
    )
    best = evaluate(both, MODELS, registry.CLAIMS, protocol="best_epoch").set_index("id")
    assert best.loc["herbert-distillation-improves", "verdict"] == "contradicted"


def test_a_seed_without_all_tasks_does_not_count():
    rows = herbert()
    rows = rows[~((rows["scenario"] == "S3") & (rows["seed"] == 4) & (rows["task"] == OUT))]
    assert (
        evaluate(rows, MODELS, registry.CLAIMS)
        .set_index("id")
        .loc["herbert-distillation-improves", "n"]
        == 4
    )


def test_one_pair_on_one_task_is_the_plain_paired_difference():
    rows = herbert()
    found = claims.smallest_gain("herbert", [("S4", "S3")], HERBERT_TASKS, [NER])(
        rows, NO_EFFICIENCY
    )
    s3, s4 = (
        rows[(rows["scenario"] == s) & (rows["task"] == NER)].set_index("seed")["value"]
        for s in ("S3", "S4")
    )
    assert found[:3] == pytest.approx(paired_difference(s4, s3)) and found.n == 5


def test_the_smallest_gain_pays_for_looking_at_many_only_at_its_high_end():
    pairs = [("S4", "S3"), ("S4", "S2")]
    many = claims.smallest_gain("herbert", pairs, HERBERT_TASKS, [IN])(herbert(), NO_EFFICIENCY)
    plain = [
        claims.smallest_gain("herbert", [p], HERBERT_TASKS, [IN])(herbert(), NO_EFFICIENCY)
        for p in pairs
    ]
    assert many.low == min(p.low for p in plain)
    assert many.value == min(p.value for p in plain)
    assert many.high > min(p.high for p in plain)
