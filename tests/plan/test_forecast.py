"""What a plan computes: parameters against the library's own models, operations against hand
counts, and what is printed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from lib.common import places
from lib.common.errors import InputError
from lib.plan import forecast, plan
from lib.plan.forecast import Gpu, Shape, forward, head_flops, student_shape, training_memory
from lib.plan.hub_facts import hub_yaml
from lib.training import models
from lib.training.architectures import ARCHITECTURES
from tests.helpers import small

BASE = Shape(12, 768, 12, 3072, 30522)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_parameters_of_a_folder_are_those_of_its_model(kind, tmp_path):
    model = small.of_kind(kind)
    model.save_pretrained(tmp_path)
    shape = forecast.Estimates().shape(str(tmp_path))
    assert shape.kind == kind and shape.parameters == models.parameter_count(model)
    assert shape.with_head == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", hub_yaml()["models"])
def test_parameters_are_those_of_the_library_on_the_meta_device(name):
    entry = hub_yaml()["models"][name]
    shape = forecast.Estimates().shape(name)
    with torch.device("meta"):
        if entry["kind"] == "distilbert":
            built = DistilBertForMaskedLM(DistilBertConfig(vocab_size=shape.vocabulary))
        else:
            config = BertConfig(
                vocab_size=shape.vocabulary,
                hidden_size=shape.hidden,
                num_attention_heads=shape.heads,
                intermediate_size=shape.intermediate,
                max_position_embeddings=shape.positions,
            )
            built = BertForMaskedLM(config)
        built.tie_weights()
    assert shape.parameters == models.parameter_count(built)
    assert shape.with_head == sum(part.numel() for part in built.parameters())
    megabytes = float(str(entry["download_mb"]).removeprefix("about "))
    # in fp32; HerBERT's file holds its decoder a second time, all hold what is not used
    stored = megabytes * 1e6 / 4
    assert (
        shape.with_head
        < stored
        < shape.with_head + shape.vocabulary * shape.hidden * (name.startswith("allegro")) + 3e6
    )


def test_a_student_of_some_layers():
    assert (
        student_shape(BASE, "alternate").layers
        == student_shape(BASE, [0, 2, 4, 6, 8, 10]).layers
        == 6
    )
    assert (
        BASE.parameters - student_shape(BASE, [0]).parameters == 11 * 7_087_872
    )  # of a layer of BERT base


def test_operations_are_about_two_a_parameter_and_token():
    """Kaplan et al. 2020: 2 N for a forward pass, N without embeddings; what is more is the
    attention."""
    layers = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert forward(BASE, 1, 0) == 2 * layers
    attention = 12 * 2 * 128 * 768
    assert forward(BASE, 100, 128) == 100 * 2 * (layers + attention)
    assert head_flops(1, 768, 30522) == 2 * (768**2 + 768 * 30522)


def test_memory_of_a_training():
    """BERT base: weights, gradients and moments alone are 1.6 GiB; a batch of 64 × 128 in bf16
    takes some GiB more."""
    small, large = (
        training_memory(BASE.parameters, BASE, None, rows * 128, "bf16") for rows in (1, 64)
    )
    assert 16 * BASE.parameters / 2**30 < small < 3.5 and small + 3 < large < 12
    assert training_memory(BASE.parameters, BASE, BASE, 8192, "no") > large


def write(own_params, file, key, value):
    path = own_params / "herbert" / f"{file}.yaml"
    content = yaml.safe_load(path.read_text())
    inner, (*above, last) = content, key.split(".")
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = value
    path.write_text(yaml.safe_dump(content))


def estimates(scale="paper", study="herbert"):
    stages, all_estimates = plan.resolve(scale, [study]), forecast.Estimates()
    return {stage.folder.split("/", 3)[3]: all_estimates.estimate(stage) for stage in stages}


def test_operations_of_a_distillation_are_the_sum_of_its_passes():
    estimate = estimates()["S3/distillation"]
    teacher, student = estimate.shapes
    length = 218e6 / 4.9e6 + 2
    positions = 2 * (218e6 + 2 * 4.9e6)
    passes = forward(teacher, positions, length) + 3 * forward(student, positions, length)
    assert estimate.flops == pytest.approx(passes + 4 * head_flops(positions, 768, 50000))
    mlm = estimates()["S1/distillation"]
    assert mlm.flops == pytest.approx(
        3 * forward(student, positions, length) + 3 * head_flops(0.15 * positions, 768, 50000)
    )


def test_relations_alone_stop_the_teacher_and_need_no_head(own_params):
    """Of a student half as wide, which learns from the teacher's tenth layer."""
    losses = {"weight_relations": 1, "teacher_layer": 10, "hidden_size": 384}
    losses |= {"weight_soft": 0, "weight_mlm": 0, "weight_cosine": 0}
    write(own_params, "paper", "scenarios.S3", losses)
    estimate = estimates()["S3/distillation"]
    teacher, student = estimate.shapes
    assert (student.hidden, student.intermediate, student.layers) == (384, 1536, 6)
    length = 218e6 / 4.9e6 + 2
    positions = 2 * (218e6 + 2 * 4.9e6)
    read = forward(replace(teacher, layers=10), positions, length)
    products = 6 * positions * length * (768 + 3 * 384)
    expected = read + 3 * forward(student, positions, length) + products
    assert estimate.flops == pytest.approx(expected)


