"""Workspaces: created in several groups, listed, deleted; their keys; assets deleted as a whole."""

from __future__ import annotations

import httpx
import sdk
from awaiting import wait_until
from faults_fixture import Faults
from sandbox_fixture import RunningSandbox
from served import Served

from opslib.sandbox.cli.control import read_state


def test_the_keys_and_the_diagnosis_of_a_workspace_are_read(
    ml: sdk.MLClient, arm: httpx.Client, sandbox: RunningSandbox
):
    """The key is that of its storage account; a deleted workspace has none."""
    keys = ml.workspaces.get_keys(sandbox.workspace_name)
    account = arm.get(sandbox.workspace_id).json()["properties"]["storageAccount"]
    assert keys.user_storage_key == arm.post(f"{account}/listKeys").json()["keys"][0]["value"]
    assert keys.user_storage_resource_id == account
    ml.workspaces.begin_sync_keys(sandbox.workspace_name).result()
    found = ml.workspaces.begin_diagnose(sandbox.workspace_name).result()
    assert found.storage_account_results == []


def test_an_asset_is_deleted_with_its_versions(arm: httpx.Client, sandbox: RunningSandbox):
    """And is made again from its first version."""
    path = f"{sandbox.workspace_id}/models/passing"
    for version in ("1", "2"):
        sent = {"properties": {"modelUri": f"https://127.0.0.1/models/{version}"}}
        arm.put(f"{path}/versions/{version}", json=sent).raise_for_status()
    assert arm.delete(path).status_code == 200
    assert [arm.get(one).status_code for one in (path, f"{path}/versions/1")] == [404, 404]
    assert arm.delete(path).status_code == 204


def test_workspaces_are_created_in_several_groups_and_deleted(ml: sdk.MLClient, arm: httpx.Client):
    """Those of the subscription are listed; a deleted one is gone until it is created again."""
    clients = {group: sdk.MLClient(ml._credential, ml.subscription_id, group) for group in ("risk", "claims")}
    for group, name in (("risk", "one"), ("risk", "two"), ("claims", "one")):
        clients[group].workspaces.begin_create(sdk.Workspace(name=name, tags={"team": group})).result()
    found = {(one.resource_group, one.name) for one in ml.workspaces.list(scope="subscription")}
    assert {("risk", "one"), ("risk", "two"), ("claims", "one")} <= found
    base = f"/subscriptions/{ml.subscription_id}/resourceGroups/risk/providers/Microsoft.MachineLearningServices"
    assert arm.get(f"{base}/workspaces/one").json()["tags"]["team"] == "risk"
    clients["risk"].workspaces.begin_delete("one", delete_dependent_resources=False).result()
    assert arm.get(f"{base}/workspaces/one").status_code == 404
    assert [one["name"] for one in arm.get(f"{base}/workspaces").json()["value"]] == ["two"]
    assert arm.put(f"{base}/workspaces/one", json={"location": "westeurope"}).status_code == 201
    assert arm.get(f"{base}/workspaces/one").json()["location"] == "westeurope"
    for group, name in (("risk", "one"), ("risk", "two"), ("claims", "one")):
        clients[group].workspaces.begin_delete(name, delete_dependent_resources=False).result()
    assert {one.resource_group for one in ml.workspaces.list(scope="subscription")}.isdisjoint(clients)


def test_a_deleted_workspace_ends_what_was_under_way_in_it(
    blue_only: Served, arm: httpx.Client, faults: Faults, sandbox: RunningSandbox
):
    """Its deployment is not started any more, and nothing is listed or made in it until it is created again."""
    blue = arm.get(f"{sandbox.endpoint_id(blue_only.name)}/deployments/blue").json()
    workspace = sandbox.workspace_id.rsplit("/", 1)[0] + "/brief"
    endpoint = f"{workspace}/onlineEndpoints/short-lived"
    arm.put(endpoint, json={"location": "eastus", "properties": {"authMode": "Key"}}).raise_for_status()
    wait_until(lambda: arm.get(endpoint).json()["properties"]["provisioningState"] == "Succeeded")
    faults.declare("lro-hang", endpoint="short-lived", seconds=60)
    where = arm.put(f"{endpoint}/deployments/blue", json=blue).raise_for_status().headers["Azure-AsyncOperation"]
    assert arm.delete(workspace).status_code == 200
    for method, path in (("GET", f"{workspace}/onlineEndpoints"), ("PUT", endpoint)):
        answer = arm.request(method, path, json=arm.get(sandbox.endpoint_id(blue_only.name)).json())
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")
    faults.clear()
    wait_until(lambda: arm.get(where).json()["status"] == "Canceled")
    assert not [name for (name,) in read_state(sandbox.home, "SELECT deployment FROM instances") if "brief" in name]
    assert arm.put(workspace, json={"location": "eastus"}).status_code == 201
    assert arm.get(f"{workspace}/onlineEndpoints").json() == {"value": []}
