"""The activity log: who changed endpoints and deployments, and when. Azure keeps it for 90 days."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from opslib.azure.arm import ArmClient, Json
from opslib.azure.monitor_time import read_time, write_time
from opslib.azure.parallel import read_all
from opslib.azure.resource import spelled, unexpected
from opslib.errors import UnexpectedAnswer
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
        One event per change and resource, and the subscriptions whose log could not be read, or not all of it.
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
        found, strange = _understood(one.value or [])
        for event in found:
            events.setdefault((event.correlation_id, event.resource_id.lower()), event)
        if strange:
            left_out = f"{len(strange)} of {len(one.value or ())} events are left out. {strange[0]}"
            unread.append(Unread(f"activity log of subscription {one.key[0]}", left_out))
    return tuple(sorted(events.values(), key=lambda event: event.at, reverse=True)), tuple(unread)


def _understood(rows: list[Json]) -> tuple[list[ActivityEvent], list[UnexpectedAnswer]]:
    """Return the changes among events, and why others were not understood."""
    events: list[ActivityEvent] = []
    strange: list[UnexpectedAnswer] = []
    for row in rows:
        try:
            event = spelled(row, tuple(_FIELDS.split(",")))
            if _is_change(event):
                events.append(_event(event))
        except UnexpectedAnswer as error:
            strange.append(error)
    return events, strange


def _is_change(event: Json) -> bool:
    operation, status = _value(event, "operationName").lower(), _value(event, "status").lower()
    ours = operation.startswith((_ENDPOINTS, _AUTOSCALE))
    return ours and operation.endswith(_CHANGES) and status not in _REFUSED


def _event(event: Json) -> ActivityEvent:
    """Read one event; autoscale's names the deployment in its properties."""
    claims, properties = (
        found if isinstance(found := event.get(name), dict) else {} for name in ("claims", "properties")
    )
    target = spelled(properties, ("ResourceName",)).get("ResourceName")
    return ActivityEvent(
        at=_time(event.get("eventTimestamp")),
        resource_id=str(target or event.get("resourceId") or ""),
        operation=_value(event, "operationName"),
        caller=str(claims.get("name") or event.get("caller") or "unknown"),
        correlation_id=str(event.get("correlationId") or ""),
    )


def _time(value: object) -> datetime:
    try:
        return read_time(value)
    except ValueError as error:
        raise unexpected("activity log: eventTimestamp", "a time as in ISO 8601", value) from error


def _value(event: Json, field: str) -> str:
    """Return the value of a field: an object with `value`, in some forms of the log the value itself."""
    found = event.get(field)
    value = spelled(found, ("value",)).get("value") if isinstance(found, dict) else found
    if value is not None and not isinstance(value, str):
        raise unexpected(f"activity log: {field}", "text, or an object with a text `value`", value)
    return value or ""
