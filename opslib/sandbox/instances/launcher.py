"""Starts the processes of instances: forks of a prepared process, which are ready in a tenth of a second."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from opslib.sandbox.instances.launch import MESSAGE_BYTES
from opslib.sandbox.instances.packages import Imports

_LAUNCH = [sys.executable, "-P", str(Path(__file__).with_name("launch.py"))]
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
NONE = Imports()
_LOST = -9  # the exit code of a process that was killed
_READ_ONCE = (
    *("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_"),  # when a process starts
    *("OTEL_", "APPLICATIONINSIGHTS_", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY"),  # when a module is imported
)
"""How variables begin that take effect before a fork could set them."""


class Process(Protocol):
    """What an instance needs of its server's main process."""

    @property
    def pid(self) -> int:
        """Its process id; it leads a session of its own."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    async def wait(self) -> int:
        """Wait for its end; return its exit code."""
        ...


@dataclass
class Forked:
    """A process that the prepared one has forked."""

    pid: int
    _end: asyncio.Future[int] = field(repr=False)

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._end.result() if self._end.done() else None

    async def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return await asyncio.shield(self._end)


@dataclass(frozen=True)
class Launch:
    """What a process is started with.

    Attributes
    ----------
    arguments
        gunicorn's.
    variables
        Its own environment variables.
    folder
        Its working folder.
    imports
        What it may find imported.
    """

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path
    imports: Imports = NONE


class Launcher:
    """Starts processes; forks where nothing in the environment requires a new interpreter."""

    def __init__(self) -> None:
        self._prepared: dict[tuple[str, ...], _Prepared] = {}

    async def start(self, launch: Launch, listener: int, output: int) -> Process:
        """Start one process that accepts from the socket `listener` and prints to `output` (descriptors)."""
        common = _base_environment()
        variables = common | dict(launch.variables)
        request = {"arguments": launch.arguments, "environment": variables, "folder": str(launch.folder)}
        message = json.dumps(request).encode()
        if _read_once(variables) == _read_once(common) and len(message) <= MESSAGE_BYTES:
            with suppress(ConnectionError):  # it has ended: the next start will make another
                prepared = await self._find(common, launch)
                return await prepared.fork(message, listener, output)
        words = ("--", *launch.arguments, "-b", f"fd://{listener}")
        return await _run(words, variables, launch.folder, output, (listener,))

    async def start_own(
        self, command: Sequence[str], variables: Mapping[str, str], folder: Path, output: int
    ) -> Process:
        """Start a deployment's own server, which binds its ports itself."""
        return await _run(("exec", *command), _base_environment() | dict(variables), folder, output, ())

    def close(self) -> None:
        """End the prepared processes."""
        for prepared in self._prepared.values():
            prepared.close()

    async def _find(self, common: Mapping[str, str], launch: Launch) -> "_Prepared":
        """Return the prepared process of a launch's modules, unless one has the name of its own."""
        if launch.imports.modules:
            prepared = self._prepare(common, launch.imports.modules)
            if launch.imports.own.isdisjoint(await prepared.imported()):
                return prepared
        return self._prepare(common, ())

    def _prepare(self, common: Mapping[str, str], modules: tuple[str, ...]) -> "_Prepared":
        prepared = self._prepared.get(modules)
        if prepared is None or prepared.ended:
            prepared = self._prepared[modules] = _Prepared(common, modules)
        return prepared


async def _run(
    words: Sequence[str], variables: Mapping[str, str], folder: Path, output: int, passed: tuple[int, ...]
) -> Process:
    return await asyncio.create_subprocess_exec(
        *(*_LAUNCH, str(os.getpid()), *words),
        cwd=folder,
        env=variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=passed,
        start_new_session=True,
    )


def _base_environment() -> dict[str, str]:
    """Return the variables of every instance; of the sandbox's own only what any program needs."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _read_once(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_READ_ONCE)}


class _Prepared:
    """A process that has imported the server and some modules, and the channel of requests to fork."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self._channel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._loop = asyncio.get_running_loop()
        self._imported: asyncio.Future[frozenset[str]] = self._loop.create_future()
        self._starting: deque[asyncio.Future[Forked]] = deque()
        self._running: dict[int, asyncio.Future[int]] = {}
        self.ended = False
        with its:
            self._process = subprocess.Popen(
                [*_LAUNCH, str(os.getpid()), "import", *modules],
                env=dict(environment),
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel.fileno(), self._read)

    async def imported(self) -> frozenset[str]:
        """Return the top-level modules that came with its modules; wait until they are imported.

        Raises
        ------
        ConnectionError
            If the process has ended.
        """
        return await asyncio.shield(self._imported)

    async def fork(self, message: bytes, listener: int, output: int) -> Forked:
        """Have one process forked.

        Raises
        ------
        ConnectionError
            If the prepared process has ended.
        """
        started: asyncio.Future[Forked] = self._loop.create_future()
        socket.send_fds(self._channel, [message], [listener, output])
        self._starting.append(started)
        try:
            return await asyncio.shield(started)
        except asyncio.CancelledError:
            started.add_done_callback(_kill)
            raise

    def close(self) -> None:
        """End the process; its forks end with it."""
        self._lost()

    def _read(self) -> None:
        try:
            content = self._channel.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self._lost()
            return
        event = json.loads(content)
        if "imported" in event:
            self._imported.set_result(frozenset(event["imported"]))
        elif "started" in event:
            end = self._running[event["started"]] = self._loop.create_future()
            self._starting.popleft().set_result(Forked(event["started"], end))
        else:
            self._running.pop(event["ended"]).set_result(event["code"])

    def _lost(self) -> None:
        """Take the process and all its forks for ended: they die with it."""
        if self.ended:
            return
        self.ended = True
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        self._process.kill()
        self._process.wait()
        lost = ConnectionResetError("the process that instances are forked from has ended")
        for waiting in self._starting:
            waiting.set_exception(lost)
        if not self._imported.done():
            self._imported.set_exception(lost)
            self._imported.exception()  # no launch may wait for it
        for end in self._running.values():
            end.set_result(_LOST)


def _kill(started: asyncio.Future[Forked]) -> None:
    """End a process whose start was cancelled before its id was known."""
    if started.exception() is None:
        os.kill(started.result().pid, signal.SIGKILL)
