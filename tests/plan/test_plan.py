"""The plan: what is shared, what changes what, and one clear line for everything that can be wrong
in params/."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.plan import plan, schema
from lib.plan.stages import KINDS, StagePath, validate
from lib.plan.study import Study, studies_with


@pytest.fixture
def params(own_params, tmp_path):
    """A copy of params/ that a test may spoil: params("tiny", key=value) sets a dotted key in a
    file."""

    def put(file, key, value):
        path = own_params / "herbert" / f"{file}.yaml"
        content = yaml.safe_load(path.read_text())
        inner = content
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        path.write_text(yaml.safe_dump(content))

    put.folder = tmp_path
    return put


def by_name(scale="tiny", **kwargs):
    """The stages of the first repeat."""
    stages = plan.resolve(scale, ["herbert"], **kwargs)
    return {stage.folder.split("/", 3)[3]: stage for stage in stages if stage.path.repeat == 1}


def test_the_herbert_study():
    stages = by_name()
    models = ["S0", "S1", "S2", "S2_longer", "S3", "S4", "truncated", "T1", "T2"]
    assert {name for name in stages if name.endswith("finetune")} == {
        f"{model}/finetune" for model in models
    }
    assert [name for name in stages if name.endswith("data_prep")] == [
        "corpus_transfer/data_prep",
    ]
    assert len(stages) == 1 + 1 + 7 + 9
    s3, s4 = stages["S3/distillation"].parameters, stages["S4/distillation"].parameters
    assert s3["teacher"] == "params/herbert/T1"
    assert s4["teacher"].endswith("T2/teacher_continuation/model")
    different = {key for key in s3 if s3[key] != s4[key]}
    assert different == {"teacher", "output_dir"}
    assert (s3["weight_soft"], s3["weight_mlm"], s3["weight_cosine"]) == (5, 2, 1)
    assert [
        stages[f"{name}/distillation"].parameters["init"]
        for name in ("S0", "S1", "S2", "truncated")
    ] == ["random", "random", "truncated", "truncated"]


def test_every_stage_comes_after_what_it_needs():
    seen = set()
    for stage in plan.resolve("tiny", []):
        assert set(stage.needs) <= seen
        seen.add(stage.folder)


def test_a_scenario_s_own_parameter_changes_that_scenario_alone(params):
    before = {name: stage.parameters for name, stage in by_name().items()}
    params("scenarios", "scenarios.S3.temperature", 4)
    after = {name: stage.parameters for name, stage in by_name().items()}
    assert [name for name in before if before[name] != after[name]] == ["S3/distillation"]
    assert after["S3/distillation"]["temperature"] == 4


def test_a_student_may_be_trained_longer_than_the_scale_says(params):
    def length(scenario):
        p = by_name()[f"{scenario}/distillation"].parameters
        return p["epochs"], p["steps"]

    scale = {"student_layers": [0, 2], "learning_rate": 1e-3}
    params("tiny", "distillation", {**scale, "epochs": 3})
    params("scenarios", "scenarios.S2.longer", 2)
    assert length("S2") == (6, 0) and length("S3") == (3, 0)
    params("tiny", "distillation", {**scale, "steps": 10})
    assert length("S2")[1] == 20 and length("S3")[1] == 10
    params("scenarios", "scenarios.S2.longer", 0.01)
    assert length("S2")[1] == 1
    params("scenarios", "scenarios.S2.longer", 0)
    with pytest.raises(InputError, match="scenarios.S2.longer = 0"):
        by_name()


def test_a_scenario_may_have_values_of_one_scale(params):
    params("scenarios", "scenarios.S2.learning_rate", 3e-3)
    params("tiny", "scenarios", {"S2": {"learning_rate": 2e-3, "longer": 2, "repeats": 1}})
    stages = by_name()
    values = stages["S2/distillation"].parameters
    assert values["learning_rate"] == 2e-3
    assert values["steps"] == 2 * stages["S3/distillation"].parameters["steps"]
    repeats = [str(stage.path) for stage in plan.resolve("tiny", ["herbert"])]
    assert "outputs/tiny/herbert/S3/repeat_2/distillation" in repeats
    assert "outputs/tiny/herbert/S2/repeat_2/distillation" not in repeats
    params("tiny", "scenarios", {"S2": {"learning_rate": "fast"}})
    with pytest.raises(InputError, match="tiny.yaml: scenarios.S2.*learning_rate"):
        by_name()


def test_a_run_that_names_no_study_leaves_out_those_without_its_scale(own_params, capsys):
    (own_params / "mine").mkdir()
    (own_params / "mine/scenarios.yaml").write_text("scenarios: {a: {init: random}}")
    assert {stage.study for stage in plan.resolve("smoke", [])} == set(studies_with("smoke"))
    assert plan.analysis("smoke", []).parameters["studies"] == studies_with("smoke")
    assert plan.main(["--check", "--scale", "smoke"]) == 0
    assert capsys.readouterr().err == "note: skipped, no scale 'smoke': mine\n"
    assert plan.main(["--check", "--scale", "smoke", "--studies", "mine"]) == 2
    assert "the study mine has no scale 'smoke'" in capsys.readouterr().err
    (own_params / "mine/smoke.yaml").write_text("uses: herbert")
    assert "mine" in studies_with("smoke")
    (own_params / "mine/scenarios.yaml").write_text(
        "{on_request: true, scenarios: {a: {teacher: T1}}}"
    )
    assert plan.main(["--check", "--scale", "smoke"]) == 0
    assert capsys.readouterr().err == "" and "mine" not in studies_with("smoke")
    assert plan.main(["--check", "--scale", "huge"]) == 2
    assert "no study has the scale 'huge'; there are gpuday, local, " in capsys.readouterr().err


def test_what_a_scale_file_says_of_no_scenario_is_said(params, capsys):
    params("tiny", "scenarios", {"S9": {"learning_rate": 1e-3}})
    assert plan.main(["--studies", "herbert", "--check"]) == 0
    note = (
        "note: params/herbert/tiny.yaml: scenarios.S9: ignored: .* has no scenario 'S9'; it has S0"
    )
    assert re.match(note, capsys.readouterr().err)


def test_parameter_files_are_rewritten_only_when_they_change(params, monkeypatch):
    stage = by_name()["S3/distillation"]
    path = params.folder / stage.parameter_file
    plan.write_parameters([stage])
    first = path.stat().st_mtime_ns
    plan.write_parameters([stage])
    assert path.stat().st_mtime_ns == first
    params("scenarios", "scenarios.S3.temperature", 4)
    plan.write_parameters([by_name()["S3/distillation"]])
    assert path.stat().st_mtime_ns > first and yaml.safe_load(path.read_text())["temperature"] == 4


def test_paper_values():
    """000 sections 2–4, value by value."""
    stages = by_name("paper")
    transfer, s4 = (
        stages["corpus_transfer/data_prep"].parameters,
        stages["S4/distillation"].parameters,
    )
    assert (
        transfer["sources"][0]["dataset"] == "statmt/cc100"
        and transfer["sources"][0]["config"] == "pl"
    )
    assert (transfer["subset_unit"], transfer["subset_size"], transfer["cleaning"]) == (
        "bytes",
        10**9,
        "neattext",
    )
    assert (s4["batch_size"], s4["epochs"], s4["warmup"], s4["schedule"], s4["precision"]) == (
        1600,
        2,
        0.02,
        "cosine",
        "fp16",
    )
    assert s4["student_layers"] == [0, 2, 4, 6, 8, 10] and s4["whole_words"]
    assert stages["S3/distillation"].parameters["teacher"] == "allegro/herbert-base-cased"
    assert stages["T1/finetune"].parameters["epochs"] == 8
    assert "T1/teacher_continuation" not in stages


@pytest.mark.parametrize(
    "file, key, value, message",
    [
        (
            "tiny",
            "distillation.temprature",
            2,
            r"tiny.yaml: distillation: unknown key 'temprature'; allowed are",
        ),
        (
            "tiny",
            "distillation.temperature",
            0,
            r"tiny.yaml: distillation: temperature = 0: input should be greater than 0",
        ),
        (
            "tiny",
            "distillation.temperature",
            -1,
            "temperature = -1: input should be greater than 0",
        ),
        (
            "scenarios",
            "scenarios.S3.temperature",
            0,
            r"scenarios.yaml: scenarios.S3: temperature = 0",
        ),
        (
            "tiny",
            "distillation.student_layers",
            [0, 6],
            "student_layers: layer 6 is not there; the teacher T1 has layers 0 … 5",
        ),
        ("tiny", "distillation.student_layers", [], "student_layers = .*at least 1 item"),
        (
            "tiny",
            "distillation.learning_rate",
            "fast",
            "learning_rate = 'fast': input should be a valid number",
        ),
        (
            "tiny",
            "distillation.positions",
            "some",
            "positions = 'some': input should be 'all' or 'masked'",
        ),
        (
            "tiny",
            "distillation.mask_probability",
            1.5,
            "mask_probability = 1.5: input should be less than 1",
        ),
        (
            "tiny",
            "distill",
            {},
            "unknown key 'distill'; allowed are uses, repeats, seed, licences, hub",
        ),
        (
            "tiny",
            "corpora.transfer.tokenizer",
            "same-as:techer",
            "corpora: there is no 'techer'; there are transfer",
        ),
        ("tiny", "corpora.transfer.sources", [], "corpora.transfer: sources = .*at least 1 item"),
        ("tiny", "corpora.transfer.sources", [{"kind": "web"}], r"corpora.transfer: sources.0"),
        (
            "tiny",
            "corpora.transfer.subset_unit",
            "tokens",
            "subset_unit tokens does not go with subset_size 0",
        ),
        (
            "tiny",
            "corpora.transfer.tokenizer",
            "train:wordpiece",
            "teachers.T2: teacher and student tokenizers differ",
        ),
        (
            "tiny",
            "corpora.transfer.tokenizer",
            "bert-base-cased",
            "teacher and student tokenizers differ",
        ),
        (
            "tiny",
            "finetune.tasks",
            ["nkjp-ner", "polemo2-in", "cola2"],
            "unknown task 'cola2'; known are nkjp-ner",
        ),
        (
            "tiny",
            "finetune.train_examples",
            {"nkjp": 9},
            "train_examples names 'nkjp', which is not among tasks",
        ),
        ("tiny", "finetune.seeds", [1, 1], r"seeds \[1, 1\] repeat one"),
        ("tiny", "teachers.T2.grow_from_layers", 5, "grow_from_layers must divide layers"),
        ("scenarios", "scenarios.S3.teacher", "T3", "teachers: there is no 'T3'; there are T1, T2"),
        (
            "scenarios",
            "scenarios.T1",
            {"init": "random"},
            "scenarios.T1: the name is taken by a teacher",
        ),
        ("scenarios", "scenarios", {}, "scenarios: name at least one"),
        ("scenarios", "title2", "x", "unknown key 'title2'"),
    ],
)
def test_bad_parameters_in_one_line(params, file, key, value, message):
    params(file, key, value)
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("tiny", ["herbert"])
    assert "\n" not in str(error.value)
    assert "params/herbert/" in str(error.value) or "tasks:" in str(error.value)


def test_a_number_with_an_exponent_is_a_number(params):
    params("tiny", "distillation.learning_rate", "1e-5")
    assert by_name()["S3/distillation"].parameters["learning_rate"] == 1e-5


def test_a_scenario_given_twice(params):
    path = params.folder / "params/herbert/scenarios.yaml"
    path.write_text(path.read_text() + "  S3: {init: random}\n")
    with pytest.raises(InputError, match="'S3' stands twice"):
        plan.resolve("tiny", ["herbert"])


def write_study(folder, checkpoint, teachers, scenarios, kind="bert", layers=(0, 2)):
    """Write a study whose teacher is in the folder `checkpoint`, of which there is a config.json
    alone."""
    checkpoint.mkdir()
    config = {"model_type": kind, "num_hidden_layers": 4}
    (checkpoint / "config.json").write_text(json.dumps(config))
    folder.mkdir()
    (folder / "scenarios.yaml").write_text(f"scenarios: {scenarios}")
    (folder / "tiny.yaml").write_text(f"""
