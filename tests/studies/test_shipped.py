"""Students in int8 and with a cut vocabulary, on made-up results."""

import numpy as np
import pytest

from lib.studies import shipped, tradeoff
from tests.helpers.drawn import overlaps
from tests.studies import test_tradeoff

LOST = 0.4
"""Points that every score loses in int8."""
COST = {"mib": 2.0, "latency_s": 2e-3, "latency_low_s": 1.9e-3, "latency_high_s": 2.1e-3}
COSTS = {"fp32": COST, "int8": COST | {"mib": 0.5, "latency_s": 1e-3}}
RECIPE, SPENT = {"teacher": "x"}, {"summary": {"tokens_seen": 6_000_000}}
STAGES = {
    "direct-6": {"parameters": RECIPE | {"vocabulary": "corpus", "output_dir": "a"}, **SPENT},
    "cascade-6": {"parameters": RECIPE | {"vocabulary": "", "output_dir": "b"}, **SPENT},
}


@pytest.fixture(scope="module")
def made():
    """All four studies, of which the cascade's `direct-6` has a cut vocabulary."""
    analysis, results = test_tradeoff.analysis(), test_tradeoff.results()
    keys = results[["study", "scenario"]].drop_duplicates().itertuples(index=False)
    analysis.results.repeats = {(*key, "finetune"): {1: {"key": tuple(key)}} for key in keys}
    analysis.results.by_scenario = lambda kind, study: STAGES if study == "cascade" else {}
    return analysis


def measure(lost=LOST, costs=COSTS):
    """Every score of the first seed of a fine-tuning, less so many points."""

    def of_one(result: dict, tasks: set[str]):
        rows = test_tradeoff.results()
        rows = rows[(rows["study"] == result["key"][0]) & (rows["scenario"] == result["key"][1])]
        rows = rows[rows["task"].isin(tasks) & (rows["seed"] == rows["seed"].min())]
        rows = rows[["seed", "task", "language", "metric", "value"]]
        return rows.assign(value=rows["value"] - lost), costs

    return lambda finetunings: [of_one(*one) for one in finetunings]


def files(made, **more):
    students = tradeoff.students(made)
    chosen = tradeoff.best(students)
    return students, shipped.shipped(made, students, chosen, measure(**more))


def test_each_study_s_best_and_the_cut_one_in_fp32_and_int8(made):
    students, frame = files(made)
    best = set(zip(tradeoff.best(students)["study"], tradeoff.best(students)["scenario"]))
    assert set(zip(frame["study"], frame["scenario"])) == best | {("cascade", "direct-6")}
    int8, fp32 = frame[frame["int8"]], frame[~frame["int8"]]
    assert len(int8) == len(fp32) and int8["loss"].to_numpy() == pytest.approx(LOST)
    assert fp32["score"].to_numpy() - int8["score"].to_numpy() == pytest.approx(LOST)
    row = int8[int8["study"] == "herbert"].iloc[0]
    own = students[students["scenario"] == row["scenario"]].iloc[0]
    assert (row["size_share"], row["latency_share"]) == pytest.approx((50 / 4, 50 / 2))
    assert 0 < own["kept"] - row["kept"] < 2 * LOST

    table = shipped.table(frame, made)
    cut = table[table.index.get_level_values("student") == "direct-6"].droplevel([0, 1])
    assert list(cut.index) == ["fp32, vocabulary cut", "int8, vocabulary cut"]
    assert list(cut["against"]) == ["cascade-6", "fp32"] and "–" not in list(cut["MiB"])
    assert "which is what `make export` allows" in shipped.paragraph(frame, made)


def test_what_loses_too_much_is_said(made):
    text = shipped.paragraph(files(made, lost=1.5)[1], made)
    assert "−1.5 points, in 25 % of the size and 50 % of the time" in text and "so refuses" in text


def test_busy_machines_and_models_that_were_not_kept_leave_no_gap(made):
    busy = COSTS | {"int8": COST | {"latency_s": None}}
    students, frame = files(made, costs=busy)
    assert frame.loc[frame["int8"], "latency_share"].isna().all()
    assert "nan" not in shipped.table(frame, made).to_string() + shipped.paragraph(frame, made)
    tradeoff.figure(students, made, frame)
    nothing = shipped.shipped(
        made, students, tradeoff.best(students), lambda all: [None for _ in all]
    )
    assert nothing.empty and shipped.shown(nothing, made) == []


def test_the_figure_shows_them_half_filled(made):
    students, frame = files(made)
    figure = tradeoff.figure(students, made, frame)
    half = [[line.get_fillstyle() for line in ax.lines].count("left") for ax in figure.axes]
    assert half == [frame["int8"].sum(), frame["int8"].sum(), 0]
    assert np.isfinite(frame.loc[frame["int8"], "kept"]).all() and overlaps(figure) == []
    assert "In int8:" in tradeoff.describe(students, made, frame)
    assert "Half filled" in tradeoff.caption(made, frame)
