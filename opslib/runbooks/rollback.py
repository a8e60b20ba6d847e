"""The rollback runbook: all traffic to one deployment, verified by live requests.

It needs neither metrics nor a policy, so that it works while both are unavailable: what they show is a warning.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opslib.access.actions import READ_AUTOSCALE, count_requests, score
from opslib.azure.rules import read_autoscale
from opslib.azure.source import Source
from opslib.definitions.probes import read_probes
from opslib.displayed import Displayed
from opslib.errors import AzureError, PlanError
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Endpoint, Finding, Findings, Level, Outcome, Plan, ProbeResult, SetTraffic
from opslib.model.traffic import describe_traffic, same_traffic
from opslib.parameters.rollback import RollbackParameters
from opslib.runbooks.access import check_access, check_scope, find_known_source
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.arrival import ArrivalCheck
from opslib.runbooks.conditions import find_load
from opslib.runbooks.last_known_good import choose_target
from opslib.runbooks.run import Run
from opslib.runbooks.steps import capacity_preflight, preflight
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.validation_gate import check_known_or_validated

LOAD_DEADLINE_S = 10.0
"""Longest wait for the load of the last minutes: a rollback does not depend on it [seconds]."""


@dataclass(frozen=True)
class RolledBack(Displayed):
    """How a rollback ended.

    `recovery_s` is from the start of the run to the first verified answer of the deployment [seconds]; None if
    there was none.
    """

    outcome: Outcome
    reason: str
    to: str
    recovery_s: float | None = None
    verified_requests: int = 0
    probes: tuple[ProbeResult, ...] = ()


def find_target(run: Run[RollbackParameters], before: Endpoint) -> str:
    """Return the deployment to return to: the one given, else the last known good of the archive."""
    return choose_target(run.parameters.to, before, run.folder)


def check_rollback(run: Run[RollbackParameters], before: Endpoint, to: str) -> Findings:
    """Check whether the rollback can start; a failed endpoint is a reason for a rollback, not against it."""
    if run.parameters.probes:
        read_probes(run.parameters.probes)  # a damaged file is refused before anything is changed
    counts = None if run.parameters.probes else find_known_source(run, before, "auto")
    findings = (
        *_check_access(run, before, to, counts),
        _check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        preflight.check_ready(before, to, "rollback target"),
        preflight.check_returns(before, to),
        preflight.check_others(before, [to]),
        preflight.check_mirror(before, to),
        *_check_room(run, before, to, counts),
        *check_known_or_validated(run, before, to),
    )
    if run.first_move is not None and run.first_move.moved:
        findings = tuple(_as_found_later(finding) for finding in findings)
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _as_found_later(finding: Finding) -> Finding:
    """Turn a blocker into a warning: the traffic had been moved before it was found."""
    if finding.level is not Level.BLOCKER:
        return finding
    return replace(
        finding, level=Level.WARNING, fix=f"The traffic had been moved before this was read. {finding.fix}"
    )


def _check_state(before: Endpoint) -> Finding:
    """Warn where any other runbook would refuse."""
    state = preflight.check_state(before)
    if state.level is Level.BLOCKER:
        return Finding(
            state.check, Level.WARNING, state.evidence, "The rollback waits until no operation is under way."
        )
    return state


def _check_access(
    run: Run[RollbackParameters], before: Endpoint, to: str, counts: Source | None
) -> tuple[Finding, ...]:
    """Check scope and permissions; warn where they cannot be read, and where only the verification lacks them."""
    p = run.parameters
    verify = (score(before.auth_mode),) if p.probes else count_requests(counts.name if counts else "", "auto")
    uses = [replace(purpose, optional=True) for purpose in (READ_AUTOSCALE, *verify)]
    try:
        return (
            check_scope(run, before),
            check_access(run, before, lambda: planning.plan_return(before, to, p.verify_requests), uses),
        )
    except AzureError as error:
        fix = "The rollback is tried nevertheless."
        return (Finding("permissions", Level.WARNING, f"could not be read: {error}", fix),)


def _check_room(
    run: Run[RollbackParameters], before: Endpoint, to: str, counts: Source | None
) -> tuple[Finding, ...]:
    """Warn of a target that is too small, or that no autoscale setting scales; nothing here refuses a rollback."""
    leaving = [name for name, weight in before.traffic.items() if weight and name.lower() != to.lower()]
    try:
        settings = read_autoscale(run.workspace, before)
    except AzureError as error:
        settings, problem = (), str(error)
        follows = Finding("autoscale", Level.WARNING, f"could not be read: {problem}", "The rollback is tried.")
    else:
        follows = capacity_preflight.check_autoscale_follows(settings, leaving, to)
    load, unknown = find_load(run, before, counts or "auto", LOAD_DEADLINE_S)
    return (follows, capacity_preflight.check_return_size(before, to, load, settings, unknown))


def plan_rollback(run: Run[RollbackParameters], before: Endpoint, to: str) -> Plan:
    """Plan the one traffic step and the requests that verify it."""
    return run.log(JournalEvent.PLAN, planning.plan_return(before, to, run.parameters.verify_requests))


def roll_back(run: Run[RollbackParameters], plan: Plan) -> RolledBack:
    """Set the traffic and verify that it arrives."""
    p, step = run.parameters, plan.steps[0]
    assert isinstance(step, SetTraffic)
    (to,) = step.after
    if p.dry_run:
        return RolledBack(Outcome.PLANNED, "dry run: no traffic was moved", to)
    _move(run, plan, step)
    check = ArrivalCheck(run.workspace, plan.before, to, p.verify_requests, p.verify_s, run.progress)
    arrival = check.by_sent(run.first_move.probes) if run.first_move else None
    if arrival is None:
        arrival = check.by_probes(read_probes(p.probes)) if p.probes else check.by_users()
        if arrival.probes:
            run.journal.write(JournalEvent.PROBES, arrival.probes)
    outcome, reason, recovery_s = Outcome.HELD, arrival.reason, None
    if arrival.verified and arrival.first_at is not None:
        outcome = Outcome.SUCCEEDED
        recovery_s = round((arrival.first_at - run.record.started_at).total_seconds(), 3)
        reason = f"{arrival.reason}, the first {recovery_s:.1f} s after the start of the run"
    run.progress(reason)
    rolled_back = RolledBack(outcome, reason, to, recovery_s, arrival.requests, arrival.probes)
    return run.log(JournalEvent.ROLLED_BACK, rolled_back)


def _move(run: Run[RollbackParameters], plan: Plan, step: SetTraffic) -> None:
    """Move the traffic, unless that was the first move of this run."""
    if run.first_move is None or not run.first_move.moved:
        require_approved(run, plan)
        run.journal.write(JournalEvent.APPLYING, step)
        run.log(JournalEvent.APPLIED, apply(step, run.workspace, run.parameters.operation_timeout_s, run.progress))
        return
    if not same_traffic(run.first_move.after, step.after):
        raise PlanError(
            f"the traffic was moved to {describe_traffic(run.first_move.after)} before the notebook started, and "
            f"its plan is {describe_traffic(step.after)}. The traffic was left there; run the rollback again"
        )
    run.progress(f"the traffic was moved at {run.first_move.at}, before this notebook started")
