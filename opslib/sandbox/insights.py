"""Handlers: autoscale settings and metric alerts, resources of Microsoft.Insights in a resource group."""

from typing import Any

from . import ids
from .arm_errors import ArmError
from .autoscale_rules import read_profiles
from .context import Sandbox
from .messages import Request, Response
from .metric_table import OFFERED
from .store import Resource

AUTOSCALE, ALERTS = "autoscaleSettings", "metricAlerts"
_CRITERIA = "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"


def list_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../autoscaleSettings` of a group or a subscription."""
    return _list(request, sandbox, AUTOSCALE)


def get_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../autoscaleSettings/{name}`."""
    return Response(200, _render(_find(request, sandbox, AUTOSCALE)))


def put_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`PUT .../autoscaleSettings/{name}`: one for each deployment; it acts from now on, if enabled."""
    body, properties = _body(request)
    read_profiles(properties)
    target = sandbox.store.get(str(properties.get("targetResourceUri")))
    if target is None or target.kind != "deployments":
        raise ArmError.bad_request(
            f"The targetResourceUri '{properties.get('targetResourceUri')}' names no online deployment."
        )
    address = _address(request, AUTOSCALE)
    for other in sandbox.store.all(AUTOSCALE):
        if ids.key(other.properties["targetResourceUri"]) == target.key and other.key != ids.key(address):
            raise ArmError.conflict(f"Autoscale setting '{other.name}' exists for this target: a target has one.")
    for profile in properties["profiles"]:
        for rule in profile.get("rules") or []:
            trigger = rule["metricTrigger"]
            trigger["metricResourceUri"] = trigger.get("metricResourceUri") or target.id
            _check_metric(str(trigger["metricResourceUri"]), str(trigger.get("metricName")), sandbox)
    return _put(
        request,
        sandbox,
        AUTOSCALE,
        {"enabled": True, "notifications": [], **properties, "name": request.parameters["name"]},
        body,
    )


def delete_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../autoscaleSettings/{name}`: 204 when absent."""
    return _delete(request, sandbox, AUTOSCALE)


def list_alerts(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../metricAlerts` of a group or a subscription."""
    return _list(request, sandbox, ALERTS)


def get_alert(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../metricAlerts/{name}`."""
    return Response(200, _render(_find(request, sandbox, ALERTS)))


def put_alert(request: Request, sandbox: Sandbox) -> Response:
    """`PUT .../metricAlerts/{name}`: kept and shown; it notifies nobody."""
    body, properties = _body(request)
    scopes, criteria = properties.get("scopes"), properties.get("criteria")
    if not isinstance(scopes, list) or len(scopes) != 1:
        raise ArmError.bad_request("A metric alert has one scope here: an online endpoint or deployment.")
    if not isinstance(criteria, dict) or criteria.get("odata.type") != _CRITERIA:
        raise ArmError.bad_request(f"The criteria must be of odata.type {_CRITERIA}.")
    if not isinstance(properties.get("severity"), int) or not 0 <= properties["severity"] <= 4:
        raise ArmError.bad_request("The severity must be an integer from 0 to 4.")
    for one in criteria.get("allOf") or [{}]:
        _check_metric(str(scopes[0]), str(one.get("metricName") if isinstance(one, dict) else None), sandbox)
    return _put(request, sandbox, ALERTS, {"enabled": True, "actions": [], **properties}, body)


def delete_alert(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../metricAlerts/{name}`: 204 when absent."""
    return _delete(request, sandbox, ALERTS)


def _check_metric(resource_id: str, name: str, sandbox: Sandbox) -> None:
    resource = sandbox.store.get(resource_id)
    offered = OFFERED.get(resource.kind, ()) if resource is not None else ()
    if name.lower() not in {metric.name.lower() for metric in offered}:
        raise ArmError.bad_request(f"The resource '{resource_id}' is not there, or has no metric '{name}'.")


def _body(request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    body = request.json()
    properties = body.get("properties")
    if not isinstance(properties, dict) or not isinstance(body.get("location"), str):
        raise ArmError.invalid_request("The body needs a location and an object 'properties'.")
    return body, properties


def _put(
    request: Request, sandbox: Sandbox, kind: str, properties: dict[str, Any], body: dict[str, Any]
) -> Response:
    before = sandbox.store.get(_address(request, kind))
    tags = body.get("tags") if isinstance(body.get("tags"), dict) else {}
    kept = {"location": body["location"], "tags": tags, "properties": properties}
    resource = Resource(_address(request, kind), kind, kept, {}, before.sequence if before is not None else 0)
    made = before is None and kind == AUTOSCALE  # alerts answer 200 in either case (their specification)
    return Response(201 if made else 200, _render(sandbox.store.put(resource)))


def _list(request: Request, sandbox: Sandbox, kind: str) -> Response:
    prefix = ids.key(request.path.lower().split("/providers/microsoft.insights", 1)[0]) + "/"
    return Response(200, {"value": [_render(one) for one in sandbox.store.all(kind) if one.key.startswith(prefix)]})


def _find(request: Request, sandbox: Sandbox, kind: str) -> Resource:
    found = sandbox.store.get(_address(request, kind))
    if found is None:
        raise ArmError.not_found(kind, request.parameters["name"])
    return found


def _delete(request: Request, sandbox: Sandbox, kind: str) -> Response:
    existed = sandbox.store.get(_address(request, kind)) is not None
    sandbox.store.delete(_address(request, kind))
    return Response(200 if existed else 204)


def _address(request: Request, kind: str) -> str:
    names = request.parameters
    group = f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}"
    return f"{group}/providers/Microsoft.Insights/{kind}/{names['name']}"


def _render(one: Resource) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "type": f"Microsoft.Insights/{one.kind}", **one.body}
