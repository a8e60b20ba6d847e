"""Endpoints that tests take and give back: what no client has used serves the next test as it is."""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from awaiting import wait_until
from rest_client import upload
from runbook_world import SCORE, World, put
from sandbox_fixture import RunningSandbox

from opslib.azure.connect import Workspace
from opslib.model import Endpoint

STABLE = {"blue": 100}

Deployments = dict[str, dict[str, str]]
"""The environment variables of each deployment, by its name."""


@dataclass
class Worlds:
    """All endpoints of one sandbox, and those among them that no test uses now.

    An instance takes a second of processor time to start, so that an endpoint is used again. Only one that is as
    it was made can be: the same deployments, and no request of a client, which would be part of the next test's
    fifteen minutes of reference.
    """

    sandbox: RunningSandbox
    workspace: Workspace
    _made: dict[str, tuple[str, Deployments, Endpoint]] = field(default_factory=dict)
    _idle: list[World] = field(default_factory=list)
    _assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def take(self, folder: Path, deployments: Deployments, script: str = SCORE) -> World:
        """Return an endpoint whose deployment `blue` takes all traffic, with its files in the folder."""
        wanted: Deployments = {"blue": {}} | deployments
        for name in ("code", "model", "runs"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "code" / "score.py").write_text(script)
        (folder / "model" / "model.txt").write_text("weights")
        (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
        idle = next((world for world in self._idle if self._made[world.name][:2] == (script, wanted)), None)
        if idle is None:
            return self._make(folder, wanted, script)
        self._idle.remove(idle)
        return replace(idle, folder=folder, runs=folder / "runs")

    def give_back(self, world: World) -> None:
        """Keep an endpoint for the next test if it can be restored; delete it otherwise."""
        if self._restore(world):
            self._idle.append(world)
            return
        with self.sandbox.arm() as arm:
            arm.delete(self.sandbox.endpoint_id(world.name)).raise_for_status()

    def _make(self, folder: Path, wanted: Deployments, script: str) -> World:
        world = World(f"e{next(self._numbers):04d}", folder, folder / "runs", self.workspace)
        body: dict[str, object] = {
            "location": "eastus",
            "identity": {"type": "SystemAssigned"},
            "properties": {"authMode": "Key"},
        }
        path = self.sandbox.endpoint_id(world.name)
        with self.sandbox.arm() as arm:
            put(arm, path, body)
            self.sandbox.keep_logs(world.name)
            self._deploy(arm, path, wanted, self._assets.get(script) or self._register(arm, folder, script))
        world.route(**STABLE)
        self._made[world.name] = script, wanted, world.read()
        return world

    def _register(self, arm: httpx.Client, folder: Path, script: str) -> dict[str, Any]:
        """Register what worlds of a script share: code, model, environment; return how a deployment names them."""
        code, model, environment = (
            f"{self.sandbox.workspace_id}/{kind}/versions/{len(self._assets) + 1}"
            for kind in ("codes/claims", "models/claims", "environments/claims")
        )
        for path, content in ((code, "code"), (model, "model")):
            upload(arm, path, folder / content, anonymous=True)
        image = {
            "image": "mcr.microsoft.com/azureml/minimal:1",
            "condaFile": (folder / "conda.yml").read_text(),
            "isAnonymous": True,
        }
        arm.put(environment, json={"properties": image}).raise_for_status()
        self._assets[script] = {
            "codeConfiguration": {"codeId": code, "scoringScript": "score.py"},
            "model": model,
            "environmentId": environment,
        }
        return self._assets[script]

    def _deploy(self, arm: httpx.Client, endpoint: str, wanted: Deployments, assets: dict[str, Any]) -> None:
        """Create deployments as `World.create` does, by ARM: azure-ai-ml's first takes ten CPU seconds."""
        paths = [f"{endpoint}/deployments/{name}" for name in wanted]
        for path, (name, variables) in zip(paths, wanted.items(), strict=True):
            properties = {
                **assets,
                "endpointComputeType": "Managed",
                "environmentVariables": {"VERSION": name, **variables},
                "instanceType": "Standard_F2s_v2",
                "requestSettings": {"maxConcurrentRequestsPerInstance": 200},
            }
            body = {"location": "eastus", "kind": "Managed", "sku": {"name": "Default", "capacity": 1}}
            arm.put(path, json={**body, "properties": properties}).raise_for_status()
        for path in paths:
            wait_until(partial(provisioned, arm, path), within_s=60)

    def _restore(self, world: World) -> bool:
        """Return whether an endpoint is as it was made, after its traffic was set back."""
        if list(world.folder.glob("*.jsonl")):
            return False  # it was probed, or clients used it
        made, now = self._made[world.name][2], world.read()
        if (now.deployments, now.tags, now.provisioning_state) != (made.deployments, made.tags, "Succeeded"):
            return False  # changed, or left in the middle of a change
        world.route(**STABLE)
        return True


def provisioned(arm: httpx.Client, path: str) -> bool:
    """Return whether a deployment is ready; one that failed is no world."""
    deployment = arm.get(path).json()
    state = deployment["properties"]["provisioningState"]
    assert state != "Failed", deployment
    return bool(state == "Succeeded")
