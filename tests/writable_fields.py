"""An endpoint and a deployment with every field that a person can write, and one change of each."""

from copy import deepcopy
from typing import Any

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
FRAUD = f"{WORKSPACE}/onlineEndpoints/fraud"
BLUE = f"{FRAUD}/deployments/blue"

PROBE = {
    "failureThreshold": 30,
    "successThreshold": 1,
    "timeout": "PT2S",
    "period": "PT10S",
    "initialDelay": "PT10S",
}

ENDPOINT = {
    "id": FRAUD,
    "location": "eastus",
    "kind": "Managed",
    "sku": None,
    "tags": {"team": "claims"},
    "identity": {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"},
    "systemData": {"lastModifiedAt": "2026-01-01"},
    "properties": {
        "authMode": "Key",
        "description": "claims",
        "traffic": {"blue": 100},
        "mirrorTraffic": {},
        "publicNetworkAccess": "Enabled",
        "scoringUri": "https://fraud",
        "provisioningState": "Succeeded",
        "properties": {"azureml.onlineendpointid": "x", "AzureAsyncOperationUri": "y", "note": "ours"},
    },
}
DEPLOYMENT = {
    "id": BLUE,
    "location": "eastus",
    "kind": "Managed",
    "sku": {"name": "Default", "tier": "Standard", "capacity": 2},
    "tags": {"stage": "prod"},
    "identity": None,
    "properties": {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "model": f"{WORKSPACE}/models/fraud/versions/3",
        "modelMountPath": "/mnt",
        "environmentId": f"{WORKSPACE}/environments/env/versions/1",
        "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/c/versions/1", "scoringScript": "score.py"},
        "environmentVariables": {"MODE": "fast"},
        "description": "version 3",
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        "requestSettings": {
            "requestTimeout": "PT5S",
            "maxConcurrentRequestsPerInstance": 1,
            "maxQueueWait": "PT0.5S",
        },
        "scaleSettings": {"scaleType": "Default"},
        "livenessProbe": dict(PROBE),
        "readinessProbe": dict(PROBE),
        "startupProbe": dict(PROBE),
        "dataCollector": {
            "collections": {"model_inputs": {"dataCollectionMode": "Enabled", "samplingRate": 1.0}},
            "rollingRate": "Hour",
        },
        "properties": {"note": "ours"},
        "provisioningState": "Succeeded",
    },
}

CHANGES: dict[str, dict[str, Any]] = {
    "endpoint": {
        "tags.team": "others",
        "tags.new": "tag",
        "identity.type": "None",
        "properties.authMode": "AADToken",
        "properties.description": "changed",
        "properties.traffic.blue": 90,
        "properties.traffic.green": 10,
        "properties.mirrorTraffic.green": 10,
        "properties.publicNetworkAccess": "Disabled",
        "properties.properties.note": "theirs",
    },
    "deployment": {
        "tags.stage": "test",
        "sku.capacity": 3,
        "properties.instanceType": "Standard_F4s_v2",
        "properties.model": f"{WORKSPACE}/models/fraud/versions/4",
        "properties.modelMountPath": "/other",
        "properties.environmentId": f"{WORKSPACE}/environments/env/versions/2",
        "properties.codeConfiguration.codeId": f"{WORKSPACE}/codes/c/versions/2",
        "properties.codeConfiguration.scoringScript": "other.py",
        "properties.environmentVariables.MODE": "slow",
        "properties.environmentVariables.NEW": "1",
        "properties.description": "changed",
        "properties.appInsightsEnabled": True,
        "properties.egressPublicNetworkAccess": "Disabled",
        "properties.requestSettings.requestTimeout": "PT30S",
        "properties.requestSettings.maxConcurrentRequestsPerInstance": 4,
        "properties.requestSettings.maxQueueWait": "PT1S",
        "properties.dataCollector.collections.model_inputs.dataCollectionMode": "Disabled",
        "properties.dataCollector.collections.model_inputs.samplingRate": 0.5,
        "properties.dataCollector.rollingRate": "Day",
        "properties.properties.note": "theirs",
        **{
            f"properties.{probe}.{field}": value
            for probe in ("livenessProbe", "readinessProbe", "startupProbe")
            for field, value in (("period", "PT20S"), ("timeout", "PT3S"), ("failureThreshold", 3))
        },
    },
}
BODIES = {"endpoint": ENDPOINT, "deployment": DEPLOYMENT}


def changed(body, path, value):
    """The body with one field set, or removed where the value is None."""
    copy = deepcopy(body)
    place, names = copy, path.split(".")
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value
    return copy
