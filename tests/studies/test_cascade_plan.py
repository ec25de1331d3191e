"""The study of 004 on a folder of text and sentence pairs, by the README's command: sizes of
`smoke`, and what a change of one hop makes run again."""

import json

import pandas as pd
import pytest
import yaml

from lib.data.toy import corpora, tasks
from lib.report import claims
from lib.report.page.render import external_references
from tests.helpers.project import (
    copy_project,
    make,
    needs_environment,
    read_results,
    run_make,
    stages_to_run,
)

pytestmark = needs_environment

TEXT = {
    "en": "toy-en",
    "es": "toy-es",
    "zh": "toy-zh",
    "de": "toy-de",
    "ar": "toy-ar",
    "ur": "toy-ur",
    "is": "toy-ur",
}
PAIRS = list(TEXT)[:6]
COMMAND = ("report", "SCALE=local", "STUDIES=cascade")


def folder_of_data(folder):
    """Text and pairs of several languages as files, in the places of the README."""
    for number, (name, language) in enumerate(TEXT.items()):
        (folder / "text" / name).mkdir(parents=True)
        lines = corpora.corpus_lines(language, "gazette", 900 // (number + 1), number)
        (folder / f"text/{name}/wikipedia.txt").write_text("\n".join(lines), encoding="utf-8")
    places = {
        folder / "glue/mnli/train.jsonl": tasks.task_records("toy-en", "xnli", "train", 30, 0)
    }
    places |= {
        folder / f"xnli/{name}/test.jsonl": tasks.task_records(TEXT[name], "xnli", "test", 12, 0)
        for name in PAIRS
    }
    for path, records in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return folder


def shrink(project):
    """The scale `local` with the sizes of `smoke` and its own text and tasks."""
    path = project / "params/cascade"
    sizes, own = (
        yaml.safe_load((path / f"{scale}.yaml").read_text()) for scale in ("smoke", "local")
    )
    cut = {
        "max_length": 48,
        "vocab_size": 1000,
        "held_out_lines": 50,
        "sections": 2,
        "processes": 1,
    }
    files = {
        key: own["finetune"][key]
        for key in ("task_source", "task_folder", "languages", "freeze_embeddings")
    }
    sizes |= {
        "corpora": {"corpus": own["corpora"]["corpus"] | cut},
        "finetune": {k: v for k, v in sizes["finetune"].items() if k != "task_language"} | files,
    }
    (path / "local.yaml").write_text(yaml.safe_dump(sizes))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("cascade"))
    data = folder_of_data(tmp_path_factory.mktemp("data"))
    shrink(project)
    make(project, *COMMAND, f"DATA_DIR={data}")
    return project, data


def stages(project):
    """Folder of a stage -> its result."""
    return read_results(project[0] / "outputs/local")


def test_every_hop_and_both_controls_are_measured_in_every_language(project):
    outputs = project[0] / "outputs/local"
    results = pd.read_csv(outputs / "results.csv")
    final = results[results["protocol"] == "final"]
    layers = final.groupby("scenario")["layers"].unique().map(list).to_dict()
    assert layers == {
        "teacher": [4],
        "cascade-3": [3],
        "cascade-2": [2],
        "direct-2": [2],
        "direct_cut-2": [2],
        "truncated-3": [3],
        "truncated-2": [2],
    }
    assert set(final["language"]) == set(PAIRS) and set(final["task"]) == {"xnli"}
    assert len(final) == 7 * len(PAIRS) * 2  # models, languages, seeds
    assert final["value"].between(0, 100).all()


def test_the_chain_starts_where_the_hop_before_it_ended(project):
    hops = {
        folder.split("/")[1]: result
        for folder, result in stages(project).items()
        if result["stage"] == "cascade_ta"
    }
    assert hops["cascade-3"]["parameters"]["teacher"].endswith(
        "cascade/teacher/teacher_continuation/model"
    )
    assert hops["cascade-2"]["parameters"]["teacher"].endswith("cascade/cascade-3/cascade_ta/model")
    assert [
        hops[name]["parameters"]["section"] for name in ("cascade-3", "cascade-2", "direct-2")
    ] == [1, 2, 0]
    assert (
        hops["cascade-3"]["summary"]["steps"] + hops["cascade-2"]["summary"]["steps"]
        == hops["direct-2"]["summary"]["steps"]
    )
    assert hops["truncated-2"]["summary"]["steps"] == 0
    last = hops["cascade-2"]["history"][-1]
    assert {"hidden_0", "hidden_1", "hidden_2", "attention_1", "attention_2"} <= set(last) and last[
        "attention_2"
    ] > 0


def test_languages_are_sampled_and_sections_made(project):
    (statistics,) = [
        result["statistics"]
        for result in stages(project).values()
        if result["stage"] == "data_prep"
    ]
    share = {row["language"]: row for row in statistics["languages"]}
    assert list(share) == list(TEXT)
    assert (
        share["en"]["share"] > share["en"]["share_drawn"]
        and share["is"]["share"] < share["is"]["share_drawn"]
    )
    assert (
        len(statistics["sections"]) == 2 and sum(statistics["sections"]) == statistics["sequences"]
    )


def test_the_report_has_the_study(project):
    page = (project[0] / "outputs/local/report.html").read_text(encoding="utf-8")
    assert (
        "one layer less at a time" in page
        and "truncated" in page
        and external_references(page) == []
    )
    verdicts = pd.read_csv(project[0] / "outputs/local/claims.csv")
    asked = verdicts[verdicts["id"].str.startswith("cascade")]
    assert list(verdicts) == claims.COLUMNS and len(asked) > 10
    failed = asked["needs"].str.contains("a teacher that is above a bag of words", na=False)
    assert (asked["measured"].notna() | failed).sum() > 8, "the rest asks for other models"


def test_a_change_of_the_second_hop_runs_it_and_what_needs_it(project):
    folder, data = project
    variables = {"SCALE": "local", "STUDIES": "cascade", "DATA_DIR": str(data)}
    assert stages_to_run(folder, **variables) == set()
    path = folder / "params/cascade/scenarios.yaml"
    found = yaml.safe_load(path.read_text())
    found["scenarios"]["cascade"]["hops"][2] = {"learning_rate": 2e-3}
    path.write_text(yaml.safe_dump(found))
    assert stages_to_run(folder, **variables) == {
        "cascade/cascade-2/cascade_ta",
        "cascade/cascade-2/finetune",
        "report.html",
    }


def test_pairs_without_a_label_are_one_line_before_any_compute(project):
    folder, data = project
    (data / "xnli/zh/test.jsonl").write_text('{"premise": "a", "hypothesis": "b"}\n')
    done = run_make(folder, *COMMAND, f"DATA_DIR={data}")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert (
        done.returncode and len(lines) == 1 and "zh/test.jsonl" in lines[0] and "label" in lines[0]
    ), done.stderr
