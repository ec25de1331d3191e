"""Every claim of 004 can hold, be contradicted and stay open, on made-up results of any depth."""

import math

import pandas as pd
import pytest

from lib.claims import evaluate
from lib.ledger_cascade import CASCADE as CLAIMS
from tests import made_up
from tests.made_up import CASCADE, NO_EFFICIENCY, NO_RESULTS


def row(claim, results, efficiency=NO_EFFICIENCY) -> pd.Series:
    return evaluate(results, efficiency, claims=[claim]).iloc[0]


MODELS = made_up.efficiency("cascade", ["teacher", "cascade-6", "direct-6", "cascade-3", "direct-3"])
PRINTS_NONE = {"cascade-near-untrained", "cascade-more-assistants", "cascade-smaller", "cascade-faster"}
WITH_ALL = CASCADE | {"cascade_by_2-6": (70, 60, 60, 60, 50, 45)}
REFUTED = {
    "cascade-average": {"cascade-6": (70, 60, 50, 50, 50, 40)},
    "cascade-below-direct": {"direct-6": (70, 60, 50, 50, 50, 40)},
    "cascade-below-direct-everywhere": {"direct-6": (90, 60, 80, 80, 80, 80)},
    "cascade-first-below-direct": {"direct-6": (75, 70, 69, 72, 65, 55)},
    "cascade-each-layer-costs": {"cascade-8": (85, 75, 70, 70, 65, 60)},
    "cascade-near-untrained": {"truncated-6": (60, 50, 50, 50, 45, 40)},
    "cascade-more-assistants": {"cascade_by_2-6": (90, 80, 80, 80, 70, 70)},
    "cascade-english-best": {"cascade-9": (60, 69, 65, 65, 60, 56)},
    "cascade-urdu-worst": {"cascade-6": (76, 62, 60, 60, 51, 55)},
    "cascade-english-loses-least": {"cascade-6": (60, 62, 60, 60, 51, 49)},
    "cascade-arabic-loses-most": {"cascade-6": (76, 50, 60, 60, 51, 49)},
}
ON_SCORES = [claim for claim in CLAIMS if claim.id in REFUTED]


def test_every_claim_is_on_scores_or_on_models():
    assert {claim.id for claim in CLAIMS} == {*REFUTED, "cascade-same-size", "cascade-smaller", "cascade-faster"}
    assert {claim.source[:4] for claim in CLAIMS} == {"004,"}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_a_printed_value_lies_in_the_region_it_claims(claim):
    if claim.id in PRINTS_NONE:
        assert math.isnan(claim.paper_value)
    else:
        assert claim.expected[0] < claim.paper_value < claim.expected[1]


@pytest.mark.parametrize(
    "id, value",
    [
        ("cascade-average", 60.1),
        ("cascade-below-direct", 70.3 - 60.1),
        ("cascade-below-direct-everywhere", 81.5 - 76.8),
        ("cascade-first-below-direct", 70.3 - 69.2),
        ("cascade-each-layer-costs", 67.0 - 66.4),
        ("cascade-english-best", 81.0 - 73.3),
        ("cascade-urdu-worst", 51.5 - 49.6),
        ("cascade-english-loses-least", (57.1 - 49.6) - (81.0 - 76.8)),
        ("cascade-arabic-loses-most", (64.6 - 51.5) - (73.3 - 62.1)),
    ],
)
def test_paper_values_follow_from_table_3(id, value):
    assert next(claim for claim in CLAIMS if claim.id == id).paper_value == pytest.approx(value, abs=0.006)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_each_claim_holds_on_results_like_the_papers(claim):
    assert row(claim, made_up.cascade(WITH_ALL, noise=0.05), MODELS)["verdict"] == "holds"


@pytest.mark.parametrize("claim", ON_SCORES, ids=lambda c: c.id)
def test_each_claim_on_scores_can_be_contradicted(claim):
    results = made_up.cascade(WITH_ALL | REFUTED[claim.id], noise=0.05)
    assert row(claim, results)["verdict"] == "contradicted"


@pytest.mark.parametrize("claim", ON_SCORES, ids=lambda c: c.id)
def test_each_claim_is_open_under_noise_with_one_seed_and_with_none(claim):
    assert row(claim, made_up.cascade(WITH_ALL, noise=20))["verdict"] == "unresolved"
    one = row(claim, made_up.cascade(WITH_ALL, seeds=1))
    assert one["verdict"] == "unresolved" and one["n"] == 1 and math.isnan(one["ci_low"])
    none = row(claim, NO_RESULTS)
    assert none["verdict"] == "unresolved" and none["n"] == 0 and math.isnan(none["measured"])


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_claims_are_asked_of_half_of_any_teacher(claim):
    levels = made_up.shallow() | {"cascade_by_2-4": (78, 69, 65, 66, 60, 55)}
    shallow = made_up.cascade(levels, toy=True, teacher=6, noise=0.05)
    found = row(claim, shallow, MODELS)
    if claim.id == "cascade-average":
        assert found["verdict"] == "unresolved" and found["n"] == 0, "60.1 % is of the paper's own languages and depth"
    else:
        assert found["verdict"] == "holds"


def test_the_printed_average_is_not_asked_of_toy_languages_of_the_same_depth():
    average = next(claim for claim in CLAIMS if claim.id == "cascade-average")
    assert row(average, made_up.cascade(toy=True))["n"] == 0


def test_claims_about_languages_that_are_not_there_stay_open():
    results = made_up.cascade({k: v[1:3] for k, v in CASCADE.items()}, languages=("es", "zh"), noise=0.05)
    open_ones = [claim.id for claim in ON_SCORES if row(claim, results)["n"] == 0]
    assert set(open_ones) == {"cascade-average", "cascade-english-best", "cascade-urdu-worst", "cascade-english-loses-least",
                              "cascade-arabic-loses-most", "cascade-more-assistants"}  # fmt: skip


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_teachers_too_shallow_for_a_claim_raise_nothing(layers):
    results = made_up.cascade({"teacher": CASCADE["teacher"], "cascade-1": CASCADE["cascade-6"]}, teacher=layers)
    assert set(evaluate(results, NO_EFFICIENCY, claims=CLAIMS)["verdict"]) <= {"unresolved", "holds"}
    assert row(CLAIMS[4], results)["n"] == 0
