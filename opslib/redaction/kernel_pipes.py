"""What a kernel tells its runner: the values that are secret, and the words it says outside the notebook.

Both go through pipes, so that neither reaches a disk before it is masked.
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
    """A named pipe in a folder of this user alone; what is written to it is masked from then on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "secrets"
        os.mkfifo(self.path, 0o600)
        # opened for both, so that neither side waits for the other
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._lock = threading.Lock()

    def drain(self) -> None:
        """Take what has been said so far: a kernel says it before it can show the value.

        Whoever returns from here masks all of it: another thread that took a value has registered it by then.
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
        """Take the last and close."""
        self.drain()
        os.close(self._descriptor)


@contextmanager
def secrets_pipe() -> Iterator[SecretsPipe]:
    """Open a pipe for the time of a run."""
    with tempfile.TemporaryDirectory(prefix="opslib-") as folder:
        pipe = SecretsPipe(Path(folder))
        try:
            yield pipe
        finally:
            pipe.close()


LOG_DRAIN_TIMEOUT_S = 10.0
"""How long a kernel that has ended may take to say the rest; a child that it left behind is not waited for."""


@contextmanager
def masked_log(path: Path, pipe: SecretsPipe) -> Iterator[IO[bytes]]:
    """A file for a child process to write to, whose lines are masked on their way to `path`.

    Nothing is written any more after the block: the file is about to be sealed.
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
    """Copy until the last writer has gone; a full disk must not stop the child, so what follows is dropped."""
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
