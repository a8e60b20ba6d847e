"""Become instances: gunicorn with Microsoft's inference server, on loopback, dying with the sandbox.

Run by path as `python -P launch.py PARENT_PID -- GUNICORN_ARGUMENTS` it becomes one instance, in the deployment's
own folder and environment. The server's own command line is not used because it binds 0.0.0.0
(azureml_inference_server_http.constants.DEFAULT_HOST); what its amlserver.py sets is set by the caller.

Run as `python -P launch.py PARENT_PID exec COMMAND` it becomes a deployment's own server.

Run as `python -P launch.py PARENT_PID` it imports what the server imports, which takes half a second of processor
time, and forks an instance for each request that its standard input receives (`launcher.py` is the other side). It
has one thread and imports nothing of a deployment's, so that a fork starts like a new process.

Run as `python -P launch.py PARENT_PID import MODULES` it imports these too, and first reports the top-level modules
that came with them. Which modules may be named, and where a fork then is like a new process: `packages.py`.
"""

import atexit
import ctypes
import gc
import io
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1  # prctl(2)

MESSAGE_BYTES = 32 * 1024
"""Longest request; a Unix socket holds 208 KiB by default (socket(7), wmem_default), and four may wait."""

PREPARED = (
    "gunicorn.arbiter",
    "gunicorn.glogging",
    "gunicorn.http.wsgi",
    "gunicorn.workers.sync",
    "flask",
    "flask_cors",
    "pydantic_settings",
    "inference_schema.schema_util",
    "azureml_inference_server_http.api.aml_request",
    "azureml_inference_server_http.api.aml_response",
    "azureml_inference_server_http.constants",
    "azureml_inference_server_http.log_config",
    "azureml_inference_server_http.server.input_parsers",
    "azureml_inference_server_http.server.utils",
)
"""What azureml_inference_server_http.server.entry imports, without its modules that read the environment."""


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to signal this process when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the request was made
        sys.exit(1)


def post_fork(_server: Any, _worker: Any) -> None:
    """Tie each gunicorn worker to its master, which may be killed without notice."""
    die_with_parent(os.getppid(), signal.SIGKILL)


def prepare(modules: list[str]) -> tuple[list[str], dict[str, str]]:
    """Import what every instance needs, and some modules more.

    Returns
    -------
    The top-level modules that came with those, and the variables that they set.
    """
    gc.disable()  # imports free nothing
    _import(PREPARED)
    _beside("inference_server").prepare()
    _beside("worker")
    before, variables = _top_level(), dict(os.environ)
    _import(modules)
    return sorted(_top_level() - before), {k: v for k, v in os.environ.items() if k not in variables}


def _import(names: Iterable[str]) -> None:
    for name in names:
        with suppress(ImportError):  # not every version of the server has it
            import_module(name)


def _top_level() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules}


def serve(channel: socket.socket, common: dict[str, str]) -> list[str] | None:
    """Fork for each request and report each end, until the channel closes; in a fork, return its arguments.

    Each fork has the variables `common`, unless its request has others of the names.
    """
    running: dict[int, int] = {}  # descriptors of processes, and their ids
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    this = os.getpid()
    while True:
        for ready, _ in poller.poll():
            if ready in running:
                poller.unregister(ready)
                os.close(ready)
                pid, status = os.waitpid(running.pop(ready), 0)
                channel.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
                continue
            content, streams, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
            if not content:
                return None
            gc.collect()
            gc.freeze()  # collections in a fork would copy every page
            entered, entering = os.pipe()
            pid = os.fork()
            if pid == 0:
                gc.enable()
                for descriptor in (*running, channel.detach(), entered):
                    os.close(descriptor)
                request = json.loads(content)
                forked = _enter({**request, "environment": common | request["environment"]}, streams, this)
                os.close(entering)
                return forked
            for descriptor in (*streams, entering):
                os.close(descriptor)
            os.read(entered, 1)  # until it has closed its end: signals reach it as the leader of its group
            os.close(entered)
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid
            poller.register(descriptor, select.POLLIN)
            channel.send(json.dumps({"started": pid}).encode())


def _enter(request: dict[str, Any], streams: list[int], parent: int) -> list[str]:
    """Make this fork a process of its own: session, streams, environment, folder; return gunicorn's arguments.

    The folder is an argument too: gunicorn would return to the one in which it was imported.
    """
    os.setsid()
    die_with_parent(parent, signal.SIGKILL)
    listener, output = streams
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # as its import does; the fork would repeat another one's numbers
    return [*request["arguments"], "-b", f"fd://{listener}", "--chdir", request["folder"]]


def become_instance(arguments: list[str]) -> NoReturn:
    """Run the server with arguments that gunicorn understands, and end."""
    sys.argv = ["azmlinfsrv", *arguments]
    server = _beside("inference_server").Server()
    server.cfg.set("post_fork", post_fork)
    if server.cfg.worker_class_str == "sync" and server.cfg.workers == 1:  # of several workers one could be busy
        server.cfg.set("worker_class", _beside("worker").KeepingWorker)  # that holds a connection
    try:
        server.run()
    except SystemExit as end:  # of the main process, and of each worker, which is a fork
        if not isinstance(end.code, int | None):
            raise
        _end(end.code or 0)
    _end(0)


def _end(code: int) -> NoReturn:
    """End as the interpreter does, without freeing all that was imported, which takes longer than the start.

    As in multiprocessing, threads are awaited and exit handlers called. What a script left open is written.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing.process
    with suppress(Exception):  # it was printed
        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would call
    for file in [one for one in gc.get_objects() if type(one) in (io.TextIOWrapper, io.BufferedWriter)]:
        with suppress(OSError, ValueError):  # closed, or the disk is full
            file.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(code & 0xFF)


@cache
def _beside(name: str) -> ModuleType:
    """Import a module of this folder; a scoring script may have one of the same name."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}.py is missing beside launch.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Become one instance, or fork instances until the sandbox ends."""
    parent, arguments = int(sys.argv[1]), sys.argv[3:]
    die_with_parent(parent, signal.SIGKILL)
    if sys.argv[2:3] == ["exec"]:  # the tie is kept: prctl(2), it is cleared on fork only
        os.execvp(arguments[0], arguments)  # noqa: S606 - no shell is wanted
    if sys.argv[2:3] != ["--"]:
        channel = socket.socket(fileno=os.dup(0))
        imported, set_by_them = prepare(arguments)
        channel.send(json.dumps({"imported": imported}).encode())
        forked = serve(channel, set_by_them)
        if forked is None:
            return
        arguments = forked
    become_instance(arguments)


if __name__ == "__main__":
    main()
