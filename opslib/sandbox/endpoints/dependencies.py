"""Handlers: what a workspace depends on beside storage: key vaults, image registries, Application Insights, logs.

They are kept as they are sent, so that a template can make them and a workspace name them; none does anything.
The ones named `sandbox`, which every workspace of the sandbox has, exist without having been created.
"""

from collections.abc import Callable, Iterator
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import ASSUMED, GROUP, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend

KINDS = {
    "Microsoft.KeyVault/vaults": "Vaults",
    "Microsoft.ContainerRegistry/registries": "Registries",
    "Microsoft.Insights/components": "Components",
    "Microsoft.OperationalInsights/workspaces": "Workspaces",
}
"""Resource types, with the name of their group of operations."""
HOME = "sandbox"


def list_dependencies(request: Request, sandbox: Backend) -> Response:
    """`GET .../{type}` of a resource group: those created."""
    parent, kind = request.path.rstrip("/").rsplit("/", 1)
    kept = sandbox.store.children(parent, _stored_as(parent, kind))
    return page(request, [_render(one) for one in kept], "$top")


def get_dependency(request: Request, sandbox: Backend) -> Response:
    """`GET .../{type}/{name}`: as it was sent."""
    found = sandbox.store.get(request.path)
    if found is None and ids.name(request.path).lower() == HOME:
        found = Resource(request.path.rstrip("/"), "", {"location": sandbox.settings.location, "properties": {}})
    if found is None:
        raise ArmError.not_found(ids.resource_type(request.path), ids.name(request.path))
    return Response(200, _render(found))


def put_dependency(request: Request, sandbox: Backend) -> Response:
    """`PUT .../{type}/{name}`: kept as it is sent."""
    before, path = sandbox.store.get(request.path), request.path.rstrip("/")
    sent = request.json()
    body: dict[str, Any] = {
        **{name: sent[name] for name in ("kind", "sku", "identity") if name in sent},
        "location": sent.get("location") or sandbox.settings.location,
        "tags": sent.get("tags") or {},
        "properties": {**(sent.get("properties") or {}), "provisioningState": "Succeeded"},
    }
    stored = Resource(path if before is None else before.id, _stored_as(*path.rsplit("/", 2)[:2]), body)
    return Response(201 if before is None else 200, _render(sandbox.store.put(stored)))


def delete_dependency(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../{type}/{name}`: 204 when absent."""
    existed = sandbox.store.get(request.path) is not None
    sandbox.store.delete(request.path)
    return Response(200 if existed else 204)


def _stored_as(parent: str, kind: str) -> str:
    """Return the store's kind: the type in lower case, for `workspaces` are Azure ML's."""
    return f"{ids.name(parent)}/{kind}".lower()


def _render(found: Resource) -> dict[str, Any]:
    identity = {"id": found.id, "name": found.name, "type": ids.resource_type(found.id)}
    return {**identity, **found.body}


_HANDLERS: tuple[tuple[str, str, Callable[[Request, Backend], Response]], ...] = (
    ("GET", "Get", get_dependency),
    ("PUT", "CreateOrUpdate", put_dependency),
    ("DELETE", "Delete", delete_dependency),
)


def _routes() -> Iterator[Route]:
    for kind, group in KINDS.items():
        base = f"{GROUP}/providers/{kind}"
        yield Route("GET", base, f"{group}_ListByResourceGroup", list_dependencies, known=ASSUMED)
        for method, name, handler in _HANDLERS:
            if kind.startswith("Microsoft.OperationalInsights") and method == "GET":
                continue  # where logs are queried
            yield Route(method, f"{base}/{{name}}", f"{group}_{name}", handler, known=ASSUMED)


ROUTES = tuple(_routes())
