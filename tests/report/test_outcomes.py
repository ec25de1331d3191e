"""The second outcomes, from the files of stages to claims and tables."""

from dataclasses import replace
from math import isnan

import numpy as np
import pandas as pd
import pytest

from lib.common import places
from lib.report import claims, tables
from lib.report.outcomes import BY_NAME, OUTCOMES, TASK, contributions
from lib.report.results import EXAMPLES, Results
from lib.report.scores import MEAN, by_task
from lib.studies import registry
from lib.training import probes
from tests.helpers import made_up

LOSS, KL, AGREEMENT = BY_NAME
POSITIONS = np.random.default_rng(0).integers(1, 9, 200)
STUDY = replace(registry.declared(["herbert"])["herbert"], scored=by_task)
REPEATS = (1, 2, 3)


def test_contributions_are_a_mean_over_positions_and_have_its_error():
    """The spread of the contributions is that of the ratio under new draws of the sequences."""
    random = np.random.default_rng(1)

    def drawn(count):
        positions = random.integers(1, 9, count)
        return pd.Series(positions * (2 + random.normal(size=count))), pd.Series(positions)

    sums, positions = drawn(400)
    found = contributions(sums, positions)
    assert found.mean() == pytest.approx(sums.sum() / positions.sum())
    means = [s.sum() / n.sum() for s, n in (drawn(400) for _ in range(2000))]
    assert found.std(ddof=1) / np.sqrt(400) == pytest.approx(np.std(means), rel=0.15)


def stage(folder, kind, teacher="", level=None, positions=POSITIONS, **parameters):
    """A result, and where `level` is given, its measurements: losses about that level, the
    teacher's about 2, KL 1 below the student's loss."""
    parameters |= {"output_dir": str(folder), "teacher": teacher}
    if level is not None:
        noise = np.random.default_rng(len(positions)).normal(size=len(positions))
        frame = pd.DataFrame({"sequence": range(len(positions)), "positions": positions})
        frame["mlm_loss"] = positions * (level + noise)
        frame["teacher_mlm_loss"] = positions * (2 + noise)
        frame["kl"], frame["agreement"] = frame["mlm_loss"] - positions, 50.0 * positions
        (places.ROOT / folder).mkdir(parents=True)
        frame.to_parquet(places.ROOT / folder / probes.FILE)
    return {"stage": kind, "parameters": parameters}


def finetuning(model, layers=6):
    parameters = {"model": model, "output_dir": "finetuned"}
    return {"parameters": parameters, "model": {"layers": layers}}


@pytest.fixture
def gathered(tmp_path, monkeypatch):
    """Teacher T1, its students S3 and S2 in three repeats, and a control that is the same in all;
    an assistant of a chain, and a student measured on other text."""
    monkeypatch.setattr(places, "ROOT", tmp_path)
    found = Results.__new__(Results)  # without reading a folder
    found.repeats = {
        ("herbert", "truncated", "distillation"): {1: stage("cut", "distillation", "t1", 5.0)},
        ("herbert", "T1", "finetune"): {r: finetuning("t1", 12) for r in REPEATS},
        ("herbert", "truncated", "finetune"): {r: finetuning("cut/model") for r in REPEATS},
        ("herbert", "elsewhere", "distillation"): {
            1: stage("other", "distillation", "t1", 4.0, POSITIONS[::-1])
        },
        ("herbert", "elsewhere", "finetune"): {1: finetuning("other/model")},
        ("herbert", "chain-3", "cascade_ta"): {
            1: stage("hop", "cascade_ta", "assistant", 4.5, first_teacher="t1")
        },
        ("herbert", "chain-3", "finetune"): {1: finetuning("hop/model", 3)},
    }
    for name, level in (("S3", 3.0), ("S2", 3.5)):
        teacher = "t2" if name == "S2" else "t1"
        found.repeats["herbert", name, "distillation"] = {
            r: stage(f"{name}/{r}", "distillation", teacher, level + r / 1000) for r in REPEATS
        }
        found.repeats["herbert", name, "finetune"] = {
            r: finetuning(f"{name}/{r}/model") for r in REPEATS
        }
    return found


@pytest.fixture
def results(gathered):
    """The outcomes, and scores of tasks with three repeats."""
    tasks = [made_up.herbert().assign(repeat=repeat) for repeat in REPEATS]
    return pd.concat([*tasks, gathered.outcomes()], ignore_index=True)


