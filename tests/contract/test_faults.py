import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from faults_fixture import Faults
from sandbox_fixture import RunningSandbox
from served import ASK, Served

from opslib.azure.connect import connect
from opslib.azure.endpoints import API_VERSION
from opslib.errors import AzureError

OPSLIB = [sys.executable, "-m", "opslib", "sandbox"]


def _opslib(sandbox: RunningSandbox, *words: str) -> str:
    command = [*OPSLIB, *words, "--home", str(sandbox.home.root)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_arm_throttles_as_often_as_declared(
    fraud: Served, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox
):
    """Two requests get 429 with Retry-After, other endpoints and the third request do not."""
    faults.declare("arm-throttle", endpoint="fraud", count=2, retry_after_s=1)
    assert arm.get(sandbox.endpoint_id("counted")).status_code == 200
    answers = [arm.get(sandbox.endpoint_id(fraud.name)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[0].json()["error"]["code"] == "SubscriptionRequestsThrottled"


def test_an_sdk_waits_a_throttle_out(fraud: Served, faults: Faults):
    """azure-core honours Retry-After and gets its answer."""
    faults.declare("arm-throttle", operation="OnlineEndpoints_Get", count=1, retry_after_s=1)
    started_s = time.monotonic()
    assert fraud.ml.online_endpoints.get(fraud.name).name == fraud.name
    assert time.monotonic() - started_s >= 1.0


def test_opslib_does_not_sleep_through_a_pause_of_an_hour(
    faults: Faults, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
):
    """azure-core would, inside the request: an undo would then restore nothing by its deadline."""
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(sandbox.home.root))
    arm = connect("sandbox").arm
    faults.declare("arm-throttle", count=1, retry_after_s=3600)
    with pytest.raises(AzureError, match=r"SubscriptionRequestsThrottled.*\[Retry-After: 3600\]") as caught:
        arm.get(sandbox.workspace_id, API_VERSION)
    assert caught.value.status == 429


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("arm-error", 500, "InternalServerError"), ("token-expiry", 401, "ExpiredAuthenticationToken")],
)
def test_arm_refuses(kind: str, status: int, code: str, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox):
    """The declared refusal comes once, in ARM's envelope."""
    faults.declare(kind, count=1)
    answer = arm.get(sandbox.workspace_id)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert arm.get(sandbox.workspace_id).status_code == 200


def test_arm_is_slow(arm: httpx.Client, faults: Faults, sandbox: RunningSandbox):
    """An answer comes as late as declared."""
    faults.declare("arm-latency", delay_s=0.4, count=1)
    assert arm.get(sandbox.workspace_id).elapsed.total_seconds() >= 0.4


def test_a_connection_is_reset(blue_only: Served, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox):
    """ARM's and the data plane's connections break without an answer, and only as often as declared."""
    faults.declare("arm-reset", count=1)
    with pytest.raises(httpx.TransportError):
        arm.get(sandbox.workspace_id)
    assert arm.get(sandbox.workspace_id).status_code == 200
    faults.declare("scoring-reset", count=1)
    with pytest.raises(httpx.TransportError):
        blue_only.score()
    assert blue_only.score().status_code == 200


def test_an_operation_fails_as_declared(fraud: Served, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox):
    """The operation ends in Failed with the declared code, and so does the resource."""
    faults.declare("lro-fail", operation="OnlineEndpoints_Updating", count=1, code="OperationCanceled")
    path = sandbox.endpoint_id(fraud.name)
    where = arm.patch(path, json={"tags": {"a": "b"}}).headers["location"].replace("Results", "sStatus")
    ended = wait_until(lambda: (now := arm.get(where).json())["status"] != "Updating" and now)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "OperationCanceled")
    assert arm.get(path).json()["properties"]["provisioningState"] == "Failed"
    fraud.set_traffic({"blue": 100})
    assert arm.get(path).json()["properties"]["provisioningState"] == "Succeeded"


def test_an_operation_never_ends_while_the_fault_lasts(
    fraud: Served, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox
):
    """A hanging operation stays Updating until its fault is cleared, then does its work."""
    faults.declare("lro-hang", endpoint="fraud", name="stuck")
    path = sandbox.endpoint_id(fraud.name)
    where = arm.patch(path, json={"tags": {"a": "b"}}).headers["location"].replace("Results", "sStatus")
    wait_until(lambda: faults.find("stuck")["hits"] == 1)
    assert arm.get(where).json()["status"] == "Updating"
    faults.clear("stuck")
    wait_until(lambda: arm.get(where).json()["status"] == "Succeeded")


def test_a_model_is_slow_or_fails(blue_only: Served, faults: Faults):
    """Too slow is 408, the model's own 500 is 424 with Azure's headers, and a draw is the same with its seed."""
    faults.declare("model-latency", delay_s=30, count=1, deployment="blue")
    assert blue_only.score().status_code == 408
    seen = []
    for name in ("first", "second"):
        faults.declare("model-error", rate=0.5, seed=3, name=name)
        answers = [blue_only.score() for _ in range(12)]
        faults.clear(name)
        seen.append([answer.status_code for answer in answers])
        failed = next(answer for answer in answers if answer.status_code != 200)
        assert failed.headers["ms-azureml-model-error-statuscode"] == "500"
    assert set(seen[0]) == {200, 424}
    assert seen[0] == seen[1]


