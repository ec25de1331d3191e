"""The whole plan of all four studies at the scale `paper`, by the README's command, against a
mirror that serves stand-ins under the hub's own ids and revisions. Replaced are how much is read,
how long is trained, and fp16, which needs a GPU; nothing else."""

import os

import pandas as pd
import pytest
import yaml

from lib.plan import plan
from lib.report.page.render import external_references
from tests.helpers import standins
from tests.helpers.mirror import Mirror
from tests.helpers.project import copy_project, needs_environment, read_results, run_make

pytestmark = needs_environment

WIKIPEDIAS = ["en", "is", "es", "zh", "de", "ar", "ur", "pl"]
HUB_VARIABLES = (
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HF_HOME",
)
SMALLER = {
    "herbert": {
        "corpora.transfer": {"subset_size": 60_000, "held_out_lines": 20, "processes": 2},
        "teachers.T2": {"steps": 2, "precision": "no"},
        "distillation": {"steps": 2, "precision": "no"},
        "finetune": {"epochs": 2, "seeds": [1]},
    },
    "transfer_set": {
        "corpora.corpus": {"held_out_lines": 20, "processes": 2},
        "distillation": {"steps": 2},
        "finetune": {"epochs": 1, "seeds": [1]},
        "finetune.per_task.squad": {"epochs": 1},
    },
    "cascade": {
        "corpora.corpus": {
            "sampled_lines": 600,
            "held_out_lines": 20,
            "processes": 2,
            "max_unknown_share": 0.2,  # the stand-in's tokenizer knows fewer words than the hub's
        },
        "cascade": {"total_steps": 6},
        "finetune": {"epochs": 1, "seeds": [1]},
    },
}


def shrink(project, endpoint: str):
    """The scale files with smaller numbers, fewer Wikipedias, and the mirror."""
    for study, changes in SMALLER.items():
        path = project / f"params/{study}/paper.yaml"
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        for place, values in changes.items():
            inner = found
            for key in place.split("."):
                inner = inner[key]
            assert set(values) - {"steps", "max_unknown_share"} <= set(inner) | {"epochs"}, (
                f"{study}: {place} has lost a key"
            )
            inner |= values
        found["hub"] = {"endpoint": endpoint, "cache_dir": "../cache"}
        if study == "cascade":
            found["corpora"]["corpus"]["sources"][0]["languages"] = WIKIPEDIAS
        path.write_text(
            yaml.safe_dump(found, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run, and what the mirror was asked for."""
    folder = tmp_path_factory.mktemp("paper")
    standins.build(folder / "hub", WIKIPEDIAS)
    project = folder / "project"
    project.mkdir()
    copy_project(project)
    with pytest.MonkeyPatch.context() as patch, Mirror(folder / "hub") as mirror:
        for name in HUB_VARIABLES:
            patch.delenv(name, raising=False)
        shrink(project, mirror.endpoint)
        done = run_make(project, "report", "SCALE=paper", "GPUS=0", "CORES=2")
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        yield project, mirror.requests


@pytest.fixture(scope="module")
def found(project):
    """Every result.json, by the folder of its stage."""
    return read_results(project[0] / "outputs/paper")


def test_every_stage_of_the_plan_ran(found):
    steps = plan.resolve("paper", [])
    assert {step.path.name for step in steps} | {"analysis"} == set(found)
    assert len(steps) == 96


def test_the_pinned_revisions_were_asked_for(project):
    asked = "\n".join(project[1])
    for step in plan.resolve("paper", []):
        p = step.parameters
        for key in ("teacher", "model", "tokenizer"):
            if p.get(f"{key}_revision"):
                revision = p[f"{key}_revision"].replace(
                    "/", "%2F"
                )  # the library asks which commit that is, then for its files
                ways = (f"/{p[key]}/resolve/{revision}/", f"/models/{p[key]}/revision/{revision}")
                assert any(way in asked for way in ways), (key, p[key])
    assert "/statmt/cc100/" in asked and "refs%2Fconvert%2Fparquet" in asked
    assert not any("/herbert-base-cased/" in line and "/main" in line for line in project[1])


def test_parameters_are_the_papers_but_for_the_replaced(found):
    wanted = {step.path.name: step.parameters for step in plan.resolve("paper", [])}
    replaced = {
        "subset_size",
        "held_out_lines",
        "processes",
        "steps",
        "precision",
        "epochs",
        "seeds",
        "per_task",
        "sampled_lines",
        "max_unknown_share",
        "sources",
    }
    for name, parameters in wanted.items():
        own = found[name]["parameters"]
        assert {key for key in own if own[key] != parameters[key]} <= replaced, name


def test_teachers_and_students_have_the_papers_depths(found):
    layers = {
        name: result["summary"]["layers"]
        for name, result in found.items()
        if "layers" in result.get("summary", {})
    }
    assert {
        value
        for name, value in layers.items()
        if name.startswith(("herbert/S", "transfer_set", "ablation"))
    } == {6}
    assert layers["herbert/T2/teacher_continuation"] == 12
    assert [layers[f"cascade/cascade-{depth}/cascade_ta"] for depth in range(11, 5, -1)] == [
        11,
        10,
        9,
        8,
        7,
        6,
    ]
    models = {
        name.split("/")[1]: result["model"]["layers"]
        for name, result in found.items()
        if name.endswith("/finetune")
    }
    assert (models["T1"], models["DistilBERT"], models["DistilmBERT"], models["teacher"]) == (
        12,
        6,
        6,
        12,
    )


def test_corpora(found):
    polish = found["herbert/corpus_transfer/data_prep"]["statistics"]
    assert (
        polish["dropped"]["blank"] > 20 and 40_000 < polish["bytes"] <= 60_000
    )  # CC-100's empty rows; the subset
    english = found["transfer_set/corpus_corpus/data_prep"]["statistics"]
    assert [source["name"] for source in english["sources"]] == [
        "bookcorpus/bookcorpus",
        "wikimedia/wikipedia 20231101.en",
    ]
    assert found["transfer_set/corpus_corpus0.1pct/data_prep"]["statistics"]["sequences"] >= 1
    many = found["cascade/corpus_corpus/data_prep"]["statistics"]
    assert [row["language"] for row in many["languages"]] == WIKIPEDIAS and len(
        many["sections"]
    ) == 6
    share = {row["language"]: row["target"] for row in many["languages"]}
    assert share["en"] == pytest.approx(100 * share["is"])


def test_scores_and_report(project, found):
    outputs = project[0] / "outputs/paper"
    results = pd.read_csv(outputs / "results.csv")
    assert results["value"].between(-100, 100).all()
    languages = results[results["study"] == "cascade"]["language"].unique()
    assert set(languages) == {"en", "es", "zh", "de", "ar", "ur"}
    assert results[results["study"] == "transfer_set"]["task"].nunique() == 10
    page = (outputs / "report.html").read_text(encoding="utf-8")
    assert external_references(page) == [] and "Traceback" not in page


def test_with_everything_in_the_cache_a_stage_runs_offline(project):
    """The mirror is asked nothing, and what is not there is one line."""
    folder, asked = project
    before = len(asked)
    for name in ("herbert/T1/finetune", "cascade/teacher/finetune"):
        (folder / f"outputs/paper/{name}/result.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("HF_DATASETS_OFFLINE", raising=False)
        done = run_make(
            folder, "report", "SCALE=paper", "GPUS=0", "CORES=2", "STUDIES=herbert cascade"
        )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert len(asked) == before and os.environ.get("HF_HUB_OFFLINE") != "0"
