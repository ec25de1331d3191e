"""The hub by parameter: a mirror, a cache, nobody asked; and the line that says what is not
there."""

import os
import subprocess
import sys

import pytest
import yaml

from lib.common import hub, places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.places import ROOT
from lib.data import sources, tokenizer
from lib.data.sources import HubSource
from lib.plan import plan
from lib.tasks import examples
from lib.training import models

ADDRESS = "http" + "://mirror.example:8080/hub"


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(hub, "offline", lambda: True)


def test_a_section_becomes_the_librarys_variables(monkeypatch, tmp_path):
    for name in ("HF_ENDPOINT", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    section = hub.Hub(endpoint=ADDRESS, cache_dir=str(tmp_path / "kept"), offline=True)
    assert hub.environment([("a.yaml", section)]) == {
        "HF_ENDPOINT": ADDRESS,
        "HF_HUB_CACHE": f"{tmp_path}/kept/hub",
        "HF_DATASETS_CACHE": f"{tmp_path}/kept/datasets",
        "HF_HUB_OFFLINE": "1",
    }
    assert (
        hub.environment([("a.yaml", hub.Hub(cache_dir="kept"))])["HF_HUB_CACHE"]
        == f"{ROOT}/kept/hub"
    )
    assert hub.environment([("a.yaml", hub.Hub())]) == {}
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "a person's")
    assert set(hub.environment([("a.yaml", section)])) == {"HF_HUB_CACHE", "HF_DATASETS_CACHE"}


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"endpoint": "mirror.example"},
            "paper.yaml: hub.endpoint = 'mirror.example': string should match pattern '^https?:",
        ),
        ({"endpoint": 7}, "hub.endpoint = 7: input should be a valid string"),
        ({"offline": "perhaps"}, "hub.offline = 'perhaps': input should be a valid boolean"),
        ({"cache_dir": ""}, "hub.cache_dir = '': string should have at least 1"),
        ({"cache_dir": "params/hub.yaml"}, "hub.cache_dir = 'params/hub.yaml': give a folder"),
        (
            {"mirror": "x"},
            "paper.yaml: unknown key 'hub.mirror'; allowed are endpoint, cache_dir, offline",
        ),
    ],
)
def test_a_wrong_section_is_one_line(own_params, given, message):
    path = own_params / "herbert/paper.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"hub": given}))
    with pytest.raises(InputError) as error:
        plan.hub_variables("paper", ["herbert"])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_studies_of_one_run_share_a_hub(own_params, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for study, port in (("herbert", 1), ("transfer_set", 2)):
        path = own_params / study / "paper.yaml"
        path.write_text(
            yaml.safe_dump(
                yaml.safe_load(path.read_text()) | {"hub": {"endpoint": f"{ADDRESS}{port}"}}
            )
        )
    assert plan.hub_variables("paper", ["herbert", "cascade"]) == {"HF_ENDPOINT": f"{ADDRESS}1"}
    assert plan.hub_variables("paper", ["ablation"]) == {
        "HF_ENDPOINT": f"{ADDRESS}2"
    }  # which uses transfer_set's
    with pytest.raises(
        InputError,
        match="paper.yaml: hub.endpoint = .*, but params/herbert/paper.yaml has .*share one",
    ):
        plan.hub_variables("paper", ["herbert", "transfer_set"])


def test_what_is_not_in_the_cache_is_named_with_its_revision_and_what_to_do(monkeypatch, tmp_path):
    """Nothing is asked: conftest.py has set HF_HUB_OFFLINE before the library was imported."""
    missing = ModelRef("no-such/model", "abc")
    for load in (
        models.load,
        models.load_trunk,
        tokenizer.load_tokenizer,
        ModelRef.config,
    ):
        with pytest.raises(InputError) as error:
            load(missing)
        text = str(error.value)
        assert (
            "no-such/model" in text
            and "revision abc cannot be loaded" in text
            and "HF_HUB_OFFLINE" in text
        )
        assert "download it" in text and "\n" not in text
    with pytest.raises(
        InputError,
        match="data set 'no-such/set' .pl. at revision main cannot be loaded: the hub is offline",
    ):
        hub.rows("no-such/set", "pl", split="train", revision=None)
    with pytest.raises(
        InputError,
        match="task cola: data set 'nyu-mll/glue' .cola. at revision 0123 cannot be loaded: the "
        "hub is offline",
    ):
        examples.load("cola", "train", examples.TaskSource("hub", revisions={"cola": "0123"}))


def test_a_stream_cannot_be_read_offline(offline):
    with pytest.raises(
        InputError,
        match="'a/b' at revision main: streaming reads over the network.*streaming: false",
    ):
        sources.check_source(HubSource(dataset="a/b", streaming=True))


def test_offline_another_commit_than_the_pinned_one_is_refused(offline, monkeypatch, tmp_path):
    import datasets

    kept = tmp_path / ("a" * 40) / "glue-train.arrow"
    found = type("Rows", (list,), {"cache_files": [{"filename": str(kept)}]})([{"text": "a"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **options: found)
    assert hub.rows("nyu-mll/glue", "cola", split="train", revision="a" * 40) is found
    assert hub.rows("nyu-mll/glue", "cola", split="train", revision="refs/convert/parquet") is found
    with pytest.raises(InputError, match=f"the cache holds revision {'a' * 40}, not {'b' * 40}"):
        hub.rows("nyu-mll/glue", "cola", split="train", revision="b" * 40)


def test_on_the_hubs_own_conversion_a_configuration_is_a_folder(monkeypatch):
    import datasets

    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *names, **options: asked.append((names, options)) or []
    )
    hub.rows("statmt/cc100", "pl", split="train", revision=hub.PARQUET)
    hub.rows("statmt/cc100", "pl", split="train", revision="main")
    assert asked[0] == (
        ("statmt/cc100", None),
        {"split": "train", "revision": hub.PARQUET, "data_dir": "pl"},
    )
    assert asked[1] == (("statmt/cc100", "pl"), {"split": "train", "revision": "main"})


def test_a_teacher_with_other_layers_is_refused_by_the_plan(own_params):
    """Before its corpus is prepared."""
    entry = {"hub": "google-bert/bert-base-multilingual-cased", "layers": 10}
    message = "teachers.teacher: layers = 10: 'google-bert/bert-base-multilingual-cased' has 12"
    path = own_params / "cascade/paper.yaml"
    found = yaml.safe_load(path.read_text())
    found["teachers"]["teacher"] = entry
    found["corpora"]["corpus"]["tokenizer"] = entry["hub"]
    path.write_text(yaml.safe_dump(found))
    with pytest.raises(InputError, match=f"params/cascade/paper.yaml: {message}"):
        plan.resolve("paper", ["cascade"])


def test_of_a_model_that_is_not_known_the_config_says_what_it_is(own_params, tmp_path):
    path = own_params / "cascade/paper.yaml"
    found = yaml.safe_load(path.read_text())
    (tmp_path / "albert").mkdir()
    (tmp_path / "albert/config.json").write_text(
        '{"model_type": "albert", "num_hidden_layers": 12}'
    )
    found["teachers"]["teacher"] = {"hub": str(tmp_path / "albert"), "layers": 12}
    found["corpora"]["corpus"]["tokenizer"] = str(tmp_path / "albert")
    path.write_text(yaml.safe_dump(found))
    with pytest.raises(InputError, match="is of the kind 'albert': its layers share one set"):
        plan.resolve("paper", ["cascade"])


NO_SOCKETS = """
import socket, sys
def refuse(*_): raise RuntimeError("the network was touched")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from lib.plan import plan
code = plan.main(sys.argv[1:])
heavy = [name for name in ("torch", "transformers", "datasets", "huggingface_hub") if name in sys.modules]
assert not heavy, heavy
sys.exit(code)
"""


def test_the_plan_of_all_studies_needs_no_network_and_no_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, "--scale", "paper"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    for study in ("herbert", "transfer_set", "ablation", "cascade"):
        assert f"\n{study}" in done.stdout


@pytest.mark.parametrize(
    "name, message",
    [
        ("owner/misspelt", "there is no folder {root}/owner/misspelt; allowed: "),
        ("./there", "there is no folder {root}/there; "),
        ("/no/such", "there is no folder /no/such; "),
        ("~/no such", "there is no folder {home}/no such; "),
        ("~nobody at all/x", "~nobody at all/x: there is no user of that name"),
        ("owner/kept/config.json", "owner/kept/config.json is a file; allowed: the folder"),
        ("s3://bucket/model", "s3://bucket/model is in a store; allowed: "),
    ],
)
def test_a_folder_that_is_not_there_is_said_and_not_asked_of_the_hub(
    tmp_path, monkeypatch, name, message
):
    monkeypatch.setattr(places, "ROOT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "owner/kept").mkdir(parents=True)
    (tmp_path / "owner/kept/config.json").touch()
    for there in ("owner/kept", "./owner//kept/", "owner/../owner/kept", "an/id", "id"):
        ModelRef(there).require_place()
    with pytest.raises(InputError) as error:
        ModelRef(name).require_place()
    assert str(error.value).startswith(message.format(root=tmp_path, home=tmp_path / "home"))


def test_a_model_is_a_folder_or_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "ROOT", tmp_path)
    (tmp_path / "owner/kept").mkdir(parents=True)
    (tmp_path / "owner/kept/config.json").write_text('{"model_type": "bert"}')
    folder, id_ = ModelRef("owner/kept"), ModelRef("another/other", "abc")
    assert folder.exists and not folder.on_hub and folder.label == "kept"
    assert ModelRef("outputs/tiny/herbert/S3/distillation/model").label == "S3"
    assert folder.path == str(tmp_path / "owner/kept") and folder.config() == {"model_type": "bert"}
    assert id_.exists and id_.on_hub and id_.path == id_.label == "another/other"
    assert ModelRef("bert-base-uncased").on_hub
    for missing in ("outputs/tiny/model", "/no/such", "../other", "./other", ""):
        assert not ModelRef(missing).on_hub
        with pytest.raises(InputError, match="no model there"):
            ModelRef(missing).require()
