"""How notebook cells show tables, figures, lists of facts and sentences, in the lab and in the
report.

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
"""Stands for the reader's own text colour: what is drawn in it follows light and dark."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, for every kind of colour vision; without black and yellow, each lost on
one background. The page may darken or lighten each, as `--series-1` to `--series-6`."""
GREY = "#808080"
"""A paper's own numbers, legible on white and on black."""
PRINTED = "†"
"""Behind a paper's own number in a sentence."""
TALL, WIDE, CROWDED = 14, 7, 11
"""A table of more rows than TALL may break over pages; of more columns than WIDE, the index
counted, it is set closer; of more than CROWDED, its cells may break."""
STYLESHEET = Path(__file__).parent / "figures.css"
NUMBER = re.compile(r"[\[(]?[<>≤≥≈~±+\-−]?\s*(?!0\d)\d[\d\s.,:×x/%e±+\-–−()\[\]]*$")
"""A cell that is set as a number. 002 is a name."""
SETTINGS = {
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
}
"""matplotlib's settings in all notebooks."""


def style() -> HTML:
    """Apply SETTINGS, and return the stylesheet of tables and figures for the lab to apply."""
    import matplotlib as mpl
    from IPython.display import HTML

    mpl.rcParams.update(SETTINGS | {"axes.prop_cycle": mpl.cycler(color=PALETTE)})
    return HTML(f"<style data-for='lab'>{STYLESHEET.read_text(encoding='utf-8')}</style>")


def prose(markdown: str) -> Markdown:
    """A computed sentence or paragraph, typeset like a markdown cell."""
    from IPython.display import Markdown

    return Markdown(markdown)


def facts(pairs: Mapping[str, str]) -> HTML:
    """Names and values as a description list; text, never markup."""
    from IPython.display import HTML

    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in pairs.items()
    )
    return HTML(f'<dl class="facts">{rows}</dl>')


def _caption(text: str) -> str:
    """Escaped; a paper's own number (`wording.quoted`) in italics; no line break between a number
    and its percent sign."""
    text = re.sub(rf"\*([^*]+)\*{PRINTED}", rf'<i class="theirs">\1</i>{PRINTED}', escape(text))
    return text.replace(" %", "\u00a0%")


def _id(name: str) -> str:
    return f' id="{escape(name)}"' if name else ""


def _class(*names: str) -> str:
    names = tuple(name for name in names if name)
    return f' class="{" ".join(names)}"' if names else ""


# ------------------------------------------------------------------------------------------ tables


def table(
    frame: pandas.DataFrame, caption: str, *, theirs: Sequence = (), note: str = "", name: str = ""
) -> HTML:
    """`frame` as a captioned table; nothing where it has no rows. Every cell is text, never markup.

    theirs: the columns (or groups of columns) that hold a paper's own numbers: italic, grey,
    tinted, marked "paper". name: what a sentence can link to, `[Table](#name)`. The index is shown
    if it has a name. Floats of one column share their decimals; pass strings to decide otherwise. A
    table with sentences in it becomes a list on a narrow screen, each cell named by its column.
    """
    from IPython.display import HTML

    if frame.shape[0] == 0:
        return HTML("")
    paths = [column if isinstance(column, tuple) else (column,) for column in frame.columns]
    marked = [column in theirs or path[0] in theirs for column, path in zip(frame.columns, paths)]
    columns = [_texts(frame.iloc[:, i]) for i in range(frame.shape[1])]
    kinds = [_kind(texts) for texts in columns]
    levels = [i for i, level in enumerate(frame.index.names) if level is not None]
    stacked = "long" in kinds and frame.columns.nlevels == 1
    width = frame.shape[1] + len(levels)
    shape = _class(
        "table",
        "stacked" * stacked,
        "tall" * (len(frame) > TALL),
        "wide" * (width > WIDE),
        "crowded" * (width > CROWDED),
    )
    head = _head(paths, [str(frame.index.names[i]) for i in levels], marked, kinds)
    labels = [[str(value) for value in frame.index.get_level_values(i)] for i in levels]
    body = _body(columns, labels, marked, kinds, [path[-1] for path in paths] if stacked else [])
    footer = f'<p class="note">{_caption(note)}</p>' if note else ""
    return HTML(
        f"<figure{shape}{_id(name)}><figcaption>{_caption(caption)}</figcaption>"
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        f"{footer}</figure>"
    )


def _kind(texts: list[str]) -> str:
    """How a column is set: numbers right, ticks in the middle, sentences with room to breathe,
    words left and unbroken."""
    if all(text in "–✓✗" for text in texts):
        return "mid"
    if all(NUMBER.match(text) or text in "–✓✗" for text in texts):
        return "num"
    if max(map(len, texts), default=0) > 36:
        return "long"
    return "" if any(" " in text or len(text) > 20 for text in texts) else "word"