corpora:
  transfer:
    sources: [{{kind: toy, language: toy-pl, corpus: web, lines: 9}}]
    tokenizer: checkpoint
teachers: {{{teachers}}}
distillation: {{student_layers: {list(layers)}, learning_rate: 1e-3}}
finetune:
  {{tasks: [nkjp-ner], task_source: toy, task_language: toy-pl, seeds: [1], learning_rate: 1e-4}}
""")


@pytest.mark.parametrize(
    "kind, layers, message",
    [
        ("modernbert", [1, 3], r"student_layers: \[1, 3\], but a student of a ModernBERT starts"),
        ("deberta-v2", [0, 2], "is of the kind 'deberta-v2': its attention adds relative"),
    ],
)
def test_an_architecture_that_cannot_be_cut_so(own_params, tmp_path, kind, layers, message):
    names = "teacher: {hub: ./checkpoint}", "{a: {init: truncated}}"
    write_study(own_params / "mine", tmp_path / "checkpoint", *names, kind, layers)
    with pytest.raises(InputError, match=f"params/mine/tiny.yaml: teachers.teacher: .*{message}"):
        plan.resolve("tiny", ["mine"], str(tmp_path))


@pytest.mark.parametrize(
    "teachers, scenarios, teacher",
    [
        ("teacher: {hub: checkpoint}", "{a: {init: truncated}}", "teacher"),
        ("bert: {hub: ./checkpoint}", "{a: {init: truncated, teacher: bert}}", "bert"),
        ("bert: {hub: '{data_dir}/checkpoint', layers: 4}", "{a: {teacher: bert}}", "bert"),
    ],
)
def test_a_checkpoint_in_a_folder_is_its_students_teacher(
    own_params, tmp_path, teachers, scenarios, teacher
):
    """It is fine-tuned like any other model, and students are compared with it."""
    write_study(own_params / "mine", tmp_path / "checkpoint", teachers, scenarios)
    stages = {stage.path.name: stage for stage in plan.resolve("tiny", ["mine"], str(tmp_path))}
    model = stages[f"mine/{teacher}/finetune"].parameters["model"]
    assert (
        model.endswith("checkpoint")
        and stages["mine/a/distillation"].parameters["teacher"] == model
    )
    assert schema.read_scenarios("mine").teacher == teacher


@pytest.mark.parametrize(
    "scale, studies, message",
    [
        ("huge", ["herbert"], "no scale 'huge'; it has gpuday, local, "),
        ("tiny", ["herbrt"], "no study 'herbrt'; there are"),
    ],
)
def test_unknown_names(scale, studies, message):
    with pytest.raises(InputError, match=message):
        plan.resolve(scale, studies)


def test_the_data_folder(tmp_path):
    with pytest.raises(
        InputError,
        match="reads your own data: name its folder, as in make report SCALE=local DATA_DIR=",
    ):
        by_name("local")
    with pytest.raises(InputError, match="DATA_DIR: there is no folder /no/such"):
        by_name("local", data_dir="/no/such")
    with pytest.raises(InputError, match="text/pl"):
        by_name("local", data_dir=str(tmp_path))  # there, but empty


@pytest.mark.parametrize("name", ["2024_01", """#1: it's "a" $HOME `b` {c} [x], -y"""])
def test_make_takes_the_data_folder_as_it_is_written(tmp_path, name):
    """Neither make nor a shell reads anything into it."""
    (tmp_path / name).mkdir()
    values = ["SCALE=local", "STUDIES=herbert", f"DATA_DIR={tmp_path / name}"]
    done = subprocess.run(
        ["make", "--silent", "--assume-old=.venv/ready", "plan", *values],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert f"{tmp_path / name}/text/pl" in done.stderr, done.stderr


def test_snakemake_takes_the_data_folder_as_it_is_written_and_shows_what_the_plan_refuses():
    values = {"SCALE": "local", "STUDIES": "herbert", "DATA_DIR": "/no/such #1: 007"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--quiet", "all"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | values,
    )
    assert done.returncode
    assert done.stderr == "error: DATA_DIR: there is no folder /no/such #1: 007\n"


def run_plan(*arguments):
    command = [sys.executable, "-m", "lib.plan.plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_command_line_says_one_line_and_stops():
    done = run_plan("--scale", "local", "--studies", "herbert")
    assert (
        done.returncode == 2
        and done.stdout == ""
        and done.stderr.count("\n") == 1
        and done.stderr.startswith("error: ")
    )


def test_the_plan_is_printed_without_the_network():
    done = run_plan("--scale", "paper", "--studies", "herbert")
    assert done.returncode == 0, done.stderr
    assert "statmt/cc100" in done.stdout and "S4/distillation" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_an_unknown_key(kind):
    with pytest.raises(InputError, match="parameters: unknown key 'nonsense'; allowed are "):
        validate(kind, {"nonsense": 1} | _complete(kind))


def _complete(kind):
    stage = next(
        (stage for stage in plan.resolve("tiny", []) if stage.kind == kind), None
    ) or plan.analysis("tiny", [])
    return stage.parameters


def test_repeats_are_stages_of_their_own_that_share_random_numbers(own_params):
    """Repeat r has the same seeds in every scenario; what cannot differ is made once."""
    path = own_params / "herbert/smoke.yaml"
    path.write_text("repeats: 3\nseed: 100\n" + path.read_text())
    study = Study("herbert", "smoke")
    stages = {stage.folder: stage.parameters for stage in study.resolve()}
    (own_params / "zero").mkdir()
    (own_params / "zero/scenarios.yaml").write_text("scenarios: {a: {init: random}}")
    (own_params / "zero/smoke.yaml").write_text("{uses: herbert, seed: 0}")
    assert Study("zero", "smoke").seed == 0 and study.seed == 100
    root = "outputs/smoke/herbert"
    for scenario in ("S0", "S1", "S2", "S3", "S4"):
        seeds = [stages[study.folders[scenario, "distillation", n]]["seed"] for n in (1, 2, 3)]
        assert seeds == [100, 101, 102]
    assert study.folders["S3", "distillation", 2] == f"{root}/S3/repeat_2/distillation"
    assert stages[f"{root}/S4/repeat_3/distillation"]["teacher"] == (
        f"{root}/T2/repeat_3/teacher_continuation/model"
    )
    assert stages[f"{root}/T2/repeat_3/teacher_continuation"]["seed"] == 102
    assert ("T1", "teacher_continuation", 2) not in study.folders
    assert ("truncated", "distillation", 2) not in study.folders
    own = [
        (p["model"], p["seeds"])
        for n in (1, 2, 3)
        for p in [stages[study.folders["truncated", "finetune", n]]]
    ]
    model = f"{root}/truncated/distillation/model"
    assert own == [(model, [101, 102]), (model, [1101, 1102]), (model, [2101, 2102])]


def test_chains_and_shared_scenarios_repeat_too(own_params):
    for name in ("cascade", "transfer_set"):
        path = own_params / name / "smoke.yaml"
        path.write_text("repeats: 2\n" + path.read_text())
    cascade, ablation = Study("cascade", "smoke"), Study("ablation", "smoke")
    stages = {stage.folder: stage for stage in [*cascade.resolve(), *ablation.resolve()]}
    chain = [name for name, kind, n in cascade.folders if (kind, n) == ("cascade_ta", 2)]
    assert chain and not any(name.startswith("truncated") for name in chain)
    deepest, second = (stages[cascade.folders[name, "cascade_ta", 2]] for name in chain[:2])
    assert second.parameters["teacher"] == f"{deepest.folder}/model" or len(chain) == 2
    assert ablation.folders["triple", "finetune", 2].endswith("corpus10pct/repeat_2/finetune")
    assert ablation.folders["without_soft", "distillation", 2].endswith(
        "ablation/without_soft/repeat_2/distillation"
    )
    path = StagePath.parse(f"{deepest.folder}/model")
    assert (path.scenario, path.repeat, str(path)) == (chain[0], 2, deepest.folder)
    scenarios = own_params / "cascade/scenarios.yaml"
    text = scenarios.read_text().replace("    hop: half\n", "    hop: half\n    repeats: 1\n")
    scenarios.write_text(text)
    again = Study("cascade", "smoke")
    again.resolve()
    assert not [name for name, _, n in again.folders if name.startswith("direct") and n == 2]
