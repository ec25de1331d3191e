"""The study `transfer_set`: size and composition of the text a student learns from (001, Transfer
Dataset Size and Composition Effects)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.common.progress import short
from lib.report import papers, scores, tables
from lib.report.declaration import Declaration, from_files
from lib.report.figures import DIAMOND, PAPER, draw_means, ink, legend, panels, plain_axes
from lib.report.latency import BUSY, in_words
from lib.report.latency import NOTE as LATENCY_NOTE
from lib.report.page import show
from lib.report.results import LATENCY, efficiency_value
from lib.report.section import Analysis
from lib.report.statistics import Sample, interval
from lib.report.wording import decided, or_dash, quoted, signed, with_interval

NAME = "transfer_set"
SUITES = {"glue": "GLUE", "exact_match": "SQuAD EM", "f1": "SQuAD F1"}
SHARES = {"corpus10pct": 10.0, "corpus1pct": 1.0, "corpus0.1pct": 0.1}
"""Percent of the corpus that a sample holds."""
COMPOSITIONS = ("corpus10pct", "randomised", "generated", "bigram")
NOTE = (
    "GLUE: the mean of nine tasks, WNLI among them, MNLI as the mean of its matched and mismatched "
    "sets, a task with two metrics as their mean; the slides do not say which tasks their score "
    "averages. The slides do not name the two statistics behind their generated set; ours are the "
    "lengths of sequences and the frequencies of tokens. The bigram set is our own addition. "
)


def scored(measured: Sequence[scores.Measure]) -> dict[str, scores.Weights]:
    """GLUE's macro score and SQuAD's two, by the names of SUITES."""
    glue = scores.glue(measured)
    macro = {"glue": glue[scores.MEAN]} if scores.MEAN in glue else {}
    return macro | scores.squad(measured)


def suites(results: pd.DataFrame, scenario: str) -> dict[str, Sample]:
    """A scenario's scores by the names of SUITES, in percent."""
    return scores.samples(NAME, results, scenario, scored)


def printed_suites(scenario: str) -> pd.DataFrame:
    """001's Tables 6, 7, 9 and 10: one row of the paper's single run, as `suites`."""
    by_kind = [
        pd.concat([papers.table("001", f"{suite}_{kind}") for suite in ("glue", "squad")], axis=1)
        for kind in ("size", "composition")
    ]
    rows = pd.concat(by_kind)
    rows = rows[~rows.index.duplicated()]  # the teacher and the 10 % stand in both
    return rows.loc[rows.index == scenario].dropna(how="all").reset_index(drop=True)


def declared() -> Declaration:
    return replace(
        from_files(NAME),
        titles=SUITES,
        main="glue",
        scored=scored,
        printed=printed_suites,
        notes={"scores_table": NOTE + " ".join(map(quoted, papers.flags("001", "glue_size")))},
        section=section,
        findings=findings,
        details=details,
    )


def section(analysis: Analysis) -> list:
    final = analysis.final
    return [
        show.figure(
            figure_size(analysis.studies[NAME], final, corpora(analysis)),
            "Scores against the size of the transfer set. Mean and 95 % interval over runs; "
            "hollow diamonds: the slides.",
            describe_size(final),
        )
    ]


def details(analysis: Analysis) -> list:
    final, sets = analysis.final, corpora(analysis)
    return [
        show.table(
            scores.per_task(NAME, final, analysis.studies[NAME].labels),
            "Every task in percent: mean over runs ± half of the 95 % interval.",
        ),
        show.table(
            networks(analysis.efficiency),
            "Teacher and student, and the teacher's value over the model's (Table 3 of the "
            "slides).",
            theirs=[(title, "paper") for title in NETWORK_COLUMNS],
            note=NETWORK_NOTE,
        ),
        show.table(
            corpus_table(sets),
            "The sources of our corpus, the whole, and the slides' Table 4.",
            theirs=["paper"],
        ),
        show.table(
            transfer_sets(sets),
            "Size of the transfer sets, beside the slides' Tables 5 and 8.",
            theirs=[(title, "paper") for title in SET_COLUMNS.values()],
        ),
    ]


