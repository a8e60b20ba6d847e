"""`python -m opslib` in processes that are forked from one that has imported it.

A new process imports for five seconds of processor time until its kernel runs. Tests of how a run ends need its
processes, not their imports; that a new process works is tested by the package's and the command line's tests.
"""

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
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from opslib.import_shims import skip_iri_checks, without_debugger
from opslib.runner import fork_server
from opslib.runner.fork_serving import INLINE_BACKEND, PREPARED, serve_and_become
from opslib.warm.large_pages import gather_pages
from opslib.warm.rehearsal import rehearse

IMPORTS = (
    "opslib.cli.main",
    "opslib.cli.shown_run",
    "opslib.runner.guardian",
    "opslib.runner.papermill_engine",
    "opslib.runner.kernel_provisioner",
    "opslib.sandbox.cli.commands",
    "opslib.sandbox.cli.load",
    "opslib.sandbox.cli.traffic_command",
    "opslib.runbooks.canary.canary",
    "opslib.runbooks.canary.checks",
    "opslib.runbooks.rollback",
    "scipy.special",
    "matplotlib_inline.backend_inline",
    "opslib.show.canary_views",
    "opslib.show.rolled_back",
    "opslib.show.scaled",
    "opslib.show.plot",
)
INLINE = {"MPLBACKEND": INLINE_BACKEND}
MESSAGE_BYTES = 64 * 1024

IMPORTED_WITHIN_S = 240.0
"""Longest wait for the first process: five CPU seconds of imports, on a loaded machine [seconds]."""


class PreparedProcess:
    """A forked `python -m opslib`; the part of `subprocess.Popen` that the tests use."""

    def __init__(self, source: "Source", pid: int, output: Path | None) -> None:
        self.pid = pid
        self._source = source
        self._output = output

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._source.code_of(self.pid, 0.0)

    def wait(self, timeout: float = 60.0) -> int:
        code = self._source.code_of(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"opslib, process {self.pid}", timeout)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 60.0) -> tuple[str, str]:
        """Wait for its end; return what it printed, and an empty text."""
        self.wait(timeout)
        return self._output.read_text() if self._output is not None else "", ""


class Source:
    """The process that has imported opslib."""

    def __init__(self) -> None:
        self._channel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._codes: dict[int, int] = {}
        self._lock = threading.Lock()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(Path(__file__))],
                stdin=its.fileno(),
                env=os.environ | INLINE,
            )

    def start(
        self, command: Sequence[str], folder: Path, output: Path | None, settings: Mapping[str, object]
    ) -> PreparedProcess:
        request = {
            "command": list(command),
            "folder": str(folder),
            "environment": dict(os.environ),
            "settings": dict(settings),
        }
        with open_output(output) as file:
            return PreparedProcess(self, self._fork(request, file.fileno()), output)

    def start_fork_server(self, channel: socket.socket) -> PreparedProcess:
        """Start a fork server that answers on the other end of a channel."""
        return PreparedProcess(self, self._fork({"environment": dict(os.environ)}, channel.fileno()), None)

    def _fork(self, request: Mapping[str, object], descriptor: int) -> int:
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [descriptor])
            while (pid := self._receive(IMPORTED_WITHIN_S)) is None:
                pass
            return pid

    def code_of(self, pid: int, within_s: float) -> int | None:
        """Return the exit code of a process that has ended, or ends in time."""
        with self._lock:
            while pid not in self._codes and select.select([self._channel], [], [], within_s)[0]:
                self._receive(0.0)
            return self._codes.get(pid)

    def _receive(self, within_s: float) -> int | None:
        """Take one message: the id of a process that was started, or the code of one that has ended."""
        assert select.select([self._channel], [], [], within_s)[0], "the prepared process does not answer"
        content = self._channel.recv(MESSAGE_BYTES)
        assert content, "the prepared process has ended"
        event = json.loads(content)
        if "code" not in event:
            return int(event["pid"])
        self._codes[event["pid"]] = event["code"]
        return None

    def close(self) -> None:
        self._channel.close()
        self._process.wait(30)


def open_output(path: Path | None) -> BinaryIO:
    return (path or Path(os.devnull)).open("wb")


_sources: list[Source] = []


def source() -> Source:
    """Return the process that has imported opslib, started at the first call."""
    if not _sources:
        _sources.append(Source())
    return _sources[0]


def start_opslib(
    *arguments: str,
    folder: Path,
    output: Path | None = None,
    settings: Mapping[str, object] | None = None,
    module: str = "opslib",
) -> PreparedProcess:
    """Start `python -m opslib ARGUMENTS`, or another module, in a folder; it prints to a file or nowhere.

    `settings` are constants of modules that it sets first, by their full names.
    """
    return source().start([module, *arguments], folder, output, settings or {})


def use_prepared_fork_server() -> None:
    """Give this process a fork server that need not import what the prepared process has imported."""
    if fork_server._servers:
        return
    mine, its = socket.socketpair()
    with its:
        process: Any = source().start_fork_server(its)
    fork_server._servers.append(fork_server.ForkServer(process, mine))


def close() -> None:
    """End the prepared process and the fork server that it became, if there are any."""
    while fork_server._servers:
        fork_server._servers.pop().close()
    while _sources:
        _sources.pop().close()


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for each request and report each end, until the channel closes; in a fork, return the request."""
    running: dict[int, int] = {}
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    while True:
        for ready, _ in poller.poll():
            if ready in running:
                poller.unregister(ready)
                os.close(ready)
                pid, status = os.waitpid(running.pop(ready), 0)
                channel.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
                continue
            try:
                content, streams, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
            except ConnectionResetError:  # the tests ended before they read all messages
                return None
            if not content:
                return None
            pid = os.fork()
            if pid == 0:
                for descriptor in (*running, channel.detach()):
                    os.close(descriptor)
                request: dict[str, Any] = json.loads(content)
                if "command" not in request:  # it is to be a fork server
                    return request | {"channel": streams[0]}
                enter(request, streams[0])
                return request
            os.close(streams[0])
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid
            poller.register(descriptor, select.POLLIN)
            channel.send(json.dumps({"pid": pid}).encode())


def enter(request: Mapping[str, Any], output: int) -> None:
    """Take the environment, the folder and the streams that a new process would have."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, descriptor in ((0, nothing), (1, output), (2, output)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for name, value in request["settings"].items():
        module, _, constant = name.rpartition(".")
        setattr(import_module(module), constant, value)


def become_fork_server(request: Mapping[str, Any]) -> None:
    """Leave the tests' terminal and private variables; serve until the client ends."""
    os.setsid()
    os.environ.clear()
    os.environ.update(INLINE | request["environment"])
    for name in fork_server._PRIVATE_VARIABLES:
        os.environ.pop(name, None)
    serve_and_become(socket.socket(fileno=request["channel"]))


def main() -> None:
    sys.path.pop(0)  # the folder of tests
    skip_iri_checks()
    gc.disable()
    with without_debugger():
        for name in (*PREPARED, *IMPORTS):
            import_module(name)
    rehearse()
    gc.collect()
    gc.freeze()  # collections in a fork would copy every page
    gather_pages()
    gc.enable()
    request = serve(socket.socket(fileno=os.dup(0)))
    if request is None:
        return
    if "channel" in request:
        become_fork_server(request)
        return
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
