"""What the transfer_set study says to its two research questions (001): Markdown paragraphs, worded by the numbers.

`results` are rows of one protocol. Differences are paired by fine-tuning seed, in points; where an interval holds zero a
comparison is undecided.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from lib.statistics import interval, paired_differences, pm
from lib.transfer_set_tables import COMPOSITIONS, SIZES, SUITES, paper_suites, suites
from lib.wording import decided, number_of, signed, with_interval

LARGE, MIDDLE, SMALL = SIZES
NAMED = {LARGE: "10 %", MIDDLE: "1 %", SMALL: "0.1 %", **{k: v for k, v in COMPOSITIONS.items() if k != LARGE}}


DIFFERENCES = "Differences in points, paired by fine-tuning seed, 95 % intervals in brackets."


def findings(results: pd.DataFrame) -> list[str]:
    """The answers to RQ1 and RQ2, a paragraph each finding."""
    of = partial(suites, results)
    return [
        steps_paragraph(of),
        excess_paragraph(of, "Does SQuAD lose more than GLUE with a small transfer set?", LARGE, SMALL),
        kept_paragraph(of, "What a small transfer set keeps of the teacher", list(SIZES)),
        noise_paragraph(of),
        anomaly_paragraph(of),
        *[
            excess_paragraph(of, f"Does SQuAD lose more than GLUE with {NAMED[noise]} text?", LARGE, noise)
            for noise in ("randomised", "generated")
        ],
        kept_paragraph(of, "What text that is no language keeps of the teacher", list(COMPOSITIONS)[1:]),
        *bigram_paragraph(of),
    ]


def difference(of: Callable, a: str, b: str, suite: str) -> pd.Series:
    """a - b per seed on one suite, in points."""
    return paired_differences(of(a)[suite], of(b)[suite])


def steps_paragraph(of: Callable) -> str:
    """RQ1: what is lost from 10 % to 1 % to 0.1 %, on GLUE and on SQuAD."""
    head = "**RQ1: what does a smaller transfer set cost?**"
    told = [_step(of, better, worse) for better, worse in ((LARGE, MIDDLE), (MIDDLE, SMALL), (LARGE, SMALL))]
    if not any(told):
        return f"{head} Not measured: no two sizes have a seed in common."
    return f"{head} {DIFFERENCES} {' '.join(part for part in told if part)}"


def _step(of: Callable, better: str, worse: str) -> str:
    """How the worse set scores against the better one, by suite; "" where nothing was measured."""
    lost = {suite: difference(of, worse, better, suite) for suite in SUITES}
    lost = {suite: d for suite, d in lost.items() if len(d)}
    if not lost:
        return ""
    seeds = number_of(max(map(len, lost.values())), "seed")
    parts = [f"{SUITES[suite]} {with_interval(interval(d))}{_open(d)}{_printed(worse, better, suite)}"
             for suite, d in lost.items()]  # fmt: skip
    return f"From {NAMED[better]} to {NAMED[worse]} ({seeds}): {'; '.join(parts)}."


def _open(d: pd.Series) -> str:
    return ", one seed" if len(d) == 1 else "" if decided(d) else ", undecided"


def _printed(a: str, b: str, suite: str) -> str:
    theirs = paired_differences(paper_suites(a)[suite], paper_suites(b)[suite])
    return f" (paper {signed(theirs.iloc[0])})" if len(theirs) else ""


def excess_paragraph(of: Callable, question: str, better: str, worse: str) -> str:
    """Whether better - worse is larger on SQuAD than on GLUE: the difference of the two differences, per seed."""
    head, told, signs = f"**{question}**", [], []
    for metric in ("exact_match", "f1"):
        excess = paired_differences(difference(of, better, worse, metric), difference(of, better, worse, "glue"))
        theirs = paired_differences(
            difference(paper_suites, better, worse, metric), difference(paper_suites, better, worse, "glue")
        )
        if len(excess):
            printed = f" (paper {signed(theirs.iloc[0])})" if len(theirs) else ""
            told.append(f"{SUITES[metric]} {with_interval(interval(excess))}{printed}")
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


def kept_paragraph(of: Callable, question: str, names: list[str]) -> str:
    """The share of the teacher's score that each student keeps, on each suite."""
    head, told = f"**{question}.**", []
    for name in names:
        kept = {suite: (100 * of(name)[suite] / of("teacher")[suite]).dropna() for suite in SUITES}
        kept = {suite: share for suite, share in kept.items() if len(share)}
        theirs = (100 * paper_suites(name) / paper_suites("teacher")).dropna()
        if kept:
            parts = [
                f"{SUITES[suite]} {pm(share)} %" + (f" (paper {theirs[suite].iloc[0]:.0f} %)" if len(theirs) else "")
                for suite, share in kept.items()
            ]
            told.append(f"{NAMED[name]}: {', '.join(parts)}")
    if not told:
        return f"{head} Not measured: no student has a seed in common with the teacher."
    return f"{head} In percent of the teacher's score, seed by seed. {'; '.join(told)}."


def noise_paragraph(of: Callable) -> str:
    """RQ2: natural against randomised and against generated text, on GLUE and on SQuAD."""
    head = "**RQ2: what does text that is no language cost?**"
    told = [_step(of, LARGE, noise) for noise in list(COMPOSITIONS)[1:]]
    if not any(told):
        return f"{head} Not measured: the natural sample has no seed in common with a noisy one."
    return f"{head} {DIFFERENCES} {' '.join(part for part in told if part)}"


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