# --- what the results say -------------------------------------------------------------------------


def findings(study: Declaration, results: pd.DataFrame) -> list[str]:
    """Whether SQuAD suffers more than GLUE, and 001's anomaly: a paragraph each."""
    pairs = {
        "with a small transfer set": ("corpus10pct", "corpus0.1pct"),
        "with randomised text": ("corpus10pct", "randomised"),
        "with generated text": ("corpus10pct", "generated"),
    }
    return [
        *(excess_paragraph(study, results, case, *pair) for case, pair in pairs.items()),
        anomaly_paragraph(study, results),
    ]


def _printed(scenario: str) -> dict[str, Sample]:
    return scores.printed_samples(printed_suites(scenario))


def _difference(read: Callable, better: str, worse: str, suite: str) -> Sample:
    return read(better).get(suite, scores.NONE) - read(worse).get(suite, scores.NONE)


def more_lost_on_squad(read: Callable, better: str, worse: str, metric: str) -> Sample:
    """By how much more better - worse is on SQuAD than on GLUE; `read(scenario)` gives `suites`,
    ours or the paper's."""
    return _difference(read, better, worse, metric) - _difference(read, better, worse, "glue")


def excess_paragraph(
    study: Declaration, results: pd.DataFrame, case: str, better: str, worse: str
) -> str:
    """Whether better - worse is larger on SQuAD than on GLUE."""
    head = f"**Does SQuAD lose more than GLUE {case}?**"
    parts, signs = [], []
    for metric in ("exact_match", "f1"):
        excess = more_lost_on_squad(lambda name: suites(results, name), better, worse, metric)
        paper = more_lost_on_squad(_printed, better, worse, metric)
        if len(excess):
            excess = study.shared(excess)
            text = f"{SUITES[metric]} {with_interval(interval(excess))}"
            parts.append(text + (f" (paper {quoted(signed(paper.mean()))})" if len(paper) else ""))
            signs.append(decided(excess) if len(excess) > 1 else None)
    if not parts:
        return f"{head} Not measured: no run has both suites for {better} and {worse}."
    if None in signs:
        verdict = "One run has no interval, so nothing is concluded."
    elif signs == [1, 1]:
        verdict = "Yes, by exact match and by F1 alike."
    elif signs == [-1, -1]:
        verdict = "No: GLUE loses more."
    else:
        verdict = "Undecided: the intervals do not agree on a side."
    return f"{head} {verdict} Loss on SQuAD less loss on GLUE, in points: {'; '.join(parts)}."


def anomaly_paragraph(study: Declaration, results: pd.DataFrame) -> str:
    """001's surprise: generated text beats randomised text on SQuAD, and loses to it on GLUE."""
    head = "**Is generated text better than randomised text on SQuAD, and worse on GLUE?**"
    pair = ("generated", "randomised")
    gains = {
        suite: study.shared(_difference(lambda name: suites(results, name), *pair, suite))
        for suite in SUITES
    }
    if any(gain.empty for gain in gains.values()):
        return f"{head} Not measured: it needs randomised and generated on both suites."
    parts = []
    for suite, gain in gains.items():
        paper = _difference(_printed, *pair, suite)
        text = f"{SUITES[suite]} {with_interval(interval(gain))}"
        parts.append(text + (f" (paper {quoted(signed(paper.mean()))})" if len(paper) else ""))
    signs = [decided(gain) for gain in gains.values()]
    if min(map(len, gains.values())) == 1:
        verdict = "One run has no interval, so nothing is concluded."
    elif signs == [-1, 1, 1]:
        verdict = "Yes: the paper's anomaly is here too."
    elif signs[0] == 1 or -1 in signs[1:]:
        verdict = "No: at least one half of the paper's anomaly is reversed here."
    else:
        verdict = "Undecided: not every interval lies on the paper's side of zero."
    return f"{head} {verdict} Generated less randomised, in points: {'; '.join(parts)}."


# --- the figure of sizes --------------------------------------------------------------------------


