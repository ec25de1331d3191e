"""What a study declares of itself; the report computes everything it shows of a study from this."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import pandas as pd

from lib.plan.schema import Grid, Question, read_scenarios
from lib.report.outcomes import TASK
from lib.report.page.show import PALETTE
from lib.report.scores import (
    MEAN,
    MEAN_OF_RUN,
    TITLES,
    Columns,
    Measure,
    Weights,
    average,
    by_task,
    outcomes,
    samples,
    tasks,
)
from lib.report.statistics import Sample, Spread


def nothing_printed(scenario: str) -> pd.DataFrame:
    """The `printed` of a study that has no paper."""
    return pd.DataFrame()


@dataclass(frozen=True)
class Declaration:
    """A study as its report needs it: what params/<name>/scenarios.yaml says, and for the studies
    of the papers what only Python can say.

    `labels` and `colours` are by scenario, in the order in which scenarios are shown.

    `scored` says how scores are computed; `main` is the one that questions are about. `columns` are
    those that tables and figures show besides it, none standing for all; all go by the names that
    `scored` gives them, or "mean" for the main one. `printed(scenario)` are the paper's own numbers
    by the same names: one row, or none where the paper prints none.

    `measures` are the functions that entries of claims.yaml name. They take rows of results.csv and
    of efficiency.csv; one that a claim is measured by returns the comparisons it is made of, in the
    claim's unit, one that stands under `only_if` a bool.

    What only this study shows: `section` and `details` take a `lib.report.section.Analysis` and
    return tables and figures, for its section and for the appendix; `findings` takes the study and
    rows of results.csv and returns paragraphs of Markdown.
    """

    name: str
    short: str
    title: str
    source: str
    question: str
    teacher: str
    control: str
    scenarios: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, str]
    colours: Mapping[str, str]
    main: str
    scored: Columns
    questions: Sequence[Question] = ()
    columns: Sequence[str] = ()
    grid: Grid | None = None
    """Scenarios by two things in which they differ, for a table of their main score."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Readable names of scores; one that is missing stands for itself."""
    printed: Callable[[str], pd.DataFrame] = nothing_printed
    printed_layers: int = 12
    """Of the paper's own teacher, for claims on scenarios that are named by their depth."""
    measures: Mapping[str, Callable] = field(default_factory=dict)
    words: str = ""
    """What the names in its claims mean, for readers who do not know the source; Markdown."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Remarks that stand under a table, by the name of its function in `lib.report.tables`."""
    guessing: Mapping[str, float] = field(default_factory=dict)
    """What guessing scores on the run's tasks, in percent by score; `lib.report.floors` adds it.
    Shares of the teacher are taken above it."""
    failed: Collection[str] = ()
    """The scores on which the run's teacher is not above guessing and a bag of words, likewise."""
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    """What the variance between runs of the study's comparisons is like, by their unit;
    `lib.report.claims.sharing` adds it."""
    comparable: Callable[[pd.DataFrame], bool] = lambda results: True
    """Whether `printed` may stand beside these results: 004's depths are those of 12 layers."""
    section: Callable[[Any], list] | None = None
    findings: Callable[["Declaration", pd.DataFrame], list[str]] | None = None
    details: Callable[[Any], list] | None = None
    # The last results that scores were asked of, and these by scenario: a report asks for the same
    # ones hundreds of times, which took half of its time.
    _known: deque[tuple[pd.DataFrame, dict[str, dict[str, Sample]]]] = field(
        default_factory=lambda: deque(maxlen=4), init=False, repr=False, compare=False
    )

    def scores(self, results: pd.DataFrame, scenario: str) -> dict[str, Sample]:
        """A scenario's scores by name, in percent, and what it knows of held-out text, by the names
        and in the units of lib.report.outcomes; `results` are rows of one protocol."""
        known = next((own for rows, own in self._known if rows is results), None)
        if known is None:
            known = {}
            self._known.append((results, known))
        if scenario not in known:
            scores = samples(self.name, results, scenario, self.scored)
            known[scenario] = scores | outcomes(self.name, results, scenario)
        return known[scenario]

    def shared(self, comparison: Sample, unit: str = "points") -> Sample:
        """A comparison that shares its variance between runs with others of the study."""
        return replace(comparison, spread=self.spreads.get(unit, Spread()))

    @property
    def teachers(self) -> set[str]:
        """The teacher, and those of single scenarios."""
        own = {entry["teacher"] for entry in self.scenarios.values() if entry.get("teacher")}
        return {self.teacher} | own

    def chain_of(self, scenario: str) -> tuple[str, int]:
        """Chain and layers of a scenario; a declared name is no student of a chain."""
        return (scenario, 0) if scenario in self.labels else chain_of(scenario)

    def label(self, scenario: str) -> str:
        """What the scenario is, in a few words; "" where the study does not say."""
        return self.labels.get(self.chain_of(scenario)[0], "")

    def colour(self, scenario: str) -> str | None:
        return self.colours.get(self.chain_of(scenario)[0])

    def control_of(self, student: str) -> str:
        """The untrained control that a student is compared with; "" where the study has none."""
        layers = self.chain_of(student)[1]
        return f"{self.control}-{layers}" if self.control and layers else self.control


