"""Pipes from the kernel to the runner: secrets to redact, and the kernel's stdout and stderr.

Neither is written to a disk before it is masked.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from opslib.redaction.redact import redact, redactor


class SecretsPipe:
    """A named pipe in a private folder; values that are written to it are masked from then on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "secrets"
        os.mkfifo(self.path, 0o600)
        # opened for reading and writing, so that neither side waits for the other
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._lock = threading.Lock()

    def drain(self) -> None:
        """Register the values that were sent so far; a kernel sends a value before it can show it.

        The lock makes the caller wait for another thread that has read a value and not registered it yet.
        """
        with self._lock:
            while True:
                try:
                    chunk = os.read(self._descriptor, 65_536)
                except BlockingIOError:
                    break
                self._rest += chunk
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                with suppress(ValueError):
                    redactor().add([str(json.loads(line))])

    def close(self) -> None:
        """Register the remaining values and close the pipe."""
        self.drain()
        os.close(self._descriptor)


@contextmanager
def secrets_pipe() -> Iterator[SecretsPipe]:
    """Open a pipe for the duration of a run."""
    with tempfile.TemporaryDirectory(prefix="opslib-") as folder:
        pipe = SecretsPipe(Path(folder))
        try:
            yield pipe
        finally:
            pipe.close()


LOG_DRAIN_TIMEOUT_S = 10.0
"""Longest wait for the rest of the log after the kernel has ended; its child processes may keep the pipe open."""


@contextmanager
def masked_log(path: Path, pipe: SecretsPipe) -> Iterator[IO[bytes]]:
    """Open a file for a child process to write to; its lines are masked and written to `path`.

    Nothing is written after the block, because the file is about to be sealed.
    """
    reading, writing = os.pipe()
    ended = threading.Event()
    reader = threading.Thread(target=_copy, args=(reading, path, pipe, ended), name="kernel log", daemon=True)
    reader.start()
    try:
        with os.fdopen(writing, "wb") as file:
            yield file
    finally:
        reader.join(LOG_DRAIN_TIMEOUT_S)
        ended.set()


def _copy(reading: int, path: Path, pipe: SecretsPipe, ended: threading.Event) -> None:
    """Copy lines until the last writer closes; on a full disk, drop the rest so that the child continues."""
    with os.fdopen(reading, "rb") as source:
        with suppress(OSError), path.open("w", encoding="utf-8") as log:
            for line in source:
                if ended.is_set():
                    break
                pipe.drain()
                log.write(redact(line.decode("utf-8", "replace")))
                log.flush()
        for _ in source:
            pass
