"""The cascade study: multilingual students made one layer shallower at a time, against one hop and no training (004_…: CAMeMBERT).

Scenarios are named `<chain>-<layers>`, and `teacher`. What tables, figures, findings and claims of the study share: names, depths,
accuracies by language. `results` are rows of one protocol, as in results.csv; accuracies are percent.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial

import pandas as pd

from lib import papers
from lib.errors import InputError
from lib.statistics import paired_differences

STUDY, TASK = "cascade", "xnli"
AVERAGE = "average"
"""The column of the mean over languages."""
CHANCE = 100 / 3
"""Three classes, equally frequent."""
LANGUAGES = {"en": "English", "es": "Spanish", "zh": "Chinese", "de": "German", "ar": "Arabic", "ur": "Urdu"}
"""In the order of 004's Table 3. A toy language stands in the place of its namesake: toy-es in that of es."""
CHAINS = ("cascade", "direct", "truncated")
"""One layer less at a time; one hop; no pretraining. Other chains, such as cascade_by_2, are named by the study's parameters."""
PAPER_LAYERS = 12
"""Layers of the teacher in 004."""


def parsed(scenario: str) -> tuple[str, int]:
    """Chain and number of layers: ("cascade", 5) of "cascade-5"; ("teacher", 0) of the teacher and of other names."""
    chain, _, layers = scenario.rpartition("-")
    return (chain, int(layers)) if chain and layers.isdigit() else (scenario, 0)


def larger_hops(chain: str) -> bool:
    """Whether the chain is a cascade of more than one layer at a time, such as cascade_by_2."""
    return bool(re.fullmatch(r"cascade_by_([2-9]|\d{2,})", chain))


def plainly(language: str) -> str:
    """The language whose place it takes: "es" of "toy-es"."""
    return language.removeprefix("toy-")


def languages(results: pd.DataFrame) -> dict[str, str]:
    """The languages measured: code (es) -> as results name it (toy-es), those of 004's Table 3 first and in its order."""
    named = {plainly(name): name for name in sorted(_rows(results)["language"].unique())}
    order = [code for code in LANGUAGES if code in named] + [code for code in named if code not in LANGUAGES]
    return {code: named[code] for code in order}


