"""Kernels forked from a process with the libraries loaded: they are what kernels are, only sooner,
and end with who asked."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from lib.common.places import ROOT
from tests.helpers.project import environment, warm_process

# Runs a notebook of one cell through papermill and prints what the cell saw.
ASK = """
import json, nbformat, papermill, sys
from lib.common import interrupts
from lib.runner import jupyter
jupyter.register()
cell = nbformat.v4.new_code_cell('''{cell}''')
nbformat.write(nbformat.v4.new_notebook(cells=[cell]), '{folder}/in.ipynb')
interrupts.UNANSWERED, interrupts.AGAIN = 1.0, 0.5
with interrupts.forwarded(jupyter.interrupt, jupyter.is_idle):
    papermill.execute_notebook('{folder}/in.ipynb', '{folder}/out.ipynb', kernel_name='python3', cwd='{folder}', progress_bar=False)
"""
SEE = """
import json, os, sys, threading
seen = dict(loaded="torch" in sys.modules, ours=[n for n in sys.modules if n.startswith("lib.")], cwd=os.getcwd(),
            parent=open(f"/proc/{os.getppid()}/cmdline").read(), value=os.environ.get("MARK"))
import torch
from lib.common import errors
from lib.fast.gelu import gelu
seen |= dict(product=float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()), file=errors.__file__)
seen |= dict(gelu=float(gelu(torch.ones(1))))
json.dump(seen, open("seen.json", "w"))
"""
# An interrupt in the moment of the answer, which is then never sent; papermill is asked to stop.
LOSE_THE_ANSWER = """
import os, signal
kernel = get_ipython().kernel
send = kernel.session.send
def interrupted(stream, kind, *rest, **more):
    if kind == "execute_reply":
        kernel.session.send = send
        os.kill(os.getppid(), signal.SIGTERM)
        raise KeyboardInterrupt
    return send(stream, kind, *rest, **more)
kernel.session.send = interrupted
"""
pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks into /proc")


@pytest.fixture(scope="module")
def socket():
    with warm_process(ROOT) as address:
        yield address


def ask(folder, cell, socket="", **variables):
    """Start papermill with this cell; socket: that of the warm process, if it has one."""
    return subprocess.Popen(
        [sys.executable, "-c", ASK.format(cell=cell, folder=folder)],
        cwd=ROOT,
        env=environment(ROOT, WARM_KERNELS=socket, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_warm_kernel_has_its_libraries_and_nothing_of_the_project(socket, tmp_path):
    done = ask(tmp_path, SEE, socket, MARK="here")
    out = done.communicate()
    assert done.returncode == 0, out
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["loaded"] and seen["ours"] == [] and "--serve" in seen["parent"]
    assert seen["cwd"] == str(tmp_path) and seen["value"] == "here"
    assert seen["product"] == 300.0**3 and seen["file"] == str(ROOT / "lib/common/errors.py")
    assert seen["gelu"] == pytest.approx(0.8413447)  # by a kernel loaded before the fork and again


def test_nothing_runs_where_the_warm_process_does_not_start(tmp_path):
    folder = tmp_path / ("x" * 100)  # a socket in it has a longer path than any may have
    folder.mkdir()
    command = [sys.executable, "-m", "lib.runner.warm", "touch", str(tmp_path / "run")]
    variables = environment(ROOT, TMPDIR=str(folder))
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    assert done.stderr.endswith("error: the process that stages are forked from has failed\n")


def test_without_the_warm_process_a_kernel_starts_in_the_ordinary_way(tmp_path):
    done = ask(tmp_path, SEE, str(tmp_path / "nobody"))
    out = done.communicate()
    assert done.returncode == 0, out
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert not seen["loaded"] and "--serve" not in seen["parent"]


def test_a_kernel_ends_with_who_asked_for_it(socket, tmp_path):
    """A killed papermill must not leave a training behind."""
    cell = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    asked = ask(tmp_path, cell, socket)
    pid = wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    asked.kill()
    asked.communicate()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_kernel_that_has_lost_its_answer_is_not_waited_for(tmp_path):
    done = ask(tmp_path, LOSE_THE_ANSWER)
    _, errors = done.communicate(timeout=120)
    assert "KeyboardInterrupt caught in kernel" in errors  # by ipykernel, which goes on
    assert done.returncode != 0 and errors.strip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("warm", [True, False])
def test_a_stage_says_what_is_wrong_where_it_was_started_and_fails(socket, tmp_path, warm):
    """Its standard error and exit status come through, forked or not."""
    folder = ROOT / "outputs" / "lab" / "not-a-stage" / tmp_path.name / "data_prep"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.yaml").write_text("nonsense: 1\n")
    try:
        stage = ["-m", "lib.runner.warm", "--stage", str(folder / "parameters.yaml")]
        variables = environment(ROOT, WARM_KERNELS=socket if warm else "")
        done = subprocess.run(
            [sys.executable, *stage], cwd=ROOT, env=variables, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(ROOT / "outputs" / "lab" / "not-a-stage")
    assert done.returncode == 1 and "unknown key 'nonsense'" in done.stderr, done.stderr


def test_the_commands_exit_status_is_passed_on():
    assert (
        subprocess.run(
            [sys.executable, "-m", "lib.runner.warm", "bash", "-c", "exit 7"], cwd=ROOT
        ).returncode
        == 7
    )


def wait_for(what, seconds=60):
    for _ in range(seconds * 10):
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("in vain")
