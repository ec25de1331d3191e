"""For every claim of the papers: made-up results by which it holds, others that contradict it,
others that leave it unresolved.

Each claim reaches each of the three verdicts, so there is no list of those that cannot.
"""

import math
from collections.abc import Callable
from functools import cache

import pandas as pd
import pytest

from lib.report.claims import evaluate
from lib.report.outcomes import TASK
from lib.report.results import LATENCY
from tests.helpers import made_up
from tests.helpers.made_up import (
    ABLATED,
    CASCADE,
    DISTILBERT,
    HERBERT,
    LOSSES,
    NO_EFFICIENCY,
    NO_RESULTS,
    TRANSFER,
    lower,
)
from tests.helpers.papers_claims import CLAIMS

STUDY = {claim.id: claim.study.name for claim in CLAIMS}
MAKE = {
    "herbert": (made_up.herbert, HERBERT),
    "transfer_set": (made_up.transfer_set, TRANSFER),
    "ablation": (
        made_up.ablation,
        ABLATED
        | {
            name: (ABLATED[name], squad)
            for name, squad in (("teacher", (73.9, 82.3)), ("triple", (69.6, 78.7)))
        }
        | {"temperature1": lower(2), "temperature4": lower(0.5), "temperature8": lower(1)},
    ),
    "cascade": (
        made_up.cascade,
        CASCADE | {"cascade_by_2-6": (70, 60, 60, 60, 50, 45)},
    ),
}
"""The papers' levels, at which every claim holds unless HOLDS says otherwise; noise so small that
all is decided."""


def models(study: str, **how) -> pd.DataFrame:
    """Models of BERT's size and of its student's."""
    names = {
        "transfer_set": ["teacher", "corpus10pct"],
        "ablation": ["teacher", "triple", "half_width"],
        "cascade": ["teacher", "cascade-6", "direct-6"],
    }
    return (
        made_up.herbert_models(**how)
        if study == "herbert"
        else made_up.efficiency(study, names[study], **how)
    )


def with_cascade(**parameters) -> pd.DataFrame:
    """The cascade's models, some with other numbers of parameters."""
    frame = models("cascade")
    for name, value in parameters.items():
        frame.loc[frame["scenario"] == name.replace("_", "-"), "parameters"] = value
    return frame


def with_half_width(latency: float) -> pd.DataFrame:
    """The ablation's models, that of half the width with this latency in seconds."""
    frame = models("ablation")
    frame.loc[frame["scenario"] == "half_width", list(LATENCY)] = latency
    return frame


