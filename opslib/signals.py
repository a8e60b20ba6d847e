"""Signals that are handled during a block."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handled(handler: Callable[[signal.Signals], object], *signums: signal.Signals) -> Iterator[None]:
    """Call a function at each of the signals during the block; afterwards they have the handlers of before.

    Python lets only the main thread set handlers.
    """

    def handle(signum: int, _: FrameType | None) -> None:
        handler(signal.Signals(signum))

    before = {signum: signal.signal(signum, handle) for signum in signums}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)
