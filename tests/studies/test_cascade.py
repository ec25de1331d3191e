"""Tables, figures and findings of the cascade study, on made-up results."""

import re

import numpy as np
import pandas as pd
import pytest

from lib.common.errors import InputError
from lib.report import figures, findings, papers, tables
from lib.studies import cascade
from lib.studies.cascade import AVERAGE
from tests.helpers import made_up
from tests.helpers.drawn import overlaps, texts
from tests.helpers.made_up import CASCADE, NO_RESULTS, XNLI

STUDY = cascade.declared()
UNTRAINED = {"truncated-5": (79, 70, 66, 65, 60, 54), "truncated-4": (76, 66, 63, 62, 55, 50)}
SHALLOW = made_up.shallow() | UNTRAINED | {"cascade_by_2-4": (78, 69, 65, 66, 60, 55)}


def toy(levels=SHALLOW, **how) -> pd.DataFrame:
    """A cascade of toy languages from a teacher of 6 layers."""
    return made_up.cascade(levels, toy=True, teacher=6, **how)


# --- names and accuracies -------------------------------------------------------------------------


def test_names_give_chain_and_depth():
    assert cascade.chain_of("cascade_by_2-4") == ("cascade_by_2", 4) and cascade.chain_of(
        "direct-11"
    ) == ("direct", 11)
    assert cascade.chain_of("teacher") == ("teacher", 0) == cascade.chain_of("teacher")
    results = toy()
    assert cascade.chains(results) == {
        "cascade": [5, 4, 3],
        "direct": [3],
        "truncated": [5, 4, 3],
        "cascade_by_2": [4],
    }
    assert cascade.hops(results) == [
        ("teacher", "cascade-5"),
        ("cascade-5", "cascade-4"),
        ("cascade-4", "cascade-3"),
    ]
    assert list(cascade.chains(made_up.cascade())["cascade"]) == [11, 10, 9, 8, 7, 6], (
        "11 comes before 9"
    )
    assert cascade.teacher_layers(results) == 6 and cascade.teacher_layers(NO_RESULTS) == 0


def test_the_average_is_the_plain_mean_over_languages_of_a_seed():
    results = toy(noise=2)
    rows = results[(results["scenario"] == "cascade-4") & (results["seed"] == 3)]
    assert len(rows) == 6
    assert cascade.average(results, "cascade-4").values[3] == pytest.approx(sum(rows["value"]) / 6)
    assert list(cascade.accuracy(results, "cascade-4")) == [*XNLI, AVERAGE]


def test_a_seed_without_one_of_the_languages_has_no_average():
    results = made_up.cascade()
    gone = (
        (results["scenario"] == "cascade-6")
        & (results["seed"] == 2)
        & (results["language"] == "ur")
    )
    results = results[~gone]
    assert list(cascade.average(results, "cascade-6").index) == [0, 1, 3, 4]
    assert len(cascade.accuracy(results, "cascade-6")["en"]) == 5


def test_other_languages_than_the_papers():
    results = made_up.cascade({"teacher": (80, 70, 60)}, languages=("en", "fr", "ur"))
    assert list(cascade.languages(results)) == ["en", "ur", "fr"]
    assert cascade.average(results, "teacher").mean() == pytest.approx(70, abs=0.5)
    assert list(tables.scores_table(STUDY, results)) == [AVERAGE, "English", "Urdu", "fr"]
    assert "fr" in texts(cascade.figure_languages(results))


def test_two_protocols_at_once_are_refused():
    results = made_up.cascade()
    with pytest.raises(InputError, match="final, best_epoch: choose one"):
        cascade.accuracy(pd.concat([results, results.assign(protocol="best_epoch")]), "teacher")


# --- tables ---------------------------------------------------------------------------------------


def test_scores_beside_the_printed_ones_where_depths_correspond():
    table = tables.scores_table(STUDY, made_up.cascade())
    assert table.loc["cascade-6", (AVERAGE, "paper")] == "60.1"
    assert table.loc["direct-6", (AVERAGE, "paper")] == "70.3"
    assert table.loc["truncated-6", (AVERAGE, "paper")] == "–"
    assert re.fullmatch(r"76\.\d ± 0\.\d", table.loc["cascade-6", ("English", "ours")])


