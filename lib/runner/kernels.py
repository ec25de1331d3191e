"""Starts the kernels of this process as forks of the warm process of lib.runner.warm, where there
is one."""

import json
import os
import select
import signal
import socket
from contextlib import suppress
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

SOCKET = "WARM_KERNELS"  # names the environment variable, which names the socket


STARTED: list[int] = []
"""The kernels this process has started, by their process ids."""


def register() -> None:
    """Let all kernels that this process starts be warm ones, if there is a warm process, and known
    to `interrupt`."""
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["warm"] = EntryPoint(
        "warm", f"{__name__}:WarmProvisioner", factory.GROUP_NAME
    )
    factory.default_provisioner_name = "warm"


def interrupt() -> None:
    """Interrupt the kernel that was started last, as the stop button of a notebook does."""
    with suppress(ProcessLookupError):
        for pid in STARTED[-1:]:
            os.kill(pid, signal.SIGINT)


class Kernel:
    """A forked kernel as its manager sees it: what it uses of subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket):
        self.connection, self.told, self.returncode = connection, b"", None
        self.pid = self._answer()["pid"]

    def _answer(self) -> dict | None:
        """The next line of the warm process; None if it is gone, and the kernel with it."""
        while b"\n" not in self.told:
            if not (more := self.connection.recv(4096)):
                return None
            self.told += more
        line, _, self.told = self.told.partition(b"\n")
        return json.loads(line)

    def poll(self) -> int | None:
        if self.returncode is None and (
            self.told or select.select([self.connection], [], [], 0)[0]
        ):
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            answer = self._answer()
            self.returncode = answer["code"] if answer else -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class WarmProvisioner(LocalProvisioner):
    """Starts an IPython kernel as a fork of the warm process, or, where there is none, in the
    ordinary way."""

    async def launch_kernel(self, cmd, **kwargs):
        told = await self._launched(cmd, **kwargs)
        STARTED.append(self.pid)
        return told

    async def _launched(self, cmd, **kwargs):
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
        except (OSError, ValueError, TypeError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid  # it leads a session, and so a group
        self.cwd = request["cwd"]
        return self.connection_info
