"""The studies of 001 and 002, and those on request that share their models, on a folder of text and
tasks, by the README's command: sizes of `smoke`, fewer students."""

import json

import pandas as pd
import pytest
import yaml

from lib.data.toy import tasks
from lib.data.toy.corpora import corpus_lines
from lib.report import claims
from lib.report.page.render import external_references
from lib.tasks.registry import TASKS
from tests.helpers.project import (
    assert_whole,
    copy_project,
    make,
    needs_environment,
    read_results,
)

pytestmark = needs_environment

KEPT = {
    "transfer_set": ["corpus10pct", "randomised", "truncated"],
    "ablation": ["triple", "without_soft", "layers_to_top", "truncated"],
    "objectives": "logits hidden_lowest attention_random relations_longer triple truncated".split(),
    "task_distillation": ["triple", "triple_matched", "truncated", "truncated_taught"],
    "labels": ["teacher_50", "distilled", "distilled_50", "truncated", "truncated_50"],
}
TASKS_OF = {
    "objectives": ["mnli", "rte"],
    "task_distillation": ["rte", "stsb", "squad"],
    "labels": ["sst2", "stsb"],
}
"""Fewer than these studies have, a task of each kind."""
SPLITS = {"mnli": ("train", "validation_matched", "validation_mismatched")}


def folder_of_data(folder):
    """Text and tasks as files: an encyclopedia and novels, GLUE's nine tasks and SQuAD, in a toy
    language."""
    (folder / "text/en").mkdir(parents=True)
    for name, corpus in (("wikipedia", "encyclopedia"), ("books", "novels")):
        lines = corpus_lines("toy-en", corpus, 900, 0)
        (folder / f"text/en/{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    for name in (task for task in tasks.TOY_TASKS if TASKS[task].suite in ("glue", "squad")):
        place = folder / "glue" / name if TASKS[name].suite == "glue" else folder / "squad"
        place.mkdir(parents=True)
        for split in SPLITS.get(name, ("train", "validation")):
            records = tasks.task_records("toy-en", name, split, 16, 0)
            (place / f"{split}.jsonl").write_text(
                "\n".join(map(json.dumps, records)), encoding="utf-8"
            )
    return folder


def shrink(project):
    """The scale `local` with the sizes of `smoke`, its own sources, and the students of KEPT."""
    path = project / "params/transfer_set"
    sizes, own = (
        yaml.safe_load((path / f"{scale}.yaml").read_text()) for scale in ("smoke", "local")
    )
    cut = {"max_length": 48, "vocab_size": 600, "held_out_lines": 50, "processes": 1}
    corpora = own["corpora"] | {"corpus": own["corpora"]["corpus"] | cut}
    changes = {key: own["finetune"][key] for key in ("task_source", "task_folder")}
    changes |= {"seeds": [1], "evaluate": "last"}
    sizes |= {
        "corpora": corpora,
        "finetune": {k: v for k, v in sizes["finetune"].items() if k != "task_language"} | changes,
    }
    (path / "local.yaml").write_text(yaml.safe_dump(sizes))
    # The ablation's students but triple are trained side by side, as at the papers' scale.
    (project / "params/ablation/local.yaml").write_text(
        "uses: transfer_set\ndistillation: {side_by_side: true}\n"
    )
    for study in "objectives", "task_distillation":
        fewer = {"finetune": {"tasks": TASKS_OF[study]}}
        used = {"uses": "ablation" if study == "objectives" else "transfer_set"}
        (project / f"params/{study}/local.yaml").write_text(yaml.safe_dump(used | fewer))
    for study, names in KEPT.items():
        scenarios = project / f"params/{study}/scenarios.yaml"
        found = yaml.safe_load(scenarios.read_text())
        found["scenarios"] = {name: found["scenarios"][name] for name in names}
        if study == "labels":
            found["common"]["finetune"]["tasks"] = found["columns"] = TASKS_OF[study]
        if "grid" in found:
            rows = found["grid"]["rows"].items()
            found["grid"]["rows"] = {
                title: [name if name in names else None for name in own] for title, own in rows
            }
        scenarios.write_text(yaml.safe_dump(found))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("english"))
    data = folder_of_data(tmp_path_factory.mktemp("data"))
    shrink(project)
    make(project, "report", "SCALE=local", f"STUDIES={' '.join(KEPT)}", f"DATA_DIR={data}")
    return project / "outputs/local"


@pytest.fixture(scope="module")
def found(outputs):
    return read_results(outputs)


