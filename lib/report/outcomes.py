"""The second outcomes: what every model knows of held-out text, beside its scores on tasks. They
are cheap, and precise where the scores of tasks are not: thousands of masked words, the same for
all models (lib.training.probes).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

TASK = "held-out text"
"""Stands in the column `task` of results where other rows have the name of a task."""


class Outcome(NamedTuple):
    """How an outcome is called where scores are called by name, its unit, and its decimals."""

    name: str
    unit: str
    digits: int

    @property
    def less_is_better(self) -> bool:
        return self.unit == "nats"


OUTCOMES = {
    "mlm_loss": Outcome("held-out loss", "nats", 3),
    "kl": Outcome("KL to the teacher", "nats", 3),
    "agreement": Outcome("agreement", "%", 1),
}
"""By the names that the columns of lib.training.probes.outcomes have."""
BY_NAME = {outcome.name: outcome for outcome in OUTCOMES.values()}


def contributions(sums: pd.Series, positions: pd.Series) -> np.ndarray:
    """What every sequence contributes to the mean over all masked positions, [sequences]; their
    mean is that mean. Given are each sequence's sum over its positions, and their number.

    A mean over positions is a ratio, θ = Σ sums / Σ positions, so what a sequence contributes
    follows from its linear expansion (the delta method): θ + (sum - θ n) / mean of all n.
    """
    n = positions.to_numpy(float)
    mean = sums.sum() / n.sum()
    return mean + (sums.to_numpy(float) - mean * n) / n.mean()
