"""What follows a hold: policy, and never a promotion."""

from dataclasses import replace

import pytest

from opslib.errors import JudgeError
from opslib.judge import Verdict
from opslib.judge.looks.precedence import POLICIES, Bake, after_hold
from opslib.judge.proof.proof import look_alpha
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.judge_settings import criteria_of

UNPROVEN = Verdict(
    outcome="hold",
    binding="failures",
    log_evidence=0.0,
    log_peak=0.0,
    log_threshold=3.0,
    log_metrics=(),
    proofs=(),
    reasons=("failures are not shown to be below 2 %",),
    more_requests=300,
    more_minutes=4.0,
    lines=(),
    basis="",
    sentence="Hold.",
)
SUSPICIOUS = replace(UNPROVEN, reasons=("too suspicious to promote",), more_requests=None, more_minutes=None)

EARLY = Bake(baked_s=600, planned_s=600, max_bake_s=1800, room=True)
LATE = replace(EARLY, baked_s=1800)
LATER = replace(EARLY, baked_s=3600)
LATE_DATA = replace(EARLY, late=True)


@pytest.mark.parametrize(
    ("verdict", "bake", "policy", "action", "bake_s"),
    [
        *((UNPROVEN, EARLY, policy, "watch on", 1200) for policy in POLICIES),
        (UNPROVEN, replace(EARLY, baked_s=1500), "rollback", "watch on", 1800),
        (SUSPICIOUS, EARLY, "rollback", "watch on", 1800),
        (SUSPICIOUS, EARLY, "extend", "watch on", 1800),
        (SUSPICIOUS, EARLY, "smaller step", "watch on", 1800),
        (SUSPICIOUS, EARLY, "ask", "ask", 600),
        (UNPROVEN, LATE, "rollback", "give back", 1800),
        (UNPROVEN, LATE, "extend", "watch on", 3600),
        (SUSPICIOUS, LATE, "extend", "watch on", 3600),
        (UNPROVEN, LATER, "extend", "give back", 3600),
        (UNPROVEN, LATE, "smaller step", "smaller step", 1800),
        (UNPROVEN, replace(LATE, room=False), "smaller step", "give back", 1800),
        (SUSPICIOUS, LATE, "smaller step", "give back", 1800),
        (UNPROVEN, LATE, "ask", "ask", 1800),
        (UNPROVEN, LATER, "ask", "ask", 3600),
        (UNPROVEN, LATE_DATA, "rollback", "give back", 600),
        (UNPROVEN, LATE_DATA, "extend", "give back", 600),
        (UNPROVEN, LATE_DATA, "smaller step", "give back", 600),
        (UNPROVEN, LATE_DATA, "ask", "ask", 600),
    ],
)
def test_what_follows_a_hold(verdict, bake, policy, action, bake_s):
    """Before `max_bake_s` it is watched on; then policy decides, and none of them promotes or goes on blindly."""
    found = after_hold(verdict, policy, bake)
    assert (found.action, found.bake_s) == (action, bake_s)
    assert verdict.reasons[0] in found.reason or "more minutes are expected to decide it" in found.reason


def test_only_a_hold_and_a_known_policy_are_taken():
    """A promotion is no policy, and no verdict but a hold is any of its business."""
    with pytest.raises(JudgeError, match="policy"):
        after_hold(UNPROVEN, "promote", LATE)  # type: ignore[arg-type]
    with pytest.raises(JudgeError, match="verdict of hold"):
        after_hold(replace(UNPROVEN, outcome="promote"), "ask", LATE)


@pytest.mark.parametrize(("policy", "looks"), [("rollback", 3), ("extend", 4), ("smaller step", 3), ("ask", 5)])
def test_the_promise_of_the_promotion_counts_every_look_that_policy_may_take(policy, looks):
    """The levels of all looks that a stage may take sum to what is promised; a look beyond them gets nothing."""
    given = {"endpoint": "fraud", "canary": "green", "bake_s": 600, "max_bake_s": 1800, "on_hold": policy}
    criteria = criteria_of(CanaryParameters.check(given), per_request=True)
    assert criteria.looks == looks
    levels = [look_alpha(criteria, look) for look in range(1, looks + 4)]
    assert sum(levels) == pytest.approx(criteria.promote_alpha)
    assert levels[looks:] == [0.0, 0.0, 0.0]
