"""The client of the prepared process: it hands a command over and behaves as the process that runs it.

The command runs in a fork of the prepared process. It gets the signals that the client gets, and is killed when the
client dies, however that happens. The client ends as it ends.
"""

import json
import os
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from opslib.errors import ConnectError
from opslib.warm.conditions import find_conditions
from opslib.warm.place import connect

FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGWINCH, signal.SIGCONT),
)
"""Signals that a terminal, a shell or a pipeline sends to a command."""

MESSAGE_BYTES = 4096
"""Longest answer of the prepared process."""

GO = b"go"


def hand_over(words: Sequence[str]) -> int | None:
    """Have a command line run by the prepared process; return its exit code, negative for a signal.

    None where there is no such process, or it would not do the same as this one: then nothing was started.
    """
    try:
        with _offered(words) as (connection, process):
            return _accompany(connection, process)
    except (OSError, ValueError, ConnectError):
        return None


def end_as(code: int) -> int:
    """Return an exit code; where it is of a signal, end this process by that signal."""
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def refusal() -> str:
    """Return why the prepared process would not run a command of this process; empty if it would.

    Raises
    ------
    ConnectError, OSError
        If there is none.
    """
    try:
        with _offered([]):
            return ""
    except ValueError as error:
        return str(error)


@contextmanager
def _offered(words: Sequence[str]) -> Iterator[tuple[socket.socket, int]]:
    """Offer a command line; yield the connection and a descriptor of the process that is ready to run it."""
    lifeline, mine = os.pipe()  # the other end is closed when this process ends
    process = -1
    try:
        with connect() as connection:
            socket.send_fds(connection, [json.dumps(_request(words)).encode()], [0, 1, 2, lifeline])
            content, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
            if not content or not descriptors:
                raise ValueError(content.decode() or "the prepared process has ended")
            process = descriptors[0]
            yield connection, process
    finally:
        for descriptor in (lifeline, mine, process):
            if descriptor >= 0:
                os.close(descriptor)


def _request(words: Sequence[str]) -> dict[str, Any]:
    ignored = [one for one in FORWARDED if signal.getsignal(one) is signal.SIG_IGN]
    return {
        "words": list(words),
        "folder": os.getcwd(),  # noqa: PTH109 - as text
        "environment": dict(os.environ),
        "ignored": ignored,
        "conditions": find_conditions(),
    }


def _accompany(connection: socket.socket, process: int) -> int:
    """Let the process run the command; send it the signals that this one gets, and return its exit code."""

    def forward(signum: int, _: FrameType | None) -> None:
        _send(process, signum)

    def suspend(_: int, __: FrameType | None) -> None:
        _send(process, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)

    connection.settimeout(None)
    signals, waking = os.pipe()  # a signal just before the wait would else be handled after it
    os.set_blocking(waking, False)
    poller = select.poll()
    for descriptor in (connection.fileno(), signals):
        poller.register(descriptor, select.POLLIN)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGTSTP))
    connection.send(GO)  # what can fail is done before it: the command would run a second time, here
    for signum in FORWARDED:
        signal.signal(signum, forward)
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
        signal.signal(signal.SIGTSTP, suspend)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    while connection.fileno() not in [descriptor for descriptor, _ in poller.poll()]:
        os.read(signals, MESSAGE_BYTES)
    try:
        content = connection.recv(MESSAGE_BYTES)
    except ConnectionError:
        content = b""
    return int(content) if content else -signal.SIGKILL


def _send(process: int, signum: int) -> None:
    with suppress(OSError):  # it has ended, and its exit code is on its way
        signal.pidfd_send_signal(process, signum)
