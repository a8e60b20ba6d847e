"""The canary runbook: live traffic in stages, watched and judged; promoted, held, or rolled back.

A canary that ends undecided is rolled back too: after the run no process watches it, and an unwatched canary takes
no traffic. `on_hold` decides what is tried before that.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.access.actions import READ_AUTOSCALE, count_requests, score
from opslib.azure.connect import Workspace
from opslib.azure.platform_metrics import read_bandwidth
from opslib.azure.rules import read_autoscale
from opslib.azure.scoring_client import scoring_client
from opslib.azure.source import Source, find_source
from opslib.definitions.probes import Probe, read_probes
from opslib.errors import ObserveError
from opslib.evidence.run.journal import JournalEvent
from opslib.judge import BakeForecast, begin, rehearse
from opslib.model import Endpoint, Finding, Findings, Level, Outcome, Plan, ProbeResult
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.access import check_access, check_scope, source_name
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.canary.cohorts import Cohorts
from opslib.runbooks.canary.forecast import forecast, reference_ms
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.judge_settings import judge_settings, version_digest
from opslib.runbooks.canary.probing import probing
from opslib.runbooks.canary.resumption import resume
from opslib.runbooks.canary.rollout import Rollout, outcome_of
from opslib.runbooks.canary.stage_watch import HoldPolicy
from opslib.runbooks.canary.stages import Stages
from opslib.runbooks.conditions import check_conditions, find_load
from opslib.runbooks.costs import canary_cost, check_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import capacity_preflight, mirror_preflight, preflight
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.undo.traffic_lease import LeaseTerms, TrafficLease
from opslib.runbooks.validation_gate import check_validated

REHEARSAL_SEED = 20260101
"""Seeds the random splits of a rehearsal: the same minutes give the same result."""


def check_canary(run: Run[CanaryParameters], before: Endpoint) -> Findings:
    """Check whether the canary can start; probes are sent to it directly where they are given."""
    p, permissions = run.parameters, _check_permissions(run, before)
    ready = preflight.check_ready(before, p.canary, "canary")
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        *check_conditions(run, before),
        permissions,
        ready,
        preflight.check_off_traffic(before, p.canary),
        *(mirror_preflight.check_mirror_stage(before, p.canary, p.mirror_percent) if p.mirror_percent else ()),
        preflight.check_rollback_target(before),
        check_cost(run, canary_cost(run, before)),
        preflight.check_others(before, [p.canary, *before.traffic]),
        *(() if p.rehearse else check_validated(run, before, p.canary)),
    ]
    probed: tuple[ProbeResult, ...] = ()
    if permissions.level is not Level.BLOCKER:  # what follows is read and sent with these permissions
        findings += (*_check_room(run, before), *_check_source(run, before))
        if ready.level is Level.OK and p.probes:
            probed = run.log(JournalEvent.PROBES, _send_probes(run.workspace, before, p.canary, _probes(p)))
        findings.append(preflight.check_probes(probed, p.canary))
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_room(run: Run[CanaryParameters], before: Endpoint) -> tuple[Finding, ...]:
    """Check that the canary has room for all traffic, and that stable keeps it; autoscale settings included."""
    p, settings = run.parameters, read_autoscale(run.workspace, before)
    load, unknown = find_load(run, before, p.source)
    leaving = [name for name, weight in before.traffic.items() if weight]
    return (
        *((_check_bandwidth(run, before),) if p.mirror_percent else ()),
        capacity_preflight.check_canary_size(before, p.canary, load, settings, unknown),
        capacity_preflight.check_undo_size(before, load, settings),
        capacity_preflight.check_autoscale_follows(settings, leaving, p.canary),
    )


def _check_bandwidth(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    """Check that the mirrored copies fit within the endpoint's bandwidth."""
    try:
        seen, problem = read_bandwidth(run.workspace, before.id), ""
    except ObserveError as error:
        seen, problem = None, str(error)
    return mirror_preflight.check_bandwidth(seen, run.parameters.mirror_percent, problem)


