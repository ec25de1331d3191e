"""Every kind of encoder as a teacher: its students have its layers, load with plain transformers,
and are trained by the losses that the library's own forward pass gives."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from lib.common.errors import InputError
from lib.fast.layer import Layer
from lib.fast.quicken import quicken
from lib.training import models, pretraining
from lib.training.architectures import ARCHITECTURES, longest_sequence
from lib.training.batches import IGNORE, Batch
from lib.training.mappings import layer_mapping
from lib.training.objectives import Distillation, Hop, hand_out_attention
from lib.training.parameters import DistillationParameters
from tests.helpers import small

KINDS = list(ARCHITECTURES)
LENGTHS = [19, 3, 11]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def batch():
    """Padded lines, longer than ModernBERT's local attention; one token is the padding's by
    chance, as masking puts random tokens."""
    kept = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(5, 99, kept.shape, generator=generator).masked_fill(~kept, 1)
    inputs[0, 4] = 1
    masked = (torch.rand(kept.shape, generator=generator) < 0.3) & kept
    return Batch(inputs, kept, inputs.masked_fill(~masked, IGNORE))


def logits(model, batch):
    return model(input_ids=batch.inputs, attention_mask=batch.kept.long()).logits


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_student_loads_with_plain_transformers(kind, tied, batch, tmp_path):
    """From a checkpoint as they are found: in half precision, in several files, with weights of
    another head, and with a vocabulary larger than the tokenizer's."""
    original = small.of_kind(kind, vocab_size=128, tie_word_embeddings=tied)
    original.half().save_pretrained(tmp_path / "teacher", max_shard_size="8KB")
    shard = min((tmp_path / "teacher").glob("*.safetensors"))
    save_file(load_file(shard) | {"classifier.weight": torch.ones(3)}, shard, {"format": "pt"})
    index = tmp_path / "teacher/model.safetensors.index.json"
    entries = json.loads(index.read_text())
    entries["weight_map"]["classifier.weight"] = shard.name
    index.write_text(json.dumps(entries))

    teacher = models.load(tmp_path / "teacher").eval()
    student = models.truncate(teacher, [0, 2, 3])
    for own, index in zip(models.layers_of(student), [0, 2, 3], strict=True):
        expected = models.layers_of(teacher)[index].state_dict()
        assert expected and own.state_dict().keys() == expected.keys()
        assert all(torch.equal(own.state_dict()[key], expected[key]) for key in expected)
    student.save_pretrained(tmp_path / "student")
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path / "student").eval()
    assert type(plain) is type(original) and plain.config.num_hidden_layers == 3
    assert torch.equal(logits(plain, batch), logits(student, batch))
    decoder, words = plain.get_output_embeddings().weight, plain.get_input_embeddings().weight
    assert (decoder is words) is tied

    random = models.random_like(student, seed=1)
    assert random.config.to_dict() == student.config.to_dict()
    assert (random.get_output_embeddings().weight is random.get_input_embeddings().weight) is tied


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_computes_with_its_teachers_layers(kind, batch):
    """Layer by layer: what the student's second layer makes of its input is what the teacher's
    fourth makes of the same input."""
    teacher = small.of_kind(kind)
    student = models.truncate(teacher, [0, 3])
    seen = {}
    place = models.layers_of(student)[1].register_forward_hook(
        lambda module, args, kwargs, output: seen.update(args=args, kwargs=kwargs, output=output),
        with_kwargs=True,
    )
    logits(student, batch)
    place.remove()
    again = models.layers_of(teacher)[3](*seen["args"], **seen["kwargs"])
    assert torch.equal(again, seen["output"])
    if kind == "modernbert":
        kinds = [layer.attention_type for layer in models.layers_of(student)]
        assert kinds == student.config.layer_types == ["full_attention"] * 2


