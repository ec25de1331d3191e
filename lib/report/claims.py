"""What the sources claim, tested on our own runs. A claim is an entry of
params/<study>/claims.yaml; params/herbert/claims.yaml says how entries are written.

**How a claim is measured.** Claims on scores (`gain`, `contrast`, `share`, `score`) are made of
comparisons, each a value per run; the paper's value is computed in the same way from
its printed scores. `value` reads a count or a timing. A few claims name a Python function of their
study (`measure`).

A score on which the teacher is not above guessing and a bag of words (lib.report.floors) says
nothing: a claim on it is not measured, and "each" leaves it out. Shares of the teacher are taken
above guessing.

What follows from what was measured: lib.report.verdicts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import groupby, pairwise, product
from math import inf, isfinite, isnan, nan
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BeforeValidator, model_validator

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import read_yaml
from lib.common.parameters import NAME, checked
from lib.plan.schema import Section
from lib.report import outcomes, papers
from lib.report.calculations import calculated
from lib.report.declaration import Declaration
from lib.report.results import LATENCY, efficiency_value, number_of_layers
from lib.report.scores import NONE, printed_samples
from lib.report.statistics import MATTERS, MATTERS_NATS, NO_SPREAD, Sample, spread_of
from lib.report.verdicts import (
    MISSING,
    Evidence,
    benjamini_hochberg,
    largest,
    rule,
    smallest,
)

COLUMNS = ["id", "source", "claim", "paper_value", "measured", "ci_low", "ci_high", "n", "verdict"]
COLUMNS += [
    "about",
    "kind",
    "p",
    "p_holm",
    "q",
    "detectable",
    "paper_effect",
    "runs_needed",
    "needs",
]


# --- what is measured -----------------------------------------------------------------------------


class TeacherFailed(Exception):
    """The teacher is not above guessing and a bag of words on a score."""


@dataclass(frozen=True)
class Scores:
    """The scores that a claim is measured by: those of a run, or those that the paper prints, so
    that both are measured in the same way.

    `of(scenario)` are its scores by name, in percent. `layers` is the teacher's number of layers,
    for scenarios that are named by depth. `guessing` and `failed`: see Declaration.
    """

    study: Declaration
    of: Callable[[str], dict[str, Sample]]
    layers: int
    guessing: Mapping[str, float] = field(default_factory=dict)
    failed: Collection[str] = ()

    def at_depths(self, names: Iterable[str]) -> list[str]:
        """Scenarios by the names that an entry gives them, with numbers of layers in place of
        {first}, {half} and {each}: one less than the teacher's, half of them, and every depth from
        the first to the half, each a scenario."""
        first, half = self.layers - 1, self.layers // 2
        return [
            name.format(first=first, half=half, each=depth)
            for name in names
            for depth in (range(first, half - 1, -1) if "{each}" in name else [0])
        ]

    def columns(
        self, names: Iterable[str], scenario: str, without: Sequence[str] = ()
    ) -> list[str]:
        """The scenario's scores by the names that an entry gives them: "mean" is the study's main
        score, and "each" stands for all of tasks but that and `without`."""
        main, columns = self.study.main, []
        for name in names:
            if name == "each":
                every = self.of(scenario)
                left_out = (main, *without, *self.failed, *outcomes.BY_NAME)
                columns += [column for column in every if column not in left_out]
            else:
                columns.append(main if name == "mean" else name)
        return columns

    def sample(self, scenario: str, column: str) -> Sample:
        """A score; empty if it was not measured. Raises TeacherFailed."""
        if column in self.failed:
            raise TeacherFailed(column)
        return self.of(scenario).get(column, NONE)

    def gain(self, better: str, worse: str, column: str) -> Sample:
        """By how much a scenario is better than another on a score; of a loss, by how much it is
        lower."""
        difference = self.sample(better, column) - self.sample(worse, column)
        outcome = outcomes.BY_NAME.get(column)
        return -difference if outcome and outcome.less_is_better else difference


@dataclass(frozen=True)
class Run:
    """What a run measured: rows of results.csv (of one protocol) and efficiency.csv."""

    study: Declaration
    results: pd.DataFrame
    efficiency: pd.DataFrame
    scores: Scores

    def value(self, scenario: str, column: str) -> float:
        """A scenario's value of a column of efficiency.csv, or its layers; NaN if there is none."""
        [scenario] = self.scores.at_depths([scenario])
        if column == "layers":
            return number_of_layers(self.results, self.study.name, scenario)
        return efficiency_value(self.efficiency, self.study.name, scenario, column)

    def value_with_ends(self, scenario: str, column: str) -> tuple[float, float, float]:
        """The same with the ends of its 95 % interval, which only a latency has; of the others all
        three are the value."""
        columns = LATENCY if column in LATENCY else (column, column, column)
        return tuple(self.value(scenario, name) for name in columns)


