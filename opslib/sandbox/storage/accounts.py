"""Handlers: storage accounts, their keys and containers, as far as scoring code and uploads meet them.

The account `sandbox`, in which workspaces keep their assets, is in every resource group, and each of its
containers exists as soon as it is named; lists show it where a workspace is in use. Other accounts must be created.
Source: Microsoft Learn, Storage resource provider REST API (storage accounts, blob containers), 2023-05-01.
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import GROUP, SUBSCRIPTION, Route
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.azure_hosts import BLOB_SUFFIX
from opslib.sandbox.core.context import Backend

ACCOUNTS, CONTAINERS = "storageAccounts", "blobContainers"
HOME_ACCOUNT = "sandbox"
_NAME = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")


def list_accounts(request: Request, sandbox: Backend) -> Response:
    """`GET .../providers/Microsoft.Storage/storageAccounts` of a subscription or a group."""
    scope = request.path.lower().split("/providers/", 1)[0]
    homes = [_account_in(group) for group in _groups_in_use(sandbox) if f"{group.lower()}/".startswith(scope + "/")]
    made = [one for one in sandbox.store.all(ACCOUNTS) if one.key.startswith(scope + "/")]
    return Response(200, {"value": [*(_home(one, sandbox) for one in homes), *map(_render, made)]})


def _groups_in_use(sandbox: Backend) -> list[str]:
    """Return the group of config.json, and those with a workspace or an endpoint."""
    settings = sandbox.settings
    found = [f"/subscriptions/{settings.subscription_id}/resourceGroups/{settings.resource_group}"]
    for kind in ("workspaces", "onlineEndpoints"):
        found += [one.id.split("/providers/", maxsplit=1)[0] for one in sandbox.store.all(kind)]
    return list({group.lower(): group for group in reversed(found)}.values())[::-1]


def _account_in(group: str) -> str:
    return f"{group}/providers/Microsoft.Storage/storageAccounts/{HOME_ACCOUNT}"


def get_account(request: Request, sandbox: Backend) -> Response:
    """`GET .../storageAccounts/{account}`."""
    if request.parameters["account"] == HOME_ACCOUNT:
        return Response(200, _home(_account_id(request.parameters), sandbox))
    return Response(200, _render(_stored(request, sandbox)))


def put_account(request: Request, sandbox: Backend) -> Response:
    """`PUT .../storageAccounts/{account}`: names are unique in all of Azure."""
    name, sent = request.parameters["account"], request.json()
    if not _NAME.fullmatch(name):
        raise ArmError(
            400,
            "AccountNameInvalid",
            f"{name} is not a valid storage account name. Storage account name must be between 3 and 24 "
            "characters in length and use numbers and lower-case letters only.",
        )
    before = account_named(sandbox.store, name)
    if name == HOME_ACCOUNT or (before is not None and before.key != ids.key(_account_id(request.parameters))):
        raise ArmError(409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")
    body = {
        "location": sent.get("location") or sandbox.settings.location,
        "kind": sent.get("kind") or "StorageV2",
        "sku": sent.get("sku") or {"name": "Standard_LRS"},
        "tags": sent.get("tags") or {},
        "properties": {**(sent.get("properties") or {}), "provisioningState": "Succeeded"},
    }
    kept = before.secrets if before is not None else {key: _new_key() for key in ("key1", "key2")}
    return Response(
        200, _render(sandbox.store.put(Resource(_account_id(request.parameters), ACCOUNTS, body, kept)))
    )


def delete_account(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../storageAccounts/{account}`, with its containers and blobs."""
    account = sandbox.store.get(_account_id(request.parameters))
    if account is None:
        return Response(204)
    with sandbox.store.transaction():
        for blob in sandbox.store.blobs(f"{account.name}."):
            sandbox.store.delete_blob(blob.name)
        for one in sandbox.store.children(account.id, CONTAINERS):
            sandbox.store.delete(one.id)
        sandbox.store.delete(account.id)
    return Response(200)


def list_keys(request: Request, sandbox: Backend) -> Response:
    """`POST .../storageAccounts/{account}/listKeys`."""
    name = request.parameters["account"]
    found = home_keys(sandbox) if name == HOME_ACCOUNT else _stored(request, sandbox).secrets
    keys = [{"keyName": key, "value": value, "permissions": "FULL"} for key, value in found.items()]
    return Response(200, {"keys": keys})


