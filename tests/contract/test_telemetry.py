import datetime as dt
import time
from collections.abc import Callable

import httpx
import pytest
from awaiting import wait_until
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.monitor import MonitorManagementClient
from azure.monitor.query import LogsQueryClient
from sandbox_fixture import RunningSandbox
from served import Counted, Served


@pytest.fixture(scope="module")
def logs(sandbox: RunningSandbox, credential: DefaultAzureCredential) -> LogsQueryClient:
    return LogsQueryClient(credential, endpoint=f"{sandbox.url}/v1")


@pytest.fixture(scope="module")
def monitor(sandbox: RunningSandbox, credential: DefaultAzureCredential) -> MonitorManagementClient:
    scopes = [f"{sandbox.url}/.default"]
    subscription = sandbox.workspace["subscription_id"]
    return MonitorManagementClient(credential, subscription, base_url=sandbox.url, credential_scopes=scopes)


def test_request_log_equals_what_the_client_counted(
    logs: LogsQueryClient, sandbox: RunningSandbox, counted: Counted
):
    """The canary's own query finds every request that is not a probe, and every failure."""
    query = f"""
    AmlOnlineEndpointTrafficLog
    | where TimeGenerated >= datetime({_iso(counted.first_s)}) and TimeGenerated < datetime({_iso(counted.last_s)})
    | where XMSClientRequestId !startswith "opslib-"
    | extend code = toint(ResponseCode)
    | summarize requests = count(), failures = countif(code >= 500 or code in (408, 424, 429)),
        p50_ms = percentile(TotalDurationMs, 50), p95_ms = percentile(TotalDurationMs, 95),
        p99_ms = percentile(TotalDurationMs, 99) by DeploymentName, bin(TimeGenerated, 5s)
    | order by TimeGenerated asc"""
    (table,) = logs.query_resource(sandbox.endpoint_id(counted.endpoint), query, timespan=None).tables
    assert table.columns == [
        "DeploymentName", "TimeGenerated", "requests", "failures", "p50_ms", "p95_ms", "p99_ms",
    ]  # fmt: skip
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert sum(row["requests"] for row in rows) == 100
    assert {row["DeploymentName"] for row in rows} == {"blue", "green"}
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)
    assert all(row["TimeGenerated"].second % 5 == 0 for row in rows)


def test_request_log_names_each_request_once(logs: LogsQueryClient, sandbox: RunningSandbox, counted: Counted):
    """Every id that the client sent is found exactly once, with its deployment and status."""
    query = (
        "AmlOnlineEndpointTrafficLog | project XMSClientRequestId, DeploymentName, ResponseCode, ModelStatusCode"
    )
    (table,) = logs.query_resource(sandbox.endpoint_id(counted.endpoint), query, timespan=None).tables
    assert sorted(row[0] for row in table.rows) == sorted(counted.ids)
    for status, count in counted.by_status.items():
        assert sum(row[2] == status for row in table.rows) == count
    for name, count in counted.by_deployment.items():
        assert sum(row[1] == name for row in table.rows) == count
    assert {row[3] for row in table.rows if row[2] == 424} == {500}


