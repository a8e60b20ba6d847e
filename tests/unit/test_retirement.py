"""What may be retired: each refusal, firing and not, on an endpoint and rules read from the sandbox."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from opslib.azure.rules import find_others
from opslib.errors import Drift
from opslib.evidence.run.record import Record
from opslib.model import ActivityEvent, DeploymentRule, Level, Outcome
from opslib.policy.standards import Retention
from opslib.runbooks.lease.tags import Lease, acquire
from opslib.runbooks.retention import find_foreign_changes, find_rest
from opslib.runbooks.retire import Retired, conclude_retire, require_unchanged
from opslib.runbooks.steps import retire_preflight as checks
from opslib.runbooks.steps.plan import plan_retirement
from opslib.runbooks.steps.step_text import az_command, describe_step

NOW = datetime.now(UTC) + timedelta(days=30)
"""A month after the deployments of the sandbox were created."""

RULE = Retention(release_cycles=1, days=14)


@pytest.fixture(scope="module")
def endpoint(worlds, tmp_path_factory):
    """An endpoint on which blue serves everything and green nothing, as the sandbox returns it."""
    world = worlds.take(tmp_path_factory.mktemp("retire"), {"green": {}})
    yield world.read()
    worlds.give_back(world)


def record(number, runbook="canary", outcome=Outcome.SUCCEEDED, before=None, after=None, **parameters):
    """A run that ended that many days after now."""
    at = datetime.now(UTC) + timedelta(days=number)
    return Record(
        f"r{number}", runbook, "e", parameters, at - timedelta(hours=1), outcome, finished_at=at,
        traffic_before=before, traffic_after=after, results={"to": parameters.pop("to", "")},
    )  # fmt: skip


PROMOTED = record(1, before={"green": 100}, after={"blue": 100}, canary="blue")
LATER = record(9, before={"blue": 100}, after={"amber": 100}, canary="amber")
LEFT = record(10, "rollback", before={"amber": 100}, after={"blue": 100}, to="blue")


def level(finding):
    return finding.level


def test_a_deployment_with_live_or_mirrored_traffic_is_refused(endpoint):
    """Each kind is named with its weight; one without any passes."""
    assert level(checks.check_no_traffic(endpoint, "green")) is Level.OK
    assert "BLUE takes 100 % of live traffic" in checks.check_no_traffic(endpoint, "BLUE").evidence
    mirrored = checks.check_no_traffic(replace(endpoint, mirror_traffic={"green": 10}), "green")
    assert level(mirrored) is Level.BLOCKER
    assert "10 % of mirrored traffic" in mirrored.evidence


def test_a_name_that_does_not_exist_is_refused(endpoint):
    """The finding lists those that do."""
    assert level(checks.check_exists(endpoint, "green")) is Level.OK
    absent = checks.check_exists(endpoint, "violet")
    assert level(absent) is Level.BLOCKER
    assert "it has: blue, green" in absent.evidence


@pytest.mark.parametrize(
    ("target", "expected"), [("green", Level.BLOCKER), ("blue", Level.OK), ("", Level.WARNING)]
)
def test_the_last_known_good_deployment_is_refused(target, expected):
    """Without an archive it is not known what a rollback would return to."""
    assert level(checks.check_not_target("green", target, "the archive is empty")) is expected


@pytest.mark.parametrize(("requests", "expected"), [(0, Level.OK), (1, Level.BLOCKER), (None, Level.BLOCKER)])
def test_one_request_or_unknown_requests_refuse(requests, expected):
    """Unknown is not none."""
    finding = checks.check_requests("green", requests, timedelta(days=14), "HTTP 403")
    assert level(finding) is expected
    assert "14.0 days" in finding.evidence
    assert ("at most about" in finding.evidence) is bool(requests)  # of averages of an hour, which are no counts


def test_a_deployment_has_rested_since_its_last_traffic_or_its_creation(endpoint):
    """A run that gave it traffic counts until its end; a run that only planned does not count."""
    green = endpoint.find("green")
    created = find_rest(green, [record(2, before={"blue": 100}, after={"blue": 100}, deployment="green")])
    assert created.by == "its creation"
    assert find_rest(green, [PROMOTED]).by == "r1"
    tried = record(3, outcome=Outcome.ROLLED_BACK, before={"blue": 100}, after={"blue": 100}, canary="Green")
    assert find_rest(green, [tried, PROMOTED]).by == "r3"
    assert find_rest(green, [replace(tried, outcome=Outcome.PLANNED), PROMOTED]).by == "r1"
    nothing = find_rest(replace(green, arm={"id": green.id}), [])
    assert level(checks.check_rest("green", nothing.since, nothing.by, NOW, RULE)) is Level.BLOCKER


def test_the_retentions_days_must_have_passed(endpoint):
    """The finding names the moment from which it may be deleted."""
    rest = find_rest(endpoint.find("green"), [PROMOTED])
    assert rest.since is not None
    assert level(checks.check_rest("green", rest.since, rest.by, NOW, RULE)) is Level.OK
    early = checks.check_rest("green", rest.since, rest.by, rest.since + timedelta(days=13), RULE)
    assert level(early) is Level.BLOCKER
    assert f"{rest.since + timedelta(days=14):%Y-%m-%d %H:%M}" in early.fix


def test_later_releases_count_and_the_one_that_replaced_it_does_not(endpoint):
    """A promotion that was rolled back is no release; neither is an A/A test."""
    green = endpoint.find("green")
    assert find_rest(green, [PROMOTED]).releases == ()
    assert find_rest(green, [LATER, PROMOTED]).releases == ("r9",)
    assert find_rest(green, [LEFT, LATER, PROMOTED]).releases == ()
    assert find_rest(green, [replace(LATER, parameters={"canary": "amber", "rehearse": True})]).releases == ()
    assert find_rest(green, [replace(LATER, outcome=Outcome.HELD), PROMOTED]).releases == ()
    assert level(checks.check_releases("green", ("r9",), RULE)) is Level.OK
    assert level(checks.check_releases("green", (), RULE)) is Level.BLOCKER
    assert level(checks.check_releases("green", (), Retention(release_cycles=0))) is Level.OK


def test_changes_outside_the_archive_are_named(endpoint):
    """Only a write of the endpoint can move traffic; a run made those of its time and its correlation ids."""
    since, write = PROMOTED.finished_at, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write"

    def event(at, resource="", operation=write, correlation_id="c1"):
        return ActivityEvent(at, resource or endpoint.id.upper(), operation, "ann", correlation_id)

    foreign = event(since + timedelta(days=1))
    found = find_foreign_changes(
        endpoint,
        [
            foreign,
            event(since - timedelta(days=1)),
            event(LATER.started_at),
            event(foreign.at, correlation_id="c2"),
            event(foreign.at, resource=f"{endpoint.id}/deployments/green"),
            event(foreign.at, operation=write.replace("write", "regenerateKeys/action")),
        ],
        [replace(LATER, correlation_ids=("c2",)), PROMOTED],
        since,
    )
    assert found == (foreign,)
    assert "by ann" in checks.check_foreign(found, "").evidence
    assert level(checks.check_foreign((), "")) is Level.OK
    assert level(checks.check_foreign((), "HTTP 403")) is Level.WARNING


RULE_ID = "/g/providers/Microsoft.Insights/metricAlerts/slow"


def rule(endpoint, *others):
    arm = {"id": RULE_ID, "location": "global", "etag": "1", "properties": {"scopes": [endpoint.find("green").id]}}
    return DeploymentRule("alert rule", "slow", RULE_ID, "2018-03-01", others, arm)


def test_a_rule_that_concerns_other_resources_refuses(endpoint):
    """One of this deployment alone is deleted with it."""
    assert level(checks.check_rules("green", [])) is Level.OK
    assert "deleted with it: alert rule slow" in checks.check_rules("green", [rule(endpoint)]).evidence
    shared = checks.check_rules("green", [rule(endpoint, "blue")])
    assert level(shared) is Level.BLOCKER
    assert "alert rule slow (also blue)" in shared.evidence


@pytest.mark.parametrize(
    ("gone", "unread", "hidden", "expected"),
    [
        ((), (), (), Level.OK),
        (["models/fraud/versions/3"], (), (), Level.BLOCKER),
        ((), ["HTTP 403"], (), Level.WARNING),
        ((), (), ["environment_variables.DB_PASSWORD"], Level.WARNING),
    ],
)
def test_what_could_not_be_created_again_is_refused(gone, unread, hidden, expected):
    """A model that is no longer registered refuses; a secret that the definition leaves out is named."""
    finding = checks.check_again("green", gone, unread, hidden)
    assert level(finding) is expected
    assert all(one in finding.evidence for one in (*gone, *unread, *hidden))


def test_the_deployment_goes_before_its_rules_and_the_undo_creates_both(endpoint):
    """Each step and each undo has its command; what is shared with others stays."""
    own, shared = rule(endpoint), rule(endpoint, "blue")
    plan = plan_retirement(endpoint, endpoint.find("green"), [own, shared], "definition.yml")
    assert [describe_step(step) for step in plan.steps] == ["delete deployment green", "delete alert rule slow"]
    assert [describe_step(step) for step in plan.undo] == [
        "create deployment green at zero traffic",
        "create alert rule slow as it was",
    ]
    assert plan.undo[1].body == {"location": "global", "properties": own.arm["properties"]}
    scope = type("Scope", (), {"resource_group": "g", "workspace_name": "w"})()
    again, restored = (az_command(step, scope) for step in plan.undo)
    assert "online-deployment create --file definition.yml --name green" in again
    assert restored.startswith("az rest --method put --url '/g/providers/Microsoft.Insights/metricAlerts/slow?api-")
    assert az_command(plan.steps[1], scope) == f"az resource delete --ids {own.id}"


def test_drift_before_the_deletion_refuses(endpoint):
    """Deleted, in traffic, scaled, replaced, or leased meanwhile: nothing is deleted."""
    green, blue = endpoint.find("green"), endpoint.find("blue")
    require_unchanged(green, endpoint)
    lease = Lease("canary-1", "ann", {"blue": 100}, {"blue": 100}, NOW)
    changed = {
        "canary-1 holds": replace(endpoint, tags=acquire(lease)({})),
        "another change deleted green": replace(endpoint, deployments=(blue,)),
        "takes 5 % of live traffic": replace(endpoint, traffic={"blue": 95, "green": 5}),
        "green was changed": replace(endpoint, deployments=(blue, replace(green, instance_count=2))),
    }
    for problem, now in changed.items():
        with pytest.raises(Drift, match=f"{problem}.*Nothing was deleted"):
            require_unchanged(green, now)


def test_a_rule_that_could_not_be_deleted_holds_the_run():
    """The deployment is gone, and the sentence names what is left and what was saved."""
    done = Retired(
        Outcome.PLANNED, "", "green", "opslib run deploy ...", 61.76, "USD", ("delete deployment green",)
    )
    ended = conclude_retire(done)
    assert ended.outcome is Outcome.SUCCEEDED
    assert "saves 61.76 USD per month" in ended.reason
    held = conclude_retire(replace(done, left=("delete alert rule slow: HTTP 403",), saved_per_month=None))
    assert held.outcome is Outcome.HELD
    assert "unknown. Left: delete alert rule slow: HTTP 403" in held.reason


def metric_alert(scopes, *limited):
    """A metric alert's properties: a criterion for each argument, limited to these deployments, or not limited."""
    criteria = [
        {
            "metricName": "RequestLatency",
            "dimensions": [{"name": "deployment", "operator": "Include", "values": one}],
        }
        if one
        else {"metricName": "RequestLatency"}
        for one in limited
    ]
    return {"name": "slow", "properties": {"scopes": scopes, "criteria": {"allOf": criteria}}}


