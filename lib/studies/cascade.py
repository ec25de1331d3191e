"""The cascade study: multilingual students made one layer shallower at a time, against one hop and
no training (004_…: CAMeMBERT).

Scenarios are named `<chain>-<layers>`, and `teacher`. What tables, figures, findings and claims of
the study share: names, depths, accuracies by language. `results` are rows of one protocol, as in
results.csv; accuracies are percent.

Tables of the cascade study, each beside what 004 (CAMeMBERT) prints.

Pure functions from the contract tables to frames; `results` are rows of one protocol, accuracies
percent. Numbers of ours and of the paper stand in one table only where their numbers of layers
correspond, that is beside a teacher of 12; else each has its own.

Figures of the cascade study (004, Table 3). Ours in colour, the paper's own numbers hollow and grey
in a panel of their own.

Depth falls from left to right, as a cascade does.

What the cascade study says (004): Markdown paragraphs, worded by the numbers.

`results` are rows of one protocol. Differences are paired by fine-tuning seed, in points; where an
interval holds zero a comparison is undecided.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np
import pandas as pd

from lib.common.errors import InputError
from lib.report import papers
from lib.report.claims import Evidence, smallest
from lib.report.figures import (
    DIAMOND,
    PAPER,
    draw_lines,
    ink,
    layer_shade,
    literal,
    panels,
    plain_axes,
    thinned,
)
from lib.report.statistics import interval, paired_differences, pm
from lib.report.wording import (
    by_side,
    conclusion,
    decided,
    number_of,
    plain,
    printed,
    signed,
    signed_pm,
    tested,
    with_interval,
)
from lib.training.mappings import KINDS

STUDY, TASK = "cascade", "xnli"
AVERAGE = "average"
"""The column of the mean over languages."""
CHANCE = 100 / 3
"""Three classes, equally frequent."""
LANGUAGES = {
    "en": "English",
    "es": "Spanish",
    "zh": "Chinese",
    "de": "German",
    "ar": "Arabic",
    "ur": "Urdu",
}
"""In the order of 004's Table 3. A toy language stands in the place of its namesake: toy-es in that
of es."""
CHAINS = ("cascade", "direct", "truncated")
"""One layer less at a time; one hop; no pretraining. Other chains, such as cascade_by_2, are named
by the study's parameters."""
PAPER_LAYERS = 12
"""Layers of the teacher in 004."""


def parsed(scenario: str) -> tuple[str, int]:
    """Chain and number of layers: ("cascade", 5) of "cascade-5"; ("teacher", 0) of the teacher and
    of other names."""
    chain, _, layers = scenario.rpartition("-")
    return (chain, int(layers)) if chain and layers.isdigit() else (scenario, 0)


def larger_hops(chain: str) -> bool:
    """Whether the chain is a cascade of more than one layer at a time, such as cascade_by_2."""
    return bool(re.fullmatch(r"cascade_by_([2-9]|\d{2,})", chain))


def plainly(language: str) -> str:
    """The language whose place it takes: "es" of "toy-es"."""
    return language.removeprefix("toy-")


def languages(results: pd.DataFrame) -> dict[str, str]:
    """The languages measured: code (es) -> as results name it (toy-es), those of 004's Table 3
    first and in its order."""
    named = {plainly(name): name for name in sorted(_rows(results)["language"].unique())}
    order = [code for code in LANGUAGES if code in named] + [
        code for code in named if code not in LANGUAGES
    ]
    return {code: named[code] for code in order}


