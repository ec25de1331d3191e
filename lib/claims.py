"""The claims ledger: every empirical claim of the sources, tested against our own runs. Adding a claim is one entry in
`lib.ledger_herbert` and its neighbours, or in a new file that `lib.ledger` lists.

The verdict rule, for all claims: an entry names the region in which its quantity lies if the claim is true.
The verdict is `holds` if the whole 95 % interval lies inside that region, `contradicted` if the whole interval lies
outside it, and `unresolved` otherwise, so also with one seed or none. An exact quantity, such as a count of
parameters, is an interval of no width; several seeds that all give the same value are not one, and leave the claim open.

A claim about several comparisons at once ("best of all", "on every task") is measured by the smallest of the paired
differences, because the claim is no truer than its weakest part. The interval of that smallest difference runs from the
least of the low ends, each at 95 % (every part has to pass, which needs no correction), to the least of the high ends,
each at 1 - 0.05 / k for k parts (one failing part is enough, so looking at k of them is paid for).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import NamedTuple

import pandas as pd

from lib.statistics import interval, paired_differences

COLUMNS = ["id", "source", "claim", "paper_value", "measured", "ci_low", "ci_high", "n", "verdict"]

MEAN = "mean of tasks"
"""Stands for a task: the mean over a list of tasks, per seed."""

Pair = tuple[str, str]
"""(better, worse): the scenario that the claim puts higher, and the other."""


class Evidence(NamedTuple):
    """What we measured, in the claim's unit: the value, its 95 % interval, and the number of (paired) seeds."""

    value: float
    low: float
    high: float
    n: int


MISSING = Evidence(nan, nan, nan, 0)


@dataclass(frozen=True)
class Claim:
    """One claim. `claim` is its sentence in our words; `evidence(results, efficiency)` measures it.

    `expected` is the open region (low, high) in which the quantity lies if the claim is true: see `above`,
    `below`, `about`. `paper_value` is the same quantity computed from the paper's own numbers, NaN where it prints none.
    `unit` stands behind the number, theirs and ours. `asks` is what a run must have for the claim to be measured at all,
    where that is more than its scenarios: "a teacher of BERT-base's size".
    """

    id: str
    source: str
    claim: str
    paper_value: float
    evidence: Callable[[pd.DataFrame, pd.DataFrame], Evidence]
    expected: tuple[float, float]
    unit: str = "points"
    asks: str = ""


def above(threshold: float) -> tuple[float, float]:
    return threshold, inf


def below(threshold: float) -> tuple[float, float]:
    return -inf, threshold


def about(value: float, tolerance: float) -> tuple[float, float]:
    return value - tolerance, value + tolerance


def verdict(evidence: Evidence, expected: tuple[float, float]) -> str:
    """The rule of this module's first paragraphs."""
    if evidence.n == 0 or isnan(evidence.low) or isnan(evidence.high) or all_alike(evidence):
        return "unresolved"
    if evidence.low > expected[0] and evidence.high < expected[1]:
        return "holds"
    if evidence.high < expected[0] or evidence.low > expected[1]:
        return "contradicted"
    return "unresolved"


def all_alike(evidence: Evidence) -> bool:
    """Whether several seeds gave one and the same value, as on a task of few examples: no interval can be had from them."""
    return evidence.n > 1 and evidence.high - evidence.low < 1e-9


def evaluate(
    results: pd.DataFrame, efficiency: pd.DataFrame, protocol: str = "final", claims: Sequence[Claim] | None = None
) -> pd.DataFrame:
    """A row per claim with the columns of claims.csv. Scores are percent, differences percentage points.

    `protocol` "final" scores each run after its last epoch; "best_epoch" is the maximum over epochs, as in 000.
    """
    results = results[results["protocol"] == protocol]
    rows = []
    if claims is None:
        from lib.ledger import CLAIMS as claims  # the entries are made of what stands here
    for c in claims:
        found = c.evidence(results, efficiency)
        rows.append([c.id, c.source, c.claim, c.paper_value, *found, verdict(found, c.expected)])
    return pd.DataFrame(rows, columns=COLUMNS)


def scores(results: pd.DataFrame, study: str, scenario: str, tasks: Sequence[str]) -> pd.DataFrame:
    """Percent by seed (rows) and task (columns); a seed needs all `tasks`. With several there is a column MEAN too.

    Several metrics or languages of one task count as their mean, as GLUE and XNLI do.
    """
    rows = results[(results["study"] == study) & (results["scenario"] == scenario) & results["task"].isin(tasks)]
    table = rows.pivot_table(index="seed", columns="task", values="value").reindex(columns=list(tasks)).dropna()
    return table.assign(**{MEAN: table.mean(axis=1)})


