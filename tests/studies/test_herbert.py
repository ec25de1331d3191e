"""The study herbert beside 000's own numbers, on made-up results."""

import numpy as np
import pandas as pd
import pytest

from lib.plan import plan
from lib.report import papers, tables
from lib.report.scores import MEAN
from lib.studies import herbert

LEVEL = {"S0": 56, "S1": 62, "S2": 82, "S3": 84, "S4": 84.1, "truncated": 79, "T1": 88, "T2": 89}


def made_up(levels=LEVEL, seeds=5, noise=1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(results with both protocols, every epoch's value)."""
    random, epochs = np.random.default_rng(0), []
    for scenario, level in levels.items():
        for seed in range(seeds):
            for k, task in enumerate(herbert.TASKS):
                for epoch in range(1, 5):
                    value = level + 3 * k - 20 * np.exp(-epoch) + noise * random.normal()
                    epochs.append((scenario, task, seed, epoch, value))
    epochs = pd.DataFrame(epochs, columns=["scenario", "task", "seed", "epoch", "value"])
    final = epochs[epochs["epoch"] == 4].assign(protocol="final")
    best = epochs.loc[epochs.groupby(["scenario", "task", "seed"])["value"].idxmax()]
    both = pd.concat([final, best.assign(protocol="best_epoch")])
    return both.assign(
        study="herbert", layers=6, language="pl", metric="accuracy", repeat=1
    ), epochs


def efficiency(scenarios=LEVEL) -> pd.DataFrame:
    rows = [
        ("herbert", name, *((124_443_000, 474.7) if name[0] == "T" else (81_325_000, 310.2)))
        for name in scenarios
    ]
    return pd.DataFrame(rows, columns=["study", "scenario", "parameters", "size_mib"])


def test_the_scenarios_are_those_of_table_1():
    study, paper = herbert.declared(), papers.table("000", "scenarios")
    for name, row in paper.iterrows():
        entry = study.scenarios[name]
        distils = bool(entry.get("weight_soft") or entry.get("weight_cosine"))
        assert entry["init"] == row["init"] and distils == row["distillation_loss"], name
        assert bool(entry.get("weight_mlm")) == row["mlm_loss"], name
        assert (distils and entry["teacher"] == "T2") == row["pretrained_teacher"], name
    assert (
        tables.scenarios_table(study).loc["S3", "weights: soft targets / MLM / cosine"]
        == "5 / 2 / 1"
    )


def test_their_code_is_two_more_entries(own_params):
    """The comment at the end of scenarios.yaml is what it says when it is no comment."""
    path = own_params / "herbert/scenarios.yaml"
    text, entries = path.read_text(encoding="utf-8").split("# worse: as_their_code}\n")
    entries = "\n".join(line.removeprefix("# ") for line in entries.splitlines())
    path.write_text(f"{text}\n{entries}\n", encoding="utf-8")
    by_name = {stage.path.name: stage for stage in plan.resolve("paper", ["herbert"])}
    without, with_head, s3 = (
        by_name[f"herbert/{name}/distillation"].parameters
        for name in ("as_their_code", "as_their_code_with_head", "S3")
    )
    differ = {key for key in without if without[key] != with_head[key]}
    assert differ == {"mlm_head", "output_dir"} and with_head["mlm_head"] and s3["mlm_head"]
    assert 4 * without["weight_soft"] == pytest.approx(1 / 3)  # T² times: without it a third
    assert without["weight_mlm"] == without["weight_cosine"] == pytest.approx(1 / 3)
    kept = {"teacher", "corpus", "student_layers", "batch_size", "epochs", "clip_norm", "seed"}
    assert all(without[key] == s3[key] for key in kept)
    assert (without["learning_rate"], without["weight_decay"], without["warmup"]) == (
        1e-4,
        1e-3,
        0.01,
    )
    assert (without["schedule"], without["cosine_cycles"]) == ("cosine", 2)
    assert (without["positions"], without["cosine_of"]) == ("masked", "logits")


@pytest.mark.parametrize("protocol", ["final", "best_epoch"])
def test_scores_stand_beside_table_2(protocol):
    results = made_up()[0]
    results = results[results["protocol"] == protocol]
    table = tables.scores_table(herbert.declared(), results)
    assert list(table.index) == ["T1", "T2", "S0", "S1", "S2", "S3", "S4", "truncated"]
    rows = results[(results["scenario"] == "S3") & (results["task"] == "nkjp-ner")]
    assert table.loc["S3", ("NKJP-NER", "ours")].startswith(f"{rows['value'].mean():.1f} ± ")
    assert table.loc["S4", ("NKJP-NER", "paper")] == "82.2"
    assert table.loc["T1", ("PolEmo2.0-IN", "paper")] == "90.9"
    assert table.loc["truncated", ("NKJP-NER", "paper")] == "–"
    assert table.loc["S4", (MEAN, "paper")] == "81.5"


def test_the_mean_needs_all_three_tasks_and_other_tasks_are_shown():
    results = made_up({"S3": 84})[0]
    final = results[results["protocol"] == "final"]
    gone = (final["seed"] == 2) & (final["task"] == "nkjp-ner")
    study = herbert.declared()
    table = study.scores(final[~gone], "S3")
    assert list(table[MEAN].index) == [0, 1, 3, 4] and len(table["polemo2-in"]) == 5
    own = pd.concat([final, final[final["task"] == "nkjp-ner"].assign(task="mine")])
    assert list(tables.scores_table(study, own)["mine"]) == ["ours", "paper"]
    assert list(study.scores(own, "S3")[MEAN]) == list(study.scores(final, "S3")[MEAN])


def test_sizes():
    study = herbert.declared()
    table = herbert.sizes(study, efficiency())
    assert list(table.index) == ["teacher", "student"]
    assert list(table["models"]) == ["T1, T2", "S0, S1, S2, S3, S4, truncated"]
    assert table.iloc[1, 1:].tolist() == ["81.325", "310.2", "65.4", "81", "325.34", "65"]
    assert table.iloc[0, 4:].tolist() == ["124", "475", "100"]
    assert herbert.sizes(study, efficiency([])).empty