def test_volumes_may_be_given_as_numbers_and_are_checked(own_params):
    write(own_params, "paper", "expected.transfer", {"sequences": 1000, "tokens": 50_000})
    assert estimates()["S3/distillation"].tokens == 100_000
    write(
        own_params, "paper", "expected.transfer", {"sequences": 1000, "tokens": ["000", "no_such"]}
    )
    with pytest.raises(InputError, match=r"expected.transfer.tokens = .*papers.yaml has no such"):
        estimates()
    write(own_params, "paper", "expected.transfer", {"token": 1})
    with pytest.raises(
        InputError,
        match="unknown key 'expected.transfer.token'; allowed are sequences, tokens, vocabulary",
    ):
        estimates()
    write(own_params, "paper", "expected", {"corpus": {"tokens": 1}})
    with pytest.raises(
        InputError, match="herbert/paper.yaml: expected: there is no corpus 'corpus'"
    ):
        estimates()


def test_a_text_of_known_size_has_assumed_tokens(own_params):
    write(own_params, "paper", "expected", {})
    volume = estimates()["corpus_transfer/data_prep"].volume
    assert volume.basis == "assumed" and volume.tokens == pytest.approx(1e9 / 4.6)


def test_what_has_run_is_measured(own_params, monkeypatch, tmp_path):
    """A stage's own result replaces what was expected, and its time the GPU's; a result of other
    parameters does not."""
    monkeypatch.setattr(places, "ROOT", tmp_path)
    stages = plan.resolve("paper", ["herbert"])
    by_name = {stage.folder.split("/", 3)[3]: stage for stage in stages}
    statistics = {"sequences": 100, "tokens": 4000, "bytes": 20_000, "vocabulary": 50_000}
    results = {
        "corpus_transfer/data_prep": {"statistics": statistics},
        "S1/distillation": {"summary": {"train_seconds": 3.0}},
    }
    for name, content in results.items():
        folder = tmp_path / by_name[name].folder
        folder.mkdir(parents=True)
        whole = {"parameters": by_name[name].parameters, "stage_seconds": 36.0, **content}
        (folder / "result.json").write_text(json.dumps(whole))
    by_stage = estimates()
    assert (
        by_stage["S3/distillation"].tokens == 8000
        and by_stage["corpus_transfer/data_prep"].volume.basis == "measured"
    )
    s1, s3 = by_name["S1/distillation"], by_name["S3/distillation"]
    spent = forecast.stage_hours(s1, by_stage["S1/distillation"], Gpu.named())
    assert spent == ((0.01, 0.01), "measured")
    assert forecast.stage_hours(s3, by_stage["S3/distillation"], Gpu.named())[1] == "estimated"
    write(own_params, "paper", "distillation.temperature", 3)
    changed = {stage.folder: stage for stage in plan.resolve("paper", ["herbert"])}
    assert forecast.result_of(s1) and not forecast.result_of(changed[s1.folder])


