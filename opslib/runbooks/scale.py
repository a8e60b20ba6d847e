"""The scale runbook: another number of instances, assessed by what the deployment served before and after."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.access.actions import READ_AUTOSCALE, READ_CAPACITY, count_requests
from opslib.azure.arm import Progress
from opslib.azure.capacity import read_instance_types, read_quotas
from opslib.azure.connect import Workspace
from opslib.azure.rules import read_autoscale
from opslib.azure.source import Source, find_source
from opslib.displayed import Displayed
from opslib.errors import Drift
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.judge.before_after import Assessment, ServedLimits, judge
from opslib.model import (
    Deployment,
    Endpoint,
    Finding,
    Findings,
    Level,
    Observation,
    Outcome,
    Plan,
    Served,
    SetInstanceCount,
)
from opslib.parameters.scale import ScaleParameters
from opslib.runbooks.access import check_access, check_scope, source_name
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.conditions import check_conditions, find_load
from opslib.runbooks.costs import check_cost, scale_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import capacity_preflight, definition_preflight, preflight
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.observe import pause_s, read_source
from opslib.runbooks.undo.undo_plan import undo_plan


@dataclass(frozen=True)
class Scaled(Displayed):
    """How a scale ended: what the deployment served before and after, and the assessment of the difference."""

    outcome: Outcome
    reason: str
    deployment: str
    instances_before: int
    instances_after: int
    served_before: Served | None = None
    served_after: Served | None = None
    verdict: Assessment | None = None
    duration_s: float = 0.0


def check_scale(run: Run[ScaleParameters], before: Endpoint) -> Findings:
    """Check whether the deployment can be scaled."""
    p = run.parameters
    found = before.find(p.deployment)
    uses = (READ_AUTOSCALE, READ_CAPACITY, *count_requests(source_name(run, before, p.source), p.source))
    permissions = check_access(
        run, before, lambda: planning.plan_instances(before, p.deployment, p.instances), uses
    )
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        *check_conditions(run, before),
        permissions,
        check_cost(run, scale_cost(run, before, p.deployment, p.instances)),
        preflight.check_ready(before, p.deployment, "deployment"),
        preflight.check_others(before, [p.deployment]),
    ]
    if permissions.level is not Level.BLOCKER:  # what follows is read with these permissions
        load, unknown = find_load(run, before, p.source)
        findings += [
            preflight.check_autoscale(read_autoscale(run.workspace, before), p.deployment),
            capacity_preflight.check_scale_size(before, p.deployment, p.instances, load, unknown),
        ]
    if permissions.level is Level.OK and found:
        findings += _check_quota(run.workspace, before, found, p.instances)
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_quota(workspace: Workspace, before: Endpoint, found: Deployment, instances: int) -> tuple[Finding, ...]:
    """Check the quota for what a scale-out adds; a scale-in needs none."""
    if instances <= found.instance_count:
        return ()
    offered = read_instance_types(workspace, before)
    chosen = next((one for one in offered if one.name.lower() == found.instance_type.lower()), None)
    quota = next((q for q in read_quotas(workspace, before) if chosen and q.family == chosen.family), None)
    if chosen is None or quota is None:
        return ()
    added = chosen.cores_needed(instances) - chosen.cores_needed(found.instance_count)
    return (definition_preflight.check_quota(quota.family, added, quota.used, quota.limit),)


def plan_scale(run: Run[ScaleParameters], before: Endpoint) -> Plan:
    """Plan the scale and its undo."""
    p = run.parameters
    plan = planning.plan_instances(before, p.deployment, p.instances)
    return run.log(JournalEvent.PLAN, replace(plan, cost=scale_cost(run, before, p.deployment, p.instances)))


def scale(run: Run[ScaleParameters], plan: Plan) -> Scaled:
    """Scale, observe, and scale back if the deployment fails or slows down by more than its limits."""
    (step,) = plan.steps
    assert isinstance(step, SetInstanceCount)
    p = run.parameters
    if p.dry_run:
        return Scaled(Outcome.PLANNED, "dry run: nothing was scaled", step.deployment, step.before, step.before)
    require_approved(run, plan)
    source = find_source(run.workspace, plan.before, p.source)
    began = datetime.now(UTC)
    earlier = read_source(source, began - timedelta(seconds=p.observe_s), began, p.late_data_s).observation
    run.journal.write(JournalEvent.APPLYING, step)
    try:
        receipt = run.log(JournalEvent.APPLIED, apply(step, run.workspace, p.operation_timeout_s, run.progress))
        has = f"{step.deployment} has {step.after} instances"
        later, assessment = None, None
        if plan.before.traffic.get(step.deployment):
            late = f"and up to {p.late_data_s:g} s more until the {source.name} has counted all of it"
            run.progress(f"{has}; observing for {p.observe_s:g} s, {late}")
            later = _observe(source, p.observe_s, p.late_data_s, run.progress)
            assessment = _assess(step.deployment, earlier, later, _limits(p), run.journal)
        else:
            run.progress(f"{has}; it takes no live traffic, so there is nothing to observe")
        outcome = _outcome_of(assessment)
    except Drift:
        raise  # another change set the number of instances: this run changed nothing
    except BaseException:
        undo_plan(plan, run.workspace, run.journal, run.progress, p.operation_timeout_s)
        raise
    if outcome is Outcome.ROLLED_BACK:
        undo_plan(plan, run.workspace, run.journal, run.progress, p.operation_timeout_s)
    scaled = Scaled(
        outcome,
        _reason(step, outcome, assessment),
        step.deployment,
        step.before,
        step.before if outcome is Outcome.ROLLED_BACK else step.after,
        earlier.of(step.deployment),
        None if later is None else later.of(step.deployment),
        assessment,
        receipt.duration_s,
    )
    return run.log(JournalEvent.SCALED, scaled)


def _limits(p: ScaleParameters) -> ServedLimits:
    return ServedLimits(p.min_requests, p.max_failure_rate, p.max_p95_ms, p.max_p95_ratio)


def _observe(source: Source, observe_s: float, late_data_s: float, progress: Progress) -> Observation:
    """Observe for `observe_s`, and wait for late data."""
    since = datetime.now(UTC)
    while True:
        seen = read_source(source, since, since + timedelta(seconds=observe_s), late_data_s)
        if seen.problem:
            progress(f"could not read the {source.name}: {seen.problem}")
        if seen.over:
            return seen.observation
        sleep(pause_s(source, observe_s))


_BEFORE, _AFTER = "before the scale it", "after it, it"
"""The deployment's own past serves as the stable deployment."""


