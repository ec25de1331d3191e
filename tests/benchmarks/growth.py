"""How time and memory of our step grow with tokens, vocabulary, layers and sequence length."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tests.benchmarks.cases import Case

START = Case("growth", vocab=8192)
AXES: dict[str, list[tuple[int, Case]]] = {
    "tokens": [(128 * n, replace(START, batch=n)) for n in (4, 8, 16, 32)],
    "vocabulary": [(n, replace(START, vocab=n)) for n in (8192, 16384, 32768, 65536)],
    "layers": [(n, replace(START, layers=(n, n // 2))) for n in (2, 4, 8, 16)],
    "sequence length": [
        (n, replace(START, batch=4096 // n, length=n)) for n in (64, 128, 256, 512)
    ],
}
"""Points of each axis: its value, and the case. Along the sequence length the number of tokens
stays at 4,096."""
_TINY = Case("growth", vocab=101, hidden=16, heads=2, layers=(2, 1), batch=2, length=16)
QUICK_AXES = {"tokens": [(16 * n, replace(_TINY, batch=n)) for n in (2, 8)]}
COLUMNS = "axis value median_s peak_memory_mib time_exponent memory_exponent".split()


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """k of y = c · x^k by least squares in logarithms; NaN where a y is not positive."""
    if min(y) <= 0 or not np.isfinite(y).all():
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth(axes: dict, measured: Callable[[Case], tuple[float, float]]) -> pd.DataFrame:
    """A row per point; both exponents stand in every row of their axis.

    Args: measured(case): median seconds of a step, and its peak memory in MiB.
    """
    rows = []
    for axis, points in axes.items():
        values = [value for value, _ in points]
        seconds, mib = zip(*(measured(case) for _, case in points))
        fitted = exponent(values, seconds), exponent(values, mib)
        rows += [(axis, *point, *fitted) for point in zip(values, seconds, mib)]
    return pd.DataFrame(rows, columns=COLUMNS)
