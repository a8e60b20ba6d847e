"""A sandbox's store with many workspaces, endpoints and deployments in it, written without starting a process."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from sandbox_fixture import RunningSandbox, running_sandbox

from opslib.azure.arm import ArmClient
from opslib.azure.connect import Workspace, connect
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us
from opslib.sandbox.core.home import Home
from opslib.sandbox.telemetry.telemetry import SCHEMA

REGIONS = ("eastus", "westeurope", "northeurope", "uksouth", "westus2")
SUBSCRIPTIONS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
SIZES = ("Standard_DS3_v2", "Standard_F4s_v2", "Standard_DS2_v2")
SERVED_EVERY = 7
"""Every seventh endpoint has had requests in the last day."""


def workspace_id(number: int) -> str:
    """A workspace's id: ten in a cycle over two subscriptions and five groups."""
    subscription = SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)]
    return (
        f"/subscriptions/{subscription}/resourceGroups/team-{number % 5}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/ws-{number}"
    )


def fill_store(state: Path, endpoints: int, workspaces: int = 10) -> list[str]:
    """Write endpoints with two deployments each, spread over workspaces; return the endpoints' ids."""
    state.mkdir(parents=True, exist_ok=True)
    store = Store(state / "state.db")
    with store.transaction():
        for number in range(workspaces):
            store.put(Resource(workspace_id(number), "workspaces", _workspace(number)))
        made = [resource.id for number in range(endpoints) for resource in _endpoint(store, number, workspaces)]
    store.close()
    _serve(state / "telemetry.db", made[::SERVED_EVERY])
    return made


def _workspace(number: int) -> dict[str, Any]:
    return {"location": REGIONS[number % len(REGIONS)], "tags": {}, "systemData": _system(), "properties": {}}


def _endpoint(store: Store, number: int, workspaces: int) -> Iterator[Resource]:
    place = number % workspaces
    region = REGIONS[place % len(REGIONS)]
    failed = "Failed" if number % 50 == 3 else "Succeeded"
    common = {
        "location": region,
        "tags": {"team": f"team-{number % 4}"},
        "kind": "Managed",
        "systemData": _system(),
    }
    body = {
        **common,
        "sku": None,
        "identity": {"type": "SystemAssigned", "principalId": f"p-{number}", "tenantId": "t"},
        "properties": {
            "authMode": "Key",
            "description": None,
            "properties": {},
            "compute": None,
            "traffic": {"blue": 100},
            "mirrorTraffic": {},
            "publicNetworkAccess": "Enabled",
            "provisioningState": "Succeeded",
        },
    }
    endpoint = f"{workspace_id(place)}/onlineEndpoints/endpoint-{number:04d}"
    yield store.put(Resource(endpoint, "onlineEndpoints", body, {}, {"operation": f"oeidp:{number}"}))
    for name, state in (("blue", "Succeeded"), ("green", failed)):
        workspace = workspace_id(place)
        properties = {
            "endpointComputeType": "Managed",
            "instanceType": SIZES[number % len(SIZES)],
            "model": f"{workspace}/models/model-{number % 20}/versions/{1 + (name == 'green')}",
            "environmentId": f"{workspace}/environments/env/versions/1",
            "codeConfiguration": {"codeId": f"{workspace}/codes/c/versions/1", "scoringScript": "score.py"},
            "environmentVariables": {},
            "properties": {},
            "requestSettings": {
                "requestTimeout": "PT5S",
                "maxConcurrentRequestsPerInstance": 1,
                "maxQueueWait": "PT0S",
            },
            "scaleSettings": {"scaleType": "Default"},
            "egressPublicNetworkAccess": "Enabled",
            "appInsightsEnabled": False,
            "provisioningState": state,
        }
        one = {**common, "sku": {"name": "Default", "capacity": 1 + number % 3}, "identity": None}
        one["properties"] = properties
        internal = {"operation": f"odidp:{number}"}
        store.put(Resource(f"{endpoint}/deployments/{name}", "deployments", one, {}, internal))


def _serve(path: Path, endpoints: list[str]) -> None:
    """Write two requests of the last hours to each endpoint's `blue`."""
    columns = {
        "method": "POST",
        "path": "/score",
        "protocol": "HTTP/1.1",
        "reason": "OK",
        "total_ms": 5.0,
        "code": 200,
    }
    names = ("at_us", "endpoint", "deployment", *columns)
    marks = ", ".join("?" * len(names))
    hour = 3600 * MICROSECONDS
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            f"INSERT INTO requests ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - names of our own
            [
                (now_us() - hours * hour, one.lower(), "blue", *columns.values())
                for one in endpoints
                for hours in (2, 5)
            ],
        )
    connection.close()


def _system() -> dict[str, Any]:
    at = iso(now_us())
    return {"createdBy": "HarborShield pipeline", "createdAt": at, "lastModifiedAt": at}


@dataclass(frozen=True)
class Estate:
    """A running sandbox with many workspaces, and clients of it."""

    sandbox: RunningSandbox
    workspace: Workspace

    @contextmanager
    def fault(self, kind: str, **fields: Any) -> Iterator[None]:
        """Declare a fault for as long as the block runs."""
        with self._own_api() as client:
            client.post("/sandbox/faults", json={"kind": kind, **fields}).raise_for_status()
            yield
            client.delete("/sandbox/faults").raise_for_status()

    @contextmanager
    def caller(self, role: str, scope: str) -> Iterator[Workspace]:
        """Connect as a principal with a role on a scope."""
        with self._own_api() as client:
            sent = {"name": "someone", "role": role, "scope": scope}
            who = client.post("/sandbox/principals", json=sent).raise_for_status().json()["value"][0]
            form = {
                "grant_type": "client_credentials",
                "client_id": who["client_id"],
                "client_secret": who["client_secret"],
                "scope": f"{self.sandbox.url}/.default",
            }
            answer = client.post(f"/{who['tenant_id']}/oauth2/v2.0/token", data=form).raise_for_status()
            arm = ArmClient(self.sandbox.url, Bearer(answer.json()["access_token"]))
            yield replace(self.workspace, arm=arm)
            client.delete("/sandbox/principals/someone").raise_for_status()

    def _own_api(self) -> httpx.Client:
        return self.sandbox.http(headers={"X-IDENTITY-HEADER": self.sandbox.home.identity_header()})


@dataclass(frozen=True)
class Bearer:
    """A credential with one token."""

    token: str

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self.token, int(time.time()) + 3600)


@pytest.fixture(scope="session")
def estate_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox with 30 endpoints in ten workspaces, of which no process runs."""
    root = tmp_path_factory.mktemp("estate")
    fill_store(Home(root).state, 30)
    with running_sandbox(root) as running:
        yield running


@pytest.fixture
def estate(estate_sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(estate_sandbox.home.root))
    with estate_sandbox.pointed():
        yield Estate(estate_sandbox, connect("sandbox"))
