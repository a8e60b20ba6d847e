"""Handlers: tenants, subscriptions and resource groups.

Every subscription and group is served. The lists show those in use: with a workspace or an endpoint, or created.
"""

from collections.abc import Iterator
from typing import Any

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import TENANT_ID
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import GROUP, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend

KIND = "resourceGroups"
WORKSPACES = "workspaces"
DELETED = "deletedWorkspaces"


def known_workspaces(sandbox: Backend) -> list[str]:
    """Return the ids of the workspace in config.json, of those created, and of those with an endpoint."""
    settings = sandbox.settings
    home = {
        "subscription": settings.subscription_id,
        "group": settings.resource_group,
        "workspace": settings.workspace_name,
    }
    found = {ids.key(ids.workspace_id(home)): ids.workspace_id(home)}
    for workspace in sandbox.store.all(WORKSPACES):
        found.setdefault(workspace.key, workspace.id)
    for endpoint in sandbox.store.all("onlineEndpoints"):
        found.setdefault(ids.key(ids.parent(endpoint.id)), ids.parent(endpoint.id))
    gone = {ids.key(one.id.replace("/deletedWorkspaces/", "/workspaces/")) for one in sandbox.store.all(DELETED)}
    return [workspace for key, workspace in found.items() if key not in gone]


def list_tenants(request: Request, sandbox: Backend) -> Response:
    """`GET /tenants`: the only one."""
    del request, sandbox
    tenant = {"id": f"/tenants/{TENANT_ID}", "tenantId": TENANT_ID, "displayName": "sandbox"}
    return Response(200, {"value": [tenant]})


def list_subscriptions(request: Request, sandbox: Backend) -> Response:
    """`GET /subscriptions`: those in use in which the caller has a role; any other is served too."""
    names = {group.split("/")[2].lower(): group.split("/")[2] for group in _groups(sandbox)}
    caller = request.caller
    seen = [
        name
        for name in names.values()
        if caller and sandbox.directory.has_role_in(caller, f"/subscriptions/{name}")
    ]
    return page(request, [_subscription(name) for name in seen], "$top")


def get_subscription(request: Request, sandbox: Backend) -> Response:
    """`GET /subscriptions/{subscription}`: every subscription exists."""
    del sandbox
    return Response(200, _subscription(request.parameters["subscription"]))


def list_groups(request: Request, sandbox: Backend) -> Response:
    """`GET /subscriptions/{subscription}/resourceGroups`: those in use; any other is served too."""
    prefix = ids.key(f"/subscriptions/{request.parameters['subscription']}") + "/"
    found = {ids.key(one): one for one in _groups(sandbox) if ids.key(one).startswith(prefix)}
    return page(request, [_group(one, sandbox) for one in found.values()], "$top")


def check_group(request: Request, sandbox: Backend) -> Response:
    """`HEAD .../resourceGroups/{group}`: it exists."""
    del request, sandbox
    return Response(204)


def get_group(request: Request, sandbox: Backend) -> Response:
    """`GET .../resourceGroups/{group}`: every resource group exists."""
    return Response(200, _group(_id(request), sandbox))


def put_group(request: Request, sandbox: Backend) -> Response:
    """`PUT .../resourceGroups/{group}`: its location and tags."""
    before, body = sandbox.store.get(_id(request)), request.json()
    kept = {"location": str(body.get("location") or sandbox.settings.location), "tags": body.get("tags") or {}}
    stored = sandbox.store.put(Resource(before.id if before else _id(request), KIND, {**kept, "properties": {}}))
    return Response(200 if before else 201, _group(stored.id, sandbox))


def _id(request: Request) -> str:
    return f"/subscriptions/{request.parameters['subscription']}/resourceGroups/{request.parameters['group']}"


def _groups(sandbox: Backend) -> Iterator[str]:
    yield from (workspace.split("/providers/", maxsplit=1)[0] for workspace in known_workspaces(sandbox))
    yield from (group.id for group in sandbox.store.all(KIND))


def _group(group: str, sandbox: Backend) -> dict[str, Any]:
    stored = sandbox.store.get(group)
    body = {"location": sandbox.settings.location} if stored is None else stored.body
    return {
        "id": group,
        "name": ids.name(group),
        "type": "Microsoft.Resources/resourceGroups",
        **body,
        "properties": {"provisioningState": "Succeeded"},
    }


def _subscription(name: str) -> dict[str, Any]:
    state = {"id": f"/subscriptions/{name}", "subscriptionId": name, "displayName": "sandbox", "state": "Enabled"}
    return {**state, "tenantId": TENANT_ID, "homeTenantId": TENANT_ID, "managedByTenants": []}


ROUTES = (
    Route("GET", "/tenants", "Tenants_List", list_tenants),
    Route("GET", "/subscriptions", "Subscriptions_List", list_subscriptions),
    Route("GET", SUBSCRIPTION, "Subscriptions_Get", get_subscription),
    Route("GET", SUBSCRIPTION + "/resourceGroups", "ResourceGroups_List", list_groups),
    Route("HEAD", GROUP, "ResourceGroups_CheckExistence", check_group),
    Route("GET", GROUP, "ResourceGroups_Get", get_group),
    Route("PUT", GROUP, "ResourceGroups_CreateOrUpdate", put_group),
    Route("DELETE", GROUP, "ResourceGroups_Delete", None),
    Route("GET", "/providers", "Providers_ListAtTenantScope", None),
    Route("GET", SUBSCRIPTION + "/tagNames", "Tags_List", None),
)
