"""A study of a user's own: the two commands of the README give a whole section of the report, with
no Python, also after the user has changed what the first one wrote."""

import json
import re

import pandas as pd
import pytest
import yaml
from transformers import AutoModel, AutoTokenizer

from lib.common.places import ROOT
from lib.data.toy.corpora import corpus_lines
from tests.helpers import small
from tests.helpers.project import assert_whole, copy_project, make, needs_environment

pytestmark = needs_environment
SCENARIOS = {
    "name": "Mine",
    "title": "My encoder, smaller",
    "question": "What do training and soft targets buy?",
    "questions": [
        {"title": "What training buys", "better": "S2", "worse": "truncated"},
        {"title": "What imitation buys", "better": "S3", "worse": "S2"},
    ],
    "common": {"teacher": "teacher"},
    "scenarios": {
        "S2": {"init": "truncated", "weight_mlm": 1, "colour": "#0072b2", "label": "cut, MLM"},
        "S3": {"init": "truncated", "weight_soft": 5, "weight_mlm": 2, "weight_cosine": 1},
        "truncated": {"init": "truncated", "label": "control"},
    },
}
CLAIMS = {
    "training-helps": {
        "place": "my notebook",
        "claim": "Training helps on entails.",
        "gain": {"better": "S2", "worse": "truncated", "scores": "entails"},
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


def easy_tasks(folder) -> None:
    """A task of pairs and one of single texts, of 16 words, each with its label. A bag of words is
    always right, so that by no luck a teacher is above it; but every model learns more than to
    guess."""
    text = " ".join(corpus_lines("toy-en", "encyclopedia", 20, 0))
    words = 2 * list(dict.fromkeys(re.findall(r"[a-z]{3,}", text)))[:16]
    pairs = [{"first": "one", "second": word, "label": n % 2} for n, word in enumerate(words)]
    rows = [f"{word},{n % 2}" for n, word in enumerate(words)]
    tasks = {
        "entails/{}.jsonl": "\n".join(map(json.dumps, pairs)),
        "mood/{}.csv": "\n".join(["word,label", *rows]),
    }
    for name, content in tasks.items():
        for split in "train", "validation":
            path = folder / name.format(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


SMALL = {
    "repeats": 2,
    "distillation.steps": 4,
    "distillation.batch_size": 16,
    "distillation.micro_batch_size": 8,
    "finetune.train_examples": 32,
    "finetune.validation_examples": 24,
    "finetune.seeds": [1],
    "finetune.epochs": 8,
    "finetune.evaluate": "every_epoch",
    "finetune.per_task": {},
    "finetune.learning_rate": 3e-3,
}
"""What the user has instead of the sizes that were found."""


def commands() -> list[str]:
    """The commands of the README's section on one's own model."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("## Your own model")[1].split("```")[1]
    return block.strip().splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("own"))
    lines = corpus_lines("toy-en", "encyclopedia", 300, 0)
    small.save_bert(lines, folder / "my-bert", layers=2)
    easy_tasks(folder / "my-tasks")
    (folder / "my-text").mkdir()
    lines = "\n".join(corpus_lines("toy-en", "encyclopedia", 200, 0))
    (folder / "my-text/all.txt").write_text(lines, encoding="utf-8")
    given = {"model": "my-bert", "text": "my-text", "tasks": "my-tasks"}
    new, report = (
        [re.sub("/path/to/(.*)", lambda at: given[at[1]], word) for word in line.split()[1:]]
        for line in commands()
    )
    make(folder, *new, "HOURS=0.02", "CORES=2")
    for name, content in ("scenarios", SCENARIOS), ("claims", CLAIMS):
        text = yaml.safe_dump(content, sort_keys=False)
        (folder / f"params/mine/{name}.yaml").write_text(text)
    sizes = yaml.safe_load((folder / "params/mine/local.yaml").read_text())
    for key, value in SMALL.items():
        *sections, last = key.split(".")
        (sizes[sections[0]] if sections else sizes)[last] = value
    (folder / "params/mine/local.yaml").write_text(yaml.safe_dump(sizes, sort_keys=False))
    make(folder, *report)
    return folder


@pytest.fixture(scope="module")
def page(project) -> str:
    return (project / "outputs/local/report.html").read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """The HTML from a heading to the next one of its level or higher."""
    level, start = re.search(rf"<h(\d)[^>]*>{re.escape(heading)}", page).group(1, 0)
    rest = page[page.index(start) + len(start) :]
    return re.split(rf"<h[1-{level}][ >]", rest)[0]


def test_every_score_is_in_the_tables(project, page):
    results = pd.read_csv(project / "outputs/local/results.csv")
    assert set(results["scenario"]) == {"teacher", "S2", "S3", "truncated"}
    shown = section(page, "My encoder, smaller")
    final = results[results["protocol"] == "final"]
    for (scenario, _), rows in final.groupby(["scenario", "task"]):
        assert f"{rows.groupby('repeat')['value'].mean().mean():.1f} ± " in shown, scenario
    for title in ("mean of tasks", "entails", "mood", "cut, MLM", "% kept", "less the control"):
        assert title in shown
    assert "What imitation buys (S3 against S2)" in shown and "Not measured" not in shown


def test_every_section_is_filled(page):
    assert "<svg" in section(page, "What a smaller model keeps")
    details = section(page, "Mine: details")
    assert details.count("<svg") >= 2 and details.count("<table") >= 3
    assert "S3" in section(page, "Every student")
    assert "Distillation of HerBERT</h2>" not in page, "only what ran"
    assert re.search(r"<h1[^>]*>My encoder, smaller: a distillation report<", page)
    assert_whole(page)


def test_its_own_claims_are_judged(project, page):
    claims = pd.read_csv(project / "outputs/local/claims.csv").set_index("id")
    assert list(claims.index) == ["mine-training-helps", "mine-half-kept", "mine-fewer-layers"]
    assert claims.loc["mine-fewer-layers", "verdict"] == "holds"
    assert "half of its teacher" in section(page, "Claims at a glance")
    baseline = re.search(r"bag of words</t.>(.*?)</tr>", page, re.DOTALL).group(1)
    assert baseline.count("100.0") == 2
    # No teacher is above a bag of words that is always right, so nothing is said of its students.
    for name, score in (("training-helps", "entails"), ("half-kept", "mean of tasks")):
        claim = claims.loc[f"mine-{name}"]
        assert claim["n"] == 0 and f"above a bag of words on {score}" in claim["needs"]


def test_every_repeat_keeps_its_predictions(project):
    """Each is a student and a fine-tuning of its own; the untrained one is made once."""
    predictions = pd.read_parquet(project / "outputs/local/predictions.parquet")
    results = pd.read_csv(project / "outputs/local/results.csv")
    tasks = results[results["task"].isin(["entails", "mood"]) & (results["protocol"] == "final")]
    key = ["scenario", "repeat", "seed", "task"]
    means = predictions.groupby(key)["score"].mean()
    assert means.to_numpy() == pytest.approx(tasks.set_index(key)["value"][means.index].to_numpy())
    assert set(predictions["repeat"]) == {1, 2} and set(predictions["seed"]) == {1, 1001}
    folder = project / "outputs/local/mine"
    assert (folder / "S3/repeat_2/distillation/model").is_dir()
    assert not (folder / "truncated/repeat_2/distillation").exists()


def test_the_student_is_cut_from_the_folder(project):
    summary = json.loads(
        (project / "outputs/local/mine/truncated/distillation/result.json").read_text()
    )
    assert str(project / "my-bert") in str(summary["parameters"]["teacher"])


ENCODER = {
    "title": "A sentence encoder, smaller",
    "questions": [{"title": "What relations buy", "better": "relations", "worse": "truncated"}],
    "common": {"teacher": "teacher"},
    "scenarios": {
        "relations": {"weight_relations": 1, "label": "relations alone"},
        "truncated": {"label": "untrained"},
    },
}


def test_a_sentence_encoder_teaches_by_relations(project):
    """It has no MLM head, and the report is whole without what such a head would tell."""
    folder, encoder = project / "params/encoder", str(project / "my-encoder")
    for part in AutoModel, AutoTokenizer:
        part.from_pretrained(project / "my-bert").save_pretrained(encoder)
    folder.mkdir()
    sizes = yaml.safe_load((project / "params/mine/local.yaml").read_text()) | {"repeats": 1}
    sizes["corpora"]["transfer"]["tokenizer"] = encoder
    sizes["teachers"] = {"teacher": {"hub": encoder}}
    sizes["finetune"] |= {"tasks": ["mood"], "epochs": 1}
    (folder / "other.yaml").write_text(yaml.safe_dump(sizes))
    (folder / "scenarios.yaml").write_text(yaml.safe_dump(ENCODER, sort_keys=False))
    make(project, "report", "SCALE=other", "STUDIES=encoder")
    results = pd.read_csv(project / "outputs/other/results.csv")
    assert set(results["scenario"]) == {"teacher", "relations", "truncated"}
    page = (project / "outputs/other/report.html").read_text(encoding="utf-8")
    assert "relations alone" in section(page, ENCODER["title"])
    assert_whole(page)
