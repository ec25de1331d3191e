"""The ablation study: what DistilBERT's student keeps, and what each of its three losses is worth (002_…, Tables 1 and 4).

Pure functions from the contract tables to frames and prose; `results` are rows of one protocol, scores are percent. The
figures are in `lib.ablation_figures`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib import glue, papers
from lib.claims import MEAN
from lib.statistics import interval, paired_differences, pm, sign_flip_p, smallest_p
from lib.wording import conclusion, decided, number_of, signed, with_interval

STUDY = "ablation"
LOSSES = {"without_soft": "soft targets", "without_cosine": "cosine", "without_mlm": "MLM"}
"""The scenario without a loss -> the loss."""
ABOUT = {
    "triple": "triple loss 5 / 2 / 1",
    "without_soft": "without soft targets",
    "without_cosine": "without cosine",
    "without_mlm": "without MLM",
    "random_init": "triple loss, random start",
    "equal_weights": "triple loss 1 / 1 / 1",
    "layers_to_top": "layers up to the top",
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
    "Medians over seeds, as printed; the score is the mean of the nine tasks. A task with two metrics counts as their mean, "
    "MNLI as its matched set. BERT-base's MNLI is printed as 86.7; only 84.7 gives the printed score of 79.5."
)
ABLATION_NOTE = (
    "Macro score: mean of nine GLUE tasks (MNLI matched), mean over seeds ± half of the 95 % interval. Differences are paired "
    "by fine-tuning seed, in points. The share of the teacher that DistilBERT keeps is 96.9 % by the printed scores (77.0 / 79.5), "
    "97 % over their table and 95 % on another slide."
)


def scores(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed for the nine tasks and MEAN, as 002 scores: MNLI on its matched set."""
    return glue.by_seed(results, STUDY, scenario, mnli="matched")


def macro(results: pd.DataFrame, scenario: str) -> pd.Series:
    """The macro score by seed, in percent; seeds without all nine tasks are left out."""
    return scores(results, scenario)[MEAN].dropna()


def paper_scores(scenario: str) -> pd.DataFrame:
    """002's printed numbers of a scenario as one row, columns as `scores`; the ablated ones have the macro score alone."""
    table = papers.table("002", "glue").rename(columns={"score": MEAN})[[*glue.TASKS, MEAN]]
    printed = {"teacher": "BERT-base", "triple": "DistilBERT"}
    if scenario in printed:
        return table.loc[[printed[scenario]]].reset_index(drop=True)
    changes = papers.table("002", "ablation")["glue_change"]
    if scenario not in changes.index:
        return table.iloc[:0]
    return pd.DataFrame({MEAN: [table.loc["DistilBERT", MEAN] + changes[scenario]]}).reindex(columns=table.columns)


def tasks_table(results: pd.DataFrame) -> pd.DataFrame:
    """002's Table 1 turned on its side: a row per task and one for the score, ours beside BERT-base, DistilBERT and ELMo.

    Ours is the median over seeds; the score is the mean of the nine medians, as the printed one is.
    """
    theirs = papers.table("002", "glue")
    ours = {"teacher": "teacher", "student": "triple"}
    columns = {}
    for who, printed in PAPER_TASKS:
        if who in ours:
            medians = scores(results, ours[who])[list(glue.TASKS)].median()
            columns[who, "ours"] = [medians.mean(skipna=False), *medians]
        columns[who, printed] = [theirs.loc[printed, "score"], *theirs.loc[printed, list(glue.TASKS)]]
    frame = pd.DataFrame(columns, index=pd.Index(["score", *glue.TASKS.values()], name="task"))
    return frame.map(lambda value: "–" if pd.isna(value) else f"{value:.1f}")


