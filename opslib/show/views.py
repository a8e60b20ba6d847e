"""What a person sees of each value that flows through a runbook. Importing this module registers the views."""

import re
from collections.abc import Sequence
from statistics import median

from opslib.cost.text import describe_change, describe_prices
from opslib.displayed import view
from opslib.evidence.run.record import Record
from opslib.judge import BakeForecast, Verdict
from opslib.model import (
    Deployment,
    Endpoint,
    Findings,
    Level,
    Observation,
    Outcome,
    Plan,
    ProbeResult,
    Scope,
    Served,
)
from opslib.model.text import e_value, k_of_n, percent
from opslib.model.traffic import describe_traffic
from opslib.runbooks.canary.rollout import MIRROR_LIMITS, Rollout, Stage
from opslib.runbooks.deploy import Deployed
from opslib.runbooks.retire import Retired
from opslib.runbooks.rollback import RolledBack
from opslib.runbooks.run import Run
from opslib.runbooks.scale import Scaled
from opslib.runbooks.steps.plan import az_command, describe_step
from opslib.runbooks.validate import Validated
from opslib.show.numbers import milliseconds, minutes
from opslib.show.table import Cell, Table, Tone

_MARKS: dict[Level, Cell] = {
    Level.OK: Cell("✓ ok", "good"),
    Level.WARNING: Cell("! warning", "warning"),
    Level.BLOCKER: Cell("✗ blocker", "bad"),
}

_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")

_SERVED = ("requests", "failures", "p50", "p95", "p99")


_OWN_ROWS = {"endpoint", "target"}


@view.register(Run)
def _run(run: Run) -> Table:  # type: ignore[type-arg]
    scope = run.workspace.scope
    names = [name for name, origin in run.origins.items() if origin != "default" and name not in _OWN_ROWS]
    shown = [f"{name} = {getattr(run.parameters, name)!r} ({run.origins[name]})" for name in names]
    defaults = sum(origin == "default" for origin in run.origins.values())
    rows = [
        ("runbook", run.parameters.runbook),
        ("endpoint", run.parameters.endpoint),
        ("workspace", f"{scope.workspace_name} in {scope.resource_group}, subscription {scope.subscription_id}"),
        ("Azure Resource Manager", scope.resource_manager),
        ("principal", scope.principal),
        ("parameters", "\n".join([*shown, f"{defaults} others: default"])),
        ("evidence", run.folder.name),
    ]
    return Table("Scope", ("what", "value"), rows)


@view.register
def _endpoint(endpoint: Endpoint) -> Table:
    rows = [
        (
            d.name,
            _weight(endpoint, d),
            d.provisioning_state,
            f"{d.instance_count} x {d.instance_type}",
            _asset(d, d.model, "model"),
            _asset(d, d.environment, "environmentId"),
        )
        for d in endpoint.deployments
    ]
    columns = ("deployment", "traffic", "state", "instances", "model", "environment")
    title = f"Endpoint {endpoint.name}: {endpoint.provisioning_state}"
    return Table(title, columns, rows, note="" if rows else "It has no deployments.", right=("traffic",))


def _asset(deployment: Deployment, name: str, field: str) -> Cell:
    """An asset by its name, hashes cut to 12 digits; the tooltip is the id under which Azure keeps it."""
    return Cell(_HASH.sub(r"\1", name), tooltip=str(deployment.arm["properties"].get(field) or ""))


def _weight(endpoint: Endpoint, deployment: Deployment) -> str:
    mirrored = endpoint.mirror_traffic.get(deployment.name)
    weight = f"{endpoint.traffic.get(deployment.name, 0)} %"
    return f"{weight} + mirror {mirrored} %" if mirrored else weight


@view.register
def _findings(findings: Findings) -> Table:
    rows = [(f.check, _MARKS[f.level], f.evidence, f.fix) for f in findings]
    blockers = sum(f.level is Level.BLOCKER for f in findings)
    note = f"{blockers} of {len(findings)} checks block the run." if blockers else ""
    return Table("Preflight", ("check", "result", "evidence", "how to fix it"), rows, note=note)


