"""Handler: queries of Azure Resource Graph.

Shape: azure-rest-api-specs, resourcegraph stable/2022-10-01, `Resources`; the text of a refusal as reported for
the live service. Of the query language as much is built as of Log Analytics' (see `telemetry.kql`).
"""

import asyncio
import base64
import json
from typing import Any

from opslib.sandbox.arm.envelope import check_objects
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import Route
from opslib.sandbox.core.context import Backend
from opslib.sandbox.graph.table import readable_resources, run_query
from opslib.sandbox.telemetry.kql.query import SemanticError

MAX_RECORDS = 1000
"""Records of one answer. Source: Microsoft Learn, "Working with large Azure resource data sets"."""


async def query_resources(request: Request, sandbox: Backend) -> Response:
    """`POST /providers/Microsoft.ResourceGraph/resources`: what the caller may read; 1,000 records a page."""
    caller = request.caller
    if caller is None:
        raise ArmError.bad_request("A query needs a caller.")
    left = sandbox.graph_quota.take(caller.object_id)
    if left.queries < 0:
        raise _refused(
            429,
            "RateLimiting",
            "Client application has been throttled and should not attempt to repeat "
            "the request until an amount of time has elapsed.",
            {**left.headers(), "Retry-After": "1"},
        )
    body = request.json()
    check_objects(body, ("options",))
    options, subscriptions = body.get("options") or {}, body.get("subscriptions") or []
    if not isinstance(subscriptions, list):
        raise _refused(400, "BadRequest", "The subscriptions are a list of ids.")
    bodies = list(readable_resources(request, sandbox, caller, map(str, subscriptions)))
    try:
        columns, rows = await asyncio.to_thread(run_query, str(body.get("query") or ""), bodies)
    except SemanticError as error:
        raise _refused(400, "BadRequest", str(error)) from error
    skip = _skip(options)
    top = min(max(_integer(options, "$top") or MAX_RECORDS, 1), MAX_RECORDS)
    page = rows[skip : skip + top]
    truncated = skip + top < len(rows)
    answer: dict[str, Any] = {
        "totalRecords": len(rows),
        "count": len(page),
        "data": _data(str(options.get("resultFormat") or "objectArray"), columns, page),
        "facets": [],
        "resultTruncated": "true" if truncated else "false",
    }
    if truncated and any(kind != "dynamic" for _, kind in columns):
        answer["$skipToken"] = base64.b64encode(json.dumps({"skip": skip + top}).encode()).decode()
    return Response(200, answer, left.headers())


def _skip(options: dict[str, Any]) -> int:
    token = options.get("$skipToken")
    if not token:
        return max(_integer(options, "$skip"), 0)
    try:
        return int(json.loads(base64.b64decode(token, validate=True))["skip"])
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(400, "BadRequest", "The $skipToken is invalid.") from error


def _integer(options: dict[str, Any], name: str) -> int:
    value = options.get(name)
    if value is not None and not isinstance(value, int):
        raise _refused(400, "BadRequest", f"The option {name} is an integer, got {value!r}.")
    return value or 0


def _data(form: str, columns: list[tuple[str, str]], rows: list[list[Any]]) -> Any:
    if form.lower() == "table":
        return {"columns": [{"name": name, "type": kind} for name, kind in columns], "rows": rows}
    names = [name for name, _ in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _refused(status: int, code: str, reason: str, headers: dict[str, str] | None = None) -> ArmError:
    detail = {"code": "InvalidQuery" if status == 400 else code, "message": reason}
    return ArmError(
        status,
        code,
        f"Please provide below info when asking for support. {reason}",
        details=[detail],
        headers=headers,
    )


ROUTES = (
    Route("POST", "/providers/Microsoft.ResourceGraph/resources", "Resources", query_resources),
    Route("POST", "/providers/Microsoft.ResourceGraph/resourcesHistory", "ResourcesHistory", None),
)
