"""Stages and kernels that start with their libraries loaded: `python -m lib.runner.warm <command>`.

Importing PyTorch and transformers takes seconds of computing in every stage. Here one process
imports them once, and stages and kernels are forks of it. The command and its children find it by
an environment variable; without it, they start in the ordinary way. A fork forgets the modules of
the project, so that a stage runs the project's code as it is now.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

from lib.common import interrupts

SOCKET = "WARM_KERNELS"  # the environment variable with the socket of the warm process
STAGE = "lib.runner.run"  # the module that runs a stage
PATIENCE = 10.0  # seconds that a command may take to end when its stages have stopped
LIBRARIES = (
    "numpy",
    "pandas",
    "torch",
    "transformers.models.bert.modeling_bert",
    "transformers.models.distilbert",
    "accelerate",
    "torch.utils.tensorboard",
    "datasets",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "ipykernel.kernelapp",
    "papermill",
    "pydantic",
    "jupyter_client.provisioning",
    "seaborn",
    "sklearn.metrics",
    "numba",
    "numba.np.unsafe.ndarray",
    "lib.fast.gelu",  # with the first kernel Numba fills its registries, which takes 0.2 to 0.4 s
)


def main(command: list[str]) -> int:
    """Run a command next to the process that its stages are forked from. Returns its exit status,
    or 1 if that process does not start."""
    if sys.platform != "linux":  # elsewhere it is not safe to fork with these libraries loaded
        return subprocess.call(command)
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = str(Path(folder) / "socket")
        # Signals reach both through this process alone: Snakemake may hang for ever when a second
        # SIGTERM meets its handler for the first. If this process is killed, they end with it.
        apart = {
            "start_new_session": True,
            "preexec_fn": partial(interrupts.end_with_parent, signal.SIGKILL),
        }
        # unbuffered: what a fork prints appears at once, as from a process of its own
        server = subprocess.Popen(
            [sys.executable, "-m", "lib.runner.warm", "--serve", address],
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            **apart,
        )
        interrupts.set_handler(lambda *_: server.terminate())  # stop the running stages, then end
        while not os.path.exists(address) and server.poll() is None:
            time.sleep(0.01)  # else the command might ask before it can be heard
        if server.poll() is not None:
            if server.returncode > 0:  # not ended by a signal
                print("error: the process that stages are forked from has failed", file=sys.stderr)
            return 1
        # close_fds: the command also holds a lock that this process was started with
        running = subprocess.Popen(
            command, env=os.environ | {SOCKET: address}, close_fds=False, **apart
        )
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # until one of the two has ended
            if running.poll() is None:
                _end_command(running, server.wait())
            return running.wait()
        finally:
            server.terminate()
            server.wait()


def _end_command(running: subprocess.Popen, code: int) -> None:
    """End the command after its stages have stopped; code: the exit status of the warm process."""
    if code == -signal.SIGKILL:
        killed = "error: the process that stages are forked from was killed, perhaps for memory"
        print(f"{killed}; the same command again resumes them", file=sys.stderr)
    running.terminate()  # start no further stage
    try:
        running.wait(PATIENCE)
    except subprocess.TimeoutExpired:  # its handler of the signal can wait for itself
        _kill(running.pid, signal.SIGKILL, group=True)


def stage(parameters: str) -> int:
    """Run a stage as a fork of the warm process, or in the ordinary way if there is none. Returns
    its exit status."""
    if not (address := os.environ.get(SOCKET)):
        os.execv(sys.executable, [sys.executable, "-m", STAGE, parameters])
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(address)
        socket.send_fds(connection, [request(STAGE, [parameters])], [0, 1, 2])
        answers = connection.makefile()
        pid = json.loads(answers.readline())["pid"]
    except (OSError, ValueError):  # the warm process has ended, and with it the whole run
        return 1
    except KeyboardInterrupt:  # before the stage has started
        return 130
    interrupts.set_handler(lambda *_: _kill(pid, signal.SIGINT))
    answer = answers.readline()
    return json.loads(answer)["code"] if answer else 1


def request(module: str, argv: list[str], env: dict | None = None, cwd: str = "") -> bytes:
    """What the warm process reads: run `python -m <module> <argv>` in a fork."""
    env, cwd = dict(env or os.environ), cwd or os.getcwd()
    return json.dumps({"module": module, "argv": argv, "env": env, "cwd": cwd}).encode() + b"\n"


# --------------------------------------------------------------------------------- the warm process


def serve(address: str) -> None:
    """Fork a stage or a kernel for each request on the socket `address`. After a signal, the stages
    are asked to stop, no further one starts, and this ends when they have stopped."""
    forks: dict[socket.socket, int] = {}  # client -> process id
    stages: set[int] = set()
    unanswered: list[socket.socket] = []  # clients that are told by the end of this process
    ending = libraries_loaded = False

    def end(*_):
        nonlocal ending
        ending = True
        if not forks:  # now: it may be loading the libraries, or about to end
            os._exit(0)
        for pid in stages & set(forks.values()):
            _kill(pid, signal.SIGINT)  # it prints how to continue, and ends

    interrupts.set_handler(end)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(64)
    signals = _signal_pipe()
    while not ending or stages & set(forks.values()):
        ready, _, _ = select.select([listening, signals, *forks], [], [])
        if signals in ready:
            os.read(signals, 512)
            for connection, pid in list(forks.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    _send(connection, {"code": os.waitstatus_to_exitcode(status)})
                    connection.close()
                    del forks[connection]
        for connection in forks.keys() & set(ready):  # its client has gone
            _kill(forks[connection], signal.SIGKILL, group=True)
        if listening in ready:
            connection, _ = listening.accept()
            job, files = _receive(connection)
            if job is None:
                continue
            if not libraries_loaded:  # the hub library reads its variables when it is imported
                hub = {k: v for k, v in job["env"].items() if k.startswith("HF_")}
                os.environ.update(hub)
                for name in LIBRARIES:
                    importlib.import_module(name)
                libraries_loaded = True
            if ending and job["module"] == STAGE:
                unanswered.append(connection)
                continue
            # A signal waits until the fork is known here, and has handlers of its own.
            signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
            pid = os.fork()
            if pid == 0:
                for other in (listening, connection, *forks):
                    other.close()
                _become(files=files, **job)
            forks[connection] = pid
            if job["module"] == STAGE:
                stages.add(pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
            _send(connection, {"pid": pid})
            for file in files:
                os.close(file)
    for pid in forks.values():
        _kill(pid, signal.SIGKILL, group=True)


def _signal_pipe() -> int:
    """The end of a pipe that is ready to read when a signal, such as a child's end, has arrived."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # an ignored signal would not wake
    return reader