def test_logs_reach_their_log_workspace(
    logs: LogsQueryClient, sandbox: RunningSandbox, arm: httpx.Client, counted: Counted
):
    """Rows are found through the Log Analytics workspace of the diagnostic setting, by its customerId."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    workspace = arm.get(f"{group}/providers/Microsoft.OperationalInsights/workspaces/logs").json()
    query = f"AmlOnlineEndpointTrafficLog | where EndpointName == '{counted.endpoint}' | count"
    answer = logs.query_workspace(workspace["properties"]["customerId"], query, timespan=dt.timedelta(hours=1))
    assert answer.tables[0].rows[0][0] == 200
    with pytest.raises(HttpResponseError):
        logs.query_workspace("00000000-0000-0000-0000-000000000000", query, timespan=None)


def test_console_and_event_logs_are_kept(logs: LogsQueryClient, sandbox: RunningSandbox, counted: Counted):
    """What the scoring script prints, and what happens to containers, can be queried."""
    scope = sandbox.endpoint_id(counted.endpoint)
    console = "AmlOnlineEndpointConsoleLog | where Message has 'POST' | summarize count() by DeploymentName"
    assert {row[0] for row in logs.query_resource(scope, console, timespan=None).tables[0].rows} == {
        "blue",
        "green",
    }
    with sandbox.arm() as arm:
        arm.patch(f"{scope}/deployments/blue", json={"sku": {"capacity": 2}})
    events = "AmlOnlineEndpointEventLog | where Name == 'Started' | project InstanceId, Message"
    wait_until(lambda: logs.query_resource(scope, events, timespan=None).tables[0].rows)


def test_without_a_diagnostic_setting_nothing_is_kept(
    logs: LogsQueryClient, make_endpoint: Callable[..., Served], sandbox: RunningSandbox
):
    """An endpoint whose logs are not switched on has no rows, which is not an error."""
    served = make_endpoint("unlogged", "blue", instance_type="Standard_D2a_v4")
    assert served.score().status_code == 200
    answer = logs.query_resource(sandbox.endpoint_id("unlogged"), "AmlOnlineEndpointTrafficLog", timespan=None)
    assert answer.tables[0].rows == []


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("| count", [[200]]),
        ("| summarize count() by ResponseCode | order by ResponseCode asc", [[200, 180], [424, 20]]),
        ("| where ResponseCode between (400 .. 499) | summarize n = dcount(XRequestId)", [[20]]),
        ("| where not(ResponseCode == 200) and AuthType =~ 'KEY' | count", [[20]]),
        ("| where XMSClientRequestId in ('probe-1', 'opslib-2', 'absent') | count", [[2]]),
        ("| where XMSClientRequestId !in ('probe-1') and isnotempty(XMSClientRequestId) | count", [[199]]),
        ("| where UserAgent contains 'HTTPX' and Path has 'score' | distinct Method", [["POST"]]),
        ("| where TimeGenerated > ago(1d) and TimeGenerated <= now() | take 3 | count", [[3]]),
        (
            "| summarize total = sum(RequestPayloadSize) / count(), max(ResponseCode) | project max_ResponseCode",
            [[424]],
        ),
        ("| extend bad = iff(ResponseCode == 200, 0, 1) | summarize rate = avg(bad)", [[0.1]]),
        ("| summarize percentiles(ResponseCode, 50, 99) ", [[200, 424]]),
        ("| top 1 by ResponseCode desc | project code = tostring(ResponseCode)", [["424"]]),
    ],
)
def test_kql_means_what_it_says(logs: LogsQueryClient, sandbox: RunningSandbox, counted: Counted, query: str, rows):
    """The operators that are built give what Kusto gives."""
    scope = sandbox.endpoint_id(counted.endpoint)
    answer = logs.query_resource(scope, f"AmlOnlineEndpointTrafficLog {query}", timespan=None)
    assert [list(row) for row in answer.tables[0].rows] == rows


@pytest.mark.parametrize(
    "query",
    [
        "NoSuchTable | count",
        "AmlOnlineEndpointTrafficLog | where Nonsense == 1",
        "AmlOnlineEndpointTrafficLog | join kind=inner (AmlOnlineEndpointEventLog) on InstanceId",
        "AmlOnlineEndpointTrafficLog | where ResponseCode == 'text'",
        "AmlOnlineEndpointTrafficLog | where (ResponseCode == 200",
        "AmlOnlineEndpointTrafficLog | where count() > 1",
        "AmlOnlineEndpointTrafficLog; drop table requests",
        "AmlOnlineEndpointTrafficLog | where " + " or ".join(["ResponseCode == 1"] * 900),
        "AmlOnlineEndpointTrafficLog" + " | take 5" * 900,
        "",
    ],
)
def test_kql_that_is_not_built_is_refused(
    logs: LogsQueryClient, sandbox: RunningSandbox, counted: Counted, query: str
):
    """What cannot be answered is a 400 with a semantic error, never an empty table."""
    with pytest.raises(HttpResponseError) as caught:
        logs.query_resource(sandbox.endpoint_id(counted.endpoint), query, timespan=None)
    assert caught.value.status_code == 400
    assert "SemanticError" in caught.value.response.text()


@pytest.mark.parametrize("timespan", [5, "yesterday", "2026-01-01/soon"])
def test_a_timespan_that_is_none_is_refused(timespan: object, sandbox: RunningSandbox, counted: Counted):
    """It is a 400 with what was expected."""
    token = sandbox.token("https://api.loganalytics.io")
    with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
        query = {"query": "AmlOnlineEndpointTrafficLog", "timespan": timespan}
        answer = client.post(f"/v1{sandbox.endpoint_id(counted.endpoint)}/query", json=query)
    assert (answer.status_code, "timespan" in answer.json()["error"]["message"]) == (400, True)


def test_activity_log_says_who(monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted):
    """Every write is on the activity log with caller, operation and correlation id."""
    since = _iso(counted.first_s - 3600)
    scope = sandbox.endpoint_id(counted.endpoint)
    events = list(monitor.activity_logs.list(f"eventTimestamp ge '{since}' and resourceUri eq '{scope}'"))
    names = {event.operation_name.value for event in events}
    assert "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write" in names
    assert all(event.caller and event.correlation_id for event in events)


def test_unknown_metrics_and_aggregations_are_refused(
    monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted
):
    """A metric, aggregation or dimension that Azure does not offer is an error, not an empty series."""
    scope = sandbox.endpoint_id(counted.endpoint)
    for options in (
        {"metricnames": "Requests"},
        {"metricnames": "RequestsPerMinute", "aggregation": "Total"},
        {"metricnames": "RequestsPerMinute", "filter": "color eq '*'"},
    ):
        with pytest.raises(HttpResponseError) as caught:
            monitor.metrics.list(scope, **options)
        assert caught.value.status_code == 400


def test_definitions_name_dimensions(monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted):
    """Metric definitions carry Azure's dimensions, of endpoint and of deployment."""
    scope = sandbox.endpoint_id(counted.endpoint)
    found = {one.name.value: one for one in monitor.metric_definitions.list(scope)}
    assert [one.value for one in found["RequestsPerMinute"].dimensions] == [
        "deployment", "statusCode", "statusCodeClass", "modelStatusCode",
    ]  # fmt: skip
    below = {one.name.value for one in monitor.metric_definitions.list(f"{scope}/deployments/blue")}
    assert {"CpuUtilizationPercentage", "DeploymentCapacity"} <= below


