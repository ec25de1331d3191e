"""The studies of 001 and 002 on a folder of text and tasks, by the README's command: sizes of
`smoke`, fewer students."""

import json

import pandas as pd
import pytest
import yaml

from lib.data.toy import tasks
from lib.data.toy.corpora import corpus_lines
from lib.report import claims
from lib.report.page.render import external_references
from lib.tasks.registry import TASKS
from tests.helpers.project import copy_project, make, needs_environment, read_results

pytestmark = needs_environment

KEPT = {
    "transfer_set": ["corpus10pct", "randomised"],
    "ablation": ["triple", "without_soft", "layers_to_top"],
}
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
    changes |= {"seeds": [1]}
    sizes |= {
        "corpora": corpora,
        "finetune": {k: v for k, v in sizes["finetune"].items() if k != "task_language"} | changes,
    }
    (path / "local.yaml").write_text(yaml.safe_dump(sizes))
    # The ablation's students but triple are trained side by side, as at the papers' scale.
    (project / "params/ablation/local.yaml").write_text(
        "uses: transfer_set\ndistillation: {side_by_side: true}\n"
    )
    for study, names in KEPT.items():
        scenarios = project / f"params/{study}/scenarios.yaml"
        found = yaml.safe_load(scenarios.read_text())
        found["scenarios"] = {name: found["scenarios"][name] for name in names}
        scenarios.write_text(yaml.safe_dump(found))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("english"))
    data = folder_of_data(tmp_path_factory.mktemp("data"))
    shrink(project)
    make(project, "report", "SCALE=local", "STUDIES=transfer_set ablation", f"DATA_DIR={data}")
    return project / "outputs/local"


@pytest.fixture(scope="module")
def found(outputs):
    return read_results(outputs)


def test_every_stage_ran_once(found):
    trained = {name for name in found if name.endswith("distillation")}
    assert trained == {
        "transfer_set/corpus10pct/distillation",
        "transfer_set/randomised/distillation",
        "ablation/without_soft/distillation",
        "ablation/layers_to_top/distillation",
    }
    assert {name for name in found if "teacher/" in name} == {
        "transfer_set/teacher/teacher_continuation",
        "transfer_set/teacher/finetune",
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


def test_the_report_holds_both_sections(outputs):
    page = (outputs / "report.html").read_text(encoding="utf-8")
    assert external_references(page) == [] and "Traceback" not in page and "<script" not in page
    for text in (
        "Transfer sets: how much text",
        "randomised",
        "RQ 1",
        "RQ 2",
        "without soft targets",
        "layers up to the top",
    ):
        assert text in page, text
    assert "PosixPath" not in page
    verdicts = pd.read_csv(outputs / "claims.csv")
    assert list(verdicts) == claims.COLUMNS and {"001", "002"} <= set(verdicts["source"].str[:3])
