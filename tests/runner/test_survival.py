"""A killed or stopped stage resumes, and publishes the same weights and results as an undisturbed
one, except for times.

`make test-survival` kills more often, and whole reports too; it takes about half an hour.
"""

import os
import random
import re
import shutil
import signal
import sys
import time

import pytest

from lib.common import locks
from tests.helpers import survival
from tests.helpers.project import copy_project, environment, warm_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
THOROUGH = os.environ.get("SURVIVAL", "")  # also the seed of the random moments
thoroughly = pytest.mark.skipif(not THOROUGH, reason="make test-survival runs it")

TRAINING_STAGES = [folder for folder in survival.STAGES if not folder.endswith("data_prep")]
INTERRUPTED = {
    "outputs/kill/student/distillation": signal.SIGINT,
    "outputs/kill/student/finetune": signal.SIGTERM,
}
"""Stage -> the signal that interrupts it. Unless `make test-survival` runs, only the others are
killed."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the parameter files of the stages."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    survival.write_parameters(folder)
    return folder


@pytest.fixture(scope="module")
def warm_socket(project):
    """The socket of a warm process, which has prepared the corpus."""
    with warm_process(project) as socket:
        survival.wait_for_success(survival.start_stage(project, survival.CORPUS, socket))
        yield socket


@pytest.fixture(scope="module")
def undisturbed(project, warm_socket):
    """The files that each stage publishes when it is not killed, and its seconds."""
    return survival.run_undisturbed(project, warm_socket, TRAINING_STAGES)


def test_a_killed_stage_resumes_and_publishes_the_same_files(project, warm_socket, undisturbed):
    """One SIGKILL in each stage; twenty in all in `make test-survival`."""
    stages = [name for name in undisturbed if THOROUGH or name not in INTERRUPTED]
    kills = 20 if THOROUGH else len(stages)
    victims = {name: undisturbed[name] for name in stages}
    table = survival.kill_all(project, warm_socket, victims, kills, seed=int(THOROUGH or 7))
    print(table.to_string())
    assert table["same"].sum() == kills, table.to_string()


@pytest.mark.parametrize("folder, signal_number", INTERRUPTED.items())
def test_an_interrupted_stage_keeps_a_checkpoint_and_reports_its_step(
    project, warm_socket, undisturbed, folder, signal_number
):
    """Ctrl-C in the terminal, or a cluster's cancel: one line of output, no published result, and
    the stage resumes from the step it had reached."""
    stage_folder = project / folder
    survival.clear_stage(stage_folder)
    process = survival.start_stage(project, folder, warm_socket)
    while process.poll() is None and not list(
        stage_folder.glob("scratch/checkpoints/**/step-*.pt")
    ):
        time.sleep(0.01)
    process.send_signal(signal_number)
    output, _ = process.communicate()
    (line,) = [line for line in output.splitlines() if "stopped" in line]
    step = re.search(
        r"stopped: .* after step (\d+) of \d+; start it again to go on from there", line
    )[1]
    assert (
        process.returncode == 130
        and "Traceback" not in output
        and not (stage_folder / "result.json").is_file()
    )
    survival.wait_for_success(survival.start_stage(project, folder, warm_socket))
    assert f"resumed after step {step}" in (stage_folder / "log.txt").read_text(encoding="utf-8")
    expected, _ = undisturbed[folder]
    assert survival.differing_files(expected, survival.read_outputs(stage_folder)) == []


def test_a_run_that_is_stopped_ends_though_its_command_hangs(project, undisturbed):
    """In a script's background SIGINT is ignored, and Snakemake may hang in its handler of SIGTERM:
    the stage still stops with a checkpoint, and nothing is left running."""
    folder = "outputs/kill/student/distillation"
    stage_folder = project / folder
    survival.clear_stage(stage_folder)
    code = (
        "import signal, subprocess, sys; from lib.runner import warm; warm.PATIENCE = 0.1;"
        "stage = [sys.executable, '-m', 'lib.runner.warm', '--stage', sys.argv[1]];"
        "hang = 'trap : TERM; \"$@\"; while :; do sleep 1; done';"
        "sys.exit(warm.main(['bash', '-c', hang, 'bash', *stage]))"
    )
    command = [sys.executable, "-c", code, f"{folder}/parameters.yaml"]
    others = survival.processes_in(project)
    process = survival.start(command, project, environment(project), ignores_sigint=True)
    while process.poll() is None and not list(
        stage_folder.glob("scratch/checkpoints/**/step-*.pt")
    ):
        time.sleep(0.01)
    process.terminate()
    output, _ = process.communicate()
    assert "stopped: " in output and "start it again to go on from there" in output, output
    assert process.returncode != 0 and "Traceback" not in output
    survival.wait_for_processes(project, others)


# -------------------------------------------------------------------------------------- make report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A project, the files of its smoke report, and the number of its stages."""
    folder = copy_project(tmp_path_factory.mktemp("report"))
    survival.wait_for_success(survival.start_report(folder))
    stages = len(list(folder.glob("outputs/smoke/**/result.json")))
    return folder, survival.read_report_outputs(folder), stages


