"""lib.plan.entries: how one entry of the cascade study becomes stages, and which of them a change
touches."""

import pytest

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.plan import entries, files, plan, study


def expand(chain, teacher_layers, steps, sections):
    layers = entries.depths_of(chain, {}, teacher_layers)
    return entries.expand(layers, entries.trained(chain), steps, sections)


def test_a_cascade_takes_one_layer_at_a_time_and_shares_out_the_steps():
    hops = expand({"hop": 1}, 12, 399_996, sections=6)
    assert [hop.layers for hop in hops] == [11, 10, 9, 8, 7, 6]
    assert [hop.steps for hop in hops] == [66_666] * 6  # 004, Table 2
    assert [hop.section for hop in hops] == [1, 2, 3, 4, 5, 6]


def test_one_hop_has_all_the_steps_and_reads_all_sections():
    assert expand({"hop": "half"}, 12, 399_996, sections=1) == [entries.PlannedHop(6, 399_996, 0)]


@pytest.mark.parametrize("total", [100, 101, 1000, "1e3"])  # YAML reads 1e3 as a word
def test_steps_that_do_not_divide_still_add_up(total):
    assert sum(hop.steps for hop in expand({"hop": 1}, 6, total, sections=3)) == float(total)


def test_larger_hops_may_end_in_a_smaller_one():
    assert entries.depths(12, 2) == [10, 8, 6]
    assert entries.depths(12, 3) == [9, 6]
    assert entries.depths(6, 2) == [4, 3]
    assert entries.depths(4, 3) == [2]


def test_an_untrained_chain_takes_no_steps():
    hops = expand({"hop": 1, "weight_hidden": 0, "weight_attention": 0}, 6, 300, sections=1)
    assert [(hop.layers, hop.steps) for hop in hops] == [(5, 0), (4, 0), (3, 0)]


