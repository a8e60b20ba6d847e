"""Handlers: the generic list of resources, as `az resource list` and Terraform read it."""

import re
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import GROUP, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.graph.table import readable_resources

_SHOWN = ("id", "name", "type", "kind", "location", "tags", "sku", "identity")
_CONDITION = re.compile(r"\s*(resourceType|name|location)\s+eq\s+'([^']*)'\s*", re.IGNORECASE)


def list_resources(request: Request, sandbox: Backend) -> Response:
    """`GET .../resources` of a subscription or a group: those that the caller may read."""
    scope = ids.key(request.path.rstrip("/").rsplit("/", 1)[0]) + "/"
    wanted = _conditions(request.query.get("$filter", ""))
    caller = request.caller
    found = [
        {name: body[name] for name in _SHOWN if body.get(name) is not None}
        for body in (readable_resources(request, sandbox, caller, ()) if caller else ())
        if ids.key(body["id"]).startswith(scope) and all(_holds(body, *one) for one in wanted)
    ]
    return page(request, found, "$top")


def _conditions(text: str) -> list[tuple[str, str]]:
    """Return the comparisons of a filter, all of which must hold."""
    found = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE) if text else ():
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise ArmError(
                400,
                "InvalidFilterInQueryString",
                f"Invalid $filter '{text}': the sandbox compares resourceType, name and location by 'eq', joined "
                "by 'and'.",
            )
        found.append((match[1].lower(), match[2].lower()))
    return found


def _holds(body: dict[str, Any], name: str, value: str) -> bool:
    return str(body.get("type" if name == "resourcetype" else name)).lower() == value


ROUTES = (
    Route("GET", SUBSCRIPTION + "/resources", "Resources_List", list_resources),
    Route("GET", GROUP + "/resources", "Resources_ListByResourceGroup", list_resources),
)