def test_metrics_equal_what_the_client_counted(
    monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted
):
    """When their minutes are complete, requests per minute add up to the client's own counts."""
    scope = sandbox.endpoint_id(counted.endpoint)
    until = (counted.last_s // 60 + 1) * 60
    wait_until(lambda: time.time() > until + 0.1, within_s=61)
    span = f"{_iso(counted.first_s // 60 * 60)}/{_iso(until)}"

    def total(where: str, wanted: str, name: str = "RequestsPerMinute") -> float:
        answer = monitor.metrics.list(
            where, metricnames=name, interval="PT1M", aggregation="Average", filter=wanted, timespan=span
        )
        return sum(point.average or 0 for series in answer.value[0].timeseries for point in series.data)

    for name, count in counted.by_deployment.items():
        assert total(scope, f"deployment eq '{name}'") == count
        assert total(f"{scope}/deployments/{name}", "envoy_response_code eq '*'") == count
    for status, count in counted.by_status.items():
        assert total(scope, f"statusCode eq '{status}' and deployment eq '*'") == count
    assert total(scope, "deployment eq '*'", "RequestLatency_P95") > 0
    assert total(scope, "deployment eq 'absent'") == 0


@pytest.mark.parametrize(
    ("span", "minutes"),
    [
        ("2026-01-01T10:00:00Z/2026-01-01T10:30:00Z", 30),
        ("2026-01-01T10:00:00Z/PT20M", 20),
        ("PT10M/2026-01-01T10:30:00Z", 10),
        ("PT5M", 5),
    ],
)
def test_a_timespan_is_any_interval(
    span: str, minutes: int, monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted
):
    """Two times, a time and a duration, or a duration up to now; the interval FULL is one point for all of it."""
    scope, name = sandbox.endpoint_id(counted.endpoint), "RequestsPerMinute"
    by_minute = monitor.metrics.list(scope, metricnames=name, interval="PT1M", timespan=span)
    points = by_minute.value[0].timeseries[0].data
    assert len(points) in {minutes, minutes + (span[0] == "P" and "/" not in span)}  # the minute that has begun
    full = monitor.metrics.list(scope, metricnames=name, interval="FULL", timespan=span)
    assert [point.time_stamp for point in full.value[0].timeseries[0].data] == [points[0].time_stamp]


def test_a_metric_with_a_filter_has_ten_series_unless_more_are_requested(
    monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted
):
    """`top` limits the series of a request with a filter. Source: REST reference, Metrics - List."""
    scope, split = sandbox.endpoint_id(counted.endpoint), "deployment eq '*' and statusCode eq '*'"
    span = f"{_iso(counted.first_s // 60 * 60)}/{_iso((counted.last_s // 60 + 1) * 60)}"
    wait_until(lambda: time.time() > (counted.last_s // 60 + 1) * 60 + 0.1, within_s=61)

    def series(**limit: int) -> int:
        answer = monitor.metrics.list(
            scope, metricnames="RequestsPerMinute", interval="PT1M", filter=split, timespan=span, **limit
        )
        return len(answer.value[0].timeseries)

    assert series(top=1) == 1
    assert 1 < series() <= 10


def test_a_minute_without_data_has_no_value(
    monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted
):
    """Absence is not zero: a point in an idle minute carries no average."""
    span = f"{_iso(counted.first_s - 3600)}/{_iso(counted.first_s - 3000)}"
    answer = monitor.metrics.list(
        sandbox.endpoint_id(counted.endpoint), metricnames="RequestsPerMinute", interval="PT1M", timespan=span
    )
    (series,) = answer.value[0].timeseries
    assert len(series.data) == 10
    assert {point.average for point in series.data} == {None}


def test_instances_are_measured(monitor: MonitorManagementClient, sandbox: RunningSandbox, counted: Counted):
    """CPU, memory and capacity come from the processes, by instance."""
    scope = f"{sandbox.endpoint_id(counted.endpoint)}/deployments/blue"

    def seen() -> dict[str, list[float]]:
        answer = monitor.metrics.list(
            scope,
            metricnames="CpuUtilizationPercentage,CpuMemoryUtilizationPercentage,DeploymentCapacity",
            aggregation="Average,Maximum",
            filter="instanceId eq '*'",
        )
        return {
            one.name.value: [p.maximum for s in one.timeseries for p in s.data if p.maximum is not None]
            for one in answer.value
        }

    values = wait_until(lambda: (found := seen()) and all(found.values()) and found, within_s=120)
    assert max(values["CpuUtilizationPercentage"]) <= 100
    assert 0 < max(values["CpuMemoryUtilizationPercentage"]) < 100
    assert set(values["DeploymentCapacity"]) <= {1, 2}


def _iso(at_s: float) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat().replace("+00:00", "Z")