@pytest.mark.parametrize(
    ("chain", "steps", "sections", "says"),
    [
        ({"hop": 4}, 100, 6, "allowed are 1, 2, 3 and half"),
        ({"hop": True}, 100, 6, "allowed are 1, 2, 3 and half"),
        ({"hop": None}, 100, 6, "allowed are 1, 2, 3 and half"),
        ({"hop": 1}, 100, 2, "sections = 2 .* 3 hops needs as many"),
        ({"hop": 1}, 2, 6, "total_steps = 2; .* 3 or more"),
        ({"hop": 1}, "many", 6, "total_steps = 'many'"),
        ({"hop": 1}, None, 6, "total_steps = None"),
        ({"hop": 1}, float("inf"), 6, "total_steps = inf"),
        ({"hop": 1, "hops": {4: {"warmup": 1}}}, 100, 6, "there is no hop 4; there are 1 … 3"),
        ({"hop": 1, "hops": {"1": {"warmup": 1}}}, 100, 6, "there is no hop '1'"),
        ({"hop": 1, "hops": [1]}, 100, 6, "hops = .1.; allowed"),
        ({"hop": 1, "hops": {1: "warmup"}}, 100, 6, "hops.1 = 'warmup'"),
        (
            {"hop": 1, "hops": {1: {"steps": 9}}},
            100,
            6,
            "hops.1.steps cannot be given here: total_steps",
        ),
        ({"hop": 1, "hops": {1: {"teacher": "x"}}}, 100, 6, "hops.1.teacher cannot be given here"),
        (
            {"hop": 1, "hops": {1: {"weight_hidden": 0, "weight_attention": 0}}},
            100,
            6,
            "as a whole or not at all",
        ),
        ({"hop": 1, "layers": 5}, 100, 6, "layers cannot be given here"),
        ({"hop": 1, "section": 1}, 100, 6, "section cannot be given here"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_in_one_line(chain, steps, sections, says):
    with pytest.raises(ValueError, match=says):
        expand(chain, 6, steps, sections)


def cascade(monkeypatch=None, change=None, scale="tiny", file="scenarios") -> dict:
    """The plan's stages by folder; `change` edits a file of the study as it is read."""
    if change:
        module = files if file == "scenarios" else study
        read = module.read_yaml

        def changed(path):
            found = read(path)
            if path == ROOT / f"params/cascade/{file}.yaml":
                change(found)
            return found

        monkeypatch.setattr(module, "read_yaml", changed)
    return {step.folder.split("/", 3)[3]: step for step in plan.resolve(scale, ["cascade"])}


def test_the_chain_is_a_chain_of_stages():
    steps = cascade()
    for layers, before in (
        (5, "teacher/teacher_continuation"),
        (4, "cascade-5/cascade_ta"),
        (3, "cascade-4/cascade_ta"),
    ):
        hop = steps[f"cascade-{layers}/cascade_ta"]
        assert hop.parameters["teacher"] == f"outputs/tiny/cascade/{before}/model"
        assert f"outputs/tiny/cascade/{before}" in hop.needs
        assert hop.parameters["layers"] == layers and hop.parameters["mapping"] == "adjacent"
    assert steps["cascade-5/cascade_ta"].parameters["warmup"] == 1.0
    assert steps["cascade-4/cascade_ta"].parameters["warmup"] == 0.1
    assert steps["direct-3/cascade_ta"].parameters["mapping"] == "uniform"


def test_cascade_and_direct_have_the_same_number_of_steps():
    for scale in ("smoke", "tiny", "paper"):
        steps = cascade(scale=scale)
        spent = {
            name: sum(
                step.parameters["steps"]
                for folder, step in steps.items()
                if folder.startswith(f"{name}-") and step.kind == "cascade_ta"
            )
            for name in ("cascade", "direct", "truncated")
        }
        assert spent["cascade"] == spent["direct"] > 0 and spent["truncated"] == 0


def test_every_truncated_model_is_cut_from_the_teacher():
    for folder, step in cascade().items():
        if folder.startswith("truncated") and step.kind == "cascade_ta":
            assert (
                step.parameters["teacher"]
                == "outputs/tiny/cascade/teacher/teacher_continuation/model"
            )


def test_a_change_of_the_second_hop_changes_that_stage_alone_and_those_after_it_need_it(
    monkeypatch,
):
    before = cascade()
    after = cascade(
        monkeypatch,
        lambda found: found["scenarios"]["cascade"]["hops"].update({2: {"learning_rate": 1e-4}}),
    )
    changed = {folder for folder in before if before[folder].parameters != after[folder].parameters}
    assert changed == {"cascade-4/cascade_ta"}
    depend, grown = set(changed), True
    while grown:
        more = {
            f
            for f, step in after.items()
            if {need.split("/", 3)[3] for need in step.needs} & depend
        } | depend
        grown, depend = more != depend, more
    assert depend == {f"cascade-{n}/{kind}" for n in (4, 3) for kind in ("cascade_ta", "finetune")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hop": 9}, "params/cascade/scenarios.yaml: scenarios.cascade: hop = 9"),
        (
            {"mapping": "sideways"},
            "params/cascade/scenarios.yaml: scenarios.cascade: mapping = 'sideways'",
        ),
        ({"hops": {7: {}}}, "scenarios.cascade: hops: there is no hop 7"),
        ({"steeps": 3}, "params/cascade/scenarios.yaml: scenarios.cascade: unknown key 'steeps'"),
    ],
)
def test_a_wrong_chain_in_the_file_is_one_line_that_names_it(monkeypatch, change, says):
    with pytest.raises(InputError, match=says):
        cascade(monkeypatch, lambda found: found["scenarios"]["cascade"].update(change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: f["cascade"].update(total_steps=0),
            "params/cascade/tiny.yaml: cascade.total_steps = 0",
        ),
        (lambda f: f.pop("cascade"), "params/cascade/tiny.yaml: cascade.total_steps = None"),
        (
            lambda f: f["cascade"].update(steps=7),
            "tiny.yaml: cascade.steps cannot be given here: total_steps",
        ),
        (lambda f: f["cascade"].update(hop=1), "tiny.yaml: cascade.hop cannot be given here"),
        (lambda f: f.update(cascade=[1]), "tiny.yaml: cascade = .1.: must hold keys and values"),
        (
            lambda f: f["corpora"]["corpus"].update(sections=1),
            "tiny.yaml: sections = 1 of the corpus",
        ),
        (
            lambda f: f["teachers"]["teacher"].update(layers="6"),
            "tiny.yaml: teachers.teacher.layers = '6'",
        ),
        (
            lambda f: f["teachers"].update({"cascade-5": {**f["teachers"]["teacher"]}}),
            "the name is taken by a teacher",
        ),
        (lambda f: f["teachers"].update({"a b": {}}), "teachers: the name 'a b' has to begin"),
        (
            lambda f: f["teachers"]["teacher"].update(start="teacher"),
            "teachers.teacher: is made from itself",
        ),
        (
            lambda f: f["corpora"]["corpus"].update(tokenizer="same-as:corpus"),
            "corpora.corpus: is made from itself",
        ),
        (
            lambda f: f["teachers"]["teacher"].update(heads=5),
            "tiny.yaml: teachers.teacher: .*heads 5 must divide hidden 96",
        ),
    ],
)
def test_a_wrong_scale_file_is_one_line_that_names_it(monkeypatch, change, says):
    with pytest.raises(InputError, match=says):
        cascade(monkeypatch, change, file="tiny")


def test_weights_given_for_the_whole_scale_count_for_every_chain(monkeypatch):
    """With a weight for all chains in <scale>.yaml, `truncated` would be trained, and must get
    steps like the others."""
    steps = cascade(monkeypatch, lambda f: f["cascade"].update(weight_soft=1), file="tiny")
    assert steps["truncated-5/cascade_ta"].parameters["steps"] == 400


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f["common"].update(mapping="foo"), "scenarios.yaml: common: mapping = 'foo'"),
        (
            lambda f: f["scenarios"]["cascade"].update(mapping="skip"),
            "scenarios.yaml: scenarios.cascade: .*weight_soft",
        ),
        (
            lambda f: f["scenarios"].update(plain={}),
            "scenarios.plain: hop is missing; allowed are 1, 2, 3 and half",
        ),
        (
            lambda f: f["scenarios"].update({"../x": {"hop": 1}}),
            "scenarios: the name '../x' has to begin",
        ),
        (
            lambda f: f.update(scenarios=["cascade"]),
            "scenarios = .'cascade'.: must hold keys and values",
        ),
        (
            lambda f: f["scenarios"].update(cascade=1),
            "scenarios.cascade = 1: must hold keys and values",
        ),
    ],
)
def test_a_wrong_scenario_file_is_one_line_that_names_it(monkeypatch, change, says):
    with pytest.raises(InputError, match=says):
        cascade(monkeypatch, change)
