"""The scale runbook: another number of instances, judged by what the deployment served before and after."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.azure.autoscale import autoscale_settings
from opslib.azure.permissions import missing_actions
from opslib.azure.source import Source, find_source
from opslib.displayed import Displayed
from opslib.evidence.run.journal import JournalEvent
from opslib.judge.before_after import Assessment, ServedLimits, judge
from opslib.model import Endpoint, Findings, Observation, Outcome, Plan, Served, SetInstanceCount
from opslib.parameters import ScaleParameters
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.observe import pause_s, read_source


@dataclass(frozen=True)
class Scaled(Displayed):
    """How a scale went: what the deployment served before and after, and what the judge says of it."""

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
    """Look for what stands against the scale."""
    name = run.parameters.deployment
    ready = preflight.check_ready(before, name, "deployment")
    found = before.find(name)
    settings = autoscale_settings(run.workspace, found.id) if found else ()
    findings = (
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        preflight.check_permissions(missing_actions(run.workspace, before, "scale"), run.workspace.scope.principal),
        ready,
        preflight.check_autoscale(settings, name),
    )
    return run.note(JournalEvent.PREFLIGHT, Findings(findings))


def plan_scale(run: Run[ScaleParameters], before: Endpoint) -> Plan:
    """Plan the scale and its undo."""
    return run.note(
        JournalEvent.PLAN, planning.plan_instances(before, run.parameters.deployment, run.parameters.instances)
    )


def scale(run: Run[ScaleParameters], plan: Plan) -> Scaled:
    """Scale, watch, and scale back if the deployment fails or slows down by more than its limits."""
    (step,) = plan.steps
    assert isinstance(step, SetInstanceCount)
    p = run.parameters
    if p.dry_run:
        return Scaled(Outcome.PLANNED, "dry run: nothing was scaled", step.deployment, step.before, step.before)
    source = find_source(run.workspace, plan.before, p.source)
    began = datetime.now(UTC)
    earlier = read_source(source, began - timedelta(seconds=p.observe_s), began, p.late_data_s).observation
    run.journal.write(JournalEvent.APPLYING, step)
    try:
        receipt = run.note(JournalEvent.APPLIED, apply(step, run.workspace, p.operation_timeout_s, run.say))
        run.say(f"{step.deployment} has {step.after} instances; watching {p.observe_s:g} s")
        later = _watch(run, source)
        serves = bool(plan.before.traffic.get(step.deployment))
        outcome, verdict = _judge(run, step, earlier, later, serves=serves)
    except BaseException:
        _scale_back(run, plan)
        raise
    if outcome is Outcome.ROLLED_BACK:
        _scale_back(run, plan)
    return run.note(
        JournalEvent.SCALED,
        Scaled(
            outcome,
            _reason(step, outcome, verdict),
            step.deployment,
            step.before,
            step.before if outcome is Outcome.ROLLED_BACK else step.after,
            earlier.total.get(step.deployment),
            later.total.get(step.deployment),
            verdict,
            receipt.duration_s,
        ),
    )


def _watch(run: Run[ScaleParameters], source: Source) -> Observation:
    """Observe for `observe_s`, and wait for late data."""
    p = run.parameters
    since = datetime.now(UTC)
    while True:
        seen = read_source(source, since, since + timedelta(seconds=p.observe_s), p.late_data_s)
        if seen.problem:
            run.say(f"the {source.name} is silent: {seen.problem}")
        if seen.over:
            return seen.observation
        sleep(pause_s(source, p.observe_s))


_BEFORE, _AFTER = "before the scale it", "after it, it"
"""The deployment's own past stands in for a stable deployment."""


def _judge(
    run: Run[ScaleParameters], step: SetInstanceCount, earlier: Observation, later: Observation, *, serves: bool
) -> tuple[Outcome, Assessment | None]:
    """Compare the time after with the time before, as a canary is compared with stable."""
    if not serves:
        return Outcome.SUCCEEDED, None
    p = run.parameters
    nothing = Served(0, 0)
    compared = Observation(
        later.source,
        later.since,
        later.until,
        later.watermark,
        {
            _BEFORE: earlier.total.get(step.deployment, nothing),
            _AFTER: later.total.get(step.deployment, nothing),
        },
    )
    limits = ServedLimits(p.min_requests, p.max_failure_rate, p.max_p95_ms, p.max_p95_ratio)
    verdict = judge(compared, canary=_AFTER, stable=_BEFORE, limits=limits, bake_over=True)
    run.journal.write(JournalEvent.LOOK, {"observation": compared, "verdict": verdict})
    outcomes = {"promote": Outcome.SUCCEEDED, "rollback": Outcome.ROLLED_BACK}
    return outcomes.get(verdict.decision, Outcome.HELD), verdict


def _scale_back(run: Run[ScaleParameters], plan: Plan) -> None:
    for step in plan.undo:
        run.journal.try_write(JournalEvent.UNDOING, step)
        receipt = apply(
            step, run.workspace, run.parameters.operation_timeout_s, lambda text: print(text, flush=True)
        )
        run.journal.write(JournalEvent.UNDONE, receipt)
        run.say(f"scaled back: {planning.describe_step(step)}")


def _reason(step: SetInstanceCount, outcome: Outcome, verdict: Assessment | None) -> str:
    did = f"{step.deployment} went from {step.before} to {step.after} instances"
    if verdict is None:
        return f"{did}; it takes no live traffic, so there was nothing to compare"
    if outcome is Outcome.ROLLED_BACK:
        return f"{did} and back: {verdict.reason}"
    return f"{did}; {verdict.reason}"
