"""Kernels that start with their libraries loaded: `python -m lib.warm <command>` runs a command so.

To import PyTorch and transformers takes a few seconds of computing, and every stage's kernel would spend them anew. Here one
process imports them once; each kernel is a fork of it, ready at once. The command, and what it starts, find it by an
environment variable; without it, or when it does not answer, kernels start in the ordinary way. Only libraries are loaded,
nothing of this project: a kernel sees its files as they are when it starts.
"""

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SOCKET = "WARM_KERNELS"  # names the environment variable, which names the socket
LIBRARIES = ("numpy", "pandas", "torch", "transformers.models.bert.modeling_bert", "transformers.models.distilbert", "accelerate",
             "datasets", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "ipykernel.kernelapp")  # fmt: skip


def main(command: list[str]) -> int:
    """Run a command beside a process that its kernels are forked from; the command's exit status."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        place = str(Path(folder) / "socket")
        server = subprocess.Popen(
            [sys.executable, "-m", "lib.warm", "--serve", place], env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            return subprocess.call(
                command, env=os.environ | {SOCKET: place, "JUPYTER_DEFAULT_PROVISIONER_NAME": "warm"}
            )
        except KeyboardInterrupt:  # the command got it too, and has said what there is to say
            return 130
        finally:
            server.terminate()
            server.wait()


# ------------------------------------------------------------------------------------------------------ the forking


def serve(place: str) -> None:
    """Fork a kernel for each request, until told to end; before the first, load the libraries."""
    kernels: dict[socket.socket, int] = {}

    def end(*_):
        for pid in kernels.values():
            _kill(pid)
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command and its kernels
    signal.signal(signal.SIGTERM, end)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(place)
    listening.listen(64)
    rouse, roused = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(roused)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([listening, rouse, *kernels], [], [])
        if rouse in ready:
            os.read(rouse, 512)
            for asked, pid in list(kernels.items()):
                if (status := os.waitpid(pid, os.WNOHANG)) != (0, 0):
                    _answer(asked, {"code": os.waitstatus_to_exitcode(status[1])})
                    del kernels[asked]
        for asked in set(ready) & set(kernels):  # whoever asked for the kernel has gone
            _kill(kernels[asked])
        if listening in ready:
            asked, _ = listening.accept()
            request = json.loads(asked.makefile().readline() or "null")
            for name in LIBRARIES:
                importlib.import_module(name)
            if request and (pid := os.fork()) == 0:
                for other in (listening, asked, *kernels):
                    other.close()
                become_kernel(**request)
            if request:
                kernels[asked] = pid
                _answer(asked, {"pid": pid})


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


def become_kernel(argv: list[str], env: dict[str, str], cwd: str) -> None:
    """In the fork: what `python -m ipykernel_launcher <argv>` would be, in a session of its own. Does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.setsid()
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.path[0] = cwd
        for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
            del sys.modules[name]  # the project's files as they are now
        from ipykernel.kernelapp import IPKernelApp

        IPKernelApp.launch_instance(argv)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[2]) if sys.argv[1:2] == ["--serve"] else main(sys.argv[1:]))
