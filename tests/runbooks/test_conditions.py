"""Conditions around a change, read from the sandbox: monitoring, alerts, autoscale, tags, retention."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
import yaml

from opslib.azure.diagnostics import read_diagnostics
from opslib.errors import Drift
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.run_lock import release
from opslib.model import Level
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.deploy import DeployParameters
from opslib.parameters.rollback import RollbackParameters
from opslib.parameters.scale import ScaleParameters
from opslib.policy.policy import ChangeFreeze
from opslib.runbooks.canary.checks import check_canary
from opslib.runbooks.deploy import check_deploy
from opslib.runbooks.rollback import check_rollback
from opslib.runbooks.run import Run
from opslib.runbooks.scale import check_scale, plan_scale, scale
from opslib.runbooks.steps.preflight import require_clear
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run

CHECKS = {
    CanaryParameters: check_canary,
    DeployParameters: check_deploy,
    RollbackParameters: check_rollback,
    ScaleParameters: check_scale,
}


@pytest.fixture(autouse=True)
def own_archive(tmp_path, monkeypatch):
    """Runs are kept in the test's own folder."""
    monkeypatch.chdir(tmp_path)


def findings_of(world, kind, **given):
    """Findings of a dry run on the world, by name, without a notebook."""
    run = Run.open(kind.check({"endpoint": world.name, "dry_run": True, **given}))
    target = (given["to"],) if kind is RollbackParameters else ()
    findings = CHECKS[kind](run, run.read_endpoint(), *target)
    release(run.folder)
    return {one.check: one for one in findings}


@contextmanager
def existing(sandbox, path, properties, **body):
    """A resource of Azure Monitor for the time of a test."""
    with sandbox.arm() as arm:
        arm.put(path, json={"location": "eastus", "properties": properties, **body}).raise_for_status()
        try:
            yield arm
        finally:
            arm.delete(path).raise_for_status()


def insights(sandbox, kind, name):
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    return f"{group}/providers/Microsoft.Insights/{kind}/{name}"


def policy(world, **rules):
    path = world.folder / "policy.yml"
    owner = {"team": "claims", "contact": "on-call", "dependents": ["payouts"]}
    path.write_text(yaml.safe_dump({"version": 1, "endpoint": world.name, "owner": owner, **rules}))
    return str(path)


def autoscale(deployment, least, most):
    capacity = {"minimum": str(least), "maximum": str(most), "default": str(least)}
    profile = {"name": "all day", "capacity": capacity, "rules": []}
    return {"enabled": True, "targetResourceUri": deployment.id, "profiles": [profile]}


def alert(scope, threshold):
    criterion = {
        "name": "c", "metricName": "RequestsPerMinute", "operator": "GreaterThanOrEqual", "threshold": threshold,
        "timeAggregation": "Average", "criterionType": "StaticThresholdCriterion",
    }  # fmt: skip
    kind = "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
    return {
        "severity": 1, "enabled": True, "scopes": [scope], "evaluationFrequency": "PT1M", "windowSize": "PT1M",
        "criteria": {"odata.type": kind, "allOf": [criterion]},
    }  # fmt: skip


def test_monitoring_and_tags_that_the_policy_requires(world, sandbox):
    """Missing: the change is blocked. There: it is not. A rollback waits for neither."""
    rules = {
        "monitoring": {"alerts": [f"{world.name}-slow"], "logs": ["AmlOnlineEndpointTrafficLog"]},
        "tags": {"endpoint": ["team"], "deployment": ["model_version"]},
        "retention": {"release_cycles": 2, "days": 30},
    }
    given = {"policy": policy(world, **rules)}
    found = findings_of(world, DeployParameters, definition=world.definition("green"), **given)
    assert f"alert rule {world.name}-slow (not there)" in found["monitoring coverage"].evidence
    assert found["monitoring coverage"].level is Level.BLOCKER
    assert found["tags"].level is Level.BLOCKER
    returned = findings_of(world, RollbackParameters, to="blue", **given)
    assert not {"monitoring coverage", "tags"} & returned.keys()
    assert "2 release cycles and 30 days" in returned["retention"].evidence
    assert "payouts" in returned["owner"].evidence
    path = insights(sandbox, "metricAlerts", f"{world.name}-slow")
    with existing(sandbox, path, alert(world.read().id, 1e9), tags={}):
        found = findings_of(world, ScaleParameters, deployment="blue", instances=2, **given)
        assert found["monitoring coverage"].level is Level.OK
        assert "AmlOnlineEndpointTrafficLog" in found["monitoring coverage"].evidence
        assert found["alerts"].level is Level.OK


