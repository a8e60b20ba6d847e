"""Handlers: codes, environments, models, data and components - containers and their versions."""

import uuid
from dataclasses import dataclass
from typing import Any

from opslib.sandbox.arm.api_versions import ASSETS_OF_2023, since
from opslib.sandbox.arm.envelope import check_objects
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import own_location, page, system_data
from opslib.sandbox.arm.routing import RECORDED, WORKSPACE, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints.asset_answers import asset_type, normalized, render
from opslib.sandbox.endpoints.curated_answers import curated_answer
from opslib.sandbox.endpoints.validation import check_asset
from opslib.sandbox.storage.blob_files import container
from opslib.sandbox.storage.datastores import blob_url, sas


@dataclass(frozen=True)
class AssetKind:
    """One kind of asset: what it is called, and what of a version can never change."""

    name: str
    fixed: tuple[str, ...]
    defaults: tuple[tuple[str, Any], ...] = ()


# `flavors` must not be null: azure-ai-ml's Model._from_rest_object iterates over it.
KINDS = {
    "codes": AssetKind("codes", ("codeUri",)),
    "environments": AssetKind(
        "environments", ("image", "condaFile", "build"), (("environmentType", "UserCreated"), ("osType", "Linux"))
    ),
    "models": AssetKind("models", ("modelUri", "modelType"), (("flavors", {}), ("modelType", "custom_model"))),
    "data": AssetKind("data", ("dataUri", "dataType")),
    "components": AssetKind("components", ("componentSpec",), (("componentSpec", {}),)),
}
_MAPS = ("tags", "properties", "flavors")
EMPTY_CONTAINER: dict[str, Any] = {"isArchived": False, "tags": {}, "properties": {}, "description": None}


def list_containers(request: Request, sandbox: Backend) -> Response:
    """`GET W/{kind}`: those not archived, or as `listViewType` selects."""
    found = _viewed(request, sandbox.store.children(ids.asset_scope(request.parameters), _kind(request).name))
    return page(request, [_render_container(one, sandbox) for one in found], "count")


def get_container(request: Request, sandbox: Backend) -> Response:
    """`GET W/{kind}/{name}`."""
    found = sandbox.store.get(_container_id(request))
    if found is None:
        return _curated(request) or _absent(request)
    return Response(200, _render_container(found, sandbox))


def put_container(request: Request, sandbox: Backend) -> Response:
    """`PUT W/{kind}/{name}`."""
    check_asset(_kind(request).name, request.parameters["name"], "1")
    before = sandbox.store.get(_container_id(request))
    sent = request.json().get("properties") or {}
    check_objects(sent, _MAPS)
    stored = sandbox.store.put(_new_container(request, before, _given(sent)))
    return Response(201 if before is None else 200, _render_container(stored, sandbox))


def list_versions(request: Request, sandbox: Backend) -> Response:
    """`GET W/{kind}/{name}/versions`: newest first, as by `$orderBy=createdtime desc`; codes by hash."""
    found = sandbox.store.children(_container_id(request), f"{_kind(request).name}/versions")
    empty = "hash" in request.query or "registry" in request.parameters  # azure-ai-ml expects both to be empty
    if not found and sandbox.store.get(_container_id(request)) is None and not empty:
        return _curated(request) or _absent(request)
    found = [one for one in _viewed(request, found) if not _hidden(one)]
    if wanted := request.query.get("version"):
        found = [one for one in found if one.name.lower() == wanted.lower()]
    if digest := request.query.get("hash"):
        found = [one for one in found if (one.properties.get("properties") or {}).get("hash_sha256") == digest]
    newest_first = "desc" in request.query.get("$orderBy", "desc").lower()
    ordered = sorted(found, key=lambda one: one.sequence, reverse=newest_first)
    return page(request, [_render_version(one, request, sandbox) for one in ordered], "$top")


def get_version(request: Request, sandbox: Backend) -> Response:
    """`GET W/{kind}/{name}/versions/{version}`."""
    version = sandbox.store.get(_version_id(request))
    if version is None:
        return _curated(request) or _absent(request)
    return Response(200, _render_version(version, request, sandbox))


def put_version(request: Request, sandbox: Backend) -> Response:
    """`PUT W/{kind}/{name}/versions/{version}`: a version's content is fixed for ever, its tags are not."""
    kind, sent = _kind(request), request.json().get("properties")
    check_asset(kind.name, request.parameters["name"], request.parameters["version"])
    if not isinstance(sent, dict):
        raise ArmError.invalid_request("The required object 'properties' is missing from the body.")
    check_objects(sent, _MAPS)
    before = sandbox.store.get(_version_id(request))
    properties = dict(kind.defaults) | _given(sent)
    properties = {"isArchived": False, "isAnonymous": False, "tags": {}, "properties": {}} | properties
    properties = normalized(kind.name, properties) | {"provisioningState": "Succeeded"}
    if before is not None and not properties["isAnonymous"]:  # those are named by their content
        _check_fixed(kind, before, properties)
    version = Resource(
        _version_id(request),
        f"{kind.name}/versions",
        {"systemData": system_data(request, before), "properties": properties},
        sequence=before.sequence if before is not None else 0,
    )
    with sandbox.store.transaction():
        if sandbox.store.get(_container_id(request)) is None:
            sandbox.store.put(_new_container(request, None, {}))
        stored = sandbox.store.put(version)
    answer = _render_version(stored, request, sandbox)
    if before is not None and kind.name != "environments":
        return Response(200, answer)
    build = {} if kind.name != "environments" or since(request, ASSETS_OF_2023) else {"Build-ID": uuid.uuid4().hex}
    return Response(201, answer, own_location(request) | build)


