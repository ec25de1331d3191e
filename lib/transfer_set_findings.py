"""What the transfer_set study says to its two research questions (001): Markdown paragraphs, worded by the numbers.

`results` are rows of one protocol. Differences are paired by fine-tuning seed, in points; where an interval holds zero a
comparison is undecided.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from lib.statistics import interval, paired_differences, pm
from lib.transfer_set_tables import COMPOSITIONS, SIZES, SUITES, paper_suites, suites
from lib.wording import by_side, decided, number_of, printed, signed, with_interval

LARGE, MIDDLE, SMALL = SIZES
NAMED = {LARGE: "10 %", MIDDLE: "1 %", SMALL: "0.1 %", **{k: v for k, v in COMPOSITIONS.items() if k != LARGE}}


STEPS = {
    **{pair: "size" for pair in ((LARGE, MIDDLE), (MIDDLE, SMALL), (LARGE, SMALL))},
    **{(LARGE, noise): "composition" for noise in list(COMPOSITIONS)[1:]},
    ("randomised", "generated"): "composition",
}
"""(from, to) -> which research question it belongs to."""


def findings(results: pd.DataFrame) -> list[str]:
    """The answers to RQ1 and RQ2, a paragraph each finding."""
    of = partial(suites, results)
    return [
        steps_paragraph(of),
        excess_paragraph(of, "Does SQuAD lose more than GLUE with a small transfer set?", LARGE, SMALL),
        noise_paragraph(of),
        anomaly_paragraph(of),
        *[
            excess_paragraph(of, f"Does SQuAD lose more than GLUE with {NAMED[noise]} text?", LARGE, noise)
            for noise in ("randomised", "generated")
        ],
        *bigram_paragraph(of),
    ]


def difference(of: Callable, a: str, b: str, suite: str) -> pd.Series:
    """a - b per seed on one suite, in points."""
    return paired_differences(of(a)[suite], of(b)[suite])


def differences_table(results: pd.DataFrame, question: str) -> pd.DataFrame:
    """What each step of "size" or "composition" changes on each suite, in points: ours with its interval, and the paper's.

    Columns (suite, ours | paper); a row per step that was measured or printed.
    """
    of, rows = partial(suites, results), {}
    for better, worse in (pair for pair, which in STEPS.items() if which == question):
        row = {}
        for suite, title in SUITES.items():
            d, theirs = difference(of, worse, better, suite), difference(paper_suites, worse, better, suite)
            row[title, "ours"] = with_interval(interval(d)) if len(d) else "–"
            row[title, "paper"] = signed(theirs.iloc[0]) if len(theirs) else "–"
        if set(row.values()) != {"–"}:
            rows[f"{NAMED[better]} → {NAMED[worse]}"] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("from → to")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def steps_paragraph(of: Callable) -> str:
    """RQ1: what is lost from 10 % to 1 % to 0.1 %, on GLUE and on SQuAD."""
    head = "**RQ 1: what does a smaller transfer set cost?**"
    told = [_step(of, better, worse) for better, worse in ((LARGE, MIDDLE), (MIDDLE, SMALL), (LARGE, SMALL))]
    if not any(told):
        return f"{head} Not measured: no two sizes have a seed in common."
    return f"{head} {' '.join(part for part in told if part)}"


def _step(of: Callable, better: str, worse: str) -> str:
    """Where the worse set scores lower than the better one; "" where nothing was measured."""
    lost = {title: difference(of, worse, better, suite) for suite, title in SUITES.items()}
    seeds = max(map(len, lost.values()))
    if not seeds:
        return ""
    verdict = by_side(lost, "a gain", "a loss") if seeds > 1 else "one seed, so nothing is concluded"
    return f"From {NAMED[better]} to {NAMED[worse]} ({number_of(seeds, 'seed')}): {verdict}."


def _open(d: pd.Series) -> str:
    return ", one seed" if len(d) == 1 else "" if decided(d) else ", undecided"


def _printed(a: str, b: str, suite: str) -> str:
    theirs = paired_differences(paper_suites(a)[suite], paper_suites(b)[suite])
    return f" (paper {printed(signed(theirs.iloc[0]))})" if len(theirs) else ""


def excess_paragraph(of: Callable, question: str, better: str, worse: str) -> str:
    """Whether better - worse is larger on SQuAD than on GLUE: the difference of the two differences, per seed."""
    head, told, signs = f"**{question}**", [], []
    for metric in ("exact_match", "f1"):
        excess = paired_differences(difference(of, better, worse, metric), difference(of, better, worse, "glue"))
        theirs = paired_differences(
            difference(paper_suites, better, worse, metric), difference(paper_suites, better, worse, "glue")
        )
        if len(excess):
            beside = f" (paper {printed(signed(theirs.iloc[0]))})" if len(theirs) else ""
            told.append(f"{SUITES[metric]} {with_interval(interval(excess))}{beside}")
            signs.append(decided(excess) if len(excess) > 1 else None)
    if not told:
        return f"{head} Not measured: no seed has both suites for {NAMED[better]} and {NAMED[worse]}."
    verdict = (
        "One seed has no interval, so nothing is concluded."
        if None in signs
        else "Yes, by exact match and by F1 alike."
        if signs == [1, 1]
        else "No: GLUE loses more."
        if signs == [-1, -1]
        else "Undecided: the intervals do not agree on a side."
    )
    return f"{head} {verdict} Loss on SQuAD less loss on GLUE, in points: {'; '.join(told)}."


def kept_table(results: pd.DataFrame) -> pd.DataFrame:
    """The share of the teacher's score that each student keeps, in percent, seed by seed: columns (suite, ours | paper)."""
    of, rows = partial(suites, results), {}
    for name, label in NAMED.items():
        kept = 100 * of(name) / of("teacher")
        theirs = (100 * paper_suites(name) / paper_suites("teacher")).dropna()
        if kept.notna().any(axis=None) or len(theirs):
            rows[label] = {
                (title, side): text
                for suite, title in SUITES.items()
                for side, text in (
                    ("ours", pm(kept[suite].dropna())),
                    ("paper", f"{theirs[suite].iloc[0]:.0f}" if len(theirs) else "–"),
                )
            }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("transfer set")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def noise_paragraph(of: Callable) -> str:
    """RQ2: natural against randomised and against generated text, on GLUE and on SQuAD."""
    head = "**RQ 2: what does text that is no language cost?**"
    told = [_step(of, LARGE, noise) for noise in list(COMPOSITIONS)[1:]]
    if not any(told):
        return f"{head} Not measured: the natural sample has no seed in common with a noisy one."
    return f"{head} {' '.join(part for part in told if part)}"


