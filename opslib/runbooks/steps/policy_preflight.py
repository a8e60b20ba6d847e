"""Findings by the endpoint's policy: owner, change window, approvals. Pure: what was read comes in."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from opslib.model import Finding, Level
from opslib.policy.agreements import AgreementCount
from opslib.policy.exceptions import Exceptions
from opslib.policy.policy import Policy
from opslib.policy.standards import Retention
from opslib.policy.validations import ValidationDecision
from opslib.policy.windows import decide_window


def accept_warnings(findings: Iterable[Finding], exceptions: Exceptions) -> tuple[Finding, ...]:
    """Accept the warnings for which the policy has an exception: their rule is the check's name after the colon."""
    return tuple(
        replace(one, level=Level.OK, evidence=f"{one.evidence}; accepted {accepted}")
        if one.level is Level.WARNING and (accepted := exceptions.accepted(one.check.rpartition(": ")[2]))
        else one
        for one in findings
    )


def check_owner_named(policy: Policy) -> Finding:
    """The endpoint has an owner who can be reached."""
    owner = policy.owner
    then = f"; then {', '.join(owner.escalation)}" if owner.escalation else ""
    others = f"; depend on it: {', '.join(owner.dependents)}" if owner.dependents else ""
    return Finding.ok("owner", f"{owner.team}, reached at {owner.contact}{then}{others}")


def check_window(policy: Policy, runbook: str, now: datetime, *, emergency: bool) -> Finding:
    """A change may begin now, by the policy's change windows and freezes; what has begun may finish after them."""
    decision = decide_window(policy.windows_for(runbook), policy.freezes_for(runbook), now)
    if decision.allowed:
        until = "; a change that begins before may finish after it" if decision.until else ""
        return Finding.ok("change window", f"{decision.reason}{until}")
    if emergency and policy.emergency:
        return Finding(
            "change window", Level.WARNING, f"{decision.reason}; passed as an emergency, which is recorded"
        )
    when = f"Wait until {decision.opens:%Y-%m-%d %H:%M} UTC" if decision.opens else "No later window was found"
    override = "; in an emergency: opslib run --emergency, which is recorded" if policy.emergency else ""
    return Finding.blocker("change window", decision.reason, f"{when}{override}.")


def check_tags(what: str, required: Sequence[str], tags: Mapping[str, object]) -> Finding:
    """An endpoint or a deployment has the tags that the policy requires."""
    missing = [name for name in required if not str(tags.get(name) or "").strip()]
    if not missing:
        return Finding.ok("tags", f"{what} has {', '.join(required)}")
    return Finding.blocker(
        "tags",
        f"{what} lacks {', '.join(missing)}, which the policy requires",
        "Add them under `tags:` and deploy.",
    )


def check_retention(rule: Retention) -> Finding:
    """How long a deployment stays that loses its traffic. This change deletes none; the policy is stated here."""
    cycles = f"{rule.release_cycles} release cycle{'' if rule.release_cycles == 1 else 's'}"
    return Finding.ok(
        "retention",
        f"a deployment that loses its traffic stays for {cycles} and {rule.days:g} days; none is deleted",
    )


def check_notifications(policy: Policy, environment: Collection[str]) -> Finding:
    """The webhooks that are named by an environment variable are known here; a key vault is not opened for this."""
    names = [one.to.partition(":")[2] for one in policy.notifications if one.to.startswith("env:")]
    unset = sorted({name for name in names if name not in environment})
    count = len(policy.notifications)
    if not unset:
        return Finding.ok("notifications", f"{count} {'receiver' if count == 1 else 'receivers'}")
    evidence = f"{', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set: nothing is sent there"
    fix = "Set it to the webhook's URL; test it with: opslib notify --policy FILE"
    return Finding("notifications", Level.WARNING, evidence, fix)


def check_agreements(count: AgreementCount, rule: str) -> Finding:
    """Enough people have agreed to the plan, by the policy; the run waits for them after its plan."""
    if count.enough:
        return Finding.ok("approvals", str(count))
    fix = f"Needed: {rule}. Without them the run waits after its plan, for people to sign it: opslib approve RUN"
    return Finding("approvals", Level.WARNING, str(count), fix)


def check_validation(deployment: str, decision: ValidationDecision, command: str) -> Finding:
    """The version has passed the validation that the policy requires before it takes production traffic."""
    if decision.passed:
        return Finding.ok("validation", f"{deployment}: {decision.evidence}")
    return Finding.blocker("validation", f"{deployment}: {decision.evidence}", f"Validate this version: {command}")


def pass_in_emergency(finding: Finding, *, allowed: bool, given: bool) -> Finding:
    """Turn a blocker into a warning in an emergency, if the policy allows it; otherwise add how to."""
    if finding.level is not Level.BLOCKER or not allowed:
        return finding
    if given:
        evidence = f"{finding.evidence}; passed as an emergency, which is recorded"
        return replace(finding, level=Level.WARNING, evidence=evidence)
    fix = f"{finding.fix}; in an emergency: opslib run rollback --emergency, which is recorded"
    return replace(finding, fix=fix)