def test_every_stage_ran_once(found):
    trained = {name for name in found if name.endswith("distillation")}
    assert trained == {
        "transfer_set/corpus10pct/distillation",
        "transfer_set/randomised/distillation",
        "transfer_set/truncated/distillation",
        "ablation/without_soft/distillation",
        "ablation/layers_to_top/distillation",
        *(f"objectives/{name}/distillation" for name in KEPT["objectives"][:4]),
    }
    assert {name for name in found if "teacher/" in name} == {
        "transfer_set/teacher/teacher_continuation",
        "transfer_set/teacher/finetune",
        "task_distillation/teacher/finetune",  # which keeps its models
        "labels/teacher/finetune",
    }


def test_students_trained_side_by_side_have_results_of_their_own(found):
    leader, other = (
        found[f"ablation/{name}/distillation"] for name in ("layers_to_top", "without_soft")
    )
    assert list(leader["parameters"]["beside"]) == ["without_soft"]
    assert other["parameters"]["trained_in"].endswith(
        "ablation/layers_to_top/distillation/beside/without_soft"
    )
    assert leader["history"][-1]["soft"] > 0 and "soft" not in other["history"][-1]
    assert leader["summary"]["tokens_seen"] == other["summary"]["tokens_seen"] > 0


def test_transfer_sets(found):
    whole = found["transfer_set/corpus_corpus/data_prep"]["statistics"]
    tenth = found["transfer_set/corpus_corpus10pct/data_prep"]["statistics"]
    shuffled = found["transfer_set/corpus_randomised/data_prep"]["statistics"]
    assert tenth["sequences"] == round(0.1 * whole["sequences"])
    assert (shuffled["sequences"], shuffled["tokens"]) == (tenth["sequences"], tenth["tokens"])
    assert [source["name"] for source in whole["sources"]] == ["wikipedia.txt", "books.txt"]
    assert whole["lines"] > 1800  # passages were split into sentences


def test_results_have_ten_tasks_for_every_model_of_both_studies(outputs):
    results = pd.read_csv(outputs / "results.csv")
    results = results[results["study"].isin(["transfer_set", "ablation"])]
    wanted = {("transfer_set", name) for name in ("teacher", *KEPT["transfer_set"])}
    wanted |= {("ablation", name) for name in ("teacher", *KEPT["ablation"])}
    assert {
        tuple(pair) for pair in results[["study", "scenario"]].drop_duplicates().values
    } == wanted
    assert (
        results["task"].nunique() == 10
        and set(results["seed"]) == {1}
        and set(results["language"]) == {"en"}
    )
    metrics = results.groupby("task")["metric"].unique().map(sorted).to_dict()
    assert metrics["mnli"] == ["accuracy", "accuracy_mismatched"] and metrics["squad"] == [
        "exact_match",
        "f1",
    ]
    assert metrics["cola"] == ["matthews"] and metrics["stsb"] == ["pearson", "spearman"]
    one, other = (
        results[(results["study"] == study) & (results["scenario"] == name)]["value"].tolist()
        for study, name in (("transfer_set", "corpus10pct"), ("ablation", "triple"))
    )
    assert one == other  # the same student under two names


def test_studies_on_request_have_every_row_and_a_verdict_or_a_reason_for_every_claim(outputs):
    results = pd.read_csv(outputs / "results.csv").set_index("study")
    for study, own in TASKS_OF.items():
        by_scenario = results.loc[study].groupby("scenario")["task"].unique().map(set).to_dict()
        assert by_scenario == dict.fromkeys(["teacher", *KEPT[study]], set(own)), study
    verdicts = pd.read_csv(outputs / "claims.csv").set_index("id")
    own = verdicts[verdicts.index.str.match("objectives|task-distillation")]
    assert len(own) == 14 and (own["n"] > 0).any()
    assert (own["verdict"].isin(["holds", "contradicted"]) | own["kind"].notna()).all()
    assert own.loc[own["n"] == 0, "needs"].notna().all()


def test_the_report_holds_all_sections(outputs):
    page = (outputs / "report.html").read_text(encoding="utf-8")
    assert external_references(page) == [] and "<script" not in page
    assert_whole(page)
    for text in (
        "Transfer sets: how much text",
        "randomised",
        "RQ 1",
        "RQ 2",
        "without soft targets",
        "layers up to the top",
        "Objectives: what a student should match</h2>",
        "Task distillation: a teacher at fine-tuning</h2>",
        "Labels: do they make good what a student lacks?</h2>",
    ):
        assert text in page, text
    assert "PosixPath" not in page
    verdicts = pd.read_csv(outputs / "claims.csv")
    assert list(verdicts) == claims.COLUMNS and {"001", "002"} <= set(verdicts["source"].str[:3])