def _assess(
    deployment: str, earlier: Observation, later: Observation, limits: ServedLimits, journal: Journal
) -> Assessment:
    """Compare the time after with the time before, as a canary is compared with stable."""
    nothing = Served(0, 0)
    compared = Observation(
        later.source,
        later.since,
        later.until,
        later.watermark,
        {_BEFORE: earlier.of(deployment) or nothing, _AFTER: later.of(deployment) or nothing},
    )
    assessment = judge(compared, canary=_AFTER, stable=_BEFORE, limits=limits, bake_over=True)
    journal.write(JournalEvent.LOOK, {"observation": compared, "verdict": assessment})
    return assessment


def _outcome_of(assessment: Assessment | None) -> Outcome:
    """Return how the run ends; without live traffic there is nothing to compare, and it succeeds."""
    if assessment is None:
        return Outcome.SUCCEEDED
    outcomes = {"promote": Outcome.SUCCEEDED, "rollback": Outcome.ROLLED_BACK}
    return outcomes.get(assessment.decision, Outcome.HELD)


def _reason(step: SetInstanceCount, outcome: Outcome, assessment: Assessment | None) -> str:
    done = f"{step.deployment} was scaled from {step.before} to {step.after} instances"
    if assessment is None:
        return f"{done}; it takes no live traffic, so there was nothing to compare"
    if outcome is Outcome.ROLLED_BACK:
        return f"{done} and back: {assessment.reason}"
    return f"{done}; {assessment.reason}"