def with_every_task(study: Declaration, results: pd.DataFrame) -> Declaration:
    """The study with a score for every task that its fine-tunings measured, also for those that its
    own scores leave out. Where these lack the main one, as no run has all of its tasks, the mean of
    the tasks there are stands in its place, for which no paper prints anything, and what the study
    says of its own tasks alone is left out."""
    rows = results[(results["study"] == study.name) & (results["task"] != TASK)]
    measured = list(dict.fromkeys(zip(rows["task"], rows["language"], rows["metric"])))
    scores = {name: weights for name, weights in study.scored(measured).items() if weights}
    of_study = {task for weights in scores.values() for task, *_ in weights}
    others = [name for name in tasks(measured) if name not in of_study]
    if not measured or study.main in scores and not others:
        return study

    def scored(measured: Sequence[Measure]) -> dict[str, Weights]:
        every = tasks(measured)
        scores = study.scored(measured) | {name: every[name] for name in others if name in every}
        return scores | {MEAN_OF_RUN: average(every.values())} if main == MEAN_OF_RUN else scores

    main, columns = study.main, [*study.columns, *others] if study.columns else []
    if main not in scores:
        study, main, columns = replace(study, section=None, findings=None), MEAN_OF_RUN, []
        if len(scores) + len(others) == 1:  # the mean of one score is that score
            (main,) = [*scores, *others]
    titles = TITLES | study.titles
    return replace(study, main=main, scored=scored, columns=columns, titles=titles)


def chain_of(scenario: str) -> tuple[str, int]:
    """The students of a chain of hops are named <chain>-<layers>: ("cascade", 5) of "cascade-5",
    ("S3", 0) of other names."""
    chain, _, layers = scenario.rpartition("-")
    return (chain, int(layers)) if chain and layers.isdigit() else (scenario, 0)


def from_files(name: str) -> Declaration:
    """The declaration of a study from params/<name>/scenarios.yaml alone, as a study of a user's
    own has it: scored by the mean of its tasks."""
    file = read_scenarios(name)
    described = file.models | file.scenarios
    palette = cycle(PALETTE)
    colours = {key: entry.colour or next(palette) for key, entry in file.scenarios.items()}
    colours |= {key: entry.colour for key, entry in file.models.items() if entry.colour}
    return Declaration(
        name=name,
        short=file.name,
        title=file.title or file.name,
        source=file.source,
        question=file.question,
        words=file.words,
        teacher=file.teacher,
        control=file.control or "",
        scenarios={
            key: file.common.parameters | entry.parameters for key, entry in file.scenarios.items()
        },
        labels={key: entry.label for key, entry in described.items()},
        colours=colours,
        main=MEAN,
        scored=by_task,
        questions=file.questions,
        columns=file.columns,
        grid=file.grid,
        titles=TITLES,
    )