def test_a_dead_instance_is_replaced(blue_only: Served, faults: Faults):
    """The killed process is gone, another takes its place, and the endpoint serves again."""
    faults.declare("instance-dead", endpoint=blue_only.name, deployment="blue", name="killer")
    wait_until(lambda: faults.find("killer")["state"] == "ended")
    wait_until(lambda: blue_only.score().status_code == 200)


def test_blob_storage_is_busy(faults: Faults, sandbox: RunningSandbox):
    """Blob storage answers 503 ServerBusy in its own XML."""
    faults.declare("blob-error", count=1)
    with sandbox.http() as client:
        answer = client.get("/blob/sandbox/anything?restype=container")
    assert answer.status_code == 503
    assert b"ServerBusy" in answer.content


def test_metrics_come_late(arm: httpx.Client, faults: Faults, sandbox: RunningSandbox):
    """A delay moves the last readable minute back."""

    def points() -> list[dict[str, Any]]:
        query = {"metricnames": "RequestsPerMinute", "interval": "PT1M"}
        body = arm.get(
            f"{sandbox.endpoint_id('counted')}/providers/Microsoft.Insights/metrics", params=query
        ).json()
        return body["value"][0]["timeseries"][0]["data"]

    before = points()
    faults.declare("metric-delay", delay_s=600)
    assert len(points()) <= len(before) - 9


def test_logs_come_late(blue_only: Served, faults: Faults, sandbox: RunningSandbox):
    """What was served before can be queried again only when the fault is over; other endpoints are not touched."""
    sandbox.keep_logs(blue_only.name)
    blue_only.score()
    token = sandbox.token("https://api.loganalytics.io")

    def rows(endpoint: str) -> int:
        query = {"query": "AmlOnlineEndpointTrafficLog | count"}
        with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
            answer = client.post(f"/v1{sandbox.endpoint_id(endpoint)}/query", json=query).raise_for_status()
        return answer.json()["tables"][0]["rows"][0][0]

    assert rows(blue_only.name) > 0
    faults.declare("log-delay", endpoint=blue_only.name, delay_s=3000, name="late")
    assert rows(blue_only.name) == 0
    assert rows("counted") > 0
    faults.clear("late")
    assert rows(blue_only.name) > 0


def test_a_scoring_token_expires(make_endpoint: Callable[..., Served], faults: Faults, sandbox: RunningSandbox):
    """Scoring with a token is 401 while the fault lasts, scoring with a key is not."""
    served = make_endpoint("aged", auth_mode="aml_token")
    with sandbox.arm() as arm:
        token = arm.post(f"{sandbox.endpoint_id('aged')}/token").json()["accessToken"]
    with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.post(served.url, json=ASK).status_code == 404
        faults.declare("token-expiry", operation="Scoring_Score", count=1)
        assert [client.post(served.url, json=ASK).status_code for _ in range(2)] == [401, 404]


def test_a_scenario_is_declared_from_a_file(tmp_path: Path, faults: Faults, sandbox: RunningSandbox):
    """All faults of a file begin, are listed by `status`, and are in the sandbox's log."""
    scenario = tmp_path / "bad-day.yml"
    scenario.write_text(
        "seed: 7\nfaults:\n  - {kind: arm-error, endpoint: absent, name: first}\n"
        "  - {kind: metric-gap, endpoint: absent, after_s: 50, name: later}\n"
    )
    _opslib(sandbox, "fault", "file", "--file", str(scenario))
    status = _opslib(sandbox, "status")
    assert "first                    active" in status
    assert "later                    waiting" in status
    _opslib(sandbox, "fault", "clear", "--name", "first")
    assert "first" not in _opslib(sandbox, "status")
    assert "fault first declared" in sandbox.home.log.read_text()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "meteor"},
        {"kind": "arm-error", "rate": 0},
        {"kind": "arm-error", "rate": "often"},
        {"kind": "arm-error", "seconds": 1e9},
        {"kind": "arm-error", "color": "red"},
        {"kind": "arm-error", "name": "a/b"},
        {"faults": []},
        {"faults": [{"kind": "arm-error", "name": "fine"}, {"kind": "arm-error", "status": 200}]},
    ],
)
def test_a_bad_fault_is_refused_whole(fault: dict[str, Any], sandbox: RunningSandbox):
    """What cannot be read is refused, and nothing of it begins."""
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as client:
        assert client.post("/sandbox/faults", json=fault).status_code == 400
        assert not any(row["name"] == "fine" for row in client.get("/sandbox/faults").json()["value"])


def test_faults_need_the_secret(sandbox: RunningSandbox):
    """Only the sandbox's owner declares, lists or clears faults."""
    with sandbox.http() as client:
        for method in ("GET", "POST", "DELETE"):
            assert (
                client.request(method, "/sandbox/faults", json=ASK if method == "POST" else None).status_code == 401
            )
