"""What returns traffic goes on where an update is lost, an endpoint fails or a record cannot be sealed."""

import json
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from opslib.azure import connect, endpoint_changes
from opslib.cli.main import main
from opslib.errors import AzureError, Drift, NotFound, RecordError
from opslib.model import Outcome, ProbeResult
from opslib.runbooks.lease.tags import Lease
from opslib.runbooks.undo import reap as reaping
from opslib.runbooks.undo.restore_traffic import Undo, describe_arrival, restore_traffic

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANARY = {"blue": 50, "green": 50}


class LosingArm:
    """Resource Manager that accepts the first PUT of an endpoint, after which its traffic is what is given."""

    def __init__(self, traffic, tags, lost):
        self.traffic, self.tags, self.lost, self.puts = traffic, tags, lost, 0

    def get(self, path, *_):
        properties = {"provisioningState": "Succeeded", "traffic": dict(self.traffic), "mirrorTraffic": {}}
        return {"id": path, "name": "fraud", "location": "x", "tags": dict(self.tags), "properties": properties}

    def list(self, *_):
        return []

    def write(self, *_, body, **__):
        self.puts += 1
        self.traffic = self.lost if self.puts == 1 else body["properties"]["traffic"]
        self.tags = self.tags if self.puts == 1 else body["tags"]
        return Mock(changed=True)


def undo_with(arm):
    workspace = Mock(arm=arm)
    workspace.scope.workspace_id = "/ws"
    undo = Undo("fraud", "run-a", {"blue": 100}, (CANARY,))
    restore_traffic(workspace, undo, lambda _: None, 60.0, pause=lambda _: None)


@pytest.fixture
def lease(monkeypatch):
    monkeypatch.setattr(endpoint_changes, "READ_BACK_S", 0.0)
    return Lease("run-a", "ann@host", {"blue": 100}, CANARY, datetime.now(UTC) + timedelta(minutes=5))


def test_an_undo_whose_update_the_service_lost_is_tried_again(lease):
    """The canary would keep its traffic, although 30 minutes are left to restore it."""
    arm = LosingArm(CANARY, lease.tags(), lost=CANARY)
    undo_with(arm)
    assert (arm.puts, arm.traffic, arm.tags) == (2, {"blue": 100}, {})


def test_an_undo_does_not_overwrite_what_was_set_after_it(lease):
    """Traffic that is neither as before nor as set is another change, which is left alone."""
    arm = LosingArm(CANARY, lease.tags(), lost={"amber": 100})
    with pytest.raises(Drift, match="another change was made meanwhile"):
        undo_with(arm)
    assert (arm.puts, arm.traffic) == (1, {"amber": 100})


def test_an_answer_that_names_no_deployment_is_no_answer_of_the_restored_one():
    """The header that names it is not documented; without it nothing is known."""
    answers = [ProbeResult(NOW, 200, 5.0, name, "opslib-1") for name in ("Blue", "green", "")]
    assert describe_arrival(answers, {"blue": 100}) == (
        "1 of 3 live requests were answered by blue, 1 by a deployment that the answer does not name"
    )


@pytest.fixture
def restored(tmp_path, monkeypatch):
    """Names of endpoints to which traffic was returned, of a workspace with an expired lease on each endpoint."""
    names = []
    expired = Lease("run-a", "ann@host", {"blue": 100}, CANARY, NOW)

    def read(_, name):
        if name in UNREADABLE:
            raise UNREADABLE[name]
        found = Mock(tags=expired.tags(), traffic=CANARY)
        found.name = name
        return found

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect, "connect", lambda _: Mock(scope=None))
    monkeypatch.setattr(reaping, "list_endpoints", lambda _: [{"name": one} for one in ("a", "b", *UNREADABLE)])
    monkeypatch.setattr(reaping, "read_endpoint", read)
    monkeypatch.setattr(reaping, "restore_traffic", lambda _, undo, __: names.append(undo.endpoint))
    return names


UNREADABLE = {"deleted": NotFound("no such endpoint"), "outage": AzureError("503: unavailable", 503)}


def test_an_endpoint_that_cannot_be_read_fails_the_recovery(restored, capsys):
    """A pipeline that runs it every minute sees only its exit code; all others are recovered all the same."""
    assert main(["recover", "--target", "sandbox", "--json"]) == 1
    leases = {one["endpoint"]: one for one in json.loads(capsys.readouterr().out)["leases"]}
    assert {name: one["outcome"] for name, one in leases.items()} == {
        "a": "succeeded",
        "b": "succeeded",
        "outage": "failed",
    }
    assert leases["outage"]["reason"] == "503: unavailable"
    assert restored == ["a", "b"]


def test_a_recovery_of_nothing_reports_so(restored, monkeypatch, capsys):
    """Without a line a person does not know whether the command has looked."""
    monkeypatch.setattr(reaping, "list_endpoints", lambda _: [])
    assert main(["recover", "--target", "sandbox"]) == 0
    assert capsys.readouterr().out == "nothing to recover: no lease on any endpoint, no run whose process died\n"
    assert restored == []


def test_a_recovery_that_cannot_be_sealed_keeps_no_other_endpoint_from_its_own(restored, tmp_path, monkeypatch):
    """Two canaries were left by a machine that died; the signing key cannot be read."""

    def unsigned(*_):
        raise RecordError("the signing key cannot be read")

    monkeypatch.setattr(reaping, "end_run", unsigned)
    found = list(reaping.reap(Mock(scope=None), tmp_path / "runs", lambda _: None))
    assert restored == ["a", "b"]
    assert {(one.outcome, one.lease is None) for one in found} == {(Outcome.FAILED, False), (Outcome.FAILED, True)}
