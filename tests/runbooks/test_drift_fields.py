"""Drift of every writable field: none without a change, each one that a foreign client changed, and who it was."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from sandbox_fixture import RunningSandbox
from test_drift import foreign, plan_of
from writable_fields import BODIES, CHANGES, WORKSPACE, changed

from opslib.azure.connect import Workspace
from opslib.cli.main import main

REPLACED = {"properties.authMode", "properties.instanceType"}
"""Fields that Azure changes only by another resource of the same name."""


@pytest.fixture
def settled(sandbox: RunningSandbox, workspace: Workspace, tmp_path, monkeypatch) -> Iterator[httpx.Client]:
    """Two endpoints with every writable field, whose inventory and folder were written.

    Their image cannot be pulled: no process starts, and the deployments are there as they were sent.
    """
    monkeypatch.chdir(tmp_path)
    fault = {"kind": "image-pull", "endpoint": "drift-*", "seconds": 3600}
    own = {"X-IDENTITY-HEADER": sandbox.home.identity_header()}
    with sandbox.http(headers=own) as admin, sandbox.arm() as arm:
        admin.post("/sandbox/faults", json=fault).raise_for_status()
        register(arm, sandbox)
        for name in ("drift-a", "drift-b"):
            make(arm, sandbox, name)
        for name in ("drift-a", "drift-b"):
            settle(arm, sandbox, name)
        scale = {
            "location": "eastus",
            "properties": SCALED | {"targetResourceUri": f"{sandbox.endpoint_id('drift-a')}/deployments/blue"},
        }
        send(arm, setting_id(sandbox), scale)
        assert main(["inventory", "--output", "base.json"]) in {0, 4}  # 4: of other tests' endpoints
        yield arm
        arm.delete(setting_id(sandbox)).raise_for_status()
        for name in ("drift-a", "drift-b"):
            arm.delete(sandbox.endpoint_id(name)).raise_for_status()
        admin.delete("/sandbox/faults").raise_for_status()


SCALED: dict[str, Any] = {
    "enabled": False,
    "profiles": [{"name": "default", "capacity": {"minimum": "1", "maximum": "4", "default": "1"}, "rules": []}],
}


def group_of(sandbox: RunningSandbox) -> str:
    return sandbox.workspace_id.partition("/providers/")[0]


def setting_id(sandbox: RunningSandbox) -> str:
    return f"{group_of(sandbox)}/providers/Microsoft.Insights/autoscaleSettings/drift-size"


def register(client: httpx.Client, sandbox: RunningSandbox) -> None:
    """Register the versions of model, environment and code that the bodies name."""
    upload = client.post(f"{sandbox.workspace_id}/codes/c/versions/1/startPendingUpload", json={}).json()
    place = upload["blobReferenceForConsumption"]
    with sandbox.http(headers={"x-ms-blob-type": "BlockBlob"}) as storage:
        for script in ("score.py", "other.py"):
            blob = place["credential"]["sasUri"].replace("?", f"/{script}?", 1)
            storage.put(blob, content=b"x").raise_for_status()
    for kind, versions, asset in (
        ("models/fraud", (3, 4), {"modelUri": place["blobUri"], "modelType": "custom_model"}),
        ("environments/env", (1, 2), {"image": "mcr.microsoft.com/azureml/minimal:1"}),
        ("codes/c", (1, 2), {"codeUri": place["blobUri"]}),
    ):
        for version in versions:
            send(client, f"{sandbox.workspace_id}/{kind}/versions/{version}", {"properties": asset})


def body_of(sandbox: RunningSandbox, kind: str, *paths: str) -> dict[str, Any]:
    """A body of the sandbox's workspace, with the changes of these fields."""
    body = BODIES[kind]
    for path in paths:
        body = changed(body, path, CHANGES[kind][path])
    own: dict[str, Any] = json.loads(json.dumps(body).replace(WORKSPACE, sandbox.workspace_id))
    return own


def make(client: httpx.Client, sandbox: RunningSandbox, name: str, *, replaced: bool = False) -> None:
    """Make an endpoint with blue and green; replaced, with another authentication and type of instance."""
    path, only = sandbox.endpoint_id(name), sorted(REPLACED) if replaced else []
    body = body_of(sandbox, "endpoint", *only[:1])
    body["properties"] |= {"traffic": {}, "mirrorTraffic": {}}
    send(client, path, body)
    wait_until(lambda: state(client, path) == "Succeeded")
    for deployment in ("blue", "green"):
        sent = body_of(sandbox, "deployment", *(only[1:] if deployment == "blue" else []))
        send(client, f"{path}/deployments/{deployment}", sent)


