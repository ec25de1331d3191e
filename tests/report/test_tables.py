"""The tables and paragraphs that every study gets, on a made-up study."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.plan.schema import Question
from lib.report import findings, section, tables
from lib.report.declaration import Declaration
from lib.report.scores import MEAN, by_task
from lib.report.statistics import interval, pm
from tests.helpers.drawn import overlaps, texts
from tests.helpers.made_up import NO_EFFICIENCY, NO_RESULTS, RESULTS

LEVELS = {"teacher": (90, 80), "S3": (86, 75), "S2": (82, 71), "truncated": (80, 68)}
PAPER = {"S3": [85.0, 74.0, 79.5], "S2": [83.0, 72.0, 77.5]}
STUDY = Declaration(
    name="mine",
    short="Mine",
    title="A study of my own",
    source="",
    question="What does it buy?",
    teacher="teacher",
    control="truncated",
    scenarios={
        "S3": {"init": "truncated", "weight_soft": 5, "weight_mlm": 2, "teacher": "teacher"}
    },
    labels={"S2": "MLM", "S3": "distilled", "truncated": "control", "teacher": "teacher"},
    colours={"S3": "#0072b2"},
    main=MEAN,
    scored=by_task,
    questions=[Question(title="What the loss buys", better="S3", worse="S2")],
    titles={"cola": "CoLA", "rte": "RTE"},
)
WITH_PAPER = replace(
    STUDY,
    printed=lambda name: pd.DataFrame(
        [PAPER[name]] if name in PAPER else [], columns=["cola", "rte", MEAN]
    ),
)


def results(levels=LEVELS, seeds=5, noise=0.5) -> pd.DataFrame:
    """Two tasks, `seeds` fine-tunings of each scenario."""
    rows = [
        ("mine", name, 6, 1, seed, task, "en", "accuracy", "final", 3, level + noise * draw)
        for key, (name, level_of_tasks) in enumerate(levels.items())
        for random in [np.random.default_rng(key)]
        for seed in range(seeds)
        for task, level, draw in zip(("cola", "rte"), level_of_tasks, random.normal(size=2))
    ]
    return pd.DataFrame(rows, columns=RESULTS)


def test_scenarios_come_in_the_declared_order_and_others_at_the_end():
    extra = results(LEVELS | {"other": (50, 50)})
    assert tables.scenarios_of(STUDY, extra) == ["S2", "S3", "truncated", "teacher", "other"]
    assert tables.students_of(STUDY, extra) == ["S2", "S3", "truncated", "other"]
    assert tables.columns_of(STUDY, extra) == {MEAN: MEAN, "cola": "CoLA", "rte": "RTE"}


def test_the_mean_of_one_task_is_that_task():
    one = results()[lambda rows: rows["task"] == "cola"]
    assert tables.columns_of(STUDY, one) == {MEAN: "CoLA"}


@pytest.mark.parametrize("columns", [["rte"], ["mean", "rte"], ["rte", "mean"], [MEAN, "rte"]])
def test_the_main_score_is_always_shown_and_first(columns):
    study = replace(STUDY, columns=columns)
    assert list(tables.columns_of(study, results()).items()) == [(MEAN, MEAN), ("rte", "RTE")]
    assert list(tables.differences_table(study, results())) == [MEAN, "RTE"]
    assert "CoLA" not in " ".join(findings.findings(study, results(), NO_EFFICIENCY))


def test_what_each_scenario_is():
    table = tables.scenarios_table(STUDY)
    assert table.loc["S3"].tolist() == ["distilled", "truncated", "teacher", "5 / 2"]
    assert table.loc["truncated", "initial weights"] == "–"
    as_trained = replace(STUDY, scenarios=STUDY.scenarios | {"truncated": STUDY.scenarios["S3"]})
    assert tables.scenarios_table(as_trained).loc["truncated"].iloc[-1] == "–"


def test_scores_are_means_with_intervals():
    table = tables.scores_table(STUDY, results())
    rows = results()[lambda r: (r["scenario"] == "S3") & (r["task"] == "rte")]
    assert table.loc["S3", "RTE"] == pm(rows["value"]) and list(table) == [MEAN, "CoLA", "RTE"]


def test_scores_stand_beside_the_papers():
    table = tables.scores_table(WITH_PAPER, results({"S3": (86, 75)}))
    assert table.loc["S3", ("CoLA", "paper")] == "85.0"
    assert table.loc["S2"].tolist() == ["–", "77.5", "–", "83.0", "–", "72.0"]
    hidden = replace(WITH_PAPER, comparable=lambda results: False)
    assert list(tables.scores_table(hidden, results())) == [MEAN, "CoLA", "RTE"]


def test_differences_are_paired_by_seed():
    """What a seed does to both is taken out, so the interval is narrow though scores are wide."""
    wide = results(noise=0)
    wide["value"] += 5.0 * wide["seed"]
    table = tables.differences_table(WITH_PAPER, wide)
    assert table.loc[("What the loss buys", "S3 − S2")].tolist() == [
        "+4.0 [+4.0, +4.0]",
        "+2.0",
        "+4.0 ± 0.0",
        "+4.0 ± 0.0",
    ]
    assert "paper" not in tables.differences_table(STUDY, wide)
    assert tables.differences_table(STUDY, NO_RESULTS).iloc[0].tolist() == ["–"]


def test_what_is_kept_and_how_far_the_teacher_and_the_control_are():
    table = tables.kept_table(STUDY, results(noise=0))
    assert table.loc["S3", f"{MEAN}, % kept"].startswith("94.7")  # 80.5 of 85
    assert table.loc["S3", f"less the teacher ({MEAN})"] == "−4.5 [−4.5, −4.5]"
    assert table.loc["S3", "less the control"] == "+6.5 [+6.5, +6.5]"
    assert table.loc["truncated", "less the control"] == "–" and "teacher" not in table.index


def test_chains_are_compared_at_each_depth_both_have():
    chains = {
        "cascade-5": 70,
        "cascade-4": 65,
        "direct-4": 66,
        "truncated-5": 60,
        "truncated-4": 50,
    }
    made = results({name: (level, level) for name, level in chains.items()})
    study = replace(STUDY, labels={"cascade": "assistants", "direct": "one hop", "truncated": ""})
    question = Question(title="Better?", better="cascade", worse="truncated")
    pairs = tables.pairs_of(study, made, question)
    assert pairs == [("cascade-4", "truncated-4"), ("cascade-5", "truncated-5")]
    assert study.control_of("cascade-5") == "truncated-5" and study.label("direct-4") == "one hop"
    assert tables.scenarios_of(study, made) == [
        *("cascade-5", "cascade-4", "direct-4", "truncated-5", "truncated-4")
    ]
    text = findings.question_paragraph(study, made, question)
    assert "cascade-4 is better" in text and "At other depths: +10." in text


# --- paragraphs -----------------------------------------------------------------------------------


def paragraphs(made: pd.DataFrame, study: Declaration = STUDY) -> list[str]:
    return findings.findings(study, made, NO_EFFICIENCY)


def test_a_paragraph_says_no_more_than_the_interval():
    text = paragraphs(results(), WITH_PAPER)[0]
    difference = tables.difference(STUDY, results(), "S3", "S2")
    assert "S3 is better" in text and f"+{interval(difference).mean:.1f} [" in text
    assert "5 seeds; p = " in text and "better on CoLA and RTE" in text
    assert "The paper's single run gave *+2.0*†." in text
    assert "S3 is worse" in paragraphs(results(LEVELS | {"S3": (70, 60)}))[0]
    level = results(LEVELS | {"S3": LEVELS["S2"]}, noise=3)
    assert "cannot be told apart" in paragraphs(level)[0]


def test_one_seed_or_none_concludes_nothing():
    one = paragraphs(results(seeds=1))[0]
    assert "nothing is concluded" in one and "better" not in one
    nothing = paragraphs(NO_RESULTS)
    assert all("Not measured" in text for text in nothing)
    assert not re.search("nan|None", " ".join([one, *nothing]))
    constant = paragraphs(results(noise=0))[0]
    assert "Every run gives the same difference" in constant


def test_how_much_is_kept():
    sizes = pd.DataFrame(
        {"study": "mine", "scenario": ["teacher", "S3"], "parameters": [100.0, 60.0]}
    )
    text = findings.kept_paragraph(STUDY, results(), sizes)
    assert "S3 94." in text and "60.0 % of its parameters" in text and "(5 seeds)" in text


def test_every_student_stands_beside_the_untrained_control():
    text = findings.control_paragraph(STUDY, results(LEVELS | {"S1": (70, 60), "S0": (80, 68)}))
    assert "Above it: S2 and S3. Below it: S1. Not told apart from it: S0." in text
    assert re.search(r"S3 \+6\.\d \[", text) and "truncated +" not in text
    assert "nothing is concluded" in findings.control_paragraph(STUDY, results(seeds=1))
    assert "Not measured" in findings.control_paragraph(STUDY, NO_RESULTS)
    without = replace(STUDY, control="")
    assert not any("untrained" in text for text in paragraphs(results(), without))


def test_optimism_is_the_mean_gap_of_the_protocols():
    final = results()
    best = final.assign(protocol="best_epoch", value=final["value"] + 1.5 + 0.1 * final["seed"])
    text = findings.optimism_paragraph(STUDY, pd.concat([final, best]))
    assert "gains +1.7 [+1.5, +1.9] points (5 seeds)" in text
    assert "Not measured" in findings.optimism_paragraph(STUDY, final)
    only = pd.concat([final, final.assign(protocol="best_epoch")])
    assert "the only one that was scored" in findings.optimism_paragraph(STUDY, only)


@pytest.mark.parametrize(
    "made", [results(), results(seeds=1), results({"S3": (80, 70)}), NO_RESULTS]
)
def test_the_figure_of_scores(made):
    figure = section.scores_figure(WITH_PAPER, made)
    assert overlaps(figure) == []
    if len(made) > 20:
        assert "S3: distilled" in texts(figure)
        diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
        assert [len(line.get_xdata()) for line in diamonds] == [2]
        dotted = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_ls() == ":"]
        assert dotted == [STUDY.scores(made, "truncated")[MEAN].mean()]
    assert "nan" not in section.describe(STUDY, made)


def test_a_study_answers_its_questions_in_one_sentence():
    text = findings.answer(STUDY, results())
    assert text.startswith("Here, in points (mean of tasks): **what the loss buys +4.1 [+3.")
    assert text.endswith("]**.")
    undecided = findings.answer(STUDY, results(noise=20))
    assert "Not decided (mean of tasks): what the loss buys" in undecided
    assert findings.answer(STUDY, results(seeds=1)).endswith(", one run**.")
    assert findings.answer(STUDY, NO_RESULTS) == ""
