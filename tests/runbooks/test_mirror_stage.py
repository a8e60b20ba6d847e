"""The mirror stage of the canary runbook, executed by papermill against the sandbox."""

from datetime import UTC, datetime, timedelta

from runbook_world import QUICK_CANARY, answers, journal

from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.run_lock import release
from opslib.model import Outcome, SetTraffic
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.lease.tags import Lease, acquire, read_lease
from opslib.runbooks.run import Run
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.plan import plan_stages
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run
from opslib.runbooks.undo.reap import reap

MIRRORED = QUICK_CANARY | {"mirror_percent": 50, "stages": [50, 100]}


def test_a_failing_version_is_stopped_before_any_user_sees_it_and_a_good_one_goes_on(make_world):
    """The failing one answers copies alone; the good one takes live traffic after its mirror has ended."""
    world = make_world(green={}, red={"FRAGILE": "1"})
    with world.clients(rare=2) as report:
        folder, record = world.run("canary", canary="red", **MIRRORED)
        assert record.outcome is Outcome.ROLLED_BACK, record.reason
        assert "at 50 % of mirrored traffic, no user got an answer of the canary" in record.reason
        assert (world.read().mirror_traffic, read_lease(world.read().tags)) == ({}, None)
        (rollout,) = journal(folder, "rollout")
        assert [stage["mirror"] for stage in rollout["stages"]] == [{"red": 50}]
        folder, record = world.run("canary", canary="green", **MIRRORED)
        assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert (dict(world.read().traffic), world.read().mirror_traffic) == ({"green": 100}, {})
    (rollout,) = journal(folder, "rollout")
    assert [stage["mirror"] for stage in rollout["stages"]] == [{"green": 50}, {}, {}]
    assert rollout["stages"][0]["observation"]["total"]["green"]["requests"] > 0
    assert {one["status"] for one in answers(report)} == {200}


def test_a_run_that_died_during_its_mirror_stage_is_undone(make_world, monkeypatch):
    """The journal holds the mirror, before and after its request was answered: the runner's undo ends it."""
    world = make_world(green={})
    monkeypatch.setenv("OPSLIB_RUNS", str(world.runs))
    for answered in (False, True):
        run = Run.open(CanaryParameters.check({"endpoint": world.name, "canary": "green", **MIRRORED}))
        release(run.folder)
        step = plan_stages(run.read_endpoint(), "green", [50, 100], 6.0, 50).steps[0]
        assert isinstance(step, SetTraffic)
        until = datetime.now(UTC) + timedelta(minutes=5)
        lease = Lease(run.record.run_id, "ann", step.before, step.after, until, step.mirrored)
        run.journal.write(JournalEvent.APPLYING, step)
        receipt = apply(step, world.workspace, 30.0, lambda _: None, acquire(lease))
        if answered:
            run.journal.write(JournalEvent.APPLIED, receipt)
        assert world.read().mirror_traffic == {"green": 50}
        assert undo_interrupted_run(run.folder) == "traffic was restored: blue=100"
        after = world.read()
        assert (dict(after.traffic), after.mirror_traffic, read_lease(after.tags)) == ({"blue": 100}, {}, None)


def test_a_run_whose_journal_was_damaged_is_undone_by_its_lease(make_world, monkeypatch):
    """A loss of power left zeros in it where it named the step; the endpoint's tags hold what that set."""
    world = make_world(green={})
    monkeypatch.setenv("OPSLIB_RUNS", str(world.runs))
    run = Run.open(CanaryParameters.check({"endpoint": world.name, "canary": "green", **MIRRORED}))
    release(run.folder)
    run.read_endpoint()
    step = SetTraffic(world.name, {"blue": 100}, {"blue": 50, "green": 50})
    lease = Lease(run.record.run_id, "ann", step.before, step.after, datetime.now(UTC) + timedelta(minutes=5))
    run.journal.write(JournalEvent.APPLYING, step)
    apply(step, world.workspace, 30.0, lambda _: None, acquire(lease))
    *kept, damaged = run.journal.path.read_bytes().splitlines(keepends=True)
    run.journal.path.write_bytes(b"".join(kept) + bytes(len(damaged) - 1) + b"\n")
    assert undo_interrupted_run(run.folder) == (
        f"traffic was restored: blue=100; the journal is damaged in line {len(kept) + 1}: "
        f"check that {world.name} is as it was before the run"
    )
    assert (dict(world.read().traffic), read_lease(world.read().tags)) == ({"blue": 100}, None)


def test_a_mirror_that_no_run_watches_any_more_is_ended(make_world):
    """The lease holds it: recovery ends it, and leaves the live traffic as it is."""
    world = make_world(green={})
    step = SetTraffic(world.name, {"blue": 100}, {"blue": 100}, 60.0, {"green": 20})
    lease = Lease(
        "killed", "ann", {"blue": 100}, step.after, datetime.now(UTC) - timedelta(seconds=1), step.mirrored
    )
    apply(step, world.workspace, 30.0, lambda _: None, acquire(lease))
    assert world.read().mirror_traffic == {"green": 20}
    (reaped,) = reap(world.workspace, world.runs, lambda _: None, world.name)
    assert reaped.outcome is Outcome.SUCCEEDED, reaped.reason
    after = world.read()
    assert (dict(after.traffic), after.mirror_traffic, read_lease(after.tags)) == ({"blue": 100}, {}, None)
