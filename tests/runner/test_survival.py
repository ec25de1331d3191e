"""What is killed goes on where it was, and ends as if nothing had been: weights and results the
same but for times.

`make test-survival` kills more often, and Snakemake too; it takes about a quarter of an hour.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import survival
from tests.helpers.project import copy_project, environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at processes as Linux shows them"
)
THOROUGH = os.environ.get("SURVIVAL", "")  # also the seed of the moments
thoroughly = pytest.mark.skipif(not THOROUGH, reason="make test-survival runs it")

TRAINED = [folder for folder in survival.STAGES if not folder.endswith("data_prep")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the stages' parameter files, and a prepared corpus."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    survival.write_parameters(folder)
    return folder


@pytest.fixture(scope="module")
def warm(project):
    """The socket of a warm process, and the corpus made by it."""
    place = str(project / "socket")
    server = subprocess.Popen(
        [sys.executable, "-m", "lib.runner.warm", "--serve", place],
        cwd=project,
        env=environment(project),
    )
    while not os.path.exists(place):
        time.sleep(0.1)
    survival.finish(survival.start(project, survival.CORPUS, place))
    yield place
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def whole(project, warm):
    """What each stage ends in if nobody disturbs it, and its seconds."""
    return survival.undisturbed(project, warm, TRAINED)


def test_killed_stages_end_as_if_nothing_had_been(project, warm, whole):
    """One SIGKILL in each of stages 2 to 5; `make test-survival` gives twenty."""
    kills = 20 if THOROUGH else 4
    found = survival.kill_all(project, warm, whole, kills, seed=int(THOROUGH or 7))
    print(found.to_string())
    assert found["same"].sum() == kills, found.to_string()


@pytest.mark.parametrize(
    "folder, number",
    [("student/distillation", signal.SIGINT), ("student/finetune", signal.SIGTERM)],
)
def test_a_stage_that_is_told_to_stop_keeps_a_checkpoint_and_says_so(
    project, warm, whole, folder, number
):
    """Ctrl-C in the terminal, or a cluster's cancel: one line, nothing published, and the step it
    had reached is not lost."""
    folder = f"outputs/kill/{folder}"
    place = project / folder
    survival.clear(place)
    running = survival.start(project, folder, warm)
    while running.poll() is None and not list(place.glob("scratch/checkpoints/**/step-*.pt")):
        time.sleep(0.01)
    running.send_signal(number)
    said, _ = running.communicate()
    (line,) = [line for line in said.splitlines() if "stopped" in line]
    step = re.search(
        r"stopped: .* after step (\d+) of \d+; start it again to go on from there", line
    )[1]
    assert (
        running.returncode == 130
        and "Traceback" not in said
        and not (place / "result.json").is_file()
    )
    survival.finish(survival.start(project, folder, warm))
    assert f"resumed after step {step}" in (place / "log.txt").read_text(encoding="utf-8")
    assert survival.differences(whole[folder][0], survival.state(place)) == []


# -------------------------------------------------------------------------------------- make report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A project, what its smoke report ends in, and the seconds it took."""
    folder = copy_project(tmp_path_factory.mktemp("report"))
    began = time.monotonic()
    said, _ = (running := survival.start_report(folder)).communicate()
    assert running.returncode == 0, said
    return folder, survival.report_state(folder), time.monotonic() - began


@thoroughly
@pytest.mark.parametrize("turn", range(5))
def test_a_killed_report_ends_as_if_nothing_had_been(report, turn):
    """SIGKILL to the whole process group: make, Snakemake, papermill."""
    folder, expected, seconds = report
    share = random.Random(f"{THOROUGH} {turn}").uniform(0.1, 0.9)
    while True:
        shutil.rmtree(folder / "outputs")
        running = survival.start_report(folder)
        time.sleep(share * seconds)
        if running.poll() is None:
            break
        share *= 0.8  # it was faster this time
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    survival.wait_until_alone(folder)
    done = len(list(folder.glob("outputs/smoke/**/result.json")))
    said, _ = (running := survival.start_report(folder)).communicate()
    assert running.returncode == 0, said
    assert survival.differences(expected, survival.report_state(folder)) == []
    print(f"killed when {done} stages were done: the same")


@thoroughly
@pytest.mark.parametrize(
    "number, to_all", [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)]
)
def test_a_report_that_is_told_to_stop(report, number, to_all):
    """Ctrl-C goes to the whole group of the terminal, a kill to make alone."""
    folder, expected, seconds = report
    shutil.rmtree(folder / "outputs")
    running = survival.start_report(folder)
    time.sleep(0.4 * seconds)
    (os.killpg if to_all else os.kill)(running.pid, number)
    said, _ = running.communicate()
    print(said)
    survival.wait_until_alone(folder)
    assert running.returncode != 0 and "Traceback" not in said and "stopped" in said
    said, _ = (running := survival.start_report(folder)).communicate()
    assert running.returncode == 0, said
    assert survival.differences(expected, survival.report_state(folder)) == []


@thoroughly
def test_two_reports_at_once(report):
    """The second says who is at work, waits, and finds everything done."""
    folder, expected, _ = report
    shutil.rmtree(folder / "outputs")
    first = survival.start_report(folder)
    time.sleep(3)
    second = survival.start_report(folder)
    (one, _), (two, _) = first.communicate(), second.communicate()
    assert first.returncode == second.returncode == 0, one + two
    assert "outputs/smoke is in use by make report, process" in two and " starts, " not in two
    assert survival.differences(expected, survival.report_state(folder)) == []