def _head(paths: list[tuple], index_names: list[str], marked: list[bool], kinds: list[str]) -> str:
    """Header rows, one per column level; neighbours under the same heading share one cell."""
    depth = max(map(len, paths), default=1)
    named = set()  # columns whose heading, or a heading above it, says "paper"
    rows = []
    for level in range(depth):
        lowest, cells = level == depth - 1, []
        if level == 0:
            cells = [
                f'<th scope="col" rowspan="{depth}">{escape(name)}</th>' for name in index_names
            ]
        # On the lowest level every column has its own cell, even next to a namesake.
        groups = groupby(
            range(len(paths)), key=lambda i: (paths[i][: level + 1], i if lowest else 0)
        )
        for (path, _), group in groups:
            group = list(group)
            heading, first = str(path[-1]), group[0]
            paper = all(marked[i] for i in group)
            mark = ""
            if paper and first not in named and "paper" not in heading.lower():
                mark = ' <small class="mark">paper</small>'
            if paper:
                named.update(group)
            scope = f'scope="colgroup" colspan="{len(group)}"' if len(group) > 1 else 'scope="col"'
            kind = _class(kinds[first] if lowest else "group", "theirs" * paper)
            cells.append(f"<th {scope}{kind}>{escape(heading)}{mark}</th>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _body(
    columns: list[list[str]],
    labels: list[list[str]],
    marked: list[bool],
    kinds: list[str],
    names: list,
) -> str:
    """The rows. names: of the columns, repeated in each cell for a screen without the head."""
    names = [f' data-column="{escape(str(name))}"' for name in names] or [""] * len(columns)
    rows, previous = [], None
    for r in range(len(columns[0]) if columns else 0):
        group = labels[0][r] if len(labels) > 1 else None
        repeated = group is not None and group == previous
        cells = []
        for i, column in enumerate(labels):
            long = _class("long" * (len(column[r]) > 26))
            text = "" if repeated and i == 0 else escape(column[r])
            cells.append(f'<th scope="row"{long}>{text}</th>')
        for texts, mark, kind, name in zip(columns, marked, kinds, names):
            # <i> and not only a class: a viewer that drops styles still tells the numbers apart.
            text = f"<i>{escape(texts[r])}</i>" if mark else escape(texts[r])
            cells.append(f"<td{_class(kind, 'theirs' * mark)}{name}>{text}</td>")
        new = group is not None and previous is not None and not repeated
        rows.append(f"<tr{_class('new' * new)}>{''.join(cells)}</tr>")
        previous = group
    return "".join(rows)


def _texts(column: pandas.Series) -> list[str]:
    """The column's cells as text; floats with as many decimals as the largest can bear."""
    values = [
        None if missing else value.item() if hasattr(value, "item") else value
        for value, missing in zip(column, column.isna())
    ]
    floats = [abs(value) for value in values if isinstance(value, float) and isfinite(value)]
    largest = max(floats, default=0.0)
    decimals = 0 if largest >= 1000 else 1 if largest >= 10 else 2 if largest >= 2 else 3
    # A column that mixes scales (0.002 and 1,000,000) is better off with significant digits.
    mixed = any(0 < value < 0.5 * 10**-decimals for value in floats)
    return [_text(value, ".3g" if mixed else f",.{decimals}f") for value in values]


def _text(value, float_format: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, float):
        return format(value, float_format)
    return f"{value:,}" if isinstance(value, int) else str(value)


# ----------------------------------------------------------------------------------------- figures


def figure(fig: matplotlib.figure.Figure, caption: str, alt: str, *, name: str = "") -> HTML:
    """`fig` as inline SVG with a caption; closes it. alt: what the picture shows, in words."""
    import matplotlib.pyplot as plt
    from IPython.display import HTML

    drawing = svg(fig, salt=caption + alt)
    plt.close(fig)
    drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    return HTML(
        f'<figure class="figure"{_id(name)}><div class="scroll">{drawing}</div>'
        f"<figcaption>{_caption(caption)}</figcaption></figure>"
    )


def svg(fig: matplotlib.figure.Figure, salt: str) -> str:
    """`fig` as an SVG element for a page that may be light or dark and holds others: no address, no
    script, ids that begin with a digest of `salt`."""
    import matplotlib as mpl

    text = StringIO()
    # Letters stay text: they are smaller, can be searched and copied, and take the page's font.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        fig.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    for pattern, replacement in (
        (r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<defs>\s*</defs>", ""),
        (r'\sxmlns(:\w+)?="[^"]*"', ""),
        (r"xlink:href", "href"),
        (r"font-family: [^;\"]*;? ?", ""),
        # Seaborn draws outlines in dark greys of its own; letters may lie on a coloured cell.
        (rf"{INK}|#000000|(?<=stroke: )#([0-5][0-9a-f])\1\1\b", "currentColor"),
        (r"(<(?!text|tspan)[^>]*)#ffffff", r"\1var(--paper, var(--jp-layout-color0, #fff))"),
        *((colour, f"var(--series-{i}, {colour})") for i, colour in enumerate(PALETTE, start=1)),
        # Hundredths of a point are enough; only inside tags, never in the labels.
        (r"(\d\.\d\d)\d+(?=[^<>]*>)", r"\1"),
        (r"\s*\n\s*", "\n"),
    ):
        drawing = re.sub(pattern, replacement, drawing, flags=re.DOTALL)
    drawing = _unique_ids(drawing, prefix="f" + hashlib.sha256(salt.encode()).hexdigest()[:8])
    width, height = (72 * inches * 4 / 3 for inches in fig.get_size_inches())
    # Fills that matplotlib leaves out mean black.
    root = (
        f'<svg fill="currentColor" stroke-linejoin="round" style="max-width:{width:.0f}px" '
        f'width="{width:.0f}" height="{height:.0f}"'
    )
    return re.sub(r'<svg(?=[^>]*?(viewBox="[^"]*"))[^>]*>', rf"{root} \1>", drawing, count=1)


def _unique_ids(drawing: str, prefix: str) -> str:
    """Keep only the ids something refers to, and give them this figure's prefix."""
    used = set(re.findall(r"[\"(]#([^\")]+)", drawing))

    def named(match) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    def reference(match) -> str:
        return f"{match[1]}#{prefix}-{match[2]}" if match[2] in used else match[0]

    drawing = re.sub(r' id="([^"]*)"', named, drawing)
    return re.sub(r"([\"(])#([^\")]+)", reference, drawing)
