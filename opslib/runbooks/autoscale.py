"""Autoscale settings of an endpoint: what checks them, and a change whose undo is kept before it begins."""

from datetime import UTC, datetime
from pathlib import Path

from opslib.autoscale.lint import LintFacts, Problem, Severity, lint
from opslib.autoscale.plan import AutoscalePlan, AutoscaleStep, as_json
from opslib.autoscale.setting import read_setting
from opslib.azure.arm import Progress
from opslib.azure.autoscale import apply_autoscale
from opslib.azure.capacity import most_instances, read_instance_types, read_quotas
from opslib.azure.connect import Workspace
from opslib.errors import AzureError, PlanError
from opslib.evidence.run.record import write_atomically
from opslib.model import Endpoint, Receipt
from opslib.redaction.redact import redact


def read_lint_facts(workspace: Workspace, endpoint: Endpoint, progress: Progress) -> LintFacts:
    """Read the most instances that the quota allows; without the permission, the quota is not compared."""
    try:
        types = {one.name.lower(): one for one in read_instance_types(workspace, endpoint)}
        quotas = {one.family: one for one in read_quotas(workspace, endpoint)}
    except AzureError as error:
        progress(f"the quota could not be read, and is not compared: {error}")
        return LintFacts(endpoint)
    most = {
        one.name.lower(): count
        for one in endpoint.deployments
        if (offered := types.get(one.instance_type.lower()))
        and (count := most_instances(offered, quotas.get(offered.family), one)) is not None
    }
    return LintFacts(endpoint, most)


def check_plan(plan: AutoscalePlan, facts: LintFacts) -> tuple[Problem, ...]:
    """Check the settings that a plan writes.

    Raises
    ------
    PlanError
        If a rule of severity "error" finds a problem.
    """
    settings = [read_setting({**step.after, "name": step.name}) for step in plan.steps if step.after is not None]
    problems = lint(settings, facts)
    if errors := [one for one in problems if one.severity is Severity.ERROR]:
        listed = "; ".join(f"{one.rule}: {one.evidence}. {one.fix}" for one in errors)
        raise PlanError(f"the setting would not do what it is for: {listed}")
    return problems


def apply_plan(workspace: Workspace, plan: AutoscalePlan, file: Path, reason: str, progress: Progress) -> None:
    """Carry out a plan step by step; what was done is undone where a later step fails.

    The file has the undo before the first change, and the requests with their correlation ids after each.
    """
    done: list[AutoscaleStep] = []
    receipts: list[Receipt] = []
    started_at = datetime.now(UTC)

    def keep(outcome: str) -> None:
        about = {"at": started_at, "by": workspace.scope.principal, "reason": reason, "outcome": outcome}
        text = as_json(plan, **about, receipts=[vars(one) for one in receipts])
        masked = redact(text)
        write_atomically(file, text if masked == text else redact(as_json(plan, **about, masked=True)))

    keep("begun")
    try:
        for step in plan.steps:
            receipts.append(apply_autoscale(workspace, step))
            done.append(step)
            progress(f"{step}: done")
            keep("begun")
    except BaseException:
        keep("failed")
        for step in reversed(done):
            apply_autoscale(workspace, step.undo)
            progress(f"{step.undo}: done, since a later step failed")
        keep("failed, undone")
        raise
    keep("succeeded")
