"""Studies that use another's stages: what is shared is one stage, and what is wrong with it is one
line."""

import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import plan
from lib.plan.study import Study, scales

ENGLISH = ["transfer_set", "ablation"]


@pytest.fixture
def params(own_params):
    """params(path, change): a copy of params/ in which change(content) has been applied to a
    file."""

    def put(path, change):
        file = own_params / path
        content = yaml.safe_load(file.read_text())
        change(content)
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    return put


def folders(names, scale="tiny"):
    """Those of the first repeat."""
    return [step.folder for step in plan.resolve(scale, names) if step.path.repeat == 1]


def test_what_two_studies_share_is_computed_once():
    both, alone = folders(ENGLISH), folders(["ablation"])
    assert len(both) == len(set(both)) and set(alone) < set(both)
    assert not any("ablation/teacher" in folder or "ablation/triple" in folder for folder in both)
    shared = {folder for folder in alone if "/transfer_set/" in folder}
    assert {folder.split("/transfer_set/")[1] for folder in shared} == {
        "corpus_corpus/data_prep",
        "corpus_corpus10pct/data_prep",
        "teacher/finetune",
        "corpus10pct/distillation",
        "corpus10pct/finetune",
        "truncated/distillation",
        "truncated/finetune",
    }
    assert len(both) == 7 + 7 + 12 + 1 + 7 + 12


@pytest.mark.parametrize("scale", ["smoke", "tiny", "local", "paper"])
def test_both_studies_know_where_everything_is(scale):
    assert scale in scales("transfer_set") and scale in scales("ablation")
    ablation = Study("ablation", scale, data_dir=None)
    found = {step.folder for step in ablation.resolve()}
    assert ablation.folders["triple", "finetune", 1].endswith("transfer_set/corpus10pct/finetune")
    assert ablation.folders["teacher", "finetune", 1].endswith("transfer_set/teacher/finetune")
    assert ablation.folders["without_soft", "distillation", 1].endswith(
        "ablation/without_soft/distillation"
    )
    assert set(ablation.folders.values()) <= found


def test_an_ablation_changes_one_thing():
    """Beside the place where it is trained."""
    steps = {
        step.scenario: step.parameters
        for step in plan.resolve("tiny", ENGLISH)
        if step.kind == "distillation"
    }
    place = {"output_dir", "beside", "trained_in"}
    changes = {
        name: {key for key in p if p[key] != steps["corpus10pct"][key]} - place
        for name, p in steps.items()
    }
    assert {
        name: changes[name]
        for name in ("without_soft", "without_cosine", "without_mlm", "random_init")
    } == {
        "without_soft": {"weight_soft"},
        "without_cosine": {"weight_cosine"},
        "without_mlm": {"weight_mlm"},
        "random_init": {"init", "learning_rate"},  # a random start has the rate of random starts
    }
    random = {
        name: {key for key, value in p.items() if value != steps["random_init"][key]} - place
        for name, p in steps.items()
    }
    assert random["random_without_soft"] == {"weight_soft"}
    assert random["random_without_mlm"] == {"weight_mlm"}
    assert random["random_mlm_only"] == {"weight_soft", "weight_cosine"}
    assert changes["equal_weights"] == {"weight_soft", "weight_mlm"} and changes[
        "layers_to_top"
    ] == {"student_layers"}
    assert {steps[f"temperature{t}"]["temperature"] for t in (1, 4, 8)} == {1, 4, 8}
    assert all(
        changes[name] == {"corpus"}
        for name in ("corpus1pct", "corpus0.1pct", "randomised", "generated", "bigram")
    )


def test_a_scale_may_give_what_it_does_not_share(params):
    params("ablation/tiny.yaml", lambda content: content.update(distillation={"temperature": 3}))
    steps = {step.path.name: step.parameters for step in plan.resolve("tiny", ENGLISH)}
    assert steps["ablation/without_soft/distillation"]["temperature"] == 3
    assert steps["ablation/without_soft/distillation"]["steps"] == 300
    assert steps["transfer_set/corpus10pct/distillation"]["temperature"] == 2


@pytest.mark.parametrize(
    "path, change, message",
    [
        (
            "ablation/tiny.yaml",
            {"uses": "transfer"},
            "uses: there is no study 'transfer' with this scale; there are ",
        ),
        (
            "ablation/tiny.yaml",
            {"uses": "ablation"},
            "params/ablation/tiny.yaml: uses: a study cannot use itself",
        ),
        (
            "ablation/scenarios.yaml",
            {"scenarios": {"triple": {"same_as": "corpus5pct"}}},
            "scenarios.triple: same_as .* names a scenario of .*: corpus10pct, corpus1pct",
        ),
        (
            "ablation/scenarios.yaml",
            {"scenarios": {"triple": {"same_as": "corpus10pct", "temperature": 1}}},
            "scenarios.triple: same_as stands alone",
        ),
        ("transfer_set/scenarios.yaml", {"scenarios": {"a": {"same_as": "b"}}}, "it uses none"),
        (
            "transfer_set/tiny.yaml",
            {"corpora": {"corpus10pct": {"sample_of": "corpus", "share": 0.1}}},
            "corpora: there is no 'corpus'",
        ),
        (
            "transfer_set/scenarios.yaml",
            {"common": {"teacher": "teacher", "weight": 1}},
            "common.weight|unknown key 'weight'",
        ),
        (
            "ablation/scenarios.yaml",
            {"scenarios": {"teacher": {"init": "random"}}},
            "the name is taken by a teacher",
        ),
        (
            "transfer_set/scenarios.yaml",
            {"scenarios": {"a": {"corpus": "corpus10pct", "student_layers": "top"}}},
            "student_layers = 'top': give a list of the teacher's layers, or one of alternate, to_top",
        ),
    ],
)
def test_bad_sharing_in_one_line(params, path, change, message):
    params(path, lambda content: content.update(change))
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("tiny", [path.split("/")[0]])
    assert "\n" not in str(error.value)
