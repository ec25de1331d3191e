"""Which students the plan trains side by side: who leads, what each stage is told, and what is
refused in one line."""

import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import plan, study
from lib.plan.study import scales, studies_with
from lib.training.parameters import StudentParameters

TWELVE = [
    "without_soft",
    "without_cosine",
    "without_mlm",
    "random_init",
    "random_without_soft",
    "random_without_mlm",
    "random_mlm_only",
    "equal_weights",
    "temperature1",
    "temperature4",
    "temperature8",
    "layers_to_top",
]


@pytest.fixture
def params(own_params):
    """params(path, section, key, value): a copy of params/ in which a file's section has been given
    a value. No student has a rate of its own."""

    def change(path, how):
        file = own_params / path
        content = yaml.safe_load(file.read_text())
        how(content)
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def put(path, section, key, value):
        change(path, lambda content: content.setdefault(section, {}).update({key: value}))

    change("ablation/tiny.yaml", lambda content: content.pop("scenarios"))
    change("herbert/tiny.yaml", lambda content: content["scenarios"].pop("S1"))
    return put


def students(name, repeat=1):
    return {
        stage.scenario: stage
        for stage in plan.resolve("tiny", [name])
        if stage.kind == "distillation" and stage.study == name and stage.path.repeat == repeat
    }


def roles(stages):
    """Of every student: the names it leads, or whose folder it is trained in, or None."""
    of = {}
    for name, stage in stages.items():
        in_ = stage.parameters["trained_in"]
        of[name] = in_.split("/")[-4] if in_ else list(stage.parameters["beside"]) or None
    return of


def test_where_nothing_is_said_each_trains_its_own():
    """The ablation says it where its students are many; nobody else does."""
    for name in studies_with("paper"):
        said = {"tiny", "mini", "gpuday", "paper"} if name == "ablation" else set()
        for scale in set(scales(name)) - said:
            for stage in study.Study(name, scale, data_dir=None).resolve():
                if stage.kind == "distillation":
                    assert (stage.parameters["beside"], stage.parameters["trained_in"]) == (
                        {},
                        "",
                    ), stage.folder


def test_the_ablation_is_one_group(params):
    after = students("ablation")
    params("ablation/tiny.yaml", "distillation", "side_by_side", False)
    before = students("ablation")
    leader = after["without_soft"]
    assert list(before) == list(after) == TWELVE
    assert roles(after) == {"without_soft": TWELVE[1:], **dict.fromkeys(TWELVE[1:], "without_soft")}
    for name, stage in after.items():
        changed = {
            key for key in stage.parameters if stage.parameters[key] != before[name].parameters[key]
        }
        assert changed == {"beside" if stage is leader else "trained_in"}
        assert set(stage.needs) == set(before[name].needs) | ({leader.folder} - {stage.folder})
    for name, own in leader.parameters["beside"].items():
        assert after[name].parameters["trained_in"] == f"{leader.folder}/beside/{name}"
        assert set(own) == set(StudentParameters.model_fields)
        assert own == {key: before[name].parameters[key] for key in own}
    assert leader.parameters["beside"]["random_init"]["init"] == "random"
    assert leader.parameters["beside"]["layers_to_top"]["student_layers"] == "to_top"


def test_the_untrained_and_those_of_another_teacher_are_in_no_group(params):
    params("herbert/tiny.yaml", "distillation", "side_by_side", True)
    assert roles(students("herbert")) == {
        "S0": None,
        "S1": ["S2", "S3"],
        "S2": "S1",
        "S2_longer": None,
        "S3": "S1",
        "S4": None,
        "truncated": None,
    }


@pytest.mark.parametrize(
    "key, value",
    [
        ("seed", 1),
        ("learning_rate", 5e-4),
        ("whole_words", False),
        ("steps", 3),
        ("mask_probability", 0.2),
    ],
)
def test_whatever_else_differs_parts_them(params, key, value):
    params("herbert/tiny.yaml", "distillation", "side_by_side", True)
    scenario = {"init": "truncated", "teacher": "T1", "weight_mlm": 1, key: value}
    params("herbert/scenarios.yaml", "scenarios", "S2", scenario)
    assert roles(students("herbert")) == dict.fromkeys(
        ["S0", "S2", "S2_longer", "S4", "truncated"]
    ) | {
        "S1": ["S3"],
        "S3": "S1",
    }


