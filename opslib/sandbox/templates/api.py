"""Handlers: template deployments in a resource group or a subscription (Microsoft.Resources/deployments).

Source: Microsoft Learn, Resource Management REST API, "Deployments" and "Deployment Operations", 2024-03-01.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page, poll_headers
from opslib.sandbox.arm.routing import GROUP, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_offset, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.templates import parameters
from opslib.sandbox.templates.deployments import KIND
from opslib.sandbox.templates.run import SETTLED
from opslib.sandbox.templates.syntax import TemplateError
from opslib.sandbox.templates.template import Template


def put_deployment(request: Request, sandbox: Backend) -> Response:
    """`PUT .../deployments/{name}`: its resources are sent in the caller's name, as their dependencies allow."""
    sent, plan = _planned(request, sandbox)
    before = sandbox.store.get(_id(request))
    if before is not None and before.state not in SETTLED:
        raise ArmError(
            409,
            "DeploymentActive",
            f"Unable to edit or replace deployment '{ids.name(_id(request))}': previous deployment from "
            f"'{before.properties['timestamp']}' is still active. Please see https://aka.ms/arm-deploy for usage "
            "details.",
        )
    caller = request.caller.object_id if request.caller is not None else ""
    internal = {"template": sent["template"], "caller": caller, "began_us": now_us(), "run": str(uuid.uuid4())}
    secrets = {"parameters": json.dumps(sent.get("parameters") or {})}
    body = _body(request, sandbox, sent, plan)
    made = Resource(_id(request), KIND, body, secrets, internal)
    if before is not None:
        made = replace(before, body=body, secrets=secrets, internal=internal)
    stored = sandbox.templates.begin(made)
    polled = f"{request.base_url}{stored.id}/operationStatuses/{internal['run']}?api-version={request.api_version}"
    headers = {"Azure-AsyncOperation": polled, **poll_headers(sandbox.settings.poll_after_ms)}
    return Response(201 if before is None else 200, _render(stored), headers)


def validate(request: Request, sandbox: Backend) -> Response:
    """`POST .../deployments/{name}/validate`: the template and its parameters; nothing is sent to the resources."""
    sent, plan = _planned(request, sandbox)
    body = _body(request, sandbox, sent, plan)
    body["properties"] |= {
        "provisioningState": "Succeeded",
        "validatedResources": [{"id": one.id} for one in plan.resources if one.wanted and not one.existing],
    }
    return Response(200, _render(Resource(_id(request), KIND, body)))


