"""Tables, figures and findings of the herbert study, on made-up results."""

import re

import numpy as np
import pandas as pd
import pytest

from lib.common.errors import InputError
from lib.report import figures, papers
from lib.report.scores import MEAN
from lib.studies import herbert
from lib.studies.herbert import HERBERT_TASKS
from tests.helpers.drawn import overlaps, texts

LEVEL = {"S0": 56, "S1": 62, "S2": 82, "S3": 84, "S4": 84.1, "truncated": 79, "T1": 88, "T2": 89}
SCENARIOS = {
    "S0": {
        "init": "random",
        "teacher": None,
        "weight_mlm": 2.0,
        "weight_soft": 0,
        "pretrained": False,
        "note": "x",
    },
    "S1": {
        "init": "random",
        "teacher": None,
        "weight_mlm": 2.0,
        "weight_soft": 0.0,
        "weight_cosine": 0.0,
    },
    "S2": {
        "init": "truncated",
        "teacher": "T1",
        "weight_mlm": 2.0,
        "weight_soft": 0,
        "pretrained": True,
    },
    "S3": {
        "init": "truncated",
        "teacher": "T1",
        "weight_mlm": 2.0,
        "weight_soft": 5.0,
        "weight_cosine": 1.0,
    },
    "S4": {
        "init": "truncated",
        "teacher": "T2",
        "weight_mlm": 2.0,
        "weight_soft": 5.0,
        "weight_cosine": 1.0,
    },
    "truncated": {
        "init": "truncated",
        "teacher": "T1",
        "weight_mlm": 2.0,
        "weight_soft": 5.0,
        "pretrained": False,
    },
}


def made_up(levels=LEVEL, seeds=5, noise=1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(results with both protocols, every epoch's value)."""
    random, epochs = np.random.default_rng(0), []
    for scenario, level in levels.items():
        for seed in range(seeds):
            for k, task in enumerate(HERBERT_TASKS):
                for epoch in range(1, 5):
                    value = level + 3 * k - 20 * np.exp(-epoch) + noise * random.normal()
                    epochs.append((scenario, task, seed, epoch, value))
    epochs = pd.DataFrame(epochs, columns=["scenario", "task", "seed", "epoch", "value"])
    final = epochs[epochs["epoch"] == 4].assign(protocol="final")
    best = epochs.loc[epochs.groupby(["scenario", "task", "seed"])["value"].idxmax()].assign(
        protocol="best_epoch"
    )
    both = pd.concat([final, best]).assign(
        study="herbert", layers=6, language="pl", metric="accuracy"
    )
    return both, epochs


def efficiency(scenarios=LEVEL) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (
                "herbert",
                s,
                124_443_000 if s[0] == "T" else 81_325_000,
                474.7 if s[0] == "T" else 310.2,
            )
            for s in scenarios
        ],
        columns=["study", "scenario", "parameters", "size_mib"],
    )


def test_table1_agrees_with_the_papers():
    table, theirs = herbert.table1(SCENARIOS), papers.table("000", "scenarios")
    for name, row in theirs.iterrows():
        assert table.loc[name, "init"] == row["init"]
        for ours, column in (
            ("MLM loss", "mlm_loss"),
            ("distillation loss", "distillation_loss"),
            ("pretrained teacher", "pretrained_teacher"),
        ):
            assert table.loc[name, ours] == ("✓" if row[column] else "✗"), (name, ours)
    assert table.loc["S3", "loss weights"] == "5 / 2 / 1"
    assert table.loc["truncated"].tolist() == ["truncated", "✗", "✗", "✗", "T1", "–"]


@pytest.mark.parametrize("protocol", ["final", "best_epoch"])
def test_table2_puts_ours_beside_the_papers(protocol):
    results, _ = made_up()
    table = herbert.table2(results, protocol)
    assert list(table.index) == herbert.SCENARIOS
    assert list(table.columns) == [
        (t, side) for t in [*herbert.TASKS.values(), MEAN] for side in ("ours", "paper")
    ]
    rows = results[
        (results["scenario"] == "S3")
        & (results["task"] == "nkjp-ner")
        & (results["protocol"] == protocol)
    ]
    assert table.loc["S3", ("NKJP-NER", "ours")].startswith(f"{rows['value'].mean():.1f} ± ")
    assert table.loc["S4", ("NKJP-NER", "paper")] == "82.2"
    assert table.loc["T1", ("PolEmo2.0-IN", "paper")] == "90.9 (test)"
    assert table.loc["truncated", ("NKJP-NER", "paper")] == "–"
    assert table.loc["S4", (MEAN, "paper")] == "81.5"


