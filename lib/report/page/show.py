"""A matplotlib figure as an SVG element for a page that may be light or dark: no shared id, no
address, no script.

What a notebook cell calls to show a table, a figure, a list of facts or a sentence, so that the lab
and the report look alike.

`table`, `figure` and `facts` return HTML that needs no script; `lib.report.page.render` numbers
them and puts them on the page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas
    from IPython.display import HTML, Markdown


INK = "#010203"
"""Stands for the reader's own text colour: every stroke or letter drawn in it follows light and
dark."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, for every kind of colour vision; without black and yellow, each lost on
one background. The page may darken or lighten each, as `--series-1` to `--series-6`."""


def element(figure, salt: str) -> str:
    """`figure` as an SVG element that may stand beside others. The ids in it begin with a digest of
    `salt`."""
    import matplotlib as mpl

    text = StringIO()
    # Letters stay text: they are smaller, can be searched and copied, and take the page's font.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for pattern, instead in (
        (r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<defs>\s*</defs>", ""),
        (r'\sxmlns(:\w+)?="[^"]*"', ""),
        (r"xlink:href", "href"),
        (r"font-family: [^;\"]*;? ?", ""),
        # Seaborn draws outlines in its own dark greys; letters keep theirs, they may lie on a
        # coloured cell.
        (rf"{INK}|#000000|(?<=stroke: )#([0-5][0-9a-f])\1\1\b", "currentColor"),
        (r"(<(?!text|tspan)[^>]*)#ffffff", r"\1var(--paper, var(--jp-layout-color0, #fff))"),
        *((colour, f"var(--series-{i}, {colour})") for i, colour in enumerate(PALETTE, start=1)),
        (
            r"(\d\.\d\d)\d+(?=[^<>]*>)",
            r"\1",
        ),  # hundredths of a point; only inside tags, never in the labels
        (r"\s*\n\s*", "\n"),
    ):
        svg = re.sub(pattern, instead, svg, flags=re.DOTALL)
    svg = _own_ids(svg, prefix="f" + hashlib.sha256(salt.encode()).hexdigest()[:8])
    width, height = (72 * inches * 4 / 3 for inches in figure.get_size_inches())
    # Strokes' ends are the root's to say; fills that matplotlib leaves out mean black.
    root = (
        f'<svg fill="currentColor" stroke-linejoin="round" style="max-width:{width:.0f}px" '
        f'width="{width:.0f}" height="{height:.0f}"'
    )
    return re.sub(r'<svg(?=[^>]*?(viewBox="[^"]*"))[^>]*>', rf"{root} \1>", svg, count=1)


def _own_ids(svg: str, prefix: str) -> str:
    """Keep only the ids something refers to, and give them this figure's prefix."""
    used = set(re.findall(r"[\"(]#([^\")]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(
        r"([\"(])#([^\")]+)", lambda m: f"{m[1]}#{prefix}-{m[2]}" if m[2] in used else m[0], svg
    )


GREY = "#808080"
"""The papers' own numbers, legible on white and on black."""

PRINTED = "†"
"""Behind a paper's own number in a sentence."""
OURS = {"marker": "o", "markersize": 5.5, "linewidth": 1.6}
"""Keywords of `Axes.plot` for what was measured here; the colour is the series' own."""
THEIRS = {
    "marker": "D",
    "markersize": 6.5,
    "markerfacecolor": "none",
    "markeredgecolor": GREY,
    "markeredgewidth": 1.3,
    "color": GREY,
    "linestyle": "none",
}
"""Keywords of `Axes.plot` for a paper's own numbers: always hollow grey diamonds."""
OURS_BAR = {"edgecolor": "none"}
"""Keywords of `Axes.bar` for what was measured here."""
THEIRS_BAR = {"facecolor": "none", "edgecolor": GREY, "hatch": "////", "linewidth": 1.0}
"""Keywords of `Axes.bar` for a paper's own numbers: hollow, grey, hatched."""

TALL, WIDE, CROWDED = 14, 7, 11
"""More rows than TALL may break over pages; more columns than WIDE, the index counted, are set
closer, and more than CROWDED may break inside their cells."""
STYLESHEET = Path(__file__).parent / "figures.css"

_NUMBER = re.compile(
    r"[\[(]?[<>≤≥≈~±+\-−]?\s*(?!0\d)\d[\d\s.,:×x/%e±+\-–−()\[\]]*$"
)  # 002 is a name, not a number


def style() -> HTML:
    """Set matplotlib's defaults once, and return the stylesheet of tables and figures for the lab
    to apply."""
    import matplotlib as mpl
    from IPython.display import HTML

    mpl.rcParams.update(
        {
            "figure.figsize": (6.8, 3.6),
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "none",
            "axes.facecolor": "none",
            "legend.frameon": False,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": INK,
            "hatch.color": GREY,
            "font.family": "sans-serif",
            "font.size": 9.5,
            "axes.titlesize": 10,
            "axes.labelsize": 9.5,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.alpha": 0.16,
            "grid.linewidth": 0.7,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "lines.linewidth": 1.6,
            "lines.markersize": 5.5,
            "patch.edgecolor": "none",
            "patch.linewidth": 0,
            "errorbar.capsize": 0,
            "hatch.linewidth": 0.8,
            "axes.prop_cycle": mpl.cycler(color=PALETTE),
        }
    )
    return HTML(f"<style data-for='lab'>{STYLESHEET.read_text(encoding='utf-8')}</style>")


def prose(markdown: str) -> Markdown:
    """A computed sentence or paragraph, typeset like a markdown cell."""
    from IPython.display import Markdown

    return Markdown(markdown)


def facts(pairs: Mapping[str, str]) -> HTML:
    """A short list of what is called what, as a description list; text, never markup."""
    from IPython.display import HTML

    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in pairs.items()
    )
    return HTML(f'<dl class="facts">{rows}</dl>')


