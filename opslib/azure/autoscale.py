"""Autoscale settings, which override a manual scale."""

from typing import Any

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.resource import read_resource
from opslib.model import AutoscaleSetting, Endpoint

AUTOSCALE_API_VERSION = "2022-10-01"


def read_autoscale(workspace: Workspace, endpoint: Endpoint) -> tuple[AutoscaleSetting, ...]:
    """Read the enabled autoscale settings of an endpoint's deployments."""
    scope = workspace.scope
    path = (
        f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
        "/providers/Microsoft.Insights/autoscaleSettings"
    )
    names = {_key(deployment.id): deployment.name for deployment in endpoint.deployments}
    rows = [read_resource(row, path) for row in workspace.arm.list(path, AUTOSCALE_API_VERSION)]
    return tuple(
        _setting(row, name)
        for row in rows
        if row["properties"].get("enabled")
        and (name := names.get(_key(row["properties"].get("targetResourceUri"))))
    )


def _key(arm_id: Any) -> str:
    """Return an ARM id as ids are compared; Azure Monitor answers with them in other cases than were sent."""
    return str(arm_id or "").strip("/").lower()


def _setting(row: Json, deployment: str) -> AutoscaleSetting:
    capacities = [profile.get("capacity") or {} for profile in row["properties"].get("profiles") or []]
    return AutoscaleSetting(
        name=str(row["name"]),
        deployment=deployment,
        minimum=min((int(one.get("minimum") or 0) for one in capacities), default=0),
        maximum=max((int(one.get("maximum") or 0) for one in capacities), default=0),
    )
