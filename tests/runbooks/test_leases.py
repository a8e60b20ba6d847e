"""A canary holds its endpoint alone, and no canary is left unwatched."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from awaiting import wait_until
from runbook_world import QUICK_CANARY, Background, journal

from opslib.azure.endpoint_changes import edit_tags, set_traffic
from opslib.errors import Drift
from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.run_lock import release
from opslib.model import Outcome, SetTraffic
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.canary import plan_canary, run_stages
from opslib.runbooks.lease.tags import Lease, acquire, read_lease
from opslib.runbooks.run import Run
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run
from opslib.runbooks.undo.reap import reap

LONG = {"bake_s": 60, "max_bake_s": 60, "min_requests": 20, "stages": [50, 100], "lease_s": 30}
HALF = {"blue": 50, "green": 50}


def quiet(_):
    """Ignore progress."""


def leave_lease(world, deadline):
    """Leave what a machine leaves that died in the middle of a canary."""
    lease = Lease("run-of-old", "ann@laptop", {"blue": 100}, HALF, deadline)
    step = SetTraffic(world.name, {"blue": 100}, HALF)
    set_traffic(world.workspace, step, 30.0, quiet, acquire(lease))


def test_the_request_that_moves_the_traffic_takes_the_lease(make_world):
    """From the first moved traffic the tags hold owner, traffic before and deadline; others wait or take over."""
    world = make_world(green={})
    canary = Background(world, **LONG)
    endpoint = wait_until(lambda: (e := world.read()).traffic == HALF and e)
    lease = read_lease(endpoint.tags)
    assert lease.returns_to == {"blue": 100}
    assert lease.holds == HALF
    assert lease.deadline > datetime.now(UTC)
    _, refused = world.run("scale", deployment="blue", instances=2)
    assert refused.outcome is Outcome.REFUSED
    assert f"another change is under way: {lease.owner}" in refused.reason
    (reaped,) = reap(world.workspace, world.runs, quiet, world.name)
    assert reaped.outcome is None
    assert world.read().traffic == HALF
    (reaped,) = reap(world.workspace, world.runs, quiet, world.name, take_over=True)
    assert reaped.outcome is Outcome.SUCCEEDED
    folder, record = canary.result()
    assert record.outcome is Outcome.FAILED
    assert "another change took over" in record.reason
    assert world.read().traffic == {"blue": 100}
    assert not journal(folder, "rollout")


def open_canary(world):
    """Plan a canary, as its notebook does, on an endpoint that nobody changes yet."""
    given = {"endpoint": world.name, "canary": "green", **QUICK_CANARY, "stages": [50, 100]}
    run = Run.open(CanaryParameters.check(given))
    release(run.folder)
    return run, plan_canary(run, run.read_endpoint())


@pytest.mark.parametrize("theirs", ["lease", "traffic"])
def test_a_canary_that_another_change_prevents_has_nothing_to_undo(make_world, theirs):
    """It reported an undo that failed, and the command that it named for it ends the other canary."""
    world = make_world(green={})
    run, plan = open_canary(world)
    if theirs == "lease":
        leave_lease(world, datetime.now(UTC) + timedelta(minutes=5))
    else:
        set_traffic(world.workspace, SetTraffic(world.name, {"blue": 100}, HALF), 30.0, quiet)
    found = world.read()
    plan = replace(plan, steps=(replace(plan.steps[0], after={"blue": 90, "green": 10}),))
    with pytest.raises(
        Drift, match="holds the lease for run-of-old" if theirs == "lease" else "plan again"
    ) as raised:
        run_stages(run, plan)
    run.record_error(raised.value)
    assert undo_interrupted_run(run.folder) == ""
    events = {one["event"] for one in read_journal(run.journal.path)}
    assert not events & {JournalEvent.UNDOING, JournalEvent.UNDO_FAILED}
    assert (world.read().traffic, world.read().tags) == (found.traffic, found.tags)


def test_a_canary_whose_first_move_was_made_and_overtaken_removes_its_lease(make_world, monkeypatch):
    """Its request was sent: the traffic is another's meanwhile, its lease is still its own."""
    world = make_world(green={})
    run, plan = open_canary(world)

    def overtaken(step, workspace, timeout_s, progress, tags):
        set_traffic(workspace, step, timeout_s, progress, tags)
        set_traffic(workspace, SetTraffic(world.name, step.after, {"blue": 30, "green": 70}), 30.0, quiet)
        raise Drift("another change was made meanwhile")

    monkeypatch.setattr("opslib.runbooks.undo.traffic_lease.apply", overtaken)
    with pytest.raises(Drift, match="it was left alone"):
        run_stages(run, plan)
    assert journal(run.folder, "undo failed")
    assert world.read().traffic == {"blue": 30, "green": 70}
    assert read_lease(world.read().tags) is None


