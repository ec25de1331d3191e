"""Every claim of 001 and 002 can hold, be contradicted and stay open, on made-up results."""

import math

import pandas as pd
import pytest

from lib.claims import evaluate, gains, largest, shares, smallest
from lib.ledger import BY_STUDY, CLAIMS
from lib.ledger_ablation import ABLATION
from lib.ledger_transfer_set import SQUAD, TRANSFER_SET, more_on_squad
from lib.transfer_set_tables import paper_suites
from tests import made_up
from tests.made_up import ABLATED, BERT, DISTILBERT, NO_EFFICIENCY, NO_RESULTS, TRANSFER, lower

QUICK = {"noise": 0.05}
"""Noise so small that the papers' own distances are all decided."""
BOTH = [*TRANSFER_SET, *ABLATION]


def frames(claim, change: dict | None = None, **how):
    """(results, efficiency) of the claim's study at the papers' levels, some changed; models of BERT's size."""
    transfer = claim in TRANSFER_SET
    levels = (TRANSFER if transfer else ABLATED) | (change or {})
    make = made_up.transfer_set if transfer else made_up.ablation
    study = "transfer_set" if transfer else "ablation"
    return make(levels, **{**QUICK, **how}), made_up.efficiency(study, levels)


def row(claim, results, efficiency) -> pd.Series:
    return evaluate(results, efficiency, claims=[claim]).iloc[0]


# For each claim on scores, a change that refutes it.
REFUTED = {
    "transfer-set-small-competitive-glue": {"corpus0.1pct": (60, (45, 56))},
    "transfer-set-small-acceptable-squad": {"corpus0.1pct": (70, (20, 56))},
    "transfer-set-smaller-costs": {"corpus0.1pct": (80, (45, 56))},
    "transfer-set-glue-marginal": {"corpus0.1pct": (65, (45, 56))},
    "transfer-set-glue-little-from-1-to-10": {"corpus1pct": (70, (54, 66))},
    "transfer-set-squad-gains": {"corpus1pct": (72, (70, 66))},
    "transfer-set-squad-gains-more": {"corpus0.1pct": (50, (45, 56))},
    "transfer-set-noise-hurts-glue": {"generated": (80, (27, 37))},
    "transfer-set-noise-hurts-squad": {"generated": (59, (27, 80))},
    "transfer-set-noise-hurts-squad-more": {"generated": (20, (27, 37))},
    "transfer-set-noise-acceptable-glue": {"generated": (20, (27, 37))},
    "transfer-set-noise-poor-squad": {"generated": (59, (27, 60))},
    "transfer-set-generated-below-randomised-glue": {"generated": (70, (27, 37))},
    "transfer-set-generated-above-randomised-squad": {"generated": (59, (27, 10))},
    "transfer-set-below-teacher": {"corpus1pct": (80, (54, 66))},
    "transfer-set-below-distilbert": {"corpus1pct": (80, (54, 66))},
    "ablation-keeps-97": {"triple": lower(5)},
    "ablation-keeps-95": {"triple": lower(5)},
    "ablation-each-costs": {"without_mlm": lower(-2)},
    "ablation-soft-costs-most": {"without_mlm": lower(4)},
    "ablation-mlm-costs-least": {"without_mlm": lower(4)},
    "ablation-cosine-between": {"without_cosine": lower(4)},
    "ablation-random-costs-most": {"random_init": lower(0)},
    "ablation-above-bert-on-wnli": {"triple": DISTILBERT | {"wnli": 50.0}},
    "ablation-below-bert-elsewhere": {"triple": DISTILBERT | {"rte": 75.0}},
}
ON_SCORES = [claim for claim in BOTH if claim.id in REFUTED]


def test_the_ledger_is_whole():
    assert CLAIMS == [claim for claims in BY_STUDY.values() for claim in claims]
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.source[:3] for claim in TRANSFER_SET} == {"001"} and {claim.source[:3] for claim in ABLATION} == {
        "002"
    }


@pytest.mark.parametrize("claim", BOTH, ids=lambda c: c.id)
def test_a_papers_own_value_lies_in_the_region_it_claims(claim):
    assert claim.expected[0] < claim.paper_value < claim.expected[1]


@pytest.mark.parametrize("claim", [c for c in BOTH if c.id != "ablation-half-the-size"], ids=lambda c: c.id)
def test_each_claim_holds_on_results_like_the_papers(claim):
    assert row(claim, *frames(claim))["verdict"] == "holds"


@pytest.mark.parametrize("claim", ON_SCORES, ids=lambda c: c.id)
def test_each_claim_on_scores_can_be_contradicted(claim):
    assert row(claim, *frames(claim, REFUTED[claim.id]))["verdict"] == "contradicted"


