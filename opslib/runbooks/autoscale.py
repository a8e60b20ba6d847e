"""The autoscale runbook: sets, moves or removes the rules that scale a deployment, and can undo such a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opslib.access.actions import READ_AUTOSCALE, READ_CAPACITY
from opslib.autoscale.change import Bounds, RulePair, make_body, read_schedule
from opslib.autoscale.lint import LintFacts, Problem, lint
from opslib.autoscale.plan import (
    Settings,
    plan_move,
    plan_remove,
    plan_set,
    plan_undo,
    settings_after,
    undo_of,
)
from opslib.autoscale.setting import ScaleSetting
from opslib.azure.arm import Progress
from opslib.azure.capacity import most_instances, read_instance_types, read_quotas
from opslib.azure.connect import Workspace
from opslib.azure.rules import read_settings
from opslib.displayed import Displayed
from opslib.errors import AzureError, Drift, PlanError
from opslib.evidence.archive.run_folders import find_archive, find_run
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import read_record
from opslib.model import DeleteRule, Endpoint, Finding, Findings, Outcome, Plan, Rule
from opslib.parameters.autoscale import AutoscaleParameters
from opslib.redaction.redact import MASK
from opslib.runbooks.access import check_access, check_scope
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.conditions import check_conditions
from opslib.runbooks.costs import check_cost, scale_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import autoscale_preflight, preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.step_text import describe_step


@dataclass(frozen=True)
class Autoscaled(Displayed):
    """How a change of autoscale settings ended: the endpoint's settings after it, and their problems."""

    outcome: Outcome
    reason: str
    endpoint: str
    settings: tuple[ScaleSetting, ...] = ()
    problems: tuple[Problem, ...] = ()


def check_autoscale(run: Run[AutoscaleParameters], before: Endpoint) -> Findings:
    """Check whether the settings can be changed, and by the lint rules what they would do."""
    present, unread = _read_settings(run, before)
    permissions = check_access(
        run,
        before,
        lambda: None if unread else _plan(run, before, present),
        (READ_AUTOSCALE, READ_CAPACITY),
    )
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        *check_conditions(run, before),
        permissions,
        *(unread or _check_plan(run, before, present)),
    ]
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_plan(run: Run[AutoscaleParameters], before: Endpoint, present: Settings) -> list[Finding]:
    """Check the settings as they will be, and what their maximum costs."""
    try:
        steps = _rules(_plan(run, before, present))
    except PlanError as error:
        return [Finding.blocker("settings", str(error), "Correct the parameters.")]
    after, facts = settings_after(present, steps), read_lint_facts(run.workspace, before, run.progress)
    written = {step.id.rpartition("/")[2].lower() for step in steps if not isinstance(step, DeleteRule)}
    costs = [
        check_cost(run, scale_cost(run, before, one.deployment, max(profile.maximum for profile in one.profiles)))
        for one in after
        if one.name.lower() in written and one.profiles
    ]
    return [autoscale_preflight.check_problems(lint(after, facts), written), *costs]


def _read_settings(run: Run[AutoscaleParameters], before: Endpoint) -> tuple[Settings, list[Finding]]:
    """Read the endpoint's settings; else none, and a finding with the reason."""
    try:
        return read_settings(run.workspace, before), []
    except AzureError as error:
        fix = "Find out why they cannot be read, and run again."
        return (), [Finding.blocker("settings", f"unknown: {error}", fix)]


def plan_autoscale(run: Run[AutoscaleParameters], before: Endpoint) -> Plan:
    """Plan the settings that are written and deleted, and the undo."""
    return run.log(JournalEvent.PLAN, _plan(run, before, read_settings(run.workspace, before)))


