from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sandbox_fixture import RunningSandbox, running_sandbox
from served import wait_until

from opslib.sandbox.settings import Settings

LATE = Settings(operation_s=0.0, metrics_delay_s=1800.0, logs_delay_s=3600.0, token_lifetime_s=2.0)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox whose metrics and logs come late, and whose tokens do not last."""
    with running_sandbox(tmp_path_factory.mktemp("late"), LATE) as running:
        with running.arm() as arm:
            body = {"location": "eastus", "properties": {"authMode": "Key"}}
            arm.put(running.endpoint_id("slow"), json=body).raise_for_status()
        running.keep_logs("slow")
        yield running


def test_logs_come_late(late: RunningSandbox):
    """A request that was served is not in the log before the delay is over."""
    path = late.endpoint_id("slow")
    with late.arm() as arm:
        key = arm.post(f"{path}/listKeys").json()["primaryKey"]
        uri = arm.get(path).json()["properties"]["scoringUri"]
        assert arm.post(uri, json={}, headers={"Authorization": f"Bearer {key}"}).status_code == 404
    token = late.token("https://api.loganalytics.io")
    with late.http(headers={"Authorization": f"Bearer {token}"}) as client:
        answer = client.post(f"/v1{path}/query", json={"query": "AmlOnlineEndpointTrafficLog"}).raise_for_status()
    assert answer.json()["tables"][0]["rows"] == []


def test_metrics_come_late(late: RunningSandbox):
    """The newest point is as old as the delay."""
    path = f"{late.endpoint_id('slow')}/providers/Microsoft.Insights/metrics"
    with late.arm() as arm:
        body = arm.get(path, params={"metricnames": "RequestsPerMinute", "interval": "PT1M"}).json()
    newest = datetime.fromisoformat(body["value"][0]["timeseries"][0]["data"][-1]["timeStamp"])
    assert datetime.now(UTC) - newest >= timedelta(minutes=30)


def test_a_token_ends(late: RunningSandbox):
    """What was good a moment ago is 401 when its lifetime is over."""
    with late.arm() as arm:
        assert arm.get(late.workspace_id).status_code == 200
        wait_until(lambda: arm.get(late.workspace_id).status_code == 401, 5)
