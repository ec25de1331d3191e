"""The study ablation beside 002's own numbers, on made-up results."""

import re

import pytest

from lib.report import findings, section, tables
from lib.report.scores import MEAN
from lib.report.statistics import pm
from lib.studies import ablation
from tests.helpers import made_up
from tests.helpers.drawn import overlaps

STUDY = ablation.declared()
AT_RANDOM = {
    "random_without_soft": made_up.lower(15.0),
    "random_without_mlm": made_up.lower(3.0),
    "random_mlm_only": made_up.lower(18.0),
}
MORE = (
    made_up.ABLATED
    | AT_RANDOM
    | {
        "equal_weights": made_up.lower(0.0),
        "temperature1": made_up.lower(2.0),
        "temperature4": made_up.lower(0.1),
        "temperature8": made_up.lower(-2.0),
        "layers_to_top": made_up.lower(1.0),
    }
)


def test_tasks_have_intervals_beside_the_printed_medians():
    results = made_up.ablation(noise=3)
    table = ablation.tasks_table(results)
    rows = results[(results["scenario"] == "teacher") & (results["task"] == "rte")]
    assert table.loc["RTE", ("BERT-base", "ours")] == pm(rows["value"])
    assert table.loc["score", ("DistilBERT", "ours")] == pm(ablation.macro(results, "triple"))
    assert table.loc["MNLI", ("BERT-base", "paper")] == "86.7"
    assert table.loc["score", ("ELMo", "paper")] == "68.7"


def test_mnli_is_its_matched_set():
    results = made_up.ablation(noise=0)
    results.loc[results["metric"] == "accuracy_mismatched", "value"] = 0.0
    assert ablation.tasks_table(results).loc["MNLI", ("DistilBERT", "ours")] == "82.2 ± 0.0"


def test_differences_stand_beside_table_4():
    table = tables.differences_table(STUDY, made_up.ablation(MORE))
    table.index = table.index.get_level_values("difference")
    changes = {"soft": "+3.0", "cosine": "+1.5", "mlm": "+0.3"}  # 2.96, 1.46, 0.31
    for loss, printed in changes.items():
        assert table.loc[f"triple − without_{loss}", "paper"] == printed
    assert table.loc["triple − random_init", "paper"] == "+3.7"
    assert table.loc["triple − equal_weights", "paper"] == "–"
    assert table.loc["triple − without_cosine", "macro score"].startswith("+1.5 [")


def test_the_papers_scores():
    assert ablation.printed_scores("triple")[MEAN].tolist() == [77.0]
    assert ablation.printed_scores("without_soft")[MEAN].iloc[0] == pytest.approx(77.0 - 2.96)
    assert ablation.printed_scores("temperature8").empty


def test_findings_on_results_like_the_papers():
    losses, _, temperature = ablation.findings(STUDY, made_up.ablation(MORE))
    assert "soft targets over cosine" in losses and losses.count("(decided)") == 2
    assert "Shown to cost: soft targets, cosine and MLM." in losses
    assert losses.index("soft targets −") < losses.index("cosine −") < losses.index("MLM −")
    assert re.search(r"T = 1 .*worse; T = 4 .*; T = 8 .*better", temperature)
    all_findings = findings.findings(STUDY, made_up.ablation(MORE), made_up.NO_EFFICIENCY)
    assert any("triple is better" in text and "random_init" in text for text in all_findings)


def test_overlapping_losses_are_not_ranked():
    level = made_up.ABLATED | {name: made_up.lower(1.0) for name in ablation.LEFT_OUT}
    losses, *_ = ablation.findings(STUDY, made_up.ablation(level, noise=2))
    assert "undecided" in losses and "(decided)" not in losses
    gain = made_up.ablation(made_up.ABLATED | {"without_mlm": made_up.lower(-2)})
    assert "No cost is shown for MLM" in ablation.findings(STUDY, gain)[0]


def test_the_losses_of_students_that_start_at_random_are_ranked_too():
    text = ablation.findings(STUDY, made_up.ablation(MORE))[1]
    assert "out, from a random start.** Shown to cost: both distillation losses and soft" in text
    assert "No cost is shown for MLM" in text and "against random_init: both" in text
    assert "prints" not in text


def test_findings_of_one_seed_or_none_conclude_nothing():
    one = ablation.findings(STUDY, made_up.ablation(MORE, seeds=1))
    assert all(re.search("nothing is concluded|undecided", text) for text in one)
    assert not re.search(r"better|worse|\(decided\)", " ".join(one))
    none = ablation.findings(STUDY, made_up.NO_RESULTS)
    assert all("Not measured" in text for text in none)
    assert not re.search("nan|None", " ".join(one + none))


@pytest.mark.parametrize("levels", [MORE, {}, {"triple": 70}, {"without_mlm": {"cola": 30.0}}])
def test_figures(levels):
    results = made_up.ablation(levels) if levels else made_up.NO_RESULTS
    figure = ablation.figure_temperature(STUDY, results)
    assert figure.axes[0].get_xscale() == "log" and overlaps(figure) == []
    assert overlaps(section.scores_figure(STUDY, results)) == []
    assert ("at 8" in ablation.describe_temperature(results)) == (levels is MORE)