def settle(client: httpx.Client, sandbox: RunningSandbox, name: str, **properties: dict[str, int]) -> None:
    """Await both deployments, which fail, and set the traffic."""
    path = sandbox.endpoint_id(name)
    wait_until(lambda: {state(client, f"{path}/deployments/{one}") for one in ("blue", "green")} == {"Failed"})
    body = client.get(path).json()
    body["properties"] |= {"traffic": {"blue": 100}} | properties
    send(client, path, body)
    wait_until(lambda: state(client, path) == "Succeeded")


def send(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.put(path, json=body)
    assert answer.is_success, answer.text


def state(client: httpx.Client, path: str) -> str:
    return str(client.get(path).raise_for_status().json()["properties"]["provisioningState"])


def test_each_writable_field_is_found_and_attributed(settled: httpx.Client, sandbox: RunningSandbox, capsys):
    """No drift before; afterwards each changed field of endpoint, deployment and autoscale setting, and by whom."""
    for name in ("drift-a", "drift-b"):
        code, changes = plan_of(capsys, "base.json", "--endpoint", name)
        assert (code, {tuple(one["change"]["actions"]) for one in changes.values()}) == (0, {("no-op",)}), [
            one["fields"] for one in changes.values()
        ]
    assert len(changes) == 3
    wanted = change_everything(sandbox)
    _, changes = plan_of(capsys, "base.json")
    changes = {name: one for name, one in changes.items() if "drift-" in name}  # the others are other tests'
    seen = {name: {field["path"] for field in one["fields"]} for name, one in changes.items()}
    assert {name: seen[name] ^ fields for name, fields in wanted.items() if seen[name] != fields} == {}
    found = {field for name, fields in seen.items() if "size" not in name for field in fields}
    assert found == {path for fields in CHANGES.values() for path in fields}
    assert {one["changed_by"][0]["caller"] for name, one in changes.items() if seen[name]} == {"urbancart-script"}
    assert changes["drift-b"]["change"]["actions"] == ["delete", "create"]
    assert changes["drift-a"]["change"]["before"]["properties"]["description"] == "changed"
    assert main(["drift", "base.json", "--endpoint", "drift-a", "--fix"]) == 3
    printed = capsys.readouterr().out
    assert "~ azureml_online_endpoint.drift-a differs" in printed
    assert "fix: opslib run canary -p endpoint=drift-a -p canary=blue-2" in printed
    assert "fix: opslib autoscale set drift-a --deployment blue --min 1 --max 4" in printed
    assert "changed by urbancart-script" in printed


def change_everything(sandbox: RunningSandbox) -> dict[str, set[str]]:
    """Change every field as another team's program would; return the fields by resource."""
    a, b = sandbox.endpoint_id("drift-a"), sandbox.endpoint_id("drift-b")
    mirror = "properties.mirrorTraffic.green"
    of_endpoint = CHANGES["endpoint"].keys() - REPLACED - {mirror}
    of_deployment = CHANGES["deployment"].keys() - REPLACED
    with foreign(sandbox, group_of(sandbox)) as client:
        send(client, a, body_of(sandbox, "endpoint", *of_endpoint))
        client.delete(b).raise_for_status()
        wait_until(lambda: state(client, a) == "Succeeded")
        sent = body_of(sandbox, "deployment", *of_deployment)
        send(client, f"{a}/deployments/blue", sent)
        scaled = client.get(setting_id(sandbox)).json()
        scaled["properties"]["profiles"][0]["capacity"]["maximum"] = "8"
        send(client, setting_id(sandbox), scaled)
        wait_until(lambda: client.get(b).status_code == 404)
        make(client, sandbox, "drift-b", replaced=True)
        settle(client, sandbox, "drift-b", mirrorTraffic={"green": 10})
        wait_until(lambda: state(client, f"{a}/deployments/blue") == "Failed")
    return {
        "drift-a": set(of_endpoint),
        "drift-a/blue": set(of_deployment),
        "drift-a/green": set(),
        "drift-b": {"properties.authMode", mirror},
        "drift-b/blue": {"properties.instanceType"},
        "drift-b/green": set(),
        "drift-size": {"properties.profiles.default.maximum"},
    }
