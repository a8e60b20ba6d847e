"""Start and stop the daemon of a sandbox, and read what its home holds."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, fields
from typing import Any

from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import Settings

_START_TIMEOUT_S = 90.0
_LOG_BYTES = 5_000_000


class SandboxError(Exception):
    """The daemon did not start; the message holds the reason and the end of its log."""


def start(
    home: Home, settings: Settings | None = None, port: int = 0, owner: ProcessId | None = None
) -> dict[str, Any]:
    """Start a sandbox and wait until it answers; return its note.

    Parameters
    ----------
    settings
        All of its settings; None: those of its last start, else the defaults.
    owner
        The process without which the sandbox ends; None: it runs until it is stopped.

    Raises
    ------
    SandboxError
        If it does not answer in time; the message ends with the last lines of its log. With an owner, also if one
        is up in the folder, which has other settings and another end.
    """
    home.prepare()
    with _starting(home):
        note = home.read_note()
        if note is not None and owner is not None:
            raise SandboxError(
                f"a sandbox is up in {home.root} already (pid {note['pid']}): take another folder, or stop it with "
                f"opslib sandbox down --home {home.root}"
            )
        return note or _start(home, settings or last_settings(home), port, owner)


@contextmanager
def _starting(home: Home) -> Iterator[None]:
    """Let one process at a time start a sandbox in a folder: two of them would share one store."""
    folder = os.open(home.root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _start(home: Home, settings: Settings, port: int, owner: ProcessId | None) -> dict[str, Any]:
    home.write_settings(asdict(settings))
    home.note.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "opslib.sandbox.server.daemon", str(home.root), str(port)]
    owned = [] if owner is None else ["--owner", str(owner.pid), str(owner.started_ticks)]
    if home.log.exists() and home.log.stat().st_size > _LOG_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, json.dumps(asdict(settings)), *owned],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            start_new_session=True,
        )
    try:
        return _await_note(home, process)
    except BaseException:  # also Ctrl-C: what does not answer must not stay
        process.kill()
        process.wait()
        raise


def _await_note(home: Home, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        note = home.read_note()
        if note is not None:
            process.returncode = 0  # it is a daemon now, and no child to wait for
            return note
        time.sleep(0.01)
    how = f"did not answer within {_START_TIMEOUT_S:g} s"
    if process.poll() is not None:
        how = f"ended with code {process.returncode} while starting"
    tail = home.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise SandboxError(f"the sandbox {how}: see {home.log}\n{tail}")


def last_settings(home: Home) -> Settings:
    """Return the settings of a sandbox's last start; a setting that was not written has its default."""
    known = {setting.name for setting in fields(Settings)}
    return Settings(**{name: value for name, value in home.read_settings().items() if name in known})


def stop(home: Home) -> bool:
    """Stop a sandbox and its instances; return whether one was running."""
    note = home.read_note()
    process = home.process(note) if note is not None else None
    if process is not None:
        os.kill(process.pid, signal.SIGTERM)
        if not _gone(process, 15.0):
            os.kill(process.pid, signal.SIGKILL)
            _gone(process, 5.0)
        with suppress(ChildProcessError):  # another process started it
            os.waitpid(process.pid, os.WNOHANG)
    home.note.unlink(missing_ok=True)
    for orphan in _instances(home):
        orphan.end(grace_s=1.0)
    return process is not None


def read_state(home: Home, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query of the store, read-only; none where no store exists."""
    path = home.state / "state.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def _gone(process: ProcessId, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not process.alive()


def _instances(home: Home) -> list[ProcessId]:
    return [ProcessId(pid, ticks) for pid, ticks in read_state(home, "SELECT pid, started_ticks FROM instances")]
