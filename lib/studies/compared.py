"""Comparisons of two models, and how several of them are summed up in words.

A comparison is a paired difference over runs, in points. It is "level" if its whole 95 % interval
is within the smallest difference that matters of zero; otherwise "better" or "worse" if the
interval lies on one side of zero; otherwise "open".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.report import tables
from lib.report.declaration import Declaration
from lib.report.section import Analysis
from lib.report.statistics import Sample, interval
from lib.report.wording import capitalised, caveat, decided, level, listed, with_interval


@dataclass(frozen=True)
class Score:
    """A column of a study's scores (if empty, its main one) and what sentences call it."""

    study: str
    title: str
    column: str = ""


@dataclass(frozen=True)
class Comparison:
    """A difference in points; `pair` names the two models."""

    score: Score
    pair: str
    difference: Sample

    @property
    def side(self) -> str:
        """ "better", "worse", "level" or "open"; open also if there is one run, or no variance."""
        i = interval(self.difference)
        if np.isnan(i.low) or i.high - i.low < 1e-9:
            return "open"
        if level(i):
            return "level"
        return {1: "better", -1: "worse", 0: "open"}[decided(self.difference)]

    @property
    def caveat(self) -> str:
        """What follows the number: ", one run", ", undecided", ", level" or ""."""
        return caveat(self.difference)


Pair = tuple[Score, str, str]
"""A score and two scenarios. "{half}" in a name stands for half of the layers of the study's
teacher."""


def halved(name: str, study: Declaration, results: pd.DataFrame) -> str:
    """The name of a scenario, with half of the layers of the study's teacher for "{half}"."""
    of_teacher = (results["study"] == study.name) & (results["scenario"] == study.teacher)
    layers = results.loc[of_teacher, "layers"]
    return name.format(half=int(layers.max()) // 2 if len(layers) else 0)


def compare(analysis: Analysis, pairs: Iterable[Pair]) -> list[Comparison]:
    """first - second for each pair that has a run in common."""
    comparisons = []
    for score, *names in pairs:
        if study := analysis.studies.get(score.study):
            a, b = (halved(name, study, analysis.final) for name in names)
            difference = tables.difference(study, analysis.final, a, b, score.column)
            comparisons.append(Comparison(score, f"{a} − {b}", difference))
    return [c for c in comparisons if len(c.difference)]


def certainty(comparisons: Collection[Comparison]) -> str:
    """How much they decide: "decided", "decided in part", "level" or "undecided"."""
    sides = [c.side for c in comparisons]
    count = sides.count("better") + sides.count("worse")
    if count:
        return "decided" if count == len(sides) else "decided in part"
    return "level" if set(sides) == {"level"} else "undecided"


def verdict(comparisons: Collection[Comparison], clauses: Mapping[str, str], hint: str = "") -> str:
    """One sentence: the clause of the side on which all comparisons are, or the clause of each side
    with the scores on it. The hint follows unless everything is decided.

    >>> verdict([better_on_glue, open_on_xnli], {"better": "take two", "open": "nobody knows"}, "…")
    "On GLUE take two; on XNLI nobody knows; …."
    """
    sides = {c.side for c in comparisons}
    titles = [c.score.title for c in comparisons]
    parts = []
    for side in (side for side in clauses if side in sides):
        where = [
            c.score.title + (f" ({c.pair})" if titles.count(c.score.title) > 1 else "")
            for c in comparisons
            if c.side == side
        ]
        parts.append(f"on {listed(where)} {clauses[side]}" if len(sides) > 1 else clauses[side])
    if hint and not sides <= {"better", "worse"}:
        parts.append(hint)
    return f"{capitalised('; '.join(parts))}."


def number(comparison: Comparison, label: str = "") -> str:
    """ "+0.3 [−0.9, +1.5] for cosine, undecided", where `label` is " for cosine"."""
    return f"{with_interval(interval(comparison.difference))}{label}{comparison.caveat}"


def numbers(comparisons: Iterable[Comparison]) -> str:
    """ "+9.1 [+5.2, +13.1] on HerBERT's tasks (S2 − S1); +0.3 [−0.9, +1.5] on …, undecided"."""
    return "; ".join(number(c, f" on {c.score.title} ({c.pair})") for c in comparisons)
