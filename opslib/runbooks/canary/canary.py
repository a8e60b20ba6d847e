"""The canary runbook: live traffic in stages, watched and judged; promoted, held, or rolled back.

A canary that ends undecided is rolled back too: after the run no process watches it, and an unwatched canary takes
no traffic. `on_hold` decides what is tried before that.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.azure.connect import Workspace
from opslib.azure.source import Source, find_source
from opslib.definitions.probes import Probe, read_probes
from opslib.evidence.run.journal import JournalEvent
from opslib.judge import BakeForecast, begin, rehearse, set_reference
from opslib.model import Endpoint, Outcome, Plan
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.canary.cohorts import Cohorts
from opslib.runbooks.canary.forecast import NoForecast, forecast, reference_ms
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.judge_settings import judge_settings, version_digest
from opslib.runbooks.canary.probing import probing
from opslib.runbooks.canary.resumption import resume
from opslib.runbooks.canary.rollout import Rollout, outcome_of
from opslib.runbooks.canary.stage_watch import HoldPolicy
from opslib.runbooks.canary.stages import Stages
from opslib.runbooks.costs import canary_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.undo.traffic_lease import LeaseTerms, TrafficLease

REHEARSAL_SEED = 20260101
"""Seeds the random splits of a rehearsal: the same minutes give the same result."""


def plan_canary(run: Run[CanaryParameters], before: Endpoint) -> Plan:
    """Plan the stages and the undo."""
    plan = planned(run.parameters, before)
    return run.log(JournalEvent.PLAN, replace(plan, cost=canary_cost(run, before)))


def planned(p: CanaryParameters, before: Endpoint) -> Plan:
    """Return the stages and the undo, without their cost."""
    canary = before.find(p.canary)
    return planning.plan_stages(before, canary.name if canary else p.canary, p.stages, p.bake_s, p.mirror_percent)


def forecast_canary(run: Run[CanaryParameters], before: Endpoint) -> BakeForecast | None:
    """Forecast what the first stage can show at the traffic of the last minutes; None where that is unknown."""
    p = run.parameters
    found = forecast_first_stage(run, find_canary_source(run.workspace, before, p.source, p.bake_s), before)
    return None if isinstance(found, NoForecast) else found


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
        with probing(run.workspace, plan.before, session.versions, configured_probes(p), p.probe_every_s) as probes:
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


def find_canary_source(workspace: Workspace, endpoint: Endpoint, wanted: str, bake_s: float) -> Source:
    """Find the source, with about 20 intervals in a bake; each of at least 1 s, at most a minute."""
    return find_source(workspace, endpoint, wanted, float(max(1, min(60, int(bake_s / 20)))))


def _open_session(run: Run[CanaryParameters], before: Endpoint, canary: str) -> JudgeSession:
    """Begin without evidence, or resume where an earlier run of the same release stopped undecided."""
    p, stable = run.parameters, before.stable or ""
    source = find_canary_source(run.workspace, before, p.source, p.bake_s)
    settings = judge_settings(p, source)
    criteria = settings.criteria
    names = {
        "endpoint": before.id.lower(),
        "stable": version_digest(before.find(stable)),
        "canary": version_digest(before.find(canary)),
    }
    state = None if p.rehearse else resume(run.folder, p.endpoint, criteria, names, run.progress)
    latency_ms = reference_ms(source, criteria, stable, p.bake_s, run.progress)
    if state is None:
        state = begin(criteria, **names, reference_ms=latency_ms)
    elif latency_ms:  # that of the earlier run may be one that no request reaches now
        state = set_reference(state, criteria, latency_ms)
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


def forecast_first_stage(run: Run[CanaryParameters], source: Source, before: Endpoint) -> BakeForecast | NoForecast:
    """Forecast what the first stage can show at the traffic of the last minutes, and journal it."""
    p = run.parameters
    weight, bake_s = float(p.stages[0]), max(p.bake_s, p.max_bake_s)
    if p.mirror_percent:
        weight = 100.0 * p.mirror_percent / (100 + p.mirror_percent)  # copies beside all of the live traffic
    found = forecast(source, before.stable or "", judge_settings(p, source), weight=weight, bake_s=bake_s)
    run.log(JournalEvent.FORECAST, None if isinstance(found, NoForecast) else found)
    return found


def configured_probes(p: CanaryParameters) -> tuple[Probe, ...]:
    """Return the probes of the file that the parameters name; none without one."""
    return read_probes(p.probes) if p.probes else ()
