"""What the sources claim, tested on our own runs. A claim is an entry of
params/<study>/claims.yaml; params/herbert/claims.yaml says how entries are written.

**How a claim is measured.** Claims on scores (`gain`, `contrast`, `share`, `score`) are made of
comparisons, each a value per fine-tuning seed; the paper's value is computed in the same way from
its printed scores. `value` reads a count or a timing. A few claims name a Python function of their
study (`measure`).

**Several comparisons at once** ("best of all", "on every task") are measured by the smallest of
them, because the claim is no truer than its weakest part. The interval of the smallest runs from
the least of the low ends, each at 95 % (every part has to pass, which needs no correction), to the
least of the high ends, each at 1 - 0.05 / k for k parts (one failing part is enough, so looking at
k of them has to be paid for).

**The verdict.** An entry names the region in which its quantity lies if the claim is true. The
verdict is `holds` if the whole 95 % interval lies inside that region, `contradicted` if the whole
interval lies outside it, and `unresolved` otherwise, so also with one seed or none. An exact
quantity, such as a number of parameters, has an interval of no width. Several seeds that all give
the same value have no interval, and leave the claim unresolved.
"""

import ast
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise, product
from math import inf, isfinite, isinf, isnan, nan
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
from pydantic import BeforeValidator, model_validator

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.parameters import NAME, checked
from lib.plan.files import Section
from lib.report import papers
from lib.report.declaration import Declaration
from lib.report.statistics import interval, paired_differences

COLUMNS = ["id", "source", "claim", "paper_value", "measured", "ci_low", "ci_high", "n", "verdict"]


# --- what was measured ----------------------------------------------------------------------------


class Evidence(NamedTuple):
    """What was measured, in the claim's unit: the value, its 95 % interval, the number of seeds."""

    value: float
    low: float
    high: float
    n: int


MISSING = Evidence(nan, nan, nan, 0)


def counted(value: float) -> Evidence:
    """Evidence of a quantity that is counted, not sampled: an interval of no width."""
    return MISSING if isnan(value) else Evidence(value, value, value, 1)


def smallest(parts: Sequence[pd.Series]) -> Evidence:
    """The smallest of several quantities, each a value per seed, with the interval that the
    module's docstring describes. MISSING if any of them was not measured."""
    if not parts or any(part.empty for part in parts):
        return MISSING
    plain = [interval(part) for part in parts]
    corrected = [interval(part, confidence=1 - 0.05 / len(parts)) for part in parts]
    if any(isnan(i.low) for i in plain):
        low = high = nan
    else:
        low, high = min(i.low for i in plain), min(i.high for i in corrected)
    return Evidence(min(i.mean for i in plain), low, high, min(map(len, parts)))


def largest(parts: Sequence[pd.Series]) -> Evidence:
    """The mirror of `smallest`, for a claim that all quantities lie below a bound."""
    mirrored = smallest([-part for part in parts])
    return Evidence(-mirrored.value, -mirrored.high, -mirrored.low, mirrored.n)


def efficiency_value(efficiency: pd.DataFrame, study: str, scenario: str, column: str) -> float:
    """The scenario's value in efficiency.csv, NaN if there is none.

    Several rows (stages) give the largest; those of stages that made no model of their own, such
    as fine-tuning, have no parameters and do not count.
    """
    rows = efficiency[(efficiency["study"] == study) & (efficiency["scenario"] == scenario)]
    rows = rows[rows["parameters"].notna()]
    return float(rows[column].max()) if len(rows) else nan


def number_of_layers(results: pd.DataFrame, study: str, scenario: str) -> float:
    """Of the scenario's model, NaN if there are no results of it."""
    rows = results[(results["study"] == study) & (results["scenario"] == scenario)]
    return float(rows["layers"].max())


