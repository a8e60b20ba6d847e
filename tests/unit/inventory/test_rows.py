"""The pure part: owners, changes and leases of one endpoint."""

from datetime import UTC, datetime, timedelta

import pytest

from opslib.azure.endpoints import make_endpoint
from opslib.errors import DefinitionError
from opslib.inventory.owners import Ownership, read_owners
from opslib.inventory.rows import Facts, make_inventory
from opslib.model import ActivityEvent, Estate
from opslib.runbooks.lease.tags import Lease

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
ID = f"{WORKSPACE}/onlineEndpoints/fraud"


def endpoint(tags=None, deployments=("blue",)):
    properties = {"provisioningState": "Succeeded", "authMode": "Key", "traffic": {"blue": 100}}
    system = {"createdBy": "the pipeline", "lastModifiedAt": "2026-01-02T03:04:05.6+00:00"}
    arm = {"id": ID, "name": "fraud", "location": "East US", "properties": properties, "tags": tags or {}}
    bodies = [
        {
            "id": f"{ID}/deployments/{name}",
            "name": name,
            "sku": {"capacity": 1},
            "properties": {"provisioningState": "Succeeded", "instanceType": "Standard_DS3_v2"},
        }
        for name in deployments
    ]
    return make_endpoint(arm | {"systemData": system}, bodies)


def rows(one, **facts):
    return make_inventory(Estate("lists", (one,), ("w",)), Facts(**facts), NOW, 1, ()).rows


def test_the_owner_is_named_by_policy_then_tag_then_creator():
    """The first that is there, and the row has its source."""
    known = {"fraud": Ownership("HarborShield claims", "fraud/policy.yml")}
    (by_policy,) = rows(endpoint({"Team": "x"}), ownership=known)
    (by_tag,) = rows(endpoint({"Team": "HarborShield"}))
    (by_creator,) = rows(endpoint())
    assert (by_policy.owner, by_policy.policy) == ("HarborShield claims", "fraud/policy.yml")
    assert (by_tag.owner, by_tag.owner_source) == ("HarborShield", "tag")
    assert (by_creator.owner, by_creator.owner_source) == ("the pipeline", "created by")


def test_the_newest_change_of_endpoint_or_deployment_counts():
    """Traffic is a change of the endpoint; without an event only Azure's time is known, and not the caller."""
    write = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write"
    events = (
        ActivityEvent(NOW, ID.lower(), write, "Ada", "c2"),
        ActivityEvent(NOW - timedelta(hours=1), f"{ID}/deployments/blue", write, "Bob", "c1"),
    )
    (changed,) = rows(endpoint(), changes=events)
    (unknown,) = rows(endpoint())
    assert (changed.last_changed_by, changed.last_change) == ("Ada", "onlineEndpoints/write")
    assert (unknown.last_changed_by, unknown.last_change_at) == ("", "2026-01-02T03:04:05")


def test_unknown_is_not_zero():
    """Requests and costs that were not read are None; an endpoint without deployments has a row."""
    (row,) = rows(endpoint())
    (empty,) = rows(endpoint(deployments=()))
    assert (row.requests_per_day, row.cost_per_month, row.waste) == (None, None, "")
    assert (empty.deployment, empty.endpoint_state) == ("", "Succeeded")


def test_a_lease_is_shown():
    """The change that holds the traffic, and until when."""
    lease = Lease("run-1", "Ada", {"blue": 100}, {"green": 10}, NOW)
    (row,) = rows(endpoint(lease.tags()))
    assert row.lease == "run-1 until 2026-11-27 12:00:00"


def test_policies_are_found_in_a_tree(tmp_path):
    """Every policy below the folder; one that cannot be read is named, and a folder that is absent refused."""
    for name, text in (("a", "version: 1\nendpoint: Fraud\nowner: {team: T, contact: c}\n"), ("b", "version: 2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yml").write_text(text)
    owners, unread = read_owners(tmp_path)
    assert owners["fraud"].team == "T"
    assert [one.part for one in unread] == [f"policy {tmp_path / 'b/policy.yml'}"]
    with pytest.raises(DefinitionError, match="is not a folder"):
        read_owners(tmp_path / "none")
