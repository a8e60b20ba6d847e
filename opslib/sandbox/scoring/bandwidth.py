"""Bytes per second of an endpoint, both ways and mirrored copies together: what is above the limit waits.

Source: MicrosoftDocs, how-to-manage-quotas.md (5 MBPS for each endpoint), and the columns
RequestThrottlingDelayMs and ResponseThrottlingDelayMs of AmlOnlineEndpointTrafficLog: Azure delays and does not
refuse. How it counts is not documented; here an endpoint that was idle may send one second's worth at once.
"""

import time
from collections.abc import Callable

_BURST_S = 1.0


class Bandwidth:
    """A leaky bucket for each endpoint."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._through_s: dict[str, float] = {}  # when all bytes so far would be through at the limit

    def take(self, endpoint: str, size_bytes: int) -> float:
        """Take bytes; return how long they must wait [s]."""
        now_s = self._clock()
        through_s = max(now_s, self._through_s.get(endpoint, 0.0)) + size_bytes / self._per_second
        self._through_s[endpoint] = through_s
        return max(0.0, through_s - now_s - _BURST_S)
