import calendar
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.monitor import MonitorManagementClient
from sandbox_fixture import RunningSandbox
from served import Counted, Served


@pytest.fixture
def monitor(sandbox: RunningSandbox, credential: DefaultAzureCredential) -> MonitorManagementClient:
    scopes = [f"{sandbox.url}/.default"]
    subscription = sandbox.workspace["subscription_id"]
    return MonitorManagementClient(credential, subscription, base_url=sandbox.url, credential_scopes=scopes)


def _setting(target: str, metric: str, resource: str, *, above: float, minimum: int) -> dict[str, Any]:
    trigger = {
        "metric_name": metric,
        "metric_resource_uri": resource,
        "time_grain": "PT1M",
        "statistic": "Average",
        "time_window": "PT10M",
        "time_aggregation": "Maximum",
        "operator": "GreaterThan",
        "threshold": above,
    }
    action = {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"}
    profile = {
        "name": "default",
        "capacity": {"minimum": str(minimum), "maximum": "3", "default": str(minimum)},
        "rules": [{"metric_trigger": trigger, "scale_action": action}],
    }
    return {"location": "eastus", "enabled": True, "target_resource_uri": target, "profiles": [profile]}


def test_autoscale_keeps_bounds_and_follows_a_metric(
    fraud: Served, arm: httpx.Client, sandbox: RunningSandbox, monitor: MonitorManagementClient
):
    """A metric beyond its threshold adds an instance; a manual scale below the minimum is undone."""
    group, green = sandbox.workspace["resource_group"], f"{sandbox.endpoint_id(fraud.name)}/deployments/green"
    busy = _setting(green, "RequestsPerMinute", sandbox.endpoint_id("counted"), above=1, minimum=1)
    made = monitor.autoscale_settings.create_or_update(group, "keeper", busy)
    assert [row.name for row in monitor.autoscale_settings.list_by_resource_group(group)] == [made.name]
    wait_until(lambda: _capacity(arm, green) == 2, 70)  # a minute must be over before its metrics are there
    with pytest.raises(HttpResponseError, match="a target has one"):
        monitor.autoscale_settings.create_or_update(group, "second", busy)
    quiet = _setting(green, "RequestsPerMinute", sandbox.endpoint_id("counted"), above=1e9, minimum=2)
    monitor.autoscale_settings.create_or_update(group, "keeper", quiet)
    scaled = arm.patch(green, json={"sku": {"capacity": 1}}).raise_for_status()
    wait_until(lambda: arm.get(scaled.headers["Azure-AsyncOperation"]).json()["status"] == "Succeeded", 30)
    wait_until(lambda: _capacity(arm, green) == 2, 30)
    monitor.autoscale_settings.delete(group, "keeper")
    assert list(monitor.autoscale_settings.list_by_subscription()) == []
    arm.patch(green, json={"sku": {"capacity": 1}}).raise_for_status()


def _scheduled(name: str, minimum: int, **when: Any) -> dict[str, Any]:
    """A profile that has bounds only, and when it holds."""
    capacity = {"minimum": str(minimum), "maximum": str(minimum), "default": str(minimum)}
    return {"name": name, "capacity": capacity, "rules": [], **when}


def test_profiles_hold_on_their_dates_and_scaling_is_in_the_activity_log(
    fraud: Served, arm: httpx.Client, sandbox: RunningSandbox, monitor: MonitorManagementClient
):
    """Bounds of today's date go before those of every week; what was done is recorded, with one correlation id."""
    group, green = sandbox.workspace["resource_group"], f"{sandbox.endpoint_id(fraud.name)}/deployments/green"
    now = datetime.now(UTC)
    schedule = {"time_zone": "UTC", "days": list(calendar.day_name), "hours": [0], "minutes": [0]}
    weekly = _scheduled("weekly", 1, recurrence={"frequency": "Week", "schedule": schedule})
    today = {"time_zone": "UTC", "start": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
    event = _scheduled("event", 2, fixed_date=today)
    setting = {"location": "eastus", "enabled": True, "target_resource_uri": green, "profiles": [weekly, event]}
    made = monitor.autoscale_settings.create_or_update(group, "calendar", setting)
    assert [row.name for row in made.profiles] == ["weekly", "event"]
    wait_until(lambda: _capacity(arm, green) == 2, 30)
    monitor.autoscale_settings.update(group, "calendar", {"properties": {"profiles": [weekly]}})
    wait_until(lambda: _capacity(arm, green) == 1, 30)
    told = wait_until(lambda: len(found := _scalings(monitor, made.id, now)) == 4 and found)
    assert [(row.operation_name.value.split("/")[2], row.status.value) for row in told] == [
        ("Scaleup", "Succeeded"),
        ("ScaleupResult", "Succeeded"),
        ("Scaledown", "Succeeded"),
        ("ScaledownResult", "Succeeded"),
    ]
    assert {row.caller for row in told} == {"Microsoft.Insights/autoscaleSettings"}
    assert told[0].correlation_id == told[1].correlation_id != told[2].correlation_id
    assert (told[0].properties["OldInstancesCount"], told[0].properties["NewInstancesCount"]) == ("1", "2")
    schedule["minutes"] = [0, 30]
    with pytest.raises(HttpResponseError, match="Specify only one value for minutes"):
        monitor.autoscale_settings.create_or_update(group, "calendar", setting)
    monitor.autoscale_settings.delete(group, "calendar")


def _scalings(monitor: MonitorManagementClient, setting: str, since: datetime) -> list[Any]:
    """What autoscale did, oldest first."""
    query = f"eventTimestamp ge '{since.isoformat()}' and resourceUri eq '{setting}'"
    return [row for row in monitor.activity_logs.list(filter=query) if row.category.value == "Autoscale"][::-1]


def _alert(scope: str, *, above: float, **criterion: Any) -> dict[str, Any]:
    rule = {
        "name": "busy",
        "metric_name": "RequestsPerMinute",
        "operator": "GreaterThan",
        "threshold": above,
        "time_aggregation": "Average",
        "criterion_type": "StaticThresholdCriterion",
        **criterion,
    }
    kind = "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
    return {
        "location": "global",
        "severity": 2,
        "enabled": True,
        "scopes": [scope],
        "evaluation_frequency": "PT1M",
        "window_size": "PT15M",
        "criteria": {"odata.type": kind, "all_of": [rule]},
    }


def test_metric_alerts_are_kept(fraud: Served, sandbox: RunningSandbox, monitor: MonitorManagementClient):
    """An alert rule comes back as it went; a metric, an aggregation or a dimension that is not there is refused."""
    group, scope = sandbox.workspace["resource_group"], sandbox.endpoint_id(fraud.name)
    slow = _alert(scope, above=500, metric_name="RequestLatency_P95")
    monitor.metric_alerts.create_or_update(group, "slow", slow)
    found = monitor.metric_alerts.get(group, "slow")
    assert found.criteria.all_of[0].threshold == 500
    assert found.auto_mitigate
    nowhere = [{"name": "planet", "operator": "Include", "values": ["*"]}]
    for words, bad in (
        ("Happiness", {"metric_name": "Happiness"}),
        ("aggregation Total", {"time_aggregation": "Total"}),
        ("planet", {"dimensions": nowhere}),
    ):
        with pytest.raises(HttpResponseError, match=words):
            monitor.metric_alerts.create_or_update(group, "slow", _alert(scope, above=500, **bad))
    monitor.metric_alerts.delete(group, "slow")


def test_a_metric_alert_fires_and_is_resolved(
    counted: Counted, arm: httpx.Client, sandbox: RunningSandbox, monitor: MonitorManagementClient
):
    """Each deployment's own series fires once; status, alerts and the activity log record it and its end."""
    group, scope = sandbox.workspace["resource_group"], sandbox.endpoint_id(counted.endpoint)
    split = [{"name": "deployment", "operator": "Include", "values": ["*"]}]
    began = datetime.now(UTC)
    rule = monitor.metric_alerts.create_or_update(group, "busy", _alert(scope, above=1, dimensions=split))

    def statuses() -> list[str]:
        return sorted(row.properties.status for row in monitor.metric_alerts_status.list(group, "busy").value)

    def alerts(**query: str) -> list[dict[str, Any]]:
        answer = arm.get(f"{scope}/providers/Microsoft.AlertsManagement/alerts", params=query).raise_for_status()
        return [row for row in answer.json()["value"] if row["name"] == "busy"]

    wait_until(lambda: statuses() == ["Unhealthy", "Unhealthy"], 70)
    fired = alerts(monitorCondition="Fired", severity="Sev2", alertRule=rule.id)
    values = {row["properties"]["context"]["condition"]["allOf"][0]["dimensions"][0]["value"] for row in fired}
    assert values == {"blue", "green"}
    state = arm.post(f"{fired[0]['id']}/changestate", params={"newState": "Acknowledged"})
    assert state.json()["properties"]["essentials"]["alertState"] == "Acknowledged"
    monitor.metric_alerts.create_or_update(group, "busy", _alert(scope, above=1e9, dimensions=split))
    wait_until(lambda: statuses() == ["Healthy", "Healthy"], 20)
    assert alerts(monitorCondition="Fired") == []
    resolved = alerts(monitorCondition="Resolved")
    assert {row["properties"]["essentials"]["alertState"] for row in resolved} == {"New", "Acknowledged"}
    query = f"eventTimestamp ge '{began.isoformat()}' and resourceUri eq '{scope}'"
    told = [row for row in monitor.activity_logs.list(filter=query) if row.category.value == "Alert"]
    words = Counter(row.operation_name.value for row in told)
    assert words == {
        "Microsoft.Insights/AlertRules/Activated/Action": 2,
        "Microsoft.Insights/AlertRules/Resolved/Action": 2,
    }
    assert len({row.correlation_id for row in told}) == 2
    monitor.metric_alerts.delete(group, "busy")


def test_prices_are_quoted_as_documented(sandbox: RunningSandbox):
    """The documented filter finds one Linux pay-as-you-go price, among those that must be distinguished."""
    query = (
        "serviceName eq 'Virtual Machines' and armRegionName eq 'eastus' and armSkuName eq 'Standard_DS3_v2' "
        "and priceType eq 'Consumption'"
    )
    with sandbox.http() as client:
        answer = client.get("/api/retail/prices", params={"$filter": query}).json()
        nowhere = client.get("/api/retail/prices", params={"$filter": query.replace("eastus", "moon")}).json()
    plain = [row for row in answer["Items"] if "Spot" not in row["skuName"] and "Windows" not in row["productName"]]
    assert [row["unitPrice"] for row in plain] == [0.293]
    assert answer["Count"] == 3
    assert nowhere["Items"] == []


def _capacity(arm: httpx.Client, deployment: str) -> int:
    body = arm.get(deployment).json()
    return body["sku"]["capacity"] if body["properties"]["provisioningState"] == "Succeeded" else 0