def set_autoscale(run: Run[AutoscaleParameters], plan: Plan) -> Autoscaled:
    """Write the settings step by step; where a step fails, it and those before are undone.

    Raises
    ------
    Drift
        If a setting was changed since it was planned.
    """
    p, begun = run.parameters, list[Rule]()
    if p.dry_run:
        return Autoscaled(Outcome.PLANNED, "dry run: no setting was changed", plan.endpoint)
    require_approved(run, plan)
    try:
        for step in _rules(plan):
            run.journal.write(JournalEvent.APPLYING, step)
            begun.append(step)
            run.log(JournalEvent.APPLIED, apply(step, run.workspace, p.operation_timeout_s, run.progress))
            run.progress(f"done: {describe_step(step)}")
    except BaseException as error:  # also after a step without an answer, which may have been applied
        _undo(run, begun[:-1] if isinstance(error, Drift) else begun)
        raise
    now = read_settings(run.workspace, plan.before)
    problems = lint(now, LintFacts(plan.before))
    reason = "; ".join(describe_step(step) for step in plan.steps)
    left = f". Problems that are left: {', '.join(one.rule for one in problems)}" if problems else ""
    ended = Autoscaled(Outcome.SUCCEEDED, f"{reason}{left}", plan.endpoint, now, problems)
    return run.log(JournalEvent.AUTOSCALED, ended)


def _undo(run: Run[AutoscaleParameters], begun: Sequence[Rule]) -> None:
    for step in map(undo_of, reversed(begun)):
        run.journal.try_write(JournalEvent.UNDOING, step)
        with run.journal.noted(JournalEvent.UNDO_FAILED):
            receipt = apply(step, run.workspace, run.parameters.operation_timeout_s, run.progress)
        run.journal.try_write(JournalEvent.UNDONE, receipt)


def _plan(run: Run[AutoscaleParameters], before: Endpoint, present: Settings) -> Plan:
    """Make the plan of the wanted action.

    Raises
    ------
    PlanError
        If the endpoint's deployments and settings do not allow it.
    """
    p = run.parameters
    name = p.deployment or before.stable or ""
    if p.action == "undo":
        return plan_undo(before, _read_undo(p.undo_run, before.name))
    if p.action == "remove":
        return plan_remove(before, name, present)
    if p.action == "move":
        return plan_move(before, p.move_from or _left_behind(name, present), name, present)
    found = before.find(name)
    if found is None:
        raise PlanError(f"deployment {name!r} does not exist; the endpoint has: {before.deployment_names()}")
    bounds = Bounds(p.min_instances, p.max_instances, p.default_instances or p.min_instances)
    pair = RulePair(p.metric, p.scale_out_above, p.scale_in_below, p.step_instances, p.window_min, p.cooldown_min)
    schedules = [read_schedule(one, p.time_zone) for one in p.schedules]
    body = make_body(str(before.arm["location"]), found.id, bounds, [pair], schedules)
    return plan_set(before, found.name, p.setting, body, present)


def _left_behind(to: str, present: Settings) -> str:
    behind = [one.deployment for one in present if one.deployment.lower() != to.lower()]
    if len(behind) != 1:
        raise PlanError(f"move_from: name the deployment whose setting is moved, of: {', '.join(behind) or 'none'}")
    return behind[0]


def _read_undo(name: str, endpoint: str) -> list[dict[str, object]]:
    """Read the undo of an earlier run from the archive.

    Raises
    ------
    PlanError
        If the run changed no autoscale setting of the endpoint, or a secret in a setting is masked in its record.
    """
    folder = find_run(find_archive(), name)
    record = read_record(folder)
    if (record.runbook, record.endpoint.lower()) != ("autoscale", endpoint.lower()):
        raise PlanError(f"{folder.name} is no run of autoscale on {endpoint}")
    steps = list(record.rollback.get("undo") or [])
    if MASK in json.dumps(steps):
        raise PlanError(
            f"{folder.name}: a secret in a setting, such as in a webhook's address, is masked in the record. "
            "Put the setting back by hand; the record has the rest of it"
        )
    return steps


def _rules(plan: Plan) -> list[Rule]:
    return [step for step in plan.steps if isinstance(step, Rule)]


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
