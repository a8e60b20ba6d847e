"""Handlers: registries, their discovery, and the assets in them.

azure-ai-ml finds a registry by its discovery address, and then sends ARM's own paths to the address that is found
there, below `mferp/managementfrontend` (`azure/ai/ml/_utils/_registry_utils.py`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import OPERATOR, TENANT_ID
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page, system_data
from opslib.sandbox.arm.routing import ASSUMED, GROUP, MACHINE_LEARNING, SUBSCRIPTION, Auth, Known, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints import assets
from opslib.sandbox.endpoints.curated_answers import curated_answer
from opslib.sandbox.endpoints.subscriptions import known_workspaces
from opslib.sandbox.endpoints.workspaces import workspace_guid
from opslib.sandbox.instances.curated import REGISTRY as MICROSOFTS
from opslib.sandbox.instances.curated import WELL_KNOWN
from opslib.sandbox.instances.references import find_asset, not_here, registry_named
from opslib.sandbox.storage.blob_files import container, locate
from opslib.sandbox.storage.datastores import blob_url, sas

KIND = "registries"
MICROSOFTS_GROUP = "azureml-system"


def list_registries(request: Request, sandbox: Backend) -> Response:
    """`GET .../registries` of a group or a subscription: one's own; Microsoft's are in no subscription of one's."""
    prefix = ids.key(request.path.split("/providers/", 1)[0]) + "/"
    chosen = [one for one in sandbox.store.all(KIND) if one.key.startswith(prefix)]
    return page(request, [_render(one, sandbox) for one in chosen], "$top")


def get_registry(request: Request, sandbox: Backend) -> Response:
    """`GET .../registries/{registry}`."""
    return Response(200, _render(_find(request, sandbox), sandbox))


def put_registry(request: Request, sandbox: Backend) -> Response:
    """`PUT .../registries/{registry}`: it is there at once; names are unique."""
    name, body = request.parameters["registry"], request.json()
    before, same = sandbox.store.get(_id(request)), registry_named(sandbox.store, name)
    if name.lower() in WELL_KNOWN or (same is not None and before is None):
        raise ArmError.validation("Name", f"There is already a registry with the name '{name}': choose another.")
    kept = {
        "location": str(body.get("location") or sandbox.settings.location).lower().replace(" ", ""),
        "tags": body.get("tags") or {},
        "systemData": system_data(request, before),
        "properties": body.get("properties") or {},
    }
    stored = Resource(_id(request), KIND, kept) if before is None else replace(before, body=kept)
    return Response(201 if before is None else 200, _render(sandbox.store.put(stored), sandbox))


def patch_registry(request: Request, sandbox: Backend) -> Response:
    """`PATCH .../registries/{registry}`: its tags."""
    found = _find(request, sandbox)
    tags = {**found.body["tags"], **(request.json().get("tags") or {})}
    return Response(200, _render(sandbox.store.put(replace(found, body={**found.body, "tags": tags})), sandbox))


