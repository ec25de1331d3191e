"""Numbers as the report's sentences say them: signs, intervals in brackets, and how far a conclusion may go."""

import numpy as np
import pandas as pd

from lib.statistics import Interval, interval


def signed(value: float, digits: int = 1) -> str:
    """ "+1.2" or "−0.3", with a minus sign rather than a hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def with_interval(i: Interval, digits: int = 1) -> str:
    """ "+1.2 [+0.8, +1.6]"; without brackets where one seed gives no interval."""
    if np.isnan(i.low):
        return signed(i.mean, digits)
    return f"{signed(i.mean, digits)} [{signed(i.low, digits)}, {signed(i.high, digits)}]"


def number_of(number: int, thing: str) -> str:
    """ "1 seed", "5 seeds"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def conclusion(gain: Interval, a: str, b: str) -> str:
    """What the interval of the paired difference a - b allows to say. Holding zero, it decides nothing."""
    if np.isnan(gain.low):
        return "One seed has no interval, so nothing is concluded."
    if gain.high - gain.low < 1e-9:
        return "Every seed gives the same difference: too few distinct values for an interval to mean anything."
    if gain.low > 0:
        return f"{a} is better; the whole 95 % interval is above zero."
    if gain.high < 0:
        return f"{a} is worse; the whole 95 % interval is below zero."
    return f"The 95 % interval holds zero: {a} and {b} cannot be told apart."


def decided(difference: pd.Series) -> int:
    """1 or -1 if the 95 % interval of per-seed differences lies above or below zero; 0 if that is open, as with one seed."""
    i = interval(difference)
    if np.isnan(i.low) or i.high - i.low < 1e-9:
        return 0
    return int(i.low > 0) - int(i.high < 0)
