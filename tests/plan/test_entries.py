"""lib.plan.entries: how one entry of the cascade study becomes stages, and which of them a change
touches."""

import shutil

import pytest

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.plan import entries, plan, schema
from lib.plan.schema import Entry
from lib.plan.study import Study

WHERE = "file"


def parameters(chain, hops, shared={}):
    return entries.hop_parameters(Entry(**chain), shared, hops, WHERE)


def test_a_cascade_takes_one_layer_at_a_time_and_shares_out_the_steps():
    assert entries.chain_layers(12, 1) == [11, 10, 9, 8, 7, 6]
    # 004, Table 2
    reading = [(66_666, section) for section in (1, 2, 3, 4, 5, 6)]
    assert entries.share_out(399_996, 6, 6, WHERE) == reading


def test_one_hop_has_all_the_steps_and_reads_all_sections():
    assert entries.chain_layers(12, "half") == [6]
    assert entries.share_out(399_996, 1, 6, WHERE) == [(399_996, 0)]


@pytest.mark.parametrize("total", [100, 101, 1000])
def test_steps_that_do_not_divide_still_add_up(total):
    assert sum(steps for steps, _ in entries.share_out(total, 3, 3, WHERE)) == total


def test_larger_hops_may_end_in_a_smaller_one():
    assert entries.chain_layers(12, 2) == [10, 8, 6]
    assert entries.chain_layers(12, 3) == [9, 6]
    assert entries.chain_layers(6, 2) == [4, 3]
    assert entries.chain_layers(4, 3) == [2]


def test_a_hop_has_its_own_values_over_those_of_its_chain_and_of_all_chains():
    chain = {"hop": 1, "warmup": 0.2, "hops": {2: {"warmup": 1.0}}}
    first, second = parameters(chain, 2, {"warmup": 0.1, "seed": 3})
    assert first == {"warmup": 0.2, "seed": 3} and second == {"warmup": 1.0, "seed": 3}


@pytest.mark.parametrize(
    ("weights", "trained"),
    [
        ({}, True),
        ({"weight_hidden": 0, "weight_attention": 0}, False),
        ({"weight_hidden": 0, "weight_attention": "0"}, False),
        ({"weight_hidden": 0, "weight_attention": 0, "weight_soft": 1}, True),
    ],
)
def test_whether_a_chain_is_trained(weights, trained):
    assert entries.is_trained(weights) == trained


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ({"hops": {4: {"warmup": 1}}}, "there is no hop 4; there are 1 … 3"),
        ({"hops": {1: {"steps": 9}}}, "hops.1.steps cannot be given here: total_steps"),
        ({"hops": {1: {"teacher": "x"}}}, "hops.1.teacher cannot be given here"),
        (
            {"hops": {1: {"weight_hidden": 0, "weight_attention": 0}}},
            "as a whole or not at all",
        ),
        ({"vocabulary": "corpus"}, "vocabulary: .* allowed is that of the last hop: hops: {3: "),
        ({"layers": 5}, "layers cannot be given here"),
        ({"section": 1}, "section cannot be given here"),
        ({"longer": 2}, "longer cannot be given here: total_steps sets the length"),
    ],
)
def test_what_a_chain_may_not_say(chain, message):
    with pytest.raises(InputError, match=f"^file: .*{message}"):
        parameters({"hop": 1, **chain}, 3)


@pytest.mark.parametrize(
    ("total", "sections", "message"),
    [
        (100, 2, "sections = 2 .* 3 hops needs as many"),
        (2, 6, "total_steps = 2; .* at least 3"),
        (None, 6, "total_steps = None"),
    ],
)
def test_too_few_steps_or_sections_for_the_hops(total, sections, message):
    with pytest.raises(InputError, match=message):
        entries.share_out(total, 3, sections, WHERE)


def cascade(monkeypatch=None, change=None, scale="tiny", file="scenarios") -> dict:
    """The plan's stages by folder; `change` edits a file of the study as it is read."""
    if change:
        read = schema.read_yaml

        def changed(path):
            content = read(path)
            if path == ROOT / f"params/cascade/{file}.yaml":
                change(content)
            return content

        monkeypatch.setattr(schema, "read_yaml", changed)
    steps = plan.resolve(scale, ["cascade"])
    return {step.folder.split("/", 3)[3]: step for step in steps if step.path.repeat == 1}


TEACHER = "params/cascade/teacher"
TRAINED = {"corpus": "corpus", "learning_rate": 1e-3}


def test_the_chain_is_a_chain_of_stages():
    steps = cascade()
    for layers, before in (
        (5, ""),
        (4, "outputs/tiny/cascade/cascade-5/cascade_ta"),
        (3, "outputs/tiny/cascade/cascade-4/cascade_ta"),
    ):
        hop = steps[f"cascade-{layers}/cascade_ta"]
        assert hop.parameters["teacher"] == (f"{before}/model" if before else TEACHER)
        assert not before or before in hop.needs
        assert hop.parameters["layers"] == layers and hop.parameters["mapping"] == "adjacent"
    firsts = [steps[f"cascade-{n}/cascade_ta"].parameters["first_teacher"] for n in (5, 4, 3)]
    assert firsts == ["", TEACHER, TEACHER]
    assert steps["cascade-5/cascade_ta"].parameters["warmup"] == 1.0
    assert steps["cascade-4/cascade_ta"].parameters["warmup"] == 0.1
    assert steps["direct-3/cascade_ta"].parameters["mapping"] == "uniform"


