"""What published clients do that no specification states: found by running Microsoft's own files unmodified."""

import json
from urllib.parse import quote

import httpx
from sandbox_fixture import RunningSandbox
from served import Served

from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us


def test_line_breaks_in_strings_are_read(arm: httpx.Client, sandbox: RunningSandbox):
    """Microsoft's REST tutorial pastes a conda file into JSON with its line breaks as they are."""
    path = f"{sandbox.workspace_id}/environments/pasted/versions/1"
    body = b'{"properties": {"condaFile": "name: env\ndependencies:\n  - pip", "image": "an/image:1"}}'
    assert arm.put(path, content=body, headers={"Content-Type": "application/json"}).status_code == 201
    assert json.loads(arm.get(path).json()["properties"]["condaFile"])["dependencies"] == ["pip"]


def test_an_anonymous_asset_may_be_sent_again(arm: httpx.Client, sandbox: RunningSandbox):
    """It is named by its content; a second upload of the same content has another address."""
    path = f"{sandbox.workspace_id}/models/{'ab' * 32}/versions/1"
    for status, folder in ((201, "one"), (200, "two")):
        uri = f"azureml://datastores/workspaceblobstore/paths/{folder}"
        body = {"modelUri": uri, "modelType": "custom_model", "isAnonymous": True}
        assert arm.put(path, json={"properties": body}).status_code == status


def test_the_older_identity_request_is_answered(sandbox: RunningSandbox):
    """MSI_ENDPOINT takes `secret` and `clientid`, as Azure Machine Learning's own samples send them."""
    variables = sandbox.note["environment"]
    with sandbox.http() as client:
        answer = client.get(
            "/msi/token",
            params={"resource": "https://storage.azure.com/", "clientid": "0b5e0000-0000-4000-8000-0000000000c1"},
            headers={"secret": variables["IDENTITY_HEADER"], "Metadata": "true"},
        )
    assert answer.json()["resource"] == "https://storage.azure.com/"


def test_a_resource_group_is_said_to_exist(arm: httpx.Client, sandbox: RunningSandbox):
    """azure-mgmt-resource checks by HEAD, and reads 404 as absent."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    assert arm.head(group).status_code == 204
    listed = arm.get(group.rsplit("/", 1)[0]).json()["value"]
    assert [one["id"] for one in listed] == [group]


def test_a_timespan_may_be_escaped_twice(arm: httpx.Client, counted, sandbox: RunningSandbox):
    """The Azure CLI's `monitor metrics list` does so."""
    path = f"{sandbox.endpoint_id(counted.endpoint)}/providers/Microsoft.Insights/metrics"
    ends = (iso(now_us() - 600 * MICROSECONDS), iso(now_us()))
    span = quote(quote("/".join(ends), safe=""), safe="")
    answer = arm.get(f"{path}?metricnames=RequestsPerMinute&timespan={span}")
    assert answer.json()["timespan"].split("/")[0][:16] == ends[0][:16]


def test_what_azure_has_elsewhere_is_not_built(arm: httpx.Client, sandbox: RunningSandbox):
    """A provider of Microsoft's that the sandbox lacks is 501 and named; anybody else's is no resource type."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    for kind in ("Microsoft.Network/virtualNetworks", "Microsoft.Compute/disks"):
        answer = arm.get(f"{group}/providers/{kind}/one")
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented")
    assert arm.get(f"{group}/providers/Example.Things/one/1").status_code == 404
    assert arm.get(f"{group}/resources").status_code == 200


def test_an_autoscale_setting_may_follow_the_week(arm: httpx.Client, blue_only: Served):
    """The CLI's `autoscale profile create --recurrence` writes two recurring profiles and keeps a default."""
    group = blue_only.sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    bounds = {"minimum": "1", "maximum": "1", "default": "1"}
    week = {"timeZone": "Pacific Standard Time", "days": ["Saturday", "Sunday"], "hours": [0], "minutes": [0]}
    profiles = [
        {"name": "default", "capacity": bounds, "rules": []},
        {
            "name": "weekend",
            "capacity": bounds,
            "rules": [],
            "recurrence": {"frequency": "Week", "schedule": week},
        },
    ]
    target = f"{blue_only.sandbox.endpoint_id(blue_only.name)}/deployments/blue"
    path = f"{group}/providers/Microsoft.Insights/autoscaleSettings/weekly"
    properties = {"enabled": False, "targetResourceUri": target, "profiles": profiles}
    put = arm.put(path, json={"location": "eastus", "properties": properties})
    assert put.status_code in (200, 201), put.text
    assert [one["name"] for one in arm.get(path).json()["properties"]["profiles"]] == ["default", "weekend"]
    arm.delete(path).raise_for_status()


def test_what_is_archived_is_listed_when_asked_for(arm: httpx.Client, sandbox: RunningSandbox):
    """A list shows what is active, or as `listViewType` selects."""
    path = f"{sandbox.workspace_id}/environments/shelved"
    for version, archived in (("1", True), ("2", False)):
        body = {"properties": {"image": "an/image:1", "isArchived": archived}}
        arm.put(f"{path}/versions/{version}", json=body).raise_for_status()

    def listed(address: str, view: str) -> list[str]:
        answer = arm.get(address, params={"listViewType": view} if view else {})
        return [one["name"] for one in answer.json()["value"]]

    views = {view: listed(f"{path}/versions", view) for view in ("", "ActiveOnly", "ArchivedOnly", "All")}
    assert views == {"": ["2"], "ActiveOnly": ["2"], "ArchivedOnly": ["1"], "All": ["2", "1"]}
    arm.put(path, json={"properties": {"isArchived": True}}).raise_for_status()
    assert "shelved" not in listed(path.rsplit("/", 1)[0], "")
    assert "shelved" in listed(path.rsplit("/", 1)[0], "All")


def test_a_curated_environment_is_not_built(arm: httpx.Client, sandbox: RunningSandbox):
    """Microsoft's own images are not here: 501, not 404."""
    for path in ("AzureML-minimal-py312", "AzureML-minimal-py312/versions/1"):
        answer = arm.get(f"{sandbox.workspace_id}/environments/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented")
    assert arm.get(f"{sandbox.workspace_id}/environments/mine/versions/1").status_code == 404
