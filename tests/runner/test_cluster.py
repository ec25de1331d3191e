"""Every stage a job of a cluster: what the shipped profiles would submit, by dry runs; the notes of
what was copied to a store."""

import importlib.util
import subprocess

import pytest
import yaml

from lib.common.places import ROOT
from tests.helpers.project import copy_project, dry_run

PROFILES = ROOT / "params" / "profiles"
THERE = {
    "slurm": "snakemake_executor_plugin_slurm",
    "kubernetes": "snakemake_executor_plugin_kubernetes",
}
STAGES = {
    "data_prep": 2,
    "teacher_continuation": 2,
    "distillation": 6,
    "finetune": 8,
    "analysis": 1,
    "report": 1,
}


def jobs(printed):
    """The table of jobs at its end, by rule."""
    lines = printed.split("Job stats:")[1].split("total")[0].splitlines()
    return {
        line.split()[0]: int(line.split()[1])
        for line in lines
        if line and line.split()[-1].isdigit()
    }


@pytest.mark.parametrize("name", THERE)
def test_a_profile_submits_every_stage(name, tmp_path):
    if not importlib.util.find_spec(THERE[name]):
        pytest.skip("needs the extra `cluster`")
    project = copy_project(tmp_path)
    here = ["--default-storage-prefix", str(project)] if name == "kubernetes" else []
    profile = [
        "--profile",
        f"params/profiles/{name}",
        "--quiet",
        "host",
    ]  # its own is too quiet to look at
    printed = dry_run(project, *profile, *here, config=["gpus=2", "cores=3"])
    assert jobs(printed) == STAGES
    assert "mem_mb=16000" in printed and "gpu=1" in printed
    assert not any((project / "outputs").glob("**/result.json"))


def test_without_gpus_none_is_asked_for(tmp_path):
    """Kubernetes takes a request of none for a request."""
    assert "gpu=" not in dry_run(copy_project(tmp_path), "--cores", "2")


def test_a_stage_books_its_processes(tmp_path):
    project = copy_project(tmp_path)
    path = project / "params/herbert/smoke.yaml"
    smoke = yaml.safe_load(path.read_text(encoding="utf-8"))
    smoke["distillation"] |= {"processes": 2, "threads": 3}
    path.write_text(yaml.safe_dump(smoke), encoding="utf-8")
    printed = (
        dry_run(project, "--cores", "8", config=["gpus=4"])
        .split("rule distillation:")[1]
        .split("rule ")[0]
    )
    assert "threads: 6" in printed and "gpu=2" in printed


@pytest.mark.parametrize("name", THERE)
def test_make_passes_the_profile_on_and_keeps_the_warm_process_out(name):
    printed = subprocess.run(
        ["make", "-n", "report", f"PROFILE={name}", "GPUS=4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    (line,) = [line for line in printed.replace("\\\n", " ").splitlines() if "snakemake --" in line]
    assert (
        f"snakemake --profile params/profiles/{name} " in line
        and "lib.runner.warm" not in line
        and "--resources gpu=4" in line
    )
    elsewhere = subprocess.run(
        ["make", "-n", "report", "PROFILE=/a/folder"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert "snakemake --profile /a/folder " in elsewhere
    plain = subprocess.run(
        ["make", "-n", "report"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert (
        "python -m lib.runner.warm python -m snakemake --cores" in plain
        and "--profile" not in plain
    )


def test_the_profiles_are_no_study():
    from lib.plan.study import studies

    assert "profiles" not in studies()
    assert {path.parent.name for path in PROFILES.glob("*/config.yaml")} == set(THERE)
