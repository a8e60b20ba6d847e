"""What a wave selects: the inventory, by drift, and each endpoint in the workspace that its target is."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from waves import row

from opslib.errors import ParameterError, PlanError
from opslib.fleet import select
from opslib.inventory.rows import Inventory
from opslib.model import Unread

GROUP = "/subscriptions/s/resourceGroups/g/providers/M/workspaces"
TEXT = "version: 1\nname: december\ntarget: west.json\nrunbook: rollback\nparameters: {to: blue"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Plans a wave on two endpoints, in the workspaces `west` and `north`."""
    monkeypatch.chdir(tmp_path)
    for name in ("west", "north"):
        config = {"subscription_id": "s", "resource_group": "g", "workspace_name": name}
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    rows = tuple(
        replace(row(n), workspace=name, id=f"{GROUP}/{name}/onlineEndpoints/fraud-{n}")
        for n, name in enumerate(("west", "north"))
    )
    scope = SimpleNamespace(subscription_id="s", resource_group="G", workspace_name="west")
    monkeypatch.setattr(select, "connect", lambda _: SimpleNamespace(scope=scope))

    def plan_it(text, unread=(), drifted=rows[0].id, uncompared=()):
        report = SimpleNamespace(drifted=[SimpleNamespace(id=drifted)], unread=uncompared)
        monkeypatch.setattr(select, "find_drift", lambda *_: report)
        inventory = Inventory(datetime(2026, 12, 1, tzinfo=UTC), "lists", rows, unread, 2, 0)
        monkeypatch.setattr(select, "read_inventory", lambda *_: inventory)
        (tmp_path / "wave.yml").write_text(text)
        found, _ = select.plan_wave(tmp_path / "wave.yml", print)
        return [(one.endpoint, one.parameters["target"]) for one in found.members]

    return plan_it


def test_each_endpoint_is_reached_in_its_own_workspace(plan):
    """One target for each workspace, or the wave is refused before anything starts."""
    assert plan(TEXT + ", target: '{workspace}.json'}") == [("fraud-0", "west.json"), ("fraud-1", "north.json")]
    with pytest.raises(ParameterError, match="fraud-1 is in the workspace s/g/north, and target"):
        plan(TEXT + "}")


def test_only_what_has_drifted(plan):
    """The comparison of `opslib drift`, with a folder of definitions."""
    text = TEXT + "}\nselect: {drifted_from: endpoints}"
    assert plan(text) == [("fraud-0", "west.json")]
    deployment = f"{GROUP.upper()}/WEST/onlineEndpoints/fraud-0/deployments/blue"
    assert plan(text, drifted=deployment) == [("fraud-0", "west.json")]
    with pytest.raises(PlanError, match="selects no endpoint"):  # a workspace of this name in another group
        plan(text, drifted=f"{GROUP.replace('/g/', '/other/')}/west/onlineEndpoints/fraud-0")


def test_what_could_not_be_compared_stops_the_plan(plan):
    """It may have drifted. Who changed what need not be known."""
    text = TEXT + "}\nselect: {drifted_from: endpoints}"
    assert plan(text, uncompared=(Unread("activity log of subscription s", "denied"),))
    with pytest.raises(ParameterError, match="the endpoints of the wave are unknown: endpoint fraud-1: denied"):
        plan(text, uncompared=(Unread("endpoint fraud-1", "denied"),))


def test_unknown_endpoints_stop_the_plan_and_unknown_prices_do_not(plan):
    """A wave on a part of its endpoints is not what was approved."""
    text = TEXT + ", target: '{workspace}.json'}"
    assert len(plan(text, (Unread("prices of Standard_X in eastus", "not listed"),))) == 2
    with pytest.raises(ParameterError, match="the endpoints of the wave are unknown: subscription s: denied"):
        plan(text, (Unread("subscription s", "denied"),))
