"""A study of a user's own: a folder in params/ and no Python gets a whole section of the report."""

import json
import re

import pandas as pd
import pytest
import yaml

from lib.common.places import ROOT
from lib.data.tokenizer import train_tokenizer
from lib.data.toy.corpora import corpus_lines
from tests.helpers.project import copy_project, make

pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv/ready").exists(), reason="needs the environment that make sets up"
)
SCENARIOS = {
    "name": "Mine",
    "title": "My encoder, smaller",
    "question": "What do my teacher's weights and its soft targets buy?",
    "questions": [
        {"title": "What the teacher's weights buy", "better": "S2", "worse": "S1"},
        {"title": "What imitation buys", "better": "S3", "worse": "S2"},
    ],
    "common": {"teacher": "teacher"},
    "scenarios": {
        "S1": {"init": "random", "weight_mlm": 1, "label": "random, MLM"},
        "S2": {"init": "truncated", "weight_mlm": 1, "colour": "#0072b2"},
        "S3": {"init": "truncated", "weight_soft": 5, "weight_mlm": 2, "weight_cosine": 1},
        "truncated": {"init": "truncated", "label": "control"},
    },
}
CLAIMS = {
    "weights-help": {
        "place": "my notebook",
        "claim": "The teacher's weights help on RTE.",
        "gain": {"better": "S2", "worse": "S1", "scores": "rte"},
    },
    "half-kept": {
        "place": "my notebook",
        "claim": "S3 keeps half of its teacher's mean score.",
        "share": {"scenarios": "S3"},
        "expected": {"above": 50},
    },
    "fewer-layers": {
        "place": "my notebook",
        "claim": "S3 has half of its teacher's layers.",
        "value": {"scenario": "S3", "column": "layers", "per": "teacher"},
        "expected": {"about": 0.5, "within": 0.1},
        "unit": "times",
    },
}


