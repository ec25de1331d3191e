"""Kernels that start with their libraries loaded: `python -m lib.runner.warm <command>` runs a
command so.

To import PyTorch and transformers takes a few seconds of computing, and every stage's kernel would
spend them anew. Here one process imports them once; each kernel is a fork of it, ready at once. The
command, and what it starts, find it by an environment variable; without it, or when it does not
answer, kernels start in the ordinary way. Only libraries are loaded, nothing of this project: a
kernel sees its files as they are when it starts.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lib.runner.kernels import SOCKET

PR_SET_PDEATHSIG = 1  # sys/prctl.h
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
)


def main(command: list[str]) -> int:
    """Run a command beside a process that its stages are forked from; the command's exit status."""
    if sys.platform != "linux":  # elsewhere, to fork a process with these libraries is not safe
        return subprocess.call(command)
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        place = str(Path(folder) / "socket")
        at_once = os.environ | {
            "PYTHONUNBUFFERED": "1"
        }  # a fork's output is seen when it is written, as a stage's is
        server = subprocess.Popen(
            [sys.executable, "-m", "lib.runner.warm", "--serve", place], env=at_once
        )
        # close_fds: a lock that was handed on (lib.common.locks) is the command's too
        running = subprocess.Popen(command, env=os.environ | {SOCKET: place}, close_fds=False)

        def stop(number, _):
            if running.poll() is not None:  # asked again while the last stages stop
                server.kill()
            elif (
                number != signal.SIGINT
            ):  # Ctrl-C the command got too; of these perhaps only this process knows
                running.send_signal(signal.SIGTERM)  # to begin no further stage
                server.send_signal(signal.SIGINT)  # to stop those under way

        handle(stop)
        try:
            return running.wait()  # also when it is to stop: its stages keep what they have
        finally:
            server.terminate()
            server.wait()


def stage(parameters: str) -> int:
    """Run a stage as a fork of the warm process, or, where there is none, in the ordinary way; its
    exit status."""
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(os.environ.get(SOCKET, ""))
        request = {"stage": parameters, "env": dict(os.environ), "cwd": os.getcwd()}
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        told = connection.makefile()
        pid = json.loads(told.readline())["pid"]
    except (OSError, ValueError):
        os.execv(sys.executable, [sys.executable, "-m", "lib.runner.run", parameters])
    except KeyboardInterrupt:
        return 130  # there is no stage yet

    def stop(*_):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)  # it says what becomes of its work, and ends

    handle(stop)
    answer = told.readline()
    return json.loads(answer)["code"] if answer else 1


def handle(stop: Callable) -> None:
    """Let `stop` handle Ctrl-C, a cancel and a closed terminal, where they are not ignored anyway
    (nohup)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


# -------------------------------------------------------------------------------------- the forking


def serve(place: str) -> None:
    """Fork a stage or a kernel for each request, until told to end, and the stages have stopped;
    before the first, load the libraries."""
    forks: dict[socket.socket, int] = {}
    stages: set[int] = set()
    ending: list[int] = []
    loaded = False

    def end(number, _):
        ending.append(number)
        stop()

    def stop(*_):
        for pid in stages & set(forks.values()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)  # it says what becomes of its work, and ends

    handle(stop)
    signal.signal(signal.SIGTERM, end)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(place)
    listening.listen(64)
    rouse, roused = os.pipe()
    os.set_blocking(roused, False)
    signal.set_wakeup_fd(roused)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while not ending or stages & set(forks.values()):
        ready, _, _ = select.select([listening, rouse, *forks], [], [])
        if rouse in ready:
            os.read(rouse, 512)
            for asked, pid in list(forks.items()):
                if (status := os.waitpid(pid, os.WNOHANG)) != (0, 0):
                    _answer(asked, {"code": os.waitstatus_to_exitcode(status[1])})
                    del forks[asked]
                    asked.close()
        for asked in set(ready) & set(forks):  # whoever asked has gone
            _kill(forks[asked])
        if listening in ready:
            asked, _ = listening.accept()
            text, files, _, _ = socket.recv_fds(asked, 1 << 16, 3)
            while text and not text.endswith(b"\n"):
                text += asked.recv(1 << 16)
            wanted = json.loads(text or "{}")
            if wanted and not loaded:  # the hub library reads its variables when it is imported
                os.environ.update(
                    {key: value for key, value in wanted["env"].items() if key.startswith("HF_")}
                )
                loaded = True
            for name in LIBRARIES:
                importlib.import_module(name)
            if wanted and (pid := os.fork()) == 0:
                for other in (listening, asked, *forks):
                    other.close()
                become(files=files, **wanted)
            if wanted:
                forks[asked] = pid
                stages |= {pid} if "stage" in wanted else set()
                _answer(asked, {"pid": pid})
            for file in files:
                os.close(file)
    for pid in forks.values():
        _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself


def _answer(asked: socket.socket, what: dict) -> None:
    try:
        asked.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        pass  # nobody is listening any more


def become(
    env: dict[str, str], cwd: str, files: list[int], argv: list[str] | None = None, stage: str = ""
) -> None:
    """In the fork: what `python -m ipykernel_launcher <argv>` or `python -m lib.runner.run <stage>`
    would be, in a session of its own and with `files` for its standard ones, if there are any. Does
    not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        ctypes.CDLL(None).prctl(
            PR_SET_PDEATHSIG, signal.SIGKILL
        )  # nothing of a killed run lives on
        for place, file in enumerate(files):
            os.dup2(file, place)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.path[0] = cwd
        for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
            del sys.modules[name]  # the project's files as they are now
        if stage:
            from lib.runner.run import run

            code = run(Path(stage))
        else:
            from ipykernel.kernelapp import IPKernelApp

            IPKernelApp.launch_instance(argv)
            code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    how = {"--serve": serve, "--stage": stage}.get(sys.argv[1])
    sys.exit(how(sys.argv[2]) if how else main(sys.argv[1:]))