def test_an_alert_on_the_endpoint_that_filters_by_the_deployment_concerns_it(endpoint):
    """Alone, it is deleted with the deployment; what it also watches is named; another's is left alone."""
    green, above = endpoint.find("green"), endpoint.id.upper()
    seen = {
        "green alone": find_others(metric_alert([above], ["Green"]), green),
        "green and blue": find_others(metric_alert([above], ["green", "blue"]), green),
        "two criteria": find_others(metric_alert([above], ["green"], ["blue"]), green),
        "one is not limited": find_others(metric_alert([above], ["green"], []), green),
        "two endpoints": find_others(metric_alert([above, "/x/onlineEndpoints/other"], ["green"]), green),
        "blue": find_others(metric_alert([above], ["blue"]), green),
        "every deployment": find_others(metric_alert([above], ["*"]), green),
        "the whole endpoint": find_others(metric_alert([above], []), green),
        "the deployment itself": find_others(metric_alert([green.id], []), green),
    }
    assert seen == {
        "green alone": (),
        "green and blue": ("blue",),
        "two criteria": ("blue",),
        "one is not limited": (endpoint.name.upper(),),
        "two endpoints": ("other",),
        "blue": None,
        "every deployment": None,
        "the whole endpoint": None,
        "the deployment itself": (),
    }
