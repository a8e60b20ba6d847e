from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import sdk
from azure.identity import DefaultAzureCredential
from sandbox_fixture import RunningSandbox
from served import ASK, Counted, Served, deployment


@pytest.fixture(scope="session")
def credential(sandbox: RunningSandbox) -> DefaultAzureCredential:
    del sandbox  # its variables must be set first
    return DefaultAzureCredential()


@pytest.fixture(scope="session")
def ml(sandbox: RunningSandbox, credential: DefaultAzureCredential) -> sdk.MLClient:
    names = sandbox.workspace
    return sdk.MLClient(credential, names["subscription_id"], names["resource_group"], names["workspace_name"])


@pytest.fixture(scope="session")
def arm(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    with sandbox.arm() as client:
        yield client


@pytest.fixture(scope="session")
def make_endpoint(ml: sdk.MLClient, sandbox: RunningSandbox) -> Iterator[Callable[..., Served]]:
    clients: list[httpx.Client] = []

    def make(name: str, *deployments: str, **changes: Any) -> Served:
        endpoint = sdk.ManagedOnlineEndpoint(name=name, auth_mode=changes.pop("auth_mode", "key"))
        made = ml.online_endpoints.begin_create_or_update(endpoint).result(timeout=30)
        for color in deployments:
            ml.online_deployments.begin_create_or_update(deployment(color, name, **changes)).result(timeout=60)
        key = ml.online_endpoints.get_keys(name).primary_key if endpoint.auth_mode == "key" else ""
        clients.append(sandbox.http(headers={"Authorization": f"Bearer {key}"}))
        served = Served(sandbox, ml, name, clients[-1], made.scoring_uri)
        if deployments:
            served.set_traffic({deployments[0]: 100})
        return served

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def fraud(make_endpoint: Callable[..., Served]) -> Served:
    return make_endpoint("fraud", "blue", "green")


@pytest.fixture(scope="module", autouse=True)
def kept_quota(sandbox: RunningSandbox, arm: httpx.Client, fraud: Served, counted: Counted) -> Iterator[None]:
    """Delete the endpoints that a module made: all of them together need more than the quota."""
    del fraud, counted  # they are the session's
    endpoints = f"{sandbox.workspace_id}/onlineEndpoints"
    before = {one["name"] for one in arm.get(endpoints).json()["value"]}
    yield
    made = {one["name"] for one in arm.get(endpoints).json()["value"]} - before
    for name in made:
        arm.delete(f"{endpoints}/{name}")


@pytest.fixture
def blue_only(fraud: Served) -> Iterator[Served]:
    """The shared endpoint with all traffic on blue, before and after."""
    fraud.set_traffic({"blue": 100})
    yield fraud
    fraud.set_traffic({"blue": 100})


@pytest.fixture(scope="session", autouse=True)
def counted(make_endpoint: Callable[..., Served], sandbox: RunningSandbox) -> Counted:
    """Requests counted by their client, sent first of all so that their minute is complete when they are judged."""
    served = make_endpoint("counted", "blue", "green")
    sandbox.keep_logs("counted")
    served.set_traffic({"blue": 70, "green": 30})
    deployments, statuses, ids = Counter[str](), Counter[int](), []
    first_s = time.time()
    for number in range(200):
        body = ASK if number % 10 else {"fail": True}
        ids.append(f"probe-{number}" if number % 2 else f"opslib-{number}")
        answer = served.score(body, x_ms_client_request_id=ids[-1])
        deployments[answer.headers["azureml-model-deployment"]] += 1
        statuses[answer.status_code] += 1
    return Counted("counted", deployments, statuses, tuple(ids), first_s, time.time())