@dataclass(frozen=True)
class Scores:
    """The scores that a claim is measured by: those of a run, or those that the paper prints.

    `frame(scenario)` is in percent, a row per seed and a column per score. `layers` is the
    teacher's number of layers, for scenarios that are named by depth.
    """

    study: Declaration
    frame: Callable[[str], pd.DataFrame]
    layers: int

    def scenarios(self, names: Iterable[str]) -> list[str]:
        """The names with numbers of layers in place of {first}, {half} and {each}: one less than
        the teacher, half of the teacher, and every depth between."""
        first, half = self.layers - 1, self.layers // 2
        return [
            name.format(first=first, half=half, each=depth)
            for name in names
            for depth in (range(first, half - 1, -1) if "{each}" in name else [0])
        ]

    def columns(self, names: Iterable[str], scenario: str, without: Sequence[str] = ()) -> list:
        """The scores with these names; "mean" is the study's main one, and "each" stands for all
        but that and `without`."""
        main, columns = self.study.main, []
        for name in names:
            if name == "each":
                every = self.frame(scenario).columns
                columns += [column for column in every if column not in (main, *without)]
            else:
                columns.append(main if name == "mean" else name)
        return columns

    def series(self, scenario: str, column: str) -> pd.Series:
        """A score by seed; empty if it was not measured."""
        return self.frame(scenario).get(column, pd.Series(dtype=float))


@dataclass(frozen=True)
class Run:
    """What a run measured: rows of results.csv (of one protocol) and efficiency.csv."""

    study: Declaration
    results: pd.DataFrame
    efficiency: pd.DataFrame
    scores: Scores

    def value(self, scenario: str, column: str) -> float:
        """A scenario's value of a column of efficiency.csv, or its layers; NaN if there is none."""
        [scenario] = self.scores.scenarios([scenario])
        if column == "layers":
            return number_of_layers(self.results, self.study.name, scenario)
        return efficiency_value(self.efficiency, self.study.name, scenario, column)


def _run(study: Declaration, results: pd.DataFrame, efficiency: pd.DataFrame) -> Run:
    layers = number_of_layers(results, study.name, study.teacher)
    frame = cache(partial(study.scores, results))
    scores = Scores(study, frame, 0 if isnan(layers) else int(layers))
    return Run(study, results, efficiency, scores)


# --- an entry of claims.yaml ----------------------------------------------------------------------


def _number(value: Any) -> float | str:
    allowed = isinstance(value, str) or type(value) in (int, float) and isfinite(value)
    if not allowed:
        raise ValueError("give a number, or a calculation with facts of papers.yaml")
    return value


Names = Annotated[list[str], BeforeValidator(lambda v: v if isinstance(v, list) else [v])]
"""One name or a list of them."""
Number = Annotated[float | str, BeforeValidator(_number)]
"""A number, or a calculation that `calculated` understands."""
Column = Literal[
    "layers",
    "parameters",
    "size_mib",
    "latency_s",
    "tokens_seen",
    "tokens_per_parameter",
    "train_seconds",
    "tokens_per_second",
    "peak_memory_mib",
]


class Gain(Section):
    """Points by which a scenario is above another, on each of `scores`. In an `order` each level is
    above the next; an order of one name with {each} is that of its depths."""

    better: Names = []
    worse: Names = []
    order: list[Names] = []
    scores: Names = ["mean"]

    @model_validator(mode="after")
    def _one_form(self):
        if bool(self.order) == bool(self.better and self.worse):
            raise ValueError("give better and worse, or order")
        return self

    @property
    def names(self) -> list[str]:
        return [*self.better, *self.worse, *(name for level in self.order for name in level)]

    def parts(self, scores: Scores) -> list[pd.Series]:
        levels = [scores.scenarios(level) for level in self.order or [self.better, self.worse]]
        if len(levels) == 1:
            levels = [[name] for name in levels[0]]
        pairs = [pair for upper, lower in pairwise(levels) for pair in product(upper, lower)]
        return [
            paired_differences(scores.series(better, column), scores.series(worse, column))
            for better, worse in pairs
            for column in scores.columns(self.scores, better)
        ]


class Contrast(Section):
    """Points by which a score (a task, a language) is above another in each of `scenarios`, or by
    which it gains more than the other from the scenario `before` to the scenario `after`."""

    better: Names
    worse: Names
    scenarios: Names = []
    before: Names = []
    after: Names = []

    @model_validator(mode="after")
    def _one_form(self):
        if bool(self.scenarios) == bool(self.before and self.after):
            raise ValueError("give scenarios, or before and after")
        return self

    @property
    def names(self) -> list[str]:
        return [*self.scenarios, *self.before, *self.after]

    def parts(self, scores: Scores) -> list[pd.Series]:
        def level(column):
            after_scores = scores.series(after, column)
            if not self.before:
                return after_scores
            return paired_differences(after_scores, scores.series(before, column))

        parts = []
        for before in scores.scenarios(self.before) or [""]:
            for after in scores.scenarios(self.after or self.scenarios):
                for better in scores.columns(self.better, after, without=self.worse):
                    for worse in scores.columns(self.worse, after, without=self.better):
                        parts.append(paired_differences(level(better), level(worse)))
        return parts