def accuracy(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed (rows) and language (columns, codes as in 004), and AVERAGE over 004's six, or those of
    them that the study has; over all where it has none.

    A seed that lacks one of these has no average.
    """
    rows = _rows(results)
    rows = rows[rows["scenario"] == scenario]
    rows = rows.assign(language=rows["language"].map(plainly), value=rows["value"].astype(float))
    table = rows.groupby(["seed", "language"])["value"].mean().unstack().reindex(columns=list(languages(results)))
    of_the_paper = [code for code in table if code in LANGUAGES] or list(table)
    return table.assign(**{AVERAGE: table[of_the_paper].mean(axis=1, skipna=False)})


def by_scenario(results: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    """scenario -> its `accuracy`, each computed once however often it is asked for. The frames are shared: read only."""
    return cache(partial(accuracy, results))


def average(results: pd.DataFrame, scenario: str) -> pd.Series:
    """The mean over languages by seed, in percent; seeds without all of them are left out."""
    return accuracy(results, scenario)[AVERAGE].dropna().astype(float)


def _rows(results: pd.DataFrame) -> pd.DataFrame:
    if results["protocol"].nunique() > 1:
        raise InputError(f"results hold the protocols {', '.join(results['protocol'].unique())}: choose one of them")
    return results[(results["study"] == STUDY) & (results["task"] == TASK)]


def paper_accuracy(scenario: str) -> pd.DataFrame:
    """004's Table 3: one row of its single run, columns as `accuracy`; no row where it prints none.

    Its cascade is 12 → 11 → … → 6, and LightMBERT stands for `direct-6`. The average is the printed one.
    """
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    chain, layers = parsed(scenario)
    row = "LMB" if scenario == f"direct-{PAPER_LAYERS // 2}" else str(layers) if chain == "cascade" else ""
    return table.loc[[row] if row in table.index else []].reset_index(drop=True)


def paper_layers() -> list[int]:
    """The depths of 004's cascade, deepest first: 11 … 6."""
    return sorted((int(name) for name in papers.table("004", "xnli").index if name.isdigit()), reverse=True)


def teacher_layers(results: pd.DataFrame) -> int:
    """How many layers the teacher has; 0 if it was not measured."""
    layers = _rows(results).loc[lambda rows: rows["scenario"] == "teacher", "layers"]
    return int(layers.max()) if len(layers) else 0


def chains(results: pd.DataFrame) -> dict[str, list[int]]:
    """Chain -> its depths, deepest first, of every scenario with a score: cascade, direct, truncated, then others."""
    found: dict[str, list[int]] = {}
    for chain, layers in sorted(map(parsed, _rows(results)["scenario"].unique()), reverse=True):
        if layers:
            found.setdefault(chain, []).append(layers)
    order = [chain for chain in CHAINS if chain in found] + sorted(chain for chain in found if chain not in CHAINS)
    return {chain: found[chain] for chain in order}


def baselines(results: pd.DataFrame) -> dict[str, int]:
    """Models of no chain that were measured besides the teacher, such as DistilmBERT -> layers."""
    layers = _rows(results).groupby("scenario", sort=False)["layers"].max()
    return {name: int(count) for name, count in layers.items() if name != "teacher" and not parsed(name)[1]}


def hops(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The cascade's hops from the teacher down: pairs of scenarios, the deeper one first."""
    down = [f"cascade-{layers}" for layers in chains(results).get("cascade", [])]
    down = ["teacher", *down] if teacher_layers(results) else down
    return list(zip(down, down[1:]))


def printed_hops() -> list[tuple[str, str]]:
    """The hops between 004's printed rows: 11 → 10, …, 7 → 6."""
    down = [f"cascade-{layers}" for layers in paper_layers()]
    return list(zip(down, down[1:]))


# --- differences -----------------------------------------------------------------------------------------------------


def difference(of: Callable, a: str, b: str, column: str = AVERAGE) -> pd.Series:
    """a - b per seed in one language or on average, in points. `of`: scenario -> accuracies, ours or the paper's."""
    empty = pd.Series(dtype=float)
    return paired_differences(of(a).get(column, empty), of(b).get(column, empty))


def pairs(results: pd.DataFrame) -> list[tuple[str, str]]:
    """What is compared with what, at each depth both have: cascade and direct, cascade and truncated, and so on."""
    found = chains(results)
    compared = [("cascade", "direct"), ("cascade", "truncated"), ("direct", "truncated")]
    compared += [(chain, "cascade") for chain in found if chain not in CHAINS]
    return [
        (f"{a}-{n}", f"{b}-{n}") for a, b in compared for n in found.get(a, []) if n in found.get(b, [])
    ]  # of one pair of chains the deeper comes first


def along_the_chain(stages: Mapping[str, Mapping], what: str) -> dict[str, int]:
    """Scenario -> `what` (of a stage's summary, such as "steps") of its hop and of every hop before it; the teacher's own
    training is not counted.

    `stages`: scenario -> result.json of its cascade_ta stage, whose parameter `teacher` names the folder of the hop before.
    """

    def chain(scenario: str) -> int:
        found = stages[scenario]
        before = re.search(rf"/{STUDY}/([^/]+)/cascade_ta/model/?$", str(found["parameters"]["teacher"]))
        return int(found["summary"].get(what, 0)) + (chain(before[1]) if before and before[1] in stages else 0)

    return {scenario: chain(scenario) for scenario in stages}


def steps_of(stages: Mapping[str, Mapping]) -> dict[str, int]:
    """Scenario -> optimizer steps of its whole chain, see `along_the_chain`."""
    return along_the_chain(stages, "steps")
