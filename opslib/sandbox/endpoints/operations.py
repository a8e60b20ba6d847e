"""Handlers: the state of a long-running operation."""

from typing import Any

from opslib.sandbox.arm.api_versions import is_first
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.operation_urls import check_signature, header_url
from opslib.sandbox.arm.records import Operation
from opslib.sandbox.arm.responses import poll_headers
from opslib.sandbox.arm.routing import LOCATION, RECORDED, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_offset
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints import deployments, endpoints
from opslib.sandbox.endpoints.lifecycle import RUNNING, Kind


def get_status(request: Request, sandbox: Backend) -> Response:
    """`GET .../mfeOperationsStatus/{operation}`: the target of Azure-AsyncOperation."""
    check_signature(request)
    return Response(200, _render(_find(request, sandbox), request), poll_headers(sandbox.settings.poll_after_ms))


def get_result(request: Request, sandbox: Backend) -> Response:
    """`GET .../mfeOperationResults/{operation}`: the target of Location; 202 while it runs.

    After a deletion it answers with the operation (recorded in 2025), else with the resource.
    """
    check_signature(request)
    operation = _find(request, sandbox)
    location = request.parameters["location"]
    if operation.status == RUNNING:
        where = header_url(request, operation, location, results=True)
        return Response(202, None, {"Location": where, **poll_headers(sandbox.settings.poll_after_ms)})
    if operation.status != "Succeeded":
        error = operation.error or {}
        raise ArmError(400, str(error.get("code", "OperationCanceled")), str(error.get("message", "Canceled.")))
    resource = sandbox.store.get(operation.resource)
    if resource is None or operation.kind == Kind.DELETE:
        return Response(200, _render(operation, request))
    if resource.kind == "deployments":
        return Response(200, deployments.render(resource, request, location))
    return Response(200, endpoints.render(resource, request, sandbox.base_url))


def _render(operation: Operation, request: Request) -> dict[str, Any]:
    """Return an operation as Azure ML shows it: Updating while it runs, whatever it does.

    The first preview showed 100 percent at the end and no endTime before it; later versions show 0 percent always,
    and while it runs the year 1 as endTime.
    """
    old, ended_us = is_first(request), operation.ended_us
    body = {
        "id": request.path,
        "name": operation.id,
        "status": "Updating" if operation.status == RUNNING else operation.status,
        "startTime": iso_offset(operation.started_us),
        "percentComplete": 100.0 if old and operation.status == "Succeeded" else 0.0,
    }
    if ended_us is not None or not old:
        body["endTime"] = "0001-01-01T00:00:00+00:00" if ended_us is None else iso_offset(ended_us)
    return {**body, "error": operation.error} if operation.error is not None else body


def _find(request: Request, sandbox: Backend) -> Operation:
    operation = sandbox.store.get_operation(request.parameters["operation"])
    mine = operation is not None and (
        ids.subscription(operation.resource).lower() == request.parameters["subscription"].lower()
    )
    if operation is None or not mine:
        raise ArmError.not_found("operation", request.parameters["operation"])
    return operation


ROUTES = (
    Route("GET", LOCATION + "/mfeOperationsStatus/{operation}", "Operations_GetStatus", get_status, known=RECORDED),
    Route("GET", LOCATION + "/mfeOperationResults/{operation}", "Operations_GetResult", get_result, known=RECORDED),
)