def delete_registry(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../registries/{registry}`: with its assets; 204 when absent."""
    existed = sandbox.store.get(_id(request)) is not None
    sandbox.store.delete(_id(request))
    return Response(200 if existed else 204)


def discover(request: Request, sandbox: Backend) -> Response:
    """`GET /registrymanagement/v1.0/registries/{registry}/discovery`: where a registry is served."""
    name = request.parameters["registry"]
    found = registry_named(sandbox.store, name)
    if found is None and name.lower() == MICROSOFTS:
        found = _microsofts(sandbox)
    if found is None and name.lower() in WELL_KNOWN:
        raise not_here(f"the registry '{name}'")
    if found is None:
        raise ArmError(
            404,
            "UserError",
            f"The registry '{name}' was not found. Create it first: az ml registry create, or PUT "
            f"{_id_of(sandbox, name)}.",
        )
    parts, location = found.id.split("/"), found.body["location"]
    answer = {
        "registryName": found.name,
        "tenantId": TENANT_ID,
        "primaryRegion": location,
        "regions": [location],
        "subscriptionId": parts[2],
        "resourceGroup": parts[4],
        "workspaceName": None,
        "primaryRegionResourceProviderUri": f"{request.base_url}/",
        "registryFqdns": {location: {"uri": f"{request.base_url}/"}},
    }
    return Response(200, answer)


def reserve_upload(request: Request, sandbox: Backend) -> Response:
    """`PUT .../tempdatarefs/{name}/versions/{version}`: a place to put an asset's files."""
    registry, names = _find(request, sandbox), request.parameters
    asset = str(request.json().get("assetId") or "")
    kind = asset.split("/")[4] if asset.count("/") > 4 else "models"
    folder = f"{container(registry.id)}-{kind}-{names['name']}-{names['version']}".lower()
    return Response(200, {"assetId": asset, **_reference(registry, blob_url(sandbox.base_url, folder), sandbox)})


def read_upload(request: Request, sandbox: Backend) -> Response:
    """`POST .../datarefs/{name}/versions/{version}`: leave to read an asset's files."""
    registry, body = _find(request, sandbox), request.json()
    return Response(200, _reference(registry, str(body.get("blobUri") or ""), sandbox))


def import_asset(request: Request, sandbox: Backend) -> Response:
    """`POST .../import`: a workspace's asset is copied into the registry, as `az ml model share` does."""
    registry, sent = _find(request, sandbox), request.json().get("properties") or {}
    source = str(sent.get("sourceAssetId") or "")
    parts = source.split("/")
    kind = parts[parts.index("versions") - 2].lower() if "versions" in parts[2:] else ""
    if kind not in assets.KINDS:
        raise ArmError.bad_request(f"The asset '{source}' to import is no version of a model or an environment.")
    workspace = next((one for one in known_workspaces(sandbox) if workspace_guid(one) in source), "")
    found = find_asset(sandbox.store, source, kind, workspace)
    name = str(sent.get("destinationName") or ids.name(ids.parent(found.id)))
    version = str(sent.get("destinationVersion") or found.name)
    properties = dict(found.properties)
    uri = {"models": "modelUri", "codes": "codeUri", "data": "dataUri"}.get(kind, "")
    if properties.get(uri):  # where the files are, whatever workspace its address was relative to
        place = locate(str(properties[uri]), ids.parent(ids.parent(found.id)))
        properties[uri] = blob_url(sandbox.base_url, place)
    target = Resource(f"{registry.id}/{kind}/{name}/versions/{version}", found.kind, found.body)
    with sandbox.store.transaction():
        if sandbox.store.get(ids.parent(target.id)) is None:
            body = {"systemData": system_data(request, None), "properties": assets.EMPTY_CONTAINER}
            sandbox.store.put(Resource(f"{registry.id}/{kind}/{name}", kind, body))
        sandbox.store.put(target.with_properties(**properties))
    return Response(200)  # azure-ai-ml reads the copy after an empty answer, and fails on another


def within(handler: Callable[[Request, Backend], Response]) -> Callable[[Request, Backend], Response]:
    """Return a handler of assets for those of a registry, which must exist; Microsoft's has its own answers."""

    def handle(request: Request, sandbox: Backend) -> Response:
        name = request.parameters["registry"].lower()
        if sandbox.store.get(_id(request)) is None:
            curated = curated_answer(request)
            if curated is not None:
                return curated
            if name in WELL_KNOWN:
                raise not_here(f"the registry '{name}'")
        _find(request, sandbox)
        return handler(request, sandbox)

    handle.__doc__ = handler.__doc__
    return handle


def _reference(registry: Resource, uri: str, sandbox: Backend) -> dict[str, Any]:
    folder = locate(uri, registry.id).split("/")[0]
    account = (
        f"{registry.id.split('/providers/', maxsplit=1)[0]}/providers/Microsoft.Storage/storageAccounts/sandbox"
    )
    credential = {"credentialType": "SAS", "sasUri": f"{uri}?{sas(sandbox, folder)}"}
    return {
        "blobReferenceForConsumption": {
            "blobUri": uri,
            "storageAccountArmId": account,
            "credential": credential,
        }
    }


def _id(request: Request) -> str:
    return ids.asset_scope(request.parameters)


def _id_of(sandbox: Backend, name: str) -> str:
    group = f"/subscriptions/{sandbox.settings.subscription_id}/resourceGroups/{sandbox.settings.resource_group}"
    return f"{group}{MACHINE_LEARNING}/registries/{name}"


def _microsofts(sandbox: Backend) -> Resource:
    group = f"/subscriptions/{sandbox.settings.subscription_id}/resourceGroups/{MICROSOFTS_GROUP}"
    body = {"location": sandbox.settings.location, "tags": {}, "properties": {}}
    return Resource(f"{group}{MACHINE_LEARNING}/registries/{MICROSOFTS}", KIND, body)


def _find(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_id(request))
    if found is None:
        raise ArmError.not_found("registry", request.parameters["registry"])
    return found


def _render(registry: Resource, sandbox: Backend) -> dict[str, Any]:
    body, group = registry.body, registry.id.split("/providers/", maxsplit=1)[0]
    authority = sandbox.base_url.split("://", 1)[1]
    return {
        "id": registry.id,
        "name": registry.name,
        "type": f"{ids.PROVIDER}/registries",
        "identity": {"type": "SystemAssigned", "principalId": OPERATOR.object_id, "tenantId": TENANT_ID},
        **body,
        "properties": {
            "regionDetails": [{"location": body["location"], "acrDetails": [], "storageAccountDetails": []}],
            "publicNetworkAccess": "Enabled",
            "intellectualPropertyPublisher": None,
            **body["properties"],
            "discoveryUrl": f"{sandbox.base_url}/registrymanagement/v1.0/registries/{registry.name}/discovery",
            "managedResourceGroup": {"resourceId": f"{group}-{registry.name}"},
            "mlFlowRegistryUri": f"azureml://{authority}/mlflow/v1.0{registry.id}",
        },
    }


REGISTRY = GROUP + MACHINE_LEARNING + "/registries/{registry}"
_DISCOVERY = "/registrymanagement/v1.0/registries/{registry}/discovery"
ROUTES = (
    Route("GET", SUBSCRIPTION + MACHINE_LEARNING + "/registries", "Registries_ListBySubscription", list_registries),
    Route("GET", GROUP + MACHINE_LEARNING + "/registries", "Registries_List", list_registries),
    Route("GET", REGISTRY, "Registries_Get", get_registry),
    Route("PUT", REGISTRY, "Registries_CreateOrUpdate", put_registry, known=ASSUMED),
    Route("PATCH", REGISTRY, "Registries_Update", patch_registry),
    Route("DELETE", REGISTRY, "Registries_Delete", delete_registry, known=ASSUMED),
    Route("GET", _DISCOVERY, "Registries_Discover", discover, Auth.DISCOVERY),
    Route("PUT", REGISTRY + "/tempdatarefs/{name}/versions/{version}", "Registries_ReserveUpload", reserve_upload),
    Route("POST", REGISTRY + "/datarefs/{name}/versions/{version}", "Registries_ReadUpload", read_upload),
    Route("POST", REGISTRY + "/import", "Registries_ImportAsset", import_asset, known=ASSUMED),
    *(
        replace(
            route,
            template=route.template.replace("/workspaces/{workspace}", "/registries/{registry}"),
            operation=route.operation.replace("Assets_", "RegistryAssets_"),
            handler=within(handler),
            known=Known.DOCUMENTED,
        )
        for route, handler in assets.HANDLED
    ),
)
