"""What the entries of 001 and 002 compute from the printed tables. Every claim's verdicts:
test_claims_flip."""

import pandas as pd
import pytest

from lib.report.claims import gains, largest, shares, smallest
from lib.studies.ablation import ABLATION
from lib.studies.registry import BY_STUDY, CLAIMS
from lib.studies.transfer_set import SQUAD, TRANSFER_SET, more_on_squad, paper_suites
from tests.helpers.made_up import BERT, DISTILBERT, TRANSFER

BOTH = [*TRANSFER_SET, *ABLATION]


def test_the_ledger_is_whole():
    assert CLAIMS == [claim for claims in BY_STUDY.values() for claim in claims]
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.source[:3] for claim in TRANSFER_SET} == {"001"}
    assert {claim.source[:3] for claim in ABLATION} == {"000", "002", "004"}


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
        ("ablation-keeps-95", 95),
        ("ablation-does-well", 100 * 51.3 / 56.3),
        ("ablation-40-percent-smaller", 60),
        ("ablation-each-costs", 0.31),
        ("ablation-soft-costs-most", 1.5),
        ("ablation-random-costs-most", 0.73),
        ("ablation-above-bert-on-wnli", 2.8),
        ("ablation-below-bert-elsewhere", 1.1),
    ],
)
def test_paper_values_follow_from_the_printed_tables(id, value):
    assert next(claim for claim in BOTH if claim.id == id).paper_value == pytest.approx(
        value, abs=0.006
    )


def test_the_largest_mirrors_the_smallest():
    parts = [pd.Series([1.0, 2.0, 3.0]), pd.Series([4.0, 4.5, 5.0])]
    up, down = largest(parts), smallest([-part for part in parts])
    assert up.value == 4.5 == -down.value and (up.low, up.high) == (-down.high, -down.low)
    assert smallest(parts).value == 2.0 and smallest([*parts, pd.Series(dtype=float)]).n == 0


def test_parts_read_the_papers_tables_as_they_read_ours():
    gained = gains([("teacher", "corpus10pct")], SQUAD)(paper_suites)
    assert [round(float(part.iloc[0]), 1) for part in gained] == [17.0, 13.8]
    assert shares(["generated"], "teacher", ["f1"])(paper_suites)[0].iloc[0] == pytest.approx(
        100 * 37.3 / 82.3
    )
    excess = more_on_squad([("corpus10pct", "randomised")])(paper_suites)
    assert [round(float(part.iloc[0]), 1) for part in excess] == [40.5, 44.6]


def test_levels_of_these_tests_are_the_printed_ones():
    assert BERT["mnli"] == 84.7 and sum(DISTILBERT.values()) / 9 == pytest.approx(77.0, abs=0.05)
    for name, (glue, squad) in TRANSFER.items():
        assert paper_suites(name).iloc[0].tolist() == [glue, *squad]
