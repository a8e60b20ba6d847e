"""Handlers: principals - the sandbox's own API for service principals, and user-assigned managed identities."""

import uuid
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import OPERATOR, TENANT_ID, Principal, assigned_identity
from opslib.sandbox.arm.routing import GROUP, OWN, Auth, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.identity.entra import federated_token
from opslib.sandbox.identity.roles import Role

_MAX_ROLE_S = 366 * 86400
MOST = 200


def list_principals(request: Request, sandbox: Backend) -> Response:
    """`GET /sandbox/principals`: every principal, with its roles."""
    del request
    return Response(200, {"value": [_render(one, sandbox) for one in sandbox.directory.all()]})


def add_principal(request: Request, sandbox: Backend) -> Response:
    """`POST /sandbox/principals`: a service principal with a secret, and a role if one is named."""
    sent = request.json()
    name, seconds = sent.get("name"), sent.get("seconds")
    if not isinstance(name, str) or not name or "/" in name or len(name) > 100:
        raise ArmError.bad_request(f"A principal needs a name without '/', got {name!r}.")
    if name == OPERATOR.name or sandbox.directory.named(name) is not None:
        raise ArmError.conflict(f"A principal '{name}' exists: take another name, or remove it.")
    if len(sandbox.directory.all()) > MOST:
        raise ArmError.bad_request(f"There are {MOST} principals, which is the limit: remove some.")
    role, more = _role(sent.get("role"), sandbox), {}
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _MAX_ROLE_S:
            raise ArmError.bad_request(f"seconds must be above 0 and at most a year, got {seconds!r}.")
        more["endDateTime"] = iso(now_us() + round(seconds * MICROSECONDS))
    principal = Principal(str(uuid.uuid4()), str(uuid.uuid4()), name)
    with sandbox.store.transaction():
        stored = sandbox.directory.add(principal)
        if role is not None:
            sandbox.directory.assign(principal.object_id, role, _scope(sent.get("scope"), sandbox), **more)
    secret = {
        "client_secret": stored.secrets["clientSecret"],
        "federated_token": federated_token(principal, sandbox),
    }
    return Response(201, {"value": [{**_render(principal, sandbox), **secret}]})


def remove_principal(request: Request, sandbox: Backend) -> Response:
    """`DELETE /sandbox/principals/{name}`: its tokens end with it."""
    stored = sandbox.directory.named(request.parameters["name"])
    if stored is None:
        raise ArmError.not_found("principal", request.parameters["name"])
    sandbox.store.delete(stored.id)
    return Response(200, {"value": []})


def put_identity(request: Request, sandbox: Backend) -> Response:
    """`PUT .../userAssignedIdentities/{name}`: a managed identity that endpoints and clients can take."""
    body, address = request.json(), _identity_id(request)
    principal, before = assigned_identity(address), sandbox.directory.find(address)
    shown = {
        "location": str(body.get("location") or sandbox.settings.location).lower().replace(" ", ""),
        "tags": body.get("tags") or {},
    }
    sandbox.directory.add(principal, resource=address.lower(), shown=shown)
    return Response(201 if before is None else 200, _identity(address, sandbox))


def get_identity(request: Request, sandbox: Backend) -> Response:
    """`GET .../userAssignedIdentities/{name}`."""
    if sandbox.directory.find(_identity_id(request)) is None:
        raise ArmError.not_found("user assigned identity", request.parameters["name"])
    return Response(200, _identity(_identity_id(request), sandbox))


def delete_identity(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../userAssignedIdentities/{name}`: 204 when absent."""
    principal = sandbox.directory.find(_identity_id(request))
    if principal is None:
        return Response(204)
    sandbox.directory.remove(principal)
    return Response(200)


def _identity_id(request: Request) -> str:
    names = request.parameters
    return (
        f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}"
        f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{names['name']}"
    )


def _identity(address: str, sandbox: Backend) -> dict[str, Any]:
    principal = assigned_identity(address)
    stored = sandbox.store.get(f"/principals/{principal.object_id}")
    shown = stored.body if stored is not None else {}
    return {
        "id": address,
        "name": ids.name(address),
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "location": shown.get("location", sandbox.settings.location),
        "tags": shown.get("tags", {}),
        "properties": {
            "tenantId": TENANT_ID,
            "principalId": principal.object_id,
            "clientId": principal.client_id,
        },
    }


def _role(wanted: Any, sandbox: Backend) -> Role | None:
    if wanted is None:
        return None
    role = sandbox.directory.role(str(wanted))
    if role is None:
        known = ", ".join(one.name for one in sandbox.directory.roles())
        raise ArmError.bad_request(f"There is no role {wanted!r}; there are: {known}.")
    return role


def _scope(sent: Any, sandbox: Backend) -> str:
    settings = sandbox.settings
    home = {"subscription": settings.subscription_id, "group": settings.resource_group}
    if not sent:
        return ids.workspace_id({**home, "workspace": settings.workspace_name})
    if not isinstance(sent, str) or not sent.startswith("/"):
        raise ArmError.bad_request(f"A scope is an ARM id, such as /subscriptions/ID, or / for all; got {sent!r}.")
    return sent


def _render(principal: Principal, sandbox: Backend) -> dict[str, Any]:
    roles = [role.name for role in sandbox.directory.roles_of(principal, None)]
    return {
        "name": principal.name,
        "tenant_id": TENANT_ID,
        "object_id": principal.object_id,
        "client_id": principal.client_id,
        "roles": roles,
    }


_IDENTITY = GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
ROUTES = (
    Route("GET", _IDENTITY, "UserAssignedIdentities_Get", get_identity),
    Route("PUT", _IDENTITY, "UserAssignedIdentities_CreateOrUpdate", put_identity),
    Route("DELETE", _IDENTITY, "UserAssignedIdentities_Delete", delete_identity),
    Route("GET", "/sandbox/principals", "Sandbox_ListPrincipals", list_principals, Auth.ADMIN, known=OWN),
    Route("POST", "/sandbox/principals", "Sandbox_AddPrincipal", add_principal, Auth.ADMIN, known=OWN),
    Route(
        "DELETE", "/sandbox/principals/{name}", "Sandbox_RemovePrincipal", remove_principal, Auth.ADMIN, known=OWN
    ),
)
