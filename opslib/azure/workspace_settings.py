"""What of a workspace protects its endpoints, and where it keeps their artifacts."""

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION
from opslib.model.surroundings import WorkspaceSettings


def read_workspace_settings(workspace: Workspace) -> WorkspaceSettings:
    """Read the workspace's network settings, storage account and registry."""
    row = workspace.arm.get(workspace.scope.workspace_id, API_VERSION)
    properties = row["properties"]
    return WorkspaceSettings(
        id=str(row["id"]),
        public_network_access=str(properties.get("publicNetworkAccess") or "Enabled"),
        isolation=str((properties.get("managedNetwork") or {}).get("isolationMode") or ""),
        storage=str(properties.get("storageAccount") or ""),
        registry=str(properties.get("containerRegistry") or ""),
    )
