"""What watches an endpoint: coverage, alerts that have fired, required tags, and other deployments."""

import pytest
from worlds import deployment, endpoint

from opslib.model import FiredAlert, Level, Monitoring
from opslib.policy.policy import Owner, Policy
from opslib.policy.standards import RequiredMonitoring, Retention
from opslib.runbooks.steps import monitoring_preflight, policy_preflight, preflight

WATCHED = Monitoring(logs=frozenset({"AmlOnlineEndpointTrafficLog"}), rules={"slow": True, "failing": False})
REQUIRED = RequiredMonitoring(alerts=("slow",), logs=("AmlOnlineEndpointTrafficLog",))


def fired(severity):
    return Monitoring(fired=(FiredAlert("slow", severity, "2026-01-01 10:00", "blue"),))


def test_what_the_policy_requires_must_be_there():
    """A log that is not kept, a rule that is not there, and one that is disabled."""
    assert monitoring_preflight.check_coverage(WATCHED, REQUIRED).level is Level.OK
    more = RequiredMonitoring(alerts=("slow", "failing", "gone"), logs=("AmlOnlineEndpointConsoleLog",))
    finding = monitoring_preflight.check_coverage(WATCHED, more)
    assert finding.level is Level.BLOCKER
    for missing in ("AmlOnlineEndpointConsoleLog", "failing (disabled)", "gone (not there)"):
        assert missing in finding.evidence
    everything = Monitoring(logs=frozenset({"allLogs"}), rules={"slow": True})
    assert monitoring_preflight.check_coverage(everything, REQUIRED).level is Level.OK


def test_without_a_policy_an_unwatched_endpoint_is_a_warning():
    """No alert rule reaches a person."""
    assert monitoring_preflight.check_coverage(Monitoring(), None).level is Level.WARNING
    assert monitoring_preflight.check_coverage(WATCHED, None).level is Level.OK


def test_what_cannot_be_read_blocks_where_it_is_required():
    """Absence of data is no success."""
    unread = Monitoring(problem="403")
    assert monitoring_preflight.check_coverage(unread, REQUIRED).level is Level.BLOCKER
    assert monitoring_preflight.check_coverage(unread, None).level is Level.WARNING
    assert monitoring_preflight.check_fired(unread, None, emergency=False).level is Level.WARNING


@pytest.mark.parametrize(
    ("severity", "limit", "emergency", "level"),
    [
        (0, 1, False, Level.BLOCKER),
        (1, 1, False, Level.BLOCKER),
        (2, 1, False, Level.WARNING),
        (2, 2, False, Level.BLOCKER),
        (0, -1, False, Level.WARNING),
        (0, 1, True, Level.WARNING),
    ],
)
def test_a_severe_alert_blocks_a_change(severity, limit, emergency, level):
    """The policy's limit decides; an emergency passes, and that is stated."""
    required = RequiredMonitoring(block_severity=limit)
    finding = monitoring_preflight.check_fired(fired(severity), required, emergency=emergency)
    assert finding.level is level
    assert f"slow (severity {severity}) fired on blue at 2026-01-01 10:00 UTC" in finding.evidence
    assert ("emergency" in finding.evidence) is emergency


def test_no_alert_is_no_finding_against_a_change():
    """Nothing has fired."""
    assert monitoring_preflight.check_fired(WATCHED, None, emergency=False).level is Level.OK


def test_required_tags_must_have_a_value():
    """An empty tag counts as missing."""
    assert policy_preflight.check_tags("fraud", ["team"], {"team": "claims"}).level is Level.OK
    finding = policy_preflight.check_tags("fraud", ["team", "cost-center"], {"team": " "})
    assert finding.level is Level.BLOCKER
    assert "fraud lacks team, cost-center" in finding.evidence


def test_owner_dependents_and_retention_are_shown():
    """Whom to call, who depends on the endpoint, and how long an old deployment stays."""
    owner = Owner(team="claims", contact="on-call", escalation=("lead",), dependents=("payouts", "app"))
    policy = Policy(version=1, endpoint="fraud", owner=owner)
    shown = policy_preflight.check_owner_named(policy).evidence
    assert shown == "claims, reached at on-call; then lead; depend on it: payouts, app"
    kept = policy_preflight.check_retention(Retention(release_cycles=1, days=14)).evidence
    assert "stays for 1 release cycle and 14 days; none is deleted" in kept


def test_other_deployments_are_named_by_their_state():
    """One that is changed by someone else, or has failed; those of this change are checked elsewhere."""
    settled = endpoint({"blue": 100}, deployment("blue"), deployment("green", "Failed"))
    assert preflight.check_others(settled, ["blue", "GREEN"]).level is Level.OK
    finding = preflight.check_others(settled, ["blue"])
    assert finding.level is Level.WARNING
    assert "green is Failed" in finding.evidence


def test_a_mirror_on_the_target_blocks_live_traffic():
    """The service refuses both; a mirror elsewhere is a warning."""
    mirrored = endpoint({"blue": 100}, deployment("blue"), deployment("green"), mirror={"green": 10})
    finding = preflight.check_mirror(mirrored, "Green")
    assert finding.level is Level.BLOCKER
    assert '--mirror-traffic "Green=0"' in finding.fix
    assert preflight.check_mirror(mirrored, "blue").level is Level.WARNING
    assert preflight.check_mirror(endpoint({"blue": 100}, deployment("blue")), "blue").level is Level.OK