def test_every_model_has_a_row_for_each_repeat(gathered):
    frame = gathered.outcomes()
    assert set(frame["task"]) == {TASK} and set(frame["seed"]) == {0}
    counts = frame.groupby("scenario").size().to_dict()
    # The teacher has its loss alone; what was measured on other text has none.
    assert counts == {"T1": 3, "truncated": 9, "S3": 9, "S2": 9, "chain-3": 3}
    by = frame.set_index(["scenario", "metric", "repeat"])
    noise = np.random.default_rng(len(POSITIONS)).normal(size=len(POSITIONS))
    drift = (POSITIONS * noise).sum() / POSITIONS.sum()
    for repeat in REPEATS:
        assert by.loc[("T1", "mlm_loss", repeat), "value"] == pytest.approx(2 + drift)
        own = by.loc[("S3", "kl", repeat)]
        assert own["value"] == pytest.approx(2 + repeat / 1000 + drift)
        assert own[EXAMPLES].mean() == pytest.approx(own["value"])
        assert by.loc[("truncated", "agreement", repeat), "value"] == 50


def test_they_are_no_scores_of_tasks(results):
    scores = STUDY.scores(results, "S3")
    assert list(scores)[-3:] == [LOSS, KL, AGREEMENT] and len(scores) == 3 + 1 + 3
    tasks = results[results["task"] != TASK]
    assert list(scores[MEAN]) == pytest.approx(list(STUDY.scores(tasks, "S3")[MEAN]))
    assert scores[LOSS].index.name == "repeat" and list(scores[LOSS].index) == list(REPEATS)
    assert set(tables.columns_of(STUDY, results)).isdisjoint(BY_NAME)


def test_a_difference_on_the_same_words_is_precise(results):
    """Noise that the models share is gone, so only the repeats are left: 0.001 apart."""
    loss = {name: STUDY.scores(results, name)[LOSS] for name in ("S3", "S2", "truncated")}
    estimate = (loss["S3"] - loss["truncated"]).estimate()
    assert estimate.mean == pytest.approx(-1.998)
    assert estimate.standard_error == pytest.approx(0.001 / np.sqrt(3))
    assert loss["S3"].estimate().standard_error > 0.03
    assert (loss["S3"] - loss["S2"]).estimate().mean == pytest.approx(-0.5)


def test_the_table_compares_with_the_control_where_the_teacher_is_the_same(results):
    study = replace(
        STUDY,
        control="truncated",
        scenarios={"S3": {"teacher": "T1"}, "S2": {"teacher": "T2"}, "truncated": {}},
    )
    table = tables.outcomes_table(study, results)
    assert set(table.index) == {"T1", "truncated", "S3", "S2", "chain-3"}
    assert table.loc["S3", f"{LOSS}, less the control"].startswith("−1.998 [−2.00")
    assert table.loc["S3", f"{KL}, less the control"].startswith("−1.998 [")
    assert table.loc["S2", f"{LOSS}, less the control"].startswith("−1.498 [")
    assert table.loc["S2", f"{KL}, less the control"] == "–"
    assert table.loc["T1", f"{KL}, nats"] == "–" and " ± 0." in table.loc["T1", f"{LOSS}, nats"]
    assert table.loc["S3", f"{AGREEMENT}, %"] == "50.0 ± 0.0"
    assert tables.outcomes_table(study, results[results["task"] != TASK]).empty


def claim(**entry):
    return claims.ClaimEntry(place="page 1", claim="It is so.", **entry)


@pytest.mark.parametrize(
    "entry, unit",
    [
        ({"gain": {"better": "S3", "worse": "S2", "scores": LOSS}}, "nats"),
        ({"gain": {"better": "S3", "worse": "S2", "scores": [LOSS, KL]}}, "nats"),
        ({"score": {"scenarios": "S3", "scores": KL}}, "nats"),
        ({"gain": {"better": "S3", "worse": "S2", "scores": AGREEMENT}}, "points"),
        ({"gain": {"better": "S3", "worse": "S2", "scores": [LOSS, "mean"]}}, "points"),
        ({"share": {"scenarios": "S3", "scores": LOSS}}, "% of teacher"),
    ],
)
def test_a_claim_may_name_them(entry, unit):
    assert claim(**entry).unit == unit


def test_a_claim_is_measured_by_them(results):
    run = claims._run(STUDY, results, made_up.NO_EFFICIENCY)
    entry = {"better": "S3", "worse": "truncated", "scores": LOSS}
    found = claim(gain=entry).evidence(run)
    # A gain of a loss is what it is lower by.
    assert found.value == pytest.approx(1.998) and found.n == 3 and found.low > 0
    entry = {"order": ["S3", "S2", "truncated"], "scores": [LOSS, KL]}
    assert claim(gain=entry).evidence(run).value == pytest.approx(0.5)
    entry = {"better": "S3", "worse": "truncated", "scores": AGREEMENT}
    assert claim(gain=entry).evidence(run).value == pytest.approx(0)
    # "each" stands for tasks alone.
    columns = run.scores.columns(["each"], "S3")
    assert len(columns) == 3 and set(columns).isdisjoint(BY_NAME)
    assert isnan(claim(score={"scenarios": "T1", "scores": KL}).evidence(run).value)


def test_names_and_units():
    assert [(o.name, o.unit) for o in OUTCOMES.values()] == [
        ("held-out loss", "nats"),
        ("KL to the teacher", "nats"),
        ("agreement", "%"),
    ]
