"""Every claim of the ledger can hold, be contradicted and stay open, on made-up results."""

import math

import pandas as pd
import pytest

from lib import claims, ledger
from lib.claims import COLUMNS, Evidence, about, above, below, evaluate, verdict
from lib.ledger_herbert import HERBERT, HERBERT_TASKS, IN, NER, OUT
from lib.statistics import paired_difference

RESULTS = ["study", "scenario", "layers", "seed", "task", "language", "metric", "protocol", "epoch", "value"]
EFFICIENCY = [
    "study",
    "scenario",
    "model",
    "parameters",
    "size_mib",
    "latency_s",
    "tokens_seen",
    "tokens_per_parameter",
    "train_seconds",
    "tokens_per_second",
    "peak_memory_mib",
]
JITTER = {0: -0.1, 1: 0.0, 2: 0.1, 3: 0.05, 4: -0.05}
"""Five seeds; a scenario's own share of it keeps paired differences from being constant."""
NO_RESULTS, NO_EFFICIENCY = pd.DataFrame(columns=RESULTS), pd.DataFrame(columns=EFFICIENCY)

PAPER = {
    "S0": (80.8, 59.7, 53.2),
    "S1": (81.3, 60.5, 68.3),
    "S2": (85.1, 74.1, 79.1),
    "S3": (86.1, 76.1, 80.6),
    "S4": (87.3, 75.1, 82.2),
    "T1": (90.9, 80.4, 94.5),
}
"""The order of the report's Table 2, its closest pairs drawn a little apart: here every claim on scores holds."""
REVERSED = dict(zip(PAPER, reversed(PAPER.values()))) | {"S2": (89, 79, 93), "S3": (80, 70, 80), "S4": (79, 69, 79)}


def results(means: dict, noise: float = 0.3, seeds=JITTER, protocol: str = "final") -> pd.DataFrame:
    rows = []
    for k, (scenario, values) in enumerate(means.items()):
        for task, mean in zip(HERBERT_TASKS, values):
            rows += [
                (
                    "herbert",
                    scenario,
                    6,
                    seed,
                    task,
                    "pl",
                    "accuracy",
                    protocol,
                    8,
                    mean + noise * JITTER[seed] * (-1) ** k * (1 + k),
                )
                for seed in seeds
            ]
    return pd.DataFrame(rows, columns=RESULTS)


def efficiency(teacher: float, student: float, mib: float, tokens: float) -> pd.DataFrame:
    frame = pd.DataFrame(
        [["herbert", "T1", "teacher", teacher, 474.7], ["herbert", "S3", "student", student, mib]],
        columns=EFFICIENCY[:5],
    ).reindex(columns=EFFICIENCY)
    return frame.assign(tokens_seen=[float("nan"), tokens])


HERBERT_SIZE = efficiency(124.443e6, 81.325e6, 310.2, 436e6)
OTHER_SIZE = efficiency(124.443e6, 50e6, 190.0, 4e9)
TOY_SIZE = efficiency(2e6, 1.4e6, 5.3, 1e6)


def row(claim, *tables) -> pd.Series:
    return evaluate(*tables, claims=[claim]).iloc[0]


def verdicts(*tables) -> dict:
    return evaluate(*tables).set_index("id")["verdict"].to_dict()


def test_the_columns_are_the_contracts():
    table = evaluate(results(PAPER), HERBERT_SIZE)
    assert list(table.columns) == COLUMNS
    assert table["id"].is_unique and len(table) == len(ledger.CLAIMS) >= 18
    assert set(table["verdict"]) <= {"holds", "contradicted", "unresolved"}
    assert table["source"].str.match(r"00[0124], ").all()


def test_every_herbert_claim_holds_on_results_like_the_papers():
    found = verdicts(results(PAPER), HERBERT_SIZE)
    assert {id: found[id] for id in (c.id for c in HERBERT)} == {c.id: "holds" for c in HERBERT}


