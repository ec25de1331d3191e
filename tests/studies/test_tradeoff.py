"""The trade-off over all studies, on made-up results."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib.report import papers
from lib.report.latency import BUSY
from lib.report.results import LATENCY
from lib.report.section import Analysis
from lib.studies import registry, shipped, tradeoff
from tests.helpers import made_up
from tests.helpers.drawn import overlaps
from tests.studies.test_herbert import LEVEL
from tests.studies.test_herbert import made_up as herbert_results

SIZES = {
    "teacher": 100.0,
    "T1": 120.0,
    "T2": 120.0,
    "cascade-11": 92.0,
    "cascade-6": 60.0,
    "direct-6": 60.0,
    "truncated-6": 60.0,
}
NO_FILES = pd.DataFrame(columns=shipped.COLUMNS).astype({"int8": bool})
CHAINS = {
    name: made_up.CASCADE[name]
    for name in ("teacher", "cascade-11", "cascade-6", "direct-6", "truncated-6")
}


def results() -> pd.DataFrame:
    herbert = herbert_results()[0]
    frames = [
        herbert[herbert["protocol"] == "final"],
        made_up.transfer_set(),
        made_up.ablation(),
        made_up.cascade(CHAINS),
    ]
    return pd.concat(frames, ignore_index=True)


def efficiency(**changed) -> pd.DataFrame:
    """One size for every student but the assistants; `changed`: scenario -> columns."""
    rows = [
        {
            "study": study,
            "scenario": name,
            "parameters": SIZES.get(name, 60.0) * 1e6,
            **dict.fromkeys(LATENCY, SIZES.get(name, 60.0) / 1e4),
            "tokens_seen": 0 if name.startswith("truncated") else 6e6,
            "stage": "distillation",
        }
        | changed.get(name, {})
        for study, name in results()[["study", "scenario"]]
        .drop_duplicates()
        .itertuples(index=False)
    ]
    return pd.DataFrame(rows)


def analysis(scores=None, models=None, stages=None) -> Analysis:
    """All four studies; `stages`: what the cascade's hops published."""
    scores = results() if scores is None else scores
    models = efficiency() if models is None else models
    own_stages = lambda kind, study: (stages or {}) if study == "cascade" else {}  # noqa: E731
    gathered = SimpleNamespace(by_scenario=own_stages)
    studies = registry.declared(registry.WITH_METHOD)
    return Analysis(gathered, studies, {}, scores, scores, models, pd.DataFrame())


def table(*parts, **more) -> pd.DataFrame:
    return tradeoff.students(analysis(*parts, **more))


@pytest.fixture(scope="module")
def students() -> pd.DataFrame:
    return table()


def row(students, study, scenario):
    return students[(students["study"] == study) & (students["scenario"] == scenario)].iloc[0]


def test_every_student_of_every_study_and_no_teacher(students):
    assert list(students.columns) == tradeoff.COLUMNS
    assert set(students["study"]) == set(registry.WITH_METHOD)
    assert not set(students["scenario"]) & {"teacher", "T1", "T2"}
    assert set(students.loc[students["study"] == "herbert", "scenario"]) == set(LEVEL) - {
        "T1",
        "T2",
    }
    assert set(students.loc[students["control"], "scenario"]) == {"truncated", "truncated-6"}


def test_shares_are_of_the_study_s_own_teacher_seed_by_seed(students):
    triple = row(students, "ablation", "triple")
    glue = made_up.ablation()
    by_seed = (
        glue[glue["metric"] != "accuracy_mismatched"]
        .groupby(["scenario", "task", "seed"])["value"]
        .mean()
    )
    macro = by_seed.groupby(["scenario", "seed"]).mean()
    assert triple["kept"] == pytest.approx((100 * macro["triple"] / macro["teacher"]).mean())
    assert triple["low"] < triple["kept"] < triple["high"] and triple["n"] == 5
    assert row(students, "herbert", "S3")["parameters_share"] == pytest.approx(50)
    assert row(students, "cascade", "cascade-11")["latency_share"] == pytest.approx(92)
    assert triple["tokens_per_parameter"] == pytest.approx(0.1)


@pytest.mark.parametrize(("timed", "words"), [("S3", "1 student"), ("T1", "6 students")])
def test_where_the_machine_was_busy_no_latency_is_shown(timed, words):
    models = efficiency(**{timed: {"latency_s": np.nan}})
    found, made = table(models=models), analysis(models=models)
    shown = tradeoff.students_table(found, made).loc["HerBERT", "S3"]
    assert shown["of its latency, %"] == BUSY
    assert (shown["latency, ms"] == BUSY) == (timed == "S3")
    panel = tradeoff.figure(found, made, NO_FILES).axes[1]
    assert any(words in text.get_text() and BUSY in text.get_text() for text in panel.texts)


def test_tokens_of_a_chain_and_of_a_model_from_a_hub():
    stages = {"cascade-6": {"parameters": {"teacher": "x"}, "summary": {"tokens_seen": 9_000_000}}}
    hub = {"DistilBERT": {"tokens_seen": 0, "stage": None}}
    found = table(models=efficiency(**hub), stages=stages)
    assert row(found, "cascade", "cascade-6")["tokens_seen"] == 9e6
    assert np.isnan(row(found, "transfer_set", "DistilBERT")["tokens_seen"])
    assert row(found, "herbert", "truncated")["tokens_seen"] == 0


