"""The prepared process: it has imported what runs need, and forks for each that a client hands over.

It reads nothing that a client sends: the fork does, so that no run finds the environment of another one.
"""

import os
import select
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from opslib.quick_end import QuickEnd
from opslib.warm.conditions import find_conditions
from opslib.warm.place import READY, RUN, peer_of, send_code

IDLE_S = 1800.0
"""It ends when no run was handed over for this long [seconds]."""

MAX_RUNS = 32
"""Runs at a time; a client whose run would be one more runs it itself [count]."""


@dataclass
class Server:
    """The socket on which clients connect, and the runs that were forked.

    Attributes
    ----------
    listener
        The socket.
    runs
        Process and connection of each run, by a descriptor of the process.
    """

    listener: socket.socket
    runs: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)

    def serve(self) -> socket.socket | None:
        """Fork for each client. Return in a fork its connection; None once no run was handed over for long."""
        poller = select.poll()
        poller.register(self.listener, select.POLLIN)
        used_s = time.monotonic()
        while True:
            ready = poller.poll(None if self.runs else max(0.0, used_s + IDLE_S - time.monotonic()) * 1000)
            if not ready:
                return None
            for descriptor, _ in ready:
                if descriptor in self.runs:
                    poller.unregister(descriptor)
                    if self._report(descriptor):
                        used_s = time.monotonic()
                    continue
                connection = self._accept()
                if connection is None:
                    continue
                pid = os.fork()
                if pid == 0:
                    self._leave()
                    return connection
                process = os.pidfd_open(pid)
                self.runs[process] = pid, connection
                poller.register(process, select.POLLIN)
                log(f"{pid} started")

    def _accept(self) -> socket.socket | None:
        """Accept a client of this user, if there is room for its run."""
        connection, _ = self.listener.accept()
        if peer_of(connection)[1] == os.getuid() and len(self.runs) < MAX_RUNS:
            return connection
        with connection, suppress(OSError):
            connection.send(f"there are {len(self.runs)} runs, or this is another user".encode())
        return None

    def _report(self, descriptor: int) -> bool:
        """Send a client the exit code of its run, which a run that was ended by a signal could not send.

        Return whether the fork has been a run; others end once their client has seen that it could be one.
        """
        pid, connection = self.runs.pop(descriptor)
        os.close(descriptor)
        was_run = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == RUN
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        log(f"{pid} ended with {code}")
        with connection:
            send_code(connection, code)
        return was_run

    def _leave(self) -> None:
        """Close in a fork what is the server's."""
        self.listener.close()
        for descriptor, (_, connection) in self.runs.items():
            os.close(descriptor)
            connection.close()
        self.runs.clear()


def log(text: str) -> None:
    """Write a line to the log, which is this process's stdout."""
    print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)


def listen(path: Path) -> socket.socket:
    """Listen on a socket that only this user can connect to; one without a listener is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(MAX_RUNS)
    return listener


def serve_until_idle(path: Path, started: int) -> socket.socket | None:
    """Serve on a socket and remove it at the end; return in a fork the connection to its client.

    Parameters
    ----------
    path
        Of the socket.
    started
        Descriptor on which to report that clients can connect.
    """
    with listen(path) as listener:
        server, own = os.getpid(), path.stat().st_ino
        log(f"{server} is prepared")
        os.write(started, READY)
        try:
            return Server(listener).serve()
        finally:
            if os.getpid() == server:
                log("ended")
                if path.exists() and path.stat().st_ino == own:  # else another one has taken its place
                    path.unlink()


def main(path: Path, started: int) -> None:
    """Prepare, serve on a socket and report it on a descriptor; in a fork, become the run of a client."""
    end = QuickEnd()
    prepared_at, conditions = datetime.now(UTC).isoformat(timespec="milliseconds"), find_conditions()
    from opslib.warm.imports import prepare  # noqa: PLC0415 - the conditions are those before all imports
    from opslib.warm.prepared_run import become_run  # noqa: PLC0415

    prepare()
    assert threading.active_count() == 1, f"an import has started a thread: {threading.enumerate()}"
    Path("/proc/self/comm").write_text("opslib-warm", encoding="utf-8")
    connection = serve_until_idle(path, started)
    end.code = 0
    if connection is not None:
        end.code = 1  # if this raises
        become_run(connection, conditions, prepared_at, end)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
