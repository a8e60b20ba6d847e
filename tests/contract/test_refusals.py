from __future__ import annotations

import json
import re

import httpx
import pytest
import sdk
from awaiting import wait_until
from azure.core.exceptions import HttpResponseError
from faults_fixture import Faults
from sandbox_fixture import RunningSandbox
from served import Served, deployment


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"traffic": {"blue": 95}}, "sum of traffic percentages must be 0 or 100, got 95"),
        ({"traffic": {"blue": 60, "green": 60}}, "must be 0 or 100, got 120"),
        ({"traffic": {"blue": 99.5, "green": 0.5}}, "must be an integer from 0 to 100"),
        ({"traffic": {"blue": 120, "green": -20}}, "must be an integer from 0 to 100"),
        ({"traffic": {"purple": 100}}, "'purple', which does not exist"),
        ({"mirrorTraffic": {"green": 60}}, "at most 50 percent"),
        ({"mirrorTraffic": {"blue": 10}}, "live and mirror traffic at the same time"),
        ({"traffic": {}, "mirrorTraffic": {"blue": 10, "green": 10}}, "one deployment only"),
        ({"mirrorTraffic": {"purple": 10}}, "does not exist"),
        ({"authMode": "AMLToken"}, "AuthMode cannot be changed"),
        ({"authMode": "Open"}, "AuthMode must be one of"),
    ],
)
def test_bad_endpoint_updates_change_nothing(fraud: Served, arm: httpx.Client, change, words):
    """A refused endpoint update is a 400 with a reason, and leaves the endpoint as it was."""
    path = fraud.sandbox.endpoint_id(fraud.name)
    before = arm.get(path).json()
    body = {**before, "properties": {**before["properties"], **change}}
    answer = arm.put(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    inner = json.loads(answer.json()["error"]["details"][0]["message"])
    assert inner["title"] == "One or more validation errors occurred."
    assert arm.get(path).json() == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tags",), "text"),
        (("tags",), {"a": 1}),
        (("identity",), []),
        (("identity", "type"), "Managed"),
        (("identity",), {"type": "UserAssigned", "userAssignedIdentities": ["one"]}),
        (("properties",), None),
        (("properties", "traffic"), [100]),
        (("properties", "properties"), 7),
        (("properties", "authMode"), {}),
        (("location",), None),
    ],
)
def test_misshapen_bodies_are_the_callers_error(fraud: Served, arm: httpx.Client, path: tuple[str, ...], value):
    """A body of the wrong shape is a 400, never a failure of the service."""
    body = arm.get(fraud.sandbox.endpoint_id(fraud.name)).json()
    inside = body
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    assert arm.put(fraud.sandbox.endpoint_id(fraud.name), json=body).status_code == 400


def test_a_null_is_the_default(blue_only: Served, arm: httpx.Client):
    """A client that sends every field, without values for those that it leaves to the service, is accepted."""
    path = f"{blue_only.sandbox.endpoint_id(blue_only.name)}/deployments/green"
    body = arm.get(path).json()
    wanted = body["properties"]["requestSettings"]
    body["properties"]["requestSettings"] = {**wanted, "maxConcurrentRequestsPerInstance": None}
    arm.put(path, json=body).raise_for_status()
    wait_until(lambda: arm.get(path).json()["properties"]["provisioningState"] == "Succeeded")
    assert arm.get(path).json()["properties"]["requestSettings"]["maxConcurrentRequestsPerInstance"] == 1
    body["properties"]["requestSettings"] = wanted
    arm.put(path, json=body).raise_for_status()
    wait_until(lambda: arm.get(path).json()["properties"]["provisioningState"] == "Succeeded")


def test_code_without_a_script_is_refused(fraud: Served, arm: httpx.Client):
    """The refusal names the field."""
    path = f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/blue"
    body = arm.get(path).json()
    del body["properties"]["codeConfiguration"]["scoringScript"]
    answer = arm.put(path, json=body)
    assert (answer.status_code, "lacks its scoringScript" in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff"])
def test_what_is_no_json_object_is_refused(fraud: Served, arm: httpx.Client, content: bytes):
    """A body that is no JSON object is a 400."""
    assert arm.put(fraud.sandbox.endpoint_id(fraud.name), content=content).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requestSettings", "PT5S"),
        ("requestSettings", {"requestTimeout": "five"}),
        ("requestSettings", {"maxConcurrentRequestsPerInstance": 0}),
        ("livenessProbe", {"initialDelay": "PT0.5S"}),
        ("readinessProbe", {"failureThreshold": "many"}),
        ("scaleSettings", {"scaleType": "TargetUtilization"}),
        ("environmentVariables", {"A": 1}),
        ("codeConfiguration", {"codeId": "nowhere", "scoringScript": "score.py"}),
        ("modelMountPath", "/../../etc"),
        ("environmentId", "/subscriptions/s/nowhere"),
    ],
)
def test_misshapen_deployments_are_the_callers_error(fraud: Served, arm: httpx.Client, field: str, value):
    """A deployment's body of the wrong shape, or leaving its folder, is a 400."""
    path = f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/blue"
    body = arm.get(path).json()
    body["properties"][field] = value
    assert arm.put(path, json=body).status_code == 400


@pytest.mark.parametrize("name", ["ab", "1abc", "abc-", "a" * 33, "a_b", "a--b"])
def test_bad_names_are_refused(arm: httpx.Client, sandbox: RunningSandbox, name: str):
    """Names outside Azure's rule are refused."""
    body = {"location": "eastus", "properties": {"authMode": "Key"}}
    assert arm.put(sandbox.endpoint_id(name), json=body).status_code == 400


