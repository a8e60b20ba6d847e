"""What every ARM resource's handler needs: system data, pages, answers to long-running operations."""

from typing import Any
from urllib.parse import urlencode

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.store import Operation, Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso_now

API_VERSION = "2023-04-01-preview"
POLL_HEADERS = {"retry-after-ms": "100"}
MAX_PAGE = 100


def system_data(request: Request, before: Resource | None) -> dict[str, Any]:
    """Return `systemData` of a resource that the request's caller writes now."""
    who = request.caller.name if request.caller is not None else "sandbox"
    now = iso_now()
    created = {"createdBy": who, "createdByType": "Application", "createdAt": now}
    if before is not None:
        created = {key: before.body["systemData"][key] for key in created}
    changed = {"lastModifiedBy": who, "lastModifiedByType": "Application", "lastModifiedAt": now}
    return created | changed


def page(request: Request, items: list[dict[str, Any]], size_parameter: str) -> Response:
    """Answer a list in pages, the rest behind `nextLink`."""
    skip = _integer(request, "$skip", 0)
    size = min(max(_integer(request, size_parameter, MAX_PAGE), 1), MAX_PAGE)
    answer: dict[str, Any] = {"value": items[skip : skip + size]}
    if skip + size < len(items):
        query = urlencode({**request.query, "$skip": str(skip + size)})
        answer["nextLink"] = f"{request.base_url}{request.path}?{query}"
    return Response(200, answer)


def status_url(
    request_base: str, operation_id: str, resource_id: str, location: str, *, results: bool = False
) -> str:
    """Return where an operation can be polled."""
    kind = "mfeOperationResults" if results else "mfeOperationsStatus"
    return (
        f"{request_base}/subscriptions/{ids.subscription(resource_id)}/providers/{ids.PROVIDER}"
        f"/locations/{location}/{kind}/{operation_id}?api-version={API_VERSION}"
    )


def written(request: Request, operation: Operation, location: str, body: dict[str, Any], *, new: bool) -> Response:
    """Answer a PUT: 201 or 200 with the resource, and Azure-AsyncOperation to poll."""
    headers = {
        "Azure-AsyncOperation": status_url(request.base_url, operation.id, operation.resource, location),
        "x-ms-async-operation-timeout": "PT1H30M",
    }
    return Response(201 if new else 200, body, headers)


def accepted(request: Request, operation: Operation, location: str) -> Response:
    """Answer a PATCH, DELETE or POST: 202 and Location to poll; Retry-After is read as an integer."""
    headers = {
        "Location": status_url(request.base_url, operation.id, operation.resource, location, results=True),
        "Retry-After": "1",
        "x-ms-async-operation-timeout": "PT1H30M",
    }
    return Response(202, None, headers)


def _integer(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdigit() else default
