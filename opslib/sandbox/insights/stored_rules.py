"""What autoscale settings and metric alerts share: resources of Microsoft.Insights in a resource group."""

from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry.metric_catalog import OFFERED, Metric

AUTOSCALE, ALERTS = "autoscaleSettings", "metricAlerts"


def check_metric(resource_id: str, name: str, dimensions: set[str], sandbox: Backend) -> Metric:
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


def read_properties(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body's properties; 400 without them or without a location."""
    properties = body.get("properties")
    if not isinstance(properties, dict) or not isinstance(body.get("location"), str):
        raise ArmError.invalid_request("The body needs a location and an object 'properties'.")
    return properties


def merge(request: Request, sandbox: Backend, kind: str) -> dict[str, Any]:
    """Return the stored body with the sent properties and tags over it."""
    before, sent = find_rule(request, sandbox, kind).body, request.json()
    changes = sent.get("properties") or {}
    return {**before, "tags": sent.get("tags", before["tags"]), "properties": {**before["properties"], **changes}}


def put_rule(
    request: Request, sandbox: Backend, kind: str, properties: dict[str, Any], body: dict[str, Any]
) -> Response:
    """Store a rule and answer with it; a new autoscale setting answers 201."""
    before = sandbox.store.get(address_of(request, kind))
    tags = body.get("tags") if isinstance(body.get("tags"), dict) else {}
    kept = {"location": body["location"], "tags": tags, "properties": properties}
    address = address_of(request, kind)
    resource = Resource(address, kind, kept) if before is None else replace(before, id=address, body=kept)
    made = before is None and kind == AUTOSCALE  # alerts answer 200 in either case (their specification)
    return Response(201 if made else 200, render(sandbox.store.put(resource)))


def list_rules(request: Request, sandbox: Backend, kind: str) -> Response:
    """Answer all of a kind in the request's group or subscription."""
    prefix = ids.key(request.path.lower().split("/providers/microsoft.insights", 1)[0]) + "/"
    return Response(200, {"value": [render(one) for one in sandbox.store.all(kind) if one.key.startswith(prefix)]})


def find_rule(request: Request, sandbox: Backend, kind: str) -> Resource:
    """Return the setting or rule that a request names; 404 when it is not there."""
    found = sandbox.store.get(address_of(request, kind))
    if found is None:
        raise ArmError.not_found(kind, request.parameters["name"])
    return found


def delete_rule(request: Request, sandbox: Backend, kind: str) -> Response:
    """Delete a rule; 204 when absent."""
    existed = sandbox.store.get(address_of(request, kind)) is not None
    sandbox.store.delete(address_of(request, kind))
    return Response(200 if existed else 204)


def address_of(request: Request, kind: str) -> str:
    """Return the ARM id that a request names."""
    names = request.parameters
    group = f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}"
    return f"{group}/providers/Microsoft.Insights/{kind}/{names['name']}"


def render(one: Resource) -> dict[str, Any]:
    """Return a rule as ARM shows it; ids of autoscale settings end in lower case (recorded in 2025)."""
    shown_id = one.id
    if one.kind == AUTOSCALE:
        group = one.id.split("/providers/", 1)[0]
        shown_id = f"{group}/providers/microsoft.insights/{AUTOSCALE.lower()}/{one.name}"
    return {"id": shown_id, "name": one.name, "type": f"Microsoft.Insights/{one.kind}", **one.body}
