"""Tables of the cascade study, each beside what 004 (CAMeMBERT) prints.

Pure functions from the contract tables to frames; `results` are rows of one protocol, accuracies percent. Numbers of ours and of
the paper stand in one table only where their numbers of layers correspond, that is beside a teacher of 12; else each has its own.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from lib import papers
from lib.cascade import (
    AVERAGE,
    LANGUAGES,
    PAPER_LAYERS,
    baselines,
    by_scenario,
    chains,
    difference,
    hops,
    languages,
    pairs,
    paper_accuracy,
    paper_layers,
    parsed,
    plainly,
    printed_hops,
    teacher_layers,
)
from lib.statistics import interval, pm
from lib.wording import printed, signed, signed_pm, with_interval

PRINTED = "printed average"
PAPER = "printed"
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
    "direct: one hop; truncated: no pretraining. Fine-tuning sees English pairs alone, so every other language is zero-shot "
    "transfer. Guessing gives 33.3 %. The average is the mean over the paper's six languages, seed by seed."
)
PAPER_NOTE = (
    "One run per row, by the paper's account the best of extensive tuning. LightMBERT's row is quoted from its authors. mBERT and "
    "DistilmBERT are no part of the paper: DistilBERT's authors print them on their model page; their averages are computed here. "
    + " ".join(map(printed, papers.flags("004", "hyperparameters")))
)
DROPS_NOTE = (
    "Points of accuracy, the shallower model less the deeper, paired by fine-tuning seed: on average with the ends of the 95 % "
    "interval, by language ± half of it."
)
COMPARISON_NOTE = (
    "Differences in points, paired by fine-tuning seed: on average with the ends of the 95 % interval, by language ± half of it. "
    "Steps: optimizer steps of the model and of every assistant before it, first against second. As in the paper, the first "
    "assistant's learning rate rises over all its steps; that of the one hop rises and falls again."
)


def scores_table(results: pd.DataFrame) -> pd.DataFrame:
    """004's Table 3, ours: mean ± half of the 95 % interval over seeds, by model and layers (rows) and language (columns).

    The column PRINTED, the paper's average, is there only beside a teacher of 12 layers, where numbers of layers correspond.
    """
    names, deep, of = languages(results), teacher_layers(results), by_scenario(results)
    wanted = [("teacher", "teacher", deep)] if deep else []
    wanted += [(f"{chain}-{n}", chain, n) for chain, depths in chains(results).items() for n in depths]
    wanted += [(name, name, layers) for name, layers in baselines(results).items()]
    rows = []
    for scenario, called, layers in wanted:
        ours, theirs = of(scenario), paper_accuracy(scenario)[AVERAGE]
        row = {"model": called, "layers": layers, AVERAGE: pm(ours[AVERAGE].dropna())}
        row |= {PRINTED: f"{theirs.iloc[0]:.1f}" if len(theirs) else "–"} if deep == PAPER_LAYERS else {}
        rows.append(row | {name: pm(ours[code].dropna()) for code, name in names.items()})
    columns = ["model", "layers", AVERAGE, *([PRINTED] if deep == PAPER_LAYERS else []), *names.values()]
    return pd.DataFrame(rows, columns=columns).set_index(["model", "layers"])


def paper_table() -> pd.DataFrame:
    """004's Table 3 as printed, and the two reference models; all columns under PAPER."""
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    others = papers.table("004", "xnli_reference")
    others[AVERAGE] = others.mean(axis=1).round(1)
    columns = [AVERAGE, *LANGUAGES]
    names = [("cascade (CAMeMBERT)", str(layers)) for layers in paper_layers()]
    names += [("LightMBERT", "6"), ("mBERT", str(PAPER_LAYERS)), ("DistilmBERT", "6")]
    return _printed(pd.concat([table, others])[columns], pd.MultiIndex.from_tuples(names, names=["model", "layers"]))


def _printed(frame: pd.DataFrame, index: pd.Index, show: Callable = "{:.1f}".format) -> pd.DataFrame:
    """`frame` as text under one heading that `show.table` can mark as the paper's."""
    return frame.map(show).set_axis(pd.MultiIndex.from_product([[PAPER], frame.columns]), axis=1).set_axis(index)


def drops_table(results: pd.DataFrame) -> pd.DataFrame:
    """What each hop of the cascade changes, on average and by language, and the whole way; paired by seed, in points."""
    rows, names, of = {}, languages(results), by_scenario(results)
    for above, below in _with_whole(hops(results)):
        if change := _changes(of, below, above, names):
            rows[_way(above, below, teacher_layers(results))] = change
    return pd.DataFrame.from_dict(rows, orient="index", columns=[AVERAGE, *names.values()]).rename_axis("hop")