class Score(Section):
    """A score, in percent."""

    scenarios: Names
    scores: Names = ["mean"]

    @property
    def names(self) -> list[str]:
        return self.scenarios

    def parts(self, scores: Scores) -> list[pd.Series]:
        return [
            self.part(scores, name, column).dropna()
            for name in scores.scenarios(self.scenarios)
            for column in scores.columns(self.scores, name)
        ]

    def part(self, scores: Scores, name: str, column: str) -> pd.Series:
        return scores.series(name, column)


class Share(Score):
    """A student's score in percent of its teacher's."""

    def part(self, scores: Scores, name: str, column: str) -> pd.Series:
        return 100 * scores.series(name, column) / scores.series(scores.study.teacher, column)


class Value(Section):
    """`times` a scenario's value of a column, divided by the value of the scenario `per` if given.

    It is taken as exact. A latency is the median of many passes: only a wide region should judge
    it.
    """

    scenario: str
    column: Column
    per: str = ""
    per_column: Column | None = None
    times: Number = 1

    @property
    def names(self) -> list[str]:
        return [self.scenario, self.per] if self.per else [self.scenario]

    def evidence(self, run: Run, number: Callable) -> Evidence:
        value = number(self.times) * run.value(self.scenario, self.column)
        if self.per:
            value /= run.value(self.per, self.per_column or self.column)
        return counted(value)


class Expected(Section):
    """The region, without its ends, in which a quantity lies if the claim is true."""

    above: Number | None = None
    below: Number | None = None
    about: Number | None = None
    within: Number | None = None

    @model_validator(mode="after")
    def _one_form(self):
        if self.model_fields_set not in ({"above"}, {"below"}, {"above", "below"}) and (
            self.model_fields_set != {"about", "within"}
        ):
            raise ValueError("give above or below or both, or about and within")
        return self

    def region(self, number: Callable) -> tuple[float, float]:
        if self.about is not None:
            return (
                number(self.about) - number(self.within),
                number(self.about) + number(self.within),
            )
        low = -inf if self.above is None else number(self.above)
        high = inf if self.below is None else number(self.below)
        return low, high


UNITS = {"gain": "points", "contrast": "points", "score": "%", "share": "% of teacher"}
"""The unit of each kind of claims on scores, where an entry names none."""


class Entry(Section):
    place: str
    claim: str
    gain: Gain | None = None
    contrast: Contrast | None = None
    score: Score | None = None
    share: Share | None = None
    value: Value | None = None
    measure: str = ""
    measured_by: Literal["smallest", "largest"] = "smallest"
    expected: Expected = Expected(above=0)
    paper: Number | None = None
    teacher_size: Number | None = None
    only_if: str = ""
    unit: str = ""
    asks: str = ""

    @model_validator(mode="after")
    def _one_kind(self):
        kinds = [*UNITS, "value", "measure"]
        present = [kind for kind in kinds if getattr(self, kind)]
        if len(present) != 1:
            raise ValueError(f"give one of {', '.join(kinds)}")
        self.unit = self.unit or UNITS.get(present[0], "")
        if not self.unit:
            raise ValueError("give the unit")
        return self

    @property
    def comparison(self) -> Gain | Contrast | Score | None:
        """What is measured on scores; None for other kinds."""
        return self.gain or self.contrast or self.score or self.share

    @property
    def scenarios(self) -> list[str]:
        kind = self.comparison or self.value
        return kind.names if kind else []

    def on_scores(self, scores: Scores) -> Evidence:
        pick = largest if self.measured_by == "largest" else smallest
        return pick(self.comparison.parts(scores))

    def evidence(self, run: Run, number: Callable) -> Evidence:
        measures = run.study.measures
        if self.only_if and not measures[self.only_if](run.results, run.efficiency):
            return MISSING
        if self.teacher_size is not None:
            size = run.value(run.study.teacher, "parameters") / number(self.teacher_size)
            if not abs(size - 1) <= TEACHER_TOLERANCE:
                return MISSING
        if self.comparison:
            return self.on_scores(run.scores)
        if self.value:
            return self.value.evidence(run, number)
        return measures[self.measure](run.results, run.efficiency)


