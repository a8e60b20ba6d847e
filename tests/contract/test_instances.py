from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sdk
from awaiting import wait_until
from sandbox_fixture import RunningSandbox
from served import ASK, Served, deployment

from opslib.sandbox.cli.inventory import inventory

QUICK = {"initial_delay": 10, "period": 1, "timeout": 1, "failure_threshold": 2, "success_threshold": 1}
SIZE = "Standard_E2s_v3"  # a family of its own: the suite shares its quota
PATIENT = {"initial_delay": 1, "period": 1, "timeout": 1, "failure_threshold": 30}


def probes(readiness: dict[str, int], liveness: dict[str, int]) -> dict[str, sdk.ProbeSettings]:
    return {
        "readiness_probe": sdk.ProbeSettings(**readiness),
        "liveness_probe": sdk.ProbeSettings(**liveness),
    }


@pytest.fixture(scope="module")
def probed(make_endpoint: Callable[..., Served]) -> Served:
    return make_endpoint("probed", "blue", instance_type=SIZE, **probes(QUICK, PATIENT))


def _pids(served: Served) -> set[int]:
    rows = [
        row for row in inventory(served.sandbox.home) if row[0] == "instance" and row[1] == f"{served.name}/blue"
    ]
    return {int(row[3].split()[1]) for row in rows}


def test_readiness_decides_rotation(probed: Served):
    """What does not answer its readiness probe gets no traffic; what answers again does, in the same process."""
    (pid,) = _pids(probed)
    os.killpg(pid, signal.SIGSTOP)
    wait_until(lambda: probed.score().status_code == 503)
    os.killpg(pid, signal.SIGCONT)
    wait_until(lambda: probed.score().status_code == 200)
    assert _pids(probed) == {pid}


def _ids(served: Served) -> set[str]:
    """The instances that the event log names as started."""
    return _logged(served.sandbox, served.name, "where Name == 'Started' | distinct InstanceId")


def test_a_hanging_instance_is_restarted(probed: Served, sandbox: RunningSandbox):
    """An instance that fails its liveness probe too often is restarted under its id, and the log shows it."""
    sandbox.keep_logs(probed.name)
    probed.ml.online_deployments.begin_create_or_update(
        deployment("blue", probed.name, instance_type=SIZE, **probes(QUICK, QUICK))
    ).result(timeout=60)
    before, names = _pids(probed), _ids(probed)
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as client:
        fault = {"kind": "instance-hang", "endpoint": probed.name}
        client.post("/sandbox/faults", json=fault).raise_for_status()
    wait_until(lambda: _pids(probed) and not _pids(probed) & before)
    wait_until(lambda: probed.score().status_code == 200)
    assert len(names) == 1
    assert _ids(probed) == names
    assert {"LivenessProbeFailed", "ReadinessProbeFailed", "Killing", "BackOff"} <= _events(sandbox, probed.name)


def test_an_update_rolls_a_few_at_a_time(probed: Served, arm: httpx.Client):
    """Of two instances one is replaced at a time, never more than three are there, and no request fails."""
    probed.ml.online_deployments.begin_create_or_update(
        deployment("blue", probed.name, instance_type=SIZE, instance_count=2)
    ).result(60)
    changed = deployment(
        "blue", probed.name, instance_type=SIZE, instance_count=2, environment_variables={"COLOR": "azure"}
    )
    poller = probed.ml.online_deployments.begin_create_or_update(changed)
    most, seen = 0, set[Any]()
    while not poller.done():
        most = max(most, len(_pids(probed)))
        answer = probed.http.post(probed.url, json=ASK)
        seen.add((answer.status_code, answer.json()["color"]))
    assert most == 3
    assert seen == {(200, "blue"), (200, "azure")}
    assert probed.colors(5) == {"azure": 5}


def _events(sandbox: RunningSandbox, endpoint: str) -> set[str]:
    return _logged(sandbox, endpoint, "distinct Name")


def _logged(sandbox: RunningSandbox, endpoint: str, rest: str) -> set[str]:
    query = {"query": f"AmlOnlineEndpointEventLog | {rest}"}
    token = sandbox.token("https://api.loganalytics.io")
    with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
        answer = client.post(f"/v1{sandbox.endpoint_id(endpoint)}/query", json=query).raise_for_status()
    return {row[0] for row in answer.json()["tables"][0]["rows"]}
