"""Figures of the transfer_set study (001, Figures 1 and 2). Ours in colour, the paper's own numbers hollow and grey."""

from collections.abc import Mapping

import pandas as pd

from lib.figures import DIAMOND, PAPER, ink, legend, panels, plain, seeds_column, seeds_row
from lib.transfer_set_tables import COMPOSITIONS, SHARES, SUITES, paper_suites, suites, with_scores

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
    """001's Figure 1: score against the size of the transfer set, a panel a suite, sizes on a logarithmic axis.

    The axis is the share of the corpus, so that ours and the paper's stand beside each other; under each share the tokens
    of our set. Baselines are horizontal lines.
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
        ax.plot(*np.array(means).reshape(-1, 2).T, color=COLOURS["corpus10pct"], lw=1, alpha=0.6, zorder=1)
        for name in drawn:
            ax.axhline(suites(results, name)[suite].mean(), color=lines[name][1], ls=lines[name][0], lw=1)
        for name in lines:
            ax.axhline(paper_suites(name)[suite].iloc[0], color=PAPER, ls=lines[name][0], lw=0.9, alpha=0.8)
        plain(ax, title, grid="y")
        ax.set_xscale("log")
        ax.set_xlim(0.045, 22)
        ax.set_xticks(list(SHARES.values()), [_size_label(name, corpora) for name in SHARES], fontsize=7.5)
        ax.minorticks_off()
    axes[0].set_ylabel("score in percent", fontsize=9)
    figure.supxlabel("share of the corpus, and tokens of our transfer set", fontsize=9)
    baselines = [(Line2D([], [], color=lines[name][1], ls=lines[name][0], lw=1), name) for name in drawn]
    theirs = [
        (Line2D([], [], color=PAPER, ls=style, lw=0.9), f"the paper's {name}") for name, (style, _) in lines.items()
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
    """001's Figure 2: score by what the transfer set is made of, a panel a suite. Dots are seeds, bars mean and interval."""
    shown = [*with_scores(results, COMPOSITIONS), *with_scores(results, ["teacher"])]
    figure, axes = panels(len(SUITES), row_height=0.7 + 0.36 * max(len(shown), 1), sharey=True, across=3)
    for ax, (suite, title) in zip(axes, SUITES.items()):
        for row, name in enumerate(shown):
            seeds_row(ax, suites(results, name)[suite].dropna(), row, COLOURS.get(name, ink()))
            theirs = paper_suites(name)[suite]
            ax.plot(theirs, [row + 0.1] * len(theirs), **DIAMOND)
        plain(ax, title, grid="x")
        ax.spines["left"].set_visible(False)
    labels = [COMPOSITIONS.get(name, name).replace(", ", ",\n") for name in shown]
    axes[0].set_yticks(range(len(shown)), labels, fontsize=8)
    axes[0].set_ylim(max(len(shown), 1) - 0.5, -0.5)
    figure.supxlabel("score in percent", fontsize=9)
    legend(figure, "the paper, one run")
    return figure


def describe(results: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A figure of scores in words, for readers who do not see it: the mean of every scenario on every suite."""
    spoken = []
    for name in with_scores(results, {**names, "teacher": "teacher"}):
        means = suites(results, name).mean().dropna()
        parts = [f"{SUITES[suite]} {value:.1f}" for suite, value in means.items()]
        spoken.append(f"{names.get(name, name)}: {', '.join(parts)}")
    return f"Scores in percent. {'; '.join(spoken) or 'Nothing was measured'}."
