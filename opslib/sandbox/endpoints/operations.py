"""Handlers: the state of a long-running operation."""

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.responses import POLL_HEADERS, status_url
from opslib.sandbox.arm.routing import LOCATION, Route
from opslib.sandbox.arm.store import Operation
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.endpoints import deployments, endpoints


def get_status(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../mfeOperationsStatus/{operation}`: the target of Azure-AsyncOperation."""
    operation = _find(request, sandbox)
    body = {
        "id": request.path,
        "name": operation.id,
        "status": operation.status,
        "startTime": iso(operation.started_us),
    }
    if operation.ended_us is not None:
        body["endTime"] = iso(operation.ended_us)
    answer = {**body, "error": operation.error} if operation.error is not None else body
    return Response(200, answer, POLL_HEADERS)


def get_result(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../mfeOperationResults/{operation}`: the target of Location; 202 while it runs."""
    operation = _find(request, sandbox)
    location = request.parameters["location"]
    if operation.status == "InProgress":
        where = status_url(sandbox.base_url, operation.id, operation.resource, location, results=True)
        return Response(202, None, {"Location": where, **POLL_HEADERS})
    if operation.status != "Succeeded":
        error = operation.error or {}
        raise ArmError(400, str(error.get("code", "OperationCanceled")), str(error.get("message", "Canceled.")))
    resource = sandbox.store.get(operation.resource)
    if resource is None:
        return Response(204)
    if resource.kind == "deployments":
        return Response(200, deployments.render(resource, sandbox.base_url, location))
    return Response(200, endpoints.render(resource, sandbox.base_url))


def _find(request: Request, sandbox: Sandbox) -> Operation:
    operation = sandbox.store.get_operation(request.parameters["operation"])
    mine = operation is not None and (
        ids.subscription(operation.resource).lower() == request.parameters["subscription"].lower()
    )
    if operation is None or not mine:
        raise ArmError.not_found("operation", request.parameters["operation"])
    return operation


ROUTES = (
    Route("GET", LOCATION + "/mfeOperationsStatus/{operation}", "Operations_GetStatus", get_status),
    Route("GET", LOCATION + "/mfeOperationResults/{operation}", "Operations_GetResult", get_result),
)
