"""The canary runbook: live traffic in stages, watched and judged; promoted, held, or rolled back.

What is undecided in the end gives the traffic back too: when the run ends nobody watches, and a canary that nobody
watches takes none. What may be done before, `on_hold` says.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

from opslib.azure.permissions import missing_actions
from opslib.azure.scoring_client import read_probes, scoring_client
from opslib.azure.source import Source, find_source
from opslib.errors import ObserveError
from opslib.evidence.run.journal import JournalEvent
from opslib.judge import BakeForecast, rehearse
from opslib.model import Endpoint, Finding, Findings, Level, Outcome, Plan, ProbeResult, SetTraffic
from opslib.model.traffic import describe_traffic
from opslib.parameters import CanaryParameters
from opslib.runbooks.canary.forecast import forecast
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.probing import Probing, probing
from opslib.runbooks.canary.rollout import NextStep, Rollout, Stage
from opslib.runbooks.canary.stage_watch import StageWatch
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight
from opslib.runbooks.steps.observe import pause_s, read_source
from opslib.runbooks.undo.traffic_lease import TrafficLease


def check_canary(run: Run[CanaryParameters], before: Endpoint) -> Findings:
    """Look for what stands against the canary; asks it directly where probes are given."""
    p = run.parameters
    ready = preflight.check_ready(before, p.canary, "canary")
    findings = (
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        preflight.check_permissions(
            missing_actions(run.workspace, before, "canary"), run.workspace.scope.principal
        ),
        ready,
        preflight.check_off_traffic(before, p.canary),
        preflight.check_rollback_target(before),
        _check_monitoring(run, before),
        _check_outlook(run, before),
        _check_outcomes(run, before),
        preflight.check_probes(_ask(run, before) if ready.level == "ok" else (), p.canary),
    )
    return run.note(JournalEvent.PREFLIGHT, Findings(findings))


def plan_canary(run: Run[CanaryParameters], before: Endpoint) -> Plan:
    """Plan the stages and the undo."""
    canary = before.find(run.parameters.canary)
    name = canary.name if canary else run.parameters.canary
    return run.note(
        JournalEvent.PLAN, planning.plan_stages(before, name, run.parameters.stages, run.parameters.bake_s)
    )


def run_stages(run: Run[CanaryParameters], plan: Plan) -> Rollout:
    """Walk the stages; whatever ends the walk before its good end gives the traffic back.

    The request that moves the first traffic takes a lease on the endpoint; it is renewed while the canary is
    watched, and removed by the request that gives the traffic back, or at the good end.

    Returns
    -------
    Rollout
        ``succeeded`` with all traffic on the canary; else ``rolled_back`` or ``held`` with the traffic as before.
    """
    canary = planning.canary_of(plan)
    stable = plan.before.stable or ""
    if run.parameters.dry_run:
        return Rollout(Outcome.PLANNED, "dry run: no traffic was moved", stable, canary, ())
    source = _source(run, plan.before)
    session = JudgeSession.open(run, plan.before, source, canary)
    if run.parameters.rehearse:
        return _rehearse(run, session)
    lease = TrafficLease(run, plan)
    try:
        with _probing(run, plan.before, session) as probes:
            stages = tuple(_run_stages(run, plan, lease, session, probes))
    except BaseException:
        lease.restore_traffic()
        raise
    outcome = _OUTCOMES[stages[-1].next_step]
    rollout = Rollout(outcome, _reason(stages, canary), stable, canary, stages, session.lines)
    if outcome is Outcome.SUCCEEDED:
        run.journal.write(JournalEvent.ROLLOUT, replace(rollout, lines=()))
        lease.release()
        return rollout
    lease.restore_traffic()
    run.journal.write(JournalEvent.ROLLOUT, replace(rollout, lines=()))
    return rollout


_OUTCOMES: Mapping[NextStep, Outcome] = {
    "promote": Outcome.SUCCEEDED,
    "hold": Outcome.HELD,
    "rollback": Outcome.ROLLED_BACK,
}


def _source(run: Run[CanaryParameters], endpoint: Endpoint) -> Source:
    """Choose the source, in a grain that gives a bake a score of intervals; at least 1 s, at most a minute."""
    grain_s = float(max(1, min(60, int(run.parameters.bake_s / 20))))
    return find_source(run.workspace, endpoint, run.parameters.source, grain_s)


def _run_stages(
    run: Run[CanaryParameters], plan: Plan, lease: TrafficLease, session: JudgeSession, probes: Probing
) -> Iterator[Stage]:
    """Go from stage to stage until one does not lead on; each planned one may lead on by one smaller step."""
    steps = [step for step in plan.steps if isinstance(step, SetTraffic)]
    while steps:
        step = steps.pop(0)
        lease.move(step)
        planned = step.after[session.canary] in run.parameters.stages
        smaller = planning.insert_half_step(plan.before.traffic, session.canary, step, steps) if planned else ()
        stage = _bake_stage(run, lease, step, session, probes, room=bool(smaller))
        yield stage
        if stage.next_step == "smaller step":
            run.journal.write(JournalEvent.SMALLER_STEP, {"why": stage.why, "steps": smaller})
            steps = list(smaller)
        elif stage.next_step != "promote":
            return


def _bake_stage(
    run: Run[CanaryParameters],
    lease: TrafficLease,
    step: SetTraffic,
    session: JudgeSession,
    probes: Probing,
    *,
    room: bool,
) -> Stage:
    """Watch one stage until it is decided: by the judge, by policy, or by a person; see `StageWatch`."""
    p, ours, theirs = run.parameters, step.after.get(session.canary, 0), step.after.get(session.stable, 0)
    weight = 100.0 * ours / (ours + theirs)  # of what the two of them serve; others may serve too
    run.read_endpoint()
    watch = StageWatch(run, session, step, room=room)
    session.begin_stage()
    probes.begin()  # not before the first traffic: the canary's first request begins the time that is not judged
    run.say(f"baking {describe_traffic(step.after)} for {step.bake_s:g} s, watched by {session.source.name}")
    while True:
        lease.renew_if_due(step)
        session.refresh_reference()
        thresholds_ms = session.thresholds_ms()
        seen = read_source(session.source, watch.started_at, watch.end, p.late_data_s, session.lag_s, thresholds_ms)
        if seen.problem:
            run.say(f"the {session.source.name} is silent: {seen.problem}")
        verdict = session.judge(seen.observation, weight=weight, bake_over=seen.over, rounds=probes.take())
        run.say(verdict.sentence)
        stage = watch.decide(verdict, seen)
        if stage is not None:
            return stage
        sleep(pause_s(session.source, step.bake_s))


def _probing(
    run: Run[CanaryParameters], before: Endpoint, session: JudgeSession
) -> AbstractContextManager[Probing]:
    """Put the probes to both versions while the canary is watched, so that they are compared without users too."""
    p = run.parameters
    probes = read_probes(p.probes) if p.probes else ()
    return probing(run.workspace, before, session.versions, probes, p.probe_every_s)


def _rehearse(run: Run[CanaryParameters], session: JudgeSession) -> Rollout:
    """Judge stable against itself on what it has just served: an innocent canary, rolled back how often."""
    p = run.parameters
    until = datetime.now(UTC) - timedelta(seconds=session.lag_s)
    since = until - timedelta(seconds=p.bake_s * len(p.stages))
    observation = session.source.observe(since, until, session.thresholds_ms())
    intervals = [session.show(grain, 0.0) for grain in observation.intervals if grain.length_s > 0]
    found = rehearse(session.state, intervals, session.criteria, weight=p.stages[0], seed=REHEARSAL_SEED)
    run.journal.write(JournalEvent.REHEARSAL, found)
    run.say(found.sentence)
    return Rollout(
        Outcome.PLANNED, f"rehearsal, no traffic was moved. {found.sentence}", session.stable, session.canary, ()
    )


REHEARSAL_SEED = 20260101
"""Seeds the random splits of a rehearsal: the same minutes give the same answer."""


def _check_monitoring(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    try:
        source = _source(run, before)
    except ObserveError as error:
        return preflight.check_monitoring("", 0.0, 0.0, str(error))
    return preflight.check_monitoring(source.name, source.shortest_bake_s, run.parameters.bake_s, "")


def _check_outcomes(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    p = run.parameters
    if not p.outcomes:
        return preflight.check_outcomes("", (), readable=False, source="")
    try:
        source = _source(run, before)
    except ObserveError as error:
        name, lag_s = f"nothing ({error})", 0.0
    else:
        name, lag_s = source.name, max(p.settle_s, source.least_lag_s)
    names = (*p.bad_outcomes, *p.measures)
    found = preflight.check_outcomes(p.outcomes, names, readable=Path(p.outcomes).is_file(), source=name)
    if found.level is not Level.OK:
        return found
    act = bool(p.bad_outcomes) and p.outcomes_mode == "act"
    return preflight.check_outcomes_in_time(p.outcome_window_s + lag_s, max(p.bake_s, p.max_bake_s), act=act)


def _check_outlook(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    try:
        found = forecast_canary(run, before)
    except ObserveError as error:
        return preflight.check_outlook(None, str(error))
    return preflight.check_outlook(found, "no traffic was seen in the last minutes")


def forecast_canary(run: Run[CanaryParameters], before: Endpoint) -> BakeForecast | None:
    """Say what the first stage can show at the traffic of the last minutes, and how soon; None without traffic."""
    return run.note(JournalEvent.FORECAST, forecast(run, _source(run, before), before))


def _ask(run: Run[CanaryParameters], before: Endpoint) -> tuple[ProbeResult, ...]:
    """Ask the canary directly, once for each probe."""
    if not run.parameters.probes:
        return ()
    probes = read_probes(run.parameters.probes)
    with scoring_client(run.workspace, before) as client:
        return run.note(JournalEvent.PROBES, tuple(client.send_all(probes, len(probes), run.parameters.canary)))


def _reason(stages: Sequence[Stage], canary: str) -> str:
    """Say how it ended, and who decided what the judge did not."""
    *earlier, last = stages
    told = [_tell(stage, canary) for stage in earlier if stage.answer is not None]
    if last.next_step != "promote":
        told = [_tell(last, canary), *told]
    elif last.answer is not None:
        told = [f"{canary} takes all traffic.", *told, _tell(last, canary)]
    else:
        told = [f"{canary} takes all traffic.", *told, last.verdict.sentence]
    return " ".join([told[0], *(sentence[0].upper() + sentence[1:] for sentence in told[1:])])


def _tell(stage: Stage, canary: str) -> str:
    said = f"{stage.why.rstrip('.')}. {stage.verdict.sentence}" if stage.why else stage.verdict.sentence
    return f"at {stage.traffic[canary]} % of traffic: {said}"
