"""Tables, figures and findings of the ablation study, on made-up results."""

import re

import numpy as np
import pytest

from lib.report.scores import MEAN
from lib.report.statistics import pm
from lib.studies import ablation
from tests.helpers import made_up
from tests.helpers.drawn import overlaps, texts

MORE = made_up.ABLATED | {
    "equal_weights": made_up.lower(0.0),
    "temperature1": made_up.lower(2.0),
    "temperature4": made_up.lower(0.1),
    "temperature8": made_up.lower(-2.0),
    "layers_to_top": made_up.lower(1.0),
}


def test_tasks_have_intervals_beside_the_printed_medians():
    results = made_up.ablation(noise=3)
    table = ablation.tasks_table(results)
    rows = results[(results["scenario"] == "teacher") & (results["task"] == "rte")]
    assert table.loc["RTE", ("teacher", "ours")] == pm(rows["value"])
    assert table.loc["score", ("student", "ours")] == pm(ablation.macro(results, "triple"))
    assert (
        table.loc["MNLI", ("teacher", "BERT-base")] == "86.7"
        and table.loc["score", ("reference", "ELMo")] == "68.7"
    )
    assert [column for column in table.columns if column[1] != "ours"] == ablation.PAPER_TASKS


def test_mnli_is_its_matched_set():
    results = made_up.ablation(noise=0)
    results.loc[results["metric"] == "accuracy_mismatched", "value"] = 0.0
    assert ablation.tasks_table(results).loc["MNLI", ("student", "ours")] == "82.2 ± 0.0"


def test_the_ablation_beside_table_4():
    table = ablation.ablation_table(made_up.ablation(MORE))
    assert table["printed difference"].tolist() == [
        "–",
        "−2.96",
        "−1.46",
        "−0.31",
        "−3.69",
        "–",
        "–",
    ]
    assert table.loc["without cosine", "difference [95 %]"].startswith("−1.4")
    assert table.loc["triple loss 5 / 2 / 1", "share of the teacher, %"].startswith("96.9 ± ")
    few = ablation.ablation_table(made_up.ablation({"without_mlm": 70}))
    assert (
        few.loc["without MLM", "difference [95 %]"] == "–"
        and "equal weights 1 / 1 / 1" not in few.index
    )


def test_differences_are_paired_by_seed():
    """What a seed does to both is taken out, so the interval is narrow though the scores are
    wide."""
    results = made_up.ablation({"triple": 80, "without_soft": 77}, noise=0)
    results["value"] += 5.0 * results["seed"] + 0.01 * np.random.default_rng(0).normal(
        size=len(results)
    )
    table = ablation.ablation_table(results)
    assert re.fullmatch(
        r"−3\.0\d \[−3\.0\d, −2\.9\d\]|−2\.99 \[.*\]",
        table.loc["without soft targets", "difference [95 %]"],
    )


def test_the_papers_scores():
    assert ablation.paper_scores("triple")[MEAN].tolist() == [77.0]
    assert ablation.paper_scores("without_soft")[MEAN].iloc[0] == pytest.approx(77.0 - 2.96)
    assert ablation.paper_scores("temperature8").empty


def test_findings_on_results_like_the_papers():
    kept, losses, random, equal, temperature, layers = ablation.findings(made_up.ablation(MORE))
    assert (
        "keeps 96.9 ± " in kept and "not to be told from 97 %" in kept and "caption *97 %*†" in kept
    )
    assert "soft targets over cosine" in losses and losses.count("the order is decided") == 2
    assert "Shown to cost: soft targets, cosine and MLM." in losses
    assert losses.index("soft targets −") < losses.index("cosine −") < losses.index("MLM −")
    assert "A random start is worse" in random and "prints *−3.69*†" in random
    assert (
        "Equal weights 1 / 1 / 1" in equal
        and "A start from layers up to the top is worse" in layers
    )
    assert re.search(r"T = 1 .*worse; T = 4 .*; T = 8 .*better", temperature)


def test_equal_weights_that_neither_win_nor_lose():
    results = made_up.ablation(MORE, noise=0)
    either = results["seed"].map({0: -1.0, 1: 1.0, 2: 0.0, 3: 0.5, 4: -0.5})
    results["value"] += either.where(results["scenario"] == "equal_weights", 0)
    assert "cannot be told apart" in ablation.against_triple(results, "Weights", "equal_weights")


def test_overlapping_losses_are_not_ranked():
    level = made_up.ABLATED | {name: made_up.lower(1.0) for name in ablation.LOSSES}
    losses = ablation.losses_paragraph(made_up.ablation(level, noise=2))
    assert "undecided" in losses and "the order is decided" not in losses
    gain = ablation.losses_paragraph(
        made_up.ablation(made_up.ABLATED | {"without_mlm": made_up.lower(-2)})
    )
    assert "No cost is shown for MLM" in gain


def test_a_student_far_from_the_printed_share():
    assert "below 97 %" in ablation.kept_paragraph(made_up.ablation({"teacher": 80, "triple": 60}))
    assert "above 97 %" in ablation.kept_paragraph(made_up.ablation({"teacher": 80, "triple": 80}))


def test_findings_of_one_seed_or_none_conclude_nothing():
    one = ablation.findings(made_up.ablation(MORE, seeds=1))
    assert all(re.search("nothing is concluded|undecided", text) for text in one)
    assert not re.search("better|worse|the order is decided", " ".join(one))
    none = ablation.findings(made_up.NO_RESULTS)
    assert all("Not measured" in text for text in none)
    assert not re.search("nan|None", " ".join(one + none))


def test_figure_of_the_ablation():
    figure = ablation.figure_ablation(made_up.ablation(MORE))
    diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert [round(float(line.get_xdata()[0]), 2) for line in diamonds] == [
        -2.96,
        -1.46,
        -0.31,
        -3.69,
    ]
    assert "without soft targets" in texts(figure) and overlaps(figure) == []


def test_temperatures():
    results = made_up.ablation(MORE)
    table = ablation.temperature_table(results)
    assert list(table.index) == ["1", "2", "4", "8"] and table.loc["2"].iloc[1] == "–"
    assert table.loc["1"].iloc[1].startswith("−2.0")
    figure = ablation.figure_temperature(results)
    assert figure.axes[0].get_xscale() == "log" and overlaps(figure) == []
    assert "at 8" in ablation.describe_temperature(results)
    assert ablation.temperature_table(made_up.NO_RESULTS).empty


@pytest.mark.parametrize("levels", [{}, {"triple": 70}, {"without_mlm": {"cola": 30.0}}])
def test_figures_of_little_or_nothing(levels):
    results = made_up.ablation(levels, seeds=1) if levels else made_up.NO_RESULTS
    for figure in (ablation.figure_ablation(results), ablation.figure_temperature(results)):
        assert overlaps(figure) == []
    assert "nothing measured" in ablation.describe(results)
