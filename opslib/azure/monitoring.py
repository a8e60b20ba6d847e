"""What watches an endpoint: diagnostic settings, metric alert rules, and alerts that have fired."""

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.diagnostics import read_diagnostics
from opslib.azure.resource import read_resource, spelled, unexpected
from opslib.errors import AzureError
from opslib.model import Endpoint, FiredAlert, Monitoring

ALERT_RULES_API_VERSION = "2018-03-01"
ALERTS_API_VERSION = "2019-05-05-preview"
FIRED_WITHIN = "30d"
"""How far back a fired alert is looked for: the longest time range of the API."""


def read_monitoring(workspace: Workspace, endpoint: Endpoint) -> Monitoring:
    """Read what watches the endpoint and its deployments; what cannot be read is named in `problem`."""
    try:
        settings = read_diagnostics(workspace, endpoint)
        return Monitoring(
            logs=frozenset(category for setting in settings for category in setting.categories),
            rules={str(rule["name"]): _enabled(rule) for rule in _rules(workspace, endpoint)},
            fired=tuple(_fired(workspace, endpoint)),
        )
    except AzureError as error:
        return Monitoring(problem=str(error))


def _rules(workspace: Workspace, endpoint: Endpoint) -> list[Json]:
    """Read the metric alert rules of the subscription, or of the resource group where only that may be read."""
    subscription, path = (
        f"/subscriptions/{workspace.scope.subscription_id}",
        "/providers/Microsoft.Insights/metricAlerts",
    )
    try:
        rules = workspace.arm.list(f"{subscription}{path}", ALERT_RULES_API_VERSION)
    except AzureError as error:
        if error.status != 403:
            raise
        group = f"{subscription}/resourceGroups/{workspace.scope.resource_group}"
        rules = workspace.arm.list(f"{group}{path}", ALERT_RULES_API_VERSION)
    read = [read_resource(rule, f"metric alert rule {rule.get('name') or rule.get('id')}") for rule in rules]
    return [rule for rule in read if any(_within(scope, endpoint) for scope in _scopes(rule))]


def _scopes(rule: Json) -> list[str]:
    scopes = rule["properties"].get("scopes")
    if not isinstance(scopes, list) or not all(isinstance(one, str) for one in scopes):
        raise unexpected(f"metric alert rule {rule['name']}: scopes", "a list of resource ids", scopes)
    return scopes


def _enabled(rule: Json) -> bool:
    """Return whether a rule is evaluated; a rule without that field is taken neither for on nor for off."""
    enabled = rule["properties"].get("enabled")
    if not isinstance(enabled, bool):
        raise unexpected(f"metric alert rule {rule['name']}: enabled", "true or false", enabled)
    return enabled


def _fired(workspace: Workspace, endpoint: Endpoint) -> list[FiredAlert]:
    scope = workspace.scope
    path = (
        f"/subscriptions/{scope.subscription_id}/resourceGroups/{scope.resource_group}"
        "/providers/Microsoft.AlertsManagement/alerts"
    )
    query = {"monitorCondition": "Fired", "timeRange": FIRED_WITHIN}
    rows = [_essentials(row) for row in workspace.arm.list(path, ALERTS_API_VERSION, **query)]
    return [_alert(row) for row in rows if _within(str(row.get("targetResource") or ""), endpoint)]


def _essentials(row: Json) -> Json:
    found = read_resource(row, "fired alert")["properties"].get("essentials")
    if not isinstance(found, dict):
        raise unexpected("fired alert: essentials", "an object", found)
    return spelled(found, ("severity", "alertRule", "startDateTime", "targetResource"))


def _alert(essentials: Json) -> FiredAlert:
    severity = str(essentials.get("severity") or "Sev4").removeprefix("Sev")
    return FiredAlert(
        rule=str(essentials.get("alertRule") or "").rpartition("/")[2],
        severity=int(severity) if severity.isdigit() else 4,
        since=str(essentials.get("startDateTime") or "")[:16].replace("T", " "),
        target=str(essentials.get("targetResource", "")).rpartition("/")[2],
    )


def _within(resource_id: str, endpoint: Endpoint) -> bool:
    """Return whether an id is that of the endpoint or of one of its deployments."""
    return f"{resource_id.lower()}/".startswith(f"{endpoint.id.lower()}/")
