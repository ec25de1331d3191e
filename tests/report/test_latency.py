"""Latency of shapes: what of the turns counts, how sure it is, and when there is none."""

import numpy as np
import pytest

from lib.common.hub import ModelRef
from lib.report import latency as module
from lib.report.latency import BUSY, Latency, in_words, latency, of_turns, shape_of
from lib.training.models import new_encoder

SHAPE = {"vocab_size": 50, "hidden": 16, "heads": 2, "intermediate": 32, "max_length": 64}


def turns(*levels: float, busy: float = 0.3, seed: int = 0) -> np.ndarray:
    """300 turns of encoders, a share of them slowed by other work for five turns in a row."""
    random = np.random.default_rng(seed)
    passes = np.array(levels) * (1 + 0.02 * random.random((300, len(levels))))
    slowed = np.repeat(random.random(60) < busy, 5)
    return passes * np.where(slowed, 1 + 3 * random.random(300), 1)[:, None]


def test_other_work_on_the_machine_hardly_counts():
    for busy in (0.0, 0.5, 0.8):
        found = of_turns(turns(0.010, 0.0101, busy=busy))
        assert found.low < found.seconds < found.high
        assert found.seconds == pytest.approx(0.010, rel=0.03)


def test_the_interval_holds_the_next_measurement_and_both_encoders():
    found = of_turns(turns(0.010, 0.011))
    assert found.low < 0.0101 and found.high > 0.0110
    again = [of_turns(turns(0.010, 0.0101, seed=seed)).seconds for seed in range(1, 41)]
    first = of_turns(turns(0.010, 0.0101))
    assert np.mean([first.low <= value <= first.high for value in again]) > 0.9


def test_encoders_of_one_shape_that_disagree_were_timed_on_a_busy_machine():
    found = of_turns(turns(0.010, 0.013))
    assert np.isnan(found.seconds) and found.low < 0.0102 and found.high > 0.0129
    assert in_words(*found) == BUSY
    assert in_words(*[np.nan] * 3) == "–" and in_words(0.01, 0.009, 0.0112) == "10.00 [9.00, 11.20]"


def test_shapes_are_told_apart_by_what_costs_time():
    bert = {"model_type": "bert", "num_hidden_layers": 6, "hidden_size": 8, "vocab_size": 9}
    assert shape_of(bert) == shape_of(bert | {"hidden_dropout_prob": 0.3})
    assert shape_of(bert) != shape_of(bert | {"num_hidden_layers": 5})
    distilbert = {"model_type": "distilbert", "n_layers": 6, "dim": 8, "n_heads": 2}
    assert shape_of(distilbert | {"hidden_dim": 32}) == ("distilbert", 6, 8, 2, 32, None)


def test_models_of_one_shape_have_one_latency(tmp_path, monkeypatch):
    for seed, (name, layers) in enumerate([("a", 1), ("b", 1), ("c", 1), ("deep", 6)]):
        model = new_encoder(layers=layers, pad_id=0, seed=seed, **SHAPE)
        model.save_pretrained(tmp_path / name)
    models = {("mine", name): ModelRef(str(tmp_path / name)) for name in ("a", "b", "c", "deep")}
    models["yours", "deep"] = models["mine", "deep"]
    timed = []
    plain = module._take_turns
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "AGREE", 10.0)
    monkeypatch.setattr(
        module, "_take_turns", lambda refs, *sizes: timed.extend(refs) or plain(refs, *sizes)
    )
    found = latency(models)
    assert [ref.label for ref in timed] == ["a", "b", "deep", "deep"]
    assert found["mine", "a"] == found["mine", "c"] and isinstance(found["mine", "a"], Latency)
    assert found["yours", "deep"] == found["mine", "deep"]
    assert found["mine", "deep"].seconds > found["mine", "a"].seconds
    assert latency({}) == {}
