"""Wait for a state that Azure shows: read once a second, until it is there or lasted too long."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TypeVar

from opslib.azure.operations import Progress
from opslib.errors import OpsError

T = TypeVar("T")

INTERVAL_S = 1.0
"""Pause between two readings [seconds]."""


@dataclass(frozen=True)
class Pending:
    """A state that is not the expected one yet: what to show meanwhile, and the error if it lasts too long."""

    shown: str
    overdue: OpsError


def await_end(read: Callable[[], T | Pending], limit_s: float, progress: Progress) -> T:
    """Read until the state is no longer pending, and return what was read.

    Raises
    ------
    OpsError
        `overdue` of the last reading, if it is still pending after `limit_s`.
    """
    begun_s = monotonic()
    while isinstance(seen := read(), Pending):
        if monotonic() - begun_s > limit_s:
            raise seen.overdue
        progress(seen.shown)
        sleep(INTERVAL_S)
    return seen