def anomaly_paragraph(of: Callable) -> str:
    """001's surprise: generated text beats randomised text on SQuAD, and loses to it on GLUE."""
    head = "**Is generated text better than randomised text on SQuAD, and worse on GLUE?**"
    gain = {suite: difference(of, "generated", "randomised", suite) for suite in SUITES}
    if any(d.empty for d in gain.values()):
        return f"{head} Not measured: it needs randomised and generated on both suites."
    parts = [f"{SUITES[suite]} {with_interval(interval(d))}{_printed('generated', 'randomised', suite)}"
             for suite, d in gain.items()]  # fmt: skip
    signs = [decided(d) for d in gain.values()]
    if min(map(len, gain.values())) == 1:
        verdict = "One seed has no interval, so nothing is concluded."
    elif signs == [-1, 1, 1]:
        verdict = "Yes: the paper's anomaly is here too."
    elif signs[0] == 1 or -1 in signs[1:]:
        verdict = "No: at least one half of the paper's anomaly is reversed here."
    else:
        verdict = "Undecided: not every interval lies on the paper's side of zero, and none on the other."
    return f"{head} {verdict} Generated less randomised, in points: {'; '.join(parts)}."


def bigram_paragraph(of: Callable) -> list[str]:
    """Our addition: whether keeping the frequencies of neighbours makes generated text better. Empty if it was not run."""
    gain = {suite: difference(of, "bigram", "generated", suite) for suite in SUITES}
    gain = {suite: d for suite, d in gain.items() if len(d)}
    if not gain:
        return []
    parts = [f"{SUITES[suite]} {with_interval(interval(d))}{_open(d)}" for suite, d in gain.items()]
    return [f"**Does generated text gain from bigrams?** Bigrams less unigrams, in points: {'; '.join(parts)}."]
