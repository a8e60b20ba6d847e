"""The processes of instances: forked where a fork starts like a new process, and ended with their sandbox."""

import asyncio
import os
import signal
import socket
from pathlib import Path

from opslib.sandbox.instances.launcher import Forked, Launch, Launcher, Process

FOREVER = ("wsgiref.simple_server:demo_app",)
FAILS = ("no_such_module:app",)


async def start(
    launcher: Launcher, folder: Path, arguments: tuple[str, ...], **variables: str
) -> tuple[Process, int]:
    """Start one process; return it, and the descriptor from which its output is read."""
    reader, output = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await launcher.start(Launch(arguments, variables, folder), listener.fileno(), output)
    os.close(output)
    return process, reader


def read(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


def parent_of(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


def folder_of(process: Process) -> Path:
    return Path(f"/proc/{process.pid}/cwd").readlink()


def variables_of(process: Process) -> set[str]:
    return set(Path(f"/proc/{process.pid}/environ").read_text().split("\0"))


def test_forks_report_their_ends_and_are_started_again_after_the_prepared_process(tmp_path):
    """An instance that fails has the code of its own; one whose parent was killed counts as killed."""

    async def check() -> None:
        launcher = Launcher()
        (failing, output), (running, _) = await asyncio.gather(
            start(launcher, tmp_path, FAILS), start(launcher, tmp_path, FOREVER)
        )
        assert (type(failing), type(running)) == (Forked, Forked)
        assert await failing.wait() == failing.returncode == 3  # gunicorn's code for an application without import
        assert "No module named 'no_such_module'" in await asyncio.to_thread(read, output)
        assert running.returncode is None
        assert os.getpgid(running.pid) == running.pid
        assert folder_of(running) == tmp_path
        os.kill(parent_of(running), signal.SIGKILL)
        assert await running.wait() == -signal.SIGKILL
        again, _ = await start(launcher, tmp_path, FOREVER)
        assert again.returncode is None
        launcher.close()
        assert await again.wait() == -signal.SIGKILL

    asyncio.run(check())


def test_a_variable_that_is_read_when_a_process_starts_has_a_new_process(tmp_path):
    """A fork would keep the interpreter's or a module's earlier value."""

    async def check() -> None:
        launcher = Launcher()
        process, _ = await start(launcher, tmp_path, FOREVER, PYTHONHASHSEED="7")
        assert not isinstance(process, Forked)
        assert "PYTHONHASHSEED=7" in variables_of(process)
        os.killpg(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        launcher.close()

    asyncio.run(check())
