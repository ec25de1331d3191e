"""The toy teachers that come with the project: they are what their cards and recipes say."""

import hashlib
import re

import pytest

from lib.common import places
from lib.data import prepare
from lib.data.parameters import DataPrep
from lib.data.prepared import open_corpus
from lib.plan.stages import validate
from lib.runner import teachers
from lib.training import models, probes

FOLDERS = [recipe.parent for recipe in teachers.recipes()]
NAMES = [str(folder.relative_to(places.ROOT / "params")) for folder in FOLDERS]


def card(folder, row):
    text = (folder / "README.md").read_text(encoding="utf-8")
    (value,) = re.findall(rf"^\| {re.escape(row)} \| `?([^ `]+)", text, re.MULTILINE)
    return value


def test_teachers_are_small():
    weights = [folder / "model.safetensors" for folder in FOLDERS]
    assert len(weights) == 3 and sum(path.stat().st_size for path in weights) < 12e6


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_weights_are_those_of_the_card_and_have_the_shape_of_the_recipe(folder):
    weights = (folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card(folder, "sha256 of model.safetensors")
    _, stage = teachers.stages(folder / "recipe.yaml")
    config = models.load(folder).config
    assert config.num_hidden_layers == stage.parameters["layers"]
    assert config.hidden_size == stage.parameters["hidden"]


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_a_teacher_knows_what_its_card_says(folder, tmp_path):
    """On other text of the same kind, as the recipe's own takes half a minute to prepare."""
    corpus, stage = teachers.stages(folder / "recipe.yaml")
    values = {**corpus.parameters, "tokenizer": str(folder), "output_dir": str(tmp_path)}
    values |= {"held_out_lines": 300, "seed": 7}
    for source in values["sources"]:
        source["lines"] = 500
    if values["sampled_lines"]:
        values["sampled_lines"] = 1000
    prepare.prepare(DataPrep(**values), tmp_path, lambda *_: None)
    p = validate(stage.kind, stage.parameters)
    knows = probes.probe(models.load(folder), p, open_corpus(tmp_path, "held_out"))
    assert abs(knows["mlm_loss"] - float(card(folder, "MLM loss on held-out text, nats"))) < 0.3
