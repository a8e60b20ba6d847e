"""The table `resources` of Azure Resource Graph: workspaces, endpoints, deployments, and what was made beside them.

Columns: Microsoft Learn, "Understanding the Azure Resource Graph query language", and the service's answers to
`resources | take 1`. Types and groups are in lower case there, ids are spelt as ARM spells them.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.arm.principals import TENANT_ID, Principal
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints import deployments, endpoints, workspaces
from opslib.sandbox.endpoints.dependencies import KINDS as DEPENDENCIES
from opslib.sandbox.endpoints.subscriptions import known_workspaces
from opslib.sandbox.telemetry.kql.query import Compiled, add_functions, compile_query

_TEXTS = ("id", "name", "type", "tenantId", "kind", "location", "resourceGroup", "subscriptionId", "managedBy")
_DYNAMIC = ("sku", "plan", "properties", "tags", "identity", "zones", "extendedLocation", "systemData")
_COLUMNS = (*((name, "string") for name in _TEXTS), *((name, "dynamic") for name in _DYNAMIC))


def run_query(kql: str, bodies: Iterable[dict[str, Any]]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """Return the columns and rows of a query over resources.

    Raises
    ------
    SemanticError
        If it names what does not exist, or uses what is not built.
    """
    names = ", ".join(f'"{name}"' for name, _ in _COLUMNS)
    marks = ", ".join("?" * len(_COLUMNS))
    compiled = compile_query(_as_table(kql), {"resources": Compiled(f"SELECT {names} FROM resources", _COLUMNS)})  # noqa: S608
    with closing(sqlite3.connect(":memory:")) as connection:
        add_functions(connection)
        connection.execute(f"CREATE TABLE resources ({names})")
        connection.executemany(f"INSERT INTO resources VALUES ({marks})", map(_row, bodies))  # noqa: S608
        rows = connection.execute(compiled.sql).fetchall()
    dynamic = [index for index, (_, kind) in enumerate(compiled.columns) if kind == "dynamic"]
    shown = [list(row) for row in rows]
    for row in shown:
        for index in dynamic:
            row[index] = None if row[index] is None else json.loads(row[index])
    return list(compiled.columns), shown


def readable_resources(
    request: Request, sandbox: Backend, caller: Principal, subscriptions: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """Yield the resources in these subscriptions (none named: in all) that a caller may read, as ARM shows them.

    The request's api-version is Resource Graph's own; resources are shown as in Azure ML's newest one.
    """
    chosen = {one.lower() for one in subscriptions}
    for body in _resources(replace(request, query={}), sandbox):
        inside = not chosen or ids.subscription(body["id"]).lower() in chosen
        if inside and sandbox.directory.allows(caller, f"{body['type']}/read", body["id"]):
            yield body


def _resources(request: Request, sandbox: Backend) -> Iterator[dict[str, Any]]:
    yield from (workspaces.render(one, sandbox) for one in known_workspaces(sandbox))
    for endpoint in sandbox.store.all(endpoints.KIND):
        yield endpoints.render(sandbox.read_lag.shown(endpoint), request, sandbox.base_url)
        for deployment in sandbox.store.children(endpoint.id, deployments.KIND):
            yield deployments.render(deployment, request, endpoint.body["location"])
    for setting in sandbox.store.all("autoscaleSettings"):
        yield {
            "id": setting.id,
            "name": setting.name,
            "type": "Microsoft.Insights/autoscaleSettings",
            **setting.body,
        }
    for kind in ("storageAccounts", *(one.lower() for one in DEPENDENCIES)):
        for one in sandbox.store.all(kind):
            yield {"id": one.id, "name": one.name, "type": ids.resource_type(one.id), **one.body}


def _row(body: dict[str, Any]) -> tuple[str | None, ...]:
    parts = body["id"].split("/")
    texts = {
        "id": body["id"],
        "name": body["name"],
        "type": body["type"].lower(),
        "tenantId": TENANT_ID,
        "kind": str(body.get("kind") or "").lower(),
        "location": body["location"],
        "resourceGroup": parts[4].lower(),
        "subscriptionId": parts[2],
        "managedBy": "",
    }
    values = (None if body.get(name) is None else json.dumps(body[name]) for name in _DYNAMIC)
    return (*texts.values(), *values)


def _as_table(kql: str) -> str:
    """Write the table's name in lower case, in which Resource Graph also reads it."""
    head, separator, rest = kql.strip().partition("|")
    return f"{head.strip().lower()} {separator}{rest}"
