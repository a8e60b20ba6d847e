"""What the contract tests deploy, and the values that their fixtures hand out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sdk
from sandbox_fixture import RunningSandbox

APP = Path(__file__).parent / "app"
IMAGE = "mcr.microsoft.com/azureml/minimal-py312-inference:latest"
ASK = {"data": [1, 2, 3]}


def deployment(name: str, endpoint: str, **changes: Any) -> sdk.ManagedOnlineDeployment:
    values: dict[str, Any] = {
        "model": sdk.Model(path=APP / "model"),
        "code_configuration": sdk.CodeConfiguration(code=str(APP / "code"), scoring_script="score.py"),
        "environment": sdk.Environment(image=IMAGE, conda_file=APP / "conda.yml"),
        "environment_variables": {"COLOR": name},
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
        "request_settings": sdk.OnlineRequestSettings(
            request_timeout_ms=5000, max_concurrent_requests_per_instance=8
        ),
    }
    return sdk.ManagedOnlineDeployment(name=name, endpoint_name=endpoint, **(values | changes))


@dataclass(frozen=True)
class Served:
    """An endpoint with blue and green, all traffic on blue, and a client with its key."""

    sandbox: RunningSandbox
    ml: sdk.MLClient
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


@dataclass(frozen=True)
class Counted:
    """What a client sent to an endpoint of its own, and when it had all answers [epoch seconds]."""

    endpoint: str
    by_deployment: Counter[str]
    by_status: Counter[int]
    ids: tuple[str, ...]
    first_s: float
    last_s: float
