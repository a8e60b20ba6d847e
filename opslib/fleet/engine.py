"""Where the runs of a wave are processes: on this machine, or on the workers of a Dask cluster.

An engine starts `opslib fleet member` and reports the end of its process. How the run ended is read from the
archive, so that an engine that starts a task twice, or loses one, changes nothing twice and loses no run.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

from opslib.errors import ParameterError

ENGINES = "local, dask://HOST:PORT, azureml:COMPUTE, airflow"

CONNECT_TIMEOUT_S = 10.0
"""Longest wait for a Dask scheduler [seconds]."""


@dataclass(frozen=True)
class ProcessEnd:
    """How a process ended: its exit code, and the last line that it wrote to stderr."""

    exit_code: int
    last_line: str

    @property
    def died(self) -> bool:
        """Whether a signal ended it."""
        return self.exit_code < 0


class Engine(Protocol):
    """What runs the processes."""

    def submit(self, command: Sequence[str]) -> "Future[ProcessEnd]":
        """Start `python -m opslib` with these words, as soon as there is a place for it."""

    def interrupt(self) -> None:
        """Interrupt what runs, so that it undoes its change and ends."""

    def close(self) -> None:
        """Release what the engine holds; what runs goes on."""


def open_engine(on: str, places: int) -> Engine:
    """Return the engine that `on` names.

    Parameters
    ----------
    on
        ``local`` or ``dask://HOST:PORT``.
    places
        Most processes at once.

    Raises
    ------
    ParameterError
        If there is no such engine, or it cannot be reached.
    """
    if on == "local":
        return LocalEngine(places)
    if on.startswith("dask://"):
        return DaskEngine(on.removeprefix("dask://"))
    raise ParameterError(f"--on: expected one of {ENGINES}, got {on!r}")


def run_process(command: Sequence[str], folder: str) -> ProcessEnd:
    """Run `python -m opslib` with these words in a folder, in a session of its own, until it ends."""
    with TemporaryFile() as errors:
        done = _start(command, folder, errors).wait()
        return _end(done, errors)


class LocalEngine:
    """Processes of this machine. They live in sessions of their own: a terminal's Ctrl-C does not reach them."""

    def __init__(self, places: int) -> None:
        self._pool = ThreadPoolExecutor(places, thread_name_prefix="fleet")
        self._processes: set[subprocess.Popen[bytes]] = set()

    def submit(self, command: Sequence[str]) -> "Future[ProcessEnd]":
        """Start a process as soon as there is a place for it."""
        return self._pool.submit(self._run, command)

    def interrupt(self) -> None:
        """Send SIGTERM to what runs, as to any `opslib run`."""
        for process in tuple(self._processes):
            process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Start nothing that has no place yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, command: Sequence[str]) -> ProcessEnd:
        with TemporaryFile() as errors:
            process = _start(command, str(Path.cwd()), errors)
            self._processes.add(process)
            try:
                return _end(process.wait(), errors)
            finally:
                self._processes.discard(process)


class DaskEngine:
    """Workers of a Dask cluster, which have opslib, the archive and this folder under the same paths.

    A worker that dies has its task run by another one, which waits for the run if it goes on and reports it lost if
    it died with its worker.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client  # noqa: PLC0415 - an optional dependency, half a second
        except ImportError as error:
            raise ParameterError("--on dask:// needs distributed: pip install 'opslib[dask]'") from error
        connect: Any = Client  # distributed's functions have no types
        try:
            self._client = connect(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ParameterError(f"--on dask://{address}: no scheduler answers there: {error}") from error
        self._executor = self._client.get_executor(pure=False)

    def submit(self, command: Sequence[str]) -> "Future[ProcessEnd]":
        """Queue a task at the scheduler."""
        future: Future[ProcessEnd] = self._executor.submit(run_process, list(command), str(Path.cwd()))
        return future

    def interrupt(self) -> None:
        """Do nothing: the runs are other machines' processes, and end by themselves."""

    def close(self) -> None:
        """Disconnect."""
        with suppress(OSError):
            self._client.close()


def _start(command: Sequence[str], folder: str, errors: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "opslib", *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


def _end(exit_code: int, errors: Any) -> ProcessEnd:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return ProcessEnd(exit_code, lines[-1] if lines else "")