# ------------------------------------------------------------------------------------------- tables


def table(
    frame: pandas.DataFrame, caption: str, *, theirs: Sequence = (), note: str = "", name: str = ""
) -> HTML:
    """`frame` as a captioned table. Every cell is shown as text, never as markup.

    `theirs` names the columns (or groups of columns) that hold a paper's own numbers: italic, grey,
    tinted, marked "paper". The index is shown where it has a name. `name` is what a sentence can
    link to: `[Table](#name)`. Floats of one column share their decimals; pass strings to decide
    otherwise. A table with sentences in it is stacked on a narrow screen: there every cell has a
    line of its own, named by its column.
    """
    from IPython.display import HTML

    marked = [
        column in theirs or (isinstance(column, tuple) and column[0] in theirs)
        for column in frame.columns
    ]
    columns = [_texts(frame.iloc[:, i]) for i in range(frame.shape[1])]
    kinds = [_kind(texts) for texts in columns]
    levels = [i for i, level in enumerate(frame.index.names) if level is not None]
    labels = [[str(value) for value in frame.index.get_level_values(i)] for i in levels]

    stacked = (
        [str(column) for column in frame.columns]
        if "long" in kinds and frame.columns.nlevels == 1
        else []
    )
    head = _head(frame, marked, kinds, levels)
    body = _body(columns, marked, kinds, labels, stacked)
    footer = f'<p class="note">{_caption(note)}</p>' if note else ""
    across = frame.shape[1] + len(levels)
    shape = _class(
        "table",
        "stacked" * bool(stacked),
        "tall" * (len(frame) > TALL),
        "wide" * (across > WIDE),
        "crowded" * (across > CROWDED),
    )
    return HTML(
        f"<figure{shape}{_id(name)}><figcaption>{_caption(caption)}</figcaption>"
        f"<div "
        f'class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>{footer}</figure>'
    )


def _kind(texts: list[str]) -> str:
    """How a column is set: numbers right, ticks in the middle, sentences with room to breathe,
    words left and unbroken."""
    if all(text in "–✓✗" for text in texts):
        return "mid"
    if all(_NUMBER.match(text) or text in "–✓✗" for text in texts):
        return "num"
    if max(map(len, texts), default=0) > 36:
        return "long"
    return "" if any(" " in text or len(text) > 20 for text in texts) else "word"


def _id(name: str) -> str:
    return f' id="{escape(name)}"' if name else ""


def _class(*names: str) -> str:
    names = tuple(name for name in names if name)
    return f' class="{" ".join(names)}"' if names else ""


