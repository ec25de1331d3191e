"""Starts the kernels of this process as forks of the warm process (lib.runner.warm), if there is
one."""

import json
import os
import select
import signal
import socket
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from lib.runner.warm import SOCKET, request

STARTED: list[int] = []
"""The process ids of the kernels that this process has started: papermill does not say them."""


def register() -> None:
    """Start the kernels of this process by `WarmProvisioner` from now on."""
    factory = KernelProvisionerFactory.instance()
    entry_point = EntryPoint("warm", f"{__name__}:WarmProvisioner", factory.GROUP_NAME)
    factory.provisioners["warm"] = entry_point
    factory.default_provisioner_name = "warm"


def interrupt() -> None:
    """Interrupt the kernel that was started last, like the stop button of a notebook."""
    if STARTED:
        with suppress(ProcessLookupError):
            os.kill(STARTED[-1], signal.SIGINT)


def is_idle() -> bool:
    """Whether the kernel that was started last runs no cell: it then ignores interrupts. Linux
    only; elsewhere False."""
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{STARTED[-1]}/status").read_text(encoding="ascii")
        ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
        return bool(ignored >> (signal.SIGINT - 1) & 1)
    return False


class Kernel:
    """A forked kernel with the methods of subprocess.Popen that a kernel manager uses."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket):
        self.connection, self.received, self.returncode = connection, b"", None
        self.pid = self._read_line()["pid"]

    def _read_line(self) -> dict | None:
        """The next message of the warm process; None if it has ended, and the kernel with it."""
        while b"\n" not in self.received:
            if not (more := self.connection.recv(4096)):
                return None
            self.received += more
        line, _, self.received = self.received.partition(b"\n")
        return json.loads(line)

    def poll(self) -> int | None:
        if self.returncode is None:
            if self.received or select.select([self.connection], [], [], 0)[0]:
                self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            message = self._read_line()
            self.returncode = message["code"] if message else -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class WarmProvisioner(LocalProvisioner):
    """Starts an IPython kernel as a fork of the warm process, or in the ordinary way if there is
    none."""

    async def launch_kernel(self, cmd, **kwargs):
        connection_info = await self._launch(cmd, **kwargs)
        STARTED.append(self.pid)
        return connection_info

    async def _launch(self, cmd, **kwargs):
        address = os.environ.get(SOCKET, "")
        if cmd[1:3] != ["-m", "ipykernel_launcher"] or not os.path.exists(address):
            return await super().launch_kernel(cmd, **kwargs)
        cwd = str(kwargs.get("cwd") or os.getcwd())
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(address)
            connection.sendall(request(cmd[2], cmd[3:], kwargs.get("env"), cwd))
            self.process = Kernel(connection)
        except (OSError, ValueError, TypeError):
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid  # the kernel leads a session, and so a group
        self.cwd = cwd
        return self.connection_info
