"""The approvals of a run: which of them are valid for its plan, and whether the policy's rule is satisfied."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from opslib.errors import PlanError
from opslib.evidence.run.record import Approval, Record
from opslib.policy.agreements import Agreement, AgreementCount, count_agreements
from opslib.policy.policy import ApprovalRule, Policy, Roles


def count_approvals(policy: Policy | None, record: Record, others: Sequence[Approval]) -> AgreementCount | None:
    """Count the approvals that satisfy the policy; None where it requires none.

    Parameters
    ----------
    policy
        The endpoint's policy.
    record
        The run's record: its approvals, its plan's digest if it has one, and who runs it.
    others
        Approvals that were found not to be valid for this plan, to be named.
    """
    rule = policy.approvals_for(record.runbook) if policy else None
    return None if rule is None or policy is None else count_by_rule(rule, policy.roles, record, others)


def count_by_rule(
    rule: ApprovalRule, roles: Roles, record: Record, others: Sequence[Approval] = ()
) -> AgreementCount:
    """Count the approvals of a record's plan that satisfy a rule."""
    now = datetime.now(UTC)
    given = [
        Agreement(
            who=one.who,
            given_at=one.times()[0] if one.keyid else now,  # a claim may name any time: it does not count
            signed=bool(one.keyid),
            keyid=one.keyid,
            objection=_objection(one, record),
        )
        for one in (*record.approvals, *others)
    ]
    count = count_agreements(rule, given, now, roles)
    return replace(count, rejected=(*count.rejected, *record.rejected_approvals))


def find_others(policy: Policy | None, record: Record) -> tuple[Approval, ...]:
    """Return the approvals that are not valid for this run's plan.

    Raises
    ------
    PlanError
        If there are some, and the policy does not count approvals: the person who passed them relies on them.
    """
    others = tuple(one for one in record.approvals if _objection(one, record))
    if others and (policy is None or policy.approvals_for(record.runbook) is None):
        first = others[0]
        changed = ": the endpoint, a file or a parameter changed since. Make a dry run, and have its plan approved"
        raise PlanError(
            f"{first.who} {_objection(first, record)}{changed if first.plan_sha256 != record.plan_sha256 else ''}"
        )
    return others


def _objection(approval: Approval, record: Record) -> str:
    """Return why an approval does not count for a run, whatever the policy; empty where it may."""
    if record.plan_sha256 and approval.plan_sha256 != record.plan_sha256:
        return f"approved the plan {approval.plan_sha256[:16]}, but this is {record.plan_sha256[:16]}"
    principal = record.scope.principal if record.scope else ""
    if approval.keyid and approval.who.casefold() == principal.casefold():
        return "runs this change, and therefore cannot approve it"
    return ""
