"""The autoscale settings and metric alert rules of one deployment: what outlives it unless it is deleted too."""

from collections.abc import Iterator

from opslib.azure.arm import Json, Progress
from opslib.azure.autoscale import AUTOSCALE_API_VERSION
from opslib.azure.connect import Workspace
from opslib.azure.monitoring import ALERT_RULES_API_VERSION
from opslib.azure.resource import read_resource
from opslib.model import DeleteRule, Deployment, DeploymentRule, Receipt, RestoreRule

_KINDS = (
    ("autoscale setting", "autoscaleSettings", AUTOSCALE_API_VERSION),
    ("alert rule", "metricAlerts", ALERT_RULES_API_VERSION),
)


def read_rules(workspace: Workspace, deployment: Deployment) -> tuple[DeploymentRule, ...]:
    """Read the resource group's settings and rules that name the deployment, enabled or not.

    A rule on the endpoint that filters by the dimension `deployment` is not among them.

    Raises
    ------
    AzureError
        If they cannot be read.
    """
    scope = workspace.scope
    group = f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
    return tuple(
        DeploymentRule(kind, str(row["name"]), str(row["id"]), version, _others(named, deployment), row)
        for kind, resource_type, version in _KINDS
        for row in _read(workspace, f"{group}/providers/Microsoft.Insights/{resource_type}", version)
        if _key(deployment.id) in map(_key, named := tuple(_named(row)))
    )


def delete_rule(workspace: Workspace, step: DeleteRule, deadline_s: float, progress: Progress) -> Receipt:
    """Delete a setting or rule; an absent one is not an error."""
    return workspace.arm.write("DELETE", step.id, step.api_version, deadline_s=deadline_s, progress=progress)


def restore_rule(workspace: Workspace, step: RestoreRule, deadline_s: float, progress: Progress) -> Receipt:
    """Create a setting or rule as it was."""
    return workspace.arm.write(
        "PUT", step.id, step.api_version, body=dict(step.body), deadline_s=deadline_s, progress=progress
    )


def _read(workspace: Workspace, path: str, version: str) -> Iterator[Json]:
    return (read_resource(row, path) for row in workspace.arm.list(path, version))


def _named(row: Json) -> Iterator[str]:
    """Return the ids of the resources that a setting scales or a rule watches."""
    properties = row["properties"]
    yield from (str(one) for one in properties.get("scopes") or [])
    if properties.get("targetResourceUri"):
        yield str(properties["targetResourceUri"])


def _others(named: tuple[str, ...], deployment: Deployment) -> tuple[str, ...]:
    return tuple(one.rpartition("/")[2] for one in named if _key(one) != _key(deployment.id))


def _key(arm_id: str) -> str:
    """Return an ARM id as ids are compared; Azure Monitor answers with them in other cases than were sent."""
    return arm_id.strip("/").lower()