def _given(sent: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sent.items() if value is not None}


def delete_version(request: Request, sandbox: Backend) -> Response:
    """`DELETE W/{kind}/{name}/versions/{version}`."""
    existed = sandbox.store.get(_version_id(request)) is not None
    sandbox.store.delete(_version_id(request))
    return Response(200 if existed else 204)


def delete_container(request: Request, sandbox: Backend) -> Response:
    """`DELETE W/{kind}/{name}`: with all its versions; 204 when absent."""
    existed = sandbox.store.get(_container_id(request)) is not None
    sandbox.store.delete(_container_id(request))
    return Response(200 if existed else 204)


def start_pending_upload(request: Request, sandbox: Backend) -> Response:
    """`POST .../versions/{version}/startPendingUpload`: a place to put files, and leave to do so."""
    kind = _kind(request).name
    check_asset(kind, request.parameters["name"], request.parameters["version"])
    scope = ids.asset_scope(request.parameters)
    folder = f"{container(scope)}-{kind}-{request.parameters['name']}-{request.parameters['version']}".lower()
    uri = blob_url(sandbox.base_url, folder)
    answer = {
        "pendingUploadId": str(now_us()),
        "pendingUploadType": request.json().get("pendingUploadType") or "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": uri,
            "storageAccountArmId": f"{scope.split('/providers/', maxsplit=1)[0]}"
            "/providers/Microsoft.Storage/storageAccounts/sandbox",
            "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{sas(sandbox, folder)}"},
        },
    }
    return Response(200, answer)


def _viewed(request: Request, found: list[Resource]) -> list[Resource]:
    """Return those that `listViewType` selects: ActiveOnly (the default), ArchivedOnly or All."""
    view = request.query.get("listViewType", "ActiveOnly").lower()
    return [one for one in found if view == "all" or one.properties["isArchived"] == (view == "archivedonly")]


def _curated(request: Request) -> Response | None:
    """Return the answer for Microsoft's own environments, which every workspace has."""
    return curated_answer(request)


def _absent(request: Request) -> Response:
    names, kind = request.parameters, _kind(request).name
    if "version" in names:
        raise ArmError.not_found(f"{kind} version", f"{names['name']}:{names['version']}")
    raise ArmError.not_found(kind, names["name"])


def _kind(request: Request) -> AssetKind:
    return KINDS[request.parameters["kind"].lower()]


def _container_id(request: Request) -> str:
    return f"{ids.asset_scope(request.parameters)}/{_kind(request).name}/{request.parameters['name']}"


def _version_id(request: Request) -> str:
    return f"{_container_id(request)}/versions/{request.parameters['version']}"


def _new_container(request: Request, before: Resource | None, sent: dict[str, Any]) -> Resource:
    properties = EMPTY_CONTAINER | sent
    return Resource(
        _container_id(request),
        _kind(request).name,
        {"systemData": system_data(request, before), "properties": properties},
        sequence=before.sequence if before is not None else 0,
    )


def _render_container(found: Resource, sandbox: Backend) -> dict[str, Any]:
    versions = sandbox.store.children(found.id, f"{found.kind}/versions")
    numbers = [int(one.name) for one in versions if one.name.isdigit()]
    properties = {
        **found.properties,
        "latestVersion": versions[-1].name if versions else None,
        "nextVersion": str(max(numbers, default=0) + 1),
    }
    head = {"id": found.id, "name": found.name, "type": asset_type(found)}
    return {**head, **found.body, "properties": properties}


def _render_version(version: Resource, request: Request, sandbox: Backend) -> dict[str, Any]:
    all_versions = sandbox.store.children(ids.parent(version.id), version.kind)
    newest = max((one.sequence for one in all_versions if not _hidden(one)), default=0)
    return render(version, request, newest=version.sequence == newest)


def _hidden(version: Resource) -> bool:
    """Return whether lists leave a version out: anonymous ones, but for codes, which are found by their hash."""
    return bool(version.properties.get("isAnonymous")) and version.kind != "codes/versions"


def _check_fixed(kind: AssetKind, before: Resource, properties: dict[str, Any]) -> None:
    kept = normalized(kind.name, before.properties)
    for field in kind.fixed:
        if (kept.get(field) or None) != (properties.get(field) or None):
            name = f"{ids.name(ids.parent(before.id))}:{before.name}"
            raise ArmError(
                409,
                "Conflict",
                f"The {kind.name} version '{name}' exists and its {field} cannot be changed: register another.",
            )


_ASSET = WORKSPACE + "/{kind:codes|environments|models|data|components}/{name}"
_VERSION = _ASSET + "/versions/{version}"
HANDLED = (
    (Route("GET", _ASSET.removesuffix("/{name}"), "Assets_ListContainers", list_containers), list_containers),
    (Route("GET", _ASSET, "Assets_GetContainer", get_container), get_container),
    (Route("PUT", _ASSET, "Assets_PutContainer", put_container), put_container),
    (Route("DELETE", _ASSET, "Assets_DeleteContainer", delete_container), delete_container),
    (Route("GET", _ASSET + "/versions", "Assets_ListVersions", list_versions, known=RECORDED), list_versions),
    (Route("GET", _VERSION, "Assets_GetVersion", get_version, known=RECORDED), get_version),
    (Route("PUT", _VERSION, "Assets_PutVersion", put_version, known=RECORDED), put_version),
    (Route("DELETE", _VERSION, "Assets_DeleteVersion", delete_version), delete_version),
    (
        Route("POST", _VERSION + "/startPendingUpload", "Assets_StartPendingUpload", start_pending_upload),
        start_pending_upload,
    ),
)
ROUTES = tuple(route for route, _ in HANDLED)
