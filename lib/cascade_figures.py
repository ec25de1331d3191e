"""Figures of the cascade study (004, Table 3). Ours in colour, the paper's own numbers hollow and grey in a panel of their own.

Depth falls from left to right, as a cascade does.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.cascade import (
    AVERAGE,
    CHANCE,
    LANGUAGES,
    PAPER_LAYERS,
    accuracy,
    by_scenario,
    chains,
    languages,
    paper_accuracy,
    paper_layers,
    teacher_layers,
)
from lib.figures import DIAMOND, PAPER, draw_lines, ink, layer_shade, literal, panels, plain, thinned
from lib.mappings import KINDS
from lib.statistics import interval

COLOURS = dict(zip(LANGUAGES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")))
"""Okabe and Ito's, by language; a language that is not here is drawn in the ink of the page."""
CHAIN_COLOURS = {"cascade": "#0072b2", "direct": "#d55e00", "truncated": "#009e73"}
OTHERS = ("#cc79a7", "#e69f00", "#56b4e9")
MARKERS = {"cascade": "o", "direct": "s", "truncated": "v"}


def figure_languages(results: pd.DataFrame):
    """Accuracy of the cascade by depth, a line per language, from the teacher down; the paper's own in a second panel."""
    figure, (ours, theirs) = panels(2, row_height=3.5, sharey=True)
    down, of = _descent(results, "cascade"), by_scenario(results)
    measured = {code: {n: of(name)[code].dropna() for name, n in down} for code in languages(results)}
    for code, at in measured.items():
        for layers, values in at.items():
            _bar(ours, values, layers, COLOURS.get(code, ink()), "o")
    _lines(ours, {languages(results)[code]: {n: v.mean() for n, v in at.items()} for code, at in measured.items()},
           {languages(results)[code]: COLOURS.get(code, ink()) for code in measured})  # fmt: skip
    _depths(ours, [n for _, n in down], "this run")
    printed = {code: {n: _printed(f"cascade-{n}", code) for n in paper_layers()} for code in LANGUAGES}
    for at in printed.values():
        theirs.plot([-n for n in at], list(at.values()), **{**DIAMOND, "ms": 4.5, "mew": 1.0})
    _lines(theirs, printed, dict.fromkeys(LANGUAGES, PAPER))
    return _finished(figure, ours, theirs, "accuracy in percent")


def figure_chains(results: pd.DataFrame):
    """Average accuracy by depth: the cascade, one hop, no pretraining, other chains; the paper's own in a second panel."""
    figure, (ours, theirs) = panels(2, row_height=3.1, sharey=True)
    _draw_chains(ours, results, by_scenario(results), AVERAGE, named=True)
    ours.set_title("this run", fontsize=9.5, loc="left")
    down = {n: _printed(f"cascade-{n}", AVERAGE) for n in paper_layers()}
    half = PAPER_LAYERS // 2
    theirs.plot([-n for n in down], list(down.values()), **DIAMOND)
    theirs.plot(-half, _printed(f"direct-{half}", AVERAGE), **{**DIAMOND, "marker": "s"})
    _lines(theirs, {"cascade": down, "LightMBERT": {half: _printed(f"direct-{half}", AVERAGE)}},
           {"cascade": PAPER, "LightMBERT": PAPER})  # fmt: skip
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
    handles = [Line2D([], [], color=colour, marker=_marker(chain), mec="none", lw=1.4)
               for chain, colour in _chain_colours(results).items()]  # fmt: skip
    if handles:
        figure.legend(handles, list(_chain_colours(results)), loc="outside upper left", ncols=4,
                      frameon=False, fontsize=8)  # fmt: skip
    axes[0].set_ylabel("accuracy in percent", fontsize=9)
    figure.supxlabel("layers", fontsize=9)
    return figure