# For each claim, results that refute it: a change to PAPER, or another efficiency table.
REFUTED = {
    "herbert-s4-best-ner": {"S4": (87.3, 75.1, 70.0)},
    "herbert-s4-best-in": {"S4": (70.0, 75.1, 82.2)},
    "herbert-s3-best-out": {"S3": (86.1, 60.0, 80.6)},
    "herbert-distilled-best-out": {"S4": (87.3, 50.0, 82.2)},
    "herbert-s0-worst": {"S0": (95.0, 59.7, 53.2)},
    "herbert-s1-over-s0": {"S1": (81.3, 40.0, 68.3)},
    "herbert-mlm-improves": {"S1": (40.0, 40.0, 40.0)},
    "herbert-s2-over-s1": {"S2": (85.1, 74.1, 50.0)},
    "herbert-distillation-improves": {"S3": (60.0, 60.0, 60.0)},
    "herbert-s3-over-s2": {"S3": (86.1, 76.1, 70.0)},
    "herbert-s3-s2-slight": {"S3": (96.0, 86.0, 90.0)},
    "herbert-s4-over-s3": {"S4": (60.0, 60.0, 60.0)},
    "herbert-s4-not-everywhere": {"S4": (95.0, 85.0, 95.0)},
    "herbert-order": {"S2": (60.0, 60.0, 60.0)},
    "herbert-below-teacher": {"S4": (87.3, 75.1, 99.0)},
    "herbert-half-layers-not-half-size": OTHER_SIZE,
    "herbert-share": OTHER_SIZE,
    "herbert-size": OTHER_SIZE,
    "herbert-tokens-teacher": OTHER_SIZE,
    "herbert-tokens-student": OTHER_SIZE,
    "herbert-short-training": OTHER_SIZE,
}


@pytest.mark.parametrize("claim", HERBERT, ids=lambda c: c.id)
def test_each_claim_can_be_contradicted(claim):
    change = REFUTED[claim.id]
    tables = (results(PAPER | change), HERBERT_SIZE) if isinstance(change, dict) else (results(PAPER), change)
    assert row(claim, *tables)["verdict"] == "contradicted"


@pytest.mark.parametrize("claim", [c for c in HERBERT if isinstance(REFUTED[c.id], dict)], ids=lambda c: c.id)
def test_each_claim_on_scores_is_open_under_noise_with_one_seed_and_with_none(claim):
    assert row(claim, results(PAPER, noise=100), HERBERT_SIZE)["verdict"] == "unresolved"
    one = row(claim, results(PAPER, seeds=[1]), HERBERT_SIZE)
    assert one["verdict"] == "unresolved" and one["n"] == 1 and math.isnan(one["ci_low"])
    none = row(claim, NO_RESULTS, HERBERT_SIZE)
    assert none["verdict"] == "unresolved" and none["n"] == 0 and math.isnan(none["measured"])


def test_all_is_open_without_data():
    assert set(verdicts(NO_RESULTS, NO_EFFICIENCY).values()) == {"unresolved"}


def test_claims_about_herberts_own_size_are_left_open_by_toy_models():
    found = verdicts(results(PAPER), TOY_SIZE)
    sized = ["herbert-share", "herbert-size", "herbert-tokens-teacher", "herbert-tokens-student"]
    assert [found[id] for id in sized] == ["unresolved"] * 4
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


def test_every_paper_value_lies_in_its_own_claimed_region():
    for c in HERBERT:
        assert c.expected[0] < c.paper_value < c.expected[1], c.id


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


def test_the_protocol_chooses_the_rows():
    both = pd.concat([results(PAPER), results(REVERSED, protocol="best_epoch")])
    assert evaluate(both, HERBERT_SIZE).equals(evaluate(results(PAPER), HERBERT_SIZE))
    best = evaluate(both, HERBERT_SIZE, protocol="best_epoch").set_index("id")
    assert best.loc["herbert-distillation-improves", "verdict"] == "contradicted"


def test_a_seed_without_all_tasks_does_not_count():
    rows = results(PAPER)
    rows = rows[~((rows["scenario"] == "S3") & (rows["seed"] == 4) & (rows["task"] == OUT))]
    assert evaluate(rows, HERBERT_SIZE).set_index("id").loc["herbert-distillation-improves", "n"] == 4


def test_one_pair_on_one_task_is_the_plain_paired_difference():
    rows = results(PAPER)
    found = claims.smallest_gain("herbert", [("S4", "S3")], HERBERT_TASKS, [NER])(rows, NO_EFFICIENCY)
    s3, s4 = (rows[(rows["scenario"] == s) & (rows["task"] == NER)].set_index("seed")["value"] for s in ("S3", "S4"))
    assert found[:3] == pytest.approx(paired_difference(s4, s3)) and found.n == 5


def test_the_smallest_gain_pays_for_looking_at_many_only_at_its_high_end():
    pairs = [("S4", "S3"), ("S4", "S2")]
    many = claims.smallest_gain("herbert", pairs, HERBERT_TASKS, [IN])(results(PAPER), NO_EFFICIENCY)
    plain = [claims.smallest_gain("herbert", [p], HERBERT_TASKS, [IN])(results(PAPER), NO_EFFICIENCY) for p in pairs]
    assert many.low == min(p.low for p in plain)
    assert many.value == min(p.value for p in plain)
    assert many.high > min(p.high for p in plain)