def _receive(connection: socket.socket) -> tuple[dict | None, list[int]]:
    """A request, one line of JSON, with the files that came with it; None if the client has
    gone."""
    line, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while line and not line.endswith(b"\n"):
        line += connection.recv(1 << 16)
    return (json.loads(line) if line else None), files


def _send(connection: socket.socket, message: dict) -> None:
    with suppress(OSError):  # the client has gone
        connection.sendall(json.dumps(message).encode() + b"\n")


def _kill(pid: int, number: int, group: bool = False) -> None:
    with suppress(ProcessLookupError):  # it has ended
        (os.killpg if group else os.kill)(pid, number)


def _become(module: str, argv: list[str], env: dict[str, str], cwd: str, files: list[int]) -> None:
    """In the fork: what `python -m <module> <argv>` would be, in a session of its own, with `files`
    as its standard ones (if any). Does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
        os.setsid()
        interrupts.end_with_parent(signal.SIGKILL)  # nothing of a killed run lives on
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.path[0] = cwd
        for name in list(sys.modules):
            if name == "lib" or name.startswith("lib."):
                del sys.modules[name]  # so that the project's files are read as they are now
        sys.argv = [module, *argv]
        runpy.run_module(module, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except Exception:  # such as a mistake in lib, which would end the stage without a word
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    elif sys.argv[1] == "--stage":
        sys.exit(stage(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
