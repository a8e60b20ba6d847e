"""What must always hold of a sandbox, after any operations in any order, its instances left out."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from opslib.sandbox.arm.errors import ProvisioningFailed
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import OPERATOR
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import skus
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.endpoints import quota
from opslib.sandbox.endpoints.lifecycle import SETTLED
from opslib.sandbox.scoring.responses import ScoringResponse
from opslib.sandbox.server.daemon import build
from opslib.sandbox.server.pipeline import answer

URL = "https://127.0.0.1:1"
W = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
ENDPOINTS, DEPLOYMENTS = st.sampled_from(["one", "two", "x"]), st.sampled_from(["blue", "green", "GREEN", "-"])
WEIGHTS = st.dictionaries(DEPLOYMENTS, st.sampled_from([-1, 0, 10, 40, 50, 60, 90, 100, "100"]), max_size=3)
TRANSITIONS = {
    "": ("Creating",),
    "Creating": (*SETTLED, "Creating"),
    "Updating": SETTLED,
    "Scaling": SETTLED,
    "Deleting": SETTLED,
    **dict.fromkeys(SETTLED, ("Updating", "Scaling", "Deleting")),
}


class AnySequence(RuleBasedStateMachine):
    """Valid and invalid operations on a sandbox with simulated instances."""

    @initialize()
    def start(self) -> None:
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._patch = pytest.MonkeyPatch()
        self._fails = False
        self._served: list[str] = []
        self._patch.setattr("opslib.sandbox.endpoints.deployments._resolved", lambda deployment, _: deployment)
        self._runner.run(self._build())

    async def _build(self) -> None:
        home = Home(Path(self._folder.name))
        home.prepare()
        self.sandbox = build(home, URL, URL, Settings(operation_s=0, quota_cores=40, seed=1))
        self._token = self.sandbox.tokens.issue_for(OPERATOR, URL, 3600).token
        fleet, gateway, store = self.sandbox.fleet, self.sandbox.gateway, self.sandbox.store

        async def converge(_deployment: Resource) -> None:
            await asyncio.sleep(0)
            if self._fails:
                raise ProvisioningFailed("ResourceNotReady", "as requested")

        async def serve(deployment: Resource, _request: Request) -> ScoringResponse:
            return ScoringResponse(200, deployment.name.encode())

        put = store.put

        def watched(resource: Resource) -> Resource:
            before = store.get(resource.id)
            if resource.kind in ("onlineEndpoints", "deployments"):
                was = before.state if before is not None else ""
                assert resource.state == was or resource.state in TRANSITIONS[was], (was, resource.state)
            return put(resource)

        self._patch.setattr(fleet, "converge", converge)
        self._patch.setattr(gateway, "_serve", serve)
        self._patch.setattr(store, "put", watched)

    def teardown(self) -> None:
        if hasattr(self, "sandbox"):
            self._runner.run(self._close())
            self._patch.undo()
            self._runner.close()
            self._folder.cleanup()

    async def _close(self) -> None:
        await self.sandbox.lifecycle.close()
        await self.sandbox.gateway.close()
        await self.sandbox.fleet.close()
        self.sandbox.telemetry.close()
        self.sandbox.store.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        content = b"" if body is None else json.dumps(body).encode()
        sent = {
            "authorization": f"Bearer {self._token}",
            **{key.replace("_", "-"): one for key, one in headers.items()},
        }
        request = Request(method, path, {}, sent, content, URL, "id")
        response = self._runner.run(answer(request, self.sandbox))
        assert response.status < 500, (method, path, body, response)
        return response

    @rule(name=ENDPOINTS, traffic=WEIGHTS, mirror=WEIGHTS)
    def put_endpoint(self, name: str, traffic: dict[str, Any], mirror: dict[str, Any]) -> None:
        properties = {"authMode": "Key", "traffic": traffic, "mirrorTraffic": mirror}
        self.ask("PUT", f"{W}/onlineEndpoints/{name}", {"location": "eastus", "properties": properties})

    @rule(name=ENDPOINTS, color=st.sampled_from(["blue", "green"]))
    def give_all_traffic(self, name: str, color: str) -> None:
        self.put_endpoint(name, {color: 100}, {})

    @rule(name=ENDPOINTS, color=DEPLOYMENTS, capacity=st.sampled_from([-1, 0, 1, 2, 4, 8, 51]))
    def put_deployment(self, name: str, color: str, capacity: int) -> None:
        body = {
            "location": "eastus",
            "sku": {"name": "Default", "capacity": capacity},
            "properties": {
                "instanceType": "Standard_DS3_v2",
                "codeConfiguration": {"codeId": "c", "scoringScript": "s"},
            },
        }
        self.ask("PUT", f"{W}/onlineEndpoints/{name}/deployments/{color}", body)

    @rule(name=ENDPOINTS, color=DEPLOYMENTS, capacity=st.integers(-1, 12))
    def scale(self, name: str, color: str, capacity: int) -> None:
        self.ask("PATCH", f"{W}/onlineEndpoints/{name}/deployments/{color}", {"sku": {"capacity": capacity}})

    @rule(name=ENDPOINTS, color=DEPLOYMENTS)
    def delete_deployment(self, name: str, color: str) -> None:
        self.ask("DELETE", f"{W}/onlineEndpoints/{name}/deployments/{color}")

    @rule(name=ENDPOINTS)
    def delete_endpoint(self, name: str) -> None:
        self.ask("DELETE", f"{W}/onlineEndpoints/{name}")

    @rule(fails=st.booleans())
    def settle(self, fails: bool) -> None:
        self._fails = fails
        for _ in range(20):
            self._runner.run(asyncio.sleep(0.001))

    @rule(name=ENDPOINTS, forced=st.sampled_from(["", "blue", "green"]))
    def score(self, name: str, forced: str) -> None:
        endpoint = self.sandbox.store.get(f"{W}/onlineEndpoints/{name}")
        key = endpoint.secrets["primaryKey"] if endpoint is not None else "none"
        headers = {"azureml_model_deployment": forced} if forced else {}
        answered = self.ask("POST", f"/inference/eastus/{name}/score", {}, authorization=f"Bearer {key}", **headers)
        if answered.status == 200 and endpoint is not None and not forced:
            weights = {one.lower(): weight for one, weight in endpoint.properties["traffic"].items()}
            assert weights[cast(bytes, answered.body).decode().lower()] > 0

    @invariant()
    def traffic_adds_up(self) -> None:
        for endpoint in self._all("onlineEndpoints"):
            names = {one.name.lower() for one in self.sandbox.store.children(endpoint.id, "deployments")}
            traffic, mirror = endpoint.properties["traffic"], endpoint.properties["mirrorTraffic"]
            assert sum(traffic.values()) in (0, 100)
            assert sum(mirror.values()) <= 50
            assert {one.lower() for one in (*traffic, *mirror)} <= names

    @invariant()
    def quota_holds(self) -> None:
        if hasattr(self, "sandbox"):
            for family in skus.families():
                assert quota.cores_in_use(self.sandbox.store, "s", "eastus", family) <= 40

    def _all(self, kind: str) -> list[Resource]:
        return self.sandbox.store.all(kind) if hasattr(self, "sandbox") else []


AnySequence.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class TestAnySequence(AnySequence.TestCase):  # type: ignore[valid-type, misc]
    """Traffic sums to 0 or 100, weight 0 serves no request, states follow the machine, quota is never over."""