def get_container(request: Request, sandbox: Backend) -> Response:
    """`GET .../blobServices/default/containers/{container}`."""
    found = sandbox.store.get(_container_id(request))
    if found is None:
        raise ArmError(404, "ContainerNotFound", "The specified container does not exist.")
    return Response(200, _render_container(found))


def put_container(request: Request, sandbox: Backend) -> Response:
    """`PUT .../blobServices/default/containers/{container}`."""
    _stored(request, sandbox)
    before = sandbox.store.get(_container_id(request))
    made = add_container(sandbox.store, ids.parent(_container_id(request)), request.parameters["container"])
    return Response(201 if before is None else 200, _render_container(made))


def account_named(store: Store, name: str) -> Resource | None:
    """Return the account with a name, wherever it is."""
    return next((one for one in store.all(ACCOUNTS) if one.name == name), None)


def add_container(store: Store, account_id: str, name: str) -> Resource:
    """Make a container in an account."""
    if not _CONTAINER.fullmatch(name):
        raise ArmError(400, "InvalidResourceName", f"The specified resource name '{name}' is invalid.")
    return store.put(Resource(f"{account_id}/{CONTAINERS}/{name}", CONTAINERS, {"properties": {}}))


def home_keys(sandbox: Backend) -> dict[str, str]:
    """Return the keys of the account in which workspaces keep their assets."""
    secret = sandbox.identity_header.encode()
    return {
        key: base64.b64encode(hmac.new(secret, key.encode(), hashlib.sha512).digest()).decode()
        for key in ("key1", "key2")
    }


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _account_id(names: Any) -> str:
    group = f"/subscriptions/{names['subscription']}/resourceGroups/{names['group']}"
    return f"{group}/providers/Microsoft.Storage/{ACCOUNTS}/{names['account']}"


def _container_id(request: Request) -> str:
    return f"{_account_id(request.parameters)}/{CONTAINERS}/{request.parameters['container']}"


def _stored(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(_account_id(request.parameters))
    if found is None:
        raise ArmError.not_found("storageAccount", request.parameters["account"])
    return found


def _home(account_id: str, sandbox: Backend) -> dict[str, Any]:
    body = {
        "location": sandbox.settings.location,
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "tags": {},
        "properties": {"provisioningState": "Succeeded"},
    }
    return _render(Resource(account_id, ACCOUNTS, body))


def _render(account: Resource) -> dict[str, Any]:
    shown = {
        "primaryEndpoints": {"blob": f"https://{account.name}.{BLOB_SUFFIX}/"},
        "primaryLocation": account.body["location"],
        "statusOfPrimary": "available",
    }
    head = {"id": account.id, "name": account.name, "type": f"Microsoft.Storage/{ACCOUNTS}"}
    return {**head, **account.body, "properties": {**account.properties, **shown}}


def _render_container(one: Resource) -> dict[str, Any]:
    account = ids.parent(one.id)
    return {
        "id": f"{account}/blobServices/default/containers/{one.name}",
        "name": one.name,
        "type": f"Microsoft.Storage/{ACCOUNTS}/blobServices/containers",
        "properties": {"publicAccess": "None", "leaseState": "Available", "hasLegalHold": False},
    }


_ACCOUNTS = "/providers/Microsoft.Storage/storageAccounts"
_ACCOUNT = GROUP + _ACCOUNTS + "/{account}"
_CONTAINERS = _ACCOUNT + "/blobServices/default/containers"
ROUTES = (
    Route("GET", SUBSCRIPTION + _ACCOUNTS, "StorageAccounts_List", list_accounts),
    Route("GET", GROUP + _ACCOUNTS, "StorageAccounts_ListByResourceGroup", list_accounts),
    Route("GET", _ACCOUNT, "StorageAccounts_GetProperties", get_account),
    Route("PUT", _ACCOUNT, "StorageAccounts_Create", put_account),
    Route("DELETE", _ACCOUNT, "StorageAccounts_Delete", delete_account),
    Route("POST", _ACCOUNT + "/listKeys", "StorageAccounts_ListKeys", list_keys),
    Route("POST", _ACCOUNT + "/regenerateKey", "StorageAccounts_RegenerateKey", None),
    Route("GET", _CONTAINERS + "/{container}", "BlobContainers_Get", get_container),
    Route("PUT", _CONTAINERS + "/{container}", "BlobContainers_Create", put_container),
)