def test_other_depths_have_no_printed_columns():
    table = tables.scores_table(STUDY, toy())
    assert list(table) == [AVERAGE, *cascade.LANGUAGES.values()]
    order = ["teacher", "cascade-5", "cascade-4", "cascade-3", "direct-3", "truncated-5"]
    assert list(table.index)[:6] == order


def test_questions_are_asked_at_each_common_depth():
    table = tables.differences_table(STUDY, toy())
    pairs = list(table.index.get_level_values("difference"))
    assert pairs[:3] == [
        "cascade-3 − direct-3",
        "cascade-3 − truncated-3",
        "cascade-4 − truncated-4",
    ]


def test_the_papers_table_is_whole():
    table = cascade.paper_table()
    assert list(table.index) == [
        *(("cascade (CAMeMBERT)", str(n)) for n in (11, 10, 9, 8, 7, 6)),
        ("LightMBERT", "6"),
        ("mBERT", "12"),
        ("DistilmBERT", "6"),
    ]
    assert table.loc[("cascade (CAMeMBERT)", "9")].tolist() == [
        "66.4",
        "79.9",
        "69.6",
        "65.9",
        "65.5",
        "60.9",
        "56.4",
    ]
    assert table.loc[("mBERT", "12"), ("printed", AVERAGE)] == "70.5"
    assert set(table.columns.get_level_values(0)) == {"printed"}


def test_the_paper_is_read_by_scenario():
    assert cascade.printed_accuracy("cascade-11").iloc[0].tolist() == [
        81.0,
        73.3,
        69.3,
        70.1,
        64.6,
        57.1,
        69.2,
    ]
    assert cascade.printed_accuracy("direct-6")[AVERAGE].tolist() == [70.3]
    for name in ("teacher", "cascade-5", "truncated-6", "cascade_by_2-6", "direct-11"):
        assert cascade.printed_accuracy(name).empty, name


def test_what_a_hop_costs_is_paired_by_seed():
    """What a seed does to both models is taken out, so the interval is narrow though the scores are
    wide."""
    results = toy(noise=0)
    results["value"] += 5.0 * results["seed"] + 0.01 * np.random.default_rng(0).normal(
        size=len(results)
    )
    table = cascade.drops_table(STUDY, results)
    assert list(table.index) == ["6 → 5", "5 → 4", "4 → 3", "6 → 3"]
    # (81.0 + 73.3 + 69.3 + 70.1 + 64.6 + 57.1) / 6 less the teacher's (82.1 + 74.6 + 69.1 + 72.3 +
    # 66.4 + 58.5) / 6
    low, high = (
        float(end.replace("−", "-"))
        for end in re.search(r"\[(.*), (.*)\]", table.loc["6 → 5", AVERAGE]).groups()
    )
    assert low <= round(69.233 - 70.5, 1) <= high and high - low <= 0.1 + 1e-9
    assert (
        table.loc["5 → 4", "toy-en"] == "−1.8 ± 0.0"
        and table.loc["6 → 5", "toy-zh"] == "+0.2 ± 0.0"
    )


def test_comparisons_at_equal_depth_with_their_steps():
    steps = {"cascade-3": 1200, "direct-3": 1200, "truncated-3": 0}
    table = cascade.comparison_table(STUDY, toy(), steps)
    assert list(table.index) == [
        ("cascade − direct", 3),
        *(("cascade − truncated", n) for n in (5, 4, 3)),
        ("direct − truncated", 3),
        ("cascade_by_2 − cascade", 4),
    ]
    assert table.loc[("cascade − direct", 3), "steps"] == "1,200 / 1,200"
    assert table.loc[("cascade − truncated", 5), "steps"] == "– / –"
    assert table.loc[("cascade − direct", 3), AVERAGE].startswith("−10.")


