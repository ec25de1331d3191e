"""What a study declares of itself; the report computes everything it shows of a study from this."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

Scores = Callable[[pd.DataFrame, str], pd.DataFrame]
"""(results of one protocol, scenario) -> percent, a row per seed and a column per score."""


@dataclass(frozen=True)
class Question:
    """One comparison that a study is there to make: is `better` above `worse`?"""

    title: str
    better: str
    worse: str


def nothing_printed(scenario: str) -> pd.DataFrame:
    """The `printed` of a study that has no paper."""
    return pd.DataFrame()


@dataclass(frozen=True)
class Declaration:
    """A study as its report needs it.

    `labels` and `colours` are by scenario, in the order in which scenarios are shown; the teacher
    and other models are among them. `columns` are the scores that tables and figures show, by the
    name that `scores` gives them; `main` is the one that questions and claims on the mean are
    about. `printed(scenario)` are the paper's own numbers in the form of `scores`: one row, or none
    where the paper prints none. `measures` are the Python functions that entries of claims.yaml
    name, (results, efficiency) -> Evidence, or True or False for `only_if`.
    """

    name: str
    short: str
    title: str
    source: str
    question: str
    teacher: str
    control: str
    labels: Mapping[str, str]
    colours: Mapping[str, str]
    columns: Mapping[str, str]
    main: str
    questions: Sequence[Question]
    scores: Scores
    printed: Callable[[str], pd.DataFrame]
    printed_layers: int = 12
    """Of the paper's own teacher, for claims on scenarios that are named by their depth."""
    measures: Mapping[str, Callable] = field(default_factory=dict)
    words: str = ""
    """What the names in its claims mean, for readers who do not know the source; Markdown."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Remarks under a table, by the table's name."""
