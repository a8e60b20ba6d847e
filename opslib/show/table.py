"""Tables for people: every value that a notebook displays, as HTML in JupyterLab and as text anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from html import escape
from typing import Any

from opslib.evidence.run.record import Record
from opslib.judge import Plan as BakePlan
from opslib.model import Endpoint, Finding, Level, Plan, ProbeResult, Served
from opslib.model.traffic import describe_traffic
from opslib.runbooks.canary.rollout import Rollout, Stage
from opslib.runbooks.deploy import Deployed
from opslib.runbooks.rollback import RolledBack
from opslib.runbooks.run import Run
from opslib.runbooks.scale import Scaled
from opslib.runbooks.steps.plan import az_command, describe_step

_MARKS = {Level.OK: "✓ ok", Level.WARNING: "! warning", Level.BLOCKER: "✗ blocker"}


@dataclass(frozen=True)
class Table:
    """A titled table; rows hold text. A `note` below it says what the numbers leave open."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def _repr_html_(self) -> str:
        cell = 'style="text-align:left;vertical-align:top;white-space:pre-wrap"'
        head = "".join(f'<th scope="col" {cell}>{escape(column)}</th>' for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td {cell}>{escape(value)}</td>" for value in row) + "</tr>" for row in self.rows
        )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        caption = f'<caption style="text-align:left"><b>{escape(self.title)}</b></caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = ["  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) for row in self._text_rows()]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *([self.note] if self.note else [])])

    def _text_rows(self) -> list[Sequence[str]]:
        return [self.columns, *self.rows]


@singledispatch
def table(value: object) -> Table:
    """Tabulate a value of the flow.

    Raises
    ------
    TypeError
        If there is no table for such a value.
    """
    raise TypeError(f"there is no table for a {type(value).__name__}")


@table.register
def _run(run: Run) -> Table:  # type: ignore[type-arg]
    scope = run.workspace.scope
    parameters = run.parameters.model_dump()
    rows = [
        ("runbook", run.parameters.runbook),
        ("endpoint", run.parameters.endpoint),
        ("workspace", f"{scope.workspace_name} in {scope.resource_group}, subscription {scope.subscription_id}"),
        ("Azure Resource Manager", scope.resource_manager),
        ("who", scope.principal),
        ("parameters", "\n".join(f"{k} = {v!r}" for k, v in parameters.items() if k not in {"endpoint", "target"})),
        ("evidence", run.folder.name),
    ]
    return Table("Scope", ("what", "value"), rows)


@table.register
def _endpoint(endpoint: Endpoint) -> Table:
    rows = [
        (
            d.name,
            f"{endpoint.traffic.get(d.name, 0)} %"
            + (f" + mirror {endpoint.mirror_traffic[d.name]} %" if d.name in endpoint.mirror_traffic else ""),
            d.provisioning_state,
            f"{d.instance_count} x {d.instance_type}",
            d.model,
            d.environment,
        )
        for d in endpoint.deployments
    ]
    return Table(
        f"Endpoint {endpoint.name}: {endpoint.provisioning_state}",
        ("deployment", "traffic", "state", "instances", "model", "environment"),
        rows,
        note="" if rows else "It has no deployments.",
    )


@table.register(tuple)
def _findings_or_probes(values: tuple[Any, ...]) -> Table:
    if values and isinstance(values[0], ProbeResult):
        return _probes(values)
    if not values:
        return Table("Requests sent by this run", ("requests",), [("none",)])
    rows = [(f.check, _MARKS[f.level], f.evidence, f.fix) for f in values if isinstance(f, Finding)]
    return Table("Preflight", ("check", "finding", "evidence", "how to mend it"), rows)


def _probes(probes: Sequence[ProbeResult]) -> Table:
    rows = [
        (str(p.status or "-"), f"{p.latency_ms:.0f} ms", p.deployment or "not said", p.problem or "as expected")
        for p in probes
    ]
    return Table("Requests sent by this run", ("status", "latency", "answered by", "answer"), rows)


