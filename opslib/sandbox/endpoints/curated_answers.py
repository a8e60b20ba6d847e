"""Curated environments as Azure ML shows them: in Microsoft's registry, and by their names in any workspace."""

from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.responses import page
from opslib.sandbox.core import ids
from opslib.sandbox.endpoints.asset_answers import render
from opslib.sandbox.instances.curated import CATALOGUE, REGISTRY, Curated, find_curated, is_curated_name
from opslib.sandbox.instances.references import curated_resource, not_here


def curated_answer(request: Request) -> Response | None:
    """Answer a read of Microsoft's environments; None for what is not one of theirs.

    Raises
    ------
    ArmError
        501 for what the catalogue lacks, 403 for a write.
    """
    names = request.parameters
    registry, name = names.get("registry", "").lower(), names.get("name", "")
    if names["kind"].lower() != "environments":
        if registry == REGISTRY:
            raise not_here(f"{names['kind']} '{name}' of the registry '{REGISTRY}'")
        return None
    if registry != REGISTRY and not (not registry and is_curated_name(name)):
        return None
    if request.method not in ("GET", "HEAD"):
        raise ArmError(403, "Forbidden", f"The registry '{REGISTRY}' is Microsoft's: it can be read only.")
    if not name:
        return page(request, [_container(one, request) for one in CATALOGUE.values()], "count")
    one = find_curated(name)
    if one is None:
        raise not_here(f"the curated environment '{name}'")
    if "version" in names:
        return Response(200, _version(one, names["version"], request))
    if request.path.rstrip("/").lower().endswith("/versions"):
        return page(request, [_version(one, one.version, request)], "$top")
    return Response(200, _container(one, request))


def _container(one: Curated, request: Request) -> dict[str, Any]:
    name = request.parameters.get("name") or one.name
    shown = curated_resource(one, one.version)
    latest = {"latestVersion": one.version, "nextVersion": str(int(one.version) + 1)}
    kept = {"isArchived": False, "tags": {}, "properties": {}, "description": None}
    head = {"id": ids.parent(shown.id), "name": name, "type": f"{ids.PROVIDER}/registries/environments"}
    return {**head, "systemData": shown.body["systemData"], "properties": {**kept, **latest}}


def _version(one: Curated, version: str, request: Request) -> dict[str, Any]:
    return render(curated_resource(one, version), request, newest=version == one.version)
