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

_LAUNCH = [sys.executable, "-P", str(Path(__file__).with_name("launch.py"))]
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
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
    """What a process is started with: gunicorn's arguments, its own environment variables and its folder."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path


class Launcher:
    """Starts processes; forks where nothing in the environment requires a new interpreter."""

    def __init__(self) -> None:
        self._prepared: _Prepared | None = None

    async def start(self, launch: Launch, listener: int, output: int) -> Process:
        """Start one process that accepts from the socket `listener` and prints to `output` (descriptors)."""
        common = _base_environment()
        variables = common | dict(launch.variables)
        request = {"arguments": launch.arguments, "environment": variables, "folder": str(launch.folder)}
        message = json.dumps(request).encode()
        if _read_once(variables) == _read_once(common) and len(message) <= MESSAGE_BYTES:
            if self._prepared is None or self._prepared.ended:
                self._prepared = _Prepared(common)
            with suppress(ConnectionError):  # it has ended: the next start will make another
                return await self._prepared.fork(message, listener, output)
        words = ("--", *launch.arguments, "-b", f"fd://{listener}")
        return await _run(words, variables, launch.folder, output, (listener,))

    async def start_own(
        self, command: Sequence[str], variables: Mapping[str, str], folder: Path, output: int
    ) -> Process:
        """Start a deployment's own server, which binds its ports itself."""
        return await _run(("exec", *command), _base_environment() | dict(variables), folder, output, ())

    def close(self) -> None:
        """End the prepared process."""
        if self._prepared is not None:
            self._prepared.close()


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
    """A process that has imported the server, and the channel on which it receives what to fork."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._channel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._loop = asyncio.get_running_loop()
        self._starting: deque[asyncio.Future[Forked]] = deque()
        self._running: dict[int, asyncio.Future[int]] = {}
        self.ended = False
        with its:
            self._process = subprocess.Popen(
                [*_LAUNCH, str(os.getpid())],
                env=dict(environment),
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel.fileno(), self._read)

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
        if "started" in event:
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
        for waiting in self._starting:
            waiting.set_exception(ConnectionResetError("the process that instances are forked from has ended"))
        for end in self._running.values():
            end.set_result(_LOST)


def _kill(started: asyncio.Future[Forked]) -> None:
    """End a process whose start was cancelled before its id was known."""
    if started.exception() is None:
        os.kill(started.result().pid, signal.SIGKILL)