TEACHER_TOLERANCE = 0.05
"""How far a teacher may be, as a share, from the number of parameters that a claim is about."""


@dataclass(frozen=True)
class Claim:
    """One claim. `claim` is its sentence, in our words.

    `expected` is the open region (low, high) in which the quantity lies if the claim is true.
    `paper_value` is the same quantity computed from the paper's own numbers, NaN where it prints
    none. `unit` stands behind both numbers. `asks` is what a run must have for the claim to be
    measured at all, where that is more than its scenarios: "a teacher of BERT-base's size".
    """

    id: str
    study: Declaration
    source: str
    claim: str
    paper_value: float
    expected: tuple[float, float]
    unit: str
    asks: str
    evidence: Callable[[Run], Evidence]


def read(study: Declaration, scenarios: Collection[str] = ()) -> list[Claim]:
    """The claims of params/<study>/claims.yaml; none if there is no such file.

    `scenarios` are all scenarios and teachers, if known: an entry that names another one cannot be
    measured, and its claim says so in `asks`. Raises InputError: one line with file, entry, key, and what is allowed.
    """
    file = f"params/{study.name}/claims.yaml"
    if not (places.ROOT / file).is_file():
        return []
    entries = read_yaml(places.ROOT / file)
    return [_read(study, name, values, file, scenarios) for name, values in entries.items()]


def _read(study: Declaration, name: Any, values: Any, file: str, scenarios: Collection) -> Claim:
    if not NAME.fullmatch(str(name)):
        raise InputError(f"{file}: {name!r} is no name: use letters, digits, dashes, underscores")
    where = f"{file}: {name}"
    entry: Entry = checked(Entry, values, lambda key: where)
    depths = ["{first}", "{half}"] if entry.value else ["{first}", "{half}", "{each}"]
    for scenario in entry.scenarios:
        if "{" in scenario and "{" + scenario.partition("{")[2] not in depths:
            raise InputError(f"{where}: {scenario!r}: a depth may be {', '.join(depths)}")
    # The students of a chain are named <chain>-<layers>.
    missing = [n for n in entry.scenarios if not {n, n.rpartition("-")[0]} & set(scenarios)]
    asks = f"the scenario {missing[0]}, which the study does not have" if missing else entry.asks
    for function in filter(None, [entry.measure, entry.only_if]):
        if function not in study.measures:
            known = ", ".join(study.measures) or "none"
            raise InputError(f"{where}: there is no function {function!r}; the study has {known}")

    first = entry.place.split(",")[0]
    source = first if first in papers.sources() else study.source
    number = partial(calculated, source=source, where=where)
    if entry.paper is not None:
        paper_value = nan if entry.paper == "none" else number(entry.paper)
    elif entry.comparison:
        printed = Scores(study, cache(study.printed), study.printed_layers)
        paper_value = round(entry.on_scores(printed).value, 2)
    else:
        paper_value = nan
    number = partial(number, paper=paper_value)
    return Claim(
        id=f"{study.name}-{name}".replace("_", "-"),
        study=study,
        source=entry.place if source in ("", first) else f"{source}, {entry.place}",
        claim=entry.claim,
        paper_value=paper_value,
        expected=entry.expected.region(number),
        unit=entry.unit,
        asks=asks if scenarios else entry.asks,
        evidence=partial(entry.evidence, number=number),
    )


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def calculated(text: float | str, source: str, where: str, paper: float = nan) -> float:
    """The value of a calculation such as "student_size / 100".

    Its names are facts of papers.yaml: of the claim's source, or "teacher_parameters of 001" of
    another one; `paper` is the claim's own printed value. Raises InputError.
    """

    def fact(match: re.Match) -> str:
        name, other = match.groups()
        return str(paper if name == "paper" else papers.fact(other or source, name))

    def value(node: ast.AST) -> float:
        match node:
            case ast.Constant(int() | float() as constant):
                return constant
            case ast.UnaryOp(ast.USub(), operand):
                return -value(operand)
            case ast.BinOp(left, kind, right) if type(kind) in OPERATORS:
                return OPERATORS[type(kind)](value(left), value(right))
            case ast.Call(ast.Name("round"), [operand, digits], []):
                return round(value(operand), int(value(digits)))
        raise InputError("may hold numbers, facts of papers.yaml, + - * / and round(…, digits)")

    try:
        numbers = re.sub(r"\b(?!round\b)([a-z]\w*)(?: of (\w+))?", fact, str(text))
        return float(value(ast.parse(numbers, mode="eval").body))
    except (InputError, SyntaxError, ZeroDivisionError) as error:
        raise InputError(f"{where}: {text!r}: {error}") from None


