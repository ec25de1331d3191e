"""Paired comparisons across studies and how their sum is put in words: what `lib.studies.decisions`
is made of.

A comparison is level if its 95 % interval lies wholly within one point of zero, on whichever side:
too little to choose by. It is better or worse if its interval lies wholly on one side of zero
otherwise; and open if not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.report.claims import efficiency_value
from lib.report.scores import MEAN
from lib.report.statistics import interval, paired_differences
from lib.report.wording import decided, listed, with_interval
from lib.studies import ablation, cascade
from lib.studies.herbert import herbert_scores
from lib.studies.transfer_set import suites

LEVEL = 1.0
"""Points. The sources call as much "marginal" or "hardly any"."""


class Measure(NamedTuple):
    """A score of a study: `of(scenario)` gives percent by fine-tuning seed."""

    study: str
    name: str
    of: Callable[[str], pd.Series]

    def compare(self, a: str, b: str) -> "Compared":
        """a - b by seed, in points; empty where no seed has both."""
        return Compared(
            self.study, self.name, f"{a} − {b}", paired_differences(self.of(a), self.of(b))
        )


class Compared(NamedTuple):
    """A paired difference by seed, in points; `pair` says of what."""

    study: str
    name: str
    pair: str
    difference: pd.Series


class Run(NamedTuple):
    """What the decisions are made from: measures by name, efficiency.csv, and the results of one
    protocol."""

    of: Mapping[str, Measure]
    efficiency: pd.DataFrame
    results: pd.DataFrame

    def ratio(self, study: str, a: str, b: str, column: str) -> float:
        """a's over b's value of a column of efficiency.csv; 0 where either is missing."""
        ours, base = (efficiency_value(self.efficiency, study, name, column) for name in (a, b))
        return ours / base if ours > 0 and base > 0 else 0.0


def run(results: pd.DataFrame, efficiency: pd.DataFrame) -> Run:
    """`results` are rows of one protocol."""
    return Run(measures(results), efficiency, results)


def measures(results: pd.DataFrame) -> dict[str, Measure]:
    """What the studies are compared on: HerBERT's three tasks, GLUE (of two studies), SQuAD and
    XNLI."""
    by_suite = cache(lambda scenario: suites(results, scenario))
    return {
        "herbert": Measure(
            "herbert", "HerBERT's tasks", lambda name: herbert_scores(results, name)[MEAN].dropna()
        ),
        "macro": Measure("ablation", "GLUE", cache(lambda name: ablation.macro(results, name))),
        "glue": Measure("transfer_set", "GLUE", lambda name: by_suite(name)["glue"].dropna()),
        "squad": Measure("transfer_set", "SQuAD F1", lambda name: by_suite(name)["f1"].dropna()),
        "xnli": Measure("cascade", "XNLI", cache(lambda name: cascade.average(results, name))),
    }


def measured(comparisons: Iterable[Compared]) -> list[Compared]:
    """Those for which there is any seed."""
    return [c for c in comparisons if len(c.difference)]


def side(difference: pd.Series) -> str:
    """ "better", "worse", "level" or "open", as at the head of this module."""
    i = interval(difference)
    if np.isnan(i.low) or i.high - i.low < 1e-9:  # one seed, or seeds that are all alike
        return "open"
    if -LEVEL < i.low and i.high < LEVEL:
        return "level"
    return {1: "better", -1: "worse", 0: "open"}[decided(difference)]


def overall(comparisons: Sequence[Compared]) -> str:
    """The side of several together: "split" if they are better and worse; level only if all are."""
    sides = {side(c.difference) for c in comparisons}
    if {"better", "worse"} <= sides:
        return "split"
    for one in ("better", "worse"):
        if one in sides:
            return one
    return "level" if sides == {"level"} else "open"


def how_sure(comparisons: Sequence[Compared]) -> str:
    """ "decided", "decided in part", "level" or "undecided": what the comparisons together
    deserve."""
    open_ones = [c for c in comparisons if side(c.difference) in ("open", "level")]
    if not open_ones:
        return "decided"
    if len(open_ones) < len(comparisons):
        return "decided in part"
    return "level" if overall(comparisons) == "level" else "undecided"


def told(comparisons: Sequence[Compared], pairs: bool = True) -> str:
    """ "+9.1 [+5.2, +13.1] on HerBERT's tasks (S2 − S1); +0.3 [−0.9, +1.5] on GLUE (…),
    undecided"."""
    return "; ".join(
        f"{with_interval(interval(c.difference))} on "
        f"{c.name}{f' ({c.pair})' if pairs else ''}{unsure(c.difference)}"
        for c in comparisons
    )


def unsure(difference: pd.Series) -> str:
    """What stands behind a number that is not to be chosen by: ", undecided", ", level" or ", one
    seed"; "" if it is."""
    if len(difference) == 1:
        return ", one seed"
    return {"open": ", undecided", "level": ", level"}.get(side(difference), "")


def advice(comparisons: Sequence[Compared], better: str, worse: str, level: str, open: str) -> str:
    """The sentence for the side of several comparisons together; where they are split, both
    sentences, each with its tasks."""
    found = overall(comparisons)
    if found != "split":
        return {"better": better, "worse": worse, "level": level, "open": open}[found]
    return (
        f"On {names(comparisons, 'better')}: {lower(better)} On {names(comparisons, 'worse')}: "
        f"{lower(worse)}"
    )


def names(comparisons: Iterable[Compared], wanted: str) -> str:
    """What the comparisons of one side were made on: "GLUE and XNLI"."""
    return listed(dict.fromkeys(c.name for c in comparisons if side(c.difference) == wanted))


def lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
