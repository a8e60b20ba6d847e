"""Handlers: the workspace's default datastore and the permission to write to it.

Account and suffix are chosen so that azure-ai-ml, which composes `https://{account}.blob.{suffix}`, ends up
at this service's own port, with no name to resolve (`azure/ai/ml/_utils/_storage_utils.py`).
"""

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import WORKSPACE, Route
from opslib.sandbox.core import azure_hosts, ids
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.storage.blob_files import container

DEFAULT = "workspaceblobstore"
_LIFETIME_S = 24 * 3600


def list_datastores(request: Request, sandbox: Sandbox) -> Response:
    """`GET W/datastores`."""
    return page(request, [_datastore(request, sandbox)], "count")


def get_datastore(request: Request, sandbox: Sandbox) -> Response:
    """`GET W/datastores/{name}`: only the default one exists."""
    _require_default(request)
    return Response(200, _datastore(request, sandbox))


def list_secrets(request: Request, sandbox: Sandbox) -> Response:
    """`POST W/datastores/{name}/listSecrets`."""
    _require_default(request)
    place = container(ids.workspace_id(request.parameters))
    return Response(200, {"secretsType": "Sas", "sasToken": sas(sandbox, place)})


def blob_url(base: str, folder: str) -> str:
    """Return a container's address, in path style."""
    return f"{base}/blob/sandbox/{folder}"


def sas(sandbox: Sandbox, folder: str) -> str:
    """Return a shared access signature for one container."""
    expires = str(int(time.time()) + _LIFETIME_S)
    values = {"sv": "2024-05-04", "sr": "c", "sp": "racwl", "se": expires, "sig": _sign(sandbox, folder, expires)}
    return urlencode(values)


def check_sas(sandbox: Sandbox, folder: str, query: str) -> bool:
    """Return whether a query string carries a good signature for a container."""
    values = {name: value[-1] for name, value in parse_qs(query).items()}
    expires, signature = values.get("se", ""), values.get("sig", "")
    fresh = expires.isdigit() and int(expires) > time.time()
    return fresh and hmac.compare_digest(signature.encode(), _sign(sandbox, folder, expires).encode())


def _sign(sandbox: Sandbox, folder: str, expires: str) -> str:
    message = f"{folder}\n{expires}".encode()
    return hmac.new(sandbox.identity_header.encode(), message, hashlib.sha256).hexdigest()


def _require_default(request: Request) -> None:
    if request.parameters["name"].lower() != DEFAULT:
        raise ArmError.not_found("datastore", request.parameters["name"])


def _datastore(request: Request, sandbox: Sandbox) -> dict[str, Any]:
    workspace = ids.workspace_id(request.parameters)
    authority = sandbox.base_url.split("://", 1)[1]
    account, suffix = quote(f"{authority}/blob", safe="/:"), azure_hosts.SANDBOX_STORAGE_SUFFIX
    if request.base_url != sandbox.base_url:  # who came by Azure's own name finds storage under Azure's own
        account, suffix = "sandbox", azure_hosts.STORAGE_SUFFIX
    return {
        "id": f"{workspace}/datastores/{DEFAULT}",
        "name": DEFAULT,
        "type": f"{ids.PROVIDER}/workspaces/datastores",
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": account,
            "containerName": container(workspace),
            "endpoint": suffix,
            "protocol": "https",
            "credentials": {"credentialsType": "Sas"},
            "isDefault": True,
            "serviceDataAccessAuthIdentity": "None",
            "tags": {},
            "properties": {},
        },
        "systemData": {
            "createdAt": "2024-01-01T00:00:00.0000000Z",
            "createdBy": "sandbox",
            "createdByType": "Application",
        },
    }


ROUTES = (
    Route("GET", WORKSPACE + "/datastores", "Datastores_List", list_datastores),
    Route("GET", WORKSPACE + "/datastores/{name}", "Datastores_Get", get_datastore),
    Route("PUT", WORKSPACE + "/datastores/{name}", "Datastores_CreateOrUpdate", None),
    Route("POST", WORKSPACE + "/datastores/{name}/listSecrets", "Datastores_ListSecrets", list_secrets),
)
