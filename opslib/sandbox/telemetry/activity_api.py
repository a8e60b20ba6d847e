"""Handler: reading the activity log."""

import re
from typing import Any
from urllib.parse import urlencode

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import INSIGHTS, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, now_us, parse_iso_us
from opslib.sandbox.core.context import Backend

_CONDITION = re.compile(r"(?P<field>\w+) (?P<operator>ge|le|eq) '(?P<value>[^']*)'", re.IGNORECASE)
_ACTIVITY_DAYS = 90
_MAX_EVENTS = 1000


def list_activity(request: Request, sandbox: Backend) -> Response:
    """`GET .../eventtypes/management/values`: who changed what, newest first.

    Of `$filter` eventTimestamp, resourceUri, resourceGroupName, resourceProvider and correlationId are understood,
    and `$select`, as in Azure Monitor's REST reference, "Activity Logs - List".
    """
    since, until, wanted = now_us() - _ACTIVITY_DAYS * 86400 * MICROSECONDS, now_us(), {}
    for field, operator, value in _CONDITION.findall(request.query.get("$filter", "")):
        if field.lower() == "eventtimestamp":
            bound = _time(value)
            since, until = (bound, until) if operator.lower() == "ge" else (since, bound)
        else:
            wanted[field] = value.lower()
    prefix = ids.key(f"/subscriptions/{request.parameters['subscription']}") + "/"
    found = [
        event
        for event in sandbox.store.activity(since, until)
        if ids.key(event["resourceId"]).startswith(prefix) and _matches(event, wanted)
    ]
    token = request.query.get("$skiptoken", "")
    skip = int(token) if token.isdigit() else 0
    answer: dict[str, Any] = {"value": [_selected(event, request) for event in found[skip : skip + _MAX_EVENTS]]}
    if skip + _MAX_EVENTS < len(found):
        query = urlencode({**request.query, "$skiptoken": str(skip + _MAX_EVENTS)})
        answer["nextLink"] = f"{request.base_url}{request.path}?{query}"
    return Response(200, answer)


def _matches(event: dict[str, Any], wanted: dict[str, str]) -> bool:
    names = {"resourceUri": "resourceId", "resourceProvider": "resourceProviderName"}
    for field, value in wanted.items():
        seen = event.get(names.get(field, field), "")
        if str(seen["value"] if isinstance(seen, dict) else seen).lower() != value:
            return False
    return True


def _selected(event: dict[str, Any], request: Request) -> dict[str, Any]:
    names = {name.strip().lower() for name in request.query.get("$select", "").split(",") if name.strip()}
    return {name: value for name, value in event.items() if name.lower() in names} if names else event


def _time(text: str) -> int:
    try:
        return parse_iso_us(text)
    except ValueError as error:
        raise ArmError.bad_request(f"The $filter's eventTimestamp '{text}' is no ISO 8601 time.") from error


ROUTES = (
    Route("GET", SUBSCRIPTION + INSIGHTS + "/eventtypes/management/values", "ActivityLogs_List", list_activity),
)
