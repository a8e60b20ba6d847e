"""Who fetched or regenerated an endpoint's keys, by the activity log, which Azure keeps for 90 days."""

from datetime import datetime, timedelta
from typing import Any

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import read_time
from opslib.model import Endpoint
from opslib.model.surroundings import KeyEvent

ACTIVITY_API_VERSION = "2015-04-01"
KEPT = timedelta(days=90)
_OPERATIONS = {"listkeys": "listKeys", "regeneratekeys": "regenerateKeys"}


def read_key_events(workspace: Workspace, endpoint: Endpoint, now: datetime) -> tuple[KeyEvent, ...]:
    """Read the requests about an endpoint's keys that the activity log still has, newest first.

    A request has several events (Started, Accepted, Succeeded), which share a correlation id.
    """
    since = (now - KEPT + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    subscription = f"/subscriptions/{workspace.scope.subscription_id}"
    path = f"{subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    wanted = f"eventTimestamp ge '{since}' and resourceUri eq '{endpoint.id}'"
    rows = workspace.arm.list(path, ACTIVITY_API_VERSION, **{"$filter": wanted})
    by_request: dict[tuple[str, str], list[Json]] = {}
    for row in rows:
        operation = _operation(row)
        if operation:
            by_request.setdefault((operation, str(row.get("correlationId"))), []).append(row)
    found = (_event(operation, events) for (operation, _), events in by_request.items())
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def _operation(row: Json) -> str:
    parts = _value(row.get("operationName")).lower().split("/")
    return _OPERATIONS.get(parts[-2], "") if len(parts) > 1 and parts[-1] == "action" else ""


def _event(operation: str, events: list[Json]) -> KeyEvent:
    statuses = {_value(event.get("status")).lower() for event in events}
    at = min(read_time(str(event["eventTimestamp"])) for event in events)
    caller = next((str(event["caller"]) for event in events if event.get("caller")), "")
    return KeyEvent(operation, at, caller, succeeded="failed" not in statuses)


def _value(named: Any) -> str:
    return str((named or {}).get("value") or "")
