"""The fork of the prepared process that becomes `opslib run`, with all that its client has from its start."""

import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from opslib.evidence.run.provenance import set_prepared_at
from opslib.quick_end import QuickEnd
from opslib.redaction.redact import redactor
from opslib.runner.fork_server import fork_the_server
from opslib.runner.fork_serving import renew_process
from opslib.warm.client import FORWARDED, GO
from opslib.warm.conditions import Conditions
from opslib.warm.place import RUN, TIMEOUT_S, send_code

COMMAND_LINE = "opslib.cli.main"
"""By name, since the command line is above this module, as with `python -m opslib`."""

GARBAGE_THRESHOLD = 50_000
"""As in a process of `opslib run` [count]."""

MAX_REQUEST_BYTES = 1 << 20


def become_run(connection: socket.socket, prepared: Conditions, prepared_at: str, end: QuickEnd) -> None:
    """Run the command that the client hands over, if this process is as one that the client would start.

    The kernel's fork server is forked first: it must not have what the client sends, which may be the signing key.

    Parameters
    ----------
    connection
        To the client.
    prepared, prepared_at
        The conditions of the prepared process, and when it was prepared [UTC, ISO 8601].
    end
        Ends this process with the exit code, once this function has returned.
    """
    os.setsid()  # signals of a terminal reach the client, which sends them on
    _reset_signals(())
    fork_the_server(connection)
    connection.settimeout(TIMEOUT_S)
    content, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 4)
    if not content:
        return
    request = json.loads(content)
    refused = _refuse(request, prepared)
    if refused:
        connection.send(refused.encode())
        return
    *streams, lifeline = descriptors
    _end_with_client(lifeline)
    itself = os.pidfd_open(os.getpid())
    socket.send_fds(connection, [b"ready"], [itself])
    os.close(itself)
    if connection.recv(len(GO)) != GO:
        return
    connection.settimeout(None)
    _enter(request, streams)
    set_prepared_at(prepared_at)
    end.report = partial(_report, connection, lifeline)
    end.code = _run(request["words"])


def _refuse(request: Mapping[str, Any], prepared: Conditions) -> str:
    """Return why the client has to run its command itself; empty if nothing is against it."""
    differing = prepared.differing(Conditions(*request["conditions"]))
    if differing:
        return f"other {', '.join(differing)} than it was prepared with"
    try:
        os.chdir(request["folder"])
    except OSError as error:
        return f"the folder cannot be entered: {error}"
    return ""


def _end_with_client(lifeline: int) -> None:
    """Have the kernel kill this process when the client has ended, which closes the other end of a pipe."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def _report(connection: socket.socket, lifeline: int, code: int) -> None:
    """Send the client the exit code, with which it ends at once: that must not kill this process any more."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, 0)
    send_code(connection, code)


def _enter(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Take the client's streams, environment and ignored signals; forget what was cached for another one."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    _open_streams()
    os.environ.clear()
    os.environ.update(request["environment"])
    _reset_signals(request["ignored"])
    redactor.cache_clear()  # secrets of the environment
    renew_process()
    Path("/proc/self/comm").write_text(RUN, encoding="utf-8")
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.enable()


def _open_streams() -> None:
    """Open stdin, stdout and stderr as Python does at its start: buffered by line on a terminal."""
    for descriptor, (name, mode, buffering) in enumerate(
        (("stdin", "r", -1), ("stdout", "w", -1), ("stderr", "w", 1))
    ):
        old = getattr(sys, f"__{name}__")
        stream: Any = open(  # noqa: SIM115 - a descriptor, for the life of the process
            descriptor, mode, buffering, encoding=old.encoding, errors=old.errors, closefd=False
        )
        stream.reconfigure(write_through=old.write_through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _reset_signals(ignored: Iterable[int]) -> None:
    """Handle signals as Python does at its start, where its parent ignored some."""
    for signum in FORWARDED:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    for one in ignored:
        signal.signal(one, signal.SIG_IGN)


def _run(words: Sequence[str]) -> int:
    """Run a command line; return the exit code that Python would end with."""
    sys.argv = ["opslib", *words]
    try:
        return int(import_module(COMMAND_LINE).main(words))
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - as Python ends
        traceback.print_exc()
    return 1
