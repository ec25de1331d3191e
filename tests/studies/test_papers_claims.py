"""The claims of the papers: what their entries compute from the printed tables. Every claim's
verdicts: test_claims_flip."""

import math

import pytest

from lib.studies.transfer_set import printed_suites
from tests.helpers.made_up import BERT, DISTILBERT, TRANSFER
from tests.helpers.papers_claims import BY_ID, BY_STUDY, CLAIMS

AGAINST_ITSELF = {
    "cascade-assistants-help": "004 quotes it of others; its own cascade is below one hop"
}


def test_all_claims_are_there():
    assert [len(claims) for claims in BY_STUDY.values()] == [30, 24, 24, 20]
    assert len(BY_ID) == len(CLAIMS)
    assert {claim.source[:3] for claim in BY_STUDY["transfer_set"]} == {"001"}
    assert {claim.source[:3] for claim in BY_STUDY["ablation"]} == {"000", "001", "002", "004"}


def test_claims_on_held_out_text_are_claims_of_the_papers_once_more():
    """At the same place of the source, which prints no such loss."""
    for claim in (claim for claim in CLAIMS if claim.id.endswith("-held-out")):
        assert math.isnan(claim.paper_value) and claim.unit == "nats" and claim.matters == 0.02
        assert "loss on held-out text" in claim.claim, claim.id
        same = [
            other for other in CLAIMS if other.id.startswith(claim.id.removesuffix("-held-out"))
        ]
        assert [other.source for other in same].count(claim.source) > 1, claim.id


def test_every_paper_value_lies_in_its_own_claimed_region():
    for claim in CLAIMS:
        inside = claim.expected[0] < claim.paper_value < claim.expected[1]
        assert inside != (claim.id in AGAINST_ITSELF) or math.isnan(claim.paper_value), claim.id


@pytest.mark.parametrize(
    "id, value",
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
        ("transfer-set-small-competitive-glue", 100 * 70.0 / 74.9),
        ("transfer-set-squad-gains", 2.1),
        ("transfer-set-squad-gains-more", 11.9 - 2.5),
        ("transfer-set-noise-hurts-squad-more", 29.9 - 13.3),
        ("transfer-set-noise-poor-squad", 100 * 37.3 / 82.3),
        ("transfer-set-below-distilbert", 1.8),
        ("ablation-keeps-97", 100 * 77.0 / 79.5),
        ("ablation-keeps-95", 95),
        ("ablation-does-well", 100 * 51.3 / 56.3),
        ("ablation-40-percent-smaller", 60),
        ("ablation-each-costs", 0.31),
        ("ablation-soft-costs-most", 1.5),
        ("ablation-random-costs-most", 0.73),
        ("ablation-soft-over-hard", 2.96 - 0.31),
        ("ablation-hard-targets-help", 0.31),
        ("ablation-above-bert-on-wnli", 2.8),
        ("ablation-below-bert-elsewhere", 1.1),
    ],
)
def test_paper_values_follow_from_the_printed_tables(id, value):
    assert BY_ID[id].paper_value == pytest.approx(value, abs=0.006)


def test_levels_of_these_tests_are_the_printed_ones():
    assert BERT["mnli"] == 84.7 and sum(DISTILBERT.values()) / 9 == pytest.approx(77.0, abs=0.05)
    for name, (glue, squad) in TRANSFER.items():
        assert printed_suites(name).iloc[0].tolist() == [glue, *squad]
