"""`opslib cost` on a live endpoint, and a change above the ceiling."""

import json

from runbook_world import journal

from opslib.cli.main import main
from opslib.model import Outcome


def test_idle_deployments_what_ifs_and_the_ceiling(make_world, capsys):
    """The command shows what is billed without use, compares, and fails above the ceiling or without a price."""
    world = make_world(green={})
    assert main(["cost", world.name, "--policy", world.policy(cost={"max_per_month": 100})]) == 1
    shown = capsys.readouterr().out
    assert "idle: takes no traffic, 0 requests in the last 24 h" in shown
    assert "above the policy's ceiling of 100.00 USD per month" in shown
    assert main(["cost", world.name, "--instances", "green=0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pastTotalMonthlyCost"], found["totalMonthlyCost"]) == ("123.516", "61.758")
    assert found["projects"][0]["diff"]["resources"][0]["monthlyCost"] == "-61.758"
    assert main(["cost", world.name, "--policy", world.policy(cost={"max_per_month": 100, "currency": "EUR"})]) == 1
    shown = capsys.readouterr().out
    assert "total, without blue, green" in shown
    assert "not compared with the policy's ceiling of 100.00 EUR per month: no price of blue, green" in shown
    assert main(["cost", world.name, "--instances", "green"]) == 2
    assert "--instances takes NAME=N" in capsys.readouterr().err


def test_a_canary_above_the_ceiling_is_refused_and_below_it_planned(make_world):
    """Both versions are billed while they run side by side; the plan has what that costs, its digest has not."""
    world = make_world(green={})
    given = {"canary": "green", "probes": world.probes("green"), "dry_run": True, "source": "request log"}
    _, refused = world.run("canary", policy=world.policy(cost={"max_per_month": 100}), **given)
    assert refused.outcome is Outcome.REFUSED
    assert "cost: 123.52 is above the ceiling of 100.00 USD" in refused.reason
    folder, planned = world.run("canary", policy=world.policy(cost={"max_per_month": 200}), **given)
    assert planned.outcome is Outcome.PLANNED, planned.reason
    (plan,) = journal(folder, "plan")
    assert plan["cost"]["overlap"]["per_hour"] == "0.0846"
    assert plan["cost"]["overlap"]["planned_s"] == 1800
    assert "cost" not in json.loads((folder / "plan.json").read_text())
    assert planned.results["cost_per_month_after"] == 123.52
