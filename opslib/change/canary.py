"""The canary runbook: live traffic in stages, watched and judged; promoted, held, or rolled back.

A hold gives the traffic back too: when the run ends nobody watches, and a canary that nobody watches takes none.
"""

from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.azure.access import missing_actions
from opslib.azure.monitor import Source, find_source
from opslib.azure.scoring import read_probes, scoring_client
from opslib.change import plan as planning
from opslib.change import preflight
from opslib.change.leasehold import Leasehold
from opslib.change.observe import look, pause_s
from opslib.change.run import Run
from opslib.errors import ObserveError
from opslib.judge.rule import Limits, judge
from opslib.model import (
    Decision,
    Endpoint,
    Finding,
    Outcome,
    Plan,
    ProbeResult,
    Rollout,
    SetTraffic,
    Stage,
)
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
    stages: list[Stage] = []
    leasehold = Leasehold(run, plan)
    try:
        for step in plan.steps:
            assert isinstance(step, SetTraffic)
            leasehold.move(step)
            stages.append(_bake(run, leasehold, step, stable, canary))
            if stages[-1].verdict.decision is not Decision.PROMOTE:
                break
    except BaseException:
        leasehold.give_back()
        raise
    outcome = _OUTCOMES[stages[-1].verdict.decision]
    rollout = Rollout(outcome, _reason(stages[-1], canary), stable, canary, tuple(stages))
    if outcome is Outcome.SUCCEEDED:
        run.journal.write("rollout", rollout)
        leasehold.give_up()
        return rollout
    leasehold.give_back()
    return run.note("rollout", rollout)


_OUTCOMES = {
    Decision.PROMOTE: Outcome.SUCCEEDED,
    Decision.HOLD: Outcome.HELD,
    Decision.ROLLBACK: Outcome.ROLLED_BACK,
}


def _bake(run: Run[CanaryParameters], leasehold: Leasehold, step: SetTraffic, stable: str, canary: str) -> Stage:
    """Watch one stage until it is decided; an undecided one is extended up to `max_bake_s`."""
    p = run.parameters
    source = find_source(run.workspace, run.read_endpoint(), p.source)
    started_at = datetime.now(UTC)
    bake_s = step.bake_s
    run.say(f"baking {planning.describe_traffic(step.after)} for {bake_s:g} s, watched by {source.name}")
    while True:
        leasehold.stay(step)
        seen = look(source, started_at, started_at + timedelta(seconds=bake_s), p.late_data_s)
        if seen.silence:
            run.say(f"the {source.name} is silent: {seen.silence}")
        verdict = judge(
            seen.observation,
            canary=canary,
            stable=stable if step.after.get(stable) else None,
            limits=Limits(p.min_requests, p.max_failure_rate, p.max_p95_ms, p.max_p95_ratio),
            bake_over=seen.over,
        )
        run.journal.write("look", {"observation": seen.observation, "verdict": verdict})
        if verdict.decision is Decision.HOLD and bake_s < p.max_bake_s and not seen.waited_out:
            bake_s = min(bake_s + step.bake_s, p.max_bake_s)
            run.say(f"not decided ({verdict.reason}): watched for {bake_s:g} s in all")
        elif verdict.decision is not Decision.CONTINUE:
            run.say(f"{verdict.decision} at {step.after.get(canary)} %: {verdict.reason}")
            return Stage(step.after, started_at, bake_s, seen.observation, verdict)
        else:
            run.say(f"{verdict.decision}: {verdict.reason}")
        sleep(pause_s(source, step.bake_s))


def _check_monitoring(run: Run[CanaryParameters], before: Endpoint) -> Finding:
    try:
        source: Source = find_source(run.workspace, before, run.parameters.source)
    except ObserveError as error:
        return preflight.check_monitoring("", 0.0, 0.0, str(error))
    return preflight.check_monitoring(source.name, source.shortest_bake_s, run.parameters.bake_s, "")


def _ask(run: Run[CanaryParameters], before: Endpoint) -> tuple[ProbeResult, ...]:
    """Ask the canary directly, once for each probe."""
    if not run.parameters.probes:
        return ()
    probes = read_probes(run.parameters.probes)
    with scoring_client(run.workspace, before) as client:
        return run.note("probes", tuple(client.send_all(probes, len(probes), run.parameters.canary)))


def _reason(stage: Stage, canary: str) -> str:
    verdict = stage.verdict
    if verdict.decision is Decision.PROMOTE:
        return f"{canary} takes all traffic; {verdict.reason}"
    return f"{verdict.decision} at {stage.traffic.get(canary)} % of traffic: {verdict.reason}"
