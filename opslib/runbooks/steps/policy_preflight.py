"""Findings by the endpoint's policy: owner, change window, approvals. Pure: what was read comes in."""

from datetime import datetime

from opslib.model import Finding, Level
from opslib.policy.agreements import AgreementCount
from opslib.policy.policy import Approvals, Policy
from opslib.policy.windows import decide_window


def check_owner_named(policy: Policy) -> Finding:
    """The endpoint has an owner who can be reached."""
    owner = policy.owner
    then = f"; then {', '.join(owner.escalation)}" if owner.escalation else ""
    return Finding.ok("owner", f"{owner.team}, reached at {owner.contact}{then}")


def check_window(policy: Policy, runbook: str, now: datetime, *, emergency: bool) -> Finding:
    """A change may begin now, by the policy's change windows and freezes."""
    decision = decide_window(policy.windows_for(runbook), policy.freezes_for(runbook), now)
    if decision.allowed:
        return Finding.ok("change window", decision.reason)
    if emergency and policy.emergency:
        return Finding(
            "change window", Level.WARNING, f"{decision.reason}; passed as an emergency, which is recorded"
        )
    when = f"Wait until {decision.opens:%Y-%m-%d %H:%M} UTC" if decision.opens else "No later window was found"
    override = "; in an emergency: opslib run --emergency, which is recorded" if policy.emergency else ""
    return Finding.blocker("change window", decision.reason, f"{when}{override}.")


def check_agreements(rule: Approvals, count: AgreementCount, *, dry_run: bool) -> Finding:
    """Enough people have agreed to the plan, by the policy."""
    given = f"{len(count.who)} of {count.needed} approvals"
    evidence = "; ".join([f"{given}: {', '.join(count.who)}" if count.who else given, *count.rejected])
    if count.enough:
        return Finding.ok("approvals", evidence)
    people = f" by {', '.join(rule.of)}" if rule.of else ""
    fix = (
        f"Make a dry run, have its plan approved{people} (opslib approve RUN, valid for {rule.valid_h:g} h), and "
        "run again with --approval FILE."
    )
    return Finding("approvals", Level.WARNING if dry_run else Level.BLOCKER, evidence, fix)
