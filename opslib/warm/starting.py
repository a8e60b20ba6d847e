"""Start, find and end the prepared process of this user."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import ConnectError
from opslib.warm.client import refusal
from opslib.warm.conditions import start_variables
from opslib.warm.place import READY, RUN, connect, find_socket, log_of, peer_of, require_private

END_TIMEOUT_S = 10.0
"""Longest wait for its end, which waits for nothing [seconds]."""


@dataclass(frozen=True)
class Prepared:
    """A prepared process.

    Attributes
    ----------
    pid
        Its process.
    refusal
        Why it would not run a command of this process; empty if it would.
    runs
        How many runs it has now [count].
    memory_mib
        Its memory, most of which its runs share [MiB].
    """

    pid: int
    refusal: str
    runs: int
    memory_mib: float


def find_prepared() -> Prepared | None:
    """Return the prepared process; None if there is none."""
    try:
        with connect() as connection:
            pid, _ = peer_of(connection)
        why = refusal()
        memory_kib = int(_status(pid)["VmRSS"].split()[0])
    except (OSError, KeyError, ConnectError):
        return None
    return Prepared(pid, why, _count_runs(pid), memory_kib / 1024)


def start() -> Prepared:
    """Return the prepared process; start it if there is none that would run a command of this process.

    It gets the environment variables that take effect at a start, and no others.

    Raises
    ------
    ConnectError
        If it cannot be started, or refuses nevertheless.
    """
    found = find_prepared()
    if found is not None and not found.refusal:
        return found
    stop()
    path = find_socket()
    with suppress(OSError):
        path.parent.mkdir(mode=0o700)
    require_private(path.parent)
    _spawn(path)
    found = find_prepared()
    if found is None or found.refusal:
        why = found.refusal if found else "it has ended"
        raise ConnectError(f"the prepared process cannot be used: {why}. See {log_of(path)}")
    return found


def stop() -> bool:
    """End the prepared process and wait for it; its runs go on. Return whether there was one."""
    try:
        with connect() as connection:
            process = os.pidfd_open(peer_of(connection)[0])
    except (OSError, ConnectError):
        return False
    with suppress(ProcessLookupError):  # it has ended by itself
        signal.pidfd_send_signal(process, signal.SIGTERM)
        select.select([process], [], [], END_TIMEOUT_S)
    os.close(process)
    _started[:] = [one for one in _started if one.poll() is None]
    find_socket().unlink(missing_ok=True)
    return True


def _spawn(path: Path) -> None:
    """Start it in a session of its own, to listen on a socket, and wait until clients can connect."""
    mine, its = os.pipe()
    environment = start_variables() | {"PATH": os.environ.get("PATH", os.defpath)}
    log = os.open(log_of(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(log, "wb") as file, os.fdopen(mine, "rb") as answer:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "opslib.warm.server", str(path), str(its)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            env=environment,
            pass_fds=(its,),
            start_new_session=True,
        )
        os.close(its)
        answer.read(len(READY))  # until it is ready, or has ended
    _started.append(process)


_started: list["subprocess.Popen[bytes]"] = []
"""What this process has started: an object that is dropped while its process runs warns of it."""


def _count_runs(pid: int) -> int:
    """Count the forks of a prepared process that have become a run."""
    return sum(
        status.get("PPid") == str(pid) and status.get("Name") == RUN
        for status in map(_status, filter(str.isdigit, os.listdir("/proc")))  # noqa: PTH208 - names
    )


def _status(pid: int | str) -> dict[str, str]:
    """Return what the kernel reports of a process; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