@view.register
def _plan(plan: Plan) -> Table:
    scope = _scope(plan.before)
    rows = [("change", f"{c.what}: {c.before} -> {c.after}", Cell("")) for c in plan.changes]
    for role, steps in (("step", plan.steps), ("undo", plan.undo)):
        for number, step in enumerate(steps, start=1):
            name = f"{role} {number}" if len(steps) > 1 or role == "step" else role
            rows.append((name, describe_step(step), Cell(az_command(step, scope), code=True)))
    if plan.cost is not None:
        rows.append(("cost", describe_change(plan.cost), Cell("")))
    note = f"{describe_prices(plan.cost.prices)}." if plan.cost else ""
    return Table(f"Plan for endpoint {plan.endpoint}", ("", "what", "the same by hand"), rows, note=note)


def _scope(endpoint: Endpoint) -> Scope:
    """Read the workspace from the endpoint's ARM id."""
    parts = endpoint.id.split("/")
    names = {key.lower(): value for key, value in zip(parts[1::2], parts[2::2], strict=False)}
    return Scope(names["subscriptions"], names["resourcegroups"], names["workspaces"], resource_manager="")


@view.register
def _forecast(forecast: BakeForecast) -> Table:
    rows = [(f.metric, f.change, minutes(f.detect_minutes), minutes(f.prove_minutes)) for f in forecast.forecasts]
    columns = ("metric", "change", "minutes to roll back such a change", "minutes to prove its absence")
    return Table("What the first stage can show", columns, rows, note=forecast.advice, right=columns[2:])


@view.register
def _observation(observation: Observation) -> Table:
    rows = [(name, *_served(served)) for name, served in observation.total.items()]
    title = f"Served from {observation.since:%F %T} to {observation.until:%T} UTC"
    columns = ("deployment", *_SERVED)
    return Table(title, columns, rows, note=f"Source: {observation.source}.", right=_SERVED)


@view.register
def _verdict(verdict: Verdict) -> Table:
    rows = [
        (
            proof.claim,
            Cell("✓ shown", "good") if proof.proven else Cell("not shown", "warning"),
            f"{k_of_n(proof.canary_bad, proof.canary_n)} {proof.counted}",
            k_of_n(proof.stable_bad, proof.stable_n) if proof.stable_n else "",
            "none" if proof.upper is None else percent(proof.upper),
            percent(proof.bound),
        )
        for proof in verdict.proofs
    ]
    columns = ("claim", "proof", "canary", "stable", "upper bound", "limit")
    evidence = f"evidence of harm {e_value(verdict.log_evidence)}, limit {e_value(verdict.log_threshold)}"
    title = f"Verdict: {verdict.outcome}; {evidence}"
    return Table(title, columns, rows, note=f"{verdict.sentence} {verdict.basis}.", right=columns[2:])


@view.register
def _rollout(rollout: Rollout) -> Table:
    rows = []
    for stage in rollout.stages:
        for name in (rollout.stable, rollout.canary):
            served = stage.observation.total.get(name, Served(0, 0))
            decision = _decision(stage) if name == rollout.canary else ""
            share = stage.share(name) if name == rollout.canary else f"{stage.traffic.get(name, 0)} %"
            rows.append((share, name, *_served(served), decision))
    columns = ("traffic", "deployment", *_SERVED, "decision")
    basis = f" {rollout.stages[-1].verdict.basis}." if rollout.stages else ""
    title = f"Canary {rollout.canary}: {rollout.outcome}"
    limits = f" {MIRROR_LIMITS}." if any(stage.mirror for stage in rollout.stages) else ""
    note = rollout.reason + basis + ("" if limits.strip() in rollout.reason else limits)
    return Table(title, columns, rows, note=note, right=("traffic", *_SERVED))