def test_a_gpu_by_name():
    titan = Gpu.named("TitanV")
    least, most = forecast.assumptions()["utilisation"]["fp16"]
    an_hour = titan.fp16 * 1e12 * most * 3600
    assert titan.hours(an_hour, 0, "fp16") == pytest.approx((1, most / least)) and most > least
    assert titan.hours(1e15, 0, "bf16") is None
    assert titan.hours(1e15, 0, "auto") == titan.hours(1e15, 0, "fp16")
    # a small batch takes as long as a larger one: so many milliseconds a layer
    assert titan.hours(1.0, 3600 * 1000, "fp16") == pytest.approx(
        tuple(forecast.assumptions()["least_ms"])
    )
    with pytest.raises(
        InputError, match="GPU: 'K80' is not in params/estimates.yaml; there are A100, "
    ):
        Gpu.named("K80")


@pytest.mark.parametrize(
    "hours, words",
    [
        ((2.4, 12.2), "2.4 – 12 h"),
        ((41.0, 205.0), "41 – 205 h"),
        ((0.05, 0.25), "3.0 min – 0.2 h"),
        ((0.01, 0.02), "0.6 – 1.2 min"),
        ((2.0, 2.0), "2.0 h"),
        ((0.0, 0.0), "0 h"),
    ],
)
def test_ranges_in_words(hours, words):
    assert forecast.format_range(hours) == words


def test_sums_add_the_ends_of_ranges_and_say_what_is_missing():
    stages = plan.resolve("paper", ["herbert"])[:3]
    hours = dict(
        zip((stage.folder for stage in stages), [((1.0, 5.0), ""), ((2.0, 2.0), ""), 2 * (None,)])
    )
    assert forecast.sum_lines(stages, hours)[1].endswith("3.0 – 7.0 h  without 1 stage")


def test_a_model_in_a_folder_has_the_shape_of_its_config(tmp_path):
    config = BertConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4)
    config.save_pretrained(tmp_path)
    shape = forecast.Estimates().shape(str(tmp_path))
    assert (shape.layers, shape.hidden, shape.vocabulary) == (3, 48, config.vocab_size)


@pytest.mark.parametrize("scale", ["paper", "gpuday", "mini", "tiny", "smoke"])
def test_every_scale_has_a_forecast(scale):
    stages = plan.resolve(scale, [])
    text = forecast.report(stages)
    assert all(stage.path.name in text for stage in stages)
    assert ("TFLOP/s" in text) == (scale not in ("tiny", "smoke"))
    assert "nan" not in text and "None" not in text


def hours_of(scale: str, study: str = "") -> forecast.Hours:
    """What the stages of a scale are estimated to take, on the machine it is meant for."""
    card, estimates = Gpu.named(scale=scale), forecast.Estimates()
    stages = plan.resolve(scale, study.split())
    spent = [forecast.stage_hours(stage, estimates.estimate(stage), card)[0] for stage in stages]
    least, most = zip(*filter(None, spent))
    return sum(least), sum(most)


def test_small_scales_take_what_they_promise():
    """herbert at mini two hours of two cores at most; by the middle of the range, all four a night,
    and at gpuday a day."""
    assert Gpu.named(scale="mini").cores == 2 and hours_of("mini", "herbert")[1] < 2
    for scale, most in ("mini", 10), ("gpuday", 24):
        assert np.prod(hours_of(scale)) ** 0.5 < most


def test_the_forecast_says_what_comes_first():
    text = forecast.report(plan.resolve("paper", []), "TitanV")
    before, _ = text.split("stage  ", 1)
    for word in (
        "allegro/herbert-base-cased",
        "656 MB",
        "CC BY 4.0",
        "refs/pr/2",
        "statmt/cc100 (pl)",
        "103 parts",
        "GPL 3",
        "DOWNLOAD=yes",
        "not been verified",
    ):
        assert word in before, word
    assert "NVIDIA Titan V 12 GB" in text and "no bf16" in text  # which that card does not have
    assert "436 M" in text and "403 M" in text and "≤ 2.15 B" in text
