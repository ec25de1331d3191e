"""The ablation study: what DistilBERT's student keeps, and what each of its three losses is worth
(002_…, Tables 1 and 4).

Pure functions from the contract tables to frames and prose; `results` are rows of one protocol,
scores are percent. The figures are in `lib.studies.ablation`.

Figures of the ablation study (002, Table 4). Ours in colour, the paper's own numbers hollow and
grey.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.report import papers
from lib.report import scores as glue
from lib.report.figures import (
    DIAMOND,
    ink,
    leave_room_for_numbers,
    legend,
    panels,
    plain_axes,
    seeds_column,
    seeds_row,
)
from lib.report.scores import MEAN
from lib.report.statistics import interval, paired_differences, pm
from lib.report.wording import (
    conclusion,
    decided,
    listed,
    number_of,
    printed,
    signed,
    tested,
    with_interval,
)

STUDY = "ablation"
LOSSES = {"without_soft": "soft targets", "without_cosine": "cosine", "without_mlm": "MLM"}
"""The scenario without a loss -> the loss."""
ABOUT = {
    "triple": "triple loss 5 / 2 / 1",
    "without_soft": "without soft targets",
    "without_cosine": "without cosine",
    "without_mlm": "without MLM",
    "random_init": "a random start",
    "equal_weights": "equal weights 1 / 1 / 1",
    "layers_to_top": "a start from layers up to the top",
}
TEMPERATURES = {"temperature1": 1, "triple": 2, "temperature4": 4, "temperature8": 8}
EVERY = {
    "teacher": "teacher",
    **ABOUT,
    **{name: f"temperature {t}" for name, t in TEMPERATURES.items() if name not in ABOUT},
}
"""All scenarios, for the table of every task."""
PAPER_TASKS = [("teacher", "BERT-base"), ("student", "DistilBERT"), ("reference", "ELMo")]
"""The columns of `tasks_table` that hold the paper's own numbers."""
PAPER_ABLATION = ["printed difference"]
"""Those of `ablation_table`."""
TASKS_NOTE = (
    "Ours: mean over seeds ± half of the 95 % interval; the printed numbers are medians of five "
    "runs. The score is the mean of the "
    "nine tasks. A task with two metrics counts as their mean, MNLI as its matched set. "
    + " ".join(map(printed, papers.flags("002", "glue")))
)
ABLATION_NOTE = (
    "Macro score: mean of nine GLUE tasks (MNLI matched), mean over seeds ± half of the 95 % "
    "interval. Differences are paired "
    "by fine-tuning seed, in points."
)