# --- the verdict ----------------------------------------------------------------------------------


def evaluate(
    results: pd.DataFrame,
    efficiency: pd.DataFrame,
    claims: Sequence[Claim],
    protocol: str = "final",
) -> pd.DataFrame:
    """A row per claim with the columns of claims.csv. Scores are percent, differences points.

    `protocol` "final" scores each run after its last epoch; "best_epoch" is the maximum over
    epochs, as in 000.
    """
    results = results[results["protocol"] == protocol]
    studies = {claim.study.name: claim.study for claim in claims}
    runs = {name: _run(study, results, efficiency) for name, study in studies.items()}
    rows = []
    for claim in claims:
        evidence = claim.evidence(runs[claim.study.name])
        decided = verdict(evidence, claim.expected)
        rows.append([claim.id, claim.source, claim.claim, claim.paper_value, *evidence, decided])
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict(evidence: Evidence, expected: tuple[float, float]) -> str:
    """By the rule of the module's docstring."""
    if evidence.n == 0 or isnan(evidence.low) or isnan(evidence.high) or all_alike(evidence):
        return "unresolved"
    if evidence.low > expected[0] and evidence.high < expected[1]:
        return "holds"
    if evidence.high < expected[0] or evidence.low > expected[1]:
        return "contradicted"
    return "unresolved"


def all_alike(evidence: Evidence) -> bool:
    """Whether several seeds gave the same value, as on a task with few examples: there is no
    interval then."""
    return evidence.n > 1 and evidence.high - evidence.low < 1e-9


# --- for readers ----------------------------------------------------------------------------------

MARKS = {
    "holds": "✓\u00a0holds",
    "contradicted": "✗\u00a0contradicted",
    "unresolved": "?\u00a0unresolved",
}
"""A verdict is a word and a mark, neither of them a colour, with no line break between them."""
PAPER_COLUMNS = ["paper"]
"""The columns of `at_a_glance` and `not_measured` that hold the papers' own numbers."""
RULE = (
    "**The rule.** Each claim names a quantity and the region in which it lies if the claim is "
    "true (*holds if*). The claim *holds* (✓) when the whole 95 % interval of our value lies "
    "inside that region, is *contradicted* (✗) when the whole interval lies outside, and stays "
    "*unresolved* (?) otherwise: when the interval spans an edge of the region, when one seed "
    "gives no interval or all seeds give the same value, and when nothing was measured. "
    "Differences are paired by fine-tuning seed and taken after the last epoch; *n* is the number"
    " of seeds, and – stands for a value that is counted or timed and taken as exact. A claim of "
    "several comparisons at once is measured by its smallest difference, the part that carries it"
    " least. Where a source gives no threshold (“barely”, “competitive”, “almost on par”), the "
    "one in the claim is our reading. The papers' values are computed from their printed tables, "
    "mostly of single runs."
)
DECIMALS = {"points": 2, "times": 2}
"""By unit; 1 for all others."""


def summary(evaluated: pd.DataFrame) -> str:
    """How the claims came out, in one sentence. `evaluated` as `evaluate` returns it."""
    if evaluated.empty:
        return "This run tests no claim."
    number = evaluated["verdict"].value_counts().reindex(list(MARKS), fill_value=0)
    unmeasured = int((evaluated["n"] == 0).sum())
    end = f" ({unmeasured} of them because this run has nothing to measure them by)"
    return (
        f"Of {len(evaluated)} claims, {number['holds']} hold, "
        f"{number['contradicted']} are contradicted and {number['unresolved']} are unresolved"
        f"{end if unmeasured else ''}."
    )