def describe(results: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """A figure of accuracies in words: the mean of every model, on average or in the languages `columns`."""
    spoken = []
    for name in ["teacher", *(f"{chain}-{n}" for chain, depths in chains(results).items() for n in depths)]:
        means = accuracy(results, name)[list(columns) or [AVERAGE]].mean().dropna()
        if len(means):
            spoken.append(
                f"{name} {', '.join(f'{code} {v:.1f}' if columns else f'{v:.1f}' for code, v in means.items())}"
            )
    return f"Accuracy in percent by depth. {'; '.join(spoken) or 'Nothing was measured'}."


def _finished(figure, ours, theirs, label: str):
    """What this run's panel and the paper's have in common: depths, chance, and what the axes are."""
    _depths(theirs, paper_layers(), "the paper, one run")
    _chance(ours, named=True)
    _chance(theirs)
    ours.set_ylabel(label, fontsize=9)
    figure.supxlabel("layers", fontsize=9)
    return figure


def _descent(results: pd.DataFrame, chain: str) -> list[tuple[str, int]]:
    """(scenario, layers) of a chain, the teacher first, by falling depth."""
    deep = teacher_layers(results)
    return [("teacher", deep)] * bool(deep) + [(f"{chain}-{n}", n) for n in chains(results).get(chain, [])]


def _printed(scenario: str, column: str) -> float:
    return float(paper_accuracy(scenario)[column].iloc[0])


def _marker(chain: str) -> str:
    return MARKERS.get(chain, "D")


def _chain_colours(results: pd.DataFrame) -> dict[str, str]:
    others = iter(OTHERS * len(chains(results)))
    return {chain: CHAIN_COLOURS.get(chain) or next(others) for chain in chains(results)}


def _draw_chains(ax, results: pd.DataFrame, of: Callable, column: str, named: bool) -> None:
    """Every chain in one panel, side by side where they meet at one depth; those that go step by step start at the teacher."""
    colours, lines, deep = _chain_colours(results), {}, teacher_layers(results)
    for i, (chain, colour) in enumerate(colours.items()):
        aside, at = 0.1 * (i - (len(colours) - 1) / 2), {}
        for name, layers in _descent(results, chain)[bool(deep) and chain == "direct" :]:
            values, x = of(name)[column].dropna(), layers if name == "teacher" else layers - aside
            if len(values):
                at[x] = values.mean()
                _bar(
                    ax, values, x, ink() if name == "teacher" else colour, "o" if name == "teacher" else _marker(chain)
                )
        lines[chain] = at
    if named:
        _lines(ax, lines, colours)
    else:
        for chain, at in lines.items():
            ax.plot([-n for n in at], list(at.values()), color=colours[chain], lw=1.1, alpha=0.8, zorder=1)
    _depths(ax, [deep] * bool(deep) + [n for depths in chains(results).values() for n in depths], "")


def _bar(ax, values: pd.Series, layers: float, colour: str, marker: str) -> None:
    """Mean and 95 % interval over seeds, at a depth."""
    if len(values):
        mean, low, high = interval(values)
        ax.plot([-layers] * 2, [low, high], lw=1.8, solid_capstyle="butt", color=colour)
        ax.plot(-layers, mean, marker, ms=4.5, mec="none", color=colour)


def _lines(ax, lines: Mapping[str, Mapping[int, float]], colours: Mapping[str, str]) -> None:
    """Lines by depth, named at their right ends. `lines`: name -> layers -> percent."""
    frame = pd.DataFrame({name: {-n: value for n, value in at.items()} for name, at in lines.items()}, dtype=float)
    frame = frame.sort_index().dropna(how="all")
    if len(frame):
        low, high = min(CHANCE, frame.min().min()) - 2, frame.max().max() + 3
        ax.set_ylim(min(low, ax.get_ylim()[0]) if ax.lines else low, max(high, ax.get_ylim()[1]) if ax.lines else high)
        draw_lines(ax, frame, width=1.2, gap=0.062, colours=colours)


def _depths(ax, layers: Sequence[int], title: str) -> None:
    """Depths fall from left to right: the axis holds their negatives, the ticks do not show it."""
    plain(ax, title, grid="y")
    shown = sorted({-n for n in layers})
    ax.set_xticks(shown, [str(-n) for n in shown])
    if shown:
        ax.set_xlim(shown[0] - 0.4, shown[-1] + 0.4)


def _chance(ax, named: bool = False) -> None:
    ax.axhline(CHANCE, color=ink(), lw=0.8, ls=(0, (1, 2)), alpha=0.8, zorder=1)
    if named:
        ax.text(0.01, CHANCE, "chance", transform=ax.get_yaxis_transform(), fontsize=7.5, va="bottom", ha="left")


# --- the hops' losses ------------------------------------------------------------------------------------------------


def figure_hops(histories: Mapping[str, Sequence[Mapping]], across: int = 4):
    """Loss of every hop by kind and layer, logarithmic: a column per hop, a row per kind, lighter lines for higher layers.

    `histories`: scenario -> logged steps, with hidden_0 … hidden_n and attention_1 … attention_n. A scenario without any
    is left out. Layer 0 is the embeddings' output.
    """
    from matplotlib.lines import Line2D

    drawn = {name: thinned(pd.DataFrame(list(rows)).astype(float)) for name, rows in histories.items() if rows}
    drawn = {name: frame for name, frame in drawn.items() if any(_layers(frame, kind) for kind in KINDS)}
    across = min(max(len(drawn), 1), across)
    blocks = max(1, -(-len(drawn) // across))
    figure, axes = panels(len(KINDS) * across * blocks, row_height=1.75, across=across)
    deepest = max((n for frame in drawn.values() for kind in KINDS for n in _layers(frame, kind)), default=1)
    for ax in axes:
        ax.set_visible(False)
    for i, (name, frame) in enumerate(drawn.items()):
        for row, (kind, title) in enumerate(KINDS.items()):
            ax = axes[(len(KINDS) * (i // across) + row) * across + i % across]
            ax.set_visible(True)
            for layer in _layers(frame, kind):
                line = frame[f"{kind}_{layer}"].where(lambda values: values > 0)
                style = {"lw": 1.1, "ls": "-" if layer else (0, (2, 1.5))}
                ax.plot(frame["step"], line, color=layer_shade(layer, deepest), **style)
            ax.set_yscale("log")
            plain(ax, literal(name) if row == 0 else "", grid="y")
            ax.tick_params(labelsize=7)
            ax.minorticks_off()
            if i % across == 0:
                ax.set_ylabel(title, fontsize=8.5)
    shown = sorted({0, 1, deepest, *np.linspace(1, deepest, 5).round().astype(int)})
    handles = [Line2D([], [], color=layer_shade(n, deepest), lw=1.6, ls="-" if n else (0, (2, 1.5))) for n in shown]
    figure.legend(handles, [f"layer {n}" if n else "embeddings" for n in shown], loc="outside upper left", ncols=len(shown),
                  frameon=False, fontsize=8, columnspacing=1.2, handlelength=1.4)  # fmt: skip
    figure.supxlabel("optimizer step of the hop", fontsize=9)
    return figure


def _layers(frame: pd.DataFrame, kind: str) -> list[int]:
    return sorted(
        int(name.split("_")[1]) for name in frame if name.startswith(f"{kind}_") and name.split("_")[1].isdigit()
    )


def describe_hops(histories: Mapping[str, Sequence[Mapping]]) -> str:
    """The figure of losses in words: how the whole loss of each hop begins and ends."""
    spoken = [f"{name} {rows[0]['loss']:.3g} to {rows[-1]['loss']:.3g}" for name, rows in histories.items() if rows]
    return f"Loss of each hop from its first to its last logged step: {', '.join(spoken) or 'nothing was trained'}."
