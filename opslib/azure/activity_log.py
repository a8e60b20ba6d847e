"""The activity log: who changed endpoints and deployments, and when. Azure keeps it for 90 days."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from opslib.azure.arm import ArmClient, Json
from opslib.azure.monitor_time import read_time, write_time
from opslib.azure.parallel import read_all
from opslib.model import ActivityEvent, Unread

ACTIVITY_API_VERSION = "2015-04-01"
KEPT = timedelta(days=90)

_FIELDS = (
    "eventTimestamp,resourceId,operationName,status,caller,claims,correlationId,properties,resourceProviderName"
)
_CHANGES = ("/write", "/delete", "/regeneratekeys/action", "/scaleup/action", "/scaledown/action")
_ENDPOINTS = "microsoft.machinelearningservices/workspaces/onlineendpoints"
_AUTOSCALE = "microsoft.insights/autoscalesettings/"
_REFUSED = frozenset({"failed", "canceled"})


def read_changes(
    arm: ArmClient,
    subscriptions: Iterable[str],
    since: datetime | None = None,
    providers: Iterable[str] = ("Microsoft.MachineLearningServices",),
) -> tuple[tuple[ActivityEvent, ...], tuple[Unread, ...]]:
    """Read the changes of endpoints and deployments that were not refused, newest first.

    Parameters
    ----------
    arm
        Client of Azure Resource Manager.
    subscriptions
        Ids of the subscriptions.
    since
        Start of the time that is read; by default all that Azure keeps.
    providers
        Resource providers whose events are read; autoscale's are those of Microsoft.Insights.

    Returns
    -------
    events, unread
        One event per change and resource, and the subscriptions whose log could not be read.
    """
    now = datetime.now(UTC)
    start = max(since or now - KEPT, now - KEPT)

    def read(key: tuple[str, str]) -> list[Json]:
        subscription, provider = key
        window = f"eventTimestamp ge '{write_time(start)}' and eventTimestamp le '{write_time(now)}'"
        path = f"/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values"
        query = {"$filter": f"{window} and resourceProvider eq '{provider}'", "$select": _FIELDS}
        return arm.list(path, ACTIVITY_API_VERSION, **query)

    events: dict[tuple[str, str], ActivityEvent] = {}
    unread: list[Unread] = []
    for one in read_all(read, [(subscription, name) for subscription in subscriptions for name in providers]):
        if one.error is not None:
            unread.append(Unread(f"activity log of subscription {one.key[0]}", str(one.error)))
        for event in map(_event, filter(_is_change, one.value or ())):
            events.setdefault((event.correlation_id, event.resource_id.lower()), event)
    return tuple(sorted(events.values(), key=lambda event: event.at, reverse=True)), tuple(unread)


def _is_change(event: Json) -> bool:
    operation, status = _value(event, "operationName").lower(), _value(event, "status").lower()
    ours = operation.startswith((_ENDPOINTS, _AUTOSCALE))
    return ours and operation.endswith(_CHANGES) and status not in _REFUSED


def _event(event: Json) -> ActivityEvent:
    """Read one event; autoscale's names the deployment in its properties."""
    claims = event.get("claims") or {}
    target = (event.get("properties") or {}).get("ResourceName")
    return ActivityEvent(
        at=read_time(event["eventTimestamp"]),
        resource_id=str(target or event.get("resourceId") or ""),
        operation=_value(event, "operationName"),
        caller=str(claims.get("name") or event.get("caller") or "unknown"),
        correlation_id=str(event.get("correlationId") or ""),
    )


def _value(event: Json, field: str) -> str:
    return str((event.get(field) or {}).get("value") or "")
