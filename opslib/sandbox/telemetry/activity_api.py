"""Handlers: diagnostic settings, and reading the activity log."""

import re

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.store import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, now_us, parse_iso_us
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.telemetry.diagnostics import CATEGORIES, KIND

_CONDITION = re.compile(r"(?P<field>\w+) (?P<operator>ge|le|eq) '(?P<value>[^']*)'", re.IGNORECASE)
_ACTIVITY_DAYS = 90
_MAX_EVENTS = 1000


def list_settings(request: Request, sandbox: Sandbox) -> Response:
    """`GET {endpoint}/providers/Microsoft.Insights/diagnosticSettings`."""
    endpoint = _endpoint(request, sandbox)
    found = sandbox.store.children(f"{endpoint.id}/providers/Microsoft.Insights", KIND)
    return Response(200, {"value": [_render(one) for one in found]})


def get_setting(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../diagnosticSettings/{name}`."""
    return Response(200, _render(_find(request, sandbox)))


def put_setting(request: Request, sandbox: Sandbox) -> Response:
    """`PUT .../diagnosticSettings/{name}`: from now on the enabled categories are kept."""
    endpoint, sent = _endpoint(request, sandbox), request.json().get("properties")
    if not isinstance(sent, dict):
        raise ArmError.invalid_request("The required object 'properties' is missing from the body.")
    sinks = ("workspaceId", "storageAccountId", "eventHubAuthorizationRuleId", "marketplacePartnerId")
    if not any(sent.get(sink) for sink in sinks):
        raise ArmError.bad_request(f"At least one data sink needs to be specified: one of {', '.join(sinks)}.")
    for row in sent.get("logs") or []:
        category = row.get("category")
        if category is not None and category not in CATEGORIES:
            raise ArmError.bad_request(
                f"Category '{category}' is not supported, supported ones are: {', '.join(CATEGORIES)}."
            )
    body = {"properties": {"metrics": [], "logs": [], **sent}}
    stored = sandbox.store.put(Resource(_id(endpoint, request), KIND, body))
    return Response(200, _render(stored))


def delete_setting(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../diagnosticSettings/{name}`."""
    setting_id = _id(_endpoint(request, sandbox), request)
    existed = sandbox.store.get(setting_id) is not None
    sandbox.store.delete(setting_id)
    return Response(200 if existed else 204)


def list_activity(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../eventtypes/management/values`: who changed what, newest first.

    Of `$filter` eventTimestamp, resourceUri, resourceGroupName and correlationId are understood, as in
    Azure Monitor's REST reference, "Activity Logs - List".
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
    return Response(200, {"value": found[:_MAX_EVENTS]})


def _matches(event: dict[str, str], wanted: dict[str, str]) -> bool:
    names = {"resourceUri": "resourceId", "resourceId": "resourceId"}
    return all(str(event.get(names.get(field, field), "")).lower() == value for field, value in wanted.items())


def _time(text: str) -> int:
    try:
        return parse_iso_us(text)
    except ValueError as error:
        raise ArmError.bad_request(f"The $filter's eventTimestamp '{text}' is no ISO 8601 time.") from error


def _endpoint(request: Request, sandbox: Sandbox) -> Resource:
    found = sandbox.store.get(request.parameters["scope"])
    if found is None:
        raise ArmError.not_found("resource", "/" + request.parameters["scope"])
    if found.kind != "onlineEndpoints":
        raise ArmError.bad_request(
            f"The resource type '{ids.resource_type(found.id)}' does not support diagnostic settings: "
            "name the endpoint."
        )
    return found


def _find(request: Request, sandbox: Sandbox) -> Resource:
    found = sandbox.store.get(_id(_endpoint(request, sandbox), request))
    if found is None:
        raise ArmError.not_found("diagnostic setting", request.parameters["name"])
    return found


def _id(endpoint: Resource, request: Request) -> str:
    return f"{endpoint.id}/providers/Microsoft.Insights/{KIND}/{request.parameters['name']}"


def _render(setting: Resource) -> dict[str, object]:
    return {"id": setting.id, "name": setting.name, "type": f"Microsoft.Insights/{KIND}", **setting.body}