def _decision(stage: Stage) -> Cell:
    """What was decided of a stage, and by whom if not by the judge."""
    tone: Tone = "good" if stage.next_step == "promote" else "bad" if stage.next_step == "rollback" else "warning"
    return Cell(f"{stage.next_step} by {stage.answer.who}" if stage.answer else stage.next_step, tone)


@view.register
def _scaled(scaled: Scaled) -> Table:
    nothing = Served(0, 0)
    rows = [
        ("before", str(scaled.instances_before), *_served(scaled.served_before or nothing)),
        ("after", str(scaled.instances_after), *_served(scaled.served_after or nothing)),
    ]
    columns = ("", "instances", *_SERVED)
    title = f"Scale of {scaled.deployment}: {scaled.outcome}"
    return Table(title, columns, rows, note=scaled.reason, right=columns[1:])


@view.register
def _deployed(deployed: Deployed) -> Table:
    return _answers(f"Deployment {deployed.deployment}: {deployed.outcome}", deployed.probes, deployed.reason)


@view.register
def _retired(retired: Retired) -> Table:
    saved = "unknown" if retired.saved_per_month is None else f"{retired.saved_per_month:,.2f} {retired.currency}"
    rows: list[tuple[str, str | Cell]] = [
        *(("done", one) for one in retired.deleted),
        *(("left", one) for one in retired.left),
        ("saves per month", saved),
    ]
    if retired.restore:
        rows.append(("to create it again", Cell(retired.restore, code=True)))
    title = f"Retirement of {retired.deployment}: {retired.outcome}"
    return Table(title, ("", "what"), rows, note=retired.reason)


@view.register
def _rolled_back(rolled_back: RolledBack) -> Table:
    return _answers(f"Rollback to {rolled_back.to}: {rolled_back.outcome}", rolled_back.probes, rolled_back.reason)


@view.register
def _validated(validated: Validated) -> Table:
    title = f"Validation of {validated.deployment}: {validated.outcome}"
    return _answers(title, [one.result for one in validated.cases], validated.reason)


def _answers(title: str, probes: Sequence[ProbeResult], reason: str) -> Table:
    """The requests that a run sent, like answers together."""
    alike: dict[tuple[str, str, str], list[float]] = {}
    for probe in probes:
        key = (str(probe.status or "none"), probe.deployment or "unknown", probe.problem)
        alike.setdefault(key, []).append(probe.latency_ms)
    rows = [
        (
            f"{len(latencies):,} of {len(probes):,}",
            status,
            deployment,
            milliseconds(median(latencies)),
            milliseconds(max(latencies)),
            Cell(problem, "bad") if problem else Cell("✓ as expected", "good"),
        )
        for (status, deployment, problem), latencies in alike.items()
    ]
    columns = ("requests", "status", "answered by", "median", "slowest", "answer")
    note = reason if rows else f"{reason}. This run sent no requests of its own."
    return Table(title, columns, rows, note=note, right=("requests", "status", "median", "slowest"))


@view.register
def _record(record: Record) -> Table:
    duration = "" if record.duration_s is None else f"{record.duration_s:.1f} s"
    outcome = record.outcome
    tone: Tone = "" if outcome is None else "good" if outcome.good else "bad"
    read = ("traffic before", record.traffic_before), ("traffic after", record.traffic_after)
    rows: list[tuple[str, str | Cell]] = [
        ("run", record.run_id),
        ("outcome", Cell(str(outcome or "not ended"), tone if outcome is not Outcome.HELD else "warning")),
        ("reason", record.reason),
        ("duration", duration),
        *((name, describe_traffic(traffic)) for name, traffic in read if traffic is not None),
        *((name, str(value)) for name, value in record.results.items()),
    ]
    return Table("Record", ("what", "value"), rows)


def _served(served: Served) -> tuple[str, ...]:
    latencies = (served.p50_ms, served.p95_ms, served.p99_ms)
    return (
        f"{served.requests:,}",
        k_of_n(served.failures, served.requests) if served.requests else "-",
        *(milliseconds(value) for value in latencies),
    )
