"""Numbers and conclusions as the report's sentences put them, and text from data as Markdown."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lib.report.page.show import PRINTED
from lib.report.statistics import MATTERS, Interval, Sample, interval


def quoted(number: str) -> str:
    """A source's own number in a Markdown sentence: italic, and marked for readers who see no
    italics."""
    return f"*{number}*{PRINTED}"


def signed(value: float, digits: int = 1) -> str:
    """ "+1.2" or "−0.3", with a minus sign rather than a hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def signed_pm(difference: Sample, digits: int = 1) -> str:
    """ "+1.2 ± 0.4": the mean and half of its 95 % interval; "+1.2" for one run."""
    mean, low, high = interval(difference)
    half = "" if np.isnan(low) else f" ± {(high - low) / 2:.{digits}f}"
    return signed(mean, digits) + half


def with_interval(i: Interval, digits: int = 1) -> str:
    """ "+1.2 [+0.8, +1.6]"; "+1.2" if one run gives no interval."""
    mean, low, high = (signed(value, digits) for value in i)
    return mean if np.isnan(i.low) else f"{mean} [{low}, {high}]"


def or_dash(value: float | None, digits: int = 1) -> str:
    """ "1,234.5"; a dash where there is none."""
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")


MATTERING = f"{MATTERS:g} point{'' if MATTERS == 1 else 's'}"
"""The smallest difference that matters, as readers are told of it."""


def number_of(number: int, thing: str) -> str:
    """ "1 seed", "5 seeds"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def capitalised(text: str) -> str:
    """With a capital at its beginning; other capitals stay, as in "GLUE"."""
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------- paired differences


def decided(difference: Sample) -> int:
    """1 or -1 if the 95 % interval of differences by run lies above or below zero; 0 if it holds
    zero, or if there is none, as with one run."""
    return _side(interval(difference))


def _side(i: Interval) -> int:
    # Differences that are all alike come from too few distinct values, and have no real interval.
    if np.isnan(i.low) or i.high - i.low < 1e-9:
        return 0
    return int(i.low > 0) - int(i.high < 0)


def level(i: Interval) -> bool:
    """Whether the whole interval is within the smallest difference that matters of zero."""
    return -MATTERS < i.low and i.high < MATTERS


def caveat(difference: Sample) -> str:
    """What follows a difference: ", one run", ", level", ", undecided", or "" if it is decided."""
    i = interval(difference)
    if len(difference) == 1:
        return ", one run"
    if level(i) and i.high > i.low:
        return ", level"
    return "" if _side(i) else ", undecided"


def conclusion(gain: Interval, a: str, b: str) -> str:
    """A sentence on what the interval of the paired difference a - b allows to conclude."""
    if np.isnan(gain.low):
        return "One run has no interval, so nothing is concluded."
    if gain.high - gain.low < 1e-9:
        return (
            "Every run gives the same difference: too few distinct values for an interval to "
            "mean anything."
        )
    if side := _side(gain):
        better, above = ("better", "above") if side > 0 else ("worse", "below")
        return f"{a} is {better}; the whole 95 % interval is {above} zero."
    return f"The 95 % interval holds zero: {a} and {b} cannot be told apart."


def tested(difference: Sample) -> str:
    """The number of runs: "3 repeats", or "5 seeds" of a single one; and the p value of no
    difference."""
    runs = number_of(len(difference), difference.index.name or "run")
    p = difference.estimate().p()
    return runs if np.isnan(p) else f"{runs}; p = {p:.2g}"


def by_side(differences: Mapping[str, Sample], better: str = "better", worse: str = "worse") -> str:
    """Where comparisons are decided: "better on A and B; undecided on C". Empty differences are
    left out."""
    sides = {name: decided(values) for name, values in differences.items() if len(values)}
    parts = []
    for side, word in ((1, better), (-1, worse), (0, "undecided")):
        if names := [name for name in sides if sides[name] == side]:
            parts.append(f"{word} on {listed(names)}")
    return "; ".join(parts)


# ------------------------------------------------------------------- text from data, as Markdown


def plain(text) -> str:
    """Text in a sentence, an item or a cell of Markdown: on one line, and none of it markup.

    >>> plain("*CC* <b> 1|2")
    '\\\\*CC\\\\* &lt;b&gt; 1\\\\|2'
    """
    line = " ".join(str(text).split())
    line = re.sub(r"[\\`*_\[\]|~#$]", r"\\\g<0>", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"^(\d+)([.)])", r"\1\\\2", line)  # no item of a list
    return re.sub(r"^[-+=]", r"\\\g<0>", line)


def code(text) -> str:
    """A name, a path or a number as inline code; as plain text if it holds a bar, which would end a
    table's cell."""
    line = " ".join(str(text).split())
    if "|" in line or not line:
        return plain(line)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"
