"""The lease: written into tags and read back, acquired once, renewed and removed by its owner alone."""

import os
from datetime import UTC, datetime, timedelta
from time import monotonic
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import endpoint

from opslib.azure.platform_metrics import PlatformMetrics
from opslib.errors import ApplyError, AzureError, LeaseHeld, OperationTimeout
from opslib.evidence.run.journal import Journal
from opslib.model import Level, Observation, SetTraffic
from opslib.runbooks.canary.stage_watch import HoldPolicy
from opslib.runbooks.canary.stages import Stages
from opslib.runbooks.lease.tags import PREFIX, Lease, acquire, damage_of, read_lease, release, renew
from opslib.runbooks.steps.plan import plan_stages
from opslib.runbooks.steps.preflight import check_lease
from opslib.runbooks.undo.restore_traffic import retry
from opslib.runbooks.undo.traffic_lease import LeaseTerms, TrafficLease

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lease(change="run-a", deadline=NOW + timedelta(minutes=5)):
    return Lease(change, "ann@host", {"blue": 100}, {"blue": 90, "green": 10}, deadline)


def test_a_lease_reads_back_from_its_tags():
    """The tags hold the whole lease, to the second."""
    assert read_lease(lease().tags()) == lease()


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=5))
def test_tags_that_hold_no_lease_are_none(tags):
    """Other tags are not a lease."""
    assert read_lease(tags) is None


@pytest.mark.parametrize("damage", [{"deadline": "soon"}, {"holds": "blue"}, {"returns-to": "blue=many"}])
def test_a_lease_that_was_damaged_by_hand_is_none(damage):
    """No traffic can be restored from damaged tags, but no other change begins above it."""
    tags = lease().tags() | {PREFIX + name: value for name, value in damage.items()}
    assert read_lease(tags) is None
    damaged = endpoint({"blue": 90, "green": 10})
    object.__setattr__(damaged, "tags", tags)
    found = check_lease(damaged, NOW)
    assert (found.level, damage_of(lease().tags()), damage_of({"owner": "claims"})) == (Level.BLOCKER, "", "")
    for name, value in damage.items():
        assert f"{PREFIX}{name}={value}" in found.evidence
    assert "opslib recover --endpoint fraud --take-over" in found.fix


def test_a_deadline_without_an_offset_is_utc():
    """As a person may write it by hand: the lease still expires, and the traffic can be restored."""
    tags = lease().tags() | {f"{PREFIX}deadline": "2026-01-01T00:05:00"}
    assert read_lease(tags) == lease()


def test_acquiring_keeps_the_other_tags():
    """A team's own tags stay as they are."""
    tags = acquire(lease())({"owner": "claims"})
    assert tags["owner"] == "claims"
    assert read_lease(tags) == lease()
    assert release("run-a")(tags) == {"owner": "claims"}


@pytest.mark.parametrize("deadline", [NOW - timedelta(days=1), NOW + timedelta(days=1)])
def test_a_held_lease_is_not_acquired(deadline):
    """Not even an expired one: it is reaped first."""
    held = lease(deadline=deadline).tags()
    with pytest.raises(LeaseHeld, match="ann@host holds the lease for run-a"):
        acquire(lease("run-b"))(held)


def test_only_its_owner_renews_and_removes_it():
    """A run that lost the lease gets an error; a run that never had it cannot remove it."""
    held = lease().tags()
    later = lease(deadline=NOW + timedelta(hours=1))
    assert read_lease(renew(later)(held)) == later
    others: tuple[dict[str, str], ...] = ({}, dict(lease("run-b").tags()))
    for tags in others:
        with pytest.raises(LeaseHeld, match="was lost"):
            renew(later)(tags)
    assert release("run-b")(held) == held


def test_preflight_distinguishes_a_live_lease_from_an_expired_one():
    """A live one is waited for or taken over, an expired one is reaped."""
    held = endpoint({"blue": 90, "green": 10})
    object.__setattr__(held, "tags", lease().tags())
    live, expired = check_lease(held, NOW), check_lease(held, NOW + timedelta(hours=1))
    assert live.level is expired.level is Level.BLOCKER
    assert "--take-over" in live.fix
    assert live.fix != expired.fix
    assert check_lease(endpoint(), NOW).level is Level.OK