@thoroughly
@pytest.mark.parametrize("turn", range(5))
def test_a_killed_report_resumes_and_publishes_the_same_files(report, turn):
    """SIGKILL to the whole process group: make, Snakemake and papermill."""
    folder, expected, stages = report
    share = random.Random(f"{THOROUGH} {turn}").uniform(0.1, 0.9)
    shutil.rmtree(folder / "outputs")
    process = survival.start_report(folder)
    done = survival.wait_for_stages(folder, process, share, stages)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    survival.wait_for_processes(folder)
    survival.wait_for_success(survival.start_report(folder))
    assert survival.differing_files(expected, survival.read_report_outputs(folder)) == []
    print(f"killed when {done} stages were done; the files are the same")


@thoroughly
@pytest.mark.parametrize(
    "signal_number, to_all", [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)]
)
def test_an_interrupted_report_resumes_and_publishes_the_same_files(report, signal_number, to_all):
    """Ctrl-C and a closed terminal signal the whole process group, kill signals make alone."""
    folder, expected, stages = report
    shutil.rmtree(folder / "outputs")
    process = survival.start_report(folder)
    survival.wait_for_stages(folder, process, 0.4, stages)
    (os.killpg if to_all else os.kill)(process.pid, signal_number)
    output, _ = process.communicate()
    print(output)
    survival.wait_for_processes(folder)
    assert process.returncode != 0 and "Traceback" not in output and "stopped" in output
    survival.wait_for_success(survival.start_report(folder))
    assert survival.differing_files(expected, survival.read_report_outputs(folder)) == []


STOPS = {
    "SIGTERM to the group": ([], lambda make: os.killpg(make.pid, signal.SIGTERM)),
    # at its end it does the same as when it is stopped: it passes that on to make and its group
    "timeout": (["timeout", "9999"], lambda timeout: timeout.terminate()),
    "background of a script": ([], lambda make: make.terminate()),
    "killed make": ([], lambda make: make.kill()),
}
"""Way to stop a report -> the command that make runs under, and what to do to the process."""


@thoroughly
@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("way", STOPS)
def test_a_stopped_report_leaves_nothing_running(report, way, turn):
    """No process, and no lock that the next report would wait for."""
    folder, _, all_stages = report
    before, stop = STOPS[way]
    shutil.rmtree(folder / "outputs")
    process = survival.start_report(folder, *before, ignores_sigint=way.startswith("background"))
    share = random.Random(f"{THOROUGH} {way} {turn}").uniform(0.1, 0.8)
    survival.wait_for_stages(folder, process, share, all_stages)
    began, stages = time.monotonic(), len(list(folder.glob("outputs/smoke/**/lock"))) - 1
    stop(process)
    output, _ = process.communicate()
    survival.wait_for_processes(folder)
    locks.take(folder / "outputs/smoke/lock", "a test", print, patience=1)
    assert process.returncode != 0 and "Traceback" not in output, output
    print(f"{way}: {stages} stages were running, all ended after {time.monotonic() - began:.1f} s")


@thoroughly
def test_a_second_report_waits_for_the_first(report):
    """It reports who holds the lock, and runs no stage again."""
    folder, expected, _ = report
    shutil.rmtree(folder / "outputs")
    first = survival.start_report(folder)
    time.sleep(3)
    second = survival.start_report(folder)
    (one, _), (two, _) = first.communicate(), second.communicate()
    assert first.returncode == second.returncode == 0, one + two
    assert "outputs/smoke is in use by make report, process" in two and " starts, " not in two
    assert survival.differing_files(expected, survival.read_report_outputs(folder)) == []
