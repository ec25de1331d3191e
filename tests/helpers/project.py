"""A copy of the project that tests may change, and how to run make in it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.common.places import ROOT

needs_environment = pytest.mark.skipif(
    not (ROOT / ".venv/ready").exists(), reason="needs the environment that make sets up"
)


def copy_project(folder: Path) -> Path:
    """Copy the project to `folder`, so that a test may change its parameters and never meets the
    user's outputs; returns `folder`."""
    # Importing these compiles them if they never were; the compiled code is then copied too.
    import lib.fast.gelu
    import lib.fast.kernels  # noqa: F401

    for name in ("lib", "notebooks", "params"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc", ".ipynb_checkpoints")
        )
    for name in ("Snakefile", "Makefile", "pyproject.toml", "constraints.txt"):
        # copy2 keeps the dates: to make, the environment must not be older than these files.
        shutil.copy2(ROOT / name, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def environment(project: Path, **more: str) -> dict[str, str]:
    """The environment of a command that a person would start: without the variables that the make
    that runs these tests passes on."""
    passed_on = "MAKELEVEL MAKEFLAGS MFLAGS SCALE STUDIES DATA_DIR PUBLISH_TO STUDY TEACHER TEXT TASKS HOURS"
    kept = {name: value for name, value in os.environ.items() if name not in passed_on.split()}
    return kept | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"} | more


MAKE = ["make", "-o", ".venv/ready"]
"""make, which does not set up the linked environment again, whatever the dates of files."""


def run_make(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make in a copy of the project, with its own lib."""
    return subprocess.run(
        [*MAKE, *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment(project),
    )


def make(project: Path, *arguments: str) -> str:
    """Run make, which must succeed; returns what it printed."""
    done = run_make(project, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def dry_run(project: Path, *words: str, config: Collection[str] = (), **variables: str) -> str:
    """What Snakemake would do in a copy of the project, as it prints it; variables: those of make,
    herbert at smoke if nothing else is said; config: key=value for the Snakefile."""
    command = [sys.executable, "-m", "snakemake", "-n", *words, *["--config"][: len(config)]]
    done = subprocess.run(
        [*command, *config],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment(project, **{"SCALE": "smoke", "STUDIES": "herbert"} | variables),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stages_to_run(project: Path, **variables: str) -> set[str]:
    """What make report would make, in outputs/<scale>: the folders of stages, and report.html."""
    rerun = ("--cores", "2", "--rerun-triggers", "mtime", "input")
    made = re.findall(r"output: outputs/\w+/(\S+)", dry_run(project, *rerun, **variables))
    return {path.removesuffix("/result.json") for path in made}


@contextmanager
def warm_process(project: Path) -> Iterator[str]:
    """The socket of a process with the libraries loaded, from which kernels are forked."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/socket"  # its path has to be short
        command = [sys.executable, "-m", "lib.runner.warm", "--serve", socket]
        server = subprocess.Popen(command, cwd=project, env=environment(project))
        try:
            while not os.path.exists(socket) and server.poll() is None:
                time.sleep(0.1)
            yield socket
        finally:
            server.terminate()
            server.wait()


def result_files(outputs: Path) -> dict[str, Path]:
    """Every result.json, by the folder of its stage."""
    return {
        path.parent.relative_to(outputs).as_posix(): path for path in outputs.glob("**/result.json")
    }


def read_results(outputs: Path) -> dict[str, dict]:
    """What every result.json holds, by the folder of its stage."""
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in result_files(outputs).items()
    }


def assert_whole(page: str) -> None:
    """A report's page has tables, none of them empty, and shows no error and no NaN."""
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert tables and [table[:200] for table in tables if "<td" not in table] == []
    assert not re.search(r">nan\b|[\[ (]nan[\], )]|Traceback", page)
