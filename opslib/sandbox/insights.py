"""Handlers: autoscale settings and metric alerts, resources of Microsoft.Insights in a resource group."""

from typing import Any

from . import ids
from .alert_rules import read_alert
from .arm_errors import ArmError
from .autoscale_rules import read_profiles
from .clock import iso_now
from .context import Sandbox
from .messages import Request, Response
from .metric_table import OFFERED, Metric
from .store import Resource

AUTOSCALE, ALERTS = "autoscaleSettings", "metricAlerts"


def list_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../autoscaleSettings` of a group or a subscription."""
    return _list(request, sandbox, AUTOSCALE)


def get_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../autoscaleSettings/{name}`."""
    return Response(200, _render(find_rule(request, sandbox, AUTOSCALE)))


def put_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`PUT .../autoscaleSettings/{name}`: one for each deployment; it acts from now on, if enabled."""
    return _accept_autoscale(request, sandbox, request.json())


def patch_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`PATCH .../autoscaleSettings/{name}`: the properties and tags that are sent, the rest as it was."""
    return _accept_autoscale(request, sandbox, _merged(request, sandbox, AUTOSCALE))


def delete_autoscale(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../autoscaleSettings/{name}`: 204 when absent."""
    return _delete(request, sandbox, AUTOSCALE)


def list_alerts(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../metricAlerts` of a group or a subscription."""
    return _list(request, sandbox, ALERTS)


def get_alert(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../metricAlerts/{name}`."""
    return Response(200, _render(find_rule(request, sandbox, ALERTS)))


def put_alert(request: Request, sandbox: Sandbox) -> Response:
    """`PUT .../metricAlerts/{name}`: watches from now on, if enabled; it notifies nobody."""
    return _accept_alert(request, sandbox, request.json())


def patch_alert(request: Request, sandbox: Sandbox) -> Response:
    """`PATCH .../metricAlerts/{name}`: the properties and tags that are sent, the rest as it was."""
    return _accept_alert(request, sandbox, _merged(request, sandbox, ALERTS))


def delete_alert(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../metricAlerts/{name}`: 204 when absent."""
    return _delete(request, sandbox, ALERTS)


def _accept_autoscale(request: Request, sandbox: Sandbox, body: dict[str, Any]) -> Response:
    properties = _properties(body)
    target = sandbox.store.get(str(properties.get("targetResourceUri")))
    if target is None or target.kind != "deployments":
        raise ArmError.bad_request(
            f"The targetResourceUri '{properties.get('targetResourceUri')}' names no online deployment."
        )
    for profile in read_profiles(properties):
        for rule in profile.rules:
            names = {name for name, _, _ in rule.dimensions}
            check_metric(rule.resource or target.id, rule.metric, names, sandbox)
    for profile in properties["profiles"]:
        for rule in profile.get("rules") or []:
            rule["metricTrigger"]["metricResourceUri"] = rule["metricTrigger"].get("metricResourceUri") or target.id
    address = _address(request, AUTOSCALE)
    for other in sandbox.store.all(AUTOSCALE):
        if ids.key(other.properties["targetResourceUri"]) == target.key and other.key != ids.key(address):
            raise ArmError.conflict(f"Autoscale setting '{other.name}' exists for this target: a target has one.")
    settled = {"enabled": True, "notifications": [], **properties, "name": request.parameters["name"]}
    return _put(request, sandbox, AUTOSCALE, settled, body)


def _accept_alert(request: Request, sandbox: Sandbox, body: dict[str, Any]) -> Response:
    properties = _properties(body)
    rule = read_alert(properties)
    for one in rule.criteria:
        metric = check_metric(rule.scope, one.metric, {name for name, _, _ in one.dimensions}, sandbox)
        if one.aggregation not in metric.aggregations:
            raise ArmError.bad_request(
                f"The metric '{metric.name}' has no aggregation {one.aggregation}: "
                f"it has {', '.join(metric.aggregations)}."
            )
    settled = {"autoMitigate": True, "actions": [], **properties, "lastUpdatedTime": iso_now()}
    return _put(request, sandbox, ALERTS, settled, body)


def check_metric(resource_id: str, name: str, dimensions: set[str], sandbox: Sandbox) -> Metric:
    """Return the metric of a resource, which must have these dimensions.

    Raises
    ------
    ArmError
        If the resource, the metric or a dimension is not there.
    """
    resource = sandbox.store.get(resource_id)
    offered = OFFERED.get(resource.kind, ()) if resource is not None else ()
    found = next((metric for metric in offered if metric.name.lower() == name.lower()), None)
    if found is None:
        raise ArmError.bad_request(f"The resource '{resource_id}' is not there, or has no metric '{name}'.")
    if unknown := {one for one in dimensions if one.lower() not in {own.lower() for own in found.dimensions}}:
        raise ArmError.bad_request(
            f"The metric '{found.name}' has no dimensions {sorted(unknown)}: it has {list(found.dimensions)}."
        )
    return found


def _properties(body: dict[str, Any]) -> dict[str, Any]:
    properties = body.get("properties")
    if not isinstance(properties, dict) or not isinstance(body.get("location"), str):
        raise ArmError.invalid_request("The body needs a location and an object 'properties'.")
    return properties


def _merged(request: Request, sandbox: Sandbox, kind: str) -> dict[str, Any]:
    """Return what is there with what was sent over it, as one body."""
    before, sent = find_rule(request, sandbox, kind).body, request.json()
    changes = sent.get("properties") or {}
    if not isinstance(changes, dict):
        raise ArmError.invalid_request("The body's 'properties' must be an object.")
    return {**before, "tags": sent.get("tags", before["tags"]), "properties": {**before["properties"], **changes}}


def _put(
    request: Request, sandbox: Sandbox, kind: str, properties: dict[str, Any], body: dict[str, Any]
) -> Response:
    before = sandbox.store.get(_address(request, kind))
    tags = body.get("tags") if isinstance(body.get("tags"), dict) else {}
    kept = {"location": body["location"], "tags": tags, "properties": properties}
    secrets, sequence = ({}, 0) if before is None else (before.secrets, before.sequence)
    resource = Resource(_address(request, kind), kind, kept, secrets, sequence)
    made = before is None and kind == AUTOSCALE  # alerts answer 200 in either case (their specification)
    return Response(201 if made else 200, _render(sandbox.store.put(resource)))


def _list(request: Request, sandbox: Sandbox, kind: str) -> Response:
    prefix = ids.key(request.path.lower().split("/providers/microsoft.insights", 1)[0]) + "/"
    return Response(200, {"value": [_render(one) for one in sandbox.store.all(kind) if one.key.startswith(prefix)]})


def find_rule(request: Request, sandbox: Sandbox, kind: str) -> Resource:
    """Return the setting or rule that a request names; 404 when it is not there."""
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
