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

# Runs a notebook of one cell through papermill and prints what the cell saw.
ASK = """
import json, nbformat, papermill, sys
from lib.common import interrupts
from lib.runner import kernels
kernels.register()
cell = nbformat.v4.new_code_cell('''{cell}''')
nbformat.write(nbformat.v4.new_notebook(cells=[cell]), '{folder}/in.ipynb')
interrupts.UNANSWERED, interrupts.AGAIN = 1.0, 0.5
with interrupts.forwarded(kernels.interrupt, kernels.is_idle):
    papermill.execute_notebook('{folder}/in.ipynb', '{folder}/out.ipynb', kernel_name='python3', cwd='{folder}', progress_bar=False)
"""
SEE = """
import json, os, sys, threading
seen = dict(loaded="torch" in sys.modules, ours=[n for n in sys.modules if n.startswith("lib.")], cwd=os.getcwd(),
            parent=open(f"/proc/{os.getppid()}/cmdline").read(), value=os.environ.get("MARK"))
import torch
from lib.common import errors
seen |= dict(product=float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()), file=errors.__file__)
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


def ask(folder, cell, warm=True, **environment):
    code = ASK.format(cell=cell, folder=folder)
    command = ([sys.executable, "-m", "lib.runner.warm"] if warm else []) + [
        sys.executable,
        "-c",
        code,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_warm_kernel_has_its_libraries_and_nothing_of_the_project(tmp_path):
    done = ask(tmp_path, SEE, MARK="here")
    out = done.communicate()
    assert done.returncode == 0, out
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["loaded"] and seen["ours"] == [] and "--serve" in seen["parent"]
    assert seen["cwd"] == str(tmp_path) and seen["value"] == "here"
    assert seen["product"] == 300.0**3 and seen["file"] == str(ROOT / "lib/common/errors.py")


def test_nothing_runs_where_the_warm_process_does_not_start(tmp_path):
    folder = tmp_path / ("x" * 100)  # a socket in it has a longer path than any may have
    folder.mkdir()
    done = ask(tmp_path, SEE, TMPDIR=str(folder))
    out, err = done.communicate()
    assert done.returncode == 1 and not (tmp_path / "seen.json").exists()
    assert err.endswith("error: the process that stages are forked from has failed\n"), out + err


def test_without_the_warm_process_a_kernel_starts_in_the_ordinary_way(tmp_path):
    gone = {"WARM_KERNELS": str(tmp_path / "nobody")}
    done = ask(tmp_path, SEE, warm=False, **gone)
    out = done.communicate()
    assert done.returncode == 0, out
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert not seen["loaded"] and "--serve" not in seen["parent"]


def test_a_kernel_ends_with_who_asked_for_it(tmp_path):
    """A killed papermill must not leave a training behind."""
    asked = ask(
        tmp_path, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    )
    pid = wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    client = subprocess.run(
        ["pgrep", "-P", str(asked.pid), "-f", "papermill"], capture_output=True, text=True
    ).stdout.split()[0]
    os.kill(int(client), 9)
    asked.communicate()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_kernel_that_has_lost_its_answer_is_not_waited_for(tmp_path):
    done = ask(tmp_path, LOSE_THE_ANSWER, warm=False)
    _, errors = done.communicate(timeout=120)
    assert "KeyboardInterrupt caught in kernel" in errors  # by ipykernel, which goes on
    assert done.returncode != 0 and errors.strip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("warm", [True, False])
def test_a_stage_says_what_is_wrong_where_it_was_started_and_fails(tmp_path, warm):
    """Its standard error and exit status come through, forked or not."""
    folder = ROOT / "outputs" / "lab" / "not-a-stage" / tmp_path.name / "data_prep"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.yaml").write_text("nonsense: 1\n")
    try:
        stage = [
            sys.executable,
            "-m",
            "lib.runner.warm",
            "--stage",
            str(folder / "parameters.yaml"),
        ]
        command = [sys.executable, "-m", "lib.runner.warm", *stage] if warm else stage
        environment = {name: value for name, value in os.environ.items() if name != "WARM_KERNELS"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
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