def plan_table(run: Run[Any], plan: Plan) -> Table:
    """Tabulate a plan: the difference, the steps, the undo, and the command for each."""
    scope = run.workspace.scope
    changes = [("change", f"{c.what}: {c.before} -> {c.after}", "") for c in plan.changes]
    steps = [(f"step {n}", describe_step(s), az_command(s, scope)) for n, s in enumerate(plan.steps, start=1)]
    undo = [("undo", describe_step(s), az_command(s, scope)) for s in plan.undo]
    return Table("Plan", ("", "what", "the same by hand"), [*changes, *steps, *undo])


@table.register
def _rollout(rollout: Rollout) -> Table:
    rows = []
    for stage in rollout.stages:
        total = stage.observation.total
        for name in (rollout.stable, rollout.canary):
            served = total.get(name, Served(0, 0))
            decision = _decision(stage) if name == rollout.canary else ""
            rows.append((f"{stage.traffic.get(name, 0)} %", name, *_served(served), decision))
    columns = ("traffic", "deployment", "requests", "failures", "p50", "p95", "p99", "verdict")
    basis = f" {rollout.stages[-1].verdict.basis}." if rollout.stages else ""
    return Table(f"Canary {rollout.canary}: {rollout.outcome}", columns, rows, note=f"{rollout.reason}{basis}")


def _decision(stage: Stage) -> str:
    """What was decided of a stage, and by whom if not by the judge."""
    return f"{stage.turn} by {stage.answer.who}" if stage.answer else stage.turn


@table.register
def _proofs(outlook: BakePlan) -> Table:
    """What the first stage can show, and in how many minutes."""
    rows = [
        (row.metric, row.change, _minutes(row.detect_minutes), _minutes(row.prove_minutes))
        for row in outlook.forecasts
    ]
    columns = ("metric", "change", "minutes to roll back such a change", "minutes to prove its absence")
    return Table("What the first stage can show", columns, rows, note=outlook.advice)


@table.register(type(None))
def _nothing(value: None) -> Table:
    """Nothing is known."""
    del value
    return Table("Nothing to show", ("known",), [("nothing was served in the last minutes",)])


def _minutes(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if value < 1440 else "over a day"


@table.register
def _scaled(scaled: Scaled) -> Table:
    nothing = Served(0, 0)
    rows = [
        ("before", str(scaled.instances_before), *_served(scaled.served_before or nothing)),
        ("after", str(scaled.instances_after), *_served(scaled.served_after or nothing)),
    ]
    columns = ("", "instances", "requests", "failures", "p50", "p95", "p99")
    return Table(f"Scale of {scaled.deployment}: {scaled.outcome}", columns, rows, note=scaled.reason)


@table.register
def _deployed(deployed: Deployed) -> Table:
    return Table(
        f"Deployment {deployed.deployment}: {deployed.outcome}",
        ("requests", "as expected"),
        [(str(len(deployed.probes)), str(sum(p.ok for p in deployed.probes)))],
        note=deployed.reason,
    )


@table.register
def _rolled_back(rolled_back: RolledBack) -> Table:
    recovery = "-" if rolled_back.recovery_s is None else f"{rolled_back.recovery_s:.1f} s"
    return Table(
        f"Rollback to {rolled_back.to}: {rolled_back.outcome}",
        ("start to first verified answer", "requests verified"),
        [(recovery, str(rolled_back.verified_requests))],
        note=rolled_back.reason,
    )


@table.register
def _record(record: Record) -> Table:
    duration = "" if record.duration_s is None else f"{record.duration_s:.1f} s"
    rows = [
        ("run", record.run_id),
        ("outcome", str(record.outcome)),
        ("reason", record.reason),
        ("duration", duration),
        (
            "traffic",
            f"{describe_traffic(record.traffic_before)} -> {describe_traffic(record.traffic_after)}",
        ),
        *((name, str(value)) for name, value in record.results.items()),
    ]
    return Table("Record", ("what", "value"), rows)


def _served(served: Served) -> tuple[str, ...]:
    rate = "" if served.failure_rate is None else f" ({served.failure_rate:.2%})"
    latencies = (served.p50_ms, served.p95_ms, served.p99_ms)
    return (
        str(served.requests),
        f"{served.failures}{rate}",
        *("-" if value is None else f"{value:.0f} ms" for value in latencies),
    )