@pytest.mark.parametrize("claim", ON_SCORES, ids=lambda c: c.id)
def test_each_claim_on_scores_is_open_under_noise_with_one_seed_and_with_none(claim):
    assert row(claim, *frames(claim, noise=150))["verdict"] == "unresolved"
    one = row(claim, *frames(claim, seeds=1))
    assert one["verdict"] == "unresolved" and one["n"] == 1 and math.isnan(one["ci_low"])
    none = row(claim, NO_RESULTS, NO_EFFICIENCY)
    assert none["verdict"] == "unresolved" and none["n"] == 0 and math.isnan(none["measured"])


COUNTED = ["transfer-set-parameters", "transfer-set-size", "transfer-set-speed", "ablation-half-the-size"]


@pytest.mark.parametrize("claim", [c for c in BOTH if c.id in COUNTED], ids=lambda c: c.id)
def test_claims_about_berts_own_size(claim):
    study = "transfer_set" if claim in TRANSFER_SET else "ablation"
    names = ["teacher", "corpus10pct", "triple"]
    measured = {
        "as BERT": row(claim, NO_RESULTS, made_up.efficiency(study, names)),
        "half": row(claim, NO_RESULTS, made_up.efficiency(study, names, student=(54.7e6, 208.8, 0.004))),
        "toy": row(claim, NO_RESULTS, made_up.efficiency(study, names, (2e6, 8, 0.002), (1.2e6, 4.8, 0.001))),
    }
    half_is_claimed = claim.id == "ablation-half-the-size"
    assert measured["as BERT"]["verdict"] == ("contradicted" if half_is_claimed else "holds")
    assert measured["half"]["verdict"] == ("holds" if half_is_claimed else "contradicted")
    assert measured["toy"]["verdict"] == "unresolved"


def test_counted_claims_at_any_size():
    faster = next(c for c in TRANSFER_SET if c.id == "transfer-set-faster")
    slow = made_up.efficiency("transfer_set", ["teacher", "corpus10pct"], student=(66e6, 250, 0.02))
    assert row(faster, NO_RESULTS, slow)["verdict"] == "contradicted"
    layers = next(c for c in ABLATION if c.id == "ablation-half-the-layers")
    results = made_up.ablation()
    assert row(layers, results, NO_EFFICIENCY)["measured"] == 50
    results.loc[results["scenario"] == "triple", "layers"] = 4
    assert row(layers, results, NO_EFFICIENCY)["verdict"] == "contradicted"


@pytest.mark.parametrize(
    "id, value",
    [
        ("transfer-set-small-competitive-glue", 100 * 70.0 / 74.9),
        ("transfer-set-squad-gains", 2.1),
        ("transfer-set-squad-gains-more", 11.9 - 2.5),
        ("transfer-set-noise-hurts-squad-more", 29.9 - 13.3),
        ("transfer-set-noise-poor-squad", 100 * 37.3 / 82.3),
        ("transfer-set-below-distilbert", 1.8),
        ("ablation-keeps-97", 100 * 77.0 / 79.5),
        ("ablation-each-costs", 0.31),
        ("ablation-soft-costs-most", 1.5),
        ("ablation-random-costs-most", 0.73),
        ("ablation-above-bert-on-wnli", 2.8),
        ("ablation-below-bert-elsewhere", 1.1),
    ],
)
def test_paper_values_follow_from_the_printed_tables(id, value):
    assert next(claim for claim in BOTH if claim.id == id).paper_value == pytest.approx(value, abs=0.006)


def test_the_largest_mirrors_the_smallest():
    parts = [pd.Series([1.0, 2.0, 3.0]), pd.Series([4.0, 4.5, 5.0])]
    up, down = largest(parts), smallest([-part for part in parts])
    assert up.value == 4.5 == -down.value and (up.low, up.high) == (-down.high, -down.low)
    assert smallest(parts).value == 2.0 and smallest([*parts, pd.Series(dtype=float)]).n == 0


def test_parts_read_the_papers_tables_as_they_read_ours():
    gained = gains([("teacher", "corpus10pct")], SQUAD)(paper_suites)
    assert [round(float(part.iloc[0]), 1) for part in gained] == [17.0, 13.8]
    assert shares(["generated"], "teacher", ["f1"])(paper_suites)[0].iloc[0] == pytest.approx(100 * 37.3 / 82.3)
    excess = more_on_squad([("corpus10pct", "randomised")])(paper_suites)
    assert [round(float(part.iloc[0]), 1) for part in excess] == [40.5, 44.6]


def test_levels_of_these_tests_are_the_printed_ones():
    assert BERT["mnli"] == 84.7 and sum(DISTILBERT.values()) / 9 == pytest.approx(77.0, abs=0.05)
    for name, (glue, squad) in TRANSFER.items():
        assert paper_suites(name).iloc[0].tolist() == [glue, *squad]