def mixture(codes, **more) -> dict:
    rows = [
        {
            "language": code,
            "share": 40.0 / 2**i,
            "target": 20.0,
            "share_drawn": 20.0,
            "share_bytes_drawn": 25.04,
        }
        for i, code in enumerate(codes)
    ]
    return {"languages": rows} | more


def test_shares_of_languages_beside_table_1():
    found = mixture(
        ["toy-es", "toy-en", "fr"], sampling={"exponent": 0.6667, "target": "toy-en = 100 fr"}
    )
    table = cascade.shares_table(found)
    assert list(table.index) == ["toy-en", "toy-es", "zh", "de", "ar", "ur", "fr"]
    printed = table["paper", "% of corpus"]
    assert printed.tolist() == ["12", "3.49", "2.08", "6.06", "2.33", "0.365", "–"]
    assert table.loc["toy-en", ("ours, in %", "bytes, before")] == "20"
    assert table.loc["zh", ("ours, in %", "aim")] == "–"
    note = cascade.shares_note(found)
    assert "S = 0.667" in note and "toy-en = 100 fr" in note
    assert cascade.shares_note({}).startswith("Not sampled")


def test_many_languages_share_a_row():
    table = cascade.shares_table(mixture([*XNLI, *(f"x{i}" for i in range(98))]))
    assert list(table.index) == [*XNLI, "98 others"]
    assert table.loc["98 others", ("ours, in %", "lines drawn")] == str(98 * 20)
    assert set(cascade.shares_table({})["ours, in %"].to_numpy().ravel()) == {"–"}


# --- findings and figures -------------------------------------------------------------------------


def test_findings_on_results_like_the_papers():
    results = made_up.cascade(noise=0.1)
    transfer, depth, lost = cascade.findings(STUDY, results)
    assert "Every hop costs accuracy" in depth
    assert "*−9.1*† points from 11 layers to 6, *−1.82*† a layer" in depth
    assert transfer.index("en +48.") < transfer.index("es +41.") < transfer.index("ur +25.")
    assert "Above chance in every language" in transfer
    assert "largest in ar" in lost and "smallest in en" in lost and lost.count(": decided") == 2
    questions = findings.findings(STUDY, results, made_up.NO_EFFICIENCY)
    direct = next(text for text in questions if "over one hop" in text)
    assert "cascade-6 is worse" in direct and "gave *−10.2*†" in direct


def test_findings_turn_with_the_numbers():
    better = toy(SHALLOW | {"cascade-3": (82, 76, 72, 73, 68, 62)})
    assert "2 of 3 hops shown to cost accuracy." in cascade.depth_paragraph(STUDY, better)
    guessing = toy(SHALLOW | {"teacher": (80, 70, 60, 60, 50, 33)})
    assert "Not shown to be above chance: toy-ur." in cascade.transfer_paragraph(guessing)


def test_findings_of_one_seed_or_none_conclude_nothing():
    one = cascade.findings(STUDY, toy(seeds=1))
    assert all("nothing is concluded" in text for text in one)
    assert not re.search(r"is better;|is worse;|decided[.;]|costs? accuracy", " ".join(one))
    none = cascade.findings(STUDY, NO_RESULTS)
    assert len(none) == 3 and all("Not measured" in text for text in none)
    assert not re.search(r"\bnan\b|None", " ".join(one + none))


def test_figure_of_languages_has_the_paper_in_a_panel_of_its_own():
    figure = cascade.figure_languages(toy(noise=1))
    ours, theirs = figure.axes
    assert {f"toy-{code}" for code in XNLI} <= {t.get_text() for t in ours.texts}
    assert [tick.get_text() for tick in ours.get_xticklabels()] == ["6", "5", "4", "3"]
    diamonds = [line for line in theirs.lines if line.get_marker() == "D"]
    assert len(diamonds) == 6 and all(line.get_markerfacecolor() == "none" for line in diamonds)
    assert list(diamonds[5].get_ydata()) == [57.1, 56.4, 56.4, 54.5, 52.3, 49.6]
    assert not [line for line in ours.lines if line.get_marker() == "D"]
    assert [tick.get_text() for tick in theirs.get_xticklabels()] == [
        "11",
        "10",
        "9",
        "8",
        "7",
        "6",
    ]
    for ax in (ours, theirs):
        assert any(
            set(np.round(np.asarray(line.get_ydata(), float), 1)) == {33.3} for line in ax.lines
        ), "chance"
    assert overlaps(figure) == []


