"""opslib's client against a service that answers exactly as Azure was recorded to, transitional states included."""

import pytest
from stand_in import ENDPOINT, SIGNATURE, StandIn

from opslib.azure.endpoint_changes import delete_deployment, edit_tags, scale, set_traffic, settle
from opslib.azure.endpoints import read_endpoint
from opslib.errors import Drift, OperationFailed, OperationTimeout
from opslib.model import SetInstanceCount, SetTraffic

SPLIT = {"blue": 90, "green": 10}
SHIFT = SetTraffic("fraud", {"blue": 100}, SPLIT)


def quiet(_text: str) -> None:
    pass


def test_an_endpoint_is_read_as_recorded(stand_in: StandIn):
    """Null fields, late variables, odd spelling of an instance type and times with an offset are no obstacle."""
    seen = read_endpoint(stand_in.workspace(), "fraud")
    assert (seen.traffic, seen.stable, seen.provisioning_state) == ({"blue": 100}, "blue", "Succeeded")
    assert [(one.name, one.instance_count, one.model) for one in seen.deployments] == [
        ("blue", 2, "fraud:3"),
        ("green", 1, "fraud:3"),
    ]


def test_addresses_that_are_null_while_creating_are_empty(stand_in: StandIn):
    """An endpoint that is created has no address yet, and none is made up."""

    def creating(body: dict) -> dict:
        if body.get("id") == ENDPOINT:
            body["properties"] |= {"scoringUri": None, "provisioningState": "Creating"}
        return body

    stand_in.azure.alter = creating
    seen = read_endpoint(stand_in.workspace(), "fraud")
    assert (seen.scoring_uri, seen.provisioning_state) == ("", "Creating")


def test_a_put_that_answers_with_the_old_traffic_is_followed_to_its_end(stand_in: StandIn):
    """The answer's traffic and state are not taken for the outcome; the signed address is polled whole."""
    polled: list[str] = []

    def note(request):
        polled.extend([str(request.url)] if "mfeOperation" in request.url.path else [])

    stand_in.azure.answer = note
    receipt = set_traffic(stand_in.workspace(), SHIFT, 20, quiet)
    assert receipt.changed
    assert read_endpoint(stand_in.workspace(), "fraud").traffic == SPLIT
    assert polled
    assert all(address.endswith(SIGNATURE) for address in polled)


def test_a_put_sends_nothing_that_the_service_fills_in(stand_in: StandIn):
    """No state, address, operation or system data, no null, and of the identity its type alone."""
    set_traffic(stand_in.workspace(), SHIFT, 20, quiet)
    ((_, _, body),) = stand_in.azure.writes
    assert body == {
        "location": "eastus",
        "tags": {"team": "risk"},
        "kind": "Managed",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "authMode": "Key",
            "mirrorTraffic": {},
            "properties": {},
            "publicNetworkAccess": "Enabled",
            "traffic": SPLIT,
        },
    }


def test_a_change_waits_for_the_one_before(stand_in: StandIn):
    """While the endpoint is Updating nothing is sent; then the change is made on what was read last."""
    stand_in.azure.state, stand_in.azure.left = "Updating", 3
    said: list[str] = []
    set_traffic(stand_in.workspace(), SHIFT, 20, said.append)
    assert "waiting for fraud Updating" in said
    assert len(stand_in.azure.writes) == 1


def test_what_is_done_is_undone(stand_in: StandIn):
    """The reverse step brings back the traffic and the tags of before."""
    workspace = stand_in.workspace()
    set_traffic(workspace, SHIFT, 20, quiet, lambda tags: {**tags, "lease": "run"})
    assert read_endpoint(workspace, "fraud").tags == {"team": "risk", "lease": "run"}
    set_traffic(workspace, SetTraffic("fraud", SPLIT, {"blue": 100}), 20, quiet, lambda _: {"team": "risk"})
    after = read_endpoint(workspace, "fraud")
    assert (after.traffic, after.tags) == ({"blue": 100}, {"team": "risk"})


def test_the_same_change_twice_is_one(stand_in: StandIn):
    """A step that has been taken is not taken again."""
    workspace = stand_in.workspace()
    assert set_traffic(workspace, SHIFT, 20, quiet).changed
    assert not set_traffic(workspace, SHIFT, 20, quiet).changed
    assert len(stand_in.azure.writes) == 1


def test_traffic_that_another_changed_is_drift(stand_in: StandIn):
    """Neither before nor after the step: nothing is sent."""
    stand_in.azure.shown = stand_in.azure.wanted = {"green": 100}
    with pytest.raises(Drift, match="green=100, expected blue=100"):
        set_traffic(stand_in.workspace(), SHIFT, 20, quiet)
    assert stand_in.azure.writes == []


def test_tags_are_added_by_patch_and_removed_by_put(stand_in: StandIn):
    """Both are followed to their end, and neither touches the traffic."""
    workspace = stand_in.workspace()
    edit_tags(workspace, "fraud", lambda tags: {**tags, "lease": "run"}, 20, quiet)
    edit_tags(workspace, "fraud", lambda _: {"team": "risk"}, 20, quiet)
    assert [method for method, _, _ in stand_in.azure.writes] == ["PATCH", "PUT"]
    after = read_endpoint(workspace, "fraud")
    assert (after.tags, after.traffic) == ({"team": "risk"}, {"blue": 100})


def test_scaling_sends_the_sku_alone(stand_in: StandIn):
    """202 without Retry-After and without a body is followed; the new count is read back."""
    assert scale(stand_in.workspace(), SetInstanceCount("fraud", "green", 1, 3), 20, quiet).changed
    assert stand_in.azure.writes[0][2] == {"sku": {"name": "Default", "tier": "Standard", "capacity": 3}}
    assert stand_in.azure.capacity["green"] == 3


def test_a_deletion_is_followed(stand_in: StandIn):
    """An absent deployment is answered 204 without a body, which is no error."""
    workspace = stand_in.workspace()
    assert delete_deployment(workspace, "fraud", "green", 20, quiet).changed
    assert delete_deployment(workspace, "fraud", "green", 20, quiet).correlation_id == ""
    assert "green" not in stand_in.azure.capacity


def test_a_failed_operation_raises_with_its_code(stand_in: StandIn):
    """The poll has status 200; code and message are in its body."""
    stand_in.azure.failure = {"code": "OutOfQuota", "message": "Not enough quota."}
    with pytest.raises(OperationFailed, match="Not enough quota") as caught:
        set_traffic(stand_in.workspace(), SHIFT, 20, quiet)
    assert caught.value.code == "OutOfQuota"


def test_an_operation_that_does_not_end_is_left_with_its_state(stand_in: StandIn):
    """The message has Azure's own name of the state; nothing else is tried."""
    stand_in.azure.polls = 10_000
    with pytest.raises(OperationTimeout, match="last status: Updating"):
        set_traffic(stand_in.workspace(), SHIFT, 1, quiet)


def test_another_operation_that_does_not_end_changes_nothing(stand_in: StandIn):
    """Waiting for it ends with the names and states of what is busy."""
    stand_in.azure.state, stand_in.azure.left = "Updating", 10**9
    with pytest.raises(OperationTimeout, match=r"fraud Updating\). Nothing was"):
        settle(stand_in.workspace(), "fraud", 0.2, quiet)
