"""The state of an endpoint as tables, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from typing import Any

from opslib.displayed import view
from opslib.evidence.archive.run_row import RunRow
from opslib.model import Deployment, Served
from opslib.model.text import k_of_n, percent
from opslib.runbooks.lease.tags import describe
from opslib.runbooks.status import EndpointStatus
from opslib.show.numbers import milliseconds
from opslib.show.table import Cell, Table, Tables, Tone


@view.register
def _status(status: EndpointStatus) -> Tables:
    return Tables((_deployments(status), _facts(status), runs_table(status.runs)))


def status_json(status: EndpointStatus) -> str:
    """Return the state as one line of JSON."""
    endpoint, budget = status.endpoint, status.budget
    content = {
        "at": status.at.isoformat(timespec="seconds"),
        "endpoint": endpoint.name,
        "state": endpoint.provisioning_state,
        "traffic": dict(endpoint.traffic),
        "mirror_traffic": dict(endpoint.mirror_traffic),
        "deployments": [_deployment_json(status, one) for one in endpoint.deployments],
        "window_h": status.window.total_seconds() / 3600,
        "source": status.served.source if status.served else None,
        "error_budget": None
        if budget is None
        else {**asdict(budget), "allowed": budget.allowed, "left": budget.left},
        "alerts": [asdict(alert) for alert in status.alerts],
        "lease": None
        if status.lease is None
        else {"change": status.lease.change, "deadline": status.lease.deadline.astimezone(UTC).isoformat()},
        "runs": [
            {"run": one.run, "runbook": one.runbook, "outcome": one.outcome, "started_at": one.started_at}
            for one in status.runs
        ],
        "concerns": list(status.concerns),
        "unread": [asdict(one) for one in status.unread],
    }
    return json.dumps(content, ensure_ascii=False)


def _deployment_json(status: EndpointStatus, one: Deployment) -> dict[str, Any]:
    served = _served(status, one)
    return {
        "name": one.name,
        "state": one.provisioning_state,
        "instance_type": one.instance_type,
        "instances": one.instance_count,
        "model": one.model,
        "requests": served.requests if served else None,
        "failures": served.failures if served else None,
        "p95_ms": served.p95_ms if served else None,
    }


def _deployments(status: EndpointStatus) -> Table:
    endpoint = status.endpoint
    rows = [
        (
            one.name,
            _weight(status, one),
            Cell(one.provisioning_state, _tone(one.provisioning_state)),
            f"{one.instance_count} x {one.instance_type}",
            one.model,
            *_numbers(status, one),
        )
        for one in endpoint.deployments
    ]
    columns = ("deployment", "traffic", "state", "instances", "model", "requests", "failures", "p95")
    title = f"Endpoint {endpoint.name}: {endpoint.provisioning_state}, {status.at:%F %T} UTC"
    return Table(title, columns, rows, right=("traffic", "requests", "failures", "p95"))


def _facts(status: EndpointStatus) -> Table:
    alerts = "\n".join(
        f"{one.rule} on {one.target}, severity {one.severity}, since {one.since}" for one in status.alerts
    )
    rows: list[tuple[str, str | Cell]] = [
        ("error budget", _budget(status)),
        ("alerts", Cell(alerts, "bad") if alerts else Cell("none fires", "good")),
        ("lease", describe(status.lease) if status.lease else "none"),
        ("to look at", Cell("\n".join(status.concerns), "bad") if status.concerns else Cell("nothing", "good")),
        *(("could not be read", f"{one.part}: {one.reason}") for one in status.unread),
    ]
    if any(one.part == "alerts" for one in status.unread):
        rows[1] = ("alerts", Cell("unknown", "warning"))
    return Table(f"Last {status.window.total_seconds() / 3600:g} h", ("what", "value"), rows)


def runs_table(runs: Sequence[RunRow], empty: str = "The archive has no runs on it.") -> Table:
    """Return runs with their outcomes, in the given order; `empty` is the note where there are none."""
    rows = [
        (
            one.started_at[:19].replace("T", " "),
            one.runbook,
            Cell(one.outcome or "not ended", _outcome(one.outcome)),
            one.run,
        )
        for one in runs
    ]
    note = "" if rows else empty
    return Table("Last runs", ("started", "runbook", "outcome", "run"), rows, note=note)


def _budget(status: EndpointStatus) -> str | Cell:
    budget = status.budget
    if budget is None:
        return "unknown: no max_failure_rate; name a policy with --policy FILE" if status.served else "unknown"
    if budget.left is None:
        return f"whole: no requests; objective {percent(budget.max_failure_rate)} failed"
    tone: Tone = "good" if budget.left > 0.25 else "warning" if budget.left > 0 else "bad"
    counted = f"{k_of_n(budget.failures, budget.requests)} failed, {budget.allowed:,.1f} allowed"
    return Cell(f"{percent(budget.left)} left: {counted} ({percent(budget.max_failure_rate)})", tone)


def _numbers(status: EndpointStatus, one: Deployment) -> tuple[str | Cell, ...]:
    served = _served(status, one)
    if served is None:
        return ("-", "-", "-")
    slow = status.max_p95_ms is not None and (served.p95_ms or 0.0) > status.max_p95_ms
    failures = k_of_n(served.failures, served.requests) if served.requests else "-"
    return f"{served.requests:,}", failures, Cell(milliseconds(served.p95_ms), "bad" if slow else "")


def _served(status: EndpointStatus, one: Deployment) -> Served | None:
    """What a deployment served; nothing where the source has no row of it."""
    return None if status.served is None else (status.served.of(one.name) or Served(0, 0))


def _weight(status: EndpointStatus, one: Deployment) -> str:
    mirrored = status.endpoint.mirror_traffic.get(one.name)
    weight = f"{status.endpoint.traffic.get(one.name, 0)} %"
    return f"{weight} + mirror {mirrored} %" if mirrored else weight


def _tone(state: str) -> Tone:
    return "good" if state == "Succeeded" else "bad" if state in {"Failed", "Canceled"} else "warning"


def _outcome(outcome: str) -> Tone:
    return (
        "good"
        if outcome in {"succeeded", "planned"}
        else "warning"
        if outcome in {"", "held", "refused"}
        else "bad"
    )