def paper_drops_table() -> pd.DataFrame:
    """The same from 004's Table 3, whose first hop is not printed: the teacher was not scored."""
    rows = {
        _way(above, below): (paper_accuracy(below) - paper_accuracy(above)).iloc[0]
        for above, below in _with_whole(printed_hops())
    }
    frame = pd.DataFrame.from_dict(rows, orient="index")[[AVERAGE, *LANGUAGES]]
    return _printed(frame, frame.index.rename("hop"), signed)


def _with_whole(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return steps + ([(steps[0][0], steps[-1][1])] if len(steps) > 1 else [])


def _way(above: str, below: str, deep: int = PAPER_LAYERS) -> str:
    return f"{parsed(above)[1] or deep} → {parsed(below)[1]}"


def _changes(of: Callable, a: str, b: str, names: Mapping[str, str]) -> dict[str, str]:
    """a - b on average, with the ends of its interval, and in each language, with half its width: a narrower column."""
    change = {code: difference(of, a, b, code) for code in [AVERAGE, *names]}
    if not any(map(len, change.values())):
        return {}
    whole = change.pop(AVERAGE)
    cells = {names[code]: signed_pm(d) if len(d) else "–" for code, d in change.items()}
    return {AVERAGE: with_interval(interval(whole)) if len(whole) else "–"} | cells


def comparison_table(results: pd.DataFrame, steps: Mapping[str, int]) -> pd.DataFrame:
    """Chains against each other at equal depth: paired differences on average and by language, in points.

    `steps`: scenario -> optimizer steps, see `steps_of`. The column PRINTED (cascade less LightMBERT) is there only beside a
    teacher of 12 layers.
    """
    names, deep, of = languages(results), teacher_layers(results), by_scenario(results)
    rows = []
    for a, b in pairs(results):
        row = {"first less second": f"{parsed(a)[0]} − {parsed(b)[0]}", "layers": parsed(a)[1]}
        row["steps"] = " / ".join(f"{steps[name]:,}" if name in steps else "–" for name in (a, b))
        row |= _changes(of, a, b, names)
        theirs = difference(paper_accuracy, a, b)
        rows.append(row | ({PRINTED: signed(theirs.iloc[0]) if len(theirs) else "–"} if deep == PAPER_LAYERS else {}))
    head = ["first less second", "layers"]
    columns = [*head, "steps", AVERAGE, *([PRINTED] if deep == PAPER_LAYERS else []), *names.values()]
    return pd.DataFrame(rows, columns=columns).set_index(head)


# --- the corpus ------------------------------------------------------------------------------------------------------


def mixed(prepared: Mapping[str, Mapping]) -> Mapping:
    """Statistics of the corpus of several languages, from the results of data preparation; empty if there is none."""
    return next((found["statistics"] for found in prepared.values() if found["statistics"].get("languages")), {})


def shares_table(statistics: Mapping) -> pd.DataFrame:
    """004's Table 1 with ours: each language's share before and after sampling, in percent; "–" for what is not there.

    Columns (OURS, …) and ("paper", …). With more than MANY languages, those that 004 does not list share a row.
    """
    ours = {str(row["language"]): row for row in statistics.get("languages", [])}
    theirs = papers.table("004", "languages")["corpus_share"]
    rest = [name for name in ours if plainly(name) not in LANGUAGES]
    listed = sorted(set(ours) - set(rest), key=lambda name: list(LANGUAGES).index(plainly(name)))
    listed += [code for code in LANGUAGES if code not in map(plainly, ours)] + (rest if len(ours) <= MANY else [])
    rows = {}
    for name in listed:
        row = {(OURS, title): ours.get(name, {}).get(key) for key, title in SHARE_COLUMNS.items()}
        rows[name] = row | {("paper", PAPER_SHARES): theirs.get(plainly(name))}
    if len(ours) > MANY and rest:
        together = {
            (OURS, title): sum(ours[name].get(key) or 0 for name in rest) for key, title in SHARE_COLUMNS.items()
        }
        rows[f"{len(rest)} others"] = together | {("paper", PAPER_SHARES): None}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame.map(lambda value: "–" if pd.isna(value) else f"{value:.3g}" if value < 99.95 else f"{value:.0f}")


def shares_note(statistics: Mapping) -> str:
    """How the shares came about, with the exponent S; the paper gives its condition and not its S."""
    found = statistics.get("sampling") or {}
    told = f"Sampled with exponent S = {found['exponent']:.3f}" if found.get("exponent") is not None else "Not sampled"
    told += f", solved from {found['target']}" if found.get("target") else ""
    unit, other = ("bytes", "lines") if found.get("unit") == "bytes" else ("lines", "bytes")
    return (
        f"{told}. The aim is for shares of {unit}; those of {other} differ by the length of a language's lines. The paper chose "
        "S so that English is drawn 100 times as often as Icelandic, prints no S, and does not say of what its percentages are."
    )
