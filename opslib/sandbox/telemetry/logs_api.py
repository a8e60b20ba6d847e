# ruff: noqa: S608 - SQL is made of our own words, numbers, and text quoted by _text
"""Handlers: the Log Analytics query API over the rows of `telemetry`.

Tables and types: Microsoft Learn, Azure Monitor Logs reference, AmlOnlineEndpointTrafficLog,
...ConsoleLog and ...EventLog. A request's TimeGenerated is the moment at which the gateway was done with it.
"""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import GROUP, Auth, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us, parse_interval_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry.diagnostics import KIND
from opslib.sandbox.telemetry.kql.query import Compiled, SemanticError, compile_query

_QUERY_S = 30.0
_MAX_ROWS = 100_000

# column -> (SQL over the row `r` and its endpoint `e`, KQL type)
_SHARED = {
    "TimeGenerated": ("r.at_us", "datetime"),
    "OperationName": ("'{table}'", "string"),
    "SubscriptionId": ("e.subscription", "string"),
    "AzureMLWorkspaceId": ("e.workspace_id", "string"),
    "AzureMLWorkspaceName": ("e.workspace", "string"),
    "EndpointName": ("e.name", "string"),
    "DeploymentName": ("r.deployment", "string"),
    "Location": ("e.location", "string"),
    "_ResourceId": ("r.endpoint", "string"),
    "Type": ("'{table}'", "string"),
}
_TRAFFIC = {
    "Method": ("r.method", "string"),
    "Path": ("r.path", "string"),
    "Protocol": ("r.protocol", "string"),
    "ResponseCode": ("r.code", "int"),
    "ResponseCodeReason": ("r.reason", "string"),
    "ModelStatusCode": ("r.model_code", "int"),
    "ModelStatusReason": ("r.model_reason", "string"),
    "RequestPayloadSize": ("r.request_bytes", "int"),
    "ResponsePayloadSize": ("r.response_bytes", "int"),
    "UserAgent": ("r.user_agent", "string"),
    "XRequestId": ("r.request_id", "string"),
    "XMSClientRequestId": ("r.client_request_id", "string"),
    "TotalDurationMs": ("CAST(round(r.total_ms) AS INTEGER)", "int"),
    "RequestDurationMs": ("CAST(round(r.request_ms) AS INTEGER)", "int"),
    "ResponseDurationMs": ("CAST(round(r.response_ms) AS INTEGER)", "int"),
    "RequestThrottlingDelayMs": ("CAST(round(r.request_delay_ms) AS INTEGER)", "int"),
    "ResponseThrottlingDelayMs": ("CAST(round(r.response_delay_ms) AS INTEGER)", "int"),
    "AuthType": ("r.auth_type", "string"),
    "IdentityData": ("r.identity", "string"),
}
_CONSOLE = {
    "InstanceId": ("r.instance", "string"),
    "ContainerName": ("r.container", "string"),
    "Message": ("r.message", "string"),
}
_EVENTS = {"InstanceId": ("r.instance", "string"), "Name": ("r.name", "string"), "Message": ("r.message", "string")}
_TABLES = {
    "AmlOnlineEndpointTrafficLog": ("requests", _TRAFFIC, "AND logged = 1"),
    "AmlOnlineEndpointConsoleLog": ("console", _CONSOLE, ""),
    "AmlOnlineEndpointEventLog": ("events", _EVENTS, ""),
}
_ENDPOINT = ("key", "name", "subscription", "workspace", "workspace_id", "location", "until_us")


async def query_resource(request: Request, sandbox: Backend) -> Response:
    """`POST /v1/{resourceId}/query`: the rows of one endpoint, or of a workspace's endpoints."""
    scope = ids.key(request.parameters["scope"])
    endpoints = [
        one for one in sandbox.store.all("onlineEndpoints") if one.key == scope or one.key.startswith(scope + "/")
    ]
    return await _query(request, sandbox, endpoints)


async def query_workspace(request: Request, sandbox: Backend) -> Response:
    """`POST /v1/workspaces/{id}/query`: the rows of the endpoints whose logs go to that workspace."""
    wanted = request.parameters["workspace"].lower()
    endpoints = {
        ids.key(setting.id.split("/providers/Microsoft.Insights", 1)[0])
        for setting in sandbox.store.all(KIND)
        if customer_id(str(setting.properties.get("workspaceId"))) == wanted
    }
    if not endpoints:
        raise ArmError(404, "WorkspaceNotFoundError", f"The workspace {wanted} could not be found.")
    return await _query(request, sandbox, [one for key in endpoints if (one := sandbox.store.get(key)) is not None])


def get_log_workspace(request: Request, sandbox: Backend) -> Response:
    """`GET .../Microsoft.OperationalInsights/workspaces/{name}`: its customerId is a digest of its id."""
    body = {
        "id": request.path,
        "name": request.parameters["name"],
        "type": "Microsoft.OperationalInsights/workspaces",
        "location": sandbox.settings.location,
        "properties": {"customerId": customer_id(request.path), "provisioningState": "Succeeded"},
    }
    return Response(200, body)


