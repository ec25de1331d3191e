"""What the scale `paper` reads from the hub, in small: stand-ins load as the real things do, and a
stage of each kind runs on them. The whole plan runs on them in tests/paper."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data import prepare, sources, tokenizer
from lib.data.prepared import open_corpus
from lib.plan import plan
from lib.plan.stages import validate
from lib.tasks import examples, finetune, registry
from lib.training import hops, models, pretraining, side_by_side
from tests.helpers import standins
from tests.helpers.mirror import Mirror

PINNED = {
    "google/bert_uncased_L-12_H-256_A-4": "refs/pr/1",
    "allegro/herbert-base-cased": "refs/pr/2",
    "statmt/cc100": "refs/convert/parquet",
    "bookcorpus/bookcorpus": "refs/convert/parquet",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The folder of the stand-ins."""
    folder = tmp_path_factory.mktemp("hub")
    standins.build(folder, ["en", "is", "zh"])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 20e6
    return folder


@pytest.fixture(scope="module")
def steps(hub):
    """The paper's plan, with folders in place of ids."""
    return {step.path.name: in_folders(step.parameters, hub) for step in plan.resolve("paper", [])}


def in_folders(value, hub):
    """Parameters with the stand-in's folder in place of every id of the hub."""
    if isinstance(value, dict):
        return {key: in_folders(inner, hub) for key, inner in value.items()}
    if isinstance(value, list):
        return [in_folders(inner, hub) for inner in value]
    for kind in ("models", "datasets"):
        if isinstance(value, str) and value.count("/") == 1 and (hub / kind / value).is_dir():
            return str(hub / kind / value / PINNED.get(value, "pinned"))
    return value


def of(steps, name, /, **changes):
    """The checked parameters of a stage, with some in their place."""
    return validate(steps_kind(name), steps[name] | changes)


def steps_kind(name):
    return name.split("/")[-1]


# ------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    "name, ids, segments",
    [
        ("allegro/herbert-base-cased", {"pad": 1, "unk": 3, "cls": 0, "sep": 2, "mask": 4}, False),
        (
            "google-bert/bert-base-uncased",
            {"pad": 0, "unk": 100, "cls": 101, "sep": 102, "mask": 103},
            True,
        ),
        (
            "google-bert/bert-base-multilingual-cased",
            {"pad": 0, "unk": 100, "cls": 101, "sep": 102, "mask": 103},
            True,
        ),
    ],
)
def test_teachers_load_with_their_heads_tied_and_nothing_left_out(hub, name, ids, segments):
    from safetensors.torch import load_file

    folder = hub / "models" / name / PINNED.get(name, "pinned")
    words, model = tokenizer.load_tokenizer(str(folder)), models.load(str(folder))
    assert tokenizer.special_ids(words) == ids and words.model_max_length == 512
    pair = words("ala ma kota", "i psa")
    assert (
        pair["input_ids"][0] == ids["cls"]
        and pair["input_ids"].count(ids["sep"]) == 2
        and ("token_type_ids" in pair) == segments
    )
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    stored = load_file(folder / "model.safetensors")
    for name, tensor in model.state_dict().items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        found = stored.get(
            name,
            stored.get(
                old,
                stored.get(
                    {
                        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
                        "cls.predictions.decoder.bias": "cls.predictions.bias",
                    }.get(name, "")
                ),
            ),
        )
        assert found is not None and torch.equal(found, tensor), name
    unused = {name.split(".")[0] + "." + name.split(".")[1] for name in stored} - {
        "bert.embeddings",
        "bert.encoder",
        "cls.predictions",
    }
    assert unused == {
        "bert.pooler",
        "cls.sso" if "herbert" in str(folder) else "cls.seq_relationship",
    }


def test_cases_and_accents(hub):
    uncased = tokenizer.load_tokenizer(str(hub / "models/google-bert/bert-base-uncased/pinned"))
    assert uncased.tokenize("STANOOT é") == uncased.tokenize("stanoot e")
    herbert = tokenizer.load_tokenizer(str(hub / "models/allegro/herbert-base-cased/refs/pr/2"))
    assert "".join(herbert.tokenize("małe Małe")).endswith("</w>") and herbert.tokenize(
        "małe"
    ) != herbert.tokenize("Małe")


