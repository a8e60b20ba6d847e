"""What a person sees of each value that flows through a runbook. Importing this module registers the views."""

import re

from opslib.cost.text import describe_change, describe_prices
from opslib.displayed import view
from opslib.evidence.run.record import Record
from opslib.model import (
    Deployment,
    Endpoint,
    Findings,
    Level,
    Observation,
    Outcome,
    Plan,
    Scope,
    Served,
)
from opslib.model.text import k_of_n
from opslib.model.traffic import describe_traffic
from opslib.runbooks.run import Run
from opslib.runbooks.steps.step_text import az_command, describe_step
from opslib.show.numbers import milliseconds
from opslib.show.table import Cell, Table, Tone

_MARKS: dict[Level, Cell] = {
    Level.OK: Cell("✓ ok", "good"),
    Level.WARNING: Cell("! warning", "warning"),
    Level.BLOCKER: Cell("✗ blocker", "bad"),
}

_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")

SERVED = ("requests", "failures", "p50", "p95", "p99")


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
    block = "blocks" if blockers == 1 else "block"
    note = f"{blockers} of {len(findings)} checks {block} the run." if blockers else ""
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
def _observation(observation: Observation) -> Table:
    rows = [(name, *served_cells(served)) for name, served in observation.total.items()]
    title = f"Served from {observation.since:%F %T} to {observation.until:%T} UTC"
    columns = ("deployment", *SERVED)
    return Table(title, columns, rows, note=f"Source: {observation.source}.", right=SERVED)


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


def served_cells(served: Served) -> tuple[str, ...]:
    """Return counts and latencies, in the order of `SERVED`."""
    latencies = (served.p50_ms, served.p95_ms, served.p99_ms)
    return (
        f"{served.requests:,}",
        k_of_n(served.failures, served.requests) if served.requests else "-",
        *(milliseconds(value) for value in latencies),
    )
