"""Requests per second of an endpoint, over all its deployments: what is above the limit is 429."""

import time
from collections.abc import Callable


class RateLimit:
    """Counts requests in each second of the clock.

    Source of the limit: MicrosoftDocs, how-to-manage-quotas.md. How Azure counts is not documented.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._counts: dict[str, int] = {}

    def admits(self, endpoint: str) -> bool:
        """Count a request; return whether it is within the limit."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._counts = second, {}
        self._counts[endpoint] = self._counts.get(endpoint, 0) + 1
        return self._counts[endpoint] <= self._per_second
