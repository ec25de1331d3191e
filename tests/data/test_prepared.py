"""lib.data.prepared: what the statistics say of lengths, against NumPy. (The rest of it is tested
with lib.data.prepare.)"""

import numpy as np
import pytest

from lib.data import prepared


@pytest.mark.parametrize("values", [[3], [1, 2], [5, 5, 1, 9], [0, 0, 4], list(range(50)) * 3])
def test_centre_is_mean_and_median(values):
    found = prepared.centre(*np.unique(values, return_counts=True))
    assert found == {"mean": pytest.approx(np.mean(values)), "median": np.median(values)}
    assert prepared.centre(np.arange(3), np.zeros(3, int)) == {"mean": 0.0, "median": 0.0}


def test_lengths_from_their_histogram():
    lengths = np.random.default_rng(0).integers(3, 70, 999)
    found = prepared.describe_lengths(np.bincount(lengths))
    middle = {
        "mean": pytest.approx(lengths.mean()),
        "median": np.median(lengths),
        "max": lengths.max(),
    }
    assert found["tokens_per_sequence"] == middle
    edges = found["length_histogram"]["edges"]
    assert edges[0] == 0 and edges[-1] == lengths.max() + 1 and len(edges) <= 34
    assert found["length_histogram"]["counts"] == np.histogram(lengths, edges)[0].tolist()
