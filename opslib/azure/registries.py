"""Assets of registries: where a registry is served, and which versions it has.

A reference names a registry without subscription and group. Azure ML's discovery service gives both, and the
address of the registry's data plane, which takes ARM's paths (Microsoft Learn, "Deployment templates", step 2;
azure-ai-ml, `_registry_utils.py`).
"""

import os
from urllib.parse import urlsplit

from opslib.azure.arm import ArmClient, Json
from opslib.azure.connect import Workspace
from opslib.errors import UnexpectedAnswer

API_VERSION = "2021-10-01-dataplanepreview"
DISCOVERY_VARIABLE = "REGISTRY_DISCOVERY_ENDPOINT_URL"
"""The environment variable by which azure-ai-ml is pointed at another discovery service."""

_DISCOVERY = {
    "https://management.azure.com": "https://eastus.api.azureml.ms",
    "https://management.chinacloudapi.cn": "https://chinaeast2.api.ml.azure.cn",
    "https://management.usgovcloudapi.net": "https://usgovarizona.api.ml.azure.us",
}
"""Discovery service of each cloud. Source: azure-ai-ml, `_azure_environments.py`."""

_OF_CLOUDS = (".azureml.ms", ".azureml.net", ".ml.azure.cn", ".ml.azure.us")
"""Domains of Azure ML's data plane, which may be sent a token."""


def newest_version(workspace: Workspace, registry: str, kind: str, name: str) -> str:
    """Return the version of an asset that was registered last; "" where it has none.

    Raises
    ------
    AzureError
        If the registry does not exist or cannot be read.
    """
    client, path = _open(workspace, registry)
    ordered = {"$orderBy": "createdtime desc", "$top": "1"}
    found = client.get(f"{path}/{kind}/{name}/versions", API_VERSION, **ordered)
    return next((str(row["name"]) for row in found.get("value") or []), "")


def read_version(workspace: Workspace, registry: str, kind: str, name: str, version: str) -> Json:
    """Read one version of an asset.

    Raises
    ------
    NotFound
        If the registry or the version does not exist.
    AzureError
        If it cannot be read.
    """
    client, path = _open(workspace, registry)
    return client.get(f"{path}/{kind}/{name}/versions/{version}", API_VERSION)


def _open(workspace: Workspace, registry: str) -> tuple[ArmClient, str]:
    """Return a client of a registry's data plane, and the registry's path there."""
    resource_manager = workspace.scope.resource_manager
    address = os.environ.get(DISCOVERY_VARIABLE, "").rstrip("/") or _DISCOVERY.get(resource_manager, "")
    if not is_own_address(address, resource_manager):
        raise UnexpectedAnswer(
            f"the registry {registry} cannot be looked up: {DISCOVERY_VARIABLE} is {address or 'not set'}, "
            f"expected an address of {resource_manager}'s cloud. Nothing was sent"
        )
    client = _client(workspace, address)
    found = client.get(f"/registrymanagement/v1.0/registries/{registry}/discovery", "v1.0")
    served = str(found.get("primaryRegionResourceProviderUri") or "").rstrip("/")
    if not is_own_address(served, resource_manager):
        raise UnexpectedAnswer(
            f"the registry {registry} is served at {served or 'no address'}, which is not in {resource_manager}'s "
            "cloud: nothing was sent there. Check for a proxy that rewrites answers"
        )
    path = (
        f"/mferp/managementfrontend/subscriptions/{found.get('subscriptionId')}/resourceGroups/"
        f"{found.get('resourceGroup')}/providers/Microsoft.MachineLearningServices/registries/{registry}"
    )
    return _client(workspace, served), path


def is_own_address(address: str, resource_manager: str) -> bool:
    """Return whether an address is the cloud's own: the workspace's host, or Azure ML's in a public cloud."""
    host = urlsplit(address)
    if host.scheme != "https":
        return False
    if host.netloc == urlsplit(resource_manager).netloc:
        return True
    return resource_manager in _DISCOVERY and (host.hostname or "").endswith(_OF_CLOUDS)


def _client(workspace: Workspace, address: str) -> ArmClient:
    if address == workspace.scope.resource_manager:
        return workspace.arm
    return ArmClient(address, workspace.credential, f"{workspace.scope.resource_manager}/.default")
