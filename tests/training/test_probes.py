"""What models know of held-out text, against plain PyTorch position by position."""

import pytest
import torch

from lib.data.prepared import open_corpus
from lib.plan.stages import validate
from lib.training import probes
from lib.training.batches import IGNORE
from tests.helpers import small


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small.prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def held_out(corpus):
    return open_corpus(corpus.folder, "held_out")


@pytest.fixture(scope="module")
def networks(corpus):
    """A student and a teacher of the corpus's vocabulary."""
    tokenizer = corpus.tokenizer()
    return [small.encoder_for(tokenizer, layers=2, max_length=64, seed=seed) for seed in (1, 2)]


def student_of(corpus, **more):
    values = {"teacher": "t", "corpus": str(corpus.folder), "student_layers": [0]}
    return validate("distillation", values | {"learning_rate": 1e-3} | more)


@pytest.fixture(scope="module")
def found(corpus, held_out, networks):
    return probes.outcomes(*networks, student_of(corpus), held_out)


def test_the_masks_are_those_of_every_stage(corpus, held_out):
    """However often, and how, a stage masks words while it trains."""
    hop = validate(
        "cascade_ta",
        {"teacher": "t", "corpus": str(corpus.folder), "layers": 1, "learning_rate": 1e-3},
    )
    other = {"mask_probability": 0.4, "whole_words": False, "mask_smoothing": 0.7, "seed": 3}
    stages = student_of(corpus), student_of(corpus, **other, batch_size=4, micro_batch_size=4), hop
    first, *others = (list(probes.masked(p, held_out)) for p in stages)
    for again in others:
        for (sequences, batch), (same, twin) in zip(first, again, strict=True):
            assert (sequences == same).all()
            assert torch.equal(batch.inputs, twin.inputs) and torch.equal(batch.labels, twin.labels)
    total = sum(int(batch.kept.sum()) - 2 * len(batch.kept) for _, batch in first)
    count = sum(int((batch.labels != IGNORE).sum()) for _, batch in first)
    assert count / total == pytest.approx(probes.RATE, abs=0.03)
    # Every sequence in each pass, and more than one pass over so short a text.
    assert len(first) == probes.PASSES and all(len(s) == len(held_out) for s, _ in first)


def test_passes_end_when_there_are_enough_positions(corpus, held_out, monkeypatch):
    monkeypatch.setattr(probes, "POSITIONS", 1)
    assert len(list(probes.masked(student_of(corpus), held_out))) == 1


def test_the_outcomes_are_those_of_plain_equations(corpus, held_out, networks, found):
    """−log p(y), Σ p_t log(p_t / p_s) and whether the largest are the same, summed by sequence."""
    expected = {}
    for sequences, batch in probes.masked(student_of(corpus), held_out):
        for row, sequence in enumerate(sequences.tolist()):
            ids, length = batch.inputs[row : row + 1], int(batch.kept[row].sum())
            with torch.no_grad():
                ours, theirs = (n(input_ids=ids[:, :length]).logits[0].double() for n in networks)
            p_s, p_t = ours.softmax(-1), theirs.softmax(-1)
            for place in (batch.labels[row] != IGNORE).nonzero()[:, 0].tolist():
                label = int(batch.labels[row, place])
                sums = expected.setdefault(sequence, torch.zeros(7, dtype=torch.double))
                sums += torch.stack(
                    [
                        torch.tensor(1.0),
                        -p_s[place, label].log(),
                        100.0 * (p_s[place].argmax() == label),
                        -p_t[place, label].log(),
                        100.0 * (p_t[place].argmax() == label),
                        (p_t[place] * (p_t[place] / p_s[place]).log()).sum(),
                        100.0 * (p_s[place].argmax() == p_t[place].argmax()),
                    ]
                )
    assert list(found) == [
        "sequence",
        "positions",
        "mlm_loss",
        "mlm_accuracy",
        "teacher_mlm_loss",
        "teacher_mlm_accuracy",
        "kl",
        "agreement",
    ]
    assert found["sequence"].tolist() == sorted(expected)
    for row in found.itertuples(index=False):
        assert list(row[1:]) == pytest.approx(expected[row.sequence].tolist(), rel=1e-4)
    assert found["kl"].sum() > 1 and found["positions"].sum() > 100


def test_they_agree_with_the_probes(corpus, held_out, networks, found):
    student, teacher = (probes.probe(n, student_of(corpus), held_out) for n in networks)
    positions = found["positions"].sum()
    assert student["positions"] == positions
    assert found["mlm_loss"].sum() / positions == pytest.approx(student["mlm_loss"], rel=1e-5)
    both = found["teacher_mlm_loss"].sum() / positions
    assert both == pytest.approx(teacher["mlm_loss"], rel=1e-5)
    means = {"kl": found["kl"].sum() / positions, "agreement": found["agreement"].sum() / positions}
    of_student, of_teacher, beside = probes.means(found)
    assert beside == pytest.approx(means)
    assert of_student == pytest.approx(student, rel=1e-5)
    assert of_teacher == pytest.approx(teacher, rel=1e-5)


def test_a_student_that_is_its_teacher_agrees_with_it_everywhere(corpus, held_out, networks):
    teacher = networks[1]
    found = probes.outcomes(teacher, teacher, student_of(corpus), held_out)
    student_knows, teacher_knows, beside = probes.means(found)
    assert beside == {"kl": 0, "agreement": 100} and student_knows == teacher_knows
    assert found["mlm_loss"].equals(found["teacher_mlm_loss"])


def test_without_the_head_both_are_measured_without_it(corpus, held_out, networks, found):
    without = probes.outcomes(*networks, student_of(corpus, mlm_head=False), held_out)
    assert without["positions"].equals(found["positions"])
    for column in ("mlm_loss", "teacher_mlm_loss", "kl"):
        assert (without[column] - found[column]).abs().max() > 1e-3
