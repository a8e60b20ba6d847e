"""Handlers: role definitions, role assignments, and assignments that end.

Source: Microsoft Learn, REST reference of Microsoft.Authorization (roleDefinitions and roleAssignments
2022-04-01, roleAssignmentScheduleRequests 2020-10-01).
"""

import re
from typing import Any
from uuid import UUID

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import ANY_SCOPE, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us, parse_duration_s, parse_iso_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.identity.directory import ASSIGNMENTS, AUTHORIZATION, DEFINITIONS
from opslib.sandbox.identity.roles import Role

_FILTER = re.compile(r"(\w+) eq '([^']*)'", re.IGNORECASE)
_ASSIGNED_TO = re.compile(r"assignedTo\('([^']*)'\)", re.IGNORECASE)  # to a principal, or to its groups: none here


def list_definitions(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/.../roleDefinitions`: built-in and custom; `$filter` by roleName or type."""
    wanted = {field.lower(): value for field, value in _FILTER.findall(request.query.get("$filter", ""))}
    rows = [role.render() for role in sandbox.directory.roles()]
    chosen = [
        row
        for row in rows
        if wanted.get("rolename", row["properties"]["roleName"]) == row["properties"]["roleName"]
        and wanted.get("type", row["properties"]["type"]) == row["properties"]["type"]
    ]
    return Response(200, {"value": chosen})


def get_definition(request: Request, sandbox: Backend) -> Response:
    """`GET .../roleDefinitions/{name}`."""
    return Response(200, _role(request.parameters["name"], sandbox).render())


def put_definition(request: Request, sandbox: Backend) -> Response:
    """`PUT {scope}/.../roleDefinitions/{name}`: a custom role."""
    name, sent = _guid(request), _properties(request)
    blocks = sent.get("permissions")
    fields = ("actions", "notActions", "dataActions", "notDataActions")
    if not isinstance(sent.get("roleName"), str) or not isinstance(blocks, list) or len(blocks) != 1:
        raise ArmError.bad_request("A custom role needs a roleName and a list of one permission.")
    block = blocks[0] if isinstance(blocks[0], dict) else {"actions": None}
    if not all(isinstance(one, str) for field in fields for one in _list(block.get(field, []))):
        raise ArmError.bad_request(f"A permission holds lists of strings: {', '.join(fields)}.")
    known = sandbox.directory.role(sent["roleName"])
    if known is not None and known.id != name:
        raise ArmError(409, "RoleDefinitionWithSameNameExists", f"A role '{known.name}' exists: take another name.")
    kept = {"roleName": sent["roleName"], "permissions": [{field: block.get(field) or [] for field in fields}]}
    address = f"/{AUTHORIZATION}/{DEFINITIONS}/{name}"
    if (role := sandbox.directory.role(name)) is not None and not role.custom:
        raise ArmError.bad_request(f"The built-in role '{role.name}' cannot be changed.")
    sandbox.store.put(Resource(address, DEFINITIONS, {"properties": kept}))
    return Response(201, _role(name, sandbox).render())


def delete_definition(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../roleDefinitions/{name}`: a custom role that is not assigned."""
    role = sandbox.directory.role(request.parameters["name"])
    if role is None:
        return Response(204)
    if not role.custom:
        raise ArmError.bad_request(f"The built-in role '{role.name}' cannot be deleted.")
    if any(ids.name(one.properties["roleDefinitionId"]) == role.id for one in sandbox.directory.assignments()):
        raise ArmError.bad_request(f"There are existing role assignments referencing role '{role.name}'.")
    sandbox.store.delete(f"/{AUTHORIZATION}/{DEFINITIONS}/{role.id}")
    return Response(200, role.render())


def list_assignments(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/.../roleAssignments`: those on the scope and below it; `$filter` by who, atScope()."""
    text = request.query.get("$filter", "")
    wanted = {field.lower(): value for field, value in _FILTER.findall(text)}
    scope = ids.key(request.parameters["scope"])
    found = [
        one
        for one in (sandbox.directory.operator_assignment(scope), *sandbox.directory.assignments())
        if (ids.key(one.properties["scope"]) + "/").startswith(scope + "/")
        or (scope + "/").startswith(ids.key(one.properties["scope"]).rstrip("/") + "/")
    ]
    if "atscope()" in text.lower():
        found = [
            one for one in found if (scope + "/").startswith(ids.key(one.properties["scope"]).rstrip("/") + "/")
        ]
    assigned = _ASSIGNED_TO.search(text)
    who = assigned[1] if assigned is not None else wanted.get("principalid")
    chosen = [one for one in found if who is None or who.lower() == one.properties["principalId"]]
    return Response(200, {"value": [_render(one) for one in chosen]})


def get_assignment(request: Request, sandbox: Backend) -> Response:
    """`GET .../roleAssignments/{name}`."""
    return Response(200, _render(_assignment(request, sandbox)))


def put_assignment(request: Request, sandbox: Backend) -> Response:
    """`PUT {scope}/.../roleAssignments/{name}`: it holds at once."""
    name, sent = _guid(request), _properties(request)
    principal, role = _checked(sent, sandbox)
    held = (one for one in sandbox.directory.assignments() if one.key == ids.key(_address(request)))
    before = next(held, None)
    if before is not None:
        seen = (before.properties["principalId"], ids.name(before.properties["roleDefinitionId"]))
        if seen == (principal, role.id):  # as templates do that are deployed again
            return Response(200, _render(before))
        raise ArmError(
            409,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )
    kind = str(sent.get("principalType") or "ServicePrincipal")
    stored = sandbox.directory.assign(principal, role, _scope(request), name=name, principalType=kind)
    return Response(201, _render(stored))


def delete_assignment(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../roleAssignments/{name}`: it ends at once; 204 when absent."""
    stored = sandbox.store.get(_address(request))
    if stored is None:
        return Response(204)
    sandbox.store.delete(stored.id)
    return Response(200, _render(stored))


def put_schedule_request(request: Request, sandbox: Backend) -> Response:
    """`PUT {scope}/.../roleAssignmentScheduleRequests/{name}`: an assignment that ends by itself."""
    name, sent = _guid(request), _properties(request)
    if sent.get("requestType") != "AdminAssign":
        raise ArmError.not_built(f"roleAssignmentScheduleRequests of type {sent.get('requestType')}")
    principal, role = _checked(sent, sandbox)
    stored = sandbox.directory.assign(principal, role, _scope(request), name=name, endDateTime=_end(sent))
    properties = {**stored.properties, "status": "Provisioned", "requestType": "AdminAssign"}
    return Response(
        201,
        {
            **_render(stored),
            "type": "Microsoft.Authorization/roleAssignmentScheduleRequests",
            "properties": properties,
        },
    )


def _end(sent: dict[str, Any]) -> str | None:
    """Return when a schedule ends: after a duration, at a time, or never."""
    schedule = sent.get("scheduleInfo")
    expiration = schedule.get("expiration") if isinstance(schedule, dict) else None
    if not isinstance(expiration, dict):
        raise ArmError.bad_request(
            "The scheduleInfo needs an expiration of type AfterDuration, AfterDateTime or NoExpiration."
        )
    try:
        if expiration.get("type") == "AfterDuration":
            return iso(now_us() + round(parse_duration_s(str(expiration.get("duration"))) * MICROSECONDS))
        if expiration.get("type") == "AfterDateTime":
            return iso(parse_iso_us(str(expiration.get("endDateTime"))))
    except ValueError as error:
        raise ArmError.bad_request(f"The expiration cannot be read: {error}.") from error
    return None


def _checked(sent: dict[str, Any], sandbox: Backend) -> tuple[str, Role]:
    wanted, role = str(sent.get("principalId")), sandbox.directory.role(str(sent.get("roleDefinitionId")))
    principal = sandbox.directory.find(wanted)
    if principal is None or principal.object_id != wanted.lower():  # a client id names no principal here
        raise ArmError(400, "PrincipalNotFound", f"Principal {wanted} does not exist in the directory.")
    if role is None:
        raise ArmError(
            400,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition '{sent.get('roleDefinitionId')}' does not exist.",
        )
    return principal.object_id, role


def _role(name: str, sandbox: Backend) -> Role:
    role = sandbox.directory.role(name)
    if role is None:
        raise ArmError(404, "RoleDefinitionDoesNotExist", f"The specified role definition '{name}' does not exist.")
    return role


def _assignment(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_address(request))
    if found is None:
        raise ArmError(
            404, "RoleAssignmentNotFound", f"The role assignment '{request.parameters['name']}' is not found."
        )
    return found


def _address(request: Request) -> str:
    return f"{_scope(request)}/{AUTHORIZATION}/{ASSIGNMENTS}/{request.parameters['name']}"


def _scope(request: Request) -> str:
    return "/" + request.parameters["scope"].strip("/")


def _guid(request: Request) -> str:
    try:
        return str(UUID(request.parameters["name"]))
    except ValueError as error:
        raise ArmError.bad_request(f"The name '{request.parameters['name']}' must be a GUID.") from error


def _properties(request: Request) -> dict[str, Any]:
    sent = request.json().get("properties")
    if not isinstance(sent, dict):
        raise ArmError.invalid_request("The required object 'properties' is missing from the body.")
    return sent


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _render(one: Resource) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "type": f"Microsoft.Authorization/{one.kind}", **one.body}


_AUTHORIZATION = "/providers/Microsoft.Authorization"
_DEFINITIONS = _AUTHORIZATION + "/roleDefinitions"
_ASSIGNMENTS = ANY_SCOPE + _AUTHORIZATION + "/roleAssignments"
ROUTES = (
    Route("GET", _DEFINITIONS, "RoleDefinitions_List", list_definitions),
    Route("GET", _DEFINITIONS + "/{name}", "RoleDefinitions_Get", get_definition),
    Route("GET", ANY_SCOPE + _DEFINITIONS, "RoleDefinitions_List", list_definitions),
    Route("GET", ANY_SCOPE + _DEFINITIONS + "/{name}", "RoleDefinitions_Get", get_definition),
    Route("PUT", ANY_SCOPE + _DEFINITIONS + "/{name}", "RoleDefinitions_CreateOrUpdate", put_definition),
    Route("DELETE", ANY_SCOPE + _DEFINITIONS + "/{name}", "RoleDefinitions_Delete", delete_definition),
    Route("GET", _ASSIGNMENTS, "RoleAssignments_ListForScope", list_assignments),
    Route("GET", _ASSIGNMENTS + "/{name}", "RoleAssignments_Get", get_assignment),
    Route("PUT", _ASSIGNMENTS + "/{name}", "RoleAssignments_Create", put_assignment),
    Route("DELETE", _ASSIGNMENTS + "/{name}", "RoleAssignments_Delete", delete_assignment),
    Route(
        "PUT",
        ANY_SCOPE + _AUTHORIZATION + "/roleAssignmentScheduleRequests/{name}",
        "RoleAssignmentScheduleRequests_Create",
        put_schedule_request,
    ),
)