def test_table2_of_a_scenario_that_was_not_run():
    results, _ = made_up({"S0": 50})
    assert herbert.table2(results).loc["S3", (MEAN, "ours")] == "–"
    with pytest.raises(InputError, match="allowed are final, best_epoch"):
        herbert.table2(results, "best")


def test_sizes():
    table = herbert.sizes(efficiency())
    assert list(table.index) == ["teacher", "student"]
    assert list(table["models"]) == ["T1, T2", "S0, S1, S2, S3, S4, truncated"]
    assert table.iloc[1, 1:].tolist() == ["81.325", "310.2", "65.4", "81", "325.34", "65"]
    assert table.iloc[0, 4:].tolist() == ["124", "475", "100"]
    assert herbert.sizes(efficiency([])).empty


def test_findings_say_no_more_than_the_numbers():
    results, _ = made_up()
    text = herbert.findings(results, efficiency())
    assert len(text) == 7 and all(paragraph.startswith("**") for paragraph in text)
    initialisation, _, teacher, *_ = text
    assert (
        "S2 is better" in initialisation
        and "p = 0.0625, the least that 5 seeds can give" in initialisation
    )
    assert "S4 and S3 cannot be told apart" in teacher and "better" not in teacher
    assert "S3 has 65.4 % of T1's parameters" in text[5]


def test_findings_name_a_loss_a_loss():
    results, _ = made_up(LEVEL | {"S3": 70})
    assert "S3 is worse" in herbert.findings(results, efficiency())[1]


def test_findings_of_one_seed_conclude_nothing():
    results, _ = made_up(seeds=1)
    for paragraph in herbert.findings(results, efficiency())[:5]:
        assert "nothing is concluded" in paragraph and "better" not in paragraph


def test_findings_without_data_or_spread():
    nothing = herbert.findings(made_up({"S0": 50})[0], efficiency([]))
    assert all("Not measured" in paragraph for paragraph in nothing[:6])
    constant = herbert.findings(made_up(noise=0.0)[0], efficiency())
    assert "Every seed gives the same difference" in constant[0] and "is better" not in constant[0]
    assert not re.search("nan|None", " ".join(nothing + constant))


def test_optimism_is_the_mean_gap_of_the_protocols():
    results, _ = made_up()
    mean = results.groupby("protocol")["value"].mean()
    gap = mean["best_epoch"] - mean["final"]
    assert f"+{gap:.1f} [" in herbert.optimism_paragraph(results)


def test_figure_of_the_tasks_shows_every_seed_and_the_papers_runs():
    results, _ = made_up()
    figure = herbert.figure_tasks(results)
    assert len(figure.axes) == 4
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert [len(line.get_xdata()) for line in dots] == [5] * 8 and len(diamonds) == 6
    assert all(line.get_markerfacecolor() == "none" for line in diamonds)
    assert herbert.table2(results).loc["S3", (MEAN, "ours")] in texts(figure)
    assert overlaps(figure) == []


def test_figure_of_the_tasks_with_one_seed_or_nothing():
    for results in (made_up(seeds=1)[0], made_up({"S3": 80, "T1": 88})[0], made_up()[0].iloc[:0]):
        figure = herbert.figure_tasks(results)
        assert overlaps(figure) == []


def test_figures_of_the_curves():
    _, epochs = made_up()
    curves = pd.DataFrame(
        [
            (s, step, c, np.exp(-step / 50) + k)
            for k, s in enumerate(["S1", "S2", "S3", "T1"])
            for step in range(0, 200, 10)
            for c in (("loss", "mlm", "soft") if s != "T1" else ("mlm",))
        ],
        columns=["scenario", "step", "component", "value"],
    )
    for figure, titles in (
        (herbert.figure_finetuning(epochs), [*herbert.TASKS.values(), MEAN]),
        (
            figures.figure_curves(curves, herbert.COLOURS),
            ["MLM loss", "soft-target loss", "teachers: MLM loss"],
        ),
    ):
        assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()] == titles
        assert overlaps(figure) == []
    (key,) = figures.figure_curves(curves, herbert.COLOURS).legends
    assert [text.get_text() for text in key.get_texts()] == ["S1", "S2", "S3", "T1"]
    assert "S3 MLM loss" in figures.describe_curves(
        curves
    ) and "S3 " in herbert.describe_finetuning(epochs)
