"""Comparing: every writable field is found once, what Azure fills in or writes in another way is no drift."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opslib.drift.compare import Expected, attribute, compare
from opslib.drift.fields import read_settings
from opslib.drift.fix import fixes
from opslib.model import ActivityEvent

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
FRAUD = f"{WORKSPACE}/onlineEndpoints/fraud"
BLUE = f"{FRAUD}/deployments/blue"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

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
CASES = [(kind, path, value) for kind, changes in CHANGES.items() for path, value in changes.items()]


def changed(body, path, value):
    """The body with one field set, or removed where the value is None."""
    copy = deepcopy(body)
    place, names = copy, path.split(".")
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value
    return copy


def compared(before, after):
    """The only change between an expected and a live body."""
    expected = Expected(before["id"], read_settings(before))
    (change,) = compare([expected], {after["id"]: read_settings(after)})
    return change


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_second_reading_without_a_change_has_no_drift(body):
    """The same body, whatever the service adds while it runs."""
    assert compared(body, deepcopy(body)).actions == ("no-op",)


@pytest.mark.parametrize(("kind", "path", "value"), CASES, ids=lambda value: str(value)[-40:])
def test_each_writable_field_is_found(kind, path, value):
    """One change is one field, named as in ARM's JSON; in the other direction the same."""
    live = changed(BODIES[kind], path, value)
    for before, after in ((BODIES[kind], live), (live, BODIES[kind])):
        change = compared(before, after)
        assert [field.path for field in change.fields] == [path]
        assert change.drifted


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("endpoint", "properties.traffic", {"BLUE": 100, "green": 0}),
        ("endpoint", "properties.publicNetworkAccess", "enabled"),
        ("endpoint", "properties.mirrorTraffic", None),
        ("endpoint", "properties.provisioningState", "Updating"),
        ("endpoint", "properties.properties.AzureAsyncOperationUri", "another"),
        ("endpoint", "properties.properties.createdBy", "azure-ai-ml"),
        ("endpoint", "identity.principalId", "another"),
        ("endpoint", "systemData", {"lastModifiedAt": "2026-11-27"}),
        ("endpoint", "location", "East US"),
        ("endpoint", "tags.opslib-lease-change", "a run under way"),
        ("deployment", "properties.environmentVariables.AZUREML_MODEL_DIR", "/var/azureml-app"),
        ("deployment", "properties.requestSettings.maxQueueWait", "PT0.500S"),
        ("deployment", "properties.requestSettings.requestTimeout", None),
        ("deployment", "properties.livenessProbe", None),
        ("deployment", "properties.scaleSettings", None),
        ("deployment", "properties.instanceType", "STANDARD_DS3_V2"),
        ("deployment", "properties.model", f"{WORKSPACE}/models/fraud/versions/3".lower()),
        ("deployment", "sku.tier", None),
    ],
)
def test_what_azure_fills_in_or_writes_in_another_way_is_no_drift(kind, path, value):
    """Case, zero weights, absent defaults, durations, states, and what services and SDKs note for themselves."""
    change = compared(BODIES[kind], changed(BODIES[kind], path, value))
    assert (change.actions, change.fields) == (("no-op",), ())


def test_a_default_that_was_set_to_another_value_is_drift():
    """An absent field means the default, and not "anything"."""
    bare = changed(DEPLOYMENT, "properties.requestSettings", None)
    live = changed(DEPLOYMENT, "properties.requestSettings.requestTimeout", "PT60S")
    assert [field.path for field in compared(bare, live).fields] == ["properties.requestSettings.requestTimeout"]


def test_what_is_absent_or_unexpected_is_found():
    """Create what is absent, delete what nothing expects; an instance type cannot be changed in place."""
    expected = [Expected(FRAUD, read_settings(ENDPOINT)), Expected(BLUE, read_settings(DEPLOYMENT))]
    green = BLUE.replace("blue", "green")
    live = {FRAUD.upper(): read_settings(ENDPOINT), green: read_settings(DEPLOYMENT)}
    changes = {change.name: change.actions for change in compare(expected, live, [FRAUD, green])}
    assert changes == {"fraud": ("no-op",), "fraud/blue": ("create",), "fraud/green": ("delete",)}
    moved = compared(DEPLOYMENT, changed(DEPLOYMENT, "properties.instanceType", "Standard_F4s_v2"))
    assert moved.actions == ("delete", "create")


def test_a_change_is_attributed_to_who_made_it_since():
    """Newest first; events before the expected state, and of other resources, are not its cause."""
    change = compared(DEPLOYMENT, changed(DEPLOYMENT, "sku.capacity", 3))
    events = [
        ActivityEvent(NOW - timedelta(hours=hours), resource, "x/write", caller, "c")
        for hours, resource, caller in ((1, BLUE.lower(), "Ada"), (2, FRAUD, "Bob"), (30, BLUE, "Cy"))
    ]
    (attributed,) = attribute([change], events, NOW - timedelta(hours=24))
    assert [event.caller for event in attributed.changed_by] == ["Ada"]


@pytest.mark.parametrize(
    ("kind", "path", "value", "command"),
    [
        ("deployment", "sku.capacity", 3, "opslib run scale -p endpoint=fraud -p deployment=blue -p instances=2"),
        ("endpoint", "properties.traffic", {"green": 100}, "opslib run rollback -p endpoint=fraud -p to=blue"),
        ("deployment", "properties.model", "other", "opslib run deploy -p endpoint=fraud -p definition=blue.yml"),
        ("deployment", "tags.stage", "x", "az ml online-deployment update --name blue --endpoint-name fraud --set"),
        ("endpoint", "tags.new", "x", "az ml online-endpoint update --name fraud --remove tags.new"),
    ],
)
def test_a_fix_names_the_runbook(kind, path, value, command):
    """The runbook where there is one, else az's command with its scope."""
    first = next(fixes(compared(BODIES[kind], changed(BODIES[kind], path, value))))
    assert first.startswith(command)