def figure_size(study: Declaration, results: pd.DataFrame, sets: Mapping[str, Mapping]):
    """001's Figure 1: score against the size of the transfer set, a panel a suite.

    The axis is the share of the corpus, logarithmic, so that ours and the paper's stand beside
    each other; under each share the tokens of our set. Baselines are horizontal lines.
    """
    from matplotlib.lines import Line2D

    figure, axes = panels(len(SUITES), row_height=2.9, across=3)
    long = tables.runs_frame(study, results, SHARES, SUITES)
    long = long.assign(share=long["scenario"].map(SHARES).astype(float))
    baselines = {"teacher": ("-", ink()), "DistilBERT": ("--", "#a0845c")}
    measured = [name for name in baselines if suites(results, name)]
    for ax, (suite, title) in zip(axes, SUITES.items()):
        panel = long[long["column"] == title]
        draw_means(ax, panel, "share", study.colours["corpus10pct"])
        for name, share in SHARES.items():
            paper = printed_suites(name)[suite]
            ax.plot([share * 1.25] * len(paper), paper, **DIAMOND)
        for name, (style, baseline_colour) in baselines.items():
            if name in measured:
                mean = suites(results, name).get(suite, scores.NONE).mean()
                ax.axhline(mean, color=baseline_colour, ls=style, lw=1)
            paper = printed_suites(name)[suite].iloc[0]
            ax.axhline(paper, color=PAPER, ls=style, lw=0.9, alpha=0.8)
        plain_axes(ax, title, grid="y")
        ax.set(xscale="log", xlim=(0.045, 22), xlabel="", ylabel="")
        labels = [_size_label(name, sets) for name in SHARES]
        ax.set_xticks(list(SHARES.values()), labels, fontsize=7.5)
        ax.minorticks_off()
    axes[0].set_ylabel("score in percent", fontsize=9)
    figure.supxlabel("share of the corpus, and tokens of our transfer set", fontsize=9)
    ours = [
        (Line2D([], [], color=baselines[name][1], ls=baselines[name][0], lw=1), name)
        for name in measured
    ]
    paper = [
        (Line2D([], [], color=PAPER, ls=style, lw=0.9), f"the paper's {name}")
        for name, (style, _) in baselines.items()
    ]
    legend(figure, "the paper, one run", *ours, *paper)
    return figure


def _size_label(name: str, sets: Mapping[str, Mapping]) -> str:
    tokens = sets.get(name, {}).get("tokens")
    return f"{SHARES[name]:g} %" + ("" if tokens is None else f"\n{short(tokens)}")


def describe_size(results: pd.DataFrame) -> str:
    """The figure in words: the mean of every size on every suite."""
    rows = []
    for name in SHARES:
        if measured := suites(results, name):
            parts = ", ".join(f"{SUITES[key]} {own.mean():.1f}" for key, own in measured.items())
            rows.append(f"{SHARES[name]:g} %: {parts}")
    return f"Scores in percent by share of the corpus. {'; '.join(rows) or 'Nothing was measured'}."


# --- networks and corpora -------------------------------------------------------------------------

NETWORK_COLUMNS = {
    "M parameters": ("parameters", 1e-6, "{:.1f}"),
    "MiB": ("size_mib", 1, "{:.0f}"),
    "inference": ("latency_s", 1e3, "{:.2f} ms"),
}
"""Column -> where it stands in efficiency.csv, its factor, and how it is shown."""
NETWORK_NOTE = (
    "Encoders without heads; MiB at four bytes a parameter. Ratios are the teacher's value over "
    "the model's. Inference is our latency; the slides do not say how theirs was taken. "
    f"{LATENCY_NOTE}"
)
SET_COLUMNS = {"size_mb": "MB", "sequences": "sequences", "tokens": "tokens"}


def networks(efficiency: pd.DataFrame) -> pd.DataFrame:
    """001's Table 3: parameters, size and inference time of teacher and student, and how many times
    less than the teacher's. All students have one shape: the first that was measured stands for
    them."""
    names = [*SHARES, *COMPOSITIONS]
    measured = [n for n in names if efficiency_value(efficiency, NAME, n, "parameters") > 0]
    models = {"teacher": "teacher", "student": (measured or [""])[0], "DistilBERT": "DistilBERT"}
    rows = {}
    for label, name in models.items():
        paper = _printed_network(label)
        if paper or efficiency_value(efficiency, NAME, name, "parameters") > 0:
            ours = _measured_network(efficiency, name)
            rows[label] = {
                (title, side): cells.get(title, "–")
                for title in NETWORK_COLUMNS
                for side, cells in (("ours", ours), ("paper", paper))
            }
    return _with_headings(rows, "network")


