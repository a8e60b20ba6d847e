"""Handlers: the diagnostic settings of an endpoint."""

from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import ANY_SCOPE, INSIGHTS, RECORDED, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry.diagnostics import CATEGORIES, KIND, groups_of


def list_settings(request: Request, sandbox: Backend) -> Response:
    """`GET {endpoint}/providers/Microsoft.Insights/diagnosticSettings`."""
    endpoint = _endpoint(request, sandbox)
    found = sandbox.store.children(f"{endpoint.id}/providers/Microsoft.Insights", KIND)
    return Response(200, {"value": [_render(one, endpoint) for one in found]})


def get_setting(request: Request, sandbox: Backend) -> Response:
    """`GET .../diagnosticSettings/{name}`."""
    endpoint = _endpoint(request, sandbox)
    return Response(200, _render(_find(request, sandbox), endpoint))


def put_setting(request: Request, sandbox: Backend) -> Response:
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
    body = {"properties": _filled(sent)}
    shown = _render(sandbox.store.put(Resource(_id(endpoint, request), KIND, body)), endpoint)
    rows = [{"timeGrain": "PT1M", **row} for row in body["properties"]["metrics"]]
    answer = {**shown, "location": None, "properties": {**body["properties"], "metrics": rows}}
    return Response(200, answer, {"x-ms-ratelimit-remaining-subscription-resource-requests": "199"})


def delete_setting(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../diagnosticSettings/{name}`."""
    setting_id = _id(_endpoint(request, sandbox), request)
    existed = sandbox.store.get(setting_id) is not None
    sandbox.store.delete(setting_id)
    return Response(200 if existed else 204)


def _endpoint(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(request.parameters["scope"])
    if found is None:
        raise ArmError.not_found("resource", "/" + request.parameters["scope"])
    if found.kind != "onlineEndpoints":
        raise ArmError.bad_request(
            f"The resource type '{ids.resource_type(found.id)}' does not support diagnostic settings: "
            "name the endpoint."
        )
    return found


def _find(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_id(_endpoint(request, sandbox), request))
    if found is None:
        raise ArmError.not_found("diagnostic setting", request.parameters["name"])
    return found


def _id(endpoint: Resource, request: Request) -> str:
    return f"{endpoint.id}/providers/Microsoft.Insights/{KIND}/{request.parameters['name']}"


def list_categories(request: Request, sandbox: Backend) -> Response:
    """`GET .../diagnosticSettingsCategories`: what a setting can keep."""
    endpoint = _endpoint(request, sandbox)
    return Response(200, {"value": [_category(endpoint, *row) for row in _CATEGORIES]})


def get_category(request: Request, sandbox: Backend) -> Response:
    """`GET .../diagnosticSettingsCategories/{name}`."""
    endpoint = _endpoint(request, sandbox)
    for row in _CATEGORIES:
        if row[0].lower() == request.parameters["name"].lower():
            return Response(200, _category(endpoint, *row))
    raise ArmError.not_found("diagnostic settings category", request.parameters["name"])


def _category(endpoint: Resource, name: str, kind: str) -> dict[str, Any]:
    groups = groups_of(name)
    return {
        "id": f"{endpoint.key}/providers/microsoft.insights/diagnosticsettingscategories/{name.lower()}",
        "type": "microsoft.insights/diagnosticSettingsCategories",
        "name": name,
        "location": None,
        "kind": None,
        "tags": None,
        "properties": {"displayName": name, "categoryType": kind, "categoryGroups": groups},
        "identity": None,
    }


def _filled(sent: dict[str, Any]) -> dict[str, Any]:
    """Return a setting's properties as Azure Monitor keeps them: every sink, null where it is not used."""
    kept = {"enabled": False, "days": 0}
    logs = [
        {"category": None, "categoryGroup": None, "retentionPolicy": kept, **row} for row in sent.get("logs") or []
    ]
    metrics = [{"retentionPolicy": kept, **row} for row in sent.get("metrics") or []]
    sinks = dict.fromkeys((*_SINKS, "eventHubName", "logAnalyticsDestinationType"))
    return {**sinks, **sent, "metrics": metrics, "logs": logs}


def _render(setting: Resource, endpoint: Resource) -> dict[str, Any]:
    """Return a setting as ARM shows it: its id in lower case up to the provider (recorded in 2025)."""
    return {
        "id": f"{endpoint.key}/providers/microsoft.insights/{KIND}/{setting.name}",
        "type": f"Microsoft.Insights/{KIND}",
        "name": setting.name,
        "location": endpoint.body["location"],
        "kind": None,
        "tags": None,
        **setting.body,
        "identity": None,
    }


_SINKS = ("storageAccountId", "serviceBusRuleId", "workspaceId", "eventHubAuthorizationRuleId")
_CATEGORIES = (*((name, "Logs") for name in CATEGORIES), ("AllMetrics", "Metrics"))
_SETTINGS = ANY_SCOPE + INSIGHTS + "/diagnosticSettings"
ROUTES = (
    Route("GET", _SETTINGS + "Categories", "DiagnosticSettingsCategory_List", list_categories, known=RECORDED),
    Route("GET", _SETTINGS + "Categories/{name}", "DiagnosticSettingsCategory_Get", get_category),
    Route("GET", _SETTINGS, "DiagnosticSettings_List", list_settings),
    Route("GET", _SETTINGS + "/{name}", "DiagnosticSettings_Get", get_setting, known=RECORDED),
    Route("PUT", _SETTINGS + "/{name}", "DiagnosticSettings_Put", put_setting, known=RECORDED),
    Route("DELETE", _SETTINGS + "/{name}", "DiagnosticSettings_Delete", delete_setting),
)
