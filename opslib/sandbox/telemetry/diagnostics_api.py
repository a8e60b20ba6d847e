"""Handlers: the diagnostic settings of an endpoint."""

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import ANY_SCOPE, INSIGHTS, Route
from opslib.sandbox.arm.store import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.telemetry.diagnostics import CATEGORIES, KIND


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


_SETTINGS = ANY_SCOPE + INSIGHTS + "/diagnosticSettings"
ROUTES = (
    Route("GET", _SETTINGS, "DiagnosticSettings_List", list_settings),
    Route("GET", _SETTINGS + "/{name}", "DiagnosticSettings_Get", get_setting),
    Route("PUT", _SETTINGS + "/{name}", "DiagnosticSettings_Put", put_setting),
    Route("DELETE", _SETTINGS + "/{name}", "DiagnosticSettings_Delete", delete_setting),
)
