"""The whole herbert study at smoke scale: every notebook through papermill, by the same commands as
`make report`."""

import json

import pandas as pd
import papermill
import pytest
import yaml

from lib.common.places import ROOT
from lib.plan import plan
from lib.report import claims
from lib.report.page.render import external_references
from tests.helpers.project import copy_project, make, read_results, result_files, stages_to_run

# Contract files: other tools read these columns.
RESULTS = "study scenario layers repeat seed task language metric protocol epoch value".split()
EFFICIENCY = (
    "study scenario model parameters size_mib latency_s tokens_seen tokens_per_parameter "
    "train_seconds "
    "tokens_per_second peak_memory_mib stage stage_seconds padding_share waiting_share "
    "latency_low latency_high"
).split()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """outputs/smoke of a finished run from nothing."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    make(folder, "report", "SCALE=smoke", "STUDIES=herbert")
    return folder / "outputs" / "smoke"


@pytest.fixture(scope="module")
def smoke(outputs):
    return read_results(outputs)


def test_papermill_reads_every_parameter(caplog):
    """It warns of a line that it cannot parse, such as one with an equals sign in its comment."""
    for path in sorted((ROOT / "notebooks").glob("[1-6]_*.ipynb")):
        assert papermill.inspect_notebook(str(path))
    assert caplog.messages == []


def test_every_stage_left_a_result(smoke):
    steps = plan.resolve("smoke", ["herbert"])
    assert {step.path.name for step in steps} | {"analysis"} == set(smoke)


def test_data_prep(smoke):
    found = smoke["herbert/corpus_teacher/data_prep"]["statistics"]
    assert found["lines_in"] == 600 and found["lines"] + found["held_out"]["lines"] == 600
    assert found["tokens_with_specials"] == found["tokens"] + 2 * found["sequences"]
    transfer = smoke["herbert/corpus_transfer/data_prep"]["statistics"]
    assert transfer["tokenizer_fingerprint"] == found["tokenizer_fingerprint"]


def test_teachers(smoke):
    t1, t2 = (smoke[f"herbert/{name}/teacher_continuation"] for name in ("T1", "T2"))
    assert t1["summary"]["layers"] == t2["summary"]["layers"] == 2
    assert t1["summary"]["steps"] == 8 and t2["summary"]["steps"] == 3  # 4 shallow + 4 whole; 3
    assert [row["step"] for row in t1["history"]] == list(range(1, 9))
    assert t2["before"]["mlm_loss"] > 0 and t1["after"]["mlm_loss"] < t1["before"]["mlm_loss"]


def test_students(smoke):
    found = {
        name: smoke[f"herbert/{name}/distillation"]
        for name in ("S0", "S1", "S2", "S2_longer", "S3", "S4", "truncated")
    }
    components = {
        name: set(result["history"][-1]) & {"mlm", "soft", "cosine"} if result["history"] else set()
        for name, result in found.items()
    }
    triple = {"mlm", "soft", "cosine"}
    assert components == {
        "S0": set(),
        "S1": {"mlm"},
        "S2": {"mlm"},
        "S2_longer": {"mlm"},
        "S3": triple,
        "S4": triple,
        "truncated": set(),
    }
    for row in found["S3"]["history"]:
        assert row["loss"] == pytest.approx(
            5 * row["soft"] + 2 * row["mlm"] + row["cosine"], rel=1e-5
        )
    # Stages of their own may round otherwise.
    cut, random = (found[name]["before"] for name in ("truncated", "S0"))
    for same in (found["truncated"]["after"], found["S2"]["before"]):
        assert same == pytest.approx(cut, rel=1e-6)
    assert found["S1"]["before"] == pytest.approx(random, rel=1e-6)
    assert random != pytest.approx(cut, rel=1e-3)
    assert {result["summary"]["layers"] for result in found.values()} == {1}
    assert found["S3"]["summary"]["tokens_seen"] == found["S3"]["history"][-1]["tokens"] > 0


def test_models_load_in_a_plain_library(outputs):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = outputs / "herbert/S3/distillation/model"
    model, tokenizer = (
        AutoModelForMaskedLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    assert model(**tokenizer("ala ma kota", return_tensors="pt")).logits.shape[-1] == len(tokenizer)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (
        "mean over 2 seeds" in card
        and "its teacher, `T1`" in card
        and "not measured yet" not in card
    )


@pytest.mark.parametrize("stage", ["S3/distillation", "S3/finetune"])
def test_every_table_and_figure_of_a_notebook_is_displayed(outputs, stage):
    """Jupyter displays what the last line of a cell evaluates to, and nothing of an if."""
    path = outputs / "herbert" / stage / "notebook.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    made = [cell for cell in cells if "show.table(" in "".join(cell["source"])]
    made += [cell for cell in cells if "show.figure(" in "".join(cell["source"])]
    empty = {"".join(cell["source"]) for cell in made if not cell["outputs"]}
    assert len(made) > 2 and all("if len(p.languages) > 1 else None" in cell for cell in empty)


def test_finetuning(smoke):
    found = smoke["herbert/S3/finetune"]["scores"]
    assert len(found) == 3 * 2 * 2  # tasks, seeds, epochs
    assert all(row["metric"] == "accuracy" and 0 <= row["value"] <= 100 for row in found)
    assert smoke["herbert/T1/finetune"]["model"]["layers"] == 2


def test_contract_files(smoke, outputs):
    results = pd.read_csv(outputs / "results.csv")
    assert list(results) == RESULTS
    assert len(results) == 9 * 3 * 2 * 2  # models, tasks, seeds, protocols
    wide = results.pivot_table(
        index=["scenario", "task", "seed"], columns="protocol", values="value"
    )
    assert (wide["best_epoch"] >= wide["final"]).all()
    scores = pd.DataFrame(smoke["herbert/S4/finetune"]["scores"])
    one = scores[(scores["task"] == "nkjp-ner") & (scores["seed"] == 2)]
    row = results.query("scenario == 'S4' and task == 'nkjp-ner' and seed == 2").set_index(
        "protocol"
    )["value"]
    assert row["final"] == one["value"].iloc[-1] and row["best_epoch"] == one["value"].max()

    outcomes = pd.read_csv(outputs / "outcomes.csv")
    assert list(outcomes) == RESULTS and set(outcomes["scenario"]) == set(results["scenario"])
    wide = outcomes.pivot(index="scenario", columns="metric", values="value")
    after = {name: smoke[f"herbert/{name}/distillation"]["after"] for name in ("S3", "truncated")}
    for name, probe in after.items():
        assert wide.loc[name, "mlm_loss"] == pytest.approx(probe["mlm_loss"], rel=1e-5)
    own = smoke["herbert/S3/distillation"]
    assert wide.loc["T1", "mlm_loss"] == pytest.approx(own["teacher"]["mlm_loss"], rel=1e-5)
    assert wide.loc["S3", "kl"] == pytest.approx(own["held_out"]["kl"]) and wide["kl"].min() > 0

    verdicts = pd.read_csv(outputs / "claims.csv")
    assert list(verdicts) == claims.COLUMNS and set(verdicts["verdict"]) <= {
        "holds",
        "contradicted",
        "unresolved",
    }
    efficiency = pd.read_csv(outputs / "efficiency.csv")
    assert list(efficiency) == EFFICIENCY
    trained = efficiency[efficiency["stage"].isin(["teacher_continuation", "distillation"])]
    students = {"S0", "S1", "S2", "S2_longer", "S3", "S4", "truncated"}
    assert set(trained["scenario"]) == students | {"T1", "T2"}
    assert (trained["latency_low"] > 0).all()  # without latency_s the machine was busy
    assert not (trained["latency_s"] < trained["latency_low"]).any()
    assert not (trained["latency_s"] > trained["latency_high"]).any()
    stages = efficiency.groupby("stage")
    assert stages.size().to_dict() == {
        "data_prep": 2,
        "teacher_continuation": 2,
        "distillation": 7,
        "finetune": 9,
    }
    assert (stages["stage_seconds"].min() > 0).all()
    cost = efficiency[efficiency["train_seconds"] > 0]
    assert (cost["tokens_per_second"] > 0).all() and cost["padding_share"].between(0, 0.6).all()
    assert cost["waiting_share"].between(0, 1).all()


def test_the_report(outputs):
    page = (outputs / "report.html").read_text(encoding="utf-8")
    assert external_references(page) == [] and len(page) < 5_000_000
    for text in ("Claims at a glance", "Table 1", "Figure 1", "<math", "NKJP", "truncated"):
        assert text in page, text
    assert "Traceback" not in page and "<script" not in page


def test_a_second_run_runs_nothing_and_a_change_reruns_what_depends_on_it(outputs):
    def dates():
        return {name: path.stat().st_mtime_ns for name, path in result_files(outputs).items()}

    project, before = outputs.parent.parent, dates()
    (project / "notebooks/3_distillation.ipynb").touch()  # touched is not changed
    assert stages_to_run(project) == set()
    scenarios = project / "params/herbert/scenarios.yaml"
    changed = yaml.safe_load(scenarios.read_text(encoding="utf-8"))
    changed["scenarios"]["S3"]["temperature"] = 4
    scenarios.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    make(project, "report", "SCALE=smoke", "STUDIES=herbert")
    after = dates()
    assert {name for name in after if after[name] != before[name]} == {
        "herbert/S3/distillation",
        "herbert/S3/finetune",
        "analysis",
    }
    assert (
        json.loads((outputs / "herbert/S3/distillation/result.json").read_text())["parameters"][
            "temperature"
        ]
        == 4
    )