def _check_permissions(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    """Check what the stages, their undo and their judging need; a rehearsal moves no traffic."""
    p = run.parameters
    counting = count_requests(source_name(run, before, p.source), p.source)
    probing_too = (score(before.auth_mode),) if p.probes else ()
    bytes_too = count_requests("metrics", "metrics") if p.mirror_percent and not p.rehearse else ()
    uses = (READ_AUTOSCALE, *counting, *probing_too, *(replace(one, optional=True) for one in bytes_too))
    return check_access(run, before, lambda: None if p.rehearse else _plan(p, before), uses)


def plan_canary(run: Run[CanaryParameters], before: Endpoint) -> Plan:
    """Plan the stages and the undo."""
    plan = _plan(run.parameters, before)
    return run.log(JournalEvent.PLAN, replace(plan, cost=canary_cost(run, before)))


def _plan(p: CanaryParameters, before: Endpoint) -> Plan:
    canary = before.find(p.canary)
    return planning.plan_stages(before, canary.name if canary else p.canary, p.stages, p.bake_s, p.mirror_percent)


def forecast_canary(run: Run[CanaryParameters], before: Endpoint) -> BakeForecast | None:
    """Forecast what the first stage can show at the traffic of the last minutes; None without traffic."""
    p = run.parameters
    return _forecast(run, _find_source(run.workspace, before, p.source, p.bake_s), before)


def run_stages(run: Run[CanaryParameters], plan: Plan) -> Rollout:
    """Run the stages; whatever ends them before the last promotion restores the traffic.

    The request that moves the first traffic acquires a lease on the endpoint. The lease is renewed while the canary
    is watched, and removed by the request that restores the traffic, or after the last promotion.

    Returns
    -------
    Rollout
        ``succeeded`` with all traffic on the canary; else ``rolled_back`` or ``held`` with the traffic as before.
    """
    p, canary, stable = run.parameters, planning.canary_of(plan), plan.before.stable or ""
    if p.dry_run:
        return Rollout(Outcome.PLANNED, "dry run: no traffic was moved", stable, canary, ())
    if not p.rehearse:
        require_approved(run, plan)
    session = _open_session(run, plan.before, canary)
    if p.rehearse:
        return _rehearse(session, weight=p.stages[0], length_s=p.bake_s * len(p.stages))
    terms = LeaseTerms(
        change=run.record.run_id,
        owner=f"{run.workspace.scope.principal}@{run.record.host}",
        lease_s=p.lease_s,
        operation_timeout_s=p.operation_timeout_s,
    )
    lease = TrafficLease(run.workspace, run.journal, run.progress, plan, terms)
    policy = HoldPolicy(p.on_hold, p.max_bake_s, p.answer_s)
    try:
        with probing(run.workspace, plan.before, session.versions, _probes(p), p.probe_every_s) as probes:
            stages = Stages(
                plan, session, probes, lease, policy, p.late_data_s, run.journal, run.progress, run.read_endpoint
            )
            ended = tuple(stages.run())
    except BaseException:
        lease.restore(p.probes)
        raise
    outcome, reason = outcome_of(ended, canary)
    if outcome is not Outcome.SUCCEEDED:
        lease.restore(p.probes)
    ended = tuple(session.read_whole(stage) for stage in ended)
    limits = (p.max_failure_rate, p.max_p95_ms)
    rollout = Rollout(outcome, reason, stable, canary, ended, session.lines, *limits)
    run.journal.write(JournalEvent.ROLLOUT, replace(rollout, lines=()))
    if outcome is Outcome.SUCCEEDED:
        lease.release()
    return rollout


def _find_source(workspace: Workspace, endpoint: Endpoint, wanted: str, bake_s: float) -> Source:
    """Find the source, with about 20 intervals in a bake; each of at least 1 s, at most a minute."""
    return find_source(workspace, endpoint, wanted, float(max(1, min(60, int(bake_s / 20)))))


def _open_session(run: Run[CanaryParameters], before: Endpoint, canary: str) -> JudgeSession:
    """Begin without evidence, or resume where an earlier run of the same release stopped undecided."""
    p, stable = run.parameters, before.stable or ""
    source = _find_source(run.workspace, before, p.source, p.bake_s)
    settings = judge_settings(p, source)
    criteria = settings.criteria
    names = {
        "endpoint": before.id.lower(),
        "stable": version_digest(before.find(stable)),
        "canary": version_digest(before.find(canary)),
    }
    state = None if p.rehearse else resume(run.folder, p.endpoint, criteria, names, run.progress)
    if state is None:
        latency_ms = reference_ms(source, criteria, stable, p.bake_s, run.progress)
        state = begin(criteria, **names, reference_ms=latency_ms)
    cohorts = None
    if p.outcomes and source.per_request:
        cohorts = Cohorts(Path(p.outcomes), source, run.record.started_at, p.outcome_window_s)
    session = JudgeSession(run.journal, run.progress, source, settings, state, stable, canary, cohorts)
    session.write_state()
    return session


def _rehearse(session: JudgeSession, *, weight: int, length_s: float) -> Rollout:
    """Judge stable against itself on its latest requests, to count how often it would be rolled back."""
    until = datetime.now(UTC) - timedelta(seconds=session.settings.lag_s)
    since = until - timedelta(seconds=length_s)
    observation = session.source.observe(since, until, session.thresholds_ms())
    intervals = [session.to_interval(served, 0.0) for served in observation.intervals if served.length_s > 0]
    found = rehearse(session.state, intervals, session.settings.criteria, weight=weight, seed=REHEARSAL_SEED)
    session.journal.write(JournalEvent.REHEARSAL, found)
    session.progress(found.sentence)
    reason = f"rehearsal, no traffic was moved. {found.sentence}"
    return Rollout(Outcome.PLANNED, reason, session.stable, session.canary, ())


def _check_source(run: Run[CanaryParameters], before: Endpoint) -> tuple[Finding, Finding, Finding]:
    """Check monitoring, the length of the bake, and outcomes: all three depend on the source."""
    p = run.parameters
    try:
        source = _find_source(run.workspace, before, p.source, p.bake_s)
    except ObserveError as error:
        return (
            preflight.check_monitoring("", 0.0, 0.0, str(error)),
            preflight.check_bake(None, str(error)),
            _check_outcomes(p, None),
        )
    monitoring = preflight.check_monitoring(source.name, source.shortest_bake_s, p.bake_s, "")
    try:
        bake = preflight.check_bake(_forecast(run, source, before), "no traffic in the last minutes")
    except ObserveError as error:
        bake = preflight.check_bake(None, str(error))
    return monitoring, bake, _check_outcomes(p, source)


def _check_outcomes(p: CanaryParameters, source: Source | None) -> Finding:
    if not p.outcomes:
        return preflight.check_outcomes("", (), readable=False, per_request=False)
    found = preflight.check_outcomes(
        p.outcomes,
        (*p.bad_outcomes, *p.measures),
        readable=Path(p.outcomes).is_file(),
        per_request=source is not None and source.per_request,
    )
    if found.level is not Level.OK or source is None:
        return found
    known_s = p.outcome_window_s + max(p.settle_s, source.least_lag_s)
    act = bool(p.bad_outcomes) and p.outcomes_mode == "act"
    return preflight.check_outcomes_in_time(known_s, max(p.bake_s, p.max_bake_s), act=act)


def _forecast(run: Run[CanaryParameters], source: Source, before: Endpoint) -> BakeForecast | None:
    p = run.parameters
    weight, bake_s = float(p.stages[0]), max(p.bake_s, p.max_bake_s)
    if p.mirror_percent:
        weight = 100.0 * p.mirror_percent / (100 + p.mirror_percent)  # copies beside all of the live traffic
    found = forecast(source, before.stable or "", judge_settings(p, source), weight=weight, bake_s=bake_s)
    return run.log(JournalEvent.FORECAST, found)


def _probes(p: CanaryParameters) -> tuple[Probe, ...]:
    return read_probes(p.probes) if p.probes else ()


def _send_probes(
    workspace: Workspace, endpoint: Endpoint, deployment: str, probes: Sequence[Probe]
) -> tuple[ProbeResult, ...]:
    """Send each probe once to the deployment itself."""
    with scoring_client(workspace, endpoint) as client:
        return tuple(client.send_all(probes, len(probes), deployment))
