"""Comparing: every writable field is found once, what Azure fills in or writes in another way is no drift."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
from writable_fields import BLUE, BODIES, CHANGES, DEPLOYMENT, ENDPOINT, FRAUD, WORKSPACE, changed

from opslib.drift.autoscale import instance_ranges, read_autoscale_settings
from opslib.drift.base import read_base
from opslib.drift.compare import AUTOSCALE, Expected, attribute, compare
from opslib.drift.fields import Setting, read_settings
from opslib.drift.fix import fixes
from opslib.errors import DefinitionError
from opslib.model import ActivityEvent

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

CASES = [(kind, path, value) for kind, changes in CHANGES.items() for path, value in changes.items()]


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


def scaled(arm_id, **changes):
    """An enabled autoscale setting of blue, from 1 to 4 instances."""
    capacity = {"minimum": "1", "maximum": "4", "default": "1"} | changes
    profile = {"name": "default", "capacity": capacity, "rules": []}
    return {
        "id": arm_id,
        "name": "s",
        "properties": {"enabled": True, "targetResourceUri": BLUE, "profiles": [profile]},
    }


def test_a_count_within_autoscales_range_is_no_drift():
    """Azure changes it by itself; beyond the range, or while the setting is disabled, it is drift."""
    setting = read_autoscale_settings(scaled("/x/autoscaleSettings/s"))
    expected = Expected(BLUE, read_settings(DEPLOYMENT))
    for count, ranges, actions in (
        (4, instance_ranges([setting]), ("no-op",)),
        (5, instance_ranges([setting]), ("update",)),
        (4, instance_ranges([setting | {"properties.enabled": Setting(False, False)}]), ("update",)),
    ):
        live = read_settings(changed(DEPLOYMENT, "sku.capacity", count))
        (change,) = compare([expected], {BLUE: live}, ranges=ranges)
        assert change.actions == actions
        assert [field.path for field in (*change.fields, *change.filled_in)] == ["sku.capacity"]


def test_an_autoscale_setting_is_compared_by_its_values_and_fixed_by_its_command():
    """Another maximum, and a setting that is absent or not expected; ids in any case."""
    here = "/x/autoscaleSettings/s"
    expected = Expected(here, read_autoscale_settings(scaled(here)))
    live = {here.lower(): read_autoscale_settings(scaled(here, maximum="9"))}
    (change,) = compare([expected], live)
    assert [(one.path, one.before, one.after) for one in change.fields] == [
        ("properties.profiles.default.maximum", 9, 4)
    ]
    assert (change.kind, change.actions) == (AUTOSCALE, ("update",))
    assert next(fixes(change)).startswith("opslib autoscale set fraud --deployment blue --min 1 --max 4")
    (absent,) = compare([expected], {})
    (extra,) = compare([], live, live)
    assert (absent.actions, extra.actions) == (("create",), ("delete",))
    assert next(fixes(extra)) == "opslib autoscale remove fraud --deployment blue"


@pytest.mark.parametrize("wrong", [{"at": 3}, {"at": "yesterday"}, {"scope": {"groups": [1.5]}}, {"scope": None}])
def test_an_inventory_that_cannot_be_read_is_refused(tmp_path, wrong):
    """One field of another type; without it, the same file is a base."""
    inventory = {"at": "2026-11-27T12:00:00+00:00", "scope": {"groups": ["team"]}, "resources": []}
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(inventory))
    assert read_base(path, "").scope.groups == ("team",)
    path.write_text(json.dumps(inventory | wrong))
    with pytest.raises(DefinitionError, match="is not an inventory of this version"):
        read_base(path, "")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("model: {{MODEL}}\n", "holds the placeholder {{MODEL}}"),
        ("model: azureml:m:1\nrequest_settings: {max_queue_wait_ms: fast}\n", "a field has another form"),
        ("model: azureml:m:1\ntags: [a]\n", "a field has another form"),
    ],
)
def test_a_definition_that_cannot_be_read_leaves_its_endpoints_deployments_open(tmp_path, broken, reason):
    """A live deployment may be the one that it defines: its deletion must not be proposed."""
    (tmp_path / "endpoint.yml").write_text("name: fraud\n")
    (tmp_path / "blue.yml").write_text("name: blue\nmodel: azureml:m:1\ninstance_type: Standard_DS3_v2\n")
    (tmp_path / "green.yml").write_text(f"name: green\ninstance_type: Standard_DS3_v2\n{broken}")
    base = read_base(tmp_path, WORKSPACE)
    assert [one.id.rpartition("/")[2] for one in base.expected] == ["fraud", "blue"]
    assert base.partly == {"fraud"}
    (unread,) = base.unread
    assert unread.part == f"definition {tmp_path / 'green.yml'}"
    assert reason in unread.reason


@pytest.mark.parametrize(
    "broken", ["name: fraud\ndescription: {{WHO}}\n", "name: fraud\nidentity: system_assigned\n"]
)
def test_a_folder_of_which_no_endpoint_can_be_read_is_no_base(tmp_path, broken):
    """Without a name of an endpoint, every endpoint of the workspace had counted as unexpected."""
    (tmp_path / "endpoint.yml").write_text(broken)
    with pytest.raises(DefinitionError, match=r"no endpoint.yml in .* can be compared with: "):
        read_base(tmp_path, WORKSPACE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/endpoint.yml").write_text("name: risk\n")
    (tmp_path / "endpoint.yml").rename(tmp_path / "other/endpoint.yml.draft")
    assert read_base(tmp_path, WORKSPACE).endpoints == {"risk"}


def against_file(tmp_path, given, live):
    """Fields of blue that differ between a definition with these lines and a live body with these properties."""
    (tmp_path / "endpoint.yml").write_text("name: fraud\n")
    least = "name: blue\nmodel: azureml:fraud:3\nenvironment: azureml:env:1\ninstance_type: Standard_DS3_v2\n"
    (tmp_path / "blue.yml").write_text(least + given)
    (expected,) = [one for one in read_base(tmp_path, WORKSPACE).expected if "/deployments/" in one.id]
    body = {"id": expected.id, "sku": {"capacity": 1}, "properties": {"instanceType": "Standard_DS3_v2"} | live}
    body["properties"] |= {
        "model": f"{WORKSPACE}/models/fraud/versions/3",
        "environmentId": f"{WORKSPACE}/environments/env/versions/1",
    }
    (change,) = compare([expected], {expected.id: read_settings(body)})
    return [field.path.removeprefix("properties.") for field in change.fields]


COLLECTED = "dataCollector.collections.model_inputs"


@pytest.mark.parametrize(
    ("mode", "rate", "differing"),
    [
        ("Enabled", 0.5, []),
        ("Disabled", 0.5, [f"{COLLECTED}.dataCollectionMode"]),
        ("Enabled", 0.1, [f"{COLLECTED}.samplingRate"]),
    ],
)
def test_the_collection_of_data_is_compared_with_a_definition(tmp_path, mode, rate, differing):
    """Whether it is on, and its sampling rate; ids of its data that Azure fills in, and the hour, are no drift."""
    given = 'data_collector: {collections: {model_inputs: {enabled: "true"}}, sampling_rate: 0.5}\n'
    collection = {"dataCollectionMode": mode, "samplingRate": rate, "clientId": "x", "dataId": "azureml:d:1"}
    live = {"dataCollector": {"collections": {"model_inputs": collection}, "rollingRate": "Hour"}}
    assert against_file(tmp_path, given, live) == differing


def test_numbers_and_switches_may_be_text_in_a_definition(tmp_path):
    """azure-ai-ml reads both; another number is drift."""
    given = 'app_insights_enabled: "true"\nrequest_settings: {max_concurrent_requests_per_instance: "2"}\n'
    live = {"appInsightsEnabled": True, "requestSettings": {"maxConcurrentRequestsPerInstance": 2}}
    assert against_file(tmp_path, given, live) == []
    live["requestSettings"] = {"maxConcurrentRequestsPerInstance": 3}
    assert against_file(tmp_path, given, live) == ["requestSettings.maxConcurrentRequestsPerInstance"]


def test_a_region_that_a_definition_gives_is_compared(tmp_path):
    """One that it leaves out is the workspace's."""
    (tmp_path / "endpoint.yml").write_text("name: fraud\nlocation: westus\n")
    (expected,) = read_base(tmp_path, WORKSPACE).expected
    (change,) = compare(
        [expected], {expected.id: read_settings(ENDPOINT | {"id": expected.id, "location": "eastus"})}
    )
    assert "location" in {field.path for field in change.fields}
    (change,) = compare(
        [expected], {expected.id: read_settings(ENDPOINT | {"id": expected.id, "location": "West US"})}
    )
    assert "location" not in {field.path for field in change.fields}


def test_a_long_name_has_a_valid_successor():
    """The part of the name that is kept may end with a dash; the service refuses two of them."""
    name = f"{'b' * 28}-canary"
    live = changed(DEPLOYMENT, "properties.appInsightsEnabled", True) | {
        "id": DEPLOYMENT["id"].replace("/blue", f"/{name}")
    }
    commands = list(fixes(compared(DEPLOYMENT | {"id": live["id"]}, live)))
    assert commands[-1].endswith(f"-p canary={'b' * 28}-2")
