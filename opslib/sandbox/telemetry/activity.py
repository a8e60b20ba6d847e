"""The activity log: who did what to which resource; writes to ARM, what autoscale did, alerts.

Shape: Microsoft Learn, Azure Monitor, "Azure activity log event schema", Administrative, Autoscale, Alert.
"""

import json
import uuid
from http import HTTPStatus
from typing import Any

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.identity.authorization import action_of

_SPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/spn"
_AUTOSCALE, _ALERTS = "Microsoft.Insights/autoscaleSettings", "Microsoft.Insights/alertRules"


def record_activity(request: Request, sandbox: Backend, response: Response) -> None:
    """Append a write to the activity log, as ARM does for every PUT, PATCH, POST and DELETE.

    The error that refused it is in `properties.statusMessage`, as text.
    """
    action, resource = action_of(request.method, request.path)
    caller, status = request.caller, response.status
    event = {
        "correlationId": request.request_id,
        "caller": caller.object_id if caller is not None else None,
        "claims": {"appid": caller.client_id, "name": caller.name} if caller is not None else {},
        "category": _named("Administrative"),
        "level": "Informational" if status < 400 else "Error",
        "operationName": _named(action),
        "resourceGroupName": request.parameters.get("group", ""),
        "status": {"value": "Succeeded" if status < 400 else "Failed"},
        "subStatus": {"value": str(status)},
        "httpRequest": {
            "clientRequestId": request.headers.get("x-ms-client-request-id", ""),
            "clientIpAddress": request.client.rsplit(":", 1)[0],
            "method": request.method,
        },
        "properties": _refusal(response) if status >= 400 else {},
    }
    _append(sandbox.store, resource, event, event_id=request.request_id)


def record_scaling(
    store: Store, setting: Resource, *, counts: tuple[int, int], operation: str, correlation: str, status: str
) -> None:
    """Append what autoscale does or has done.

    Parameters
    ----------
    counts
        Instances before and after.
    operation
        `Scaleup`, `Scaledown`, or the same with `Result` at its end.
    correlation
        Shared by the events of one scaling.
    status
        `Succeeded` or `Failed`.
    """
    before, after = counts
    target = setting.properties["targetResourceUri"]
    words = "completed scaling of" if operation.endswith("Result") else "attempting to scale"
    said = f"The autoscale engine {words} resource '{target}' from {before} instances count to {after} "
    said += "instances count."
    properties = {
        "Description": said,
        "ResourceName": target,
        "OldInstancesCount": str(before),
        "NewInstancesCount": str(after),
        "LastScaleActionTime": iso(now_us()),
    }
    event = _of_engine(_AUTOSCALE, "Autoscale", "AutoscaleAction", correlation) | {
        "description": said,
        "level": "Informational" if status == "Succeeded" else "Error",
        "operationName": _named(f"Microsoft.Insights/AutoscaleSettings/{operation}/Action"),
        "properties": properties,
        "status": _named(status),
    }
    _append(store, setting.id, event)


def record_alert(
    store: Store,
    resource_id: str,
    *,
    condition: str,
    description: str,
    correlation: str,
    properties: dict[str, str],
) -> None:
    """Append the firing or the end of a metric alert to the log of the resource that it watches.

    Parameters
    ----------
    condition
        `Fired` or `Resolved`.
    correlation
        Shared by both events of one alert.
    properties
        RuleUri, RuleName and the rest that the schema names for metric alerts.
    """
    word, status = ("Activated", "Activated") if condition == "Fired" else ("Resolved", "Resolved")
    event = _of_engine(_ALERTS, "Alert", "Alert", correlation) | {
        "description": description,
        "level": "Informational",
        "operationName": _named(f"Microsoft.Insights/AlertRules/{word}/Action"),
        "properties": properties,
        "status": _named(status),
    }
    _append(store, resource_id, event)


def _refusal(response: Response) -> dict[str, str]:
    """Return the status of a refused write in words, and its error."""
    code = HTTPStatus(response.status).phrase.replace(" ", "")
    return {"statusCode": code, "statusMessage": json.dumps(response.body)}


def _of_engine(engine: str, category: str, name: str, correlation: str) -> dict[str, Any]:
    """Return what events of Azure Monitor's own engines share."""
    return {
        "caller": engine,
        "channels": "Admin, Operation",
        "claims": {_SPN: engine},
        "category": _named(category),
        "eventName": _named(name),
        "correlationId": correlation,
        "subStatus": {"value": None},
    }


def _append(store: Store, resource_id: str, event: dict[str, Any], event_id: str = "") -> None:
    at_us, event_id = now_us(), event_id or str(uuid.uuid4())
    parts = resource_id.split("/")
    kind = ids.resource_type(resource_id)
    common = {
        "eventTimestamp": iso(at_us),
        "submissionTimestamp": iso(at_us),
        "id": f"{resource_id}/events/{event_id}/ticks/{at_us}",
        "eventDataId": event_id,
        "operationId": event["correlationId"],
        "resourceId": resource_id,
        "resourceGroupName": parts[4] if len(parts) > 4 else "",
        "resourceProviderName": _named(kind.split("/", maxsplit=1)[0]),
        "resourceType": _named(kind),
        "subscriptionId": ids.subscription(resource_id),
    }
    store.append_activity(at_us, resource_id, common | event)


def _named(value: str) -> dict[str, str]:
    return {"value": value, "localizedValue": value}
