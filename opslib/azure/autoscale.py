"""Autoscale settings, which override a manual scale."""

from opslib.azure.connect import Workspace

AUTOSCALE_API_VERSION = "2022-10-01"


def autoscale_settings(workspace: Workspace, deployment_id: str) -> tuple[str, ...]:
    """Return the names of the enabled autoscale settings that target a deployment."""
    scope = workspace.scope
    path = (
        f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
        "/providers/Microsoft.Insights/autoscaleSettings"
    )
    return tuple(
        setting["name"]
        for setting in workspace.arm.list(path, AUTOSCALE_API_VERSION)
        if setting["properties"].get("enabled")
        and str(setting["properties"].get("targetResourceUri", "")).lower() == deployment_id.lower()
    )
