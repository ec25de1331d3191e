"""lib.plan.stages: where stages publish, and what the parameters of stages may be."""

import pytest

from lib.common import places
from lib.common.errors import InputError
from lib.common.parameters import ModelName, StageFolder, TokenizerName, naming
from lib.plan import plan
from lib.plan.stages import KINDS, StagePath, validate
from lib.plan.study import studies
from lib.tasks.finetune import settings

GIVEN = {
    "model": "m",
    "tasks": ["rte", "squad"],
    "task_source": "hub",
    "seeds": [1],
    "learning_rate": 2e-5,
    "max_length": 384,
}


@pytest.mark.parametrize(
    "folder, path",
    [
        (
            "outputs/tiny/herbert/S3/distillation",
            StagePath("tiny", "herbert", "S3", "distillation"),
        ),
        (
            "outputs/lab/tiny/ablation/mine/finetune",
            StagePath("tiny", "ablation", "mine", "finetune", "mine"),
        ),
        (
            "outputs/lab/tiny/cascade/mine/mine-3/cascade_ta",
            StagePath("tiny", "cascade", "mine-3", "cascade_ta", "mine"),
        ),
    ],
)
def test_a_path_is_parsed_and_built(folder, path):
    assert StagePath.parse(folder) == path and str(path) == folder
    assert StagePath.parse(f"{folder}/beside/hot") == path
    assert StagePath.parse(places.ROOT / folder / "model/config.json") == path


@pytest.mark.parametrize(
    "folder",
    [
        "",
        "outputs/tiny/analysis",
        "outputs/lab/distillation-1234abcd/model",
        "allegro/herbert-base-cased",
        "/elsewhere/outputs/tiny/herbert/S3/distillation",
        "outputs/tiny/herbert/S3/other",
    ],
)
def test_other_paths_belong_to_no_stage(folder):
    assert StagePath.parse(folder) is None


def test_one_task_has_its_own_values():
    p = validate(
        "finetune", GIVEN | {"per_task": {"squad": {"learning_rate": "3e-5", "epochs": 2}}}
    )
    assert p.per_task == {"squad": {"learning_rate": 3e-5, "epochs": 2}}
    own = settings(p, "squad")
    assert (own.learning_rate, own.epochs, own.max_length) == (3e-5, 2, 384)
    assert settings(p, "rte").learning_rate == 2e-5
    assert validate("finetune", p.model_dump(mode="json")) == p  # as the plan writes it


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"per_task": {"cola": {"epochs": 2}}},
            r"per_task names 'cola', which is not among tasks \(rte, squad\)",
        ),
        (
            {"per_task": {"rte": {"clip_norm": 0}}},
            "unknown key 'per_task.rte.clip_norm'; allowed are learning_rate, "
            "epochs, batch_size, max_length, warmup, weight_decay, adam_beta1, adam_beta2, pooling",
        ),
        (
            {"per_task": {"rte": {"max_length": 4}}},
            "per_task.rte.max_length = 4: input should be greater than or equal to 8",
        ),
        (
            {"per_task": {"rte": {"learning_rate": 0}}},
            "per_task.rte.learning_rate = 0: input should be greater than 0",
        ),
        ({"per_task": {"rte": {"pooling": "max"}}}, "per_task.rte.pooling = 'max'"),
        ({"evaluate": "first"}, "evaluate = 'first': input should be 'every_epoch' or 'last'"),
        (
            {"max_length": 128},
            "max_length 128 of squad has no room for max_question_length 64 and doc_stride 128; "
            "allowed are 196 and more",
        ),
        ({"per_task": {"squad": {"max_length": 64}}}, "max_length 64 of squad has no room"),
        ({"max_answer_length": 0}, "max_answer_length = 0"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(InputError, match=message):
        validate("finetune", GIVEN | wrong)


def test_windows_matter_to_spans_alone():
    assert validate("finetune", GIVEN | {"tasks": ["rte"], "max_length": 64}).max_length == 64


TOY = [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 5}]


def test_text_or_a_sample():
    text = validate("data_prep", {"sources": TOY, "tokenizer": "train:wordpiece"})
    assert (text.sample_of, text.composition, text.share, text.sentences, text.language) == (
        "",
        "natural",
        1,
        False,
        "en",
    )
    derived = validate(
        "data_prep", {"sample_of": "outputs/x", "share": "1e-3", "composition": "randomised"}
    )
    assert derived.share == 0.001 and derived.sources == [] and derived.tokenizer == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "sources = []: there must be at least 1 item, or sample_of"),
        ({"sources": TOY}, "tokenizer = '': give one, or sample_of"),
        ({"sources": TOY, "sample_of": "a"}, "sources must be empty beside sample_of"),
        ({"sources": TOY, "tokenizer": "x", "share": 0.1}, "share = 0.1: needs sample_of"),
        ({"sources": TOY, "tokenizer": "x", "nested": False}, "nested = False: needs sample_of"),
        (
            {"sources": TOY, "tokenizer": "x", "composition": "bigram"},
            "composition = 'bigram': needs sample_of",
        ),
        ({"sample_of": "a", "share": 0}, "share = 0: input should be greater than 0"),
        ({"sample_of": "a", "share": 1.1}, "share = 1.1: input should be less than or equal to 1"),
        (
            {"sample_of": "a", "composition": "trigram"},
            "should be 'natural', 'randomised', 'generated' or 'bigram'",
        ),
        ({"sources": TOY, "tokenizer": "x", "language": "English"}, "language = 'English'"),
        ({"sources": [{"kind": "books"}], "tokenizer": "x"}, "sources.0.books.path is missing"),
        (
            {"sources": [{"kind": "wikiextractor", "path": "a", "lines": 3}], "tokenizer": "x"},
            "unknown key",
        ),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        validate("data_prep", values, lambda key: "params/study/scale.yaml: corpora.x")
    assert str(caught.value).startswith("params/study/scale.yaml: corpora.x: ") and "\n" not in str(
        caught.value
    )
    assert message in str(caught.value)


def test_every_parameter_that_leads_to_a_stage_is_of_a_type_that_says_so():
    """Else a stage would keep a checkpoint, or a result, that was made from other inputs."""
    for stage in plan.resolve("tiny", studies()):
        known = naming(KINDS[stage.kind].parameters, ModelName, TokenizerName, StageFolder)
        strings = {k: v for k, v in stage.parameters.items() if isinstance(v, str)}
        found = {name for name, value in strings.items() if StagePath.parse(value)}
        assert found - {"output_dir"} <= set(known), stage.folder
