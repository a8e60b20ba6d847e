"""Autoscale settings and metric alert rules: what scales and watches deployments, and outlives them."""

from collections.abc import Iterator
from typing import Any

from opslib.autoscale.setting import API_VERSION as AUTOSCALE_API_VERSION
from opslib.autoscale.setting import ScaleSetting, read_setting
from opslib.azure.arm import Json, Progress
from opslib.azure.connect import Workspace
from opslib.azure.monitoring import ALERT_RULES_API_VERSION
from opslib.azure.resource import read_resource
from opslib.errors import Drift, NotFound
from opslib.model import (
    AutoscaleSetting,
    DeleteRule,
    Deployment,
    DeploymentRule,
    Endpoint,
    Receipt,
    RestoreRule,
    SetRule,
)

_KINDS = (
    ("autoscale setting", "autoscaleSettings", AUTOSCALE_API_VERSION),
    ("alert rule", "metricAlerts", ALERT_RULES_API_VERSION),
)


def read_rules(workspace: Workspace, deployment: Deployment) -> tuple[DeploymentRule, ...]:
    """Read the resource group's settings and rules that concern the deployment, enabled or not.

    They name it as what they scale or watch, or watch its endpoint and filter by the dimension `deployment`.

    Raises
    ------
    AzureError
        If they cannot be read.
    """
    return tuple(
        DeploymentRule(kind, str(row["name"]), str(row["id"]), version, others, row)
        for kind, resource_type, version in _KINDS
        for row in _list(workspace, resource_type, version)
        if (others := find_others(row, deployment)) is not None
    )


def read_settings(workspace: Workspace, endpoint: Endpoint) -> tuple[ScaleSetting, ...]:
    """Read all autoscale settings of an endpoint, disabled ones and those of deleted deployments included."""
    below = _key(endpoint.id) + "/"
    return tuple(
        read_setting(row)
        for row in _list(workspace, "autoscaleSettings", AUTOSCALE_API_VERSION)
        if _key(row["properties"].get("targetResourceUri")).startswith(below)
    )


def read_autoscale(workspace: Workspace, endpoint: Endpoint) -> tuple[AutoscaleSetting, ...]:
    """Read the enabled autoscale settings of an endpoint's deployments, which override a manual scale."""
    names = {_key(deployment.id): deployment.name for deployment in endpoint.deployments}
    return tuple(
        _range(row, name)
        for row in _list(workspace, "autoscaleSettings", AUTOSCALE_API_VERSION)
        if row["properties"].get("enabled")
        and (name := names.get(_key(row["properties"].get("targetResourceUri"))))
    )


def write_rule(workspace: Workspace, step: SetRule | RestoreRule, deadline_s: float, progress: Progress) -> Receipt:
    """Create or replace a setting or rule, after reading that it is as the plan knows it; not if it is as wanted.

    Raises
    ------
    Drift
        If it was changed since the plan was made, and nothing is written; or if a setting reads back otherwise.
    """
    before = step.before if isinstance(step, SetRule) else None
    found = _require(workspace, step, (before, step.body))
    if found == _compared(step.id, dict(step.body)):
        return Receipt.unchanged("PUT", step.id)
    receipt = workspace.arm.write(
        "PUT", step.id, step.api_version, body=dict(step.body), deadline_s=deadline_s, progress=progress
    )
    found = _compared(step.id, _read(workspace, step))
    if _is_setting(step.id) and found != _compared(step.id, dict(step.body)):
        raise Drift(f"{step.rule} was written, and reads back with other values")
    return receipt


def delete_rule(workspace: Workspace, step: DeleteRule, deadline_s: float, progress: Progress) -> Receipt:
    """Delete a setting or rule, after reading that it is as the plan knows it; an absent one is not an error.

    Raises
    ------
    Drift
        If it was changed since the plan was made: nothing is deleted.
    """
    if step.before is not None:
        _require(workspace, step, (step.before, None))
    return workspace.arm.write("DELETE", step.id, step.api_version, deadline_s=deadline_s, progress=progress)


