"""The machine that a demo runs on: how busy it is, and a demo that is stopped cleans up after itself."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from opslib.signals import handled


def busy_note() -> str:
    """Return a line that names the machine's load as a possible cause of failures; empty where it is not busy."""
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    if load <= cores:
        return ""
    return (
        f"The load average of the last five minutes is {load:.1f} on {cores} cores, the demo's own work included. "
        "A busy machine answers slowly and with 429: run it again when nothing else runs here.\n"
    )


@contextmanager
def stops_as_interrupt() -> Iterator[None]:
    """Take SIGTERM and SIGHUP as Ctrl-C during the block: the clients and the sandbox are stopped first."""

    def interrupt(_: signal.Signals) -> None:
        raise KeyboardInterrupt

    with handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield
