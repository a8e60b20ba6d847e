"""Template deployments, as Bicep, Terraform and the SDK's creation of a workspace send them."""

from __future__ import annotations

from typing import Any

import httpx
import sdk
from awaiting import wait_until
from azure.identity import ClientSecretCredential
from sandbox_fixture import RunningSandbox
from served import Served

VERSION = "2024-10-01"
ML = "Microsoft.MachineLearningServices/workspaces"
ENDPOINT_ID = f"resourceId('{ML}/onlineEndpoints', 'sandbox', parameters('endpoint'))"


def group_of(sandbox: RunningSandbox) -> str:
    return sandbox.workspace_id.split("/providers/", maxsplit=1)[0]


def put(arm: httpx.Client, sandbox: RunningSandbox, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Send a deployment, wait for its end by Azure-AsyncOperation, and return it."""
    path = f"{group_of(sandbox)}/providers/Microsoft.Resources/deployments/{name}"
    sent = arm.put(path, json={"properties": {"mode": "Incremental", **properties}})
    assert sent.status_code in (200, 201), sent.text
    assert sent.json()["properties"]["provisioningState"] == "Accepted"
    where = sent.headers["Azure-AsyncOperation"]
    wait_until(lambda: arm.get(where).json()["status"] in ("Succeeded", "Failed"))
    answer: dict[str, Any] = arm.get(path).json()
    return answer


def serving(blue: dict[str, Any]) -> dict[str, Any]:
    """A template like Bicep's output: an endpoint, two deployments in a loop, then the traffic by a module."""
    properties = {key: blue["properties"][key] for key in ("model", "codeConfiguration", "instanceType")}
    module = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "parameters": {"endpoint": {"type": "string"}, "live": {"type": "object"}},
        "resources": [
            {
                "type": f"{ML}/onlineEndpoints",
                "apiVersion": VERSION,
                "name": "[format('{0}/{1}', 'sandbox', parameters('endpoint'))]",
                "location": "[resourceGroup().location]",
                "properties": {"authMode": "Key", "traffic": "[parameters('live')]"},
            }
        ],
        "outputs": {
            "uri": {
                "type": "string",
                "value": f"[reference({ENDPOINT_ID}, '{VERSION}').scoringUri]",
            }
        },
    }
    return {
        "languageVersion": "2.0",
        "parameters": {
            "endpoint": {"type": "string", "maxLength": 32},
            "colors": {"type": "array", "defaultValue": ["blue", "green"]},
            "note": {"type": "securestring"},
        },
        "variables": {"path": "[format('{0}/{1}', 'sandbox', parameters('endpoint'))]"},
        "resources": {
            "endpoint": {
                "type": f"{ML}/onlineEndpoints",
                "apiVersion": VERSION,
                "name": "[variables('path')]",
                "location": "[resourceGroup().location]",
                "identity": {"type": "SystemAssigned"},
                "tags": {"note": "[if(empty(parameters('note')), 'none', 'kept')]"},
                "properties": {"authMode": "Key"},
            },
            "deployments": {
                "copy": {"name": "deployments", "count": "[length(parameters('colors'))]"},
                "type": f"{ML}/onlineEndpoints/deployments",
                "apiVersion": VERSION,
                "name": "[format('{0}/{1}', variables('path'), parameters('colors')[copyIndex()])]",
                "location": "[resourceGroup().location]",
                "sku": {"name": "Default", "capacity": 1},
                "properties": {"endpointComputeType": "Managed", **properties},
                "dependsOn": ["endpoint"],
            },
            "live": {
                "type": "Microsoft.Resources/deployments",
                "apiVersion": "2022-09-01",
                "name": "live",
                "properties": {
                    "expressionEvaluationOptions": {"scope": "inner"},
                    "mode": "Incremental",
                    "parameters": {
                        "endpoint": {"value": "[parameters('endpoint')]"},
                        "live": {"value": {"blue": 90, "green": 10}},
                    },
                    "template": module,
                },
                "dependsOn": ["deployments"],
            },
        },
        "outputs": {
            "uri": {"type": "string", "value": "[reference('live').outputs.uri.value]"},
            "key": {
                "type": "string",
                "value": f"[listKeys({ENDPOINT_ID}, '{VERSION}').primaryKey]",
            },
        },
    }


def test_a_template_deploys_an_endpoint_and_its_traffic(arm: httpx.Client, sandbox: RunningSandbox, fraud: Served):
    """Dependencies, loops, a module and outputs; the answer to a request comes from what it deployed."""
    blue = arm.get(f"{sandbox.endpoint_id(fraud.name)}/deployments/blue").json()
    parameters = {"endpoint": {"value": "templated"}, "note": {"value": "a secret"}}
    done = put(arm, sandbox, "serving", {"template": serving(blue), "parameters": parameters})
    shown = done["properties"]
    assert shown["provisioningState"] == "Succeeded", shown.get("error")
    assert shown["parameters"]["endpoint"] == {"type": "String", "value": "templated"}
    assert shown["parameters"]["note"] == {"type": "Securestring"}
    made = [one["id"].rsplit("/", 1)[1] for one in shown["outputResources"]]
    assert (made[0], sorted(made[1:3]), made[3]) == ("templated", ["blue", "green"], "live")
    endpoint = arm.get(sandbox.endpoint_id("templated")).json()
    assert endpoint["properties"]["traffic"] == {"blue": 90, "green": 10}
    answer = arm.post(
        shown["outputs"]["uri"]["value"],
        json={"data": [1, 2, 3]},
        headers={"Authorization": f"Bearer {shown['outputs']['key']['value']}"},
    )
    assert answer.status_code == 200
    operations = arm.get(f"{done['id']}/operations").json()["value"]
    assert {one["properties"]["statusCode"] for one in operations} == {"Created"}
    module = arm.get(done["id"].replace("/serving", "/live")).json()
    assert module["properties"]["parameters"]["live"]["value"] == {"blue": 90, "green": 10}


def test_a_failed_resource_fails_the_deployment_and_what_depends_on_it_is_not_sent(
    arm: httpx.Client, sandbox: RunningSandbox
):
    """The error of the resource is among the details; the record outlives what it deployed."""
    endpoint = {
        "type": f"{ML}/onlineEndpoints",
        "apiVersion": VERSION,
        "name": "sandbox/Not_A_Name",
        "location": "eastus",
        "properties": {"authMode": "Key"},
    }
    vault = {
        "type": "Microsoft.KeyVault/vaults",
        "apiVersion": "2023-07-01",
        "name": "after",
        "location": "eastus",
        "properties": {},
        "dependsOn": [f"[resourceId('{ML}/onlineEndpoints', 'sandbox', 'Not_A_Name')]"],
    }
    done = put(arm, sandbox, "failing", {"template": {"resources": [vault, endpoint]}})
    error = done["properties"]["error"]
    assert (done["properties"]["provisioningState"], error["code"]) == ("Failed", "DeploymentFailed")
    assert "Not_A_Name" in error["details"][0]["message"] or "name" in error["details"][0]["message"]
    (operation,) = arm.get(f"{done['id']}/operations").json()["value"]
    assert operation["properties"]["statusCode"] == "BadRequest"
    assert arm.get(f"{group_of(sandbox)}/providers/Microsoft.KeyVault/vaults/after").status_code == 404
    assert arm.delete(done["id"]).status_code == 204
    assert arm.get(done["id"]).json()["error"]["code"] == "DeploymentNotFound"


def test_a_template_is_deployed_with_the_rights_of_its_caller(sandbox: RunningSandbox, arm: httpx.Client):
    """Who may write deployments and no endpoints deploys none."""
    scope = group_of(sandbox)
    role = {
        "properties": {
            "roleName": "templates only",
            "permissions": [{"actions": ["Microsoft.Resources/deployments/*"], "notActions": []}],
            "assignableScopes": [scope],
        }
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/7e3a0000-0000-4000-8000-000000000001"
    arm.put(path, json=role).raise_for_status()
    env = sandbox.add_principal("templates", "templates only", scope)
    who = ClientSecretCredential(
        env["AZURE_TENANT_ID"],
        env["AZURE_CLIENT_ID"],
        env["AZURE_CLIENT_SECRET"],
        authority=sandbox.url,
        disable_instance_discovery=True,
    )
    bearer = {"Authorization": f"Bearer {who.get_token(f'{sandbox.url}/.default').token}"}
    endpoint = {"type": f"{ML}/onlineEndpoints", "apiVersion": VERSION, "name": "sandbox/refused"}
    body = {**endpoint, "location": "eastus", "properties": {"authMode": "Key"}}
    with sandbox.http(headers=bearer) as limited:
        done = put(limited, sandbox, "limited", {"template": {"resources": [body]}})
    assert done["properties"]["error"]["details"][0]["code"] == "AuthorizationFailed"
    assert arm.get(sandbox.endpoint_id("refused")).status_code == 404


def test_azure_ai_ml_creates_a_workspace_by_its_template(ml: sdk.MLClient, arm: httpx.Client):
    """One that was deleted is created with a key vault, storage, logs and Application Insights of its own."""
    client = sdk.MLClient(ml._credential, ml.subscription_id, "templates")
    base = f"/subscriptions/{ml.subscription_id}/resourceGroups/templates/providers"
    arm.delete(f"{base}/{ML}/made").raise_for_status()
    made = client.workspaces.begin_create(
        sdk.Workspace(name="made", location="eastus", tags={"team": "risk"})
    ).result()
    assert made.tags["team"] == "risk"
    for named in (made.storage_account, made.key_vault, made.application_insights):
        assert "/sandbox" not in named
        assert arm.get(named).status_code == 200
    client.workspaces.begin_delete("made", delete_dependent_resources=True).result()
    assert arm.get(f"{base}/{ML}/made").status_code == 404


def test_a_template_that_is_not_valid_is_refused(arm: httpx.Client, sandbox: RunningSandbox):
    """Before anything is sent, with Azure's code; `validate` refuses the same."""
    scope = f"{group_of(sandbox)}/providers/Microsoft.Resources/deployments"
    body = {
        "properties": {
            "mode": "Incremental",
            "template": {"parameters": {"size": {"type": "int"}}, "resources": []},
        }
    }
    for answer in (arm.put(f"{scope}/bad", json=body), arm.post(f"{scope}/bad/validate", json=body)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidTemplate")
        assert "parameter 'size'" in answer.json()["error"]["message"]
    assert arm.head(f"{scope}/bad").status_code == 404
    body["properties"]["parameters"] = {"size": {"value": 3}}
    assert arm.post(f"{scope}/bad/validate", json=body).json()["properties"]["provisioningState"] == "Succeeded"
    assert arm.put(f"{scope}/bad", json=body).status_code == 201


def test_resources_and_providers_are_listed_for_terraform_and_az(arm: httpx.Client, sandbox: RunningSandbox):
    """By type, in a group; each provider is registered."""
    listed = f"{group_of(sandbox)}/resources"
    wanted = "resourceType eq 'microsoft.machinelearningservices/workspaces/onlineendpoints'"
    found = arm.get(listed, params={"$filter": f"{wanted} and name eq 'fraud'"}).json()["value"]
    assert [(one["id"], one["type"]) for one in found] == [(sandbox.endpoint_id("fraud"), f"{ML}/onlineEndpoints")]
    assert "properties" not in found[0]
    refused = arm.get(listed, params={"$filter": "substringof('a', name)"})
    assert refused.json()["error"]["code"] == "InvalidFilterInQueryString"
    providers = f"/subscriptions/{sandbox.subscription_id}/providers"
    assert {one["registrationState"] for one in arm.get(providers).json()["value"]} == {"Registered"}
    assert arm.post(f"{providers}/microsoft.insights/register").json()["namespace"] == "Microsoft.Insights"
    assert arm.get(f"{providers}/Microsoft.Nothing").status_code == 404
    locations = arm.get(f"/subscriptions/{sandbox.subscription_id}/locations").json()["value"]
    assert "eastus" in {one["name"] for one in locations}
