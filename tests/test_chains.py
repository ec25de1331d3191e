"""lib.chains: how one entry of the cascade study becomes stages, and which of them a change touches."""

import pytest

from lib import ROOT, chains, plan, study
from lib.errors import InputError


def test_a_cascade_takes_one_layer_at_a_time_and_shares_out_the_steps():
    hops = chains.expand({"hop": 1}, 12, 399_996, sections=6)
    assert [hop.layers for hop in hops] == [11, 10, 9, 8, 7, 6]
    assert [hop.steps for hop in hops] == [66_666] * 6  # 004, Table 2
    assert [hop.section for hop in hops] == [1, 2, 3, 4, 5, 6]


def test_one_hop_has_all_the_steps_and_reads_all_sections():
    assert chains.expand({"hop": "half"}, 12, 399_996, sections=6) == [chains.Hop(6, 399_996, 0)]


def test_steps_that_do_not_divide_still_add_up():
    for total in (100, 101, 1000):
        assert sum(hop.steps for hop in chains.expand({"hop": 1}, 6, total, sections=3)) == total


def test_larger_hops_may_end_in_a_smaller_one():
    assert chains.depths(12, 2) == [10, 8, 6]
    assert chains.depths(12, 3) == [9, 6]
    assert chains.depths(6, 2) == [4, 3]
    assert chains.depths(4, 3) == [2]


def test_an_untrained_chain_takes_no_steps():
    hops = chains.expand({"hop": 1, "weight_hidden": 0, "weight_attention": 0}, 6, 300, sections=1)
    assert [(hop.layers, hop.steps) for hop in hops] == [(5, 0), (4, 0), (3, 0)]


@pytest.mark.parametrize(
    ("chain", "steps", "sections", "says"),
    [
        ({"hop": 4}, 100, 6, "allowed are 1, 2, 3 and half"),
        ({"hop": True}, 100, 6, "allowed are 1, 2, 3 and half"),
        ({"hop": 1}, 100, 2, "has 2 sections"),
        ({"hop": 1}, 2, 6, "3 and more"),
        ({"hop": 1, "hops": {4: {"warmup": 1}}}, 100, 6, "there is no hop 4; there are 1 … 3"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_in_one_line(chain, steps, sections, says):
    with pytest.raises(ValueError, match=says):
        chains.expand(chain, 6, steps, sections)


def cascade(monkeypatch=None, change=None, scale="tiny") -> dict:
    """The plan's stages by folder; `change` edits the scenarios as they are read."""
    if change:
        read = study.read_yaml

        def changed(path):
            found = read(path)
            if path == ROOT / "params/cascade/scenarios.yaml":
                change(found)
            return found

        monkeypatch.setattr(study, "read_yaml", changed)
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
            assert step.parameters["teacher"] == "outputs/tiny/cascade/teacher/teacher_continuation/model"


def test_a_change_of_the_second_hop_changes_that_stage_alone_and_those_after_it_need_it(monkeypatch):
    before = cascade()
    after = cascade(
        monkeypatch, lambda found: found["scenarios"]["cascade"]["hops"].update({2: {"learning_rate": 1e-4}})
    )
    changed = {folder for folder in before if before[folder].parameters != after[folder].parameters}
    assert changed == {"cascade-4/cascade_ta"}
    depend, grown = set(changed), True
    while grown:
        more = {f for f, step in after.items() if {need.split("/", 3)[3] for need in step.needs} & depend} | depend
        grown, depend = more != depend, more
    assert depend == {f"cascade-{n}/{kind}" for n in (4, 3) for kind in ("cascade_ta", "finetune")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hop": 9}, "params/cascade/scenarios.yaml: scenarios.cascade: hop = 9"),
        ({"mapping": "sideways"}, "params/cascade/scenarios.yaml: scenarios.cascade: mapping = 'sideways'"),
        ({"hops": {7: {}}}, "scenarios.cascade: hops: there is no hop 7"),
        ({"steeps": 3}, "params/cascade/scenarios.yaml: scenarios.cascade: unknown key 'steeps'"),
    ],
)
def test_a_wrong_chain_in_the_file_is_one_line_that_names_it(monkeypatch, change, says):
    with pytest.raises(InputError, match=says):
        cascade(monkeypatch, lambda found: found["scenarios"]["cascade"].update(change))