def ablation_table(results: pd.DataFrame) -> pd.DataFrame:
    """002's Table 4 with ours: macro score, paired difference to `triple`, share of the teacher's score that is kept.

    A row per scenario that was measured or printed; "–" for what was not.
    """
    changes = papers.table("002", "ablation")["glue_change"]
    teacher, triple = macro(results, "teacher"), macro(results, "triple")
    rows = {}
    for name, label in ABOUT.items():
        ours = macro(results, name)
        if ours.empty and name not in changes.index and name != "triple":
            continue
        difference = paired_differences(ours, triple) if name != "triple" else pd.Series(dtype=float)
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
    """Macro score by the temperature T of the soft targets, and the paired difference to T = 2. A row per measured T."""
    reference, rows = macro(results, "triple"), {}
    for name, temperature in TEMPERATURES.items():
        ours = macro(results, name)
        if len(ours):
            difference = paired_differences(ours, reference) if name != "triple" else pd.Series(dtype=float)
            rows[str(temperature)] = {
                "macro score": pm(ours),
                "difference to 2 [95 %]": with_interval(interval(difference), 2) if len(difference) else "–",
            }
    columns = ["macro score", "difference to 2 [95 %]"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("temperature")


def describe(results: pd.DataFrame) -> str:
    """The ablation's figure in words, for readers who do not see it."""
    gone = {label: paired_differences(macro(results, name), macro(results, "triple")) for name, label in ABOUT.items()}
    spoken = [f"{label} {signed(d.mean())}" for label, d in gone.items() if len(d) and label != ABOUT["triple"]]
    return f"Change of the macro score against the triple loss, in points: {', '.join(spoken) or 'nothing measured'}."


# --- findings --------------------------------------------------------------------------------------------------------


def findings(results: pd.DataFrame) -> list[str]:
    """A Markdown paragraph per finding, worded by the numbers. An interval that holds zero is called undecided."""
    return [
        kept_paragraph(results),
        losses_paragraph(results),
        against_triple(results, "What the teacher's weights are worth", "random_init"),
        against_triple(results, "Whether the weights of the losses matter", "equal_weights"),
        temperature_paragraph(results),
        against_triple(results, "Which layers the student starts from", "layers_to_top"),
    ]


def kept_paragraph(results: pd.DataFrame) -> str:
    """The share of the teacher's macro score that the student keeps, beside the printed 97 % (95 % on the slide)."""
    head = "**How much of the teacher is kept.**"
    share = (100 * macro(results, "triple") / macro(results, "teacher")).dropna()
    if share.empty:
        return f"{head} Not measured: student and teacher have no seed in common with all nine tasks."
    found = interval(share)
    text = f"{head} With the triple loss the student keeps {pm(share)} % of its teacher's macro score"
    fact = papers.fact("002", "performance_kept")
    printed = f"The paper's table gives {100 * _printed_share():.1f} %, its caption {fact:.0f} %."
    if np.isnan(found.low):
        return f"{text} with one seed, so nothing is concluded. {printed}"
    # Half a point around the caption's number: it is rounded, and its own table gives 96.9.
    side = "below" if found.high < fact - 0.5 else "above" if found.low > fact + 0.5 else "not to be told from"
    return f"{text} over {number_of(len(share), 'seed')}: {side} {fact:.0f} %. {printed}"


def losses_paragraph(results: pd.DataFrame) -> str:
    """Which loss costs most to leave out: the three ranked by their mean cost, neighbours told apart by paired intervals."""
    head, triple = "**Which loss costs most to leave out.**", macro(results, "triple")
    without = {name: macro(results, name) for name in LOSSES}
    change = {name: paired_differences(scores, triple) for name, scores in without.items()}
    measured = sorted((name for name in LOSSES if len(change[name])), key=lambda name: change[name].mean())
    if len(measured) < 2:
        return f"{head} Not measured: fewer than two of the three losses have been left out."
    parts = [f"{LOSSES[name]} {with_interval(interval(change[name]), 2)}" for name in measured]
    text = f"{head} Against the triple loss, in points of the macro score: {', '.join(parts)} (95 % intervals in brackets)."
    if min(len(change[name]) for name in measured) == 1:
        return f"{text} One seed has no interval, so nothing is concluded. {_printed_order()}"
    told = []
    for worse, better in zip(measured, measured[1:]):
        lead = paired_differences(without[better], without[worse])
        verdict = "the order is decided" if decided(lead) > 0 else "undecided"
        told.append(f"{LOSSES[worse]} over {LOSSES[better]} by {with_interval(interval(lead), 2)}: {verdict}")
    free = [LOSSES[name] for name in measured if decided(change[name]) >= 0]
    text += f" Ranked by cost, each against the next: {'; '.join(told)}."
    if free:
        text += f" No cost is shown for leaving out {' or '.join(free)}: the interval is not below zero."
    return f"{text} {_printed_order()}"


def _printed_order() -> str:
    changes = papers.table("002", "ablation")["glue_change"]
    return f"The paper prints {', '.join(f'{LOSSES[name]} {signed(changes[name], 2)}' for name in LOSSES)}."


def against_triple(results: pd.DataFrame, question: str, name: str) -> str:
    """What the paired difference of one scenario to `triple` says on the macro score."""
    head, label = f"**{question}.**", ABOUT[name]
    d = paired_differences(macro(results, name), macro(results, "triple"))
    if d.empty:
        return f"{head} Not measured: {name} and triple have no seed in common with all nine tasks."
    changes = papers.table("002", "ablation")["glue_change"]
    printed = f" The paper prints {signed(changes[name], 2)}." if name in changes.index else ""
    test = (
        f" An exact sign-flip test gives p = {sign_flip_p(d):.3g}; with {len(d)} seeds it cannot go below "
        f"{smallest_p(len(d)):.3g}."
        if len(d) > 1
        else ""
    )
    return (
        f"{head} {label[0].upper() + label[1:]}: {with_interval(interval(d), 2)} points against the triple loss, over "
        f"{number_of(len(d), 'seed')}. {conclusion(interval(d), name, 'triple')}{test}{printed}"
    )


def temperature_paragraph(results: pd.DataFrame) -> str:
    """Which temperatures can be told from T = 2."""
    head, reference = "**What the temperature does.**", macro(results, "triple")
    others: Mapping[int, pd.Series] = {
        t: paired_differences(macro(results, name), reference) for name, t in TEMPERATURES.items() if name != "triple"
    }
    others = {t: d for t, d in others.items() if len(d)}
    if not others:
        return f"{head} Not measured: no other temperature has a seed in common with T = 2."
    words = {1: "better", -1: "worse", 0: "undecided"}
    parts = [f"T = {t} {with_interval(interval(d), 2)}, {words[decided(d)]}" for t, d in others.items()]
    return f"{head} Against T = 2, in points of the macro score: {'; '.join(parts)}."
