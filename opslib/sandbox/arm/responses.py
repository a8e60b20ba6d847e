"""What every ARM resource's handler needs: system data, pages, answers to long-running operations."""

from typing import Any
from urllib.parse import urlencode

from opslib.sandbox.arm.api_versions import api_version
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.operation_urls import header_url
from opslib.sandbox.arm.records import Operation, Resource
from opslib.sandbox.core.clock import iso_offset, now_us

MAX_PAGE = 100
JSON = {"Content-Type": "application/json; charset=utf-8"}
TIMEOUT = {"x-ms-async-operation-timeout": "PT30M"}


def system_data(request: Request, before: Resource | None) -> dict[str, Any]:
    """Return an asset's `systemData`: who made it and when, who changed it last and when."""
    who, now = _caller(request), iso_offset(now_us())
    created = {"createdBy": who, "createdByType": "Application", "createdAt": now}
    if before is not None:
        created = {key: before.body["systemData"][key] for key in created}
    changed = {"lastModifiedBy": who, "lastModifiedByType": "Application", "lastModifiedAt": now}
    return created | changed


def short_system_data(request: Request, before: Resource | None) -> dict[str, Any]:
    """Return `systemData` of an endpoint or a deployment: three members, which an update leaves as they are.

    `lastModifiedAt` moves once more, when the creation ends. Recorded in 2022, 2024 and 2025.
    """
    if before is not None:
        seen = before.body["systemData"]
        return {key: seen[key] for key in ("createdAt", "createdBy", "lastModifiedAt")}
    now = iso_offset(now_us())
    return {"createdAt": now, "createdBy": _caller(request), "lastModifiedAt": now}


def page(request: Request, items: list[dict[str, Any]], size_parameter: str) -> Response:
    """Answer a list in pages, the rest behind `nextLink`."""
    skip = _integer(request, "$skip", 0)
    size = min(max(_integer(request, size_parameter, MAX_PAGE), 1), MAX_PAGE)
    answer: dict[str, Any] = {"value": items[skip : skip + size]}
    if skip + size < len(items):
        query = urlencode({**request.query, "$skip": str(skip + size)})
        answer["nextLink"] = f"{request.base_url}{request.path}?{query}"
    return Response(200, answer)


def own_location(request: Request) -> dict[str, str]:
    """Return the header `Location` of an answer to a PUT: the resource's own address."""
    return {"Location": f"{request.base_url}{request.path}?api-version={api_version(request)}"}


def written(request: Request, operation: Operation, location: str, body: dict[str, Any]) -> Response:
    """Answer a PUT: 201 with the resource, whether it is new or not, and Azure-AsyncOperation to poll."""
    polled = {"Azure-AsyncOperation": header_url(request, operation, location)}
    return Response(201, body, {**polled, **own_location(request), **TIMEOUT})


def accepted(request: Request, operation: Operation, location: str, body: bytes | None = None) -> Response:
    """Answer a PATCH, DELETE or POST: 202, Azure-AsyncOperation and Location to poll, no Retry-After."""
    headers = {
        "Azure-AsyncOperation": header_url(request, operation, location),
        "Location": header_url(request, operation, location, results=True),
        **TIMEOUT,
    }
    return Response(202, body, headers if body is None else headers | JSON)


def poll_headers(after_ms: int) -> dict[str, str]:
    """Return when to poll again, which Azure leaves to its clients (5 or 30 s); 0: without saying."""
    return {"retry-after-ms": str(after_ms)} if after_ms else {}


def _caller(request: Request) -> str:
    return request.caller.name if request.caller is not None else "sandbox"


def _integer(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() else default