def small_bert(folder) -> None:
    """A random BERT with its tokenizer, as plain transformers saves them."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    tokenizer = train_tokenizer(corpus_lines("toy-en", "encyclopedia", 300, 0), "wordpiece", 600)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def easy_tasks(folder) -> None:
    """RTE and SST-2 of 16 words, each with its label, as files. A bag of words is always right, so
    that by no luck a teacher is above it; but every model learns more than to guess."""
    text = " ".join(corpus_lines("toy-en", "encyclopedia", 20, 0))
    words = 2 * list(dict.fromkeys(re.findall(r"[a-z]{3,}", text)))[:16]
    labelled = [(word, number % 2) for number, word in enumerate(words)]
    tasks = {
        "rte": [{"sentence1": "a", "sentence2": word, "label": label} for word, label in labelled],
        "sst2": [{"sentence": word, "label": label} for word, label in labelled],
    }
    for name, records in tasks.items():
        (folder / "glue" / name).mkdir(parents=True)
        for split in ("train", "validation"):
            lines = "\n".join(map(json.dumps, records))
            (folder / f"glue/{name}/{split}.jsonl").write_text(lines, encoding="utf-8")


def scale(teacher, tasks) -> dict:
    toy = {"kind": "toy", "language": "toy-en", "corpus": "encyclopedia", "lines": 200}
    training = {"batch_size": 16, "learning_rate": 1e-3, "threads": 1}
    return {
        "repeats": 2,
        "corpora": {
            "transfer": {
                "sources": [toy],
                "tokenizer": str(teacher),
                "max_length": 48,
                "held_out_lines": 50,
            }
        },
        "teachers": {"teacher": {"hub": str(teacher)}},
        "distillation": training | {"student_layers": [0], "steps": 4, "micro_batch_size": 8},
        "finetune": training
        | {
            "tasks": ["rte", "sst2"],
            "task_source": "files",
            "task_folder": str(tasks),
            "train_examples": 32,
            "validation_examples": 24,
            "seeds": [1],
            "epochs": 8,
            "learning_rate": 3e-3,
            "max_length": 48,
        },
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("own"))
    small_bert(folder / "my-bert")
    easy_tasks(folder / "my-tasks")
    (folder / "params/mine").mkdir()
    sizes = scale(folder / "my-bert", folder / "my-tasks")
    contents = {"scenarios": SCENARIOS, "claims": CLAIMS, "smoke": sizes}
    for name, content in contents.items():
        (folder / f"params/mine/{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    make(folder, "report", "SCALE=smoke", "STUDIES=mine")
    return folder


@pytest.fixture(scope="module")
def page(project) -> str:
    return (project / "outputs/smoke/report.html").read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """The HTML from a heading to the next one of its level or higher."""
    level, start = re.search(rf"<h(\d)[^>]*>{re.escape(heading)}", page).group(1, 0)
    rest = page[page.index(start) + len(start) :]
    return re.split(rf"<h[1-{level}][ >]", rest)[0]


def test_every_score_is_in_the_tables(project, page):
    results = pd.read_csv(project / "outputs/smoke/results.csv")
    assert set(results["scenario"]) == {"teacher", "S1", "S2", "S3", "truncated"}
    shown = section(page, "My encoder, smaller")
    final = results[results["protocol"] == "final"]
    for (scenario, _), rows in final.groupby(["scenario", "task"]):
        assert f"{rows.groupby('repeat')['value'].mean().mean():.1f} ± " in shown, scenario
    for title in ("mean of tasks", "RTE", "SST-2", "random, MLM", "% kept", "less the control"):
        assert title in shown
    assert "What imitation buys (S3 against S2)" in shown and "Not measured" not in shown


def test_every_section_is_filled(page):
    assert "<svg" in section(page, "What a smaller model keeps")
    details = section(page, "Mine: details")
    assert details.count("<svg") >= 2 and details.count("<table") >= 3
    assert "S3" in section(page, "Every student")
    assert "Distillation of HerBERT</h2>" not in page, "only what ran"
    empty = [part[:80] for part in re.split(r"<table", page)[1:] if "<td" not in part]
    assert empty == [] and not re.search(r">nan\b|[\[ (]nan[\], )]|Traceback", page)


def test_its_own_claims_are_judged(project, page):
    claims = pd.read_csv(project / "outputs/smoke/claims.csv").set_index("id")
    assert list(claims.index) == ["mine-weights-help", "mine-half-kept", "mine-fewer-layers"]
    assert claims.loc["mine-fewer-layers", "verdict"] == "holds"
    assert "half of its teacher" in section(page, "Claims at a glance")
    baseline = re.search(r"bag of words</t.>(.*?)</tr>", page, re.DOTALL).group(1)
    assert baseline.count("100.0") == 2
    # No teacher is above a bag of words that is always right, so nothing is said of its students.
    for name, score in (("weights-help", "RTE"), ("half-kept", "mean of tasks")):
        claim = claims.loc[f"mine-{name}"]
        assert claim["n"] == 0 and f"above a bag of words on {score}" in claim["needs"]


def test_every_repeat_keeps_its_predictions(project):
    """Each is a student and a fine-tuning of its own; the untrained one is made once."""
    predictions = pd.read_parquet(project / "outputs/smoke/predictions.parquet")
    results = pd.read_csv(project / "outputs/smoke/results.csv")
    tasks = results[results["task"].isin(["rte", "sst2"]) & (results["protocol"] == "final")]
    key = ["scenario", "repeat", "seed", "task"]
    means = predictions.groupby(key)["score"].mean()
    assert means.to_numpy() == pytest.approx(tasks.set_index(key)["value"][means.index].to_numpy())
    assert set(predictions["repeat"]) == {1, 2} and set(predictions["seed"]) == {1, 1001}
    folder = project / "outputs/smoke/mine"
    assert (folder / "S3/repeat_2/distillation/model").is_dir()
    assert not (folder / "truncated/repeat_2/distillation").exists()


def test_the_student_is_cut_from_the_folder(project):
    summary = json.loads(
        (project / "outputs/smoke/mine/truncated/distillation/result.json").read_text()
    )
    assert str(project / "my-bert") in str(summary["parameters"]["teacher"])
