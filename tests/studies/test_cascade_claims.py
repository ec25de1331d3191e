"""The claims of 004 at any depth and in any languages, on made-up results. Every claim's verdicts:
test_claims_flip."""

import pandas as pd
import pytest

from lib.report.claims import evaluate
from tests.helpers import made_up
from tests.helpers.made_up import CASCADE, LOSSES, NO_EFFICIENCY
from tests.helpers.papers_claims import BY_ID, BY_STUDY

CLAIMS = BY_STUDY["cascade"]


def row(claim, results, efficiency=NO_EFFICIENCY) -> pd.Series:
    return evaluate(results, efficiency, claims=[claim]).iloc[0]


MODELS = made_up.efficiency(
    "cascade", ["teacher", "cascade-6", "direct-6", "cascade-3", "direct-3"]
)
WITH_ALL = CASCADE | {"cascade_by_2-6": (70, 60, 60, 60, 50, 45)}
ON_SCORES = [
    claim
    for claim in CLAIMS
    if claim.id not in ("cascade-same-size", "cascade-smaller", "cascade-faster")
]


@pytest.mark.parametrize(
    "id, value",
    [
        ("cascade-average", 60.1),
        ("cascade-below-direct", 70.3 - 60.1),
        ("cascade-assistants-help", 60.1 - 70.3),
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
    assert BY_ID[id].paper_value == pytest.approx(value, abs=0.006)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_claims_are_asked_of_half_of_any_teacher(claim):
    levels = made_up.shallow() | {"cascade_by_2-4": (78, 69, 65, 66, 60, 55)}
    scores = made_up.cascade(levels, toy=True, teacher=6, noise=0.05)
    losses = made_up.shallow(LOSSES["cascade"]) | {"usual_warmup-5": 2.1}
    shallow = pd.concat([scores, made_up.held_out("cascade", losses)])
    found = row(claim, shallow, MODELS)
    if claim.id == "cascade-average":
        assert found["verdict"] == "unresolved" and found["n"] == 0, (
            "60.1 % is of the paper's own languages and depth"
        )
    elif claim.id == "cascade-assistants-help":
        assert found["verdict"] == "contradicted", "by the paper's own levels"
    else:
        assert found["verdict"] == "holds"


def test_the_printed_average_is_not_asked_of_toy_languages_of_the_same_depth():
    assert row(BY_ID["cascade-average"], made_up.cascade(toy=True))["n"] == 0


def test_claims_about_languages_that_are_not_there_stay_open():
    scores = made_up.cascade(
        {k: v[1:3] for k, v in CASCADE.items()}, languages=("es", "zh"), noise=0.05
    )
    results = pd.concat([scores, made_up.held_out("cascade", LOSSES["cascade"])])
    open_ones = [claim.id for claim in ON_SCORES if row(claim, results)["n"] == 0]
    assert set(open_ones) == {
        "cascade-average",
        "cascade-english-best",
        "cascade-urdu-worst",
        "cascade-english-loses-least",
        "cascade-arabic-loses-most",
        "cascade-more-assistants",
    }


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_teachers_too_shallow_for_a_claim_raise_nothing(layers):
    results = made_up.cascade(
        {"teacher": CASCADE["teacher"], "cascade-1": CASCADE["cascade-6"]}, teacher=layers
    )
    assert set(evaluate(results, NO_EFFICIENCY, claims=CLAIMS)["verdict"]) <= {
        "unresolved",
        "holds",
    }
    assert row(BY_ID["cascade-first-below-direct"], results)["n"] == 0
