"""Autoscale settings, which override a manual scale."""

from typing import Any

from opslib.autoscale.plan import AutoscaleStep
from opslib.autoscale.setting import ScaleSetting, read_setting
from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.resource import read_resource
from opslib.errors import Drift, NotFound
from opslib.model import AutoscaleSetting, Endpoint, Receipt

AUTOSCALE_API_VERSION = "2022-10-01"


DEADLINE_S = 60.0
"""Longest wait for a setting to be written [seconds]."""


def read_settings(workspace: Workspace, endpoint: Endpoint) -> tuple[ScaleSetting, ...]:
    """Read all autoscale settings of an endpoint, disabled ones and those of deleted deployments included."""
    path = _path(workspace)
    rows = [read_resource(row, path) for row in workspace.arm.list(path, AUTOSCALE_API_VERSION)]
    below = _key(endpoint.id) + "/"
    return tuple(
        read_setting(row) for row in rows if _key(row["properties"].get("targetResourceUri")).startswith(below)
    )


def apply_autoscale(workspace: Workspace, step: AutoscaleStep) -> Receipt:
    """Create, replace or delete one setting, after reading that it is as the plan knows it.

    Raises
    ------
    Drift
        If it was changed since the plan was made; nothing is written.
    """
    path, found = f"{_path(workspace)}/{step.name}", _read(workspace, step.name)
    before, after = (
        read_setting({**body, "name": step.name}) if body else None for body in (step.before, step.after)
    )
    if found not in (before, after):
        raise Drift(
            f"autoscale setting {step.name} is not as it was when this change was planned; nothing was written. "
            "Find in the activity log who changed it; plan again"
        )
    if step.after is None:
        return workspace.arm.write("DELETE", path, AUTOSCALE_API_VERSION, deadline_s=DEADLINE_S, progress=_quiet)
    receipt = workspace.arm.write(
        "PUT", path, AUTOSCALE_API_VERSION, body=step.after, deadline_s=DEADLINE_S, progress=_quiet
    )
    if _read(workspace, step.name) != after:
        raise Drift(f"autoscale setting {step.name} was written, and reads back with other values")
    return receipt


def _read(workspace: Workspace, name: str) -> ScaleSetting | None:
    try:
        row = workspace.arm.get(f"{_path(workspace)}/{name}", AUTOSCALE_API_VERSION)
    except NotFound:
        return None
    return read_setting({**read_resource(row, name), "name": name})


def _quiet(_: str) -> None:
    """Show nothing: these writes have no operation to follow."""


def _path(workspace: Workspace) -> str:
    scope = workspace.scope
    return (
        f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
        "/providers/Microsoft.Insights/autoscaleSettings"
    )


def read_autoscale(workspace: Workspace, endpoint: Endpoint) -> tuple[AutoscaleSetting, ...]:
    """Read the enabled autoscale settings of an endpoint's deployments."""
    path = _path(workspace)
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
