"""The processes of instances: forked where a fork starts like a new process, and ended with their sandbox."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from opslib.sandbox.instances.launcher import NONE, Forked, Launch, Launcher, Process
from opslib.sandbox.instances.packages import Imports

FOREVER = ("wsgiref.simple_server:demo_app",)
FAILS = ("no_such_module:app",)
ENDS = """
import atexit, threading, time, worker
from wsgiref.simple_server import demo_app as app

left_open = open("left open", "w")
left_open.write("written")
atexit.register(lambda: open("at exit", "w").write("written"))
threading.Thread(target=lambda: (time.sleep(0.3), open("by a thread", "w").write("written"))).start()
open("loaded", "w").write(worker.__file__)
"""
LIKE_NEW = """
import json, os, sys
from pathlib import Path
from wsgiref.simple_server import demo_app as app

before = "numpy" in sys.modules
import numpy

drawn = numpy.random.random()
product = (numpy.ones((500, 500)) @ numpy.ones((500, 500))).sum()
threads = len(os.listdir("/proc/self/task"))  # that the product has used
variables = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
same = [product, threads, variables, os.getcwd(), numpy.__file__]
Path("state.new").write_text(json.dumps([before, drawn, same]))
Path("state.new").rename("state")
"""


async def start(
    launcher: Launcher, folder: Path, arguments: tuple[str, ...], imports: Imports = NONE, **variables: str
) -> tuple[Process, int]:
    """Start one process; return it, and the descriptor from which its output is read."""
    reader, output = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await launcher.start(Launch(arguments, variables, folder, imports), listener.fileno(), output)
    os.close(output)
    return process, reader


def read(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


def parent_of(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


def folder_of(process: Process) -> Path:
    return Path(f"/proc/{process.pid}/cwd").readlink()


async def variables_of(process: Process) -> set[str]:
    """Return a process's variables; the kernel shows none of a program that it is still loading (proc(5))."""
    environ = Path(f"/proc/{process.pid}/environ")
    while not (text := environ.read_text()):  # noqa: ASYNC110, ASYNC240 - the kernel loads it
        await asyncio.sleep(0.01)
    return set(text.split("\0"))


def test_forks_report_their_ends_and_are_started_again_after_the_prepared_process(tmp_path, monkeypatch):
    """An instance that fails has the code of its own; one whose parent was killed counts as killed.

    One that is ended by SIGTERM finishes what it began; none writes to the user's home.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "ends.py").write_text(ENDS)
    (tmp_path / "worker.py").touch()

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
        ending, _ = await start(launcher, tmp_path, ("ends:app",))
        while not (tmp_path / "loaded").exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        os.kill(ending.pid, signal.SIGTERM)
        assert await ending.wait() == 0
        assert again.returncode is None
        launcher.close()
        assert await again.wait() == -signal.SIGKILL

    asyncio.run(check())
    for name in ("left open", "at exit", "by a thread"):
        assert (tmp_path / name).read_text() == "written"
    assert (tmp_path / "loaded").read_text() == str(tmp_path / "worker.py")
    assert not (tmp_path / "home").exists()


def test_a_variable_that_is_read_when_a_process_starts_has_a_new_process(tmp_path):
    """A fork would keep the interpreter's or a module's earlier value."""

    async def check() -> None:
        launcher = Launcher()
        process, _ = await start(launcher, tmp_path, FOREVER, PYTHONHASHSEED="7")
        assert not isinstance(process, Forked)
        assert "PYTHONHASHSEED=7" in await variables_of(process)
        os.killpg(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        launcher.close()

    asyncio.run(check())


def test_a_fork_that_has_a_package_imported_is_like_a_new_process(tmp_path):
    """The same threads, variables and results, and random numbers of its own; a module of its code comes first."""
    (tmp_path / "like_new.py").write_text(LIKE_NEW)
    numpy = Imports(("numpy",), frozenset({"like_new"}))

    async def state(launcher: Launcher, imports: Imports, **variables: str) -> tuple[bool, Any]:
        """Start the program; return whether it is a fork, and what it has found."""
        process, _ = await start(launcher, tmp_path, ("like_new:app",), imports, **variables)
        while not (tmp_path / "state").exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        found = json.loads((tmp_path / "state").read_text())
        (tmp_path / "state").unlink()
        return isinstance(process, Forked), found

    async def check() -> None:
        launcher = Launcher()
        _, (first, one, fork) = await state(launcher, numpy)
        _, (_, other, again) = await state(launcher, numpy)
        forked, (imported, another, new) = await state(launcher, numpy, PYTHONHASHSEED="random")
        assert (first, forked, imported) == (True, False, False)
        assert fork == again == new
        assert len({one, other, another}) == 3
        _, (own, *_) = await state(launcher, Imports(("numpy",), frozenset({"like_new", "numpy"})))
        assert not own
        launcher.close()

    asyncio.run(check())
