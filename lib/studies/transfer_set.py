"""The transfer_set study's tables: size and composition of the text a student learns from (001_…:
Transfer Dataset Size and Composition Effects).

Pure functions from the contract tables to frames; `results` are rows of one protocol, scores are
percent. What the numbers say is in `lib.studies.transfer_set`, the figures in
`lib.studies.transfer_set`.

Figures of the transfer_set study (001, Figures 1 and 2). Ours in colour, the paper's own numbers
hollow and grey.

What the transfer_set study says to its two research questions (001): Markdown paragraphs, worded by
the numbers.

`results` are rows of one protocol. Differences are paired by fine-tuning seed, in points; where an
interval holds zero a comparison is undecided.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pandas as pd

from lib.report import papers, scores
from lib.report.claims import efficiency_value
from lib.report.figures import (
    DIAMOND,
    PAPER,
    ink,
    legend,
    panels,
    plain_axes,
    seeds_column,
    seeds_row,
)
from lib.report.scores import MEAN
from lib.report.statistics import interval, paired_differences, pm
from lib.report.wording import by_side, decided, number_of, printed, signed, with_interval

STUDY = "transfer_set"
SIZES = {"corpus10pct": "10 % of the corpus", "corpus1pct": "1 %", "corpus0.1pct": "0.1 %"}
COMPOSITIONS = {
    "corpus10pct": "natural (10 %)",
    "randomised": "randomised",
    "generated": "generated",
    "bigram": "generated, bigrams",
}
BASELINES = {"teacher": "teacher", "DistilBERT": "DistilBERT"}
SHARES = {"corpus10pct": 10.0, "corpus1pct": 1.0, "corpus0.1pct": 0.1}
"""Percent of the corpus that a sample holds."""
SUITES = {"glue": "GLUE", "exact_match": "SQuAD EM", "f1": "SQuAD F1"}
PAPER_SCORES = [(title, "paper") for title in SUITES.values()]
"""The columns of `scores_table` that hold the paper's own numbers."""
PAPER_CORPORA = [("paper", "TBC"), ("paper", "TBC replica")]
SET_COLUMNS = {"size_mb": "MB", "sequences": "sequences", "tokens": "tokens"}
PAPER_SETS = [(title, "paper") for title in SET_COLUMNS.values()]
NETWORK_COLUMNS = {
    "M parameters": ("parameters", 1e-6, "{:.1f}"),
    "MiB": ("size_mib", 1, "{:.0f}"),
    "inference": ("latency_s", 1e3, "{:.2f} ms"),
}
"""Column -> where it stands in efficiency.csv, in which unit it is shown, and how."""
PAPER_NETWORKS = [(title, "paper") for title in NETWORK_COLUMNS]

GLUE_NOTE = (
    "GLUE: the mean of nine tasks, WNLI among them, MNLI as the mean of its matched and "
    "mismatched sets, a task with two "
    "metrics as their mean. The slides do not say which tasks their score averages. "
)
BASELINE_NOTE = " ".join(map(printed, papers.flags("001", "glue_size")))
NETWORK_NOTE = (
    "MiB at four bytes a parameter. Ratios are the teacher's value over the model's. Our "
    "inference time: one sequence of 64 "
    "tokens through the encoder on one CPU thread, the median of 30 passes, the models taking "
    "turns; the slides do not say how "
    "theirs was taken."
)
BIGRAM_NOTE = (
    "The slides do not name the two statistics behind their generated set; ours are the lengths "
    "of sequences and the "
    "frequencies of tokens. The bigram set, drawn from pairs of neighbours, is our own addition."
)


