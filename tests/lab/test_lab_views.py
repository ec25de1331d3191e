"""The lab's views against references, on models with random weights: what is shown is what the
numbers are."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from lib.common.errors import InputError
from lib.lab import attention, browser, fill, loss, models, similarity
from lib.report import results
from lib.training import losses
from tests.helpers import lab_outputs

RANDOM = np.random.default_rng(0)


def softmax(rows):
    rows = np.exp(rows - rows.max(-1, keepdims=True))
    return rows / rows.sum(-1, keepdims=True)


def html(parts) -> str:
    return "".join(part.data for part in parts)


# ----------------------------------------------------------------------------------- fill the blank


def test_the_distance_is_the_divergence_from_teacher_to_student():
    teacher, student = RANDOM.normal(size=(2, 5, 30)) * 3
    p, q = softmax(teacher), softmax(student)
    distances = fill.divergences(torch.tensor(teacher), torch.tensor(student))
    assert distances == pytest.approx((p * np.log(p / q)).sum(-1), rel=1e-5)
    assert fill.divergences(torch.tensor(teacher), torch.tensor(teacher)) == pytest.approx(
        0, abs=1e-6
    )


def test_guesses_are_the_most_probable_tokens(pair):
    words = models.get_tokenizer(pair.student)
    logits = RANDOM.normal(size=(2, len(words))) * 3
    frame = fill.guesses(
        {"teacher": torch.tensor(logits[0]), "S3": torch.tensor(logits[1])}, words, 4
    )
    for name, row in zip(("teacher", "S3"), logits):
        order = np.argsort(-row)[:4]
        assert list(frame[name, "token"]) == models.tokens(order.tolist(), words)
        assert list(frame[name, "%"]) == [f"{100 * softmax(row)[index]:.1f}" for index in order]


def test_the_view_has_a_table_a_blank_and_one_figure(pair):
    whole = html(fill.view("a _ b <script> _", pair.teacher, {"S3": pair.student}, 3))
    assert whole.count("<table>") == 2 and "blank 2 of 2" in whole and whole.count("<svg") == 1
    assert "<script" not in whole and "&lt;" in whole
    plain = html(fill.view("a b", pair.teacher, {"S3": pair.student}))
    assert "<table>" not in plain and "has no [MASK]" in plain
    assert "Here stood: b" in html(fill.view("a _", pair.teacher, {}, hidden="b"))


# ---------------------------------------------------------------------------------------- attention


def test_the_distance_of_maps_is_their_mean_squared_error():
    student, teacher = softmax(RANDOM.normal(size=(2, 1, 2, 6, 6)))
    distance = attention.distance(torch.tensor(student), torch.tensor(teacher))
    assert distance == pytest.approx(((student - teacher) ** 2).mean(), rel=1e-5)
    kept = torch.ones(1, 6, dtype=torch.bool)
    assert distance == pytest.approx(
        float(losses.attention_loss(torch.tensor(student), torch.tensor(teacher), kept)) / 36,
        rel=1e-6,
    )


def test_layers_are_compared_with_the_mean_of_those_they_are_mapped_to():
    teacher = {
        layer: torch.tensor(softmax(RANDOM.normal(size=(1, 2, 4, 4)))) for layer in (1, 2, 3)
    }
    student = {layer: (teacher[layer] + teacher[layer + 1]) / 2 for layer in (1, 2)}
    frame = attention.distances(student, teacher, attention.target_layers("adjacent", 2, 3))
    assert list(frame["teacher's layers"]) == ["1 + 2", "2 + 3"]
    assert [float(value) for value in frame["all heads"]] == pytest.approx([0, 0], abs=1e-12)
    shifted = attention.distances(student, teacher, attention.target_layers("top", 2, 3))
    expected = float(((student[1] - teacher[2])[:, 1] ** 2).mean())
    assert float(shifted.loc[1, "head 2"]) == pytest.approx(expected, rel=0.05)
    skipped = attention.distances(student, teacher, attention.target_layers("skip", 2, 3))
    assert skipped.loc[2, "all heads"] == skipped.loc[2, "head 1"] == "–"


def test_the_view_shows_maps_and_errors_or_says_why_not(pair):
    whole = html(attention.view("a b c", pair, 1, 2, "adjacent"))
    assert whole.count("<svg") == 1 and "layers 1 and 2" in whole and "1 + 2" in whole
    assert "no target under the mapping skip" in html(attention.view("a b c", pair, 1, 1, "skip"))
    with pytest.raises(InputError, match="the student has 1 layers of 2 heads"):
        attention.view("a b c", pair, 2, 1, "adjacent")
    with pytest.raises(InputError, match="^mapping: a student of 3 layers for a teacher of 2"):
        attention.target_layers("uniform", 3, 2)


# ------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_targets_and_losses(temperature):
    logits, hidden = RANDOM.normal(size=(2, 3, 20)) * 3, RANDOM.normal(size=(2, 3, 8))
    student, teacher = (
        models.Outputs(torch.tensor(z), torch.tensor(h), {}) for z, h in zip(logits, hidden)
    )
    q, p = softmax(logits[:, 1] / temperature)
    assert loss.soft_targets(student.logits[1], temperature) == pytest.approx(q, rel=1e-5)
    values = loss.losses(student, teacher, 1, 7, temperature)
    assert values["soft"] == pytest.approx(temperature**2 * (p * np.log(p / q)).sum(), rel=1e-4)
    assert values["mlm"] == pytest.approx(-np.log(softmax(logits[0, 1])[7]), rel=1e-5)
    s, t = hidden[:, 1]
    cosine = s @ t / np.linalg.norm(s) / np.linalg.norm(t)
    assert values["cosine"] == pytest.approx(1 - cosine, rel=1e-5)
    weights = {"soft": 5.0, "mlm": 2.0, "cosine": 0.5}
    total = 5 * values["soft"] + 2 * values["mlm"] + 0.5 * values["cosine"]
    assert sum(loss.weighted(values, weights).values()) == pytest.approx(total)
    assert loss.table(values, weights).loc["total", "weighted"] == f"{total:.3f}"


def test_the_curve_is_the_loss_at_every_temperature():
    student, teacher = (torch.tensor(row) for row in RANDOM.normal(size=(2, 20)) * 3)
    curves = loss.over_temperatures(student, teacher)
    one = float(losses.soft_target_loss(student[None], teacher[None], 4.0))
    assert curves.loc[4.0, "T² · KL"] == pytest.approx(one) and curves.loc[
        4.0, "KL"
    ] == pytest.approx(one / 16)


def test_bars_are_the_same_tokens_at_every_temperature_and_add_up(pair):
    words = models.get_tokenizer(pair.student)
    student, teacher = (torch.tensor(row) for row in RANDOM.normal(size=(2, len(words))) * 3)
    cold, hot = (loss.bars(words, student, teacher, 9, temperature) for temperature in (1.0, 5.0))
    assert list(cold.index) == list(hot.index) and sum("✓" in name for name in cold.index) == 1
    assert cold.sum().to_list() == pytest.approx([100, 100]) and hot.iloc[0, 0] < cold.iloc[0, 0]


def test_the_losses_of_the_view_move_with_temperature_and_weights(pair):
    example = models.get_example(pair)
    views = {
        html(
            loss.view(
                example.whole,
                pair,
                example.place,
                temperature,
                {"soft": weight, "mlm": 2, "cosine": 1},
            )
        )
        for temperature in (1, 2)
        for weight in (0, 5)
    }
    assert len(views) == 4
    for place in (0, 99):
        with pytest.raises(InputError, match="hide a word 1 … "):
            loss.view(example.whole, pair, place, 2, dict.fromkeys(loss.NAMES, 1.0))
    with pytest.raises(InputError, match="without \\[MASK\\]"):
        loss.view(example.masked, pair, 1, 2, dict.fromkeys(loss.NAMES, 1.0))


# ------------------------------------------------------------------------------------------ results


def test_filters_keep_the_rows_that_match(outputs):
    all_rows = browser.read("smoke", outputs)
    kept = browser.filtered(
        all_rows,
        study="herbert",
        scenario=("S1", "T1"),
        task="all",
        metric="accuracy",
        protocol="final",
    )
    assert (
        set(kept["scenario"]) == {"S1", "T1"}
        and set(kept["task"]) == set(lab_outputs.TASKS)
        and len(kept) == 2 * 3 * 2
    )
    assert len(browser.filtered(all_rows, scenario=(), protocol="final")) == len(all_rows) / 2
    with pytest.raises(InputError, match="^no result has task none"):
        browser.filtered(all_rows, task="none")


def test_the_table_has_mean_and_interval(outputs):
    final = browser.filtered(browser.read("smoke", outputs), protocol="final")
    frame = browser.table(final)
    assert list(frame.index) == ["T1", "S1", "S3"] and list(frame["", "layers"]) == [2, 1, 1]
    mean, half = 80 + 1.5, 12.706 * np.std([1, 2], ddof=1) / 2**0.5
    assert frame.loc["S3", ("nkjp-ner", "accuracy")] == f"{mean:.1f} ± {half:.1f}"
    whole = html(browser.view(final))
    assert whole.count("<svg") == 1 and "S1: nkjp-ner, accuracy 61.5, " in whole


def test_a_fine_tuning_of_ones_own_has_the_rows_that_results_csv_would_have(outputs, tmp_path):
    scores = [
        {
            "seed": seed,
            "task": task,
            "language": language,
            "epoch": epoch,
            "metric": "accuracy",
            "value": float(RANDOM.normal(50, 9)),
            "loss": 1.0,
        }
        for seed in (1, 2)
        for task in ("a", "b")
        for language in ("x", "y")
        for epoch in (1, 2, 3)
    ]
    stage = {"scores": scores, "model": {"layers": 1}, "parameters": {"output_dir": "nowhere"}}
    gathered = results.Results.__new__(results.Results)
    gathered.repeats = {("herbert", "mine (lab)", "finetune"): {1: stage}}
    keys = ["task", "seed", "language", "protocol"]
    expected = gathered.scores()[results.RESULTS].sort_values(keys).reset_index(drop=True)
    rows = browser.rows("herbert", "mine (lab)", stage).sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[list(expected)], expected, check_dtype=False)
    place = tmp_path / "lab/smoke/herbert/mine/finetune"
    place.mkdir(parents=True)
    (place / "result.json").write_text(json.dumps(stage))
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke/results.csv").write_text((outputs / "smoke/results.csv").read_text())
    assert list(dict.fromkeys(browser.read("smoke", tmp_path)["scenario"])) == [
        "T1",
        "S1",
        "S3",
        "mine (lab)",
    ]


# ------------------------------------------------------------------------------------------- layers


def test_linear_cka_is_that_of_its_definition():
    """By centred Gram matrices, as Kornblith et al. define it; 1 under rotation and scale."""
    x, y = RANDOM.normal(size=(60, 5)), RANDOM.normal(size=(60, 8))
    y[:, :3] += 2 * x[:, :3]
    centre = np.eye(60) - 1 / 60
    k, m = (centre @ part @ part.T @ centre for part in (x, y))
    expected = np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))
    assert similarity.linear_cka(x, y) == pytest.approx(expected)
    rotation, _ = np.linalg.qr(RANDOM.normal(size=(5, 5)))
    assert similarity.linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    assert similarity.linear_cka(x, np.ones((60, 2))) == 0


def test_layers_of_a_student_and_its_teacher_are_compared(pair):
    """S3 has its teacher's embeddings and its first layer: these are alike, the last is not."""
    found = similarity.similarities(pair)
    assert found.shape == (2, 3) and found[0, 0] == pytest.approx(1) == found[1, 1]
    assert found[1, 2] < 0.999
    (drawn,) = similarity.view(pair)
    assert "0 is most like the teacher" in drawn.data and "S3 and its teacher" in drawn.data
    rows = [np.arange(5, 5 + n) for n in (9, 4)]
    alone = [models.hidden_outputs(pair.student, [row]) for row in rows]
    for layer, together in enumerate(models.hidden_outputs(pair.student, rows)):
        apart = np.concatenate([outputs[layer] for outputs in alone])
        assert together == pytest.approx(apart, abs=1e-5)