def losses(study: str, changes: dict[str, float]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The change of the results to other losses on held-out text."""

    def change(results: pd.DataFrame) -> pd.DataFrame:
        scores = results[results["task"] != TASK]
        return pd.concat([scores, made_up.held_out(study, LOSSES[study] | changes)])

    return change


HOLDS = {
    "ablation-layers-matter-most-for-speed": with_half_width(0.01),
    "ablation-half-the-size": models("ablation", student=(54.7e6, 208.8, 0.004)),
    "cascade-assistants-help": {"direct-6": (70, 60, 50, 50, 50, 40)},
}
"""Where the paper's own numbers contradict what it says: what would bear it out."""

AGAINST = {
    "herbert-s4-best-ner": {"S4": (87.3, 75.1, 70.0)},
    "herbert-s4-best-in": {"S4": (70.0, 75.1, 82.2)},
    "herbert-s3-second-out": {"S3": (86.1, 85.0, 80.6)},
    "herbert-s3-best-out": {"S3": (86.1, 60.0, 80.6)},
    "herbert-distilled-best-out": {"S4": (87.3, 50.0, 82.2)},
    "herbert-s0-worst": {"S0": (95.0, 59.7, 53.2)},
    "herbert-s1-over-s0": {"S1": (81.3, 40.0, 68.3)},
    "herbert-mlm-improves": {"S1": (40.0, 40.0, 40.0)},
    "herbert-mlm-improves-held-out": losses("herbert", {"S1": 5.0}),
    "herbert-s2-over-s1": {"S2": (85.1, 74.1, 50.0)},
    "herbert-s2-over-s1-held-out": losses("herbert", {"S2": 4.5}),
    "herbert-distillation-improves": {"S3": (60.0, 60.0, 60.0)},
    "herbert-distillation-improves-held-out": losses("herbert", {"S3": 3.5}),
    "herbert-s3-s2-slight": {"S3": (96.0, 86.0, 90.0)},
    "herbert-s3-over-s2": {"S3": (86.1, 76.1, 70.0)},
    "herbert-s4-over-s3": {"S4": (60.0, 60.0, 60.0)},
    "herbert-s4-over-s3-held-out": losses("herbert", {"S4": 3.0}),
    "herbert-s4-not-everywhere": {"S4": (95.0, 85.0, 95.0)},
    "herbert-order": {"S2": (60.0, 60.0, 60.0)},
    "herbert-order-held-out": losses("herbert", {"S2": 4.5}),
    "herbert-below-teacher": {"S4": (87.3, 75.1, 99.0)},
    "herbert-half-layers-not-half-size": models("herbert", student=50e6),
    "herbert-share": models("herbert", student=70e6),
    "herbert-teacher-parameters": models("herbert", teacher=128e6),
    "herbert-student-parameters": models("herbert", student=85e6),
    "herbert-teacher-size": models("herbert", teacher_mib=400.0),
    "herbert-size": models("herbert", student_mib=400.0),
    "herbert-tokens-teacher": models("herbert", tokens=4e9),
    "herbert-tokens-student": models("herbert", tokens=4e9),
    "herbert-short-training": models("herbert", tokens=4e9),
    "transfer-set-small-competitive-glue": {"corpus0.1pct": (60, (45, 56))},
    "transfer-set-small-acceptable-squad": {"corpus0.1pct": (70, (20, 56))},
    "transfer-set-smaller-costs": {"corpus0.1pct": (80, (45, 56))},
    "transfer-set-smaller-costs-held-out": losses("transfer_set", {"corpus0.1pct": 1.5}),
    "transfer-set-glue-marginal": {"corpus0.1pct": (65, (45, 56))},
    "transfer-set-glue-little-from-1-to-10": {"corpus1pct": (70, (54, 66))},
    "transfer-set-squad-gains": {"corpus1pct": (72, (70, 66))},
    "transfer-set-squad-gains-more": {"corpus0.1pct": (50, (45, 56))},
    "transfer-set-noise-hurts-glue": {"generated": (80, (27, 37))},
    "transfer-set-noise-hurts-squad": {"generated": (59, (27, 80))},
    "transfer-set-noise-hurts-held-out": losses("transfer_set", {"generated": 1.5}),
    "transfer-set-noise-hurts-squad-more": {"generated": (20, (27, 37))},
    "transfer-set-noise-acceptable-glue": {"generated": (20, (27, 37))},
    "transfer-set-noise-poor-squad": {"generated": (59, (27, 60))},
    "transfer-set-generated-below-randomised-glue": {"generated": (70, (27, 37))},
    "transfer-set-generated-below-randomised-held-out": losses("transfer_set", {"generated": 3.5}),
    "transfer-set-generated-above-randomised-squad": {"generated": (59, (27, 10))},
    "transfer-set-below-teacher": {"corpus1pct": (80, (54, 66))},
    "transfer-set-below-distilbert": {"corpus1pct": (80, (54, 66))},
    "transfer-set-smaller": models("transfer_set", student=(120e6, 500, 0.008)),
    "transfer-set-faster": models("transfer_set", student=(66e6, 250, 0.02)),
    "transfer-set-parameters": models("transfer_set", student=(54.7e6, 208.8, 0.004)),
    "transfer-set-size": models("transfer_set", student=(54.7e6, 208.8, 0.004)),
    "transfer-set-speed": models("transfer_set", student=(54.7e6, 208.8, 0.004)),
    "ablation-keeps-97": {"triple": lower(5)},
    "ablation-keeps-95": {"triple": lower(5)},
    "ablation-does-well": {"triple": (DISTILBERT, (69.6, 60.0))},
    "ablation-each-costs": {"without_mlm": lower(-2)},
    "ablation-each-costs-held-out": losses("ablation", {"without_mlm": 1.5}),
    "ablation-soft-costs-most": {"without_mlm": lower(4)},
    "ablation-soft-costs-most-held-out": losses("ablation", {"without_mlm": 3.5}),
    "ablation-mlm-costs-least": {"without_mlm": lower(4)},
    "ablation-mlm-costs-least-held-out": losses("ablation", {"without_mlm": 3.0}),
    "ablation-cosine-between": {"without_cosine": lower(4)},
    "ablation-random-costs-most": {"random_init": lower(0)},
    "ablation-random-costs-most-held-out": losses("ablation", {"random_init": 3.0}),
    "ablation-soft-over-hard": {"without_mlm": lower(4)},
    "ablation-soft-over-hard-held-out": losses("ablation", {"without_mlm": 3.5}),
    "ablation-hard-targets-help": {"without_mlm": lower(-2)},
    "ablation-hard-targets-help-held-out": losses("ablation", {"without_mlm": 1.5}),
    "ablation-high-temperature": {"temperature8": lower(5)},
    "ablation-high-temperature-held-out": losses("ablation", {"temperature8": 3.5}),
    "ablation-above-bert-on-wnli": {"triple": DISTILBERT | {"wnli": 50.0}},
    "ablation-below-bert-elsewhere": {"triple": DISTILBERT | {"rte": 75.0}},
    "ablation-layers-matter-most-for-speed": with_half_width(0.006),
    "ablation-half-the-layers": lambda results: results.replace({"layers": {6: 4}}),
    "ablation-half-the-size": models("ablation"),
    "ablation-40-percent-smaller": models("ablation", student=(80e6, 300, 0.008)),
    "cascade-average": {"cascade-6": (70, 60, 50, 50, 50, 40)},
    "cascade-assistants-help": {},
    "cascade-below-direct": {"direct-6": (70, 60, 50, 50, 50, 40)},
    "cascade-below-direct-held-out": losses("cascade", {"direct-6": 3.0}),
    "cascade-below-direct-everywhere": {"direct-6": (90, 60, 80, 80, 80, 80)},
    "cascade-first-below-direct": {"direct-6": (75, 70, 69, 72, 65, 55)},
    "cascade-first-below-direct-held-out": losses("cascade", {"direct-6": 2.2}),
    "cascade-each-layer-costs": {"cascade-8": (85, 75, 70, 70, 65, 60)},
    "cascade-each-layer-costs-held-out": losses("cascade", {"cascade-8": 2.15}),
    "cascade-near-untrained": {"truncated-6": (60, 50, 50, 50, 45, 40)},
    "cascade-near-untrained-held-out": losses("cascade", {"truncated-6": 2.6}),
    "cascade-more-assistants": {"cascade_by_2-6": (90, 80, 80, 80, 70, 70)},
    "cascade-first-warmup": losses("cascade", {"usual_warmup-11": 1.5}),
    "cascade-english-best": {"cascade-9": (60, 69, 65, 65, 60, 56)},
    "cascade-urdu-worst": {"cascade-6": (76, 62, 60, 60, 51, 55)},
    "cascade-english-loses-least": {"cascade-6": (60, 62, 60, 60, 51, 49)},
    "cascade-arabic-loses-most": {"cascade-6": (76, 50, 60, 60, 51, 49)},
    "cascade-same-size": with_cascade(direct_6=60e6),
    "cascade-smaller": with_cascade(cascade_6=120e6),
    "cascade-faster": models("cascade", student=(66e6, 250, 0.02)),
}
"""For each claim what refutes it: levels of some scenarios, other models, or a change of the
results."""
ON_MODELS = {id for id, change in AGAINST.items() if isinstance(change, pd.DataFrame)}
COUNTED = [
    claim for claim in CLAIMS if claim.id in ON_MODELS or claim.id == "ablation-half-the-layers"
]
SAMPLED = [claim for claim in CLAIMS if claim not in COUNTED]


NOISE = {"cascade": 20}
"""Enough to leave everything open; 150 for the other studies."""


def frames(claim, change=None, **how) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(results, efficiency) of the claim's study with one change."""
    study = STUDY[claim.id]
    if isinstance(change, pd.DataFrame):
        return as_printed(study), change
    if isinstance(change, dict) or how:
        return scored(study, change or {}, **how), models(study)
    return change(as_printed(study)) if change else as_printed(study), models(study)


def scored(study: str, change: dict, seeds: int = 5, noise: float = 0.05) -> pd.DataFrame:
    """Scores with one change, and the loss on held-out text. A point is taken for 0.02 nats."""
    make, levels = MAKE[study]
    known = made_up.held_out(study, LOSSES[study], repeats=seeds, noise=0.02 * noise)
    return pd.concat([make(levels | change, seeds=seeds, noise=noise), known])


@cache
def as_printed(study: str) -> pd.DataFrame:
    return scored(study, {})


def verdict(claim, tables) -> str:
    return row(claim, tables)["verdict"]


def row(claim, tables) -> pd.Series:
    return evaluate(*tables, claims=[claim]).iloc[0]


def test_every_claim_is_here():
    assert list(AGAINST) == [claim.id for claim in CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_it_holds(claim):
    assert verdict(claim, frames(claim, HOLDS.get(claim.id))) == "holds"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_it_is_contradicted(claim):
    assert verdict(claim, frames(claim, AGAINST[claim.id])) == "contradicted"


@pytest.mark.parametrize("claim", SAMPLED, ids=lambda c: c.id)
def test_it_is_open_under_noise_and_with_one_seed(claim):
    noisy = row(claim, frames(claim, noise=NOISE.get(STUDY[claim.id], 150)))
    assert noisy["verdict"] == "unresolved" and noisy["n"] == 5
    one = row(claim, frames(claim, seeds=1))
    assert one["verdict"] == "unresolved" and one["n"] == 1 and math.isnan(one["ci_low"])


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_it_is_open_when_nothing_was_measured(claim):
    none = row(claim, (NO_RESULTS, NO_EFFICIENCY))
    assert none["verdict"] == "unresolved" and none["n"] == 0 and math.isnan(none["measured"])


@pytest.mark.parametrize("claim", [claim for claim in COUNTED if claim.asks], ids=lambda c: c.id)
def test_what_is_said_of_a_size_is_left_open_by_others(claim):
    toys = (
        {"teacher": 2e6, "student": 1.4e6}
        if STUDY[claim.id] == "herbert"
        else {"teacher": (2e6, 8, 0.002)}
    )
    assert verdict(claim, (NO_RESULTS, models(STUDY[claim.id], **toys))) == "unresolved"