def counts(evaluated: pd.DataFrame, by_study: Mapping[str, Sequence[Claim]]) -> pd.DataFrame:
    """How many claims of each study (by what its row is called) hold, are contradicted, are
    unresolved although measured, and were not measured."""
    rows = {}
    for study, claims in by_study.items():
        own = evaluated[evaluated["id"].isin([claim.id for claim in claims])]
        if len(own):
            rows[study] = _counts(own)
    if len(rows) > 1:
        rows["all"] = _counts(evaluated)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def _counts(evaluated: pd.DataFrame) -> dict[str, int]:
    verdicts = evaluated.loc[evaluated["n"] > 0, "verdict"]
    row = {mark: int((verdicts == name).sum()) for name, mark in MARKS.items()}
    return row | {"not measured": len(evaluated) - len(verdicts), "claims": len(evaluated)}


def at_a_glance(evaluated: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that were measured, one row each; all cells are text.

    Columns: verdict (mark, word, and for an unresolved claim the reason), claim, "ours [95 %]", n,
    "holds if" (region and unit), paper, place.
    """
    rows = []
    for row, claim in _pairs(evaluated, claims):
        measured = Evidence(row.measured, row.ci_low, row.ci_high, row.n)
        if measured.n == 0:
            continue
        exact = measured.n == 1 and measured.low == measured.high
        why = f": {reason(claim, measured)}" if row.verdict == "unresolved" else ""
        rows.append(
            {
                "verdict": MARKS[row.verdict] + why,
                "claim": claim.claim,
                "ours [95 %]": _with_interval(measured, claim.unit),
                "n": "–" if exact else str(measured.n),
                **_context(claim),
            }
        )
    columns = ["verdict", "claim", "ours [95 %]", "n", "holds if", "paper", "place"]
    return pd.DataFrame(rows, columns=columns)


def not_measured(evaluated: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Those of `claims` that this run has nothing to measure by, and what it would need."""
    rows = [
        {"claim": claim.claim, "needs": claim.asks or "all that it compares", **_context(claim)}
        for row, claim in _pairs(evaluated, claims)
        if row.n == 0
    ]
    return pd.DataFrame(rows, columns=["claim", "needs", "holds if", "paper", "place"])


def _context(claim: Claim) -> dict[str, str]:
    """The cells that do not depend on the run."""
    paper = _number_text(claim.paper_value, claim.unit)
    return {"holds if": region(claim), "paper": paper, "place": claim.source}


def _pairs(evaluated: pd.DataFrame, claims: Iterable[Claim]) -> list[tuple[Any, Claim]]:
    """Each row whose claim is one of these, with the claim."""
    by_id = {claim.id: claim for claim in claims}
    return [(row, by_id[row.id]) for row in evaluated.itertuples() if row.id in by_id]


def region(claim: Claim) -> str:
    """Where the quantity lies if the claim is true, with its unit: "> 0 points", "−2 to 2 points",
    "< 50 % of …"."""
    low, high = claim.expected
    if isinf(high):
        return f"> {_edge(low)} {claim.unit}"
    if isinf(low):
        return f"< {_edge(high)} {claim.unit}"
    return f"{_edge(low)} to {_edge(high)} {claim.unit}"


def reason(claim: Claim, measured: Evidence) -> str:
    """Why a claim that was measured is unresolved, in a few words."""
    if measured.n == 1 and isnan(measured.low):
        return "one seed, no interval"
    if all_alike(measured):
        return "all seeds alike"
    edges = [_edge(edge) for edge in claim.expected if measured.low <= edge <= measured.high]
    return f"spans {' and '.join(edges)}"


def _edge(value: float) -> str:
    return f"{value:.5g}".replace("-", "−")


def _number_text(value: float, unit: str) -> str:
    digits = DECIMALS.get(unit, 1)
    # What rounds to zero has no sign.
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _with_interval(measured: Evidence, unit: str) -> str:
    value, low, high = (_number_text(number, unit) for number in measured[:3])
    if isnan(measured.low) or measured.low == measured.high:
        return value
    return f"{value} [{low}, {high}]"
