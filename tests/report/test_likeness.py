"""What students share with their teachers: each measure against a plain version, and a study's
table from predictions on disk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.common import places
from lib.report import likeness
from lib.report.declaration import from_files

RNG = np.random.default_rng(5)
CLASSES = np.array(["no", "yes", "maybe"])


def drawn(examples=400):
    probabilities = RNG.dirichlet([1, 1, 1], examples).astype(np.float32)
    return probabilities, CLASSES[probabilities.argmax(1)]


def test_measures_of_two_models_are_those_of_plain_versions():
    (p, theirs), (q, ours) = drawn(), drawn()
    labels = CLASSES[RNG.integers(0, 3, 400)]
    same = sum(a == b for a, b in zip(ours, theirs))
    assert likeness.agreement(ours, theirs) == pytest.approx(100 * same / 400)
    kl = [sum(a * np.log(a / b) for a, b in zip(x.astype(float), y)) for x, y in zip(p, q)]
    assert likeness.divergence(p, q) == pytest.approx(np.mean(kl), rel=1e-5)
    assert likeness.divergence(p, p) == 0
    assert np.isfinite(likeness.divergence(np.eye(3)[:2], np.eye(3)[1:]))
    error = 0.0
    for low in np.arange(15) / 15:
        inside = [i for i in range(400) if low <= q[i].max() < low + 1 / 15]
        if inside:
            confidence = np.mean([q[i].max() for i in inside])
            accuracy = np.mean([ours[i] == labels[i] for i in inside])
            error += len(inside) / 400 * abs(accuracy - confidence)
    found = likeness.calibration_error(q.max(1), ours == labels)
    assert found == pytest.approx(100 * error, rel=1e-4)
    assert likeness.calibration_error(np.ones(4), np.ones(4, bool)) == 0


def test_copied_errors_are_those_of_a_plain_version_and_by_chance_where_they_are():
    labels, theirs, ours = (CLASSES[RNG.integers(0, 3, 5000)] for _ in range(3))
    copied, chance, made = likeness.copied_errors(ours, theirs, labels)
    wrong = [i for i in range(5000) if theirs[i] != labels[i]]
    assert made == len(wrong) and copied == sum(ours[i] == theirs[i] for i in wrong)
    plain = sum(np.mean(ours[labels == labels[i]] == theirs[i]) for i in wrong)
    assert chance == pytest.approx(plain)
    assert copied / made == pytest.approx(chance / made, abs=0.03)  # neither knows the other
    copied, chance, _ = likeness.copied_errors(theirs, theirs, labels)
    assert copied == made and chance < 0.5 * made
    right, _, _ = likeness.copied_errors(labels, theirs, labels)
    assert right == 0


class Results:
    """What likeness reads of lib.report.results.Results."""

    def __init__(self, repeats):
        self.repeats = repeats


def test_a_study_s_table_from_predictions_on_disk(tmp_path, monkeypatch):
    """One student answers as its teacher does, another by itself; one task has two metrics, and
    numbers have no probabilities."""
    study = from_files("task_distillation")
    monkeypatch.setattr(places, "ROOT", tmp_path)
    labels = CLASSES[RNG.integers(0, 3, 300)]
    repeats, taught = {}, {}
    for scenario in ("teacher", "triple_taught", "truncated"):
        for repeat in (1, 2, 3):
            p, answers = taught[repeat] if scenario == "triple_taught" else drawn(300)
            taught.setdefault(repeat, (p, answers))
            row = {"seed": 1000 * repeat, "task": "mrpc", "language": "en", "label": labels}
            row |= {"example": range(300), "prediction": answers, "probabilities": list(p)}
            frames = [pd.DataFrame(row | {"metric": metric}) for metric in ("f1", "accuracy")]
            number = {"task": "stsb", "metric": "pearson", "probabilities": None}
            frames.append(pd.DataFrame(row | number))
            folder = f"outputs/tiny/{scenario}/{repeat}"
            (tmp_path / folder).mkdir(parents=True)
            pd.concat(frames).to_parquet(tmp_path / folder / "predictions.parquet")
            stages = repeats.setdefault(("task_distillation", scenario, "finetune"), {})
            stages[repeat] = {"parameters": {"output_dir": folder}}
    found = likeness.samples(study, Results(repeats))
    assert list(found) == [likeness.AGAIN, "triple_taught", "truncated"]
    copy = {name: sample.mean() for name, sample in found["triple_taught"].items()}
    assert (copy["agreement"], copy["copied"]) == (100, 100) and abs(copy["kl"]) < 1e-9
    own = {name: sample.mean() for name, sample in found["truncated"].items()}
    assert own["agreement"] == pytest.approx(33, abs=5) and own["kl"] > 0.3
    assert own["copied"] == pytest.approx(own["chance"], abs=6)
    assert all(len(sample) == 3 for sample in found[likeness.AGAIN].values())
    table, figure = likeness.shown(study, Results(repeats))
    assert "distilled on text and on tasks" in figure.data and "100.0 ± 0.0" in table.data
    assert likeness.shown(study, Results({})) == []
    assert likeness.shown(replace(study, failed=["mrpc"]), Results(repeats)) == []  # it guesses
