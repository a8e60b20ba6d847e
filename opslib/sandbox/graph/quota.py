"""The quota of Azure Resource Graph: so many queries of a user in each window of time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

QUERIES, WINDOW_S = 15, 5.0
"""Source: Microsoft Learn, "Guidance for throttled requests in Azure Resource Graph"."""


@dataclass(frozen=True)
class Remaining:
    """What is left of a user's quota after a query; negative where the query is above it."""

    queries: int
    resets_after_s: float

    def headers(self) -> dict[str, str]:
        """Return the two headers that every answer has."""
        return {
            "x-ms-user-quota-remaining": str(max(self.queries, 0)),
            "x-ms-user-quota-resets-after": f"00:00:{max(round(self.resets_after_s), 1):02d}",
        }


class UserQuota:
    """Counts the queries of each user."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: dict[str, tuple[float, int]] = {}

    def take(self, user: str) -> Remaining:
        """Count a query."""
        now = self._clock()
        begun, count = self._used.get(user, (now, 0))
        if now - begun >= WINDOW_S:
            begun, count = now, 0
        self._used[user] = begun, count + 1
        return Remaining(QUERIES - count - 1, begun + WINDOW_S - now)