def test_a_revision_without_safetensors_is_one_line(hub):
    with pytest.raises(InputError, match="main' has no model.safetensors: its pytorch_model.bin"):
        models.load(str(hub / "models/allegro/herbert-base-cased/main"))


def test_distilbert_is_a_trunk_and_a_teacher(hub):
    folder = str(hub / "models/distilbert/distilbert-base-uncased/pinned")
    assert models.load_trunk(folder).config.num_hidden_layers == 6
    assert models.has_head(models.load(folder))


# ---------------------------------------------------------------------------------------- data sets


def test_text(hub, steps):
    (polish,) = of(steps, "herbert/corpus_transfer/data_prep").sources
    lines = list(sources.read_passages(polish, seed=0))
    assert (
        len(lines) == 700
        and lines.count("") == 100
        and not any(line.endswith("\n") for line in lines)
    )
    books, encyclopedia = of(steps, "transfer_set/corpus_corpus/data_prep").sources
    assert all(line == line.lower() for line in sources.read_passages(books, seed=0))
    passages = list(sources.read_passages(encyclopedia, seed=0))
    assert passages and not any(
        line in ("History", "") or line.startswith("*") for line in passages
    )
    with pytest.raises(InputError, match="pt"):
        list(sources.read_passages(polish.model_copy(update={"config": "pt"}), seed=0))


@pytest.mark.parametrize("name", registry.TASKS)
def test_every_task_reads_all_its_splits(hub, monkeypatch, name):
    owner = registry.TASKS[name].trains_on or name
    for task in {name, owner}:
        known = registry.TASKS[task]
        monkeypatch.setitem(
            registry.TASKS, task, replace(known, hub=str(hub / "datasets" / known.hub / "pinned"))
        )
    source = examples.TaskSource("hub", revisions={name: "a" * 40})
    training = examples.load(name, "train", source)
    assert len(training.labels) > 10
    for language in examples.evaluation_languages(
        name, source, ["en", "zh"] if registry.TASKS[name].languages else []
    ):
        for split in examples.validation_splits(name, source):
            found = examples.load(name, split, replace(source, language=language))
            assert len(found.labels) >= 8 and all(texts for texts in found.texts)
    if registry.TASKS[name].suite == "glue":
        with pytest.raises(InputError, match="label -1 marks a record without a label"):
            examples.load(name, "test_matched" if name == "mnli" else "test", source)


# ----------------------------------------------------------------------------- a stage of each kind


SMALLER = {"steps": 1, "precision": "no", "batch_size": 8, "micro_batch_size": 4}


@pytest.fixture(scope="module")
def polish(steps, tmp_path_factory):
    """CCsub, in small."""
    folder = tmp_path_factory.mktemp("corpus_transfer")
    p = of(
        steps,
        "herbert/corpus_transfer/data_prep",
        subset_size=20_000,
        held_out_lines=10,
        processes=1,
    )
    statistics = prepare.prepare(p, folder, say=lambda line: None)
    assert statistics["dropped"]["blank"] and statistics["bytes"] <= 20_000
    return folder


def test_teacher_and_student(steps, polish, tmp_path):
    text = open_corpus(polish)
    p = of(steps, "herbert/T2/teacher_continuation", corpus=str(polish), **SMALLER)
    teacher, history = pretraining.train_teacher(
        p, pretraining.starting_teacher(p, text), text, tmp_path
    )
    assert history[-1]["loss"] > 0 and teacher.config.num_hidden_layers == 12
    p = of(steps, "herbert/S3/distillation", corpus=str(polish), **SMALLER)
    teacher = pretraining.load_teacher(p, text)
    student = pretraining.starting_student(p, teacher)
    objective = pretraining.objective(p, student, teacher)
    history, _ = side_by_side.train_student(p, objective, text, tmp_path)
    assert {"soft", "mlm", "cosine"} <= set(history[-1]) and student.config.num_hidden_layers == 6