def _require(
    workspace: Workspace, step: SetRule | RestoreRule | DeleteRule, known: tuple[Any, ...]
) -> ScaleSetting | Json | None:
    """Return a setting or rule, None for an absent one; require that it is as a body that the plan knows."""
    found = _compared(step.id, _read(workspace, step))
    if found not in [_compared(step.id, body) for body in known]:
        if isinstance(found, ScaleSetting) and isinstance(step, SetRule) and step.before is None:
            raise Drift(
                f"{step.rule} exists already in the resource group, for {found.target}; nothing was written. "
                "If it is another endpoint's, set one of another name (setting=NAME)"
            )
        raise Drift(
            f"{step.rule} is not as it was when this change was planned; nothing was written. "
            "Find in the activity log who changed it; plan again"
        )
    return found


def _read(workspace: Workspace, step: SetRule | RestoreRule | DeleteRule) -> Json | None:
    try:
        return read_resource(workspace.arm.get(step.id, step.api_version), step.id)
    except NotFound:
        return None


def _compared(rule_id: str, body: Json | None) -> ScaleSetting | Json | None:
    """Return a body in which equal ones are equal: of a setting its values, of a rule its properties."""
    if body is None:
        return None
    if _is_setting(rule_id):
        return read_setting({**body, "name": rule_id.rpartition("/")[2]})
    return dict(body["properties"])


def _is_setting(rule_id: str) -> bool:
    return "/autoscalesettings/" in rule_id.lower()


def _list(workspace: Workspace, resource_type: str, version: str) -> Iterator[Json]:
    scope = workspace.scope
    group = f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
    path = f"{group}/providers/Microsoft.Insights/{resource_type}"
    return (read_resource(row, path) for row in workspace.arm.list(path, version))


def find_others(row: Json, deployment: Deployment) -> tuple[str, ...] | None:
    """Return the other resources that a setting or rule concerns; None where it does not concern the deployment."""
    properties, endpoint_id = row["properties"], _key(deployment.id).rpartition("/deployments/")[0]
    named = [str(one) for one in (*(properties.get("scopes") or []), properties.get("targetResourceUri")) if one]
    filtered = sorted({name for one in _criteria(properties) for name in _included(one)})
    if _key(deployment.id) in map(_key, named):
        return tuple(one.rpartition("/")[2] for one in named if _key(one) != _key(deployment.id))
    if endpoint_id in map(_key, named) and deployment.name.lower() in {one.lower() for one in filtered}:
        unfiltered = any(not list(_included(one)) for one in _criteria(properties))
        more = [one.rpartition("/")[2] for one in named if unfiltered or _key(one) != endpoint_id]
        return (*more, *(one for one in filtered if one.lower() != deployment.name.lower()))
    return None


def _criteria(properties: Json) -> list[Json]:
    return (properties.get("criteria") or {}).get("allOf") or []


def _included(criterion: Json) -> Iterator[str]:
    """Yield the deployments to which a criterion of an alert rule is limited by its dimension."""
    for dimension in criterion.get("dimensions") or []:
        includes = str(dimension.get("operator") or "Include").lower() == "include"
        if includes and str(dimension.get("name")).lower() == "deployment":
            yield from map(str, dimension.get("values") or [])


def _range(row: Json, deployment: str) -> AutoscaleSetting:
    capacities = [profile.get("capacity") or {} for profile in row["properties"].get("profiles") or []]
    return AutoscaleSetting(
        name=str(row["name"]),
        deployment=deployment,
        minimum=min((int(one.get("minimum") or 0) for one in capacities), default=0),
        maximum=max((int(one.get("maximum") or 0) for one in capacities), default=0),
    )


def _key(arm_id: Any) -> str:
    """Return an ARM id as ids are compared; Azure Monitor answers with them in other cases than were sent."""
    return str(arm_id or "").strip("/").lower()