def _measured_network(efficiency: pd.DataFrame, name: str) -> dict[str, str]:
    cells = {}
    for title, (column, factor, form) in NETWORK_COLUMNS.items():
        value = efficiency_value(efficiency, NAME, name, column)
        teacher = efficiency_value(efficiency, NAME, "teacher", column)
        ratio = "" if np.isnan(teacher) else f" ({teacher / value:.2f}×)"
        cells[title] = "–" if np.isnan(value) else f"{form.format(value * factor)}{ratio}"
    latency = (efficiency_value(efficiency, NAME, name, column) for column in LATENCY)
    if in_words(*latency) == BUSY:
        cells["inference"] = BUSY
    return cells


def _printed_network(label: str) -> dict[str, str]:
    """Table 3's cells with the ratios as printed: from the rounded cells the inference time would
    give 1.84."""
    row = {"teacher": "BERT-base", "student": "BERT-student"}.get(label)
    if row is None:
        return {}
    millions, mib, seconds = papers.table("001", "networks").loc[row]
    facts = ("parameter_ratio", "size_ratio", "speed_ratio")
    ratios = [papers.fact("001", fact) if label == "student" else 1 for fact in facts]
    cells = (f"{millions:.1f}", f"{mib:.0f}", f"{seconds:.2f} s")
    return {
        title: f"{cell} ({ratio:.2f}×)"
        for title, cell, ratio in zip(NETWORK_COLUMNS, cells, ratios)
    }


def corpora(analysis: Analysis) -> dict[str, Mapping]:
    """Statistics of the prepared corpora and transfer sets, by name."""
    prepared = analysis.results.by_scenario("data_prep", NAME)
    return {name.removeprefix("corpus_"): stage["statistics"] for name, stage in prepared.items()}


def corpus_table(sets: Mapping[str, Mapping]) -> pd.DataFrame:
    """001's Table 4 turned on its side: a column per source of our corpus and one for the whole,
    then the paper's two. Our sentences are the lines of the prepared text."""
    whole = sets.get("corpus", {})
    columns = {
        ("ours", str(source["name"])): _corpus_column(source) for source in whole.get("sources", [])
    }
    if whole:
        columns["ours", "whole"] = _corpus_column(whole)
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


def _corpus_column(statistics: Mapping) -> list[str]:
    per_line, size = statistics.get("words_per_line", {}), statistics.get("bytes")
    return [
        "–" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB",
        *(f"{statistics[key]:,}" if key in statistics else "–" for key in ("lines", "words")),
        *(f"{per_line[key]:.1f}" if key in per_line else "–" for key in ("mean", "median")),
    ]


def transfer_sets(sets: Mapping[str, Mapping]) -> pd.DataFrame:
    """001's Tables 5 and 8: size (10^6 bytes), sequences and tokens of the transfer sets, ours
    beside the paper's."""
    kinds = ("transfer_sets_size", "transfer_sets_composition")
    paper = pd.concat([papers.table("001", kind) for kind in kinds])
    paper, rows = paper[~paper.index.duplicated()], {}
    for name in dict.fromkeys([*SHARES, *COMPOSITIONS]):
        ours = sets.get(name, {})
        if "bytes" in ours:
            ours = {"size_mb": ours["bytes"] / 1e6, **ours}
        if ours or name in paper.index:
            rows[name] = {
                (title, side): _count(value)
                for column, title in SET_COLUMNS.items()
                for side, value in (("ours", ours.get(column)), ("paper", paper[column].get(name)))
            }
    return _with_headings(rows, "transfer set")


def _count(value: float | None) -> str:
    return f"{value:.4g}" if value is not None and value < 1000 else or_dash(value, 0)


def _with_headings(rows: Mapping[str, Mapping], index: str) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)
    if len(frame):
        frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame
