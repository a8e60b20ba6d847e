"""Handlers: a workspace's datastores and the permission to write to the default one.

Under Azure's own host names the default one has an account key, as recorded in 2022. Under the sandbox's own
address it has a shared access signature: azure-storage-blob finds no account to sign for in a loopback address.

Account and suffix are chosen so that azure-ai-ml, which composes `https://{account}.blob.{suffix}`, ends up
at this service's own port, with no name to resolve (`azure/ai/ml/_utils/_storage_utils.py`).
"""

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from opslib.sandbox.arm.api_versions import ASSETS_OF_2023, since
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import own_location, page, system_data
from opslib.sandbox.arm.routing import RECORDED, WORKSPACE, Route
from opslib.sandbox.core import azure_hosts, ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.storage.accounts import HOME_ACCOUNT, home_keys
from opslib.sandbox.storage.blob_files import container

DEFAULT = "workspaceblobstore"
OWN = (DEFAULT, "workspaceartifactstore")
"""Both are in one container here; on Azure the second one's is called `azureml`."""

KIND = "datastores"
_CREATED = "2024-01-01T00:00:00+00:00"
_LIFETIME_S = 24 * 3600


def list_datastores(request: Request, sandbox: Backend) -> Response:
    """`GET W/datastores`: the workspace's own two, and those that were made."""
    made = sandbox.store.children(ids.workspace_id(request.parameters), KIND)
    shown = [_own(request, sandbox, name) for name in OWN] + [_render(one, request) for one in made]
    return page(request, shown, "count")


def get_datastore(request: Request, sandbox: Backend) -> Response:
    """`GET W/datastores/{name}`."""
    name = request.parameters["name"].lower()
    return Response(200, _own(request, sandbox, name) if name in OWN else _render(_find(request, sandbox), request))


def put_datastore(request: Request, sandbox: Backend) -> Response:
    """`PUT W/datastores/{name}`: kept and shown; the sandbox reads assets from the workspace's own ones."""
    sent, before = request.json().get("properties"), sandbox.store.get(_id(request))
    if not isinstance(sent, dict) or not isinstance(sent.get("credentials"), dict):
        raise ArmError.invalid_request(
            "The required objects 'properties' and 'properties.credentials' are missing."
        )
    if request.parameters["name"].lower() in OWN:
        raise ArmError.not_built("another account for a workspace's own datastore")
    secrets = {"secrets": json.dumps(sent["credentials"].pop("secrets", None) or {})}
    body = {"properties": sent, "systemData": system_data(request, before)}
    stored = sandbox.store.put(Resource(_id(request), KIND, body, secrets))
    if before is not None:
        return Response(200, _render(stored, request))
    return Response(201, _render(stored, request), own_location(request))


def delete_datastore(request: Request, sandbox: Backend) -> Response:
    """`DELETE W/datastores/{name}`: 204 when absent."""
    existed = sandbox.store.get(_id(request)) is not None
    sandbox.store.delete(_id(request))
    return Response(200 if existed else 204)


def list_secrets(request: Request, sandbox: Backend) -> Response:
    """`POST W/datastores/{name}/listSecrets`: 400 where access is by identity."""
    if request.parameters["name"].lower() in OWN:
        if request.base_url != sandbox.base_url:
            return Response(200, {"secretsType": "AccountKey", "key": home_keys(sandbox)["key1"]})
        place = container(ids.workspace_id(request.parameters))
        return Response(200, {"secretsType": "Sas", "sasToken": sas(sandbox, place)})
    datastore = _find(request, sandbox)
    kind = str(datastore.properties["credentials"].get("credentialsType", "None"))
    if kind == "None":
        raise ArmError(400, "UserError", "No secrets for credentials of type None.")
    return Response(200, json.loads(datastore.secrets["secrets"]) | {"secretsType": kind})


def blob_url(base: str, folder: str) -> str:
    """Return a container's address, in path style."""
    return f"{base}/blob/sandbox/{folder}"


def sas(sandbox: Backend, folder: str) -> str:
    """Return a shared access signature for one container."""
    expires = str(int(time.time()) + _LIFETIME_S)
    values = {"sv": "2024-05-04", "sr": "c", "sp": "racwl", "se": expires, "sig": _sign(sandbox, folder, expires)}
    return urlencode(values)


def check_sas(sandbox: Backend, folder: str, query: str) -> bool:
    """Return whether a query string carries a good signature for a container."""
    values = {name: value[-1] for name, value in parse_qs(query).items()}
    expires, signature = values.get("se", ""), values.get("sig", "")
    fresh = expires.isdigit() and int(expires) > time.time()
    return fresh and hmac.compare_digest(signature.encode(), _sign(sandbox, folder, expires).encode())


def _sign(sandbox: Backend, folder: str, expires: str) -> str:
    message = f"{folder}\n{expires}".encode()
    return hmac.new(sandbox.identity_header.encode(), message, hashlib.sha256).hexdigest()


def _id(request: Request) -> str:
    return f"{ids.workspace_id(request.parameters)}/{KIND}/{request.parameters['name']}"


def _find(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_id(request))
    if found is None:
        message = f"Could not find datastore: {request.parameters['name']}."
        raise ArmError(404, "UserError", message, inner="NotFoundError")
    return found


def _own(request: Request, sandbox: Backend, name: str) -> dict[str, Any]:
    """Return one of the workspace's own datastores, as `_render` shows another."""
    workspace = ids.workspace_id(request.parameters)
    named = request.base_url != sandbox.base_url  # who came by Azure's own name finds storage under Azure's own
    authority = sandbox.base_url.split("://", 1)[1]
    created = {"createdAt": _CREATED, "createdBy": "sandbox", "createdByType": "Application"}
    changed = {"lastModifiedAt": _CREATED, "lastModifiedBy": "sandbox", "lastModifiedByType": "Application"}
    properties = {
        "credentials": {"credentialsType": "AccountKey" if named else "Sas"},
        "datastoreType": "AzureBlob",
        "accountName": HOME_ACCOUNT if named else quote(f"{authority}/blob", safe="/:"),
        "containerName": container(workspace),
        "endpoint": azure_hosts.STORAGE_SUFFIX if named else azure_hosts.SANDBOX_STORAGE_SUFFIX,
        "protocol": "https",
        "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity",
    }
    body = {"properties": properties, "systemData": {**created, **changed}}
    return _render(Resource(f"{workspace}/{KIND}/{name}", KIND, body), request)


def _render(datastore: Resource, request: Request) -> dict[str, Any]:
    names = request.parameters
    place = {"subscriptionId": names["subscription"], "resourceGroup": names["group"]}
    properties = {
        "description": None,
        "tags": None,
        "properties": None,
        "endpoint": azure_hosts.STORAGE_SUFFIX,
        "protocol": "https",
        "serviceDataAccessAuthIdentity": "None",
        **datastore.properties,
        "isDefault": datastore.name == DEFAULT,
        **(place if since(request, ASSETS_OF_2023) else {}),
    }
    head = {"id": datastore.id, "name": datastore.name, "type": f"{ids.PROVIDER}/workspaces/{KIND}"}
    return {**head, "properties": properties, "systemData": datastore.body["systemData"]}


ROUTES = (
    Route("GET", WORKSPACE + "/datastores", "Datastores_List", list_datastores),
    Route("DELETE", WORKSPACE + "/datastores/{name}", "Datastores_Delete", delete_datastore, known=RECORDED),
    Route("GET", WORKSPACE + "/datastores/{name}", "Datastores_Get", get_datastore, known=RECORDED),
    Route("PUT", WORKSPACE + "/datastores/{name}", "Datastores_CreateOrUpdate", put_datastore, known=RECORDED),
    Route(
        "POST", WORKSPACE + "/datastores/{name}/listSecrets", "Datastores_ListSecrets", list_secrets, known=RECORDED
    ),
)