def test_a_hop_of_the_multilingual_teacher(steps, tmp_path):
    p = of(
        steps,
        "cascade/corpus_corpus/data_prep",
        sampled_lines=120,
        sections=2,
        held_out_lines=10,
        processes=1,
    )
    p = p.model_copy(
        update={
            "sources": [source for source in p.sources if source.language in ("en", "is", "zh")]
        }
    )
    statistics = prepare.prepare(p, tmp_path / "corpus", say=lambda line: None)
    share = {row["language"]: row["target"] for row in statistics["languages"]}
    assert (
        share["en"] == pytest.approx(100 * share["is"])
        and statistics["sampling"]["target"] == "en = 100 is"
    )
    text = open_corpus(tmp_path / "corpus", section=1)
    p = of(steps, "cascade/cascade-11/cascade_ta", corpus=str(tmp_path / "corpus"), **SMALLER)
    teacher = pretraining.load_teacher(p, text)
    assistant = hops.starting_assistant(p, teacher)
    history = hops.hop(p, hops.objective(p, assistant, teacher), text, tmp_path / "checkpoints")
    assert {"hidden_11", "attention_11"} <= set(
        history[-1]
    ) and not assistant.bert.embeddings.word_embeddings.weight.requires_grad


@pytest.mark.parametrize(
    "name, task",
    [("herbert/T1/finetune", "nkjp-ner"), ("transfer_set/DistilBERT/finetune", "squad")],
)
def test_fine_tuning_of_what_the_hub_has(hub, steps, tmp_path, monkeypatch, name, task):
    known = registry.TASKS[task]
    monkeypatch.setitem(
        registry.TASKS, task, replace(known, hub=str(hub / "datasets" / known.hub / "pinned"))
    )
    windows = (
        {"doc_stride": 32} if task == "squad" else {}
    )  # per_task has the longer max_length that 128 asks for
    p = of(steps, name, tasks=[task], seeds=[1], epochs=1, precision="no", per_task={}, **windows)
    rows, _ = finetune.finetune_tasks(p, tmp_path)
    assert {row["task"] for row in rows} == {task} and all(0 <= row["value"] <= 100 for row in rows)


# ----------------------------------------------------------------------- a mirror, a cache, offline


OFFLINE = """
from lib.common.hub import ModelRef
from lib.data import tokenizer
from lib.tasks import examples
from lib.training import models
pinned = ModelRef("allegro/herbert-base-cased", "refs/pr/2")
words = tokenizer.load_tokenizer(pinned)
model = models.load(pinned)
found = examples.load("polemo2-out", "validation", examples.TaskSource("hub", revisions={}))
print(len(words), model.config.num_hidden_layers, len(found.labels))
"""


def test_what_the_plan_downloads_from_a_mirror_is_there_offline(hub, tmp_path):
    """By the ids and revisions of the scale file; the section `hub` says where and into which
    folder."""
    for name in ("lib", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = tmp_path / "params"
    path.mkdir()
    for name in os.listdir(ROOT / "params"):
        if name != "herbert":
            (path / name).symlink_to(ROOT / "params" / name)
    (path / "herbert").mkdir()
    (path / "herbert/scenarios.yaml").symlink_to(ROOT / "params/herbert/scenarios.yaml")
    found = yaml.safe_load((ROOT / "params/herbert/paper.yaml").read_text(encoding="utf-8"))
    cache = tmp_path / "cache"
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
        "PYTHONPATH": str(ROOT)
    }
    command = (
        "import sys; from lib.common import places; from lib.plan import plan; from pathlib "
        "import Path; "
    )
    command += "places.ROOT = Path(sys.argv[1]); sys.exit(plan.main(sys.argv[2:]))"
    arguments = [
        sys.executable,
        "-c",
        command,
        str(tmp_path),
        "--scale",
        "paper",
        "--studies",
        "herbert",
        "--download",
    ]
    with Mirror(hub) as mirror:
        found["hub"] = {"endpoint": mirror.endpoint, "cache_dir": str(cache)}
        (path / "herbert/paper.yaml").write_text(
            yaml.safe_dump(found, allow_unicode=True), encoding="utf-8"
        )
        done = subprocess.run(arguments, capture_output=True, text=True, env=own, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (
        "allegro/herbert-base-cased  refs/pr/2  is in the cache" in done.stdout
        and "statmt/cc100" in done.stdout
    )
    asked = "\n".join(mirror.requests)
    assert "pytorch_model.bin" not in asked  # other formats of the weights stay where they are
    own |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": f"{cache}/hub",
        "HF_DATASETS_CACHE": f"{cache}/datasets",
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=own, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["12", "12"]