def scores(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed for the nine tasks and MEAN, as 002 scores: MNLI on its matched set."""
    return glue.by_seed(results, STUDY, scenario, mnli="matched")


def macro(results: pd.DataFrame, scenario: str) -> pd.Series:
    """The macro score by seed, in percent; seeds without all nine tasks are left out."""
    return scores(results, scenario)[MEAN].dropna()


def paper_scores(scenario: str) -> pd.DataFrame:
    """002's printed numbers of a scenario as one row, columns as `scores`; the ablated ones have
    the macro score alone."""
    table = papers.table("002", "glue").rename(columns={"score": MEAN})[[*glue.TASKS, MEAN]]
    printed = {"teacher": "BERT-base", "triple": "DistilBERT"}
    if scenario in printed:
        return table.loc[[printed[scenario]]].reset_index(drop=True)
    changes = papers.table("002", "ablation")["glue_change"]
    if scenario not in changes.index:
        return table.iloc[:0]
    return pd.DataFrame({MEAN: [table.loc["DistilBERT", MEAN] + changes[scenario]]}).reindex(
        columns=table.columns
    )


def tasks_table(results: pd.DataFrame) -> pd.DataFrame:
    """002's Table 1 turned on its side: a row per task and one for the score, ours beside
    BERT-base, DistilBERT and ELMo.

    Ours is mean ± half of the 95 % interval over seeds.
    """
    theirs = papers.table("002", "glue")
    ours = {"teacher": "teacher", "student": "triple"}
    columns = {}
    for who, model in PAPER_TASKS:
        if who in ours:
            found = scores(results, ours[who])
            columns[who, "ours"] = [pm(found[task].dropna()) for task in (MEAN, *glue.TASKS)]
        columns[who, model] = [f"{theirs.loc[model, task]:.1f}" for task in ("score", *glue.TASKS)]
    return pd.DataFrame(columns, index=pd.Index(["score", *glue.TASKS.values()], name="task"))


def ablation_table(results: pd.DataFrame) -> pd.DataFrame:
    """002's Table 4 with ours: macro score, paired difference to `triple`, share of the teacher's
    score that is kept.

    A row per scenario that was measured or printed; "–" for what was not.
    """
    changes = papers.table("002", "ablation")["glue_change"]
    teacher, triple = macro(results, "teacher"), macro(results, "triple")
    rows = {}
    for name, label in ABOUT.items():
        ours = macro(results, name)
        if ours.empty and name not in changes.index and name != "triple":
            continue
        difference = (
            paired_differences(ours, triple) if name != "triple" else pd.Series(dtype=float)
        )
        rows[label] = {
            "macro score": pm(ours),
            "difference [95 %]": with_interval(interval(difference), 2) if len(difference) else "–",
            "printed difference": signed(changes[name], 2) if name in changes.index else "–",
            "share of the teacher, %": pm((100 * ours / teacher).dropna()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("student")


def _printed_share() -> float:
    printed = papers.table("002", "glue")["score"]
    return printed["DistilBERT"] / printed["BERT-base"]


def temperature_table(results: pd.DataFrame) -> pd.DataFrame:
    """Macro score by the temperature T of the soft targets, and the paired difference to T = 2. A
    row per measured T."""
    reference, rows = macro(results, "triple"), {}
    for name, temperature in TEMPERATURES.items():
        ours = macro(results, name)
        if len(ours):
            difference = (
                paired_differences(ours, reference) if name != "triple" else pd.Series(dtype=float)
            )
            rows[str(temperature)] = {
                "macro score": pm(ours),
                "difference to 2 [95 %]": with_interval(interval(difference), 2)
                if len(difference)
                else "–",
            }
    columns = ["macro score", "difference to 2 [95 %]"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("temperature")


def describe(results: pd.DataFrame) -> str:
    """The ablation's figure in words, for readers who do not see it."""
    gone = {
        label: paired_differences(macro(results, name), macro(results, "triple"))
        for name, label in ABOUT.items()
    }
    spoken = [
        f"{label} {signed(d.mean())}"
        for label, d in gone.items()
        if len(d) and label != ABOUT["triple"]
    ]
    return (
        f"Change of the macro score against the triple loss, in points: "
        f"{', '.join(spoken) or 'nothing measured'}."
    )


# --- findings -------------------------------------------------------------------------------------


def findings(results: pd.DataFrame) -> list[str]:
    """A Markdown paragraph per finding, worded by the numbers. An interval that holds zero is
    called undecided."""
    return [
        kept_paragraph(results),
        losses_paragraph(results),
        against_triple(results, "What the teacher's weights are worth", "random_init"),
        against_triple(results, "Whether the weights of the losses matter", "equal_weights"),
        temperature_paragraph(results),
        against_triple(results, "Which layers the student starts from", "layers_to_top"),
    ]


def kept_paragraph(results: pd.DataFrame) -> str:
    """The share of the teacher's macro score that the student keeps, beside the printed 97 % (95 %
    on the slide)."""
    head = "**How much of the teacher is kept.**"
    share = (100 * macro(results, "triple") / macro(results, "teacher")).dropna()
    if share.empty:
        return (
            f"{head} Not measured: student and teacher have no seed in common with all nine tasks."
        )
    found = interval(share)
    text = (
        f"{head} With the triple loss the student keeps {pm(share)} % of its teacher's macro score"
    )
    fact = papers.fact("002", "performance_kept")
    theirs = (
        f"The paper's table gives {printed(f'{100 * _printed_share():.1f} %')}, its caption "
        f"{printed(f'{fact:.0f} %')}."
    )
    if np.isnan(found.low):
        return f"{text} with one seed, so nothing is concluded. {theirs}"
    # Half a point around the caption's number: it is rounded, and its own table gives 96.9.
    side = (
        "below"
        if found.high < fact - 0.5
        else "above"
        if found.low > fact + 0.5
        else "not to be told from"
    )
    return f"{text} over {number_of(len(share), 'seed')}: {side} {fact:.0f} %. {theirs}"


def losses_paragraph(results: pd.DataFrame) -> str:
    """Which loss costs most to leave out: the three ranked by their mean cost, neighbours told
    apart by paired intervals."""
    head, triple = "**Which loss costs most to leave out.**", macro(results, "triple")
    without = {name: macro(results, name) for name in LOSSES}
    change = {name: paired_differences(scores, triple) for name, scores in without.items()}
    measured = sorted(
        (name for name in LOSSES if len(change[name])), key=lambda name: change[name].mean()
    )
    if len(measured) < 2:
        return f"{head} Not measured: fewer than two of the three losses have been left out."
    parts = [f"{LOSSES[name]} {with_interval(interval(change[name]), 2)}" for name in measured]
    text = (
        f"By mean cost, in points of the macro score against the triple loss: {', '.join(parts)}."
    )
    if min(len(change[name]) for name in measured) == 1:
        return (
            f"{head} One seed has no interval, so nothing is concluded. {text} {_printed_order()}"
        )
    costs = [LOSSES[name] for name in measured if decided(change[name]) < 0]
    free = [LOSSES[name] for name in measured if decided(change[name]) >= 0]
    verdict = (
        f"Shown to cost: {listed(costs)}."
        if costs
        else "No loss is shown to cost anything by itself."
    )
    if costs and free:
        verdict += f" No cost is shown for {' or '.join(free)}: the interval is not below zero."
    leads = {
        f"{LOSSES[worse]} over {LOSSES[better]}": paired_differences(
            without[better], without[worse]
        )
        for worse, better in zip(measured, measured[1:])
    }
    told = [f"{pair} by {with_interval(interval(d), 2)} ({_order(d)})" for pair, d in leads.items()]
    return f"{head} {verdict} {text} Each against the next: {'; '.join(told)}. {_printed_order()}"


def _order(lead: pd.Series) -> str:
    return "the order is decided" if decided(lead) > 0 else "undecided"


def _printed_order() -> str:
    changes = papers.table("002", "ablation")["glue_change"]
    return (
        f"The paper prints "
        f"{', '.join(f'{LOSSES[name]} {printed(signed(changes[name], 2))}' for name in LOSSES)}."
    )


def against_triple(results: pd.DataFrame, question: str, name: str) -> str:
    """What the paired difference of one scenario to `triple` says on the macro score."""
    head, label = f"**{question}.**", ABOUT[name]
    d = paired_differences(macro(results, name), macro(results, "triple"))
    if d.empty:
        return f"{head} Not measured: {name} and triple have no seed in common with all nine tasks."
    changes = papers.table("002", "ablation")["glue_change"]
    theirs = (
        f" The paper prints {printed(signed(changes[name], 2))}." if name in changes.index else ""
    )
    return (
        f"{head} {conclusion(interval(d), label[0].upper() + label[1:], 'the triple loss')} "
        f"Against it: "
        f"{with_interval(interval(d), 2)} points of the macro score ({tested(d)}).{theirs}"
    )


def temperature_paragraph(results: pd.DataFrame) -> str:
    """Which temperatures can be told from T = 2."""
    head, reference = "**What the temperature does.**", macro(results, "triple")
    others: Mapping[int, pd.Series] = {
        t: paired_differences(macro(results, name), reference)
        for name, t in TEMPERATURES.items()
        if name != "triple"
    }
    others = {t: d for t, d in others.items() if len(d)}
    if not others:
        return f"{head} Not measured: no other temperature has a seed in common with T = 2."
    words, verdict = {1: "better", -1: "worse", 0: "undecided"}, "Some can be told from T = 2."
    if not any(map(decided, others.values())):
        verdict = "No other can be told from T = 2."
    parts = [
        f"T = {t} {with_interval(interval(d), 2)}, {words[decided(d)]}" for t, d in others.items()
    ]
    return f"{head} {verdict} Against it, in points of the macro score: {'; '.join(parts)}."


COLOURS = {  # Okabe and Ito's; the teacher, which is not here, is drawn in the ink of the page
    "triple": "#0072b2",
    "without_soft": "#d55e00",
    "without_cosine": "#e69f00",
    "without_mlm": "#56b4e9",
    "random_init": "#cc79a7",
    "equal_weights": "#009e73",
    "layers_to_top": "#a0845c",
    "temperature1": "#0072b2",  # triple's, whose temperature is 2: told apart by their dashes
    "temperature4": "#0072b2",
    "temperature8": "#0072b2",
}


def figure_ablation(results: pd.DataFrame):
    """Change of the macro score against `triple`, in points: a row per scenario, paired differences
    by seed."""
    changes, triple = papers.table("002", "ablation")["glue_change"], macro(results, "triple")
    gone = {
        name: paired_differences(macro(results, name), triple) for name in ABOUT if name != "triple"
    }
    shown = [name for name in gone if len(gone[name])]
    figure, (ax,) = panels(1, row_height=0.9 + 0.36 * max(len(shown), 1))
    for row, name in enumerate(shown):
        seeds_row(ax, gone[name], row, COLOURS.get(name, ink()))
        if name in changes.index:
            ax.plot(changes[name], row + 0.1, **DIAMOND)
        text = with_interval(interval(gone[name]), 2)
        ax.text(
            1.0, row, text, transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=8
        )
    ax.plot([0], [-0.4], ls="")  # zero belongs on the axis, wherever the differences lie
    leave_room_for_numbers(ax)
    ax.axvline(0, color=ink(), lw=0.8, alpha=0.6, zorder=1)
    plain_axes(ax, "", grid="x")
    ax.spines["left"].set_visible(False)
    ax.set_yticks(range(len(shown)), [ABOUT[name] for name in shown], fontsize=8)
    ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    ax.set_xlabel("macro score less that of the triple loss, points", fontsize=9)
    legend(figure, "the paper")
    return figure


def figure_temperature(results: pd.DataFrame):
    """Macro score in percent against the temperature of the soft targets, on a logarithmic axis."""
    figure, (ax,) = panels(1, row_height=2.4)
    means = {}
    for name, temperature in TEMPERATURES.items():
        ours = macro(results, name)
        if len(ours):
            seeds_column(ax, ours, temperature, COLOURS["triple"], offset=0.95)
            means[temperature] = ours.mean()
    ax.plot(list(means), list(means.values()), color=COLOURS["triple"], lw=1, alpha=0.6, zorder=1)
    plain_axes(ax, "", grid="y")
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.8, 10)
    ax.set_xticks(
        list(TEMPERATURES.values()), [str(temperature) for temperature in TEMPERATURES.values()]
    )
    ax.minorticks_off()
    ax.set_xlabel("temperature", fontsize=9)
    ax.set_ylabel("macro score in percent", fontsize=9)
    return figure


def describe_temperature(results: pd.DataFrame) -> str:
    """The figure of temperatures in words."""
    means = {t: macro(results, name).mean() for name, t in TEMPERATURES.items()}
    spoken = ", ".join(f"{value:.1f} at {t}" for t, value in means.items() if value == value)
    return f"Macro score by temperature: {spoken or 'nothing measured'}."


def all_scores(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """`scores` with SQuAD's two beside them."""
    return scores(results, scenario).join(glue.squad(results, STUDY, scenario), how="outer")


def all_printed(scenario: str) -> pd.DataFrame:
    """The printed GLUE scores (002), and SQuAD's beside them (001, Table 7)."""
    model = {"teacher": "teacher", "triple": "DistilBERT"}.get(scenario, "")
    squad = papers.table("001", "squad_size").reindex([model]).reset_index(drop=True)
    return paper_scores(scenario).join(squad)
