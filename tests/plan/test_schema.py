"""lib.plan.schema: what a study's files may hold, and the one line that refuses everything else."""

import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import plan, schema
from lib.plan.study import Study, studies_with


@pytest.mark.parametrize("study", studies_with("paper"))
def test_every_study_is_described(study):
    read = schema.read_scenarios(study)
    assert read.name and read.title and read.source and read.question.endswith("?")
    known = {**read.models, **read.scenarios}
    assert read.teacher in read.models and read.control in (None, "truncated")
    assert all(known[name].label for name in known)
    for question in read.questions:
        assert {question.better, question.worse} <= set(known)


def test_defaults_of_a_file_that_says_nothing(own_params):
    (own_params / "mine").mkdir()
    (own_params / "mine/scenarios.yaml").write_text("scenarios: {a: , truncated: {init: random}}")
    read = schema.read_scenarios("mine")
    assert (read.name, read.teacher, read.control, read.questions) == (
        "mine",
        "teacher",
        "truncated",
        [],
    )
    assert read.scenarios["a"].parameters == {} and read.common.parameters == {}


def test_the_description_of_a_hop_is_its_chain_s():
    cascade = schema.read_scenarios("cascade")
    assert cascade.description("direct-6").label == "one hop"
    assert cascade.description("teacher").label == "teacher"
    assert cascade.description("mine").label == ""


def test_descriptions_change_no_stage(own_params):
    before = plan.resolve("tiny", [])
    for study in studies_with("paper"):
        path = own_params / study / "scenarios.yaml"
        content = yaml.safe_load(path.read_text())
        content |= {"name": "x", "question": "?", "columns": ["y"], "models": {"z": None}}
        for entry in content["scenarios"].values():
            entry |= {"label": "other", "colour": "#000000"}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert plan.resolve("tiny", []) == before


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"titel": "x"},
            "unknown key 'titel'; allowed are name, title, source, question, words, teacher",
        ),
        ({"models": {"T1": {"color": "red"}}}, "unknown key 'models.T1.color'; allowed are label"),
        ({"models": {"T1": {"colour": "red"}}}, "models.T1.colour = 'red': string should match"),
        ({"questions": [{"title": "x", "better": "S1"}]}, "questions.0.worse is missing"),
        ({"models": {"a b": {}}}, "models: the name 'a b' has to begin"),
        ({"common": ["S1"]}, r"common = \['S1'\]: must hold keys and values"),
        ({"source": 0}, "source = 0: input should be a valid string"),
    ],
)
def test_a_wrong_description_is_one_line(own_params, change, message):
    path = own_params / "herbert/scenarios.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(InputError, match=f"params/herbert/scenarios.yaml: {message}") as error:
        schema.read_scenarios("herbert")
    assert "\n" not in str(error.value)


def test_a_scale_that_is_like_another_says_what_differs(own_params):
    path = own_params / "herbert/mine.yaml"
    path.write_text(
        "like: smoke\nrepeats: 2\ndistillation: {steps: 2}\nteachers: {T1: {layers: 4}}"
    )
    mine, smoke = schema.read_scale("herbert", "mine"), schema.read_scale("herbert", "smoke")
    assert (mine.repeats, smoke.repeats) == (2, None)
    assert mine.distillation.model_extra == smoke.distillation.model_extra | {"steps": 2}
    assert mine.teachers["T1"].layers == 4
    assert mine.teachers["T1"].model_extra == smoke.teachers["T1"].model_extra
    assert mine.corpora == smoke.corpora
    assert Study("herbert", "mine").resolve()[0].folder.startswith("outputs/mine/")


@pytest.mark.parametrize(
    "content, message",
    [
        ("like: huge", "mine.yaml: like = 'huge'; allowed is another scale of the study: gpuday, "),
        ("like: mine", "mine.yaml: like = 'mine'; allowed is another scale"),
        ("like: other", "other.yaml: like = 'mine'; allowed is another scale"),
        ("like: [smoke]", "mine.yaml: like = ."),
    ],
)
def test_a_scale_is_like_one_that_is_there(own_params, content, message):
    (own_params / "herbert/mine.yaml").write_text(content)
    (own_params / "herbert/other.yaml").write_text("like: mine")
    with pytest.raises(InputError, match=message):
        schema.read_scale("herbert", "mine")


@pytest.mark.parametrize("study", ["herbert", "transfer_set", "cascade"])
@pytest.mark.parametrize("scale", ["mini", "gpuday"])
def test_a_folder_stands_in_for_the_text_of_the_hub(study, scale, tmp_path):
    kinds = {}
    for data_dir in ("", str(tmp_path), None):
        read = schema.read_scale(study, scale, data_dir)
        sources = [source for c in read.corpora.values() for source in c.get("sources", [])]
        kinds[data_dir] = {source["kind"] for source in sources}
    assert kinds[""] == kinds[None] == {"hub"}
    assert kinds[str(tmp_path)] == {"files"}