def test_figure_of_chains_has_every_chain_and_the_paper():
    figure = cascade.figure_chains(STUDY, toy(noise=1))
    names = {"cascade", "direct", "truncated", "cascade_by_2", "LightMBERT"}
    assert names <= set(texts(figure)) and overlaps(figure) == []


@pytest.mark.parametrize(
    "levels",
    [{}, {"teacher": (80,) * 6}, {"cascade-6": (60, 50, 50, 50, 50, 33)}, {"direct-3": (60,) * 6}],
)
def test_figures_and_tables_of_little_or_nothing(levels):
    results = made_up.cascade(levels, seeds=1)
    assert overlaps(cascade.figure_languages(results)) == []
    assert overlaps(cascade.figure_chains(STUDY, results)) == []
    frames = [tables.scores_table(STUDY, results), cascade.drops_table(STUDY, results)]
    frames.append(cascade.comparison_table(STUDY, results, {}))
    assert "nan" not in cascade.describe(results, [AVERAGE]) + " ".join(
        frame.to_csv() for frame in frames
    )
    assert ("Nothing was measured" in cascade.describe(results, [AVERAGE])) == (not levels)


def history(layers: int, steps: int) -> list[dict]:
    return [
        {
            "step": s,
            "loss": 1 / s,
            "hidden": 1 / s,
            "attention": 0.1 / s,
            "rate": 1,
            "tokens": s,
            "seconds": s,
        }
        | {f"hidden_{k}": (k + 1) / s for k in range(layers + 1)}
        | {f"attention_{k}": k / s for k in range(1, layers + 1)}
        for s in range(1, steps + 1)
    ]


def test_figure_of_hops_has_a_line_for_every_layer_of_every_kind():
    histories = {f"cascade-{n}": history(n, 300) for n in (5, 4, 3)} | {
        "direct-3": history(3, 20),
        "truncated-3": [],
    }
    figure = cascade.figure_hops(histories)
    assert [len(ax.lines) for ax in figure.axes if ax.get_visible()] == [6, 5, 4, 4, 5, 4, 3, 3]
    assert all(ax.get_yscale() == "log" for ax in figure.axes if ax.get_visible())
    titles = [ax.get_title(loc="left") for ax in figure.axes[:4]]
    assert titles == list(histories)[:4] and overlaps(figure) == []
    many = cascade.figure_hops(
        {f"cascade-{n}": history(n, 20) for n in range(11, 5, -1)} | {"direct-6": history(6, 5)}
    )
    assert sum(ax.get_visible() for ax in many.axes) == 14 and overlaps(many) == []
    assert overlaps(cascade.figure_hops({})) == []
    assert "cascade-5 1 to 0.00333" in cascade.describe_hops(histories)
    assert "nothing was trained" in cascade.describe_hops({"truncated-3": []})


def test_long_curves_are_thinned_to_means():
    thin = figures.thinned(pd.DataFrame(history(1, 1000)))
    assert len(thin) == 112 and thin["step"].iloc[0] == 5.0  # nine steps a point: the mean of 1 … 9
    assert thin["loss"].iloc[0] == pytest.approx(sum(1 / s for s in range(1, 10)) / 9)
    assert figures.thinned(pd.DataFrame(history(1, 7)))["step"].tolist() == list(range(1, 8))


def test_levels_of_these_tests_are_the_printed_ones():
    table = papers.table("004", "xnli").drop(columns="mean")
    for name, level in CASCADE.items():
        if name.startswith(("cascade", "direct")):
            assert table.loc[
                "LMB" if name == "direct-6" else name.removeprefix("cascade-")
            ].tolist() == list(level)
