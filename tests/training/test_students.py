"""Students of another width than their teacher: what they start from, and which losses can teach
them."""

import pytest
import torch

from lib.common.errors import InputError
from lib.plan.stages import validate
from lib.training import models, pretraining
from lib.training.architectures import ARCHITECTURES
from tests.helpers import small
from tests.training.test_relations import batch


def given(**more):
    values = {"teacher": "t", "corpus": "c", "student_layers": "alternate", "learning_rate": 1e-3}
    return validate("distillation", values | more)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_narrow_student_has_the_leading_dimensions_of_every_head(kind, tmp_path):
    """Of a teacher of two heads of 16 dimensions the first 4 of each."""
    teacher = small.of_kind(kind, hidden_size=32, intermediate_size=64)
    student = pretraining.starting_student(given(hidden_size=8), teacher)
    assert student.config.hidden_size == 8 and student.config.num_hidden_layers == 2
    ours, theirs = (dict(model.named_parameters()) for model in (student, teacher))
    assert ours.keys() <= theirs.keys()
    layer = f"{student.base_model_prefix}.{ARCHITECTURES[kind].layers}.0."
    of_heads = [0, 1, 2, 3, 16, 17, 18, 19]
    name = f"{layer}{ARCHITECTURES[kind].projections[-1]}.weight"
    rows = theirs[name][-32:]
    assert torch.equal(ours[name][-8:], rows[of_heads][:, :8])
    name = f"{layer}{ARCHITECTURES[kind].mixing}.weight"
    assert torch.equal(ours[name], theirs[name][:8, of_heads])
    words = student.get_input_embeddings().weight
    assert torch.equal(words, teacher.get_input_embeddings().weight[:, : words.shape[1]])
    random = pretraining.starting_student(given(hidden_size=8, init="random"), teacher)
    assert {n: w.shape for n, w in random.named_parameters()} == {
        n: w.shape for n, w in ours.items()
    }
    # It is saved and loaded as any student, and learns from what needs no equal width.
    student.save_pretrained(tmp_path)
    assert models.load(tmp_path).config.hidden_size == 8
    p = given(hidden_size=8, weight_soft=1, weight_attention=1, weight_relations=1)
    p.relation_heads = 4
    objective = pretraining.objective(p, student, teacher)
    parts = objective(batch(), objective.counts(batch()))
    parts["loss"].backward()
    assert {"soft", "attention", "relations"} <= parts.keys()
    assert all(gradient.isfinite().all() for w in ours.values() if (gradient := w.grad) is not None)


def test_an_encoder_alone_gives_narrow_and_random_students_without_a_pooler():
    teacher = small.of_kind("bert").base_model
    for init in ("random", "truncated"):
        student = pretraining.starting_student(given(init=init, hidden_size=8), teacher)
        assert not models.has_head(student) and student.pooler is None


@pytest.mark.parametrize(
    "values, message",
    [
        ({"hidden_size": 9}, "hidden_size = 9: allowed are multiples of .* 2 attention heads"),
        ({"hidden_size": 64}, "hidden_size = 64: with init truncated allowed are at most the 16"),
        (
            {"hidden_size": 8, "weight_hidden": 2},
            r"weight_hidden = 2: .* 8 dimensions \(hidden_size\) cannot .* the 16 .* allowed is 0",
        ),
        ({"hidden_size": 8, "weight_cosine": 1}, "weight_cosine = 1: .* allowed is 0"),
        (
            {"hidden_size": 8, "weight_relations": 1, "relation_heads": 16},
            "relation_heads = 16: .* divide the 16 dimensions of the teacher t and the 8 of",
        ),
        ({"weight_relations": 1, "teacher_layer": 5}, "teacher_layer = 5: .* layers 1 … 4"),
        (
            {"weight_attention": 1, "student_layers": [0, 1, 2, 3, 3]},
            "weight_attention = 1: the layers of a student of 5 cannot be matched with the 4",
        ),
    ],
)
def test_what_a_teacher_cannot_teach_is_refused_in_one_line(values, message):
    teacher = small.of_kind("bert")
    for refused in (
        lambda: given(**values).require_fit(teacher.config.to_dict(), "t"),
        lambda: pretraining.starting_student(given(**values), teacher),
    ):
        with pytest.raises(InputError, match=message) as error:
            refused()
        assert "\n" not in str(error.value)


def test_a_student_of_random_weights_may_be_wider_than_its_teacher():
    teacher = small.of_kind("bert")
    p = given(init="random", hidden_size=2 * teacher.config.hidden_size, weight_relations=1)
    student = pretraining.starting_student(p, teacher)
    assert student.config.hidden_size == p.hidden_size
    assert student.config.intermediate_size == 2 * teacher.config.intermediate_size
    assert student(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
    with pytest.raises(ValueError, match="has no"):
        models.narrow(teacher, p.hidden_size)


@pytest.mark.parametrize("vocabulary", [True, 0, -5, "all"])
def test_a_vocabulary_that_is_no_number_of_tokens_is_refused(vocabulary):
    with pytest.raises(InputError, match="allowed are corpus"):
        given(vocabulary=vocabulary)


def test_what_is_allowed_is_not_refused():
    teacher = small.of_kind("bert").config.to_dict()
    given(hidden_size=64, init="random", weight_relations=1).require_fit(teacher, "t")
    given(hidden_size=8, weight_cosine=1, cosine_of="logits").require_fit(teacher, "t")
    given(weight_relations=1, teacher_layer=9).require_fit({}, "t")
    with pytest.raises(InputError, match="mapping skip .* needs another loss than hidden outputs"):
        given(mapping="skip", weight_hidden=1)
    assert given(mapping="skip", weight_hidden=1, weight_soft=1).uses_head
    assert not given(weight_relations=1).uses_head
