"""Handlers: the keys of a workspace, and its diagnosis.

Source: Azure Machine Learning REST API, "Workspaces", 2023-10-01 and 2024-10-01: List Keys, List Storage
Account Keys, Resync Keys, Diagnose.
"""

import uuid

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import ASSUMED, WORKSPACE, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints.workspaces import render, require
from opslib.sandbox.storage.accounts import account_named, home_keys

_RENAMED = "2024-10"
_CHECKS = (
    *("applicationInsightsResults", "containerRegistryResults", "dnsResolutionResults", "keyVaultResults"),
    *("networkSecurityRuleResults", "otherResults", "resourceLockResults", "storageAccountResults"),
    "userDefinedRouteResults",
)


def list_keys(request: Request, sandbox: Backend) -> Response:
    """`POST W/listKeys`: that of its storage account; it has no other."""
    shown = _properties(request, sandbox)
    account = "userStorageArmId" if request.api_version >= _RENAMED else "userStorageResourceId"
    insights = str(shown["applicationInsights"])
    return Response(
        200,
        {
            "userStorageKey": _storage_key(request, sandbox),
            account: shown["storageAccount"],
            "appInsightsInstrumentationKey": str(uuid.uuid5(uuid.NAMESPACE_URL, insights.lower())),
        },
    )


def list_storage_keys(request: Request, sandbox: Backend) -> Response:
    """`POST W/listStorageAccountKeys`."""
    return Response(200, {"userStorageKey": _storage_key(request, sandbox)})


def resync_keys(request: Request, sandbox: Backend) -> Response:
    """`POST W/resyncKeys`: nothing is out of step."""
    require(ids.workspace_id(request.parameters), sandbox)
    return Response(200)


def diagnose(request: Request, sandbox: Backend) -> Response:
    """`POST W/diagnose`: every check finds nothing."""
    require(ids.workspace_id(request.parameters), sandbox)
    return Response(200, {"value": {name: [] for name in _CHECKS}})


def _properties(request: Request, sandbox: Backend) -> dict[str, object]:
    workspace = ids.workspace_id(request.parameters)
    require(workspace, sandbox)
    properties: dict[str, object] = render(workspace, sandbox)["properties"]
    return properties


def _storage_key(request: Request, sandbox: Backend) -> str:
    """Return the first key of the workspace's account: its own, or the one that all workspaces share."""
    name = ids.name(str(_properties(request, sandbox)["storageAccount"]))
    account = account_named(sandbox.store, name)
    keys = home_keys(sandbox) if account is None else account.secrets
    return keys["key1"]


ROUTES = (
    Route("POST", WORKSPACE + "/listKeys", "Workspaces_ListKeys", list_keys),
    Route("POST", WORKSPACE + "/listStorageAccountKeys", "Workspaces_ListStorageAccountKeys", list_storage_keys),
    Route("POST", WORKSPACE + "/resyncKeys", "Workspaces_ResyncKeys", resync_keys, known=ASSUMED),
    Route("POST", WORKSPACE + "/diagnose", "Workspaces_Diagnose", diagnose, known=ASSUMED),
)
