"""Starts notebook kernels as forks of the warm process of lib.warm. Jupyter finds it by its name in pyproject.toml."""

import json
import os
import select
import signal
import socket

from jupyter_client.provisioning import LocalProvisioner

from lib.warm import SOCKET


class Kernel:
    """A forked kernel as its manager sees it: what it uses of subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket):
        self.lines, self.connection, self.returncode = connection.makefile(), connection, None
        self.pid = json.loads(self.lines.readline())["pid"]

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            told = self.lines.readline()  # nothing: the process it was forked from is gone, and it with it
            self.returncode = json.loads(told)["code"] if told else -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class WarmProvisioner(LocalProvisioner):
    """Starts an IPython kernel as a fork of the warm process, or, where there is none, in the ordinary way."""

    async def launch_kernel(self, cmd, **kwargs):
        place = os.environ.get(SOCKET, "")
        if cmd[1:3] != ["-m", "ipykernel_launcher"] or not os.path.exists(place):
            return await super().launch_kernel(cmd, **kwargs)
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(place)
            request = {
                "argv": cmd[3:],
                "env": dict(kwargs.get("env") or os.environ),
                "cwd": str(kwargs.get("cwd") or os.getcwd()),
            }
            connection.sendall(json.dumps(request).encode() + b"\n")
            self.process = Kernel(connection)
        except (OSError, ValueError, KeyError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid  # it leads a session, and so a group
        self.cwd = request["cwd"]
        return self.connection_info
