"""The end of a process that has imported much: Python would free half a million objects, one by one."""

import atexit
import os
import sys
from collections.abc import Callable


class QuickEnd:
    """Ends the process by the first exit function, which Python calls last, once the exit code is known.

    It is made before the imports, of which some have exit functions of their own.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.report: Callable[[int], object] = lambda _: None
        atexit.register(self._end)

    def _end(self) -> None:
        if self.code is None:
            return
        try:
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
        except OSError:
            self.code = self.code or FLUSH_FAILED
        self.report(self.code)
        os._exit(self.code)


FLUSH_FAILED = 120
"""Exit code of Python where what was printed cannot be written. Source: Python's own sys.exit."""
