"""lib.plan.files: what a study's files may hold, and the one line that refuses everything else."""

import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import files, plan
from lib.plan.study import studies_with


@pytest.mark.parametrize("study", studies_with("paper"))
def test_every_study_is_described(study):
    read = files.read_scenarios(study)
    assert read.name and read.title and read.source and read.question.endswith("?")
    known = {**read.models, **read.scenarios}
    assert read.teacher in read.models and read.control in (None, "truncated")
    assert all(known[name].label for name in known)
    for question in read.questions:
        assert {question.better, question.worse} <= set(known)


def test_defaults_of_a_file_that_says_nothing(own_params):
    (own_params / "mine").mkdir()
    (own_params / "mine/scenarios.yaml").write_text("scenarios: {a: , truncated: {init: random}}")
    read = files.read_scenarios("mine")
    assert (read.name, read.teacher, read.control, read.questions) == (
        "mine",
        "teacher",
        "truncated",
        [],
    )
    assert read.scenarios["a"].parameters == {} and read.common.parameters == {}


def test_the_description_of_a_hop_is_its_chain_s():
    cascade = files.read_scenarios("cascade")
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
        files.read_scenarios("herbert")
    assert "\n" not in str(error.value)
