"""Students by exact weights, and full-size parameter counts on the meta device."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertModel,
)

from lib.common.errors import InputError
from lib.training import models


@pytest.fixture
def teacher():
    return models.new_encoder(
        vocab_size=50,
        layers=4,
        hidden=16,
        heads=2,
        intermediate=32,
        max_length=24,
        pad_id=1,
        seed=1,
    )


def layer(model, index):
    return model.bert.encoder.layer[index].state_dict()


@pytest.mark.parametrize("chosen", [[0, 2], [3], [1, 0, 3], [0, 2, 3]])
def test_truncated_students_have_their_teachers_layers(teacher, chosen):
    student = models.truncate(teacher, chosen)
    assert student.config.num_hidden_layers == len(chosen) and teacher.config.num_hidden_layers == 4
    for place, source in enumerate(chosen):
        for name, weight in layer(teacher, source).items():
            assert torch.equal(layer(student, place)[name], weight), (place, source, name)
    for part in ("embeddings",):
        for a, b in zip(
            getattr(student.bert, part).parameters(), getattr(teacher.bert, part).parameters()
        ):
            assert torch.equal(a, b)
    for a, b in zip(student.cls.parameters(), teacher.cls.parameters()):
        assert torch.equal(a, b)


def test_layer_one_is_not_layer_ten():
    """A prefix match on `layer.1` would take layers 10 and 11 too."""
    teacher = models.new_encoder(
        vocab_size=20, layers=12, hidden=8, heads=2, intermediate=8, max_length=16, pad_id=0
    )
    student = models.truncate(teacher, [1, 10])
    assert torch.equal(
        layer(student, 0)["attention.self.query.weight"],
        layer(teacher, 1)["attention.self.query.weight"],
    )
    assert torch.equal(
        layer(student, 1)["attention.self.query.weight"],
        layer(teacher, 10)["attention.self.query.weight"],
    )


def test_student_shares_no_memory_with_its_teacher_and_stays_tied(teacher):
    student = models.truncate(teacher, [0, 2])
    before = teacher.bert.embeddings.word_embeddings.weight.clone()
    with torch.no_grad():
        student.bert.embeddings.word_embeddings.weight.add_(1)
    assert torch.equal(teacher.bert.embeddings.word_embeddings.weight, before)
    assert student.cls.predictions.decoder.weight is student.bert.embeddings.word_embeddings.weight


def test_round_trip_through_disk(teacher, tmp_path):
    student = models.truncate(teacher, [0, 2]).eval()
    student.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    ids = torch.arange(5, 15)[None]
    assert torch.equal(
        models.load(tmp_path).eval()(input_ids=ids).logits, student(input_ids=ids).logits
    )


def test_a_low_precision_checkpoint_loads_in_fp32(teacher, tmp_path):
    teacher.to(torch.bfloat16).save_pretrained(tmp_path)
    assert models.load(tmp_path).dtype == torch.float32


@pytest.mark.parametrize("by, order", [("stacking", [0, 1, 0, 1]), ("interpolation", [0, 0, 1, 1])])
def test_growing_copies_layers_in_order(teacher, by, order):
    deep = models.grow(models.truncate(teacher, [0, 1]), 4, by)
    for place, source in enumerate(order):
        assert torch.equal(
            layer(deep, place)["output.dense.weight"], layer(teacher, source)["output.dense.weight"]
        )


def test_every_second_layer_of_an_interpolated_model_is_the_shallow_one(teacher):
    shallow = models.truncate(teacher, [0, 1]).eval()
    student = models.truncate(
        models.grow(shallow, 4, "interpolation"), models.layer_choice("alternate", 4)
    ).eval()
    ids = torch.arange(5, 15)[None]
    assert torch.equal(student(input_ids=ids).logits, shallow(input_ids=ids).logits)


@pytest.mark.parametrize(
    "rule, layers, chosen",
    [
        ("alternate", 12, [0, 2, 4, 6, 8, 10]),
        ("to_top", 12, [0, 2, 4, 7, 9, 11]),
        ("alternate", 4, [0, 2]),
        ("to_top", 4, [0, 3]),
        ("to_top", 6, [0, 2, 5]),
        ("lowest", 12, [0, 1, 2, 3, 4, 5]),
        ("highest", 12, [6, 7, 8, 9, 10, 11]),
        ("highest", 5, [3, 4]),
        ("alternate", 3, [0]),
        ("to_top", 1, [0]),
        ([1, 1], 4, [1, 1]),
    ],
)
def test_layers_by_rule(rule, layers, chosen):
    assert models.layer_choice(rule, layers) == chosen


def test_mimetic_attention_looks_for_its_like_and_copies_it():
    shape = dict(
        vocab_size=50,
        layers=2,
        hidden=64,
        heads=4,
        intermediate=64,
        max_length=16,
        pad_id=0,
        attention_init="mimetic",
        seed=3,
    )
    model, again = (models.new_encoder(**shape) for _ in range(2))
    for block in model.bert.encoder.layer:
        attention = block.attention.self
        assert torch.allclose(
            block.attention.output.dense.weight @ attention.value.weight,
            0.8 * torch.eye(64),
            atol=1e-5,
        )
        products = [
            attention.query.weight[rows].T @ attention.key.weight[rows]
            for rows in torch.arange(64).split(16)
        ]
        for product in products:
            assert torch.allclose(product, product.T, atol=1e-6)
            assert product.trace().item() == pytest.approx(
                0.1 * 64, rel=1e-4
            )  # match · I on the average
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


def test_random_students_differ_by_seed_only(teacher):
    a, b, c = (models.random_like(models.truncate(teacher, range(2)), seed) for seed in (1, 1, 2))
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters())]
    other = [torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters()) if x.ndim > 1]
    assert all(same) and not any(other)
    assert a.bert.encoder.layer[0].output.dense.weight.std().item() == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("chosen", [[0, 4], [-1], []])
def test_layers_the_teacher_lacks(teacher, chosen):
    with pytest.raises(InputError, match=r"student_layers: .* layers 0 … 3"):
        models.truncate(teacher, chosen)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match="is no model: it has no config.json"):
        models.load(tmp_path)


def full_size(cls, layers, vocabulary, positions, types=2, **kwargs):
    config = BertConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        max_position_embeddings=positions,
        type_vocab_size=types,
    )
    with torch.device("meta"):
        return cls(config, **kwargs)


def test_herbert_and_its_student_at_full_size():
    """HerBERT base: 50,000 BPE tokens, 514 positions. 000 section 3 prints 124M / 475 MB and 81M /
    325.34 MB (10^6 bytes)."""
    teacher = full_size(BertModel, 12, 50000, 514)
    assert models.parameter_count(teacher) / 1e6 == pytest.approx(124.443, abs=5e-4)
    assert models.size_mib(teacher) == pytest.approx(474.7, abs=0.05)
    student = full_size(BertModel, 6, 50000, 514, add_pooling_layer=False)
    assert models.parameter_count(student) / 1e6 == pytest.approx(81.325, abs=5e-4)
    assert models.size_mib(student) * 2**20 / 1e6 == pytest.approx(325.30, abs=0.01)
    assert models.parameter_count(student) / models.parameter_count(teacher) == pytest.approx(
        0.65, abs=0.005
    )


def test_encoders_are_counted_without_a_head():
    """BERT base and its student: 60.95 % of the parameters remain, which 000 calls 40 % smaller.
    With the head it would be 61.17 %, an artefact of counting."""
    teacher, student = (full_size(BertForMaskedLM, layers, 30522, 512) for layers in (12, 6))
    encoder = full_size(BertModel, 12, 30522, 512, add_pooling_layer=False)
    assert models.parameter_count(teacher) == models.parameter_count(encoder) == 108_891_648
    assert models.size_mib(teacher) == models.size_mib(encoder)
    share = models.parameter_count(student) / models.parameter_count(teacher)
    assert share == pytest.approx(0.60945, abs=1e-5)
    teacher.tie_weights()
    student.tie_weights()
    whole, smaller = (sum(p.numel() for p in model.parameters()) for model in (teacher, student))
    assert smaller / whole == pytest.approx(0.6117, abs=1e-4)


def test_a_checkpoint_without_a_head_is_no_teacher(teacher, tmp_path):
    teacher.bert.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="the checkpoint lacks cls.predictions"):
        models.load(tmp_path)
    assert torch.equal(
        models.load(tmp_path, head=False).embeddings.word_embeddings.weight,
        teacher.bert.embeddings.word_embeddings.weight,
    )


def test_bert_base_and_its_students_at_full_size():
    """BERT base uncased: 30,522 WordPieces, 512 positions. Sanh et al. 2019, Table 3 print 110 and
    66 million."""
    teacher = full_size(BertModel, 12, 30522, 512)
    assert models.parameter_count(teacher) == 109_482_240
    assert models.size_mib(teacher) == pytest.approx(417.6, abs=0.05)
    with torch.device("meta"):
        distilbert = DistilBertModel(DistilBertConfig())
    assert models.parameter_count(distilbert) == 66_362_880
    assert models.size_mib(distilbert) == pytest.approx(253.2, abs=0.05)
    student = full_size(BertModel, 6, 30522, 512, add_pooling_layer=False)
    assert models.parameter_count(student) == 66_364_416  # two token types of 768 more
    assert (
        models.parameter_count(
            full_size(BertModel, 6, 30522, 512, types=1, add_pooling_layer=False)
        )
        == 66_363_648
    )
    assert models.parameter_count(student) - 2 * 768 == models.parameter_count(distilbert)
    assert models.size_mib(student) == pytest.approx(253.16, abs=0.01)


@pytest.fixture
def distilbert():
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=24
    )
    return DistilBertForMaskedLM(config)


@pytest.mark.parametrize("whole", [True, False])
def test_a_distilbert_can_be_a_trunk(distilbert, tmp_path, whole):
    """With and without its masked-language-model head in the file, and in whatever precision it was
    saved."""
    trunk = distilbert.distilbert
    (distilbert if whole else trunk).to(torch.bfloat16).save_pretrained(tmp_path)
    found = models.load_trunk(tmp_path)
    assert found.dtype == torch.float32 and not models.tells_segments(found)
    expected, weights = trunk.state_dict(), found.state_dict()
    assert set(weights) == set(expected) and all(
        torch.equal(weights[key], expected[key].float()) for key in expected
    )
    if not whole:
        with pytest.raises(InputError, match="lacks vocab_layer_norm.bias and 4 more; .* head"):
            models.load(tmp_path)


def test_a_bert_trunk_is_its_encoder(teacher, tmp_path):
    teacher.save_pretrained(tmp_path)
    found = models.load_trunk(tmp_path)
    assert models.tells_segments(found)
    assert torch.equal(
        found.encoder.layer[3].output.dense.weight,
        teacher.bert.encoder.layer[3].output.dense.weight,
    )


def test_trunks_that_are_none(distilbert, tmp_path):
    with pytest.raises(InputError, match="is no model: it has no config.json"):
        models.load_trunk(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    with pytest.raises(InputError, match="of the kind 'gpt2'; allowed are bert, roberta"):
        models.load_trunk(tmp_path)
    lacking = {
        key: value for key, value in distilbert.state_dict().items() if "layer.1.ffn" not in key
    }
    distilbert.save_pretrained(tmp_path / "part", state_dict=lacking)
    with pytest.raises(InputError, match="lacks distilbert.transformer.layer.1.ffn"):
        models.load_trunk(tmp_path / "part")
