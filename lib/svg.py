"""A matplotlib figure as an SVG element for a page that may be light or dark: no shared id, no address, no script."""

import hashlib
import re
from io import StringIO

INK = "#010203"
"""Stands for the reader's own text colour: every stroke or letter drawn in it follows light and dark."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, for every kind of colour vision; without black and yellow, each lost on one background. The page
may darken or lighten each, as `--series-1` to `--series-6`."""


def element(figure, salt: str) -> str:
    """`figure` as an SVG element that may stand beside others. The ids in it begin with a digest of `salt`."""
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
        # Seaborn draws outlines in its own dark greys; letters keep theirs, they may lie on a coloured cell.
        (rf"{INK}|#000000|(?<=stroke: )#([0-5][0-9a-f])\1\1\b", "currentColor"),
        (r"(<(?!text|tspan)[^>]*)#ffffff", r"\1var(--paper, var(--jp-layout-color0, #fff))"),
        *((colour, f"var(--series-{i}, {colour})") for i, colour in enumerate(PALETTE, start=1)),
        (r"(\d\.\d\d)\d+(?=[^<>]*>)", r"\1"),  # hundredths of a point; only inside tags, never in the labels
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
    return re.sub(r"([\"(])#([^\")]+)", lambda m: f"{m[1]}#{prefix}-{m[2]}" if m[2] in used else m[0], svg)