def test_two_starters_cannot_both_win(make_world):
    """Two canaries that start at once: one at most goes on, and the traffic is one's or back."""
    world = make_world(green={}, red={})
    quick = {**LONG, **QUICK_CANARY, "stages": [50, 100]}
    with world.clients():
        canaries = [Background(world, **quick, canary=name) for name in ("green", "red")]
        records = [canary.result()[1] for canary in canaries]
    succeeded = [record.outcome for record in records].count(Outcome.SUCCEEDED)
    assert succeeded <= 1, [record.reason for record in records]
    endpoint = world.read()
    assert read_lease(endpoint.tags) is None
    assert endpoint.traffic in ({"blue": 100}, {"green": 100}, {"red": 100})


def test_an_expired_lease_is_reaped_by_the_next_run_and_recorded_as_a_run_of_its_own(
    make_world, receiver, monkeypatch
):
    """A machine died in the middle of a canary: the next run restores the traffic first, and notifies of it."""
    world = make_world(green={})
    leave_lease(world, datetime.now(UTC) - timedelta(seconds=1))
    monkeypatch.setenv("HOOK", receiver.url)
    given = {"observe_s": 1, "late_data_s": 1, "policy": world.policy(notifications=[{"to": "env:HOOK"}])}
    _, record = world.run("scale", deployment="green", instances=2, **given)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert world.read().traffic == {"blue": 100}
    runbooks = {record.runbook: record for _, record in read_archive(world.runs)}
    assert runbooks["sweep"].outcome is Outcome.SUCCEEDED
    assert "run-of-old" in runbooks["sweep"].reason
    assert receiver.events() == ["lease_recovered"]
    assert runbooks["sweep"].notifications[0]["delivered"]
    assert record.notifications == ()


def test_reaping_leaves_alone_what_was_changed_since(make_world):
    """The lease goes, the traffic stays: it is a state that the dead change did not make."""
    world = make_world(green={})
    leave_lease(world, datetime.now(UTC) - timedelta(seconds=1))
    step = SetTraffic(world.name, HALF, {"blue": 20, "green": 80})
    set_traffic(world.workspace, step, 30.0, quiet)
    (reaped,) = reap(world.workspace, world.runs, quiet)
    assert reaped.outcome is Outcome.HELD
    endpoint = world.read()
    assert endpoint.traffic == {"blue": 20, "green": 80}
    assert read_lease(endpoint.tags) is None


def test_a_damaged_lease_is_named_until_a_person_removes_it(make_world):
    """Where the traffic was before is unknown, so that nothing moves it; the removal is a run of its own."""
    world = make_world(green={})
    leave_lease(world, datetime.now(UTC) + timedelta(minutes=5))
    damaged = "opslib-lease-deadline=soon"
    edit_tags(world.workspace, world.name, lambda tags: {**tags, "opslib-lease-deadline": "soon"}, 30.0, quiet)
    (found,) = reap(world.workspace, world.runs, quiet, world.name)
    assert (found.outcome, found.lease, damaged in found.reason) == (Outcome.FAILED, None, True)
    assert not list(read_archive(world.runs))
    (removed,) = reap(world.workspace, world.runs, quiet, world.name, take_over=True)
    assert removed.outcome is Outcome.HELD
    assert removed.reason.endswith("It was removed; the traffic was left as it is: blue=50 green=50")
    assert dict(world.read().traffic) == HALF
    assert not any(name.startswith("opslib-lease-") for name in world.read().tags)
    ((_, record),) = read_archive(world.runs)
    assert (record.outcome, damaged in record.reason) == (Outcome.HELD, True)
    assert not list(reap(world.workspace, world.runs, quiet, world.name))


def test_a_canary_stops_where_another_change_moves_the_traffic(make_world):
    """It never overwrites; it reports what it saw and ends."""
    world = make_world(green={})
    canary = Background(world, **LONG)
    wait_until(lambda: world.read().traffic == HALF)
    wait_until(lambda: any(journal(folder, "applied") for folder, _ in read_archive(world.runs)))
    step = SetTraffic(world.name, HALF, {"blue": 20, "green": 80})
    set_traffic(world.workspace, step, 30.0, quiet)
    _, record = canary.result()
    assert record.outcome is Outcome.FAILED
    assert "left alone" in record.reason
    assert world.read().traffic == {"blue": 20, "green": 80}


def test_an_edit_of_tags_keeps_everything_else(make_world):
    """Tags come and go; traffic, identity and the team's own tags stay."""
    world = make_world()
    before = world.read()
    edit_tags(world.workspace, world.name, lambda tags: {**tags, "a": "1", "b": "2"}, 30.0, quiet)
    edit_tags(world.workspace, world.name, lambda tags: {k: v for k, v in tags.items() if k != "a"}, 30.0, quiet)
    after = world.read()
    assert after.tags == {**before.tags, "b": "2"}
    assert after.traffic == before.traffic
    assert after.arm["identity"] == before.arm["identity"]