def _run(study: Declaration, results: pd.DataFrame, efficiency: pd.DataFrame) -> Run:
    layers = number_of_layers(results, study.name, study.teacher)
    of = cache(partial(study.scores, results))  # many claims read the same scenarios
    scores = Scores(study, of, 0 if isnan(layers) else int(layers), study.guessing, study.failed)
    return Run(study, results, efficiency, scores)


def _printed(study: Declaration) -> Scores:
    of = cache(lambda scenario: printed_samples(study.printed(scenario)))
    return Scores(study, of, study.printed_layers)


# --- an entry of claims.yaml ----------------------------------------------------------------------
# A class for each kind of claim. Those on scores have `parts`, the comparisons that they are made
# of, each a value per run; `names` are the scenarios as the entry writes them.


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
    """Points by which a scenario is above another, or nats by which its loss is below the other's,
    on each of `scores`. In an `order` each level is better than the next; an order of one name with
    {each} is that of its depths."""

    better: Names = []
    worse: Names = []
    order: list[Names] = []
    scores: Names = ["mean"]

    @model_validator(mode="after")
    def _one_form(self):
        if bool(self.better) != bool(self.worse) or bool(self.order) == bool(self.better):
            raise ValueError("give better and worse, or order")
        return self

    @property
    def names(self) -> list[str]:
        return [*self.better, *self.worse, *(name for level in self.order for name in level)]

    def parts(self, scores: Scores) -> list[Sample]:
        levels = [scores.at_depths(level) for level in self.order or [self.better, self.worse]]
        if len(levels) == 1:
            levels = [[name] for name in levels[0]]  # the depths of {each}
        pairs = [pair for upper, lower in pairwise(levels) for pair in product(upper, lower)]
        return [
            scores.gain(better, worse, column)
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
        if bool(self.before) != bool(self.after) or bool(self.scenarios) == bool(self.before):
            raise ValueError("give scenarios, or before and after")
        return self

    @property
    def names(self) -> list[str]:
        return [*self.scenarios, *self.before, *self.after]

    def parts(self, scores: Scores) -> list[Sample]:
        before = scores.at_depths(self.before) or [""]
        after = scores.at_depths(self.after or self.scenarios)
        return [
            self._compared(scores, better, *scenarios) - self._compared(scores, worse, *scenarios)
            for scenarios in product(before, after)
            for better in scores.columns(self.better, scenarios[1], without=self.worse)
            for worse in scores.columns(self.worse, scenarios[1], without=self.better)
        ]

    def _compared(self, scores: Scores, column: str, before: str, after: str) -> Sample:
        """A score in a scenario, or its gain from `before` where the entry names one."""
        level = scores.sample(after, column)
        return level - scores.sample(before, column) if before else level


class Score(Section):
    """A score, in percent."""

    scenarios: Names
    scores: Names = ["mean"]

    @property
    def names(self) -> list[str]:
        return self.scenarios

    def parts(self, scores: Scores) -> list[Sample]:
        return [
            self._value(scores, name, column)
            for name in scores.at_depths(self.scenarios)
            for column in scores.columns(self.scores, name)
        ]

    def _value(self, scores: Scores, name: str, column: str) -> Sample:
        return scores.sample(name, column)


class Share(Score):
    """A student's score in percent of its teacher's, both above guessing. The papers do not take
    guessing off, and print no figure of it."""

    def _value(self, scores: Scores, name: str, column: str) -> Sample:
        floor = scores.guessing.get(column, 0.0)
        teacher = scores.sample(scores.study.teacher, column) - floor
        return 100 * ((scores.sample(name, column) - floor) / teacher)


class Value(Section):
    """`times` a scenario's value of a column, divided by the value of the scenario `per` if given.

    It is taken as exact, but for a latency, which has an interval. That of a quotient runs from the
    low end over the high end to the high end over the low end, which is wider than 95 % asks for.
    """

    scenario: str
    column: Column
    per: str = ""
    per_column: Column | None = None
    times: Number = 1

    @property
    def names(self) -> list[str]:
        return [self.scenario, self.per] if self.per else [self.scenario]

    def evidence(self, run: Run) -> Evidence:
        value, low, high = run.value_with_ends(self.scenario, self.column)
        if self.per:
            per, least, most = run.value_with_ends(self.per, self.per_column or self.column)
            value, low, high = value / per, low / most, high / least
        if isnan(value):
            return MISSING
        return Evidence(self.times * value, self.times * low, self.times * high, 1)


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

    def region(self, number: Callable[[float | str], float]) -> tuple[float, float]:
        """The region's ends; `number` gives the value of a calculation."""
        if self.about is not None:
            middle, distance = number(self.about), number(self.within)
            return middle - distance, middle + distance
        low = -inf if self.above is None else number(self.above)
        high = inf if self.below is None else number(self.below)
        return low, high


UNITS = {"gain": "points", "contrast": "points", "score": "%", "share": "% of teacher"}
"""The unit of each kind of claims on scores, where an entry names none."""


class ClaimEntry(Section):
    """An entry of claims.yaml: one kind of claim, and what may stand besides."""

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
    matters: float | None = None
    about: Literal["results", "configuration"] = "results"

    @model_validator(mode="after")
    def _one_kind(self):
        kinds = [*UNITS, "value", "measure"]
        present = [kind for kind in kinds if getattr(self, kind)]
        if len(present) != 1:
            raise ValueError(f"give one of {', '.join(kinds)}")
        self.unit = self.unit or self._unit_of_outcomes() or UNITS.get(present[0], "")
        if not self.unit:
            raise ValueError("give the unit")
        return self

    def _unit_of_outcomes(self) -> str:
        """The unit of a gain on outcomes of held-out text, or of one itself, where that is nats."""
        kind = self.gain or self.score
        named = [outcomes.BY_NAME.get(name) for name in kind.scores] if kind else []
        in_nats = [outcome is not None and outcome.unit == "nats" for outcome in named]
        return "nats" if in_nats and all(in_nats) else ""

    @property
    def on_scores(self) -> Gain | Contrast | Score | None:
        """The kind of a claim on scores; None for other kinds."""
        return self.gain or self.contrast or self.score or self.share

    @property
    def names(self) -> list[str]:
        """The scenarios that the claim is about, as the entry writes them."""
        kind = self.on_scores or self.value
        return kind.names if kind else []

    def calculate(self, number: Callable[[float | str], float]) -> None:
        """Put numbers in the places of the calculations that `evidence` needs."""
        if self.teacher_size is not None:
            self.teacher_size = number(self.teacher_size)
        if self.value:
            self.value.times = number(self.value.times)

    def evidence(self, run: Run) -> Evidence:
        """What the run says of the claim; MISSING if it cannot answer it. After `calculate`."""
        measures = run.study.measures
        if self.only_if and not measures[self.only_if](run.results, run.efficiency):
            return MISSING
        if self.teacher_size is not None:
            size = run.value(run.study.teacher, "parameters") / self.teacher_size
            if not abs(size - 1) <= TEACHER_TOLERANCE:  # nor where the size is not known
                return MISSING
        if self.value:
            return self.value.evidence(run)
        try:
            if self.on_scores:
                return self.from_scores(run.scores)
            run.scores.sample(run.study.teacher, run.study.main)
            return self._from(run.study, measures[self.measure](run.results, run.efficiency))
        except TeacherFailed as failed:
            title = run.study.titles.get(str(failed), str(failed))
            return MISSING._replace(why=f"a teacher that is above a bag of words on {title}")

    def from_scores(self, scores: Scores) -> Evidence:
        """What these scores, measured or printed, say of a claim on scores."""
        return self._from(scores.study, self.on_scores.parts(scores))

    def _from(self, study: Declaration, parts: Sequence[Sample]) -> Evidence:
        choose = largest if self.measured_by == "largest" else smallest
        return choose([study.shared(part, self.unit) for part in parts])


MATTERS_BY_UNIT = dict.fromkeys(("points", "%", "% of teacher"), MATTERS) | {"nats": MATTERS_NATS}
"""The smallest difference that matters where an entry names none."""
ALL_IT_COMPARES = "all that it compares"
ALL_TASKS = "all tasks that the study's score is the mean of"
TEACHER_TOLERANCE = 0.05
"""How far a teacher may be, as a share, from the number of parameters that a claim is about."""


# --- reading them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One claim. `claim` is its sentence, in our words.

    `expected` is the open region (low, high) in which the quantity lies if the claim is true.
    `paper_value` is the same quantity computed from the paper's own numbers, NaN where it prints
    none. `unit` stands behind both numbers. `asks` is what a run must have for the claim to be
    measured at all, where that is more than its scenarios: "a teacher of BERT-base's size".
    `matters` is the smallest difference that matters, NaN if none is known. `about` says whether it
    is about results, or about our own configuration and arithmetic. `evidence(run)` measures it.
    """

    id: str
    study: Declaration
    source: str
    claim: str
    paper_value: float
    expected: tuple[float, float]
    unit: str
    asks: str
    matters: float
    about: str
    evidence: Callable[[Run], Evidence]

    @property
    def paper_effect(self) -> float:
        """How far the paper's value is from the nearest edge of the region; NaN without one."""
        edges = [edge for edge in self.expected if isfinite(edge)]
        return min((abs(self.paper_value - edge) for edge in edges), default=nan)


def read(study: Declaration, scenarios: Collection[str] = ()) -> list[Claim]:
    """The claims of params/<study>/claims.yaml; none if there is no such file.

    `scenarios` are all scenarios and teachers, if known: an entry that names another one cannot be
    measured, and its claim says so in `asks`. Raises InputError: one line with file, entry, key,
    and what is allowed.
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
    entry: ClaimEntry = checked(ClaimEntry, values, lambda key: where)
    _check_names(entry, study, where)

    first = entry.place.split(",")[0]
    source = first if first in papers.sources() else study.source
    number = partial(calculated, source=source, where=where)
    paper_value = nan
    if entry.paper is None and entry.on_scores:
        paper_value = round(entry.from_scores(_printed(study)).value, 2)
    elif entry.paper not in (None, "none"):
        paper_value = number(entry.paper)
    number = partial(number, paper=paper_value)
    entry.calculate(number)
    return Claim(
        id=f"{study.name}-{name}".replace("_", "-"),
        study=study,
        source=entry.place if source in ("", first) else f"{source}, {entry.place}",
        claim=entry.claim,
        paper_value=paper_value,
        expected=entry.expected.region(number),
        unit=entry.unit,
        asks=_missing(entry, scenarios) or entry.asks,
        matters=_matters(entry),
        about=entry.about,
        evidence=entry.evidence,
    )


def _matters(entry: ClaimEntry) -> float:
    """The smallest difference that matters for a claim."""
    if entry.matters is not None:
        return entry.matters
    return MATTERS_BY_UNIT.get(entry.unit, nan)


def _check_names(entry: ClaimEntry, study: Declaration, where: str) -> None:
    """Refuse depths and functions that there are not."""
    depths = ["{first}", "{half}"] if entry.value else ["{first}", "{half}", "{each}"]
    for scenario in entry.names:
        if "{" in scenario and "{" + scenario.partition("{")[2] not in depths:
            raise InputError(f"{where}: {scenario!r}: a depth may be {', '.join(depths)}")
    for function in filter(None, [entry.measure, entry.only_if]):
        if function not in study.measures:
            known = ", ".join(study.measures) or "none"
            raise InputError(f"{where}: there is no function {function!r}; the study has {known}")


def _missing(entry: ClaimEntry, scenarios: Collection) -> str:
    """What a claim needs where it names a scenario that is not among these; "" if it names none or
    they are not known. A user may leave out scenarios of a paper's study."""
    for name in entry.names if scenarios else ():
        # The students of a chain are named <chain>-<layers>.
        if not {name, name.rpartition("-")[0]} & set(scenarios):
            return f"the scenario {name}, which the study does not have"
    return ""


# --- how they come out ----------------------------------------------------------------------------


def sharing(
    study: Declaration, claims: Iterable[Claim], results: pd.DataFrame, efficiency: pd.DataFrame
) -> Declaration:
    """The study with the spreads of its comparisons: for each unit, what the distinct variances
    between runs of all comparisons that its claims are made of have in common. `results` are rows
    of one protocol."""
    run = _run(replace(study, spreads={}), results, efficiency)
    variances: dict[str, dict[float, int]] = {}  # unit -> variance -> its degrees of freedom
    for claim in claims:
        for estimate in claim.evidence(run).estimates:
            variance = float(f"{estimate.from_runs * estimate.runs:.9g}")
            if variance > NO_SPREAD**2:
                variances.setdefault(claim.unit, {})[variance] = estimate.runs - 1
    spreads = {unit: spread_of(list(own), list(own.values())) for unit, own in variances.items()}
    return replace(study, spreads=spreads)


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
    rows = []
    for _, own in groupby(claims, key=lambda claim: claim.study.name):
        own = list(own)
        run = _run(own[0].study, results, efficiency)
        evidence = [claim.evidence(run) for claim in own]
        scored = [run.scores.of(name) for name in run.study.labels]
        has_main = any(run.study.main in scores for scores in scored) or not any(scored)
        lacks = ALL_IT_COMPARES if has_main else ALL_TASKS
        rulings = rule(evidence, [c.expected for c in own], [c.matters for c in own])
        for claim, measured, ruling in zip(own, evidence, rulings):
            rows.append(
                [claim.id, claim.source, claim.claim, claim.paper_value, *measured[:4]]
                + [ruling.verdict, claim.about, ruling.kind, ruling.p, ruling.p_holm, nan]
                + [ruling.detectable, claim.paper_effect, ruling.runs_needed]
                + [(measured.why or claim.asks or lacks) if not measured.n else ""]
            )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(q=benjamini_hochberg(table["p"]))
