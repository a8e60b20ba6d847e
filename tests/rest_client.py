"""Code and models uploaded and an endpoint made by bare HTTP, as Microsoft's REST tutorial does."""

from pathlib import Path

import httpx
from awaiting import wait_until
from sandbox_fixture import RunningSandbox

URI_FIELDS = {"codes": "codeUri", "models": "modelUri"}


def upload(arm: httpx.Client, path: str, folder: Path, *, anonymous: bool = False) -> None:
    """Upload a folder's files and register them as the version of a code or a model that the path names."""
    kind = path.split("/")[-4]
    place = arm.post(f"{path}/startPendingUpload", json={}).json()["blobReferenceForConsumption"]
    base, signature = place["credential"]["sasUri"].split("?")
    for file in folder.glob("*.*"):
        arm.put(f"{base}/{folder.name}/{file.name}?{signature}", content=file.read_bytes()).raise_for_status()
    properties = {URI_FIELDS[kind]: f"{base}/{folder.name}", "isAnonymous": anonymous}
    arm.put(path, json={"properties": properties}).raise_for_status()


def make_endpoint(sandbox: RunningSandbox, app: Path) -> None:
    """Upload, register and deploy by bare HTTP, as the REST tutorial does."""
    with sandbox.arm() as arm:
        for kind, folder in (("codes", "code"), ("models", "model")):
            upload(arm, f"{sandbox.workspace_id}/{kind}/lasting/versions/1", app / folder)
        endpoint = sandbox.endpoint_id("lasting")
        body = {"location": "eastus", "properties": {"authMode": "Key"}}
        finish(arm, arm.put(endpoint, json=body))
        properties = {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "model": f"{sandbox.workspace_id}/models/lasting/versions/1",
            "codeConfiguration": {
                "codeId": f"{sandbox.workspace_id}/codes/lasting/versions/1",
                "scoringScript": "score.py",
            },
            "requestSettings": {"maxConcurrentRequestsPerInstance": 100},
        }
        blue = {"location": "eastus", "sku": {"name": "Default", "capacity": 1}, "properties": properties}
        finish(arm, arm.put(f"{endpoint}/deployments/blue", json=blue))
        finish(arm, arm.put(endpoint, json={**body, "properties": {"authMode": "Key", "traffic": {"blue": 100}}}))


def finish(arm: httpx.Client, started: httpx.Response) -> None:
    started.raise_for_status()
    where = started.headers["Azure-AsyncOperation"]
    assert wait_until(lambda: (said := arm.get(where).json()["status"]) != "Updating" and said) == "Succeeded"
