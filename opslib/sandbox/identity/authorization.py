"""What the caller may do: every request to ARM is one action on one scope."""

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Sandbox

# told to anybody with a token: one's own permissions, and where one is
_UNASKED = ("Permissions_List", "Subscriptions_List", "Tenants_List")
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


def authorize(request: Request, operation: str, sandbox: Sandbox) -> None:
    """Refuse what none of the caller's roles allows.

    Raises
    ------
    ArmError
        403, AuthorizationFailed; of the Log Analytics API InsufficientAccessError.
    """
    if request.caller is None or operation in _UNASKED:
        return
    action, scope = _asked(request, operation, sandbox)
    if not sandbox.directory.allows(request.caller, action, scope):
        if operation.startswith("Logs_"):
            raise ArmError.insufficient_access()
        raise ArmError.forbidden(request.caller.client_id, request.caller.object_id, action, scope or "/")


def permissions(request: Request, sandbox: Sandbox) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/permissions`: one entry for each role of the caller."""
    roles = sandbox.directory.roles_of(request.caller, request.parameters["scope"]) if request.caller else ()
    return Response(200, {"value": [role.permission() for role in roles], "nextLink": None})


def locks(request: Request, sandbox: Sandbox) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/locks`: none."""
    del request, sandbox
    return Response(200, {"value": []})


def _asked(request: Request, operation: str, sandbox: Sandbox) -> tuple[str, str | None]:
    """Return the action and scope of a request; where they are not those of its address, say which."""
    if operation == "Logs_QueryWorkspace":
        return "Microsoft.OperationalInsights/workspaces/query/read", None
    if operation == "Logs_QueryResource":
        return "Microsoft.Insights/logs/read", "/" + request.parameters["scope"]
    if operation.startswith("Operations_"):  # they belong to the resource that they change
        known = sandbox.store.get_operation(request.parameters["operation"])
        if known is not None:
            return f"{ids.resource_type(known.resource)}/read", known.resource
    return action_of(request.method, request.path)