def test_an_endpoint_name_is_unique_in_its_region(fraud: Served, arm: httpx.Client):
    """Another workspace cannot take the name, in Azure's words."""
    path = fraud.sandbox.endpoint_id(fraud.name).replace("/workspaces/sandbox/", "/workspaces/other/")
    answer = arm.put(path, json={"location": "eastus", "properties": {"authMode": "Key"}})
    assert answer.status_code == 400
    assert "There is already an endpoint with this name" in answer.json()["error"]["message"]


def test_a_deployment_with_traffic_cannot_be_deleted(blue_only: Served, ml: sdk.MLClient):
    """Live or mirror traffic holds a deployment."""
    with pytest.raises(HttpResponseError, match="100 percent of live traffic"):
        ml.online_deployments.begin_delete("blue", blue_only.name)
    blue_only.set_traffic({"blue": 100}, {"green": 10})
    with pytest.raises(HttpResponseError, match="10 percent of mirror traffic"):
        ml.online_deployments.begin_delete("green", blue_only.name)


def test_writes_meanwhile_are_conflicts(fraud: Served, ml: sdk.MLClient, arm: httpx.Client, faults: Faults):
    """While a deployment is being made, a second write to it is refused and reads show its state."""
    faults.declare("lro-hang", endpoint=fraud.name, deployment="busy", name="being made")
    poller = ml.online_deployments.begin_create_or_update(deployment("busy", fraud.name))
    path = f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/busy"
    seen = arm.get(path).json()
    assert seen["properties"]["provisioningState"] == "Creating"
    resumed = arm.get(seen["properties"]["properties"]["AzureAsyncOperationUri"]).json()
    assert resumed["status"] == "Updating"
    answer = arm.patch(path, json={"sku": {"capacity": 2}})
    assert answer.status_code == 409
    assert "because it is in Creating provisioning state" in answer.json()["error"]["message"]
    assert arm.delete(fraud.sandbox.endpoint_id(fraud.name)).status_code == 409
    faults.clear("being made")
    poller.result(60)
    ml.online_deployments.begin_delete("busy", fraud.name).result(30)


def test_a_deployment_in_an_updating_endpoint_is_a_conflict(fraud: Served, arm: httpx.Client, faults: Faults):
    """While the endpoint is Updating its deployments cannot be written."""
    faults.declare("lro-hang", endpoint=fraud.name, name="updating")
    path = fraud.sandbox.endpoint_id(fraud.name)
    body = arm.get(path).json()
    blue = arm.get(f"{path}/deployments/blue").json()
    started = arm.put(path, json=body)
    assert arm.get(path).json()["properties"]["provisioningState"] == "Updating"
    answer = arm.put(f"{path}/deployments/blue", json=blue)
    assert answer.status_code == 409
    assert "because it is in Updating provisioning state" in answer.json()["error"]["message"]
    faults.clear("updating")
    wait_until(lambda: arm.get(started.headers["Azure-AsyncOperation"]).json()["status"] == "Succeeded")


def test_quota_is_refused_in_azures_words(fraud: Served, ml: sdk.MLClient):
    """Twenty F4s_v2 need 24 x 4 cores with the reserve; 26 need more than the family has."""
    big = deployment("toobig", fraud.name, instance_type="Standard_F4s_v2", instance_count=26)
    with pytest.raises(HttpResponseError) as caught:
        ml.online_deployments.begin_create_or_update(big)
    found = re.search(r"Current usage/limit: (\d+)/(\d+)\. Additional needed: (\d+)", caught.value.message)
    assert found is not None
    assert found.groups() == ("0", "100", "128")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instance_count": 51}, "1 to 50"),
        ({"instance_type": "Standard_Nonsense"}, "is not supported"),
        ({"request_settings": {"request_timeout_ms": 180_001}}, "at most 180 s"),
        ({"model": "azureml:nowhere:1"}, "was not found"),
    ],
)
def test_bad_deployments_are_refused(fraud: Served, ml: sdk.MLClient, change, words: str):
    """What Azure would not deploy is refused before anything starts."""
    if "request_settings" in change:
        change = {"request_settings": sdk.OnlineRequestSettings(**change["request_settings"])}
    with pytest.raises(HttpResponseError, match=words):
        ml.online_deployments.begin_create_or_update(deployment("refused", fraud.name, **change))


def test_instance_type_is_fixed(fraud: Served, ml: sdk.MLClient):
    """Another VM size needs another deployment."""
    with pytest.raises(HttpResponseError, match="InstanceType cannot be changed"):
        ml.online_deployments.begin_create_or_update(
            deployment("blue", fraud.name, instance_type="Standard_F4s_v2")
        )


def test_a_deployment_needs_its_endpoint(ml: sdk.MLClient):
    """The SDK's own check finds no endpoint."""
    with pytest.raises(HttpResponseError) as caught:
        ml.online_deployments.begin_create_or_update(deployment("blue", "nowhere"))
    assert caught.value.status_code == 404


def test_keys_of_an_entra_endpoint_are_null(ml: sdk.MLClient, arm: httpx.Client, sandbox: RunningSandbox):
    """An endpoint without keys lists none."""
    ml.online_endpoints.begin_create_or_update(
        sdk.ManagedOnlineEndpoint(name="keyless", auth_mode="aad_token")
    ).result(30)
    keys = arm.post(f"{sandbox.endpoint_id('keyless')}/listKeys")
    assert (keys.status_code, keys.json()) == (200, {"primaryKey": None, "secondaryKey": None})
