"""A process that has imported what a run needs, and forks: a fork is ready within milliseconds, not seconds.

Importing the libraries takes a kernel two seconds of processor time. The fork server imports them once, while its
client does other things, and then becomes `python -m MODULE ARGUMENTS` as often as the client requests it. The
server of `opslib run` is itself a fork of that process, so that what both need is imported once.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.evidence.run.files import FOLDER_VARIABLE
from opslib.evidence.signing.keys import SIGNING_VARIABLES
from opslib.import_shims import allow_all
from opslib.runner.fork_serving import INLINE_BACKEND, receive, serve_and_become

DEFAULT_GARBAGE_THRESHOLDS = (700, 10, 10)
"""Python 3.11's own: a user's code runs as in any kernel."""


@dataclass
class ForkedProcess:
    """A process that the fork server started; the part of `subprocess.Popen` that a kernel's owner uses.

    It is not a child of this process, so that its exit code is not known: `poll` returns 0 once it has ended.
    """

    pid: int
    stdin: None = None
    stdout: None = None
    stderr: None = None
    _descriptor: int | None = field(init=False)
    _closing: threading.RLock = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._descriptor = None
        self._closing = threading.RLock()  # a signal's handler may send another signal while one is sent
        with suppress(ProcessLookupError):  # it has ended already
            self._descriptor = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return None while the process runs, 0 afterwards."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended, at most `timeout` [seconds].

        Raises
        ------
        subprocess.TimeoutExpired
            If it still runs then.
        """
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return 0

    @property
    def descriptor(self) -> int | None:
        """A descriptor that can be read once the process has ended; None where that is known already."""
        return self._descriptor

    def send_signal(self, signum: int) -> None:
        """Send a signal if the process still runs; never to another process that has its number now."""
        with self._closing:  # another thread that finds the end would close the descriptor meanwhile
            if self._descriptor is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._descriptor, signum)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout_s: float | None) -> bool:
        descriptor = self._descriptor
        if descriptor is None:
            return True
        ready = select.select([descriptor], [], [], timeout_s)[0]
        if ready:
            with self._closing:
                if self._descriptor is not None:
                    self._descriptor = None
                    os.close(descriptor)
        return bool(ready)


@dataclass
class _Child:
    """A forked fork server; the part of `subprocess.Popen` that its client uses."""

    pid: int
    _ended: bool = False

    def poll(self) -> int | None:
        self._ended = self._ended or os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return 0 if self._ended else None

    def wait(self, timeout: float) -> int:
        del timeout  # it ends as soon as its channel is closed
        if not self._ended:
            os.waitpid(self.pid, 0)
            self._ended = True
        return 0


class ForkServer:
    """The client's side of one fork server.

    Parameters
    ----------
    process
        The server's process.
    channel
        The client's end of the channel to it.
    """

    def __init__(self, process: "subprocess.Popen[bytes] | _Child", channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._lock = threading.Lock()

    @classmethod
    def spawned(cls) -> "ForkServer":
        """Start a fork server as a new process."""
        mine, its = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name not in _PRIVATE_VARIABLES}
        with its:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "opslib.runner.fork_serving"],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"MPLBACKEND": INLINE_BACKEND, **environment},
                start_new_session=True,  # Ctrl-C in a terminal is for the runner alone
            )
        return cls(process, mine)

    @property
    def pid(self) -> int:
        """The server's process id, the parent of its forks."""
        return int(self._process.pid)

    @property
    def ended(self) -> bool:
        """Whether the server has ended."""
        return self._process.poll() is not None

    def prepare(self, modules: Sequence[str]) -> None:
        """Have modules imported for all later forks; this does not wait for it."""
        with self._lock, suppress(OSError):  # a server that has ended is found when it is to fork
            self._send({"imports": list(modules)})

    def _send(self, request: Mapping[str, Any], streams: Sequence[int] = ()) -> None:
        content = json.dumps(request).encode()
        socket.send_fds(self._channel, [len(content).to_bytes(4)], list(streams))
        self._channel.sendall(content)

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: str,
        streams: tuple[int, int, int],
    ) -> ForkedProcess:
        """Start `python -m module arguments` as a fork, in a session of its own.

        Parameters
        ----------
        module, arguments
            As on Python's command line.
        environment, folder
            The fork's environment variables and working directory.
        streams
            Descriptors of its stdin, stdout and stderr.

        Raises
        ------
        ConnectionError
            If the server has ended.
        """
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": folder,
        }
        with self._lock:
            self._send(request, streams)
            answer = receive(self._channel, 4)
        return ForkedProcess(int.from_bytes(answer))

    def close(self) -> None:
        """End the server; its forks go on."""
        self._channel.close()
        self._process.wait(10)


_PRIVATE_VARIABLES = frozenset({*SIGNING_VARIABLES, FOLDER_VARIABLE})
"""What a fork must not inherit: the key that seals a run, and the mark of a run's own processes."""


def fork_server() -> ForkServer:
    """Return this process's fork server, started at the first call, and again after it was killed."""
    with _STARTING:
        if _servers and _servers[-1].ended:
            _servers.pop().close()
        if not _servers:
            _servers.append(ForkServer.spawned())
        return _servers[-1]


def fork_the_server(*left: socket.socket) -> None:
    """Make this process's fork server by a fork of this process, so that what both need is imported once.

    A process with other threads, or one that was started with a signing key in its environment, is not forked: the
    threads' locks would stay locked, and /proc would show the key to the kernel. Its server is a new process, as is
    that of a program that does not call this.

    Parameters
    ----------
    left
        Connections of this process, which the server closes.
    """
    if _servers or threading.active_count() > 1 or _shows_private_variables():
        return
    mine, its = socket.socketpair()
    pid = os.fork()
    if pid:
        its.close()
        _servers.append(ForkServer(_Child(pid), mine))
        return
    for one in (mine, *left):
        one.close()
    os.setsid()  # Ctrl-C in a terminal is for the runner alone
    _leave_the_client()
    serve_and_become(its)
    raise SystemExit  # what the client was doing is not this process's


def _shows_private_variables() -> bool:
    """Return whether /proc shows a variable to a fork that it must not inherit."""
    shown = Path("/proc/self/environ").read_bytes().split(b"\0")
    return any(one.partition(b"=")[0].decode() in _PRIVATE_VARIABLES for one in shown)


def _leave_the_client() -> None:
    """Give up what a forked server has of its client: streams, the folder on its path, imports that it skips."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    for name in _PRIVATE_VARIABLES:
        os.environ.pop(name, None)
    os.environ.setdefault("MPLBACKEND", INLINE_BACKEND)
    if sys.path[0] in {"", str(Path.cwd())}:  # `python -m` puts it there
        del sys.path[0]
    gc.set_threshold(*DEFAULT_GARBAGE_THRESHOLDS)
    allow_all()


_STARTING = threading.Lock()
_servers: list[ForkServer] = []


@atexit.register
def _close() -> None:
    for server in _servers:
        server.close()