@pytest.mark.parametrize("status", [400, 409])
def test_an_undo_outlasts_another_operation_whatever_the_status_of_its_refusal(status):
    """One may begin between the read and the write: the traffic must not stay on the canary."""
    refusals = [AzureError("PUT e: Cannot update e because it is in Updating provisioning state.", status)]

    def once(_left_s):
        if refusals:
            raise refusals.pop()
        return "restored"

    assert retry(once, "not restored", lambda _: None, 60.0, lambda _: None) == "restored"


def test_an_undo_that_azure_refuses_for_good_is_not_repeated():
    """A request that is wrong stays wrong: a person has to act, and learns it at once."""
    attempts = []

    def once(_left_s):
        attempts.append(1)
        raise AzureError("PUT e: 400 (BadRequest) no such deployment", 400)

    with pytest.raises(ApplyError, match="not restored: PUT e: 400"):
        retry(once, "not restored", lambda _: None, 60.0, lambda _: None)
    assert attempts == [1]


def test_a_short_lease_is_renewed_before_it_ends(tmp_path, monkeypatch):
    """Metrics are read every 15 s: another run would take a lease of 9 s for one whose process died."""
    pauses: list[float] = []
    verdicts = [Mock(outcome="continue", sentence=""), Mock(outcome="promote", sentence="")]
    monkeypatch.setattr("opslib.runbooks.canary.stages.sleep", pauses.append)
    plan = plan_stages(endpoint({"blue": 100}), "green", [50, 100], 600.0)
    held = TrafficLease(Mock(), Journal(tmp_path), print, plan, LeaseTerms("run-a", "ann", 9.0, 60.0))
    monkeypatch.setattr(held, "move", Mock())
    monkeypatch.setattr(held, "renew_if_due", Mock())
    source = PlatformMetrics(Mock(), "/fraud")
    monkeypatch.setattr(PlatformMetrics, "observe", Mock(return_value=Observation("metrics", NOW, NOW, None, {})))
    session = Mock(canary="green", stable="blue", source=source)
    session.settings.lag_s, session.read_from.return_value = 240.0, NOW
    session.judge.side_effect = verdicts
    policy = HoldPolicy("rollback", 600.0, 60.0)
    stages = Stages(plan, session, Mock(), held, policy, 600.0, Mock(), print, Mock())
    assert next(stages.run()).next_step == "promote"
    assert pauses == [1.5]


def test_a_renewal_waits_for_another_operation_no_longer_than_the_lease_lasts(tmp_path, monkeypatch):
    """An autoscale of stable takes minutes: the run watched nothing meanwhile, with a lease that had ended."""
    waited: list[float] = []

    def busy(_workspace, _name, _tags, timeout_s, _progress):
        waited.append(timeout_s)
        held._deadline_s = 0.0  # as after that time
        raise OperationTimeout("another operation did not end")

    plan = plan_stages(endpoint({"blue": 100}), "green", [50, 100], 60.0)
    held = TrafficLease(Mock(), Journal(tmp_path), print, plan, LeaseTerms("run-a", "ann", 300.0, 3600.0))
    step = plan.steps[0]
    assert isinstance(step, SetTraffic)
    monkeypatch.setattr(held, "_require_held", Mock())
    monkeypatch.setattr("opslib.runbooks.undo.traffic_lease.read_endpoint", Mock())
    monkeypatch.setattr("opslib.runbooks.undo.traffic_lease.edit_tags", busy)
    begun_s = monotonic() - 150.0
    held._extend(lease(deadline=datetime.now(UTC) + timedelta(seconds=150)), begun_s)
    with pytest.raises(ApplyError, match="the lease ran out"):
        held.renew_if_due(step)
    assert len(waited) == 1
    assert waited[0] <= 150.0


def test_an_undo_that_waits_shows_that_the_run_is_alive(tmp_path, monkeypatch):
    """Its runner would take the kernel for one that hangs, and end it in the middle of the undo."""
    journal, touched = Journal(tmp_path), []

    def outage(_workspace, _undo, progress):
        os.utime(journal.path, (0, 0))
        progress("retrying for 1800 s: Azure does not respond")
        touched.append(journal.path.stat().st_mtime)
        raise ApplyError("Azure does not respond")

    monkeypatch.setattr("opslib.runbooks.undo.traffic_lease.restore_traffic", outage)
    plan = plan_stages(endpoint({"blue": 100}), "green", [50, 100], 60.0)
    held = TrafficLease(Mock(), journal, lambda _: None, plan, LeaseTerms("run-a", "ann", 300.0, 60.0))
    with pytest.raises(ApplyError, match="does not respond"):
        held.restore("")
    assert touched[0] > 0