def test_a_student_of_a_modernbert_keeps_each_layers_attention(batch, tmp_path):
    """Layers 0 and 3 see everything, the others 4 tokens on either side."""
    student = models.truncate(small.of_kind("modernbert"), [0, 1, 3])
    student.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert [kind.split("_")[0] for kind in config["layer_types"]] == ["full", "sliding", "full"]
    for chosen in ([1, 3], [0, 2, 0]):
        with pytest.raises(InputError, match="a student of a ModernBERT starts with layer 0"):
            models.truncate(small.of_kind("modernbert"), chosen)


def moved(student):
    """A student after some training."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return student


def assert_gradients_agree(objective, batch, expected):
    """The objective's loss and gradient, before and after `quicken`, are those of the function
    `expected` of the student."""
    plain = copy.deepcopy(objective.student)
    loss = expected(plain)
    loss.backward()
    gradients = {key: p.grad for key, p in plain.named_parameters() if p.grad is not None}
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    for one in (objective, quicken(objective)):
        one.student.zero_grad()
        value = one(batch, one.counts(batch))["loss"]
        value.backward()
        assert value.item() == pytest.approx(loss.item(), rel=TOLERANCE)
        for key, parameter in one.student.named_parameters():
            own = torch.zeros(()) if parameter.grad is None else parameter.grad
            wanted = gradients.get(key, torch.zeros_like(own))
            assert (own - wanted).norm() <= TOLERANCE * norm, key


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
def test_distillation_is_what_the_librarys_forward_passes_give(kind, tied, batch):
    teacher = small.of_kind(kind, tie_word_embeddings=tied)
    student = moved(models.truncate(teacher, [0, 2]))
    weights = {"mlm": 2.0, "soft": 5.0, "cosine": 1.0}

    def expected(student):
        inputs = {"input_ids": batch.inputs, "attention_mask": batch.kept.long()}
        ours = student(**inputs, output_hidden_states=True)
        with torch.no_grad():
            theirs = teacher(**inputs, output_hidden_states=True)
        p, q = ((out.logits[batch.kept] / 2).log_softmax(-1) for out in (ours, theirs))
        soft = 4 * F.kl_div(p, q, reduction="batchmean", log_target=True)
        mlm = F.cross_entropy(ours.logits.flatten(0, 1), batch.labels.flatten())
        hidden = [out.hidden_states[-1][batch.kept] for out in (ours, theirs)]
        cosine = 1 - F.cosine_similarity(*hidden, dim=-1).mean()
        return weights["mlm"] * mlm + weights["soft"] * soft + weights["cosine"] * cosine

    objective = Distillation(student, copy.deepcopy(teacher), **weights)
    assert_gradients_agree(objective, batch, expected)
    without = [key for key, part in objective.student.named_parameters() if part.grad is None]
    assert objective.reaches_all is tied and (not without or not tied)
    fast = any(isinstance(module, Layer) for module in objective.student.modules())
    assert fast == (kind != "modernbert")


@pytest.mark.parametrize("kind", KINDS)
def test_a_hop_matches_the_outputs_and_maps_of_layers(kind, batch):
    """And with soft targets, the logits."""
    teacher = small.of_kind(kind)
    student = moved(models.truncate(teacher, [0, 1]))
    hidden_layers, map_layers = layer_mapping("uniform", 2, 4)
    eager_teacher = copy.deepcopy(teacher)
    for model in (eager_teacher, student):
        hand_out_attention(model)
        model.config.tie_last_hidden_states = False  # before ModernBERT's final LayerNorm

    def expected(student):
        loss = torch.zeros(())
        for row, length in enumerate(LENGTHS):
            position_ids = {}
            if ARCHITECTURES[kind].offset:  # of the whole line, its chance padding token included
                create = student.base_model.embeddings.create_position_ids_from_input_ids
                position_ids = {"position_ids": create(batch.inputs[row, :length][None], 1)}
            inputs = {"input_ids": batch.inputs[row, :length][None], **position_ids}
            inputs |= {"output_hidden_states": True, "output_attentions": True}
            ours = student(**inputs)
            with torch.no_grad():
                theirs = eager_teacher(**inputs)
            for k, (target,) in hidden_layers.items():
                error = (ours.hidden_states[k] - theirs.hidden_states[target]).square()
                loss = loss + error.mean(-1).sum() / sum(LENGTHS) / 2
            for j, (target,) in map_layers.items():
                error = (ours.attentions[j - 1] - theirs.attentions[target - 1]).square()
                loss = loss + error.mean(1).sum() / sum(n * n for n in LENGTHS) / 2
            p, q = ((out.logits[0] / 2).log_softmax(-1) for out in (ours, theirs))
            divergence = F.kl_div(p, q, reduction="sum", log_target=True)
            loss = loss + 3 * 4 * divergence / sum(LENGTHS)
        return loss

    objective = Hop(student, teacher, "uniform", soft=3.0, dropout="none")
    assert_gradients_agree(objective, batch, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_alone_is_enough_where_no_head_is_needed(kind, batch, tmp_path):
    small.of_kind(kind).base_model.save_pretrained(tmp_path / "teacher")
    with pytest.raises(InputError, match="lacks .* needs an encoder and a masked-language-model"):
        models.load(tmp_path / "teacher")
    teacher = models.load(tmp_path / "teacher", head=False)
    assert not models.has_head(teacher)
    trunk = models.load_trunk(tmp_path / "teacher")
    assert models.parameter_count(trunk) == models.parameter_count(small.of_kind(kind))
    student = models.truncate(teacher, [0, 1])
    objective = quicken(Hop(student, teacher, "top", dropout="none"))
    objective(batch, objective.counts(batch))["loss"].backward()
    embeddings = {
        name.split(".")[0] for name, _ in models.embeddings_of(student).named_parameters()
    }
    assert len(embeddings) == len(ARCHITECTURES[kind].embeddings)
    student.save_pretrained(tmp_path / "student")
    again = models.load(tmp_path / "student", head=False)
    assert type(again) is type(student) and again.config.num_hidden_layers == 2


def test_narrow_embeddings_need_the_head():
    values = {"teacher": "t", "corpus": "c", "student_layers": "to_top", "learning_rate": 1e-3}
    p = DistillationParameters(**values, mlm_head=False)
    pretraining.starting_student(p, small.of_kind("electra", embedding_size=16))
    with pytest.raises(InputError, match="mlm_head = False: .* 16 dim.* of 8; .* allowed is True"):
        pretraining.starting_student(p, small.of_kind("electra"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_sequence_is_what_the_model_can_read(kind):
    model = small.of_kind(kind)
    longest = longest_sequence(model.config.to_dict())
    assert longest == 38 if ARCHITECTURES[kind].offset else longest == 40
    model(input_ids=torch.full((1, longest), 7))


@pytest.mark.parametrize(
    "config, reason",
    [
        ({"model_type": "albert"}, "of the kind 'albert': its layers share one set of weights"),
        (
            {"model_type": "deberta-v2"},
            "of the kind 'deberta-v2': its attention adds relative positions",
        ),
        ({"model_type": "gpt2"}, "of the kind 'gpt2'; allowed are bert, roberta, "),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id = null; allowed is the id"),
        ({}, "its config.json has no model_type; allowed are bert"),
    ],
)
def test_kinds_that_are_refused(config, reason, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for load in (models.load, models.load_trunk):
        with pytest.raises(InputError, match=reason):
            load(tmp_path)


@pytest.mark.parametrize("kept", ["bias", "decoder.bias"])
@pytest.mark.parametrize("kind, head", [("bert", "cls.predictions."), ("roberta", "lm_head.")])
def test_an_untied_decoders_bias_under_one_of_its_names(kind, head, kept, tmp_path):
    model = small.of_kind(kind, tie_word_embeddings=False)
    bias = model.get_output_embeddings().bias
    weights = {
        key: value for key, value in model.state_dict().items() if key != f"{head}decoder.bias"
    }
    weights.pop(f"{head}bias")
    model.save_pretrained(tmp_path, state_dict=weights | {head + kept: bias})
    assert torch.equal(models.load(tmp_path).get_output_embeddings().bias, bias)
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(InputError, match="lacks .*bias and 1 more"):
        models.load(tmp_path)
