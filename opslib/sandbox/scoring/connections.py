"""Connections of an endpoint: how many are open and how many were opened in this second; more are 429.

Source of the limits: MicrosoftDocs, how-to-manage-quotas.md. All endpoints share one address here, so that a
connection becomes an endpoint's with its first request to it, which is the one that is refused.
"""

from collections import Counter

from opslib.sandbox.scoring.rate_limit import RateLimit


class Connections:
    """Knows which clients have a connection to which endpoint."""

    def __init__(self, most: int, per_second: int) -> None:
        self._most = most
        self._new = RateLimit(per_second)
        self._open: dict[str, set[str]] = {}
        self._opened = Counter[str]()

    def admits(self, endpoint: str, client: str) -> bool:
        """Return whether a client (`host:port`) has, or is given, a connection to an endpoint."""
        clients = self._open.setdefault(endpoint, set())
        if client in clients:
            return True
        if len(clients) >= self._most or not self._new.admits(endpoint):
            return False
        clients.add(client)
        self._opened[endpoint] += 1
        return True

    def close(self, client: str) -> None:
        """Forget a client whose connection is gone."""
        for clients in self._open.values():
            clients.discard(client)

    def measure(self, endpoint: str) -> tuple[int, int]:
        """Return the open connections, and those opened since the last call [count]."""
        return len(self._open.get(endpoint, ())), self._opened.pop(endpoint, 0)