def suites(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed (rows): GLUE's macro score and SQuAD's two (columns as SUITES). NaN where a
    seed lacks one."""
    macro = scores.by_seed(results, STUDY, scenario)[MEAN].rename("glue")
    return pd.concat([macro, scores.squad(results, STUDY, scenario)], axis=1).reindex(
        columns=list(SUITES)
    )


def paper_suites(scenario: str) -> pd.DataFrame:
    """001's Tables 6, 7, 9 and 10: one row of the paper's single run, as `suites`; no row where it
    prints none."""
    tables = [
        pd.concat([papers.table("001", f"{suite}_{kind}") for suite in ("glue", "squad")], axis=1)
        for kind in ("size", "composition")
    ]
    whole = pd.concat(tables)
    whole = whole[~whole.index.duplicated()]
    return whole.reindex([scenario]).dropna(how="all").reset_index(drop=True)


def with_scores(results: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those of the scenarios for which anything was measured."""
    return [name for name in names if suites(results, name).notna().any(axis=None)]


def scores_table(results: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """001's Tables 6 and 7 (or 9 and 10) with ours beside: columns (GLUE | SQuAD EM | SQuAD F1,
    ours | paper).

    Rows are `names` (scenario -> label), then the baselines. Ours is mean ± half of the 95 % t
    interval over seeds; "–" where nothing was measured or printed.
    """
    rows = {}
    for name, label in {**names, **BASELINES}.items():
        ours, theirs = suites(results, name), paper_suites(name)
        if ours.notna().any(axis=None) or len(theirs):
            rows[label] = {
                (title, side): text
                for suite, title in SUITES.items()
                for side, text in (
                    ("ours", pm(ours[suite].dropna())),
                    ("paper", f"{theirs[suite].iloc[0]:.1f}" if len(theirs) else "–"),
                )
            }
    return _framed(rows, "transfer set")


def networks(efficiency: pd.DataFrame) -> pd.DataFrame:
    """001's Table 3: parameters, size and inference time of teacher and student, and how many times
    less than the teacher's.

    The student is the first of the students that was measured: all have one shape.
    """
    students = [
        name
        for name in {**SIZES, **COMPOSITIONS}
        if efficiency_value(efficiency, STUDY, name, "parameters") > 0
    ]
    models = {
        "teacher": "teacher",
        "student": students[0] if students else "",
        "DistilBERT": "DistilBERT",
    }
    rows = {}
    for label, name in models.items():
        theirs = _printed_network(label)
        if theirs or efficiency_value(efficiency, STUDY, name, "parameters") > 0:
            ours = _measured_network(efficiency, name)
            rows[label] = {
                (title, side): cells.get(title, "–")
                for title in NETWORK_COLUMNS
                for side, cells in (("ours", ours), ("paper", theirs))
            }
    return _framed(rows, "network")


def _measured_network(efficiency: pd.DataFrame, name: str) -> dict[str, str]:
    cells = {}
    for title, (column, scale, form) in NETWORK_COLUMNS.items():
        value, teacher = (
            efficiency_value(efficiency, STUDY, model, column) for model in (name, "teacher")
        )
        ratio = "" if pd.isna(teacher) else f" ({teacher / value:.2f}×)"
        cells[title] = "–" if pd.isna(value) else f"{form.format(value * scale)}{ratio}"
    return cells


def _printed_network(label: str) -> dict[str, str]:
    """Table 3's cells with the ratios as printed: from the rounded cells the inference time would
    give 1.84."""
    row = {"teacher": "BERT-base", "student": "BERT-student"}.get(label)
    if row is None:
        return {}
    m, mib, seconds = papers.table("001", "networks").loc[row]
    facts = ("parameter_ratio", "size_ratio", "speed_ratio")
    ratios = [papers.fact("001", fact) if label == "student" else 1 for fact in facts]
    cells = (f"{m:.1f}", f"{mib:.0f}", f"{seconds:.2f} s")
    return {
        title: f"{cell} ({ratio:.2f}×)"
        for title, cell, ratio in zip(NETWORK_COLUMNS, cells, ratios)
    }


def statistics(prepared: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """Corpus -> its statistics, from the results of data preparation (corpus_<name> ->
    result.json)."""
    return {name.removeprefix("corpus_"): found["statistics"] for name, found in prepared.items()}


def corpus_table(corpora: Mapping[str, Mapping]) -> pd.DataFrame:
    """001's Table 4 turned on its side: a column per source of our corpus and one for the whole,
    then the paper's two.

    `corpora`: name -> statistics of a prepared corpus. Our sentences are the lines of the prepared
    text.
    """
    whole = corpora.get("corpus", {})
    ours = {str(source["name"]): source for source in whole.get("sources", [])} | (
        {"whole": whole} if whole else {}
    )
    columns = {("ours", name): _described(found) for name, found in ours.items()}
    for name, row in papers.table("001", "bookcorpus").iterrows():
        columns["paper", name] = [
            f"{row['size_gb']:g} GB",
            f"{row['sentences_m']:g} M",
            f"{row['words_m']:g} M",
            f"{row['mean_words']:g}",
            f"{row['median_words']:g}",
        ]
    labels = ["size", "sentences", "words", "words a sentence, mean", "words a sentence, median"]
    frame = pd.DataFrame(columns, index=pd.Index(labels, name="statistic"))
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _described(found: Mapping) -> list[str]:
    a_line = found.get("words_per_line", {})
    size = found.get("bytes")
    return [
        "–" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB",
        *(f"{found[key]:,}" if key in found else "–" for key in ("lines", "words")),
        *(f"{a_line[key]:.1f}" if key in a_line else "–" for key in ("mean", "median")),
    ]


def transfer_sets(
    corpora: Mapping[str, Mapping], names: Mapping[str, str], printed: str
) -> pd.DataFrame:
    """001's Table 5 or 8: size (10^6 bytes), sequences and tokens of the transfer sets, ours beside
    the paper's.

    `corpora` as for `corpus_table`; `names`: corpus -> label; `printed` the table in papers.yaml.
    """
    theirs = papers.table("001", printed)
    rows = {}
    for name, label in names.items():
        ours = corpora.get(name, {})
        if not ours and name not in theirs.index:
            continue
        ours = {"size_mb": ours["bytes"] / 1e6, **ours} if "bytes" in ours else ours
        row = {}
        for column, title in SET_COLUMNS.items():
            row[title, "ours"] = _counted(ours.get(column))
            row[title, "paper"] = _counted(theirs[column].get(name))
        rows[label] = row
    return _framed(rows, "transfer set")


def _counted(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _framed(rows: Mapping[str, Mapping], index: str) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)
    if len(frame):
        frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


COLOURS = {  # Okabe and Ito's; the teacher, which is not here, is drawn in the ink of the page
    "corpus10pct": "#0072b2",
    "corpus1pct": "#009e73",
    "corpus0.1pct": "#56b4e9",
    "randomised": "#d55e00",
    "generated": "#cc79a7",
    "bigram": "#e69f00",
    "DistilBERT": "#a0845c",
}


def figure_size(results: pd.DataFrame, corpora: Mapping[str, Mapping]):
    """001's Figure 1: score against the size of the transfer set, a panel a suite, sizes on a
    logarithmic axis.

    The axis is the share of the corpus, so that ours and the paper's stand beside each other; under
    each share the tokens of our set. Baselines are horizontal lines.
    """
    import numpy as np
    from matplotlib.lines import Line2D

    figure, axes = panels(len(SUITES), row_height=2.9, across=3)
    lines = {"teacher": ("-", ink()), "DistilBERT": ("--", COLOURS["DistilBERT"])}
    drawn = with_scores(results, lines)
    for ax, (suite, title) in zip(axes, SUITES.items()):
        means = []
        for name, share in SHARES.items():
            ours, theirs = suites(results, name)[suite].dropna(), paper_suites(name)[suite]
            if len(ours):
                seeds_column(ax, ours, share, COLOURS["corpus10pct"], offset=0.82)
                means.append((share, ours.mean()))
            ax.plot([share * 1.25] * len(theirs), theirs, **DIAMOND)
        ax.plot(
            *np.array(means).reshape(-1, 2).T,
            color=COLOURS["corpus10pct"],
            lw=1,
            alpha=0.6,
            zorder=1,
        )
        for name in drawn:
            ax.axhline(
                suites(results, name)[suite].mean(), color=lines[name][1], ls=lines[name][0], lw=1
            )
        for name in lines:
            ax.axhline(
                paper_suites(name)[suite].iloc[0], color=PAPER, ls=lines[name][0], lw=0.9, alpha=0.8
            )
        plain_axes(ax, title, grid="y")
        ax.set_xscale("log")
        ax.set_xlim(0.045, 22)
        ax.set_xticks(
            list(SHARES.values()), [_size_label(name, corpora) for name in SHARES], fontsize=7.5
        )
        ax.minorticks_off()
    axes[0].set_ylabel("score in percent", fontsize=9)
    figure.supxlabel("share of the corpus, and tokens of our transfer set", fontsize=9)
    baselines = [
        (Line2D([], [], color=lines[name][1], ls=lines[name][0], lw=1), name) for name in drawn
    ]
    theirs = [
        (Line2D([], [], color=PAPER, ls=style, lw=0.9), f"the paper's {name}")
        for name, (style, _) in lines.items()
    ]
    legend(figure, "the paper, one run", *baselines, *theirs)
    return figure


def _size_label(name: str, corpora: Mapping[str, Mapping]) -> str:
    tokens = corpora.get(name, {}).get("tokens")
    return f"{SHARES[name]:g} %" + ("" if tokens is None else f"\n{short(tokens)}")


def short(number: float) -> str:
    """A count in three letters or so: 4.03 M, 312 k, 950."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:g}"


def figure_composition(results: pd.DataFrame):
    """001's Figure 2: score by what the transfer set is made of, a panel a suite. Dots are seeds,
    bars mean and interval."""
    shown = [*with_scores(results, COMPOSITIONS), *with_scores(results, ["teacher"])]
    figure, axes = panels(
        len(SUITES), row_height=0.7 + 0.36 * max(len(shown), 1), sharey=True, across=3
    )
    for ax, (suite, title) in zip(axes, SUITES.items()):
        for row, name in enumerate(shown):
            seeds_row(ax, suites(results, name)[suite].dropna(), row, COLOURS.get(name, ink()))
            theirs = paper_suites(name)[suite]
            ax.plot(theirs, [row + 0.1] * len(theirs), **DIAMOND)
        plain_axes(ax, title, grid="x")
        ax.spines["left"].set_visible(False)
    labels = [COMPOSITIONS.get(name, name).replace(", ", ",\n") for name in shown]
    axes[0].set_yticks(range(len(shown)), labels, fontsize=8)
    axes[0].set_ylim(max(len(shown), 1) - 0.5, -0.5)
    figure.supxlabel("score in percent", fontsize=9)
    legend(figure, "the paper, one run")
    return figure


def describe(results: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A figure of scores in words, for readers who do not see it: the mean of every scenario on
    every suite."""
    spoken = []
    for name in with_scores(results, {**names, "teacher": "teacher"}):
        means = suites(results, name).mean().dropna()
        parts = [f"{SUITES[suite]} {value:.1f}" for suite, value in means.items()]
        spoken.append(f"{names.get(name, name)}: {', '.join(parts)}")
    return f"Scores in percent. {'; '.join(spoken) or 'Nothing was measured'}."


TEN_PERCENT, ONE_PERCENT, TENTH_PERCENT = SIZES
NAMED = {
    TEN_PERCENT: "10 %",
    ONE_PERCENT: "1 %",
    TENTH_PERCENT: "0.1 %",
    **{k: v for k, v in COMPOSITIONS.items() if k != TEN_PERCENT},
}


STEPS = {
    **{
        pair: "size"
        for pair in (
            (TEN_PERCENT, ONE_PERCENT),
            (ONE_PERCENT, TENTH_PERCENT),
            (TEN_PERCENT, TENTH_PERCENT),
        )
    },
    **{(TEN_PERCENT, noise): "composition" for noise in list(COMPOSITIONS)[1:]},
    ("randomised", "generated"): "composition",
}
"""(from, to) -> which research question it belongs to."""


def findings(results: pd.DataFrame) -> list[str]:
    """The answers to RQ1 and RQ2, a paragraph each finding."""
    of = partial(suites, results)
    return [
        steps_paragraph(of),
        excess_paragraph(
            of,
            "Does SQuAD lose more than GLUE with a small transfer set?",
            TEN_PERCENT,
            TENTH_PERCENT,
        ),
        noise_paragraph(of),
        anomaly_paragraph(of),
        *[
            excess_paragraph(
                of, f"Does SQuAD lose more than GLUE with {NAMED[noise]} text?", TEN_PERCENT, noise
            )
            for noise in ("randomised", "generated")
        ],
        *bigram_paragraph(of),
    ]


def difference(of: Callable, a: str, b: str, suite: str) -> pd.Series:
    """a - b per seed on one suite, in points."""
    return paired_differences(of(a)[suite], of(b)[suite])


def differences_table(results: pd.DataFrame, question: str) -> pd.DataFrame:
    """What each step of "size" or "composition" changes on each suite, in points: ours with its
    interval, and the paper's.

    Columns (suite, ours | paper); a row per step that was measured or printed.
    """
    of, rows = partial(suites, results), {}
    for better, worse in (pair for pair, which in STEPS.items() if which == question):
        row = {}
        for suite, title in SUITES.items():
            d, theirs = (
                difference(of, worse, better, suite),
                difference(paper_suites, worse, better, suite),
            )
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
    told = [
        _step(of, better, worse)
        for better, worse in (
            (TEN_PERCENT, ONE_PERCENT),
            (ONE_PERCENT, TENTH_PERCENT),
            (TEN_PERCENT, TENTH_PERCENT),
        )
    ]
    if not any(told):
        return f"{head} Not measured: no two sizes have a seed in common."
    return f"{head} {' '.join(part for part in told if part)}"


def _step(of: Callable, better: str, worse: str) -> str:
    """Where the worse set scores lower than the better one; "" where nothing was measured."""
    lost = {title: difference(of, worse, better, suite) for suite, title in SUITES.items()}
    seeds = max(map(len, lost.values()))
    if not seeds:
        return ""
    verdict = (
        by_side(lost, "a gain", "a loss") if seeds > 1 else "one seed, so nothing is concluded"
    )
    return f"From {NAMED[better]} to {NAMED[worse]} ({number_of(seeds, 'seed')}): {verdict}."


def _open(d: pd.Series) -> str:
    return ", one seed" if len(d) == 1 else "" if decided(d) else ", undecided"


def _printed(a: str, b: str, suite: str) -> str:
    theirs = paired_differences(paper_suites(a)[suite], paper_suites(b)[suite])
    return f" (paper {printed(signed(theirs.iloc[0]))})" if len(theirs) else ""


def excess_paragraph(of: Callable, question: str, better: str, worse: str) -> str:
    """Whether better - worse is larger on SQuAD than on GLUE: the difference of the two
    differences, per seed."""
    head, told, signs = f"**{question}**", [], []
    for metric in ("exact_match", "f1"):
        excess = paired_differences(
            difference(of, better, worse, metric), difference(of, better, worse, "glue")
        )
        theirs = paired_differences(
            difference(paper_suites, better, worse, metric),
            difference(paper_suites, better, worse, "glue"),
        )
        if len(excess):
            beside = f" (paper {printed(signed(theirs.iloc[0]))})" if len(theirs) else ""
            told.append(f"{SUITES[metric]} {with_interval(interval(excess))}{beside}")
            signs.append(decided(excess) if len(excess) > 1 else None)
    if not told:
        return (
            f"{head} Not measured: no seed has both suites for {NAMED[better]} and {NAMED[worse]}."
        )
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
    """The share of the teacher's score that each student keeps, in percent, seed by seed: columns
    (suite, ours | paper)."""
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
    told = [_step(of, TEN_PERCENT, noise) for noise in list(COMPOSITIONS)[1:]]
    if not any(told):
        return f"{head} Not measured: the natural sample has no seed in common with a noisy one."
    return f"{head} {' '.join(part for part in told if part)}"


def anomaly_paragraph(of: Callable) -> str:
    """001's surprise: generated text beats randomised text on SQuAD, and loses to it on GLUE."""
    head = "**Is generated text better than randomised text on SQuAD, and worse on GLUE?**"
    gain = {suite: difference(of, "generated", "randomised", suite) for suite in SUITES}
    if any(d.empty for d in gain.values()):
        return f"{head} Not measured: it needs randomised and generated on both suites."
    parts = [
        f"{SUITES[suite]} {with_interval(interval(d))}{_printed('generated', 'randomised', suite)}"
        for suite, d in gain.items()
    ]
    signs = [decided(d) for d in gain.values()]
    if min(map(len, gain.values())) == 1:
        verdict = "One seed has no interval, so nothing is concluded."
    elif signs == [-1, 1, 1]:
        verdict = "Yes: the paper's anomaly is here too."
    elif signs[0] == 1 or -1 in signs[1:]:
        verdict = "No: at least one half of the paper's anomaly is reversed here."
    else:
        verdict = (
            "Undecided: not every interval lies on the paper's side of zero, and none on the other."
        )
    return f"{head} {verdict} Generated less randomised, in points: {'; '.join(parts)}."


def bigram_paragraph(of: Callable) -> list[str]:
    """Our addition: whether keeping the frequencies of neighbours makes generated text better.
    Empty if it was not run."""
    gain = {suite: difference(of, "bigram", "generated", suite) for suite in SUITES}
    gain = {suite: d for suite, d in gain.items() if len(d)}
    if not gain:
        return []
    parts = [f"{SUITES[suite]} {with_interval(interval(d))}{_open(d)}" for suite, d in gain.items()]
    return [
        f"**Does generated text gain from bigrams?** Bigrams less unigrams, in points: "
        f"{'; '.join(parts)}."
    ]
