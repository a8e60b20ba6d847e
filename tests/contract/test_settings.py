from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from rest_client import make_endpoint
from sandbox_fixture import RunningSandbox, running_sandbox
from served import ASK

from opslib.sandbox.core.settings import Settings

LATE = Settings(operation_s=0.0, metrics_delay_s=1800.0, logs_delay_s=3600.0, token_lifetime_s=6.0)
TIGHT = Settings(operation_s=0.0, max_connections=2, max_bytes_per_second=20_000)
APP = Path(__file__).parent / "app"


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
        wait_until(lambda: arm.get(late.workspace_id).status_code == 401)


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox that gives an endpoint two connections and little bandwidth."""
    with running_sandbox(tmp_path_factory.mktemp("tight"), TIGHT) as running:
        make_endpoint(running, APP)
        running.keep_logs("lasting")
        yield running


@pytest.fixture
def ask(tight: RunningSandbox) -> Callable[..., httpx.Response]:
    """Scores by a client of the caller's."""
    path = tight.endpoint_id("lasting")
    with tight.arm() as arm:
        key = arm.post(f"{path}/listKeys").json()["primaryKey"]
        uri = arm.get(path).json()["properties"]["scoringUri"]

    def score(client: httpx.Client, **more: Any) -> httpx.Response:
        return client.post(uri, json=ASK | more, headers={"Authorization": f"Bearer {key}"})

    return score


def test_a_connection_too_many_is_refused(tight: RunningSandbox, ask: Callable[..., httpx.Response]):
    """Two clients stay connected and are served, the third is 429 until one of them has gone."""
    with tight.http() as first, tight.http() as second, tight.http() as third:
        assert [ask(client).status_code for client in (first, second, third)] == [200, 200, 429]
        assert ask(first).status_code == 200
        second.close()
        wait_until(lambda: ask(third).status_code == 200)


def test_bandwidth_is_shared_out_by_waiting(tight: RunningSandbox, ask: Callable[..., httpx.Response]):
    """What is above a second's worth is served later; its headers and the log show how long it waited."""
    path = tight.endpoint_id("lasting")
    with tight.http() as client:
        wait_until(lambda: ask(client).status_code == 200)
        answers = [ask(client, padding="x" * size) for size in (15_000, 45_000)]
    assert [answer.status_code for answer in answers] == [200, 200]
    waited_ms = int(answers[1].headers["ms-azureml-bandwidth-request-delay-ms"])
    assert answers[1].elapsed.total_seconds() * 1000 >= waited_ms > 100
    query = "AmlOnlineEndpointTrafficLog | summarize most = max(RequestThrottlingDelayMs)"
    token = tight.token("https://api.loganalytics.io")
    with tight.http(headers={"Authorization": f"Bearer {token}"}) as logs:
        answer = logs.post(f"/v1{path}/query", json={"query": query}).raise_for_status().json()
    assert abs(answer["tables"][0]["rows"][0][0] - waited_ms) <= 1