def customer_id(workspace: str) -> str:
    """Return the guid by which the query API knows a Log Analytics workspace."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, ids.key(workspace)))


async def _query(request: Request, sandbox: Backend, endpoints: list[Resource]) -> Response:
    sandbox.telemetry.flush()
    body = request.json()
    try:
        since, until = _timespan(body.get("timespan"))
        tables = _relations(endpoints, since, [min(until, _readable_us(one, sandbox)) for one in endpoints])
        compiled = compile_query(str(body.get("query") or ""), tables)
        rows = await asyncio.to_thread(_run, sandbox, compiled)
    except SemanticError as error:
        return _refused(request, str(error))
    except RecursionError:
        return _refused(request, "the query is too long a chain of operators")
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            return _refused(request, f"the query is too much for the sandbox: {error}")
        raise ArmError(504, "GatewayTimeout", f"The query did not end within {_QUERY_S:g} s: narrow it.") from error
    return Response(200, _answer(compiled, rows))


def _readable_us(endpoint: Resource, sandbox: Backend) -> int:
    """Return until when an endpoint's logs can be read [microseconds since the epoch]."""
    delay_s = sandbox.settings.logs_delay_s + sandbox.faults.logs_delay_s(endpoint.name)
    return now_us() - round(delay_s * MICROSECONDS)


def _run(sandbox: Backend, compiled: Compiled) -> list[tuple[Any, ...]]:
    deadline = time.monotonic() + _QUERY_S
    with sandbox.telemetry.reader() as connection:
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 100_000)
        return connection.execute(compiled.sql).fetchmany(_MAX_ROWS + 1)


def _answer(compiled: Compiled, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    times = [index for index, (_, kind) in enumerate(compiled.columns) if kind == "datetime"]
    flags = [index for index, (_, kind) in enumerate(compiled.columns) if kind == "bool"]
    shown = [list(row) for row in rows[:_MAX_ROWS]]
    for row in shown:
        for index in times:
            row[index] = None if row[index] is None else iso(row[index])
        for index in flags:
            row[index] = None if row[index] is None else bool(row[index])
    columns = [{"name": name, "type": kind} for name, kind in compiled.columns]
    answer: dict[str, Any] = {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": shown}]}
    if len(rows) > _MAX_ROWS:
        message = f"Query result set has exceeded the internal record count limit of {_MAX_ROWS}."
        answer["error"] = {"code": "PartialError", "message": message, "details": []}
    return answer


def _relations(endpoints: list[Resource], since: int, until: list[int]) -> dict[str, Compiled]:
    """Return the three tables, restricted to some endpoints and for each to a time."""
    rows = ", ".join(_endpoint_row(*pair) for pair in zip(endpoints, until, strict=True)) or "('','','','','','',0)"
    names = ", ".join(f"column{index + 1} AS {name}" for index, name in enumerate(_ENDPOINT))
    known = f"(SELECT {names} FROM (VALUES {rows}))"
    keys = ", ".join(_text(one.key) for one in endpoints) or "''"
    relations = {}
    for table, (source, _, also) in _TABLES.items():
        parts, columns = _selected(table)
        where = f"r.endpoint IN ({keys}) AND r.at_us BETWEEN {since} AND e.until_us {also}"
        sql = f"SELECT {parts} FROM {source} AS r JOIN {known} AS e ON e.key = r.endpoint WHERE {where}"
        relations[table] = Compiled(sql, columns)
    return relations


@cache
def _selected(table: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return what is selected of a table, and the names and kinds of its columns."""
    _, own, _ = _TABLES[table]
    columns = (_SHARED | own).items()
    parts = ", ".join(f'{sql.format(table=table)} AS "{name}"' for name, (sql, _) in columns)
    return parts, tuple((name, kind) for name, (_, kind) in columns)


def _endpoint_row(endpoint: Resource, until_us: int) -> str:
    workspace = ids.parent(endpoint.id)
    guid = str(uuid.uuid5(uuid.NAMESPACE_URL, ids.key(workspace)))
    values: Iterable[str] = (
        endpoint.key,
        endpoint.name,
        ids.subscription(endpoint.id),
        ids.name(workspace),
        guid,
        endpoint.body["location"],
    )
    return "(" + ", ".join(_text(value) for value in values) + f", {until_us})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _timespan(text: Any) -> tuple[int, int]:
    """Read the body's `timespan`: an ISO 8601 interval; a duration alone is up to now."""
    slack = 60 * MICROSECONDS
    if not text:
        return 0, now_us() + slack
    if not isinstance(text, str):
        raise SemanticError(f"the timespan must be an ISO 8601 interval, got {text!r}")
    try:
        since, until = parse_interval_us(text, now_us())
    except ValueError as error:
        raise SemanticError(f"the timespan '{text}' cannot be read: {error}") from error
    return since, until if "/" in text else until + slack


def _refused(request: Request, message: str) -> Response:
    """400 in Log Analytics' shape (Microsoft Learn, Azure Monitor Logs API, "Errors")."""
    inner = {"code": "SEM0100", "message": message}
    error = {
        "message": f"The request had some invalid properties: {message}",
        "code": "BadArgumentError",
        "correlationId": request.request_id,
        "innererror": {"code": "SemanticError", "message": "A semantic error occurred.", "innererror": inner},
    }
    return Response(400, {"error": error})


ROUTES = (
    Route(
        "GET",
        GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{name}",
        "LogWorkspaces_Get",
        get_log_workspace,
    ),
    Route("POST", "/v1/workspaces/{workspace}/query", "Logs_QueryWorkspace", query_workspace, Auth.LOGS),
    Route("POST", "/v1/{scope*}/query", "Logs_QueryResource", query_resource, Auth.LOGS),
    Route("POST", "/v1/$batch", "Logs_Batch", None, Auth.LOGS),
)
