"""The canary runbook: live traffic in stages, watched and judged; promoted, held, or rolled back.

A hold gives the traffic back too: when the run ends nobody watches, and a canary that nobody watches takes none.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

from opslib.azure.access import missing_actions
from opslib.azure.monitor import Source, find_source
from opslib.azure.scoring import read_probes, scoring_client
from opslib.change import plan as planning
from opslib.change import preflight
from opslib.change.judging import Bench
from opslib.change.leasehold import Leasehold
from opslib.change.observe import look, pause_s
from opslib.change.outlook import forecast
from opslib.change.probing import Probing, probing
from opslib.change.rollout import Rollout, Stage
from opslib.change.run import Run
from opslib.errors import ObserveError
from opslib.judge import Plan as BakePlan
from opslib.judge import after_hold, rehearse
from opslib.model import Endpoint, Finding, Outcome, Plan, ProbeResult, SetTraffic
from opslib.parameters import CanaryParameters


def check_canary(run: Run[CanaryParameters], before: Endpoint) -> tuple[Finding, ...]:
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
    return run.note("preflight", findings)


def plan_canary(run: Run[CanaryParameters], before: Endpoint) -> Plan:
    """Plan the stages and the undo."""
    canary = before.find(run.parameters.canary)
    name = canary.name if canary else run.parameters.canary
    return run.note("plan", planning.plan_stages(before, name, run.parameters.stages, run.parameters.bake_s))


def walk(run: Run[CanaryParameters], plan: Plan) -> Rollout:
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
    bench = Bench.open(run, plan.before, source, canary)
    if run.parameters.rehearse:
        return _rehearse(run, bench)
    stages: list[Stage] = []
    leasehold = Leasehold(run, plan)
    try:
        with _probing(run, plan.before, bench) as probes:
            for step in plan.steps:
                assert isinstance(step, SetTraffic)
                leasehold.move(step)
                stages.append(_bake(run, leasehold, step, bench, probes))
                if stages[-1].verdict.outcome != "promote":
                    break
    except BaseException:
        leasehold.give_back()
        raise
    outcome = _OUTCOMES[stages[-1].verdict.outcome]
    rollout = Rollout(outcome, _reason(stages[-1], canary), stable, canary, tuple(stages), bench.lines)
    if outcome is Outcome.SUCCEEDED:
        run.journal.write("rollout", replace(rollout, lines=()))
        leasehold.give_up()
        return rollout
    leasehold.give_back()
    run.journal.write("rollout", replace(rollout, lines=()))
    return rollout


_OUTCOMES = {"promote": Outcome.SUCCEEDED, "hold": Outcome.HELD, "rollback": Outcome.ROLLED_BACK}


def _source(run: Run[CanaryParameters], endpoint: Endpoint) -> Source:
    """Choose the source, in a grain that gives a bake a score of intervals; at least 1 s, at most a minute."""
    grain_s = float(max(1, min(60, int(run.parameters.bake_s / 20))))
    return find_source(run.workspace, endpoint, run.parameters.source, grain_s)


def _bake(
    run: Run[CanaryParameters], leasehold: Leasehold, step: SetTraffic, bench: Bench, probes: Probing
) -> Stage:
    """Watch one stage until it is decided; a hold that more traffic can decide extends it, up to `max_bake_s`."""
    p, ours, theirs = run.parameters, step.after.get(bench.canary, 0), step.after.get(bench.stable, 0)
    weight = 100.0 * ours / (ours + theirs)  # of what the two of them serve; others may serve too
    run.read_endpoint()
    started_at, bake_s = datetime.now(UTC), step.bake_s
    bench.begin_stage()
    run.say(f"baking {planning.describe_traffic(step.after)} for {bake_s:g} s, watched by {bench.source.name}")
    while True:
        leasehold.stay(step)
        end = started_at + timedelta(seconds=bake_s)
        seen = look(bench.source, started_at, end, p.late_data_s, bench.lag_s, bench.thresholds_ms())
        if seen.silence:
            run.say(f"the {bench.source.name} is silent: {seen.silence}")
        verdict = bench.judge(seen.observation, weight=weight, bake_over=seen.over, rounds=probes.take())
        run.say(verdict.sentence)
        if verdict.outcome == "hold" and bake_s < p.max_bake_s and not seen.waited_out:
            action, why = after_hold(verdict, "rollback", baked_s=bake_s, max_bake_s=p.max_bake_s)
            bake_s = min(bake_s + step.bake_s, p.max_bake_s) if action == "extend" else p.max_bake_s
            run.say(f"watched for {bake_s:g} s in all: {why}")
        elif verdict.outcome != "continue":
            return Stage(step.after, started_at, bake_s, seen.observation, verdict)
        sleep(pause_s(bench.source, step.bake_s))


def _probing(run: Run[CanaryParameters], before: Endpoint, bench: Bench) -> AbstractContextManager[Probing]:
    """Put the probes to both versions while the canary is watched, so that they are compared without users too."""
    p = run.parameters
    probes = read_probes(p.probes) if p.probes else ()
    return probing(run.workspace, before, bench.versions, probes, p.probe_every_s)


def _rehearse(run: Run[CanaryParameters], bench: Bench) -> Rollout:
    """Judge stable against itself on what it has just served: an innocent canary, rolled back how often."""
    p = run.parameters
    until = datetime.now(UTC) - timedelta(seconds=bench.lag_s)
    since = until - timedelta(seconds=p.bake_s * len(p.stages))
    observation = bench.source.observe(since, until, bench.thresholds_ms())
    intervals = [bench.show(grain, 0.0) for grain in observation.intervals if grain.length_s > 0]
    found = rehearse(bench.state, intervals, bench.criteria, weight=p.stages[0], seed=REHEARSAL_SEED)
    run.journal.write("rehearsal", found)
    run.say(found.sentence)
    return Rollout(
        Outcome.PLANNED, f"rehearsal, no traffic was moved. {found.sentence}", bench.stable, bench.canary, ()
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
        source = _source(run, before).name
    except ObserveError as error:
        source = f"nothing ({error})"
    names = (*p.bad_outcomes, *p.measures)
    return preflight.check_outcomes(p.outcomes, names, readable=Path(p.outcomes).is_file(), source=source)


def _check_outlook(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    try:
        found = forecast_canary(run, before)
    except ObserveError as error:
        return preflight.check_outlook(None, str(error))
    return preflight.check_outlook(found, "no traffic was seen in the last minutes")


def forecast_canary(run: Run[CanaryParameters], before: Endpoint) -> BakePlan | None:
    """Say what the first stage can show at the traffic of the last minutes, and how soon; None without traffic."""
    return run.note("forecast", forecast(run, _source(run, before), before))


def _ask(run: Run[CanaryParameters], before: Endpoint) -> tuple[ProbeResult, ...]:
    """Ask the canary directly, once for each probe."""
    if not run.parameters.probes:
        return ()
    probes = read_probes(run.parameters.probes)
    with scoring_client(run.workspace, before) as client:
        return run.note("probes", tuple(client.send_all(probes, len(probes), run.parameters.canary)))


def _reason(stage: Stage, canary: str) -> str:
    if stage.verdict.outcome == "promote":
        return f"{canary} takes all traffic. {stage.verdict.sentence}"
    return f"at {stage.traffic.get(canary)} % of traffic: {stage.verdict.sentence}"
