"""lib.plan.pretrained and lib.training.pretrained_weights: what the files of a checkpoint say is held against
the plan, in one line, before anything is computed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer

from lib.common.errors import InputError
from lib.plan import plan, pretrained
from tests.helpers import small

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WEIGHTS = "model.safetensors"
STUDY = """
corpora:
  transfer:
    sources: [{kind: toy, language: toy-pl, corpus: web, lines: 9}]
    tokenizer: TOKENIZER
    max_length: 32
teachers: {bert: {hub: checkpoint}}
distillation: {student_layers: [0, 2], learning_rate: 1e-3}
finetune:
  tasks: [nkjp-ner]
  task_source: toy
  task_language: toy-pl
  seeds: [1]
  learning_rate: 1e-4
  max_length: 40
"""


def tokenizer(words=(), lowercase=False):
    words = [*SPECIAL, *"abcdeABCDE", *words]
    vocabulary = {word: number for number, word in enumerate(words)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase, strip_accents=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A BERT of four layers with a vocabulary that is padded to 20, in a folder."""
    folder = tmp_path_factory.mktemp("whole")
    small.of_kind("bert", vocab_size=20, pad_id=0).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(own_params, tmp_path, whole):
    """A study with a checkpoint that a test may spoil: its folder."""
    shutil.copytree(whole, tmp_path / "checkpoint")
    (own_params / "mine").mkdir()
    (own_params / "mine/scenarios.yaml").write_text(
        "scenarios: {a: {teacher: bert, weight_mlm: 1}}"
    )
    write_study(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def write_study(checkpoint, old="TOKENIZER", new="checkpoint"):
    study = checkpoint.parent / "params/mine/own.yaml"
    study.write_text(STUDY.replace(old, new).replace("TOKENIZER", "checkpoint"))


def edit(**values):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return damage


def rewrite(change, **config):
    def damage(folder):
        weights = change(load_file(folder / WEIGHTS))
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        edit(**config)(folder)

    return damage


def renamed(name, text=None):
    def damage(folder):
        (folder / WEIGHTS).rename(folder / name)
        if text is not None:
            (folder / WEIGHTS).write_text(text)

    return damage


def in_shards(folder):
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def with_distances(weights):
    name = "bert.encoder.layer.0.attention.self.distance_embedding.weight"
    return weights | {name: torch.zeros(3, 8)}


@pytest.mark.parametrize(
    "damage, message",
    [
        (edit(position_embedding_type="relative_key"), "position_embedding_type = 'relative_key'"),
        (edit(is_decoder=True), "is_decoder = True; allowed is False"),
        (edit(auto_map={"AutoModel": "a.B"}), "auto_map = .* allowed is none: a model's own code"),
        (edit(model_type="albert"), "of the kind 'albert': its layers share"),
        (edit(max_position_embeddings=39), r"reads 39 tokens; finetune.max_length = 40; allowed"),
        (edit(max_position_embeddings=8), "reads 8 tokens; finetune.max_length = 40; allowed"),
        (edit(num_hidden_layers=3), r"lacks|has bert.encoder.layer.3.*would be dropped"),
        (edit(num_hidden_layers=2), r"student_layers of a = \[0, 2\]: .* has layers 0 … 1"),
        (edit(hidden_size=32), r"the weight bert.* and \d+ more is of the shape \[16"),
        (edit(hidden_act="no such"), "cannot be loaded as a masked language model .*no such"),
        (edit(pad_token_id=7), r"pad_token_id = 7, and its tokenizer pads with 0 \(\[PAD\]\)"),
        (rewrite(with_distances), "has bert.*distance_embedding.weight, which .* be dropped"),
        (rewrite(lambda weights: weights, tie_word_embeddings=False), "lacks cls.predictions.dec"),
        (
            rewrite(lambda weights: {f"module.{key}": value for key, value in weights.items()}),
            "lacks bert.embeddings.* it has module.bert.embeddings.LayerNorm.bias",
        ),
        (
            rewrite(lambda weights: {k: v for k, v in weights.items() if "cls" not in k}),
            "lacks cls.predictions.* it needs an encoder and a masked-language-model head",
        ),
        (lambda folder: tokenizer("vwxyz+").save_pretrained(folder), "has 21 tokens, .*_size = 20"),
        (
            renamed("pytorch_model.bin"),
            "its pytorch_model.bin, .*; convert it, in its folder: python",
        ),
        (renamed("tf_model.h5"), f"has no {WEIGHTS}, but tf_model.h5; save the model"),
        (renamed("x.safetensors"), f"has no {WEIGHTS}, but x.safetensors; rename it"),
        (renamed("adapter_config.json"), "holds an adapter; merge it"),
        (renamed("old", "version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
        (renamed("old", "cut short"), "is cut short or no safetensors file"),
        (in_shards, "has no model-00002-of-00002.safetensors, which its .*index.json names"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "is no model: it has no config.json"),
        (
            rewrite(lambda weights: {k: v.to(torch.int8) for k, v in weights.items()}),
            "is stored as I8; allowed are F64, F32, F16, BF16",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(InputError, match=f"^params/mine/own.yaml: teachers.bert: .*{message}") as e:
        plan.resolve("own", ["mine"], thorough=True)
    assert "\n" not in str(e.value)


def test_a_whole_checkpoint_is_no_fault_nor_are_tables_that_older_versions_stored(checkpoint):
    rewrite(lambda weights: weights | {"bert.embeddings.position_ids": torch.arange(40)})(
        checkpoint
    )
    assert plan.resolve("own", ["mine"], thorough=True)


@pytest.mark.parametrize("place", ["./checkpoint/", "copy", "link", "{data_dir}/checkpoint"])
def test_tokenizers_are_compared_by_what_they_do(checkpoint, place):
    shutil.copytree(checkpoint, checkpoint.with_name("copy"))
    checkpoint.with_name("link").symlink_to(checkpoint)
    write_study(checkpoint, "TOKENIZER", f'"{place}"')
    assert plan.resolve("own", ["mine"], str(checkpoint.parent))


def test_another_tokenizer_is_told_from_the_teacher_s(checkpoint):
    shutil.copytree(checkpoint, checkpoint.with_name("copy"))
    tokenizer(["x"]).save_pretrained(checkpoint.with_name("copy"))
    write_study(checkpoint, "TOKENIZER", "copy")
    with pytest.raises(InputError, match="reads checkpoint, its text copy .*15 tokens against 16"):
        plan.resolve("own", ["mine"])


@pytest.mark.parametrize(
    "old, where",
    [
        ("hub: checkpoint", "teachers.bert.hub"),
        ("tokenizer: TOKENIZER", "corpora.transfer.tokenizer"),
    ],
)
def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(checkpoint, old, where):
    write_study(checkpoint, old, f"{old.split(':')[0]}: params/no")
    with pytest.raises(InputError, match=f"{where}.*there is no folder .*/params/no; allowed"):
        plan.resolve("own", ["mine"], data_dir=str(checkpoint))


def test_a_corpus_of_longer_sequences_than_the_checkpoint_reads(checkpoint):
    write_study(checkpoint, "max_length: 32", "max_length: 48")
    with pytest.raises(InputError, match="reads 40 tokens; corpora.transfer.max_length = 48; "):
        plan.resolve("own", ["mine"])


@pytest.mark.parametrize("key", ["path", "folder", "model", "checkpoint"])
def test_an_unknown_key_of_a_teacher_is_named(checkpoint, key):
    write_study(checkpoint, "hub:", f"{key}:")
    with pytest.raises(InputError, match=f"teachers.bert: unknown key '{key}'; .* has hub"):
        plan.resolve("own", ["mine"])


def test_a_tokenizer_whose_lowercasing_contradicts_its_vocabulary():
    many = [f"{a}{b}{c}" for a in "abcdefghijk" for b in "abcdefghij" for c in "abcdefghij"]
    capitals = [word.capitalize() for word in many]
    assert "keeps capitals" in pretrained.casing_problem(tokenizer(many))
    assert "lowercases" in pretrained.casing_problem(tokenizer(many + capitals, lowercase=True))
    assert not pretrained.casing_problem(tokenizer(many + capitals[:5], lowercase=True))
    assert not pretrained.casing_problem(tokenizer(many + capitals[:1]))


def test_an_encoder_alone_teaches_by_relations_and_not_by_logits(checkpoint):
    """A sentence encoder, as one finds it, has no MLM head."""
    shutil.rmtree(checkpoint)
    small.of_kind("bert", vocab_size=20, pad_id=0).base_model.save_pretrained(checkpoint)
    tokenizer().save_pretrained(checkpoint)
    scenarios = checkpoint.parent / "params/mine/scenarios.yaml"
    for losses in ("weight_relations: 1", "weight_hidden: 1, weight_attention: 1"):
        scenarios.write_text(f"scenarios: {{a: {{teacher: bert, {losses}}}}}")
        assert plan.resolve("own", ["mine"], thorough=True)
    scenarios.write_text("scenarios: {a: {teacher: bert, weight_relations: 1, weight_soft: 1}}")
    message = "teachers.bert: .* lacks cls.* needs .*a masked-language-model head; without the head"
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("own", ["mine"], thorough=True)
    assert "\n" not in str(error.value)


def test_a_student_that_its_teacher_cannot_have_is_refused_in_one_line(checkpoint):
    scenarios = checkpoint.parent / "params/mine/scenarios.yaml"
    scenarios.write_text("scenarios: {a: {teacher: bert, weight_relations: 1, relation_heads: 3}}")
    with pytest.raises(InputError, match=r"own.yaml: scenarios.a: relation_heads = 3: allowed are"):
        plan.resolve("own", ["mine"])
    scenarios.write_text("scenarios: {a: {teacher: bert, weight_cosine: 1, hidden_size: 8}}")
    with pytest.raises(InputError, match="scenarios.a: weight_cosine = 1: .* allowed is 0"):
        plan.resolve("own", ["mine"])