def test_autoscale_settings_of_the_deployments_involved(make_world, sandbox):
    """A setting fights a scale, and stays behind on the old deployment of a canary and a rollback."""
    world = make_world(green={})
    blue = world.read().find("blue")
    path = insights(sandbox, "autoscalesettings", f"{world.name}-cpu")
    with existing(sandbox, path, autoscale(blue, 1, 3)):
        found = findings_of(world, ScaleParameters, deployment="blue", instances=2)
        assert found["autoscale"].level is Level.BLOCKER
        found = findings_of(world, CanaryParameters, canary="green", bake_s=120, max_bake_s=240)
        assert f"{world.name}-cpu (1 to 3 instances) on blue stays behind" in found["autoscale"].evidence
        found = findings_of(world, RollbackParameters, to="green")
        assert found["autoscale"].level is Level.WARNING
    found = findings_of(world, RollbackParameters, to="green")
    assert found["autoscale"].level is Level.OK


def test_a_change_that_has_begun_may_finish_in_a_freeze(world):
    """A freeze that begins after preflight does not stop the change; the next change is refused."""

    def freeze(begins):
        whole_hour = ChangeFreeze(starts=begins, ends=begins + timedelta(hours=1), reason="year end")
        run.policy = run.policy.model_copy(update={"freezes": (whole_hour,)})

    given = {"endpoint": world.name, "deployment": "blue", "instances": 2, "observe_s": 0.0, "late_data_s": 0.0}
    run = Run.open(ScaleParameters.check(given | {"policy": policy(world)}))
    before = run.read_endpoint()
    freeze(datetime.now(UTC) + timedelta(minutes=5))
    require_clear(check_scale(run, before))
    plan = plan_scale(run, before)
    freeze(datetime.now(UTC) - timedelta(seconds=1))  # as if five minutes had passed
    assert scale(run, plan).instances_after == 2
    refused = {one.check: one for one in check_scale(run, run.read_endpoint())}["change window"]
    assert refused.level is Level.BLOCKER
    assert "year end" in refused.evidence
    release(run.folder)


def test_a_rollbacks_preflight_reads_the_diagnostic_settings_once(make_world, monkeypatch):
    """It is read while users get the bad version's answers: what counts them is found once, for all checks."""
    world, reading = make_world(green={}), Mock(wraps=read_diagnostics)
    monkeypatch.setattr("opslib.azure.source.read_diagnostics", reading)
    findings_of(world, RollbackParameters, to="green")
    reading.assert_called_once()


def test_a_scale_that_meets_another_change_has_nothing_to_undo(make_world, monkeypatch):
    """The number of instances is another's: neither the run nor its runner reports an undo that failed."""
    world = make_world()
    run = Run.open(ScaleParameters.check({"endpoint": world.name, "deployment": "blue", "instances": 2}))
    release(run.folder)
    plan = plan_scale(run, run.read_endpoint())
    monkeypatch.setattr("opslib.runbooks.scale.apply", Mock(side_effect=Drift("blue has 3 instances, expected 1")))
    with pytest.raises(Drift, match="blue has 3 instances") as raised:
        scale(run, plan)
    run.record_error(raised.value)
    assert undo_interrupted_run(run.folder) == ""
    events = {one["event"] for one in read_journal(run.journal.path)}
    assert not events & {JournalEvent.UNDOING, JournalEvent.UNDO_FAILED}
