"""What an instance prints, read from its pipe in batches.

The inference server prints two lines for each request, before its answer; read one by one they would delay it. A
pipe that can be read is left for a moment, then all that was printed is taken in. To show lines, call `read` first.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence

_BATCH_S = 0.1
_PIPE_BYTES = 1 << 20  # what a user may have at most, pipe-max-size: a process that prints more waits for the batch
_READ_BYTES = 1 << 18
_LINE_BYTES = 64 * 1024
_TOO_LONG = "(a line too long for the log was dropped)"


class Console:
    """Reads lines from a pipe.

    Parameters
    ----------
    descriptor
        The end to read from; it is closed at its end.
    take
        Is given the lines of each batch.
    """

    def __init__(self, descriptor: int, take: Callable[[Sequence[str]], None]) -> None:
        os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):  # the user's pipes hold too much already (pipe(7), pipe-user-pages-soft)
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._descriptor = descriptor
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rest = b""  # the beginning of a line
        self._dropping = False  # the rest of a line that is too long
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(descriptor, self._wait)

    def read(self) -> None:
        """Take in what was printed, if anything was."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        content, ended = self._drain()
        *lines, rest = (self._rest + content).split(b"\n")
        if self._dropping and lines:
            self._dropping = False
            del lines[0]
        if len(rest) > _LINE_BYTES or self._dropping:
            lines += [] if self._dropping else [_TOO_LONG.encode()]
            self._dropping, rest = True, b""
        if ended and rest:
            lines.append(rest)
        self._rest = rest
        if lines:
            self._take([_text(line) for line in lines])
        if ended:
            os.close(self._descriptor)
            self.ended.set_result(None)
        else:
            self._loop.add_reader(self._descriptor, self._wait)

    def _wait(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._timer = self._loop.call_later(_BATCH_S, self.read)

    def _drain(self) -> tuple[bytes, bool]:
        """Return what the pipe holds, and whether that was its end."""
        content = b""
        while len(content) <= _PIPE_BYTES:
            try:
                chunk = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                return content, True
            content += chunk
        return content, False


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace") if len(line) <= _LINE_BYTES else _TOO_LONG