def test_a_value_written_otherwise_or_left_to_its_default_parts_nobody(params):
    params("herbert/tiny.yaml", "distillation", "side_by_side", True)
    scenario = {
        "init": "truncated",
        "weight_mlm": 1,
        "seed": 0,
        "learning_rate": "1e-3",
        "corpus": "transfer",
    }
    params("herbert/scenarios.yaml", "scenarios", "S2", scenario)
    assert roles(students("herbert"))["S1"] == ["S2", "S3"]


def test_a_group_of_one_is_none(params):
    params("transfer_set/tiny.yaml", "distillation", "side_by_side", True)
    groups = roles(students("transfer_set"))
    assert len(groups) == 7 and set(groups.values()) == {None}


def test_every_repeat_is_a_group_of_its_own(params):
    for repeat in (1, 2, 3):
        group = students("ablation", repeat)
        assert roles(group)["without_soft"] == TWELVE[1:]
        own = {name: stage.parameters["trained_in"] for name, stage in group.items()}
        leader = group["without_soft"].folder
        assert own == {name: f"{leader}/beside/{name}" for name in TWELVE} | {"without_soft": ""}
        assert {stage.parameters["seed"] for stage in group.values()} == {repeat - 1}


def test_every_stage_comes_after_what_it_needs(params):
    params("herbert/tiny.yaml", "distillation", "side_by_side", True)
    seen = set()
    for stage in plan.resolve("tiny", []):
        assert set(stage.needs) <= seen
        seen.add(stage.folder)
    assert roles(students("ablation"))["without_soft"] == TWELVE[1:]


def test_one_of_a_group_that_another_study_names_is_the_same_stage(params):
    """`same_as` a follower: its leader is in that plan too, with the same parameters as in its own
    study's."""
    params("transfer_set/tiny.yaml", "distillation", "side_by_side", True)
    params(
        "transfer_set/scenarios.yaml",
        "scenarios",
        "hot",
        {"corpus": "corpus10pct", "temperature": 8},
    )
    params("ablation/scenarios.yaml", "scenarios", "triple", {"same_as": "hot"})
    own, other = (
        {stage.folder: stage for stage in plan.resolve("tiny", [name])}
        for name in ("transfer_set", "ablation")
    )
    leader, follower = (
        f"outputs/tiny/transfer_set/{name}/distillation" for name in ("corpus10pct", "hot")
    )
    assert own[leader] == other[leader] and own[follower] == other[follower]
    assert list(own[leader].parameters["beside"]) == ["hot"] and leader in own[follower].needs
    assert "outputs/tiny/transfer_set/hot/distillation" not in own[leader].needs
    assert (
        roles(students("ablation"))["without_soft"] == TWELVE[1:]
    )  # triple, of another study, is not among them


@pytest.mark.parametrize(
    "path, section, key, value, message",
    [
        (
            "herbert/tiny.yaml",
            "distillation",
            "side_by_side",
            2,
            "params/herbert/tiny.yaml: distillation.side_by_side = 2: input should be a valid "
            "boolean",
        ),
        (
            "herbert/tiny.yaml",
            "distillation",
            "side_by_side",
            "yes",
            "side_by_side = 'yes': input should be a valid boolean",
        ),
        (
            "herbert/tiny.yaml",
            "distillation",
            "beside",
            {},
            "tiny.yaml: distillation: beside cannot be given here: whether students are "
            "trained together is set by side_by_side, in params/herbert/tiny.yaml under distillation",
        ),
        (
            "herbert/scenarios.yaml",
            "scenarios",
            "S3",
            {"trained_in": "x"},
            "scenarios.yaml: scenarios.S3: trained_in cannot be given",
        ),
        (
            "herbert/scenarios.yaml",
            "scenarios",
            "S3",
            {"side_by_side": True},
            "scenarios.S3: unknown key 'side_by_side'",
        ),
    ],
)
def test_wrong_values_in_one_line(params, path, section, key, value, message):
    params(path, section, key, value)
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("tiny", ["herbert"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"temperature": 0},
            r"params/herbert/scenarios.yaml: scenarios.S3: temperature = 0: input should be greater than 0",
        ),
        (
            {"student_layers": [0, 7]},
            "student_layers: layer 7 is not there; the teacher T1 has layers 0 … 5",
        ),
        ({"tempreature": 1}, "scenarios.S3: unknown key 'tempreature'"),
    ],
)
def test_what_is_wrong_with_one_of_a_group_is_said_of_that_one(params, wrong, message):
    params("herbert/tiny.yaml", "distillation", "side_by_side", True)
    params("herbert/scenarios.yaml", "scenarios", "S3", {"teacher": "T1", "weight_soft": 1} | wrong)
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("tiny", ["herbert"])
    assert "\n" not in str(error.value)