@pytest.mark.parametrize(
    "cost, kept, on",
    [
        ([1, 2, 3], [80, 90, 95], [True, True, True]),
        ([1, 2, 3], [90, 80, 95], [True, False, True]),
        ([1, 1, 2], [80, 90, 90], [False, True, False]),  # as dear and worse; as good and dearer
        ([1, 1], [90, 90], [True, True]),
        ([np.nan, 1], [99, 90], [False, True]),
        ([], [], []),
    ],
)
def test_the_front(cost, kept, on):
    assert tradeoff.front(pd.Series(cost, dtype=float), pd.Series(kept, dtype=float)).tolist() == on


def test_the_front_turns_with_the_numbers(students):
    assert not row(students, "herbert", "S0")["on_front"]
    small = table(models=efficiency(S0={"parameters": 10e6}))
    assert row(small, "herbert", "S0")["on_front"]


def test_the_papers_students_come_from_their_tables():
    found = tradeoff.printed_students().set_index("label")
    glue = papers.table("002", "glue")["score"]
    assert found.loc["DistilBERT", "kept"] == pytest.approx(
        100 * glue["DistilBERT"] / glue["BERT-base"]
    )
    assert found.loc["randomised", "kept"] == pytest.approx(100 * 64.8 / 74.9)
    assert found["size_share"].unique() == pytest.approx([100 * 66.4 / 109.5]) and len(found) == 6


def test_tables_say_what_training_gave_over_the_control(students):
    best = tradeoff.best_table(students, analysis())
    assert list(best.index) == ["HerBERT", "Transfer sets", "DistilBERT", "CAMeMBERT"]
    assert best.loc["HerBERT", "untrained"] == "truncated"
    assert best.loc["HerBERT", "gain over it [95 %]"].startswith("+")
    assert best.loc["DistilBERT", "untrained"] == "–"
    whole = tradeoff.students_table(students, analysis())
    assert len(whole) == len(students) and "±" in whole.iloc[0]["score kept, %"]


def test_the_paragraph_goes_as_far_as_the_intervals(students):
    text = tradeoff.paragraph(students, analysis())
    assert f" of {len(students)} students keep less" in text and ", 0 keep more" in text
    assert "the same layers untrained" in text and "(it helped)" in text
    one = results()[results()["seed"] == 1]
    assert "(one run)" in tradeoff.paragraph(table(one), analysis(one))
    assert "±" not in tradeoff.students_table(table(one), analysis(one)).iloc[0]["score kept, %"]


def test_nothing_measured():
    empty = analysis(made_up.NO_RESULTS, made_up.NO_EFFICIENCY)
    nothing = tradeoff.students(empty)
    assert nothing.empty and list(nothing.columns) == tradeoff.COLUMNS
    assert "Not measured" in tradeoff.paragraph(nothing, empty)
    assert tradeoff.best_table(nothing, empty).empty
    assert tradeoff.students_table(nothing, empty).empty
    assert "nothing was measured" in tradeoff.describe(nothing, empty, NO_FILES)
    assert len(tradeoff.shown(nothing, empty, NO_FILES)) == 1, "no figure and no table of nothing"


def test_without_sizes_the_shares_stay():
    unsized = analysis(models=made_up.NO_EFFICIENCY)
    students = tradeoff.students(unsized)
    assert students["kept"].notna().all() and not students["on_front"].any()
    assert students["parameters_share"].isna().all()
    tradeoff.figure(students, unsized, NO_FILES)
    text = tradeoff.paragraph(students, unsized) + tradeoff.describe(students, unsized, NO_FILES)
    assert "nan" not in text + tradeoff.students_table(students, unsized).to_string()


def test_a_study_whose_teacher_guesses_has_costs_and_no_share():
    made = analysis()
    for name in made.studies:
        study = made.studies[name]
        made.studies[name] = replace(study, guessing={study.main: 100})
        students = tradeoff.students(made)
        text = tradeoff.paragraph(students, made)
        assert f"No share is given for {made.studies['herbert'].short}" in text, text
        whole = tradeoff.students_table(students, made)
        row = whole.loc[study.short].iloc[0]
        assert (row["score kept, %"], row["runs"]) == ("–", "–") and row["parameters"] != "–"
        shown = text + tradeoff.describe(students, made, NO_FILES) + whole.to_string()
        assert "nan" not in shown + tradeoff.best_table(students, made).to_string()
        every_teacher_guesses = name == list(made.studies)[-1]
        assert len(tradeoff.shown(students, made, NO_FILES)) == (1 if every_teacher_guesses else 4)


def test_the_figure_shows_each_student_in_three_panels_and_the_papers(students):
    figure = tradeoff.figure(students, analysis(), NO_FILES)
    assert [ax.get_xlabel() for ax in figure.axes] == list(tradeoff.COSTS.values())
    for ax, diamonds in zip(figure.axes, (1, 1, 0)):
        marks = [line.get_marker() for line in ax.lines]
        assert sum(marks.count(marker) for marker in "os^v") >= len(students)
        assert marks.count("D") == diamonds
        hollow = [
            line
            for line in ax.lines
            if line.get_markerfacecolor() == "none" and line.get_marker() in "ov"
        ]
        assert len(hollow) == students["control"].sum()
    assert overlaps(figure) == []