def get_deployment(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{name}`."""
    return Response(200, _render(_find(request, sandbox)))


def check_deployment(request: Request, sandbox: Backend) -> Response:
    """`HEAD .../deployments/{name}`: 204, or 404 without a body."""
    return Response(204 if sandbox.store.get(_id(request)) is not None else 404)


def list_deployments(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments`: those of the group, or of the subscription itself; newest first."""
    scope = _scope(request)
    found = sandbox.store.children(f"{scope}/providers/Microsoft.Resources", KIND)
    return page(request, [_render(one) for one in reversed(found)], "$top")


def delete_deployment(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../deployments/{name}`: the record of it alone; its resources stay."""
    found = sandbox.store.get(_id(request))
    if found is None:
        return Response(204)
    if found.state not in SETTLED:
        raise ArmError(409, "DeploymentActive", f"The deployment '{found.name}' is active: cancel it first.")
    sandbox.store.delete(found.id)
    return Response(204)


async def cancel(request: Request, sandbox: Backend) -> Response:
    """`POST .../deployments/{name}/cancel`: what was deployed stays."""
    found = _find(request, sandbox)
    if found.state in SETTLED:
        raise ArmError(
            409,
            "DeploymentCannotBeCanceled",
            f"The deployment '{found.name}' cannot be canceled: it is {found.state}.",
        )
    await sandbox.templates.cancel(found)
    return Response(204)


def export(request: Request, sandbox: Backend) -> Response:
    """`POST .../deployments/{name}/exportTemplate`: as it was sent."""
    return Response(200, {"template": _find(request, sandbox).internal["template"]})


def get_status(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{name}/operationStatuses/{run}`: the target of Azure-AsyncOperation."""
    found = _find(request, sandbox)
    if found.internal["run"] != request.parameters["run"]:
        raise ArmError.not_found("operation", request.parameters["run"])
    error = found.properties.get("error")
    body = {"status": found.state} if error is None else {"status": found.state, "error": error}
    return Response(200, body, poll_headers(sandbox.settings.poll_after_ms))


def list_operations(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{name}/operations`: one for each resource."""
    return page(request, list(_find(request, sandbox).internal.get("operations", ())), "$top")


def get_operation(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{name}/operations/{operation}`."""
    wanted = request.parameters["operation"]
    for row in _find(request, sandbox).internal.get("operations", ()):
        if row["operationId"] == wanted:
            return Response(200, row)
    raise ArmError.not_found("operation", wanted)


def _planned(request: Request, sandbox: Backend) -> tuple[Mapping[str, Any], Template]:
    """Return the properties that were sent, and what they would deploy."""
    sent = request.json().get("properties")
    if not isinstance(sent, Mapping):
        raise ArmError.invalid_request("The request content was invalid: 'properties' is missing.")
    if sent.get("templateLink") or sent.get("parametersLink"):
        raise ArmError.not_runnable("The sandbox reads no templates by link: send the template itself.")
    if str(sent.get("mode", "Incremental")).lower() != "incremental":
        raise ArmError.not_runnable(
            "The sandbox deploys in mode Incremental only: it deletes nothing by a template."
        )
    if not isinstance(sent.get("template"), Mapping):
        raise ArmError(400, "InvalidTemplate", "Deployment template validation failed: the 'template' is missing.")
    try:
        return sent, sandbox.templates.plan(_id(request), sent["template"], sent.get("parameters") or {})
    except TemplateError as error:
        raise ArmError(400, "InvalidTemplate", f"Deployment template validation failed: '{error}'.") from error


def _body(request: Request, sandbox: Backend, sent: Mapping[str, Any], plan: Template) -> dict[str, Any]:
    document = request.json()
    declared = sent["template"].get("parameters") or {}
    body: dict[str, Any] = {
        "properties": {
            "templateHash": str(int(hashlib.sha256(json.dumps(sent["template"]).encode()).hexdigest()[:15], 16)),
            "parameters": parameters.shown(declared, plan.scope.parameters),
            "mode": "Incremental",
            "provisioningState": "Accepted",
            "timestamp": iso_offset(now_us()),
            "duration": "PT0S",
            "correlationId": request.request_id,
            "providers": _providers(one.kind for one in plan.resources),
            "dependencies": [],
        }
    }
    if "group" not in request.parameters:
        body["location"] = document.get("location") or sandbox.settings.location
    return body | ({"tags": document["tags"]} if document.get("tags") else {})


def _providers(kinds: Iterable[str]) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        namespace, _, rest = kind.partition("/")
        found.setdefault(namespace, []).append(rest)
    return [
        {"namespace": name, "resourceTypes": [{"resourceType": one, "locations": [None]} for one in types]}
        for name, types in found.items()
    ]


def _render(deployment: Resource) -> dict[str, Any]:
    identity = {"id": deployment.id, "name": deployment.name, "type": "Microsoft.Resources/deployments"}
    return {**identity, **deployment.body}


def _find(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_id(request))
    if found is None:
        raise ArmError(404, "DeploymentNotFound", f"Deployment '{request.parameters['name']}' could not be found.")
    return found


def _scope(request: Request) -> str:
    base = f"/subscriptions/{request.parameters['subscription']}"
    group = request.parameters.get("group")
    return f"{base}/resourceGroups/{group}" if group else base


def _id(request: Request) -> str:
    return f"{_scope(request)}/providers/Microsoft.Resources/deployments/{request.parameters['name']}"


def _routes(scope: str, suffix: str) -> tuple[Route, ...]:
    """Return the routes of one kind of scope; Azure names those of a subscription `...AtSubscriptionScope`."""
    base = scope + "/providers/Microsoft.Resources/deployments"
    one = base + "/{name}"
    return (
        Route("GET", base, f"Deployments_List{suffix or 'ByResourceGroup'}", list_deployments),
        Route("HEAD", one, f"Deployments_CheckExistence{suffix}", check_deployment),
        Route("PUT", one, f"Deployments_CreateOrUpdate{suffix}", put_deployment),
        Route("GET", one, f"Deployments_Get{suffix}", get_deployment),
        Route("DELETE", one, f"Deployments_Delete{suffix}", delete_deployment),
        Route("POST", one + "/cancel", f"Deployments_Cancel{suffix}", cancel),
        Route("POST", one + "/validate", f"Deployments_Validate{suffix}", validate),
        Route("POST", one + "/whatIf", f"Deployments_WhatIf{suffix}", None),
        Route("POST", one + "/exportTemplate", f"Deployments_ExportTemplate{suffix}", export),
        Route("GET", one + "/operationStatuses/{run}", f"Deployments_GetStatus{suffix}", get_status),
        Route("GET", one + "/operations", f"DeploymentOperations_List{suffix}", list_operations),
        Route("GET", one + "/operations/{operation}", f"DeploymentOperations_Get{suffix}", get_operation),
    )


_OPERATIONS = GROUP + "/deployments/{name}/operations"  # the specification's address of a group's operations
ROUTES = (
    *_routes(SUBSCRIPTION, "AtSubscriptionScope"),
    *_routes(GROUP, ""),
    Route("GET", _OPERATIONS, "DeploymentOperations_List", list_operations),
    Route("GET", _OPERATIONS + "/{operation}", "DeploymentOperations_Get", get_operation),
)