def smallest_gain(study: str, pairs: Sequence[Pair], tasks: Sequence[str], on: Sequence[str]) -> Callable:
    """Evidence for "better is above worse, for each of `pairs` and on each of `on`", in percentage points.

    `on` lists tasks, or MEAN for the mean of `tasks`. With one pair and one task it is the plain paired difference.
    """

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        found = {name: scores(results, study, name, tasks) for name in {name for pair in pairs for name in pair}}
        return smallest(gains(pairs, on)(found.__getitem__))

    return evidence


def gains(pairs: Sequence[Pair], on: Sequence[str]) -> Callable:
    """Per-seed differences better - worse, in points, for each of `pairs` and each column of `on`.

    What it returns takes `of`: scenario -> frame of scores by seed, ours or a paper's.
    """
    return lambda of: [paired_differences(of(better)[task], of(worse)[task]) for better, worse in pairs for task in on]


def shares(students: Sequence[str], teacher: str, on: Sequence[str]) -> Callable:
    """Per-seed share of the teacher's score that a student keeps, in percent; returns a function of `of`, as `gains`."""
    return lambda of: [(100 * of(name)[task] / of(teacher)[task]).dropna() for name in students for task in on]


def smallest(parts: Sequence[pd.Series]) -> Evidence:
    """The smallest of several quantities, each a value per seed. Its interval is this module's third paragraph."""
    if any(part.empty for part in parts):
        return MISSING
    plain = [interval(part) for part in parts]
    paid = [interval(part, confidence=1 - 0.05 / len(parts)) for part in parts]
    if any(isnan(i.low) for i in plain):
        low = high = nan
    else:
        low, high = min(i.low for i in plain), min(i.high for i in paid)
    return Evidence(min(i.mean for i in plain), low, high, min(map(len, parts)))


def largest(parts: Sequence[pd.Series]) -> Evidence:
    """The largest of several quantities: for a claim that all of them lie below a bound. The mirror of `smallest`."""
    found = smallest([-part for part in parts])
    return Evidence(-found.value, -found.high, -found.low, found.n)


def efficiency_value(efficiency: pd.DataFrame, study: str, scenario: str, column: str) -> float:
    """The scenario's value in efficiency.csv, NaN if there is none. Several rows (stages) give the largest; those of stages
    that made no model of their own, such as fine-tuning, have no parameters and do not count."""
    rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
    rows = rows[rows["parameters"].notna()]
    return float(rows[column].max()) if len(rows) else nan


def counted(value: float) -> Evidence:
    """Evidence from a quantity that is counted, not sampled: an interval of no width."""
    return MISSING if isnan(value) else Evidence(value, value, value, 1)


def ratio(study: str, a: str, b: str, column: str, scale: float = 1) -> Callable:
    """Evidence: `scale` times a's over b's value of a column of efficiency.csv, say parameters or latency_s.

    A latency is a median over many passes in turns and is taken as counted: only a wide region should judge it.
    """

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        ours, whole = (efficiency_value(efficiency, study, name, column) for name in (a, b))
        return counted(scale * ours / whole)

    return evidence


def at_size(measure: Callable, study: str, teacher: str, parameters: float, tolerance: float = 0.05) -> Callable:
    """`measure`, or MISSING unless the teacher has so many parameters, within the tolerance (a share): what a source says
    of its own model's size is left open by models of other sizes."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        found = efficiency_value(efficiency, study, teacher, "parameters") / parameters
        return measure(results, efficiency) if abs(found - 1) <= tolerance else MISSING

    return evidence


def tokens_per_parameter(study: str, trained: str, model: str, passes: float = 1) -> Callable:
    """Evidence: tokens that `trained` saw, divided by `passes` over the corpus, per parameter of `model`."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        tokens = efficiency_value(efficiency, study, trained, "tokens_seen") / passes
        return counted(tokens / efficiency_value(efficiency, study, model, "parameters"))

    return evidence


def megabytes(study: str, scenario: str) -> Callable:
    """Evidence: the model's size in 10^6 bytes."""
    return lambda results, efficiency: counted(efficiency_value(efficiency, study, scenario, "size_mib") * 1.048576)
