"""The server's side of a fork server: it imports, and forks for each request.

It starts no thread and opens nothing, so that a fork starts like a new process. It ends when its client ends,
however that happens; its forks do not.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from opslib.evidence.run.files import FOLDER_VARIABLE
from opslib.import_shims import skip_iri_checks, skip_module_lists, without_debugger
from opslib.quick_end import QuickEnd

PREPARED = (
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "psutil",
    "tornado.platform.asyncio",
    "opslib.runner.kernel_app",
    "traitlets.config.argcomplete_config",
    "opslib.runbooks.run",
    "opslib.show.registered",
    "opslib.show.views",
    "opslib.evidence.finish",
    "opslib.runbooks.undo.interrupted_run",
    "azure.core.rest._requests_basic",
    "azure.identity._credentials.app_service",
    "httpcore",
)
"""What is imported before the first fork: what every notebook uses, and the guardian."""

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
"""The value that ipykernel gives MPLBACKEND; matplotlib reads it once, at its import."""

FOLDER_DESCRIPTOR = 100
"""Descriptor under which a run's fork keeps the run's folder open, which /proc shows: it marks the fork. To search
all descriptors of all processes took 10 ms of each run."""


def serve_and_become(channel: socket.socket) -> None:
    """Serve until the client ends; in a fork, become the module that was requested."""
    with channel:
        request = serve(channel)
    if request is not None:
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the client closes the channel; in a fork, return what it is to run."""
    signal.signal(signal.SIGCHLD, _wait_for_ended)
    QuickEnd().code = 0  # of this process and its forks, whose exit codes nothing reads
    gc.disable()  # imports make half a million objects and free none: a fifth of their time
    skip_iri_checks()
    with without_debugger():
        for name in PREPARED:
            import_module(name)
    skip_module_lists()
    while True:
        header, streams, _, _ = socket.recv_fds(channel, 4, 3)
        if not header:
            return None
        request: dict[str, Any] = json.loads(receive(channel, int.from_bytes(header)))
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


def _wait_for_ended(_: int, __: FrameType | None) -> None:
    """Wait for the forks that have ended, so that their processor time counts as the client's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


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
    renew_process()
    name = request["module"].rpartition(".")[2]
    Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")  # what `top` and `ps -o comm` show
    if run := request["environment"].get(FOLDER_VARIABLE):
        folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(folder, FOLDER_DESCRIPTOR, inheritable=False)
        os.close(folder)


def renew_process() -> None:
    """Give a fork random numbers of its own, and its own folder of temporary files, by its own variables.

    Python's own module of random numbers does so by itself.
    """
    tempfile.tempdir = None
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def receive(channel: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes."""
    content = b""
    while len(content) < size:
        chunk = channel.recv(size - len(content))
        if not chunk:
            raise ConnectionResetError("the fork server has ended")
        content += chunk
    return content


if __name__ == "__main__":
    serve_and_become(socket.socket(fileno=os.dup(0)))
