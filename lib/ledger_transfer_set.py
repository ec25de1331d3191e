"""The claims of 001, Transfer Dataset Size and Composition Effects. Machinery and verdict rule stand in `lib.claims`.

The slides' words for sizes are read by one rule: "competitive" is at least 90 % of the teacher's score, "acceptable" more
than half of it, "poor" less than half, "not much" under 1 point for ten times the text, "marginal" under 3 points in all.
What they say of SQuAD has to hold for exact match and for F1.

Not in the ledger: that the replica of the Toronto BookCorpus is faithful (001, Table 4), since the original is not to be had.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from lib import papers
from lib.claims import (
    Claim,
    about,
    above,
    at_size,
    below,
    gains,
    largest,
    ratio,
    shares,
    smallest,
)
from lib.transfer_set_tables import STUDY, paper_suites, suites

GLUE, SQUAD = ["glue"], ["exact_match", "f1"]
ALL = GLUE + SQUAD
LARGE, MIDDLE, SMALL = SIZES = ["corpus10pct", "corpus1pct", "corpus0.1pct"]
NOISE = ["randomised", "generated"]
NATURAL_OVER_NOISE = [(LARGE, noise) for noise in NOISE]


def _claim(
    id: str,
    place: str,
    claim: str,
    parts: Callable,
    expected: tuple[float, float] = above(0),
    pick: Callable = smallest,
) -> Claim:
    """A claim on scores. `parts(of)` are its comparisons; they measure our seeds and the paper's single run alike."""
    return Claim(
        f"transfer-set-{id}",
        f"001, {place}",
        claim,
        round(pick(parts(paper_suites)).value, 2),
        lambda results, efficiency: pick(parts(partial(suites, results))),
        expected,
    )


def more_on_squad(pairs: list[tuple[str, str]]) -> Callable:
    """Per-seed difference of differences: what better - worse is on SQuAD (EM, F1), less what it is on GLUE, in points."""

    def parts(of: Callable) -> list:
        return [
            (of(better)[metric] - of(worse)[metric] - of(better)["glue"] + of(worse)["glue"]).dropna()
            for better, worse in pairs
            for metric in SQUAD
        ]

    return parts


def _network(id: str, claim: str, fact: str, column: str, expected: tuple[float, float], own_size: bool) -> Claim:
    """A claim of Table 3 on the teacher's value over the student's. `own_size`: of BERT-base alone."""
    measure = ratio(STUDY, "teacher", LARGE, column)
    if own_size:
        measure = at_size(measure, STUDY, "teacher", papers.fact("001", "teacher_parameters"))
    return Claim(f"transfer-set-{id}", "001, Table 3", claim, papers.fact("001", fact), measure, expected)


TRANSFER_SET = [
    _claim(
        "small-competitive-glue",
        "summary of results",
        "0.1 % of the corpus is competitive on GLUE: at least 90 % of the teacher's score.",
        shares([SMALL], "teacher", GLUE),
        above(90),
    ),
    _claim(
        "small-acceptable-squad",
        "summary of results",
        "0.1 % of the corpus is acceptable on SQuAD: more than half of the teacher's EM and F1.",
        shares([SMALL], "teacher", SQUAD),
        above(50),
    ),
    _claim(
        "smaller-costs",
        "answer to RQ 1",
        "A smaller transfer set costs on GLUE and on SQuAD (10 % against 0.1 %).",
        gains([(LARGE, SMALL)], ALL),
    ),
    _claim(
        "glue-marginal",
        "answer to RQ 1",
        "On GLUE that cost is marginal: under 3 points from 10 % to 0.1 %.",
        gains([(LARGE, SMALL)], GLUE),
        below(3),
    ),
    _claim(
        "glue-little-from-1-to-10",
        "Table 6",
        "GLUE hardly gains from 1 % to 10 %: under 1 point.",
        gains([(LARGE, MIDDLE)], GLUE),
        below(1),
    ),
    _claim(
        "squad-gains",
        "summary of results",
        "SQuAD gains at each step to a larger set (0.1 % to 1 % to 10 %).",
        gains(list(pairwise(SIZES)), SQUAD),
    ),
    _claim(
        "squad-gains-more",
        "answer to RQ 1",
        "SQuAD benefits more than GLUE from a larger set (0.1 % to 10 %).",
        more_on_squad([(LARGE, SMALL)]),
    ),
    _claim(
        "noise-hurts-glue",
        "answer to RQ 2",
        "Randomised and generated text both cost on GLUE.",
        gains(NATURAL_OVER_NOISE, GLUE),
    ),
    _claim(
        "noise-hurts-squad",
        "answer to RQ 2",
        "Randomised and generated text both cost on SQuAD.",
        gains(NATURAL_OVER_NOISE, SQUAD),
    ),
    _claim(
        "noise-hurts-squad-more",
        "answer to RQ 2",
        "Both cost more on SQuAD than on GLUE.",
        more_on_squad(NATURAL_OVER_NOISE),
    ),
    _claim(
        "noise-acceptable-glue",
        "summary of results",
        "With either noise GLUE stays acceptable: more than half of the teacher's score.",
        shares(NOISE, "teacher", GLUE),
        above(50),
    ),
    _claim(
        "noise-poor-squad",
        "summary of results",
        "With either noise SQuAD is poor: less than half of the teacher's EM and F1.",
        shares(NOISE, "teacher", SQUAD),
        below(50),
        largest,
    ),
    _claim(
        "generated-below-randomised-glue",
        "Table 9",
        "Generated text is worse than randomised text on GLUE.",
        gains([("randomised", "generated")], GLUE),
    ),
    _claim(
        "generated-above-randomised-squad",
        "Table 10",
        "Generated text is better than randomised text on SQuAD.",
        gains([("generated", "randomised")], SQUAD),
    ),
    _claim(
        "below-teacher",
        "Tables 6, 7, 9, 10",
        "The teacher is above every student on GLUE and SQuAD.",
        gains([("teacher", student) for student in [*SIZES, *NOISE]], ALL),
    ),
    _claim(
        "below-distilbert",
        "Tables 6, 7, 9, 10",
        "DistilBERT is above every student on GLUE and SQuAD.",
        gains([("DistilBERT", student) for student in [*SIZES, *NOISE]], ALL),
    ),
    _network(
        "faster",
        "The student is faster than its teacher (ratio of times above 1).",
        "speed_ratio",
        "latency_s",
        above(1),
        own_size=False,
    ),  # fmt: skip
    _network(
        "speed",
        "The student of BERT-base is 1.83 times as fast (within 0.2).",
        "speed_ratio",
        "latency_s",
        about(1.83, 0.2),
        own_size=True,
    ),  # fmt: skip
    _network(
        "parameters",
        "The student of BERT-base has 1.65 times fewer parameters (within 0.02).",
        "parameter_ratio",
        "parameters",
        about(1.65, 0.02),
        own_size=True,
    ),  # fmt: skip
    _network(
        "size",
        "The student of BERT-base is 1.65 times smaller on disk (within 0.02).",
        "size_ratio",
        "size_mib",
        about(1.65, 0.02),
        own_size=True,
    ),  # fmt: skip
]