def accuracy(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed (rows) and language (columns, codes as in 004), and AVERAGE over 004's six,
    or those of them that the study has; over all where it has none.

    A seed that lacks one of these has no average.
    """
    rows = _rows(results)
    rows = rows[rows["scenario"] == scenario]
    rows = rows.assign(language=rows["language"].map(plainly), value=rows["value"].astype(float))
    table = (
        rows.groupby(["seed", "language"])["value"]
        .mean()
        .unstack()
        .reindex(columns=list(languages(results)))
    )
    of_the_paper = [code for code in table if code in LANGUAGES] or list(table)
    return table.assign(**{AVERAGE: table[of_the_paper].mean(axis=1, skipna=False)})


def by_scenario(results: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    """scenario -> its `accuracy`, each computed once however often it is asked for. The frames are
    shared: read only."""
    return cache(partial(accuracy, results))


def average(results: pd.DataFrame, scenario: str) -> pd.Series:
    """The mean over languages by seed, in percent; seeds without all of them are left out."""
    return accuracy(results, scenario)[AVERAGE].dropna().astype(float)


def _rows(results: pd.DataFrame) -> pd.DataFrame:
    if results["protocol"].nunique() > 1:
        raise InputError(
            f"results hold the protocols {', '.join(results['protocol'].unique())}: choose one of "
            f"them"
        )
    return results[(results["study"] == STUDY) & (results["task"] == TASK)]


def paper_accuracy(scenario: str) -> pd.DataFrame:
    """004's Table 3: one row of its single run, columns as `accuracy`; no row where it prints none.

    Its cascade is 12 → 11 → … → 6, and LightMBERT stands for `direct-6`. The average is the printed
    one.
    """
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    chain, layers = parsed(scenario)
    row = (
        "LMB"
        if scenario == f"direct-{PAPER_LAYERS // 2}"
        else str(layers)
        if chain == "cascade"
        else ""
    )
    return table.loc[[row] if row in table.index else []].reset_index(drop=True)


def paper_layers() -> list[int]:
    """The depths of 004's cascade, deepest first: 11 … 6."""
    return sorted(
        (int(name) for name in papers.table("004", "xnli").index if name.isdigit()), reverse=True
    )


def teacher_layers(results: pd.DataFrame) -> int:
    """How many layers the teacher has; 0 if it was not measured."""
    layers = _rows(results).loc[lambda rows: rows["scenario"] == "teacher", "layers"]
    return int(layers.max()) if len(layers) else 0


def chains(results: pd.DataFrame) -> dict[str, list[int]]:
    """Chain -> its depths, deepest first, of every scenario with a score: cascade, direct,
    truncated, then others."""
    found: dict[str, list[int]] = {}
    for chain, layers in sorted(map(parsed, _rows(results)["scenario"].unique()), reverse=True):
        if layers:
            found.setdefault(chain, []).append(layers)
    order = [chain for chain in CHAINS if chain in found] + sorted(
        chain for chain in found if chain not in CHAINS
    )
    return {chain: found[chain] for chain in order}


def baselines(results: pd.DataFrame) -> dict[str, int]:
    """Models of no chain that were measured besides the teacher, such as DistilmBERT -> layers."""
    layers = _rows(results).groupby("scenario", sort=False)["layers"].max()
    return {
        name: int(count)
        for name, count in layers.items()
        if name != "teacher" and not parsed(name)[1]
    }


def hops(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The cascade's hops from the teacher down: pairs of scenarios, the deeper one first."""
    down = [f"cascade-{layers}" for layers in chains(results).get("cascade", [])]
    down = ["teacher", *down] if teacher_layers(results) else down
    return list(zip(down, down[1:]))


def printed_hops() -> list[tuple[str, str]]:
    """The hops between 004's printed rows: 11 → 10, …, 7 → 6."""
    down = [f"cascade-{layers}" for layers in paper_layers()]
    return list(zip(down, down[1:]))


# --- differences ----------------------------------------------------------------------------------


def difference(of: Callable, a: str, b: str, column: str = AVERAGE) -> pd.Series:
    """a - b per seed in one language or on average, in points. `of`: scenario -> accuracies, ours
    or the paper's."""
    empty = pd.Series(dtype=float)
    return paired_differences(of(a).get(column, empty), of(b).get(column, empty))


def pairs(results: pd.DataFrame) -> list[tuple[str, str]]:
    """What is compared with what, at each depth both have: cascade and direct, cascade and
    truncated, and so on."""
    found = chains(results)
    compared = [("cascade", "direct"), ("cascade", "truncated"), ("direct", "truncated")]
    compared += [(chain, "cascade") for chain in found if chain not in CHAINS]
    return [
        (f"{a}-{n}", f"{b}-{n}")
        for a, b in compared
        for n in found.get(a, [])
        if n in found.get(b, [])
    ]  # of one pair of chains the deeper comes first


def along_the_chain(stages: Mapping[str, Mapping], what: str) -> dict[str, int]:
    """Scenario -> `what` (of a stage's summary, such as "steps") of its hop and of every hop before
    it; the teacher's own training is not counted.

    `stages`: scenario -> result.json of its cascade_ta stage, whose parameter `teacher` names the
    folder of the hop before.
    """

    def chain(scenario: str) -> int:
        found = stages[scenario]
        before = re.search(
            rf"/{STUDY}/([^/]+)/cascade_ta/model/?$", str(found["parameters"]["teacher"])
        )
        return int(found["summary"].get(what, 0)) + (
            chain(before[1]) if before and before[1] in stages else 0
        )

    return {scenario: chain(scenario) for scenario in stages}


def steps_of(stages: Mapping[str, Mapping]) -> dict[str, int]:
    """Scenario -> optimizer steps of its whole chain, see `along_the_chain`."""
    return along_the_chain(stages, "steps")


PRINTED = "printed average"
PAPER_HEADING = "printed"
"""The column of our tables, and the group of columns of the paper's, that hold printed numbers."""
SHARE_COLUMNS = {
    "share": "bytes, before",
    "target": "aim",
    "share_drawn": "lines drawn",
    "share_bytes_drawn": "bytes drawn",
    "share_tokens": "tokens drawn",
}
OURS, PAPER_SHARES = "ours, in %", "% of corpus"
MANY = 12
"""With more languages than this in a corpus, those that 004's tables leave out share one row."""
SCORES_NOTE = (
    "direct: one hop; truncated: no pretraining. Fine-tuning sees English pairs alone, so every "
    "other language is zero-shot "
    "transfer. Guessing gives 33.3 %. The average is the mean over the paper's six languages, "
    "seed by seed."
)
PAPER_NOTE = (
    "One run per row, by the paper's account the best of extensive tuning. LightMBERT's row is "
    "quoted from its authors. mBERT and "
    "DistilmBERT are no part of the paper: DistilBERT's authors print them on their model page; "
    "their averages are computed here. "
    + " ".join(map(printed, papers.flags("004", "hyperparameters")))
)
DROPS_NOTE = (
    "Points of accuracy, the shallower model less the deeper, paired by fine-tuning seed: on "
    "average with the ends of the 95 % "
    "interval, by language ± half of it."
)
COMPARISON_NOTE = (
    "Differences in points, paired by fine-tuning seed: on average with the ends of the 95 % "
    "interval, by language ± half of it. "
    "Steps: optimizer steps of the model and of every assistant before it, first against second. "
    "As in the paper, the first "
    "assistant's learning rate rises over all its steps; that of the one hop rises and falls again."
)


def scores_table(results: pd.DataFrame) -> pd.DataFrame:
    """004's Table 3, ours: mean ± half of the 95 % interval over seeds, by model and layers (rows)
    and language (columns).

    The column PRINTED, the paper's average, is there only beside a teacher of 12 layers, where
    numbers of layers correspond.
    """
    names, deep, of = languages(results), teacher_layers(results), by_scenario(results)
    wanted = [("teacher", "teacher", deep)] if deep else []
    wanted += [
        (f"{chain}-{n}", chain, n) for chain, depths in chains(results).items() for n in depths
    ]
    wanted += [(name, name, layers) for name, layers in baselines(results).items()]
    rows = []
    for scenario, called, layers in wanted:
        ours, theirs = of(scenario), paper_accuracy(scenario)[AVERAGE]
        row = {"model": called, "layers": layers, AVERAGE: pm(ours[AVERAGE].dropna())}
        row |= (
            {PRINTED: f"{theirs.iloc[0]:.1f}" if len(theirs) else "–"}
            if deep == PAPER_LAYERS
            else {}
        )
        rows.append(row | {name: pm(ours[code].dropna()) for code, name in names.items()})
    columns = [
        "model",
        "layers",
        AVERAGE,
        *([PRINTED] if deep == PAPER_LAYERS else []),
        *names.values(),
    ]
    return pd.DataFrame(rows, columns=columns).set_index(["model", "layers"])


def paper_table() -> pd.DataFrame:
    """004's Table 3 as printed, and the two reference models; all columns under PAPER."""
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    others = papers.table("004", "xnli_reference")
    others[AVERAGE] = others.mean(axis=1).round(1)
    columns = [AVERAGE, *LANGUAGES]
    names = [("cascade (CAMeMBERT)", str(layers)) for layers in paper_layers()]
    names += [("LightMBERT", "6"), ("mBERT", str(PAPER_LAYERS)), ("DistilmBERT", "6")]
    return _printed(
        pd.concat([table, others])[columns],
        pd.MultiIndex.from_tuples(names, names=["model", "layers"]),
    )


def _printed(
    frame: pd.DataFrame, index: pd.Index, show: Callable = "{:.1f}".format
) -> pd.DataFrame:
    """`frame` as text under one heading that `show.table` can mark as the paper's."""
    return (
        frame.map(show)
        .set_axis(pd.MultiIndex.from_product([[PAPER_HEADING], frame.columns]), axis=1)
        .set_axis(index)
    )


def drops_table(results: pd.DataFrame) -> pd.DataFrame:
    """What each hop of the cascade changes, on average and by language, and the whole way; paired
    by seed, in points."""
    rows, names, of = {}, languages(results), by_scenario(results)
    for upper, lower in _with_whole(hops(results)):
        if change := _changes(of, lower, upper, names):
            rows[_way(upper, lower, teacher_layers(results))] = change
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=[AVERAGE, *names.values()]
    ).rename_axis("hop")


def paper_drops_table() -> pd.DataFrame:
    """The same from 004's Table 3, whose first hop is not printed: the teacher was not scored."""
    rows = {
        _way(upper, lower): (paper_accuracy(lower) - paper_accuracy(upper)).iloc[0]
        for upper, lower in _with_whole(printed_hops())
    }
    frame = pd.DataFrame.from_dict(rows, orient="index")[[AVERAGE, *LANGUAGES]]
    return _printed(frame, frame.index.rename("hop"), signed)


def _with_whole(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return steps + ([(steps[0][0], steps[-1][1])] if len(steps) > 1 else [])


def _way(above: str, below: str, deep: int = PAPER_LAYERS) -> str:
    return f"{parsed(above)[1] or deep} → {parsed(below)[1]}"


def _changes(of: Callable, a: str, b: str, names: Mapping[str, str]) -> dict[str, str]:
    """a - b on average, with the ends of its interval, and in each language, with half its width: a
    narrower column."""
    change = {code: difference(of, a, b, code) for code in [AVERAGE, *names]}
    if not any(map(len, change.values())):
        return {}
    whole = change.pop(AVERAGE)
    cells = {names[code]: signed_pm(d) if len(d) else "–" for code, d in change.items()}
    return {AVERAGE: with_interval(interval(whole)) if len(whole) else "–"} | cells


def comparison_table(results: pd.DataFrame, steps: Mapping[str, int]) -> pd.DataFrame:
    """Chains against each other at equal depth: paired differences on average and by language, in
    points.

    `steps`: scenario -> optimizer steps, see `steps_of`. The column PRINTED (cascade less
    LightMBERT) is there only beside a teacher of 12 layers.
    """
    names, deep, of = languages(results), teacher_layers(results), by_scenario(results)
    rows = []
    for a, b in pairs(results):
        row = {"first less second": f"{parsed(a)[0]} − {parsed(b)[0]}", "layers": parsed(a)[1]}
        row["steps"] = " / ".join(f"{steps[name]:,}" if name in steps else "–" for name in (a, b))
        row |= _changes(of, a, b, names)
        theirs = difference(paper_accuracy, a, b)
        rows.append(
            row
            | (
                {PRINTED: signed(theirs.iloc[0]) if len(theirs) else "–"}
                if deep == PAPER_LAYERS
                else {}
            )
        )
    head = ["first less second", "layers"]
    columns = [
        *head,
        "steps",
        AVERAGE,
        *([PRINTED] if deep == PAPER_LAYERS else []),
        *names.values(),
    ]
    return pd.DataFrame(rows, columns=columns).set_index(head)


# --- the corpus -----------------------------------------------------------------------------------


def mixed(prepared: Mapping[str, Mapping]) -> Mapping:
    """Statistics of the corpus of several languages, from the results of data preparation; empty if
    there is none."""
    return next(
        (
            found["statistics"]
            for found in prepared.values()
            if found["statistics"].get("languages")
        ),
        {},
    )


def shares_table(statistics: Mapping) -> pd.DataFrame:
    """004's Table 1 with ours: each language's share before and after sampling, in percent; "–" for
    what is not there.

    Columns (OURS, …) and ("paper", …). With more than MANY languages, those that 004 does not list
    share a row.
    """
    ours = {str(row["language"]): row for row in statistics.get("languages", [])}
    theirs = papers.table("004", "languages")["corpus_share"]
    rest = [name for name in ours if plainly(name) not in LANGUAGES]
    listed = sorted(set(ours) - set(rest), key=lambda name: list(LANGUAGES).index(plainly(name)))
    listed += [code for code in LANGUAGES if code not in map(plainly, ours)] + (
        rest if len(ours) <= MANY else []
    )
    rows = {}
    for name in listed:
        row = {(OURS, title): ours.get(name, {}).get(key) for key, title in SHARE_COLUMNS.items()}
        rows[name] = row | {("paper", PAPER_SHARES): theirs.get(plainly(name))}
    if len(ours) > MANY and rest:
        together = {
            (OURS, title): sum(ours[name].get(key) or 0 for name in rest)
            for key, title in SHARE_COLUMNS.items()
        }
        rows[f"{len(rest)} others"] = together | {("paper", PAPER_SHARES): None}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame.map(
        lambda value: "–" if pd.isna(value) else f"{value:.3g}" if value < 99.95 else f"{value:.0f}"
    )


def shares_note(statistics: Mapping) -> str:
    """How the shares came about, with the exponent S; the paper gives its condition and not its
    S."""
    found = statistics.get("sampling") or {}
    told = (
        f"Sampled with exponent S = {found['exponent']:.3f}"
        if found.get("exponent") is not None
        else "Not sampled"
    )
    told += f", solved from {found['target']}" if found.get("target") else ""
    unit, other = ("bytes", "lines") if found.get("unit") == "bytes" else ("lines", "bytes")
    return (
        f"{told}. The aim is for shares of {unit}; those of {other} differ by the length of a "
        f"language's lines. The paper chose "
        "S so that English is drawn 100 times as often as Icelandic, prints no S, and does not "
        "say of what its percentages are."
    )


COLOURS = dict(zip(LANGUAGES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")))
"""Okabe and Ito's, by language; a language that is not here is drawn in the ink of the page."""
CHAIN_COLOURS = {"cascade": "#0072b2", "direct": "#d55e00", "truncated": "#009e73"}
OTHERS = ("#cc79a7", "#e69f00", "#56b4e9")
MARKERS = {"cascade": "o", "direct": "s", "truncated": "v"}


def figure_languages(results: pd.DataFrame):
    """Accuracy of the cascade by depth, a line per language, from the teacher down; the paper's own
    in a second panel."""
    figure, (ours, theirs) = panels(2, row_height=3.5, sharey=True)
    down, of = _descent(results, "cascade"), by_scenario(results)
    measured = {
        code: {n: of(name)[code].dropna() for name, n in down} for code in languages(results)
    }
    for code, at in measured.items():
        for layers, values in at.items():
            _bar(ours, values, layers, COLOURS.get(code, ink()), "o")
    _lines(
        ours,
        {
            languages(results)[code]: {n: v.mean() for n, v in at.items()}
            for code, at in measured.items()
        },
        {languages(results)[code]: COLOURS.get(code, ink()) for code in measured},
    )
    _depths(ours, [n for _, n in down], "this run")
    printed = {
        code: {n: _printed_value(f"cascade-{n}", code) for n in paper_layers()}
        for code in LANGUAGES
    }
    for at in printed.values():
        theirs.plot([-n for n in at], list(at.values()), **{**DIAMOND, "ms": 4.5, "mew": 1.0})
    _lines(theirs, printed, dict.fromkeys(LANGUAGES, PAPER))
    return _finished(figure, ours, theirs, "accuracy in percent")


def figure_chains(results: pd.DataFrame):
    """Average accuracy by depth: the cascade, one hop, no pretraining, other chains; the paper's
    own in a second panel."""
    figure, (ours, theirs) = panels(2, row_height=3.1, sharey=True)
    _draw_chains(ours, results, by_scenario(results), AVERAGE, named=True)
    ours.set_title("this run", fontsize=9.5, loc="left")
    down = {n: _printed_value(f"cascade-{n}", AVERAGE) for n in paper_layers()}
    half = PAPER_LAYERS // 2
    theirs.plot([-n for n in down], list(down.values()), **DIAMOND)
    theirs.plot(-half, _printed_value(f"direct-{half}", AVERAGE), **{**DIAMOND, "marker": "s"})
    _lines(
        theirs,
        {"cascade": down, "LightMBERT": {half: _printed_value(f"direct-{half}", AVERAGE)}},
        {"cascade": PAPER, "LightMBERT": PAPER},
    )
    return _finished(figure, ours, theirs, "average accuracy in percent")


def figure_by_language(results: pd.DataFrame):
    """The same chains in small multiples, a panel per language."""
    from matplotlib.lines import Line2D

    names, of = languages(results), by_scenario(results)
    figure, axes = panels(max(len(names), 1), row_height=2.1, sharey=True, across=3)
    for ax, (code, name) in zip(axes, names.items()):
        _draw_chains(ax, results, of, code, named=False)
        ax.set_title(literal(name), fontsize=9.5, loc="left")
        _chance(ax)
    handles = [
        Line2D([], [], color=colour, marker=_marker(chain), mec="none", lw=1.4)
        for chain, colour in _chain_colours(results).items()
    ]
    if handles:
        figure.legend(
            handles,
            list(_chain_colours(results)),
            loc="outside upper left",
            ncols=4,
            frameon=False,
            fontsize=8,
        )
    axes[0].set_ylabel("accuracy in percent", fontsize=9)
    figure.supxlabel("layers", fontsize=9)
    return figure


def describe(results: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """A figure of accuracies in words: the mean of every model, on average or in the languages
    `columns`."""
    spoken = []
    for name in [
        "teacher",
        *(f"{chain}-{n}" for chain, depths in chains(results).items() for n in depths),
    ]:
        means = accuracy(results, name)[list(columns) or [AVERAGE]].mean().dropna()
        if len(means):
            spoken.append(
                f"{name} "
                f"{', '.join(f'{code} {v:.1f}' if columns else f'{v:.1f}' for code, v in means.items())}"
            )
    return f"Accuracy in percent by depth. {'; '.join(spoken) or 'Nothing was measured'}."


def _finished(figure, ours, theirs, label: str):
    """What this run's panel and the paper's have in common: depths, chance, and what the axes
    are."""
    _depths(theirs, paper_layers(), "the paper, one run")
    _chance(ours, named=True)
    _chance(theirs)
    ours.set_ylabel(label, fontsize=9)
    figure.supxlabel("layers", fontsize=9)
    return figure


def _descent(results: pd.DataFrame, chain: str) -> list[tuple[str, int]]:
    """(scenario, layers) of a chain, the teacher first, by falling depth."""
    deep = teacher_layers(results)
    return [("teacher", deep)] * bool(deep) + [
        (f"{chain}-{n}", n) for n in chains(results).get(chain, [])
    ]


def _printed_value(scenario: str, column: str) -> float:
    return float(paper_accuracy(scenario)[column].iloc[0])


def _marker(chain: str) -> str:
    return MARKERS.get(chain, "D")


def _chain_colours(results: pd.DataFrame) -> dict[str, str]:
    others = iter(OTHERS * len(chains(results)))
    return {chain: CHAIN_COLOURS.get(chain) or next(others) for chain in chains(results)}


def _draw_chains(ax, results: pd.DataFrame, of: Callable, column: str, named: bool) -> None:
    """Every chain in one panel, side by side where they meet at one depth; those that go step by
    step start at the teacher."""
    colours, lines, deep = _chain_colours(results), {}, teacher_layers(results)
    for i, (chain, colour) in enumerate(colours.items()):
        aside, at = 0.1 * (i - (len(colours) - 1) / 2), {}
        for name, layers in _descent(results, chain)[bool(deep) and chain == "direct" :]:
            values, x = of(name)[column].dropna(), layers if name == "teacher" else layers - aside
            if len(values):
                at[x] = values.mean()
                _bar(
                    ax,
                    values,
                    x,
                    ink() if name == "teacher" else colour,
                    "o" if name == "teacher" else _marker(chain),
                )
        lines[chain] = at
    if named:
        _lines(ax, lines, colours)
    else:
        for chain, at in lines.items():
            ax.plot(
                [-n for n in at],
                list(at.values()),
                color=colours[chain],
                lw=1.1,
                alpha=0.8,
                zorder=1,
            )
    _depths(
        ax, [deep] * bool(deep) + [n for depths in chains(results).values() for n in depths], ""
    )


def _bar(ax, values: pd.Series, layers: float, colour: str, marker: str) -> None:
    """Mean and 95 % interval over seeds, at a depth."""
    if len(values):
        mean, low, high = interval(values)
        ax.plot([-layers] * 2, [low, high], lw=1.8, solid_capstyle="butt", color=colour)
        ax.plot(-layers, mean, marker, ms=4.5, mec="none", color=colour)


def _lines(ax, lines: Mapping[str, Mapping[int, float]], colours: Mapping[str, str]) -> None:
    """Lines by depth, named at their right ends. `lines`: name -> layers -> percent."""
    frame = pd.DataFrame(
        {name: {-n: value for n, value in at.items()} for name, at in lines.items()}, dtype=float
    )
    frame = frame.sort_index().dropna(how="all")
    if len(frame):
        low, high = min(CHANCE, frame.min().min()) - 2, frame.max().max() + 3
        ax.set_ylim(
            min(low, ax.get_ylim()[0]) if ax.lines else low,
            max(high, ax.get_ylim()[1]) if ax.lines else high,
        )
        draw_lines(ax, frame, width=1.2, gap=0.062, colours=colours)


def _depths(ax, layers: Sequence[int], title: str) -> None:
    """Depths fall from left to right: the axis holds their negatives, the ticks do not show it."""
    plain_axes(ax, title, grid="y")
    shown = sorted({-n for n in layers})
    ax.set_xticks(shown, [str(-n) for n in shown])
    if shown:
        ax.set_xlim(shown[0] - 0.4, shown[-1] + 0.4)


def _chance(ax, named: bool = False) -> None:
    ax.axhline(CHANCE, color=ink(), lw=0.8, ls=(0, (1, 2)), alpha=0.8, zorder=1)
    if named:
        ax.text(
            0.01,
            CHANCE,
            "chance",
            transform=ax.get_yaxis_transform(),
            fontsize=7.5,
            va="bottom",
            ha="left",
        )


# --- the hops' losses -----------------------------------------------------------------------------


def figure_hops(histories: Mapping[str, Sequence[Mapping]], across: int = 4):
    """Loss of every hop by kind and layer, logarithmic: a column per hop, a row per kind, lighter
    lines for higher layers.

    `histories`: scenario -> logged steps, with hidden_0 … hidden_n and attention_1 … attention_n. A
    scenario without any is left out. Layer 0 is the embeddings' output.
    """
    from matplotlib.lines import Line2D

    drawn = {
        name: thinned(pd.DataFrame(list(rows)).astype(float))
        for name, rows in histories.items()
        if rows
    }
    drawn = {
        name: frame
        for name, frame in drawn.items()
        if any(_matched_layers(frame, kind) for kind in KINDS)
    }
    across = min(max(len(drawn), 1), across)
    blocks = max(1, -(-len(drawn) // across))
    figure, axes = panels(len(KINDS) * across * blocks, row_height=1.75, across=across)
    deepest = max(
        (n for frame in drawn.values() for kind in KINDS for n in _matched_layers(frame, kind)),
        default=1,
    )
    for ax in axes:
        ax.set_visible(False)
    for i, (name, frame) in enumerate(drawn.items()):
        for row, (kind, title) in enumerate(KINDS.items()):
            ax = axes[(len(KINDS) * (i // across) + row) * across + i % across]
            ax.set_visible(True)
            for layer in _matched_layers(frame, kind):
                line = frame[f"{kind}_{layer}"].where(lambda values: values > 0)
                style = {"lw": 1.1, "ls": "-" if layer else (0, (2, 1.5))}
                ax.plot(frame["step"], line, color=layer_shade(layer, deepest), **style)
            ax.set_yscale("log")
            plain_axes(ax, literal(name) if row == 0 else "", grid="y")
            ax.tick_params(labelsize=7)
            ax.minorticks_off()
            if i % across == 0:
                ax.set_ylabel(title, fontsize=8.5)
    shown = sorted({0, 1, deepest, *np.linspace(1, deepest, 5).round().astype(int)})
    handles = [
        Line2D([], [], color=layer_shade(n, deepest), lw=1.6, ls="-" if n else (0, (2, 1.5)))
        for n in shown
    ]
    figure.legend(
        handles,
        [f"layer {n}" if n else "embeddings" for n in shown],
        loc="outside upper left",
        ncols=len(shown),
        frameon=False,
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.4,
    )
    figure.supxlabel("optimizer step of the hop", fontsize=9)
    return figure


def _matched_layers(frame: pd.DataFrame, kind: str) -> list[int]:
    return sorted(
        int(name.split("_")[1])
        for name in frame
        if name.startswith(f"{kind}_") and name.split("_")[1].isdigit()
    )


def describe_hops(histories: Mapping[str, Sequence[Mapping]]) -> str:
    """The figure of losses in words: how the whole loss of each hop begins and ends."""
    spoken = [
        f"{name} {rows[0]['loss']:.3g} to {rows[-1]['loss']:.3g}"
        for name, rows in histories.items()
        if rows
    ]
    return (
        f"Loss of each hop from its first to its last logged step: "
        f"{', '.join(spoken) or 'nothing was trained'}."
    )


ONE_SEED = "One seed has no interval, so nothing is concluded."


def findings(results: pd.DataFrame, steps: Mapping[str, int] = {}) -> list[str]:
    """The answers, a paragraph each. `steps`: scenario -> optimizer steps of its whole chain, where
    they are known."""
    return [
        transfer_paragraph(results),
        depth_paragraph(results),
        against_paragraph(results, "Is the cascade better than one hop?", "direct", steps),
        against_paragraph(
            results, "Is the cascade better than no pretraining at all?", "truncated", steps
        ),
        *[
            against_paragraph(results, _question(chain), chain, steps)
            for chain in chains(results)
            if chain not in CHAINS
        ],
        languages_paragraph(results),
    ]


def _question(chain: str) -> str:
    if larger_hops(chain):
        return f"Are more assistants better (one layer at a time against {chain})?"
    return f"Is the cascade better than {chain}?"


def _names(results: pd.DataFrame) -> dict[str, str]:
    """The languages as the data call them, fit for a sentence."""
    return {code: plain(name) for code, name in languages(results).items()}


def transfer_paragraph(results: pd.DataFrame) -> str:
    """Zero-shot transfer of the teacher: points over chance by language, in falling order."""
    head, names = "**How well does the teacher transfer?**", _names(results)
    teacher = accuracy(results, "teacher")
    over = {
        code: (teacher[code] - CHANCE).dropna() for code in names if teacher[code].notna().any()
    }
    if not over:
        return f"{head} Not measured: there is no score of the teacher."
    order = sorted(over, key=lambda code: -over[code].mean())
    parts = [f"{names[code]} {with_interval(interval(over[code]))}" for code in order]
    text = (
        f"Fine-tuned on English alone, in points over chance ({CHANCE:.1f} %): {', '.join(parts)}."
    )
    if min(map(len, over.values())) == 1:
        return f"{head} {ONE_SEED} {text}"
    short = [names[code] for code in order if decided(over[code]) <= 0]
    told = (
        f"Not shown to be above chance: {', '.join(short)}."
        if short
        else "Above chance in every language."
    )
    if "en" in over and len(over) > 1:
        lag = {code: paired_differences(over[code], over["en"]) for code in order if code != "en"}
        lag = {code: d for code, d in lag.items() if len(d)}
        behind = [names[code] for code, d in lag.items() if decided(d) < 0]
        nearest = max(lag, key=lambda code: lag[code].mean(), default=None)
        if nearest:
            told += (
                f" Shown to be behind English: {', '.join(behind) or 'none'}; nearest to it is "
                f"{names[nearest]} "
                f"({with_interval(interval(lag[nearest]))})."
            )
    return f"{head} {told} {text}"


def depth_paragraph(results: pd.DataFrame) -> str:
    """What each hop of the cascade costs on average, and what a layer costs over the whole way."""
    head, of = "**What does each layer cost?**", by_scenario(results)
    change = {hop: difference(of, hop[1], hop[0]) for hop in hops(results)}
    change = {hop: d for hop, d in change.items() if len(d)}
    if not change:
        return (
            f"{head} Not measured: no two models of the cascade have a seed in common. "
            f"{_printed_cost()}"
        )
    (first, _), (_, last) = list(change)[0], list(change)[-1]
    whole, removed = difference(of, last, first), _layers(results, first) - _layers(results, last)
    parts = [
        f"{_layers(results, a)} → {_layers(results, b)}: {with_interval(interval(d))}"
        for (a, b), d in change.items()
    ]
    text = f"Change of the average at each hop, in points: {'; '.join(parts)}."
    if len(whole):
        text += (
            f" From {_layers(results, first)} layers to {_layers(results, last)} it is "
            f"{with_interval(interval(whole))}"
        )
        text += f", {with_interval(interval(whole / removed), 2)} a layer." if removed else "."
    if min(map(len, change.values())) == 1:
        return f"{head} {ONE_SEED} {text} {_printed_cost()}"
    falls = sum(decided(d) < 0 for d in change.values())
    rises = sum(decided(d) > 0 for d in change.values())
    counts = {"cost accuracy": falls, "gain": rises, "undecided": len(change) - falls - rises}
    verdict = (
        "Every hop costs accuracy."
        if falls == len(change)
        else f"Of {number_of(len(change), 'hop')}: "
        f"{', '.join(f'{n} {what}' for what, n in counts.items() if n)}."
    )
    return f"{head} {verdict} {text} {_printed_cost()}"


def _layers(results: pd.DataFrame, scenario: str) -> int:
    return teacher_layers(results) if scenario == "teacher" else int(scenario.rpartition("-")[2])


def _printed_cost() -> str:
    (first, _), (_, last) = printed_hops()[0], printed_hops()[-1]
    change = difference(paper_accuracy, last, first).iloc[0]
    deep, shallow = max(paper_layers()), min(paper_layers())
    return (
        f"The paper prints {printed(signed(change))} points from {deep} layers to {shallow}, "
        f"{printed(signed(change / (deep - shallow), 2))} a layer, one run each."
    )


def against_paragraph(
    results: pd.DataFrame, question: str, other: str, steps: Mapping[str, int]
) -> str:
    """The cascade less another chain at every depth both have, on average; the shallowest is what
    is concluded from."""
    head, found = f"**{question}**", chains(results)
    of = by_scenario(results)
    at = {
        n: difference(of, f"cascade-{n}", f"{other}-{n}")
        for n in found.get("cascade", [])
        if n in found.get(other, [])
    }
    at = {n: d for n, d in at.items() if len(d)}
    theirs = _printed_against(other)
    if not at:
        return f"{head} Not measured: cascade and {other} have no depth and seed in common.{theirs}"
    last = min(at)
    d = at[last]
    text = (
        f"{head} {_sentence(conclusion(interval(d), 'the cascade', other))} At "
        f"{number_of(last, 'layer')}, cascade less {other}: "
        f"{with_interval(interval(d), 2)} points of the average "
        f"({tested(d)}{_with_steps(last, other, steps)})."
    )
    words = {1: ", better", -1: ", worse", 0: ", undecided" if len(d) > 1 else ""}
    higher = [
        f"{n}: {with_interval(interval(d), 2)}{words[decided(d)]}"
        for n, d in at.items()
        if n != last
    ]
    if higher:
        text += f" At other depths, {'; '.join(higher)}."
    names = _names(results)
    split = {
        names[code]: difference(of, f"cascade-{last}", f"{other}-{last}", code) for code in names
    }
    return text + (f" By language: {by_side(split)}." if len(d) > 1 else "") + theirs


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _with_steps(layers: int, other: str, steps: Mapping[str, int]) -> str:
    ours, theirs = (steps.get(f"{chain}-{layers}") for chain in ("cascade", other))
    if ours is None or theirs is None:
        return ""
    return (
        f"; {ours:,} optimizer steps each"
        if ours == theirs
        else f"; {ours:,} optimizer steps against {theirs:,}"
    )


def _printed_against(other: str) -> str:
    if other == "truncated":
        return (
            " The paper calls its loss almost on par with that of no pretraining, and prints "
            "no number for it."
        )
    half = PAPER_LAYERS // 2
    theirs = difference(paper_accuracy, f"cascade-{half}", f"{other}-{half}")
    if theirs.empty and not larger_hops(other):
        return " The paper prints no such comparison."
    if theirs.empty:
        return (
            " The paper prints no such comparison; it cites Mirzadeh et al., who find most "
            "assistants best."
        )
    ours, best = (
        paper_accuracy(f"{chain}-{half}")[AVERAGE].iloc[0] for chain in ("cascade", other)
    )
    return (
        f" The paper prints {printed(signed(theirs.iloc[0]))} at {half} layers: "
        f"{printed(f'{ours:.1f}')} against LightMBERT's "
        f"{printed(f'{best:.1f}')}."
    )


def languages_paragraph(results: pd.DataFrame) -> str:
    """Which languages lose most from the top of the cascade to its end, neighbours told apart by
    paired intervals."""
    head, names = "**Which languages lose most?**", _names(results)
    of, way = by_scenario(results), hops(results)
    lost = {code: difference(of, way[-1][1], way[0][0], code) for code in names} if way else {}
    order = sorted((code for code in lost if len(lost[code])), key=lambda code: lost[code].mean())
    if not order:
        return (
            f"{head} Not measured: the cascade has no two depths with a seed in common. "
            f"{_printed_losses()}"
        )
    parts = [f"{names[code]} {signed(lost[code].mean())}" + _half(lost[code]) for code in order]
    text = (
        f"From {_layers(results, way[0][0])} layers to {_layers(results, way[-1][1])}, in "
        f"points: {', '.join(parts)}."
    )
    if min(len(lost[code]) for code in order) == 1:
        return f"{head} {ONE_SEED} {text} {_printed_losses()}"
    told = (
        [_rank(lost, code, order, names) for code in dict.fromkeys((order[0], order[-1]))]
        if order[1:]
        else []
    )
    ranked = f"The loss is {'; '.join(told)}. " if told else ""
    return (
        f"{head} {ranked}{text} {_of_the_lead(results, way[0][0], lost, order)}{_printed_losses()}"
    )


def _of_the_lead(
    results: pd.DataFrame, top: str, lost: Mapping[str, pd.Series], order: list[str]
) -> str:
    """The same losses as shares of what the top was above chance by: a language near chance has
    little to lose."""
    lead, names = accuracy(results, top)[order] - CHANCE, _names(results)
    share = {
        code: (-100 * lost[code] / lead[code]).dropna()
        for code in order
        if (lead[code].dropna() > 0).all()
    }
    ranked = sorted(share, key=lambda code: -share[code].mean())
    parts = [f"{names[code]} {pm(share[code], 0)} %" for code in ranked]
    return (
        f"As a share of the points over chance that were there: {', '.join(parts)}. "
        if parts
        else ""
    )


def _half(d: pd.Series) -> str:
    found = pm(d)
    return f" ± {found.split(' ± ')[1]}" if "±" in found else ""


def _rank(
    lost: Mapping[str, pd.Series], code: str, order: list[str], names: Mapping[str, str]
) -> str:
    """Whether the first or last of the order is told apart from its neighbour."""
    first = code == order[0]
    gap = paired_differences(lost[code], lost[order[1] if first else order[-2]])
    side = "largest" if first else "smallest"
    verdict = "decided" if decided(gap) else "undecided"
    return f"{side} in {names[code]}, {with_interval(interval(gap))} against the next: {verdict}"


def _printed_losses() -> str:
    (first, _), (_, last) = printed_hops()[0], printed_hops()[-1]
    lost = {code: difference(paper_accuracy, last, first, code).iloc[0] for code in LANGUAGES}
    order = sorted(lost, key=lost.__getitem__)
    deep, shallow = max(paper_layers()), min(paper_layers())
    return (
        f"The paper's, from {deep} to {shallow}: "
        f"{', '.join(f'{code} {printed(signed(lost[code]))}' for code in order)}."
    )


# --- what claims.yaml names -----------------------------------------------------------------------


def as_printed(results: pd.DataFrame, efficiency: pd.DataFrame) -> bool:
    """Whether the study has 004's own depth and languages, so that a printed accuracy compares."""
    names = list(languages(results).values())
    return teacher_layers(results) == PAPER_LAYERS and names == list(LANGUAGES)


def more_assistants(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
    """Points by which one layer at a time is above larger hops, at every depth both reach."""
    depths, of = chains(results), by_scenario(results)
    return smallest(
        [
            difference(of, f"cascade-{n}", f"{chain}-{n}")
            for chain in filter(larger_hops, depths)
            for n in depths[chain]
            if n in depths.get("cascade", [])
        ]
    )
