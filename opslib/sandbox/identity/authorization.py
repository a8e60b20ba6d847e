"""What a caller may do: every request to ARM is one action on one scope."""

import re

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import ANY_SCOPE, Auth, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend

# need a token, but no role: the caller's own permissions, tenants and subscriptions; where a registry is served; a
# query of Resource Graph leaves out what the caller may not read
_NO_ROLE_NEEDED = ("Permissions_List", "Subscriptions_List", "Tenants_List", "Resources", "Registries_Discover")
_OF_OPERATIONS = ("Operations_GetStatus", "Operations_GetResult")
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


def action_of(method: str, path: str) -> tuple[str, str]:
    """Return an operation's action and the id that it is done to; a POST's verb is its last word.

    Examples
    --------
    >>> action_of("POST", "/subscriptions/s/resourceGroups/g/providers/A.B/xs/1/listKeys")
    ('A.B/xs/listKeys/action', '/subscriptions/s/resourceGroups/g/providers/A.B/xs/1')
    """
    path = path.rstrip("/")
    if method == "POST":
        resource, verb = path.rsplit("/", 1)
        return f"{ids.resource_type(resource)}/{verb}/action", resource
    return f"{ids.resource_type(path)}/{_VERBS.get(method, 'write')}", path


def authorize(request: Request, route: Route, sandbox: Backend) -> None:
    """Refuse what none of the caller's roles allows.

    Raises
    ------
    ArmError
        403, AuthorizationFailed; of the Log Analytics API InsufficientAccessError.
    """
    if request.caller is None or route.operation in _NO_ROLE_NEEDED:
        return
    action, scope = _action_and_scope(request, route.operation, sandbox)
    if not sandbox.directory.allows(request.caller, action, scope):
        if route.auth is Auth.LOGS:
            raise ArmError.insufficient_access()
        raise ArmError.forbidden(request.caller.client_id, request.caller.object_id, action, scope or "/")


def permissions(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/permissions`: one entry for each role of the caller."""
    roles = sandbox.directory.roles_of(request.caller, request.parameters["scope"]) if request.caller else ()
    return Response(200, {"value": [role.permission() for role in roles], "nextLink": None})


def locks(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/locks`: none."""
    del request, sandbox
    return Response(200, {"value": []})


def _action_and_scope(request: Request, operation: str, sandbox: Backend) -> tuple[str, str | None]:
    """Return the action and scope of a request: those of its address, but for log queries and operations."""
    if operation == "Logs_QueryWorkspace":
        return "Microsoft.OperationalInsights/workspaces/query/read", None
    if operation == "Logs_QueryResource":
        return f"Microsoft.Insights/logs/{_table(request)}/read", "/" + request.parameters["scope"]
    if operation in _OF_OPERATIONS:  # they belong to the resource that they change
        known = sandbox.store.get_operation(request.parameters["operation"])
        if known is not None:
            return f"{ids.resource_type(known.resource)}/read", known.resource
    return action_of(request.method, request.path)


def _table(request: Request) -> str:
    """Return the table that a log query names first; Azure grants each table by itself."""
    found = re.match(r"\s*(\w+)", str(request.json().get("query") or ""))
    return found[1] if found else ""


ROUTES = (
    Route("GET", ANY_SCOPE + "/providers/Microsoft.Authorization/permissions", "Permissions_List", permissions),
    Route("GET", ANY_SCOPE + "/providers/Microsoft.Authorization/locks", "Locks_List", locks),
)
