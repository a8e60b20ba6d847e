"""Starts a runbook's kernel as a fork of the fork server."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from opslib.runner.fork_server import ForkedProcess, fork_server

JUPYTERS_LAUNCHER = "ipykernel_launcher"
"""The module that a kernel of this Python runs by its specification."""

LAUNCHER = "opslib.runner.kernel_launcher"
"""The module that runs in its place."""

END_S = 0.1
"""How often Jupyter looks whether a kernel has ended [seconds]."""


class PreparedKernelProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Jupyter's local provisioner, except that a kernel of this Python is forked.

    A kernel specification that names another Python, or another program, is started as Jupyter does.
    """

    ending = False

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a kernel, by a fork if the command runs this Python's own kernel."""
        if JUPYTERS_LAUNCHER not in cmd or cmd[0] != sys.executable:
            return await super().launch_kernel(cmd, **kwargs)
        self.cwd = str(kwargs.get("cwd") or Path.cwd())
        arguments = cmd[cmd.index(JUPYTERS_LAUNCHER) + 1 :]
        streams = (_descriptor(kwargs.get("stdout"), 1), _descriptor(kwargs.get("stderr"), 2))
        self.process = _fork(arguments, kwargs["env"], self.cwd, streams)
        self.pid = self.pgid = self.process.pid  # it leads a session of its own
        return self.connection_info

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Note that the kernel was requested to end."""
        await super().shutdown_requested(restart)
        self.ending = True

    async def poll(self) -> int | None:
        """Return None while the kernel runs; of one that ends, wait for its end first, which Jupyter looks for."""
        if self.ending and isinstance(self.process, ForkedProcess):
            await _await_end(self.process.descriptor)
        status: int | None = await super().poll()
        return status


async def _await_end(process: int | None) -> None:
    """Wait until a process has ended, by its descriptor, at most until Jupyter looks again."""
    if process is None:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), END_S)
    finally:
        loop.remove_reader(process)


def _descriptor(stream: IO[bytes] | None, own: int) -> int:
    """Return a stream's descriptor; a kernel whose owner names none writes to its owner's, as `Popen` has it."""
    return own if stream is None else stream.fileno()


def _fork(
    arguments: list[str], environment: dict[str, str], folder: str, streams: tuple[int, int]
) -> ForkedProcess:
    """Fork a kernel, which ends when the fork server ends."""
    server = fork_server()
    with Path(os.devnull).open("rb") as nothing:
        return server.start(
            LAUNCHER,
            [str(server.pid), *arguments],
            environment=environment,
            folder=folder,
            streams=(nothing.fileno(), *streams),
        )
