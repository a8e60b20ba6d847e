"""Starts a runbook's kernel as a fork of the fork server."""

import os
import sys
from pathlib import Path
from typing import IO, Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from opslib.runner.fork_server import ForkedProcess, fork_server

LAUNCHER = "ipykernel_launcher"
"""The module that a kernel of this Python runs."""


class PreparedKernelProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Jupyter's local provisioner, except that a kernel of this Python is forked.

    A kernel specification that names another Python, or another program, is started as Jupyter does.
    """

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a kernel, by a fork if the command runs this Python's own kernel."""
        if LAUNCHER not in cmd or cmd[0] != sys.executable:
            return await super().launch_kernel(cmd, **kwargs)
        self.cwd = str(kwargs.get("cwd") or Path.cwd())
        arguments = cmd[cmd.index(LAUNCHER) + 1 :]
        self.process = _fork(arguments, kwargs["env"], self.cwd, kwargs["stdout"], kwargs["stderr"])
        self.pid = self.pgid = self.process.pid  # it leads a session of its own
        return self.connection_info


def _fork(
    arguments: list[str], environment: dict[str, str], folder: str, stdout: IO[bytes], stderr: IO[bytes]
) -> ForkedProcess:
    """Fork a kernel, which ends when the fork server ends."""
    server = fork_server()
    with Path(os.devnull).open("rb") as nothing:
        return server.start(
            LAUNCHER,
            [*arguments, f"--IPKernelApp.parent_handle={server.pid}"],
            environment=environment,
            folder=folder,
            streams=(nothing.fileno(), stdout.fileno(), stderr.fileno()),
        )
