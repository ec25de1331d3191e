"""lib.data.prepared: statistics, against NumPy. (The rest is tested with lib.data.prepare.)"""

import numpy as np
import pytest

from lib.data import prepared


@pytest.mark.parametrize("values", [[3], [1, 2], [5, 5, 1, 9], [0, 0, 4], list(range(50)) * 3])
def test_mean_and_median(values):
    result = prepared.mean_and_median(*np.unique(values, return_counts=True))
    assert result == {"mean": pytest.approx(np.mean(values)), "median": np.median(values)}
    none = prepared.mean_and_median(np.arange(3), np.zeros(3, int))
    assert none == {"mean": 0.0, "median": 0.0}


def test_statistics_of_lengths():
    lengths = np.random.default_rng(0).integers(3, 70, 999)
    tally = prepared.Tally(tokens=1)
    for part in np.split(lengths, [100, 101]):
        prepared.count_values(tally.lengths, part)
        prepared.count_values(tally.words, part)
    statistics = tally.describe()
    assert statistics["tokens_per_sequence"] == {
        "mean": pytest.approx(lengths.mean()),
        "median": np.median(lengths),
        "max": lengths.max(),
    }
    edges = statistics["length_histogram"]["edges"]
    assert edges[0] == 0 and edges[-1] == lengths.max() + 1 and len(edges) <= 34
    counts = np.histogram(lengths, edges)[0].tolist()
    assert statistics["length_histogram"]["counts"] == counts