def test_the_layers_of_a_checkpoint_are_read_where_the_file_does_not_say_them(
    monkeypatch, tmp_path
):
    def unsaid(file):
        file["teachers"]["teacher"].pop("layers")

    def unknown(file):
        file["teachers"]["teacher"] = {"hub": "a/b"}
        file["corpora"]["corpus"]["tokenizer"] = "a/b"

    for scale in "tiny", "paper":  # by a folder's config.json, and by params/hub.yaml
        expected = list(cascade(scale=scale))
        with monkeypatch.context() as patch:
            assert list(cascade(patch, unsaid, scale, scale)) == expected
    with monkeypatch.context() as patch:
        line = "tiny.yaml: teachers.teacher: .* number of layers, .* give it as layers"
        with pytest.raises(InputError, match=line):
            cascade(patch, unknown, "tiny", "tiny")
    # by the config.json of an id that was downloaded; the hub is not asked
    commit = tmp_path / "models--a--b/snapshots" / ("c" * 40)
    commit.mkdir(parents=True)
    shutil.copy(ROOT / TEACHER / "config.json", commit)
    (tmp_path / "models--a--b/refs").mkdir()
    (tmp_path / "models--a--b/refs/main").write_text("c" * 40)
    expected = list(cascade())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert list(cascade(monkeypatch, unknown, "tiny", "tiny")) == expected


def test_a_report_needs_no_checkpoint_to_know_the_layers_of_a_teacher(own_params, tmp_path):
    """One in a {data_dir}, which the report does not know, was fine-tuned before."""
    scale_file = own_params / "cascade/tiny.yaml"
    text = scale_file.read_text().replace("layers: 6", "")
    scale_file.write_text(text.replace("params/cascade/teacher", '"{data_dir}/teacher"'))
    (tmp_path / "data").mkdir()
    (own_params / "cascade/teacher").rename(tmp_path / "data/teacher")
    planned = Study("cascade", "tiny", str(tmp_path / "data"))
    planned.resolve()
    finetuned = tmp_path / planned.folders["teacher", "finetune", 1]
    finetuned.mkdir(parents=True)
    (finetuned / "result.json").write_text('{"model": {"layers": 6}}')
    known = Study("cascade", "tiny", data_dir=None)
    known.resolve()
    assert list(known.stages) == list(planned.stages)


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
            assert step.parameters["teacher"] == TEACHER


def test_a_change_of_the_second_hop_changes_that_stage_alone_and_those_after_it_need_it(
    monkeypatch,
):
    before = cascade()
    after = cascade(
        monkeypatch,
        lambda content: content["scenarios"]["cascade"]["hops"].update(
            {2: {"learning_rate": 1e-4}}
        ),
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
        ({"hop": 9}, "scenarios.cascade.hop = 9: input should be 1, 2, 3 or 'half'"),
        ({"hops": [1]}, r"scenarios.cascade.hops = \[1\]: must hold keys and values"),
        ({"hops": {1: "warmup"}}, "scenarios.cascade.hops.1 = 'warmup': must hold keys"),
        ({"hops": {"first": {}}}, "scenarios.cascade.hops"),
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
        cascade(monkeypatch, lambda content: content["scenarios"]["cascade"].update(change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: f["cascade"].update(total_steps=0),
            "params/cascade/tiny.yaml: cascade.total_steps = 0",
        ),
        (lambda f: f.pop("cascade"), "params/cascade/tiny.yaml: cascade.total_steps = None"),
        (lambda f: f["cascade"].update(total_steps="many"), "cascade.total_steps = 'many'"),
        (lambda f: f["cascade"].update(total_steps=float("inf")), "cascade.total_steps = inf"),
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
            lambda f: f["teachers"]["teacher"].update(layers="six"),
            "tiny.yaml: teachers.teacher.layers = 'six'",
        ),
        (
            lambda f: f["teachers"].update({"cascade-5": {**f["teachers"]["teacher"]}}),
            "the name is taken by a teacher",
        ),
        (lambda f: f["teachers"].update({"a b": {}}), "teachers: the name 'a b' has to begin"),
        (
            lambda f: f["teachers"].update(teacher={"start": "teacher", "corpus": "corpus"}),
            "teachers.teacher: is made from itself",
        ),
        (
            lambda f: f["corpora"]["corpus"].update(tokenizer="same-as:corpus"),
            "corpora.corpus: is made from itself",
        ),
        (
            lambda f: f["teachers"].update(
                teacher={**TRAINED, "layers": 6, "hidden": 96, "heads": 5}
            ),
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
    assert steps["truncated-5/cascade_ta"].parameters["steps"] == 200


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
