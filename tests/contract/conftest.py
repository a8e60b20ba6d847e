import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.identity import DefaultAzureCredential
from sandbox_fixture import RunningSandbox

APP = Path(__file__).parent / "app"
IMAGE = "mcr.microsoft.com/azureml/minimal-py312-inference:latest"
ASK = {"data": [1, 2, 3]}


@pytest.fixture(scope="session")
def credential(sandbox: RunningSandbox) -> DefaultAzureCredential:
    del sandbox  # its variables must be set first
    return DefaultAzureCredential()


@pytest.fixture(scope="session")
def ml(sandbox: RunningSandbox, credential: DefaultAzureCredential) -> MLClient:
    names = sandbox.workspace
    return MLClient(credential, names["subscription_id"], names["resource_group"], names["workspace_name"])


@pytest.fixture(scope="session")
def arm(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    with sandbox.arm() as client:
        yield client


def deployment(name: str, endpoint: str, **changes: Any) -> ManagedOnlineDeployment:
    values: dict[str, Any] = {
        "model": Model(path=APP / "model"),
        "code_configuration": CodeConfiguration(code=str(APP / "code"), scoring_script="score.py"),
        "environment": Environment(image=IMAGE, conda_file=APP / "conda.yml"),
        "environment_variables": {"COLOR": name},
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
        "request_settings": OnlineRequestSettings(request_timeout_ms=5000, max_concurrent_requests_per_instance=8),
    }
    return ManagedOnlineDeployment(name=name, endpoint_name=endpoint, **(values | changes))


@dataclass(frozen=True)
class Served:
    """An endpoint with blue and green, all traffic on blue, and a client with its key."""

    sandbox: RunningSandbox
    ml: MLClient
    name: str
    http: httpx.Client
    url: str

    def score(self, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.http.post(self.url, json=body or ASK, headers=named)

    def set_traffic(self, traffic: dict[str, int], mirror: dict[str, int] | None = None) -> None:
        endpoint = self.ml.online_endpoints.get(self.name)
        endpoint.traffic, endpoint.mirror_traffic = traffic, mirror or {}
        self.ml.online_endpoints.begin_create_or_update(endpoint).result(timeout=30)

    def colors(self, requests: int) -> Counter[str]:
        return Counter(self.score().json()["color"] for _ in range(requests))


@pytest.fixture(scope="session")
def make_endpoint(ml: MLClient, sandbox: RunningSandbox) -> Iterator[Callable[..., Served]]:
    clients: list[httpx.Client] = []

    def make(name: str, *deployments: str, **changes: Any) -> Served:
        endpoint = ManagedOnlineEndpoint(name=name, auth_mode=changes.pop("auth_mode", "key"))
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


@pytest.fixture
def blue_only(fraud: Served) -> Iterator[Served]:
    """The shared endpoint with all traffic on blue, before and after."""
    fraud.set_traffic({"blue": 100})
    yield fraud
    fraud.set_traffic({"blue": 100})


@dataclass(frozen=True)
class Counted:
    """What a client sent to an endpoint of its own, and when it had all answers [epoch seconds]."""

    endpoint: str
    by_deployment: Counter[str]
    by_status: Counter[int]
    ids: tuple[str, ...]
    first_s: float
    last_s: float


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


def wait_until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Ask again until the answer is truthy; the last answer when time is up is a failure."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        time.sleep(0.05)
    return answer