def _head(frame, marked, kinds, levels) -> str:
    """Header rows, one per column level; neighbours under the same heading share one cell."""
    depth, said, rows = frame.columns.nlevels, [False] * len(marked), []
    paths = [column if isinstance(column, tuple) else (column,) for column in frame.columns]
    for level in range(depth):
        last, cells = level == depth - 1, []
        if level == 0:
            cells = [
                f'<th scope="col" rowspan="{depth}">{escape(str(frame.index.names[i]))}</th>'
                for i in levels
            ]
        # On the lowest level every column has its own cell, even beside a namesake.
        for (path, _), run in groupby(
            range(len(paths)), key=lambda i: (paths[i][: level + 1], last and i)
        ):
            run = list(run)
            inside = all(marked[i] for i in run)
            needed = inside and not said[run[0]] and "paper" not in str(path[-1]).lower()
            mark = ' <small class="mark">paper</small>' if needed else ""
            for i in run:
                said[i] = said[i] or inside
            scope = f'scope="colgroup" colspan="{len(run)}"' if len(run) > 1 else 'scope="col"'
            kind = _class(kinds[run[0]] if last else "group", "theirs" * inside)
            cells.append(f"<th {scope}{kind}>{escape(str(path[-1]))}{mark}</th>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _body(columns, marked, kinds, labels, stacked) -> str:
    """The rows; `stacked` names the columns in each cell, for a screen on which the head is not
    shown."""
    rows, previous = [], None
    said = [f' data-column="{escape(column)}"' for column in stacked] or [""] * len(columns)
    for r in range(len(columns[0]) if columns else 0):
        group = labels[0][r] if len(labels) > 1 else None
        again = group is not None and group == previous
        new = group is not None and previous is not None and not again
        names = [
            f"<th "
            f'scope="row"{_class("long" * (len(column[r]) > 26))}>{"" if again and i == 0 else escape(column[r])}</th>'
            for i, column in enumerate(labels)
        ]
        cells = [
            f"<td{_class(kind, 'theirs' * mark)}{column}>{_cell(texts[r], mark)}</td>"
            for texts, mark, kind, column in zip(columns, marked, kinds, said)
        ]
        rows.append(f"<tr{_class('new' * new)}>{''.join(names + cells)}</tr>")
        previous = group
    return "".join(rows)


def _cell(text: str, mark: bool) -> str:
    # <i> and not only a class: a viewer that drops styles still tells the paper's numbers from
    # ours.
    return f"<i>{escape(text)}</i>" if mark else escape(text)


def _texts(column: pandas.Series) -> list[str]:
    """The column's cells as text; floats of one column with as many decimals as its largest value
    can bear."""
    values = [
        None if missing else value.item() if hasattr(value, "item") else value
        for value, missing in zip(column, column.isna())
    ]
    floats = [abs(value) for value in values if isinstance(value, float) and isfinite(value)]
    decimals = _decimals(max(floats, default=0.0))
    # A column that mixes scales (0.002 beside 1,000,000) is better off with significant digits.
    mixed = any(0 < value < 0.5 * 10**-decimals for value in floats)
    return [_text(value, None if mixed else decimals) for value in values]


def _decimals(largest: float) -> int:
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2 if largest >= 2 else 3


def _text(value, decimals: int | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, float):
        return f"{value:.3g}" if decimals is None else f"{value:,.{decimals}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


# ------------------------------------------------------------------------------------------ figures


def figure(fig: matplotlib.figure.Figure, caption: str, alt: str, *, name: str = "") -> HTML:
    """`fig` as inline SVG with a caption; closes it. `alt` says in words what the picture shows."""
    import matplotlib.pyplot as plt
    from IPython.display import HTML

    drawn = element(fig, salt=caption + alt)
    plt.close(fig)
    return HTML(
        f'<figure class="figure"{_id(name)}><div class="scroll">'
        f'{drawn.replace("<svg", f"""<svg role="img" aria-label="{escape(alt)}" """.rstrip(), 1)}</div>'
        f"<figcaption>{_caption(caption)}</figcaption></figure>"
    )


def _caption(text: str) -> str:
    """Escaped; a paper's own number (`wording.printed`) in italics; no line break between a number
    and its percent sign."""
    text = re.sub(rf"\*([^*]+)\*{PRINTED}", rf'<i class="theirs">\1</i>{PRINTED}', escape(text))
    return text.replace(" %", "\u00a0%")
