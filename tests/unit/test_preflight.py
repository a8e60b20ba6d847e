"""Preflight: what blocks a run, with its evidence and how to fix it."""

from datetime import UTC, datetime, timedelta

import pytest
from worlds import deployment, endpoint

from opslib.access.actions import Action
from opslib.access.required import MissingAction, RequiredAction
from opslib.errors import PreflightError
from opslib.model import AutoscaleSetting, Finding, Level, ProbeResult, Scope
from opslib.policy.exceptions import Exceptions
from opslib.policy.security import RuleException
from opslib.runbooks.steps import access_preflight, policy_preflight, preflight

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lacking(*, optional=False):
    return MissingAction(RequiredAction(Action("M/xs/write"), ("undo: delete",), optional), "/s/g")


@pytest.mark.parametrize(
    ("finding", "evidence"),
    [
        (preflight.check_state(endpoint(state="Updating")), "fraud is Updating, expected Succeeded"),
        (
            access_preflight.check_permissions([lacking()], "ann", 4),
            "lacks 1 of 4 actions: M/xs/write on /s/g",
        ),
        (
            access_preflight.check_scope(Scope("s", "g", "w", ""), endpoint(), "", ""),
            "Azure returned /fraud, expected /subscriptions/s/",
        ),
        (preflight.check_ready(endpoint({}, deployment("blue")), "green", "canary"), "it has: blue"),
        (preflight.check_ready(endpoint({}, deployment("blue", "Failed")), "blue", "canary"), "blue is Failed"),
        (
            preflight.check_ready(endpoint({}, deployment("blue", instances=0)), "blue", "x"),
            "with 0 instances, expected",
        ),
        (preflight.check_absent(endpoint({"blue": 100}, deployment("blue")), "Blue"), "100 % of traffic"),
        (preflight.check_owner(endpoint(), "other"), "is for endpoint 'other'"),
        (
            preflight.check_off_traffic(endpoint({"blue": 90, "green": 10}), "green"),
            "already takes 10 % of live traffic",
        ),
        (preflight.check_off_traffic(endpoint({"blue": 100}, mirror={"green": 10}), "green"), "mirrored"),
        (preflight.check_rollback_target(endpoint()), "no deployment takes traffic"),
        (preflight.check_rollback_target(endpoint({"blue": 100}, deployment("blue", "Failed"))), "not ready"),
        (preflight.check_monitoring("metrics", 120, 90, ""), "a bake of 90 s is shorter"),
        (preflight.check_monitoring("", 0, 0, "no diagnostic setting"), "no diagnostic setting"),
        (
            preflight.check_probes([ProbeResult(NOW, 424, 1, "", "x", "status 424")], "green"),
            "1 of 1 probes of green failed",
        ),
        (
            preflight.check_outcomes_in_time(3720, 1800, act=True),
            "outcomes count 3720 s after their request, a stage takes at most 1800 s",
        ),
        (
            preflight.check_autoscale([AutoscaleSetting("cpu", "blue", 1, 3)], "blue"),
            "autoscale setting cpu (1 to 3 instances) targets blue",
        ),
    ],
)
def test_what_blocks(finding, evidence):
    """A blocker has what was seen and how to fix it."""
    assert finding.level is Level.BLOCKER
    assert evidence in finding.evidence
    assert finding.fix


def test_a_rollback_to_where_all_traffic_is_is_warned_of():
    """It changes nothing; in another case of the name too."""
    found = preflight.check_returns(endpoint({"blue": 100, "green": 0}, deployment("blue")), "Blue")
    assert found.level is Level.WARNING
    assert "takes all traffic already" in found.evidence
    moved = preflight.check_returns(endpoint({"blue": 10, "green": 90}), "blue")
    assert moved.level is Level.OK
    assert moved.evidence == "blue=10 green=90; blue is to take all of it"


def test_blockers_are_all_named():
    """The error lists every blocker, and that nothing was changed."""
    findings = [preflight.check_state(endpoint(state="Failed")), preflight.check_rollback_target(endpoint())]
    with pytest.raises(PreflightError, match=r"nothing was changed: 2 of 2 checks block") as raised:
        preflight.require_clear(findings)
    assert "rollback target" in str(raised.value)


def test_warnings_do_not_block():
    """Without probes, or with outcomes that only advise and come late, a person is warned; the run goes on."""
    findings = [preflight.check_probes([], "green"), preflight.check_outcomes_in_time(3720, 1800, act=False)]
    assert {finding.level for finding in findings} == {Level.WARNING}
    preflight.require_clear(findings)


def test_an_exception_accepts_a_warning_and_no_blocker():
    """The rule is the check's name after the colon; what blocks is never accepted."""
    exception = RuleException(rule="latest", reason="known", owner="bea", expires=NOW + timedelta(days=1))
    given = [
        Finding("definition: latest", Level.WARNING, "model is @latest", "Pin it."),
        Finding.blocker("definition: latest", "model is @latest", "Pin it."),
    ]
    accepted, blocked = policy_preflight.accept_warnings(given, Exceptions((exception,), NOW))
    assert accepted.level is Level.OK
    assert "accepted until 2026-01-02 by bea: known" in accepted.evidence
    assert blocked.level is Level.BLOCKER
