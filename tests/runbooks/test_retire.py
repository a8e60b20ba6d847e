"""The retire runbook, executed by papermill against the sandbox."""

from pathlib import Path

import pytest
from runbook_world import journal
from test_conditions import alert, autoscale, existing, insights

from opslib.azure.rules import read_rules
from opslib.errors import PreflightError
from opslib.evidence.run.run_lock import release
from opslib.model import CreateDeployment, Level, Outcome, RestoreRule, Step
from opslib.parameters.retire import RetireParameters
from opslib.runbooks.retire_checks import check_retire
from opslib.runbooks.run import Run
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.preflight import require_clear

AT_ONCE = {"release_cycles": 0, "days": 0}


def test_retires_a_deployment_with_its_rules_and_makes_it_again(make_world, sandbox):
    """It is deleted with what scales and watches it; the saving is recorded; the undo restores all of it."""
    world = make_world(green={"LEVEL": "debug"})
    green = world.read().find("green")
    cpu = alert(green.id, 99) | {"severity": 3}
    cpu["criteria"]["allOf"][0]["metricName"] = "CpuUtilizationPercentage"
    rules = (
        insights(sandbox, "autoscaleSettings", f"{world.name}-size"),
        insights(sandbox, "metricAlerts", f"{world.name}-cpu"),
        insights(sandbox, "metricAlerts", f"{world.name}-busy"),
    )
    busy = alert(sandbox.endpoint_id(world.name), 99)
    busy["criteria"]["allOf"][0]["dimensions"] = [
        {"name": "deployment", "operator": "Include", "values": ["green"]}
    ]
    with (
        existing(sandbox, rules[0], autoscale(green, 1, 2)),
        existing(sandbox, rules[1], cpu | {"enabled": False}),
        existing(sandbox, rules[2], busy | {"enabled": False}),
    ):
        folder, record = world.run("retire", deployment="green", policy=world.policy(retention=AT_ONCE))
        assert record.outcome is Outcome.SUCCEEDED, record.reason
        assert world.read().deployment_names() == "blue"
        assert read_rules(world.workspace, green) == ()
        assert (record.results["cost_per_month_saved"], record.results["retired"]) == (61.76, "green")
        assert "saves 61.76 USD per month" in record.reason
        assert len(journal(folder, "applied")) == 4
        (plan,) = journal(folder, "plan")
        again, *restored = plan["undo"]
        assert "az ml online-deployment create --file definition.yml" in record.rollback["commands"][0]
        create = CreateDeployment(**again | {"definition": str(Path(folder, again["definition"]))})
        steps: list[Step] = [create, *(RestoreRule(**one) for one in restored)]
        for step in steps:
            apply(step, world.workspace, 60.0, lambda _: None)
        made = world.read().find("green")
        assert made.version_sha256 == green.version_sha256
        assert {str(rule) for rule in read_rules(world.workspace, made)} == {
            f"autoscale setting {world.name}-size",
            f"alert rule {world.name}-cpu",
            f"alert rule {world.name}-busy",
        }


def test_refuses_one_that_was_just_made_and_one_that_serves(make_world, monkeypatch):
    """By the default retention, without a policy: each reason is a finding, and nothing is deleted."""
    world = make_world(green={})
    monkeypatch.setenv("OPSLIB_RUNS", str(world.runs))
    blockers = {}
    for name in ("green", "blue"):
        run = Run.open(RetireParameters.check({"endpoint": world.name, "deployment": name}))
        findings = check_retire(run, run.read_endpoint())
        blockers[name] = {one.check for one in findings if one.level is Level.BLOCKER}
        assert "14 days, the default" in next(one.evidence for one in findings if one.check == "retention")
        with pytest.raises(PreflightError, match="expected at least 14 days"):
            require_clear(findings)
        release(run.folder)
    assert blockers["green"] == {"retention: days", "retention: releases"}
    assert blockers["blue"] >= {"traffic", "retention: days", "retention: releases"}
