"""Eventual consistency as a setting: for a while after a write, reads show an endpoint's earlier traffic.

Source: Azure/azure-dev#3881 had to read an endpoint again until it showed what had been written.
"""

import time

from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core.settings import Settings

_FIELDS = ("traffic", "mirrorTraffic")


class ReadLag:
    """Earlier traffic that reads still show."""

    def __init__(self, settings: Settings) -> None:
        self._lag_s = settings.consistency_lag_s
        self._least_s = settings.operation_s
        self._before: dict[str, tuple[float, dict[str, object]]] = {}

    def note(self, before: Resource | None) -> None:
        """Note the endpoint before a write."""
        if before is not None and self._lag_s > 0:
            now_s = time.monotonic()
            self._before = {key: held for key, held in self._before.items() if held[0] > now_s}
            shown = {field: before.properties[field] for field in _FIELDS}
            self._before[before.key] = (now_s + self._least_s + self._lag_s, shown)

    def shown(self, endpoint: Resource) -> Resource:
        """Return the endpoint as a read shows it now."""
        until_s, fields = self._before.get(endpoint.key, (0.0, {}))
        return endpoint.with_properties(**fields) if time.monotonic() < until_s else endpoint
