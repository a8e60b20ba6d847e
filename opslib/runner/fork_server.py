"""A process that has imported what a run needs, and forks: a fork is ready within milliseconds, not seconds.

Importing the libraries takes a kernel two seconds of processor time. The fork server imports them once, while its
client does other things, and then becomes `python -m MODULE ARGUMENTS` as often as the client requests it. It
starts no thread and opens nothing, so that a fork starts like a new process. It ends when its client ends, however
that happens; its forks do not.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from opslib.evidence.run.files import FOLDER_VARIABLE
from opslib.evidence.signing.keys import SIGNING_VARIABLES
from opslib.import_shims import skip_iri_checks

PREPARED = (
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
    "opslib.runbooks.run",
    "opslib.show.registered",
    "opslib.evidence.finish",
    "opslib.runbooks.undo.interrupted_run",
    "azure.core.rest._requests_basic",
    "azure.identity._credentials.app_service",
    "httpcore",
)
"""What is imported before the first fork: what every notebook uses, and the guardian."""

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
"""The value that ipykernel gives MPLBACKEND; matplotlib reads it once, at its import."""


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

    def __post_init__(self) -> None:
        self._descriptor = None
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

    def send_signal(self, signum: int) -> None:
        """Send a signal if the process still runs; never to another process that has its number now."""
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
        if self._descriptor is None:
            return True
        ready = select.select([self._descriptor], [], [], timeout_s)[0]
        if ready:
            os.close(self._descriptor)
            self._descriptor = None
        return bool(ready)


class ForkServer:
    """The client's side of one fork server."""

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name not in _PRIVATE_VARIABLES}
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "opslib.runner.fork_server"],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"MPLBACKEND": INLINE_BACKEND, **environment},
                start_new_session=True,  # Ctrl-C in a terminal is for the runner alone
            )
        self._channel = mine
        self._lock = threading.Lock()

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
            answer = _receive(self._channel, 4)
        return ForkedProcess(int.from_bytes(answer))

    def close(self) -> None:
        """End the server; its forks go on."""
        self._channel.close()
        self._process.wait(10)


_PRIVATE_VARIABLES = {*SIGNING_VARIABLES, FOLDER_VARIABLE}
"""What a fork must not inherit: the key that seals a run, and the mark of a run's own processes."""


def fork_server() -> ForkServer:
    """Return this process's fork server, started at the first call, and again after it was killed."""
    with _STARTING:
        if _servers and _servers[-1].ended:
            _servers.pop().close()
        if not _servers:
            _servers.append(ForkServer())
        return _servers[-1]


_STARTING = threading.Lock()
_servers: list[ForkServer] = []


@atexit.register
def _close() -> None:
    for server in _servers:
        server.close()


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the client closes the channel; in a fork, return what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended forks leave no zombies
    gc.disable()  # imports make half a million objects and free none: a fifth of their time
    skip_iri_checks()
    for name in PREPARED:
        import_module(name)
    while True:
        header, streams, _, _ = socket.recv_fds(channel, 4, 3)
        if not header:
            return None
        request: dict[str, Any] = json.loads(_receive(channel, int.from_bytes(header)))
        if "imports" in request:
            for name in request["imports"]:
                with suppress(Exception):  # the kernel will report it
                    import_module(name)
            continue
        gc.collect()
        gc.freeze()  # collections in a fork would copy every page
        pid = os.fork()
        if pid == 0:
            gc.enable()
            _enter(request, streams)
            return request
        channel.sendall(pid.to_bytes(4))
        for stream in streams:
            os.close(stream)


def _enter(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Make this fork a process of its own: session, signals, streams, environment, folder."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)  # the first replaces the channel
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    name = request["module"].rpartition(".")[2]
    Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")  # what `top` and `ps -o comm` show
    if run := request["environment"].get(FOLDER_VARIABLE):
        os.open(run, os.O_RDONLY | os.O_DIRECTORY)  # /proc shows it: the mark by which a run's processes are found


def _receive(channel: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes."""
    content = b""
    while len(content) < size:
        chunk = channel.recv(size - len(content))
        if not chunk:
            raise ConnectionResetError("the fork server has ended")
        content += chunk
    return content


def _main() -> None:
    with socket.socket(fileno=os.dup(0)) as channel:
        request = serve(channel)
    if request is not None:
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
