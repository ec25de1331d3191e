"""Locks end with their process, and files are written completely or not at all."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from lib.common import files, locks
from lib.common.errors import InputError
from lib.common.places import ROOT

HOLD_LOCK = (
    "import sys, time, pathlib; from lib.common import locks; held = "
    "locks.take(pathlib.Path(sys.argv[1]), 'a test', print); "
    "print('has it', flush=True); time.sleep(60)"
)


def start_holder(path, code=HOLD_LOCK):
    """Start a process that takes the lock `path` and then sleeps."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "has it\n"
    return process


def test_the_holder_is_reported_and_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / "lock"
    other = start_holder(path)
    with pytest.raises(InputError) as error:
        locks.take(path, "another test", print, patience=0.3)
    assert f"{tmp_path} is in use by a test, process {other.pid} on " in str(error.value)
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock = locks.take(path, "another test", print, patience=0.3)
    assert path.read_text().startswith(f"another test, process {os.getpid()} on ")
    locks.release(lock)
    assert not path.exists()


def test_a_fork_that_outlives_its_parent_holds_no_lock(tmp_path):
    """The workers of a killed kernel may live on for a while."""
    forking = HOLD_LOCK.replace(
        "print('has it'", "import os; os.fork() or (time.sleep(5), os._exit(0)); print('has it'"
    )
    other = start_holder(tmp_path / "lock", forking)
    with pytest.raises(InputError, match="is in use by a test"):
        locks.take(tmp_path / "lock", "another test", print, patience=0)
    other.kill()
    other.wait()
    locks.release(locks.take(tmp_path / "lock", "another test", print, patience=1))


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    lines = []
    monkeypatch.setattr(fcntl, "flock", refuse)
    locks.release(locks.take(tmp_path / "lock", "a test", lines.append))
    assert lines == [
        f"{tmp_path}: this file system has no locks; make sure that nothing else runs there"
    ]


def test_waiting_for_a_lock_is_reported_once(tmp_path):
    path, lines = tmp_path / "lock", []
    other = start_holder(path)

    def say(line):
        lines.append(line)
        other.kill()

    locks.release(locks.take(path, "another test", say))
    other.wait()
    assert len(lines) == 1 and "waiting for it to end" in lines[0]


def test_a_lock_on_a_removed_file_does_not_count(tmp_path):
    """The holder removes the lock file when it ends; a process that opened the file before must not
    take it for the lock."""
    path = tmp_path / "lock"
    first = locks.take(path, "a test", print)
    old_file = path.open("a+")
    locks.release(first)
    second = locks.take(path, "a test", print)
    fcntl.flock(old_file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # this locks the removed file only
    with pytest.raises(InputError, match="is in use by a test"):
        locks.take(path, "another test", print, patience=0.3)
    locks.release(second)


def test_a_command_holds_the_lock_and_its_exit_status_is_kept(tmp_path):
    code = """
import pathlib, sys
from lib.common import errors, locks
try:
    locks.take(pathlib.Path(sys.argv[1]), "another", print, 0.0)
except errors.InputError as error:
    print(error)
sys.exit(7)
"""
    command = [
        sys.executable,
        "-m",
        "lib.common.locks",
        str(tmp_path),
        sys.executable,
        "-c",
        code,
        str(tmp_path / "lock"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 7 and "is in use by make report, process" in done.stdout


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    command = [sys.executable, "-m", "lib.common.locks", str(tmp_path / "file" / "a"), "true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: {tmp_path}/file/a cannot be written: a file stands where a folder is needed\n"
    )


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    files.write_json(tmp_path / "a.json", {"ż": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ż": 1}
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"x": object()})
    with pytest.raises(ValueError, match="half way"), files.atomic(tmp_path / "a.json") as file:
        file.write(b"half")
        raise ValueError("half way")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ż": 1}


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (
            RuntimeError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            ),
            "the disk is full",
        ),
        (
            OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space"),
            "the disk is full",
        ),
        (OSError(30, "Read-only file system"), "the file system is read-only"),
        (FileNotFoundError(2, "No such file"), ""),
        (ValueError("os error"), ""),
    ],
)
def test_the_reason_of_a_disk_error(error, reason):
    assert files.disk_error(error) == reason
    with pytest.raises(InputError if reason else type(error)), files.writing(ROOT):
        raise error
