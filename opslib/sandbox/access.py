"""Handlers: what the caller may do, and what is locked."""

from .context import Sandbox
from .messages import Request, Response


def permissions(request: Request, sandbox: Sandbox) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/permissions`: one entry for each role of the caller."""
    del sandbox
    roles = request.caller.roles if request.caller is not None else ()
    rows = [
        {
            "actions": list(role.actions),
            "notActions": list(role.not_actions),
            "dataActions": list(role.data_actions),
            "notDataActions": list(role.not_data_actions),
        }
        for role in roles
    ]
    return Response(200, {"value": rows, "nextLink": None})


def locks(request: Request, sandbox: Sandbox) -> Response:
    """`GET {scope}/providers/Microsoft.Authorization/locks`: none."""
    del request, sandbox
    return Response(200, {"value": []})
