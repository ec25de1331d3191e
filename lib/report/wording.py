"""Numbers as the report's sentences say them: signs, intervals in brackets, and how far a
conclusion may go."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.report.page.show import PRINTED
from lib.report.statistics import Interval, interval, sign_flip_p, smallest_p


def printed(number: str) -> str:
    """A source's own number in a Markdown sentence: italic, and marked for readers who see no
    italics."""
    return f"*{number}*{PRINTED}"


def signed(value: float, digits: int = 1) -> str:
    """ "+1.2" or "−0.3", with a minus sign rather than a hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def signed_pm(difference: pd.Series, digits: int = 1) -> str:
    """ "+1.2 ± 0.4": the mean and half of its 95 % interval; the mean alone where one seed gives no
    interval."""
    i = interval(difference)
    return signed(i.mean, digits) + (
        "" if np.isnan(i.low) else f" ± {(i.high - i.low) / 2:.{digits}f}"
    )


def with_interval(i: Interval, digits: int = 1) -> str:
    """ "+1.2 [+0.8, +1.6]"; without brackets where one seed gives no interval."""
    if np.isnan(i.low):
        return signed(i.mean, digits)
    return f"{signed(i.mean, digits)} [{signed(i.low, digits)}, {signed(i.high, digits)}]"


def number_of(number: int, thing: str) -> str:
    """ "1 seed", "5 seeds"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def conclusion(gain: Interval, a: str, b: str) -> str:
    """What the interval of the paired difference a - b allows to say. Holding zero, it decides
    nothing."""
    if np.isnan(gain.low):
        return "One seed has no interval, so nothing is concluded."
    if gain.high - gain.low < 1e-9:
        return (
            "Every seed gives the same difference: too few distinct values for an interval to "
            "mean anything."
        )
    if gain.low > 0:
        return f"{a} is better; the whole 95 % interval is above zero."
    if gain.high < 0:
        return f"{a} is worse; the whole 95 % interval is below zero."
    return f"The 95 % interval holds zero: {a} and {b} cannot be told apart."


def decided(difference: pd.Series) -> int:
    """1 or -1 if the 95 % interval of per-seed differences lies above or below zero; 0 if that is
    open, as with one seed."""
    i = interval(difference)
    if np.isnan(i.low) or i.high - i.low < 1e-9:
        return 0
    return int(i.low > 0) - int(i.high < 0)


def tested(difference: pd.Series) -> str:
    """How many seeds, and an exact test: "5 seeds; sign-flip p = 0.0625, the least that 5 seeds can
    give"."""
    n = len(difference)
    if n < 2:
        return number_of(n, "seed")
    p, least = sign_flip_p(difference), smallest_p(n)
    floor = (
        f", the least that {n} seeds can give"
        if p <= least * 1.001
        else f"; {n} seeds cannot go below {least:.3g}"
    )
    return f"{n} seeds; sign-flip p = {p:.3g}{floor}"


def by_side(
    differences: Mapping[str, pd.Series], better: str = "better", worse: str = "worse"
) -> str:
    """Where a comparison is decided, and how: "better on A and B; undecided on C". Empty
    differences are left out."""
    sides = {name: decided(d) for name, d in differences.items() if len(d)}
    told = [
        f"{word} on {listed([name for name in sides if sides[name] == side])}"
        for side, word in ((1, better), (-1, worse), (0, "undecided"))
        if side in sides.values()
    ]
    return "; ".join(told)


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last


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
