"""What scenarios measure: latency and errors by deployment, and what the runs' records and seals show."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.azure.endpoints import read_endpoint
from opslib.azure.request_log import RequestLog
from opslib.azure.source import find_source
from opslib.demo.scenarios.objective import Objective, all_of, at_most, not_measured
from opslib.demo.scenarios.scenario import Evidence, Size, StepResult
from opslib.evidence.run.files import JOURNAL
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Served, Traffic, asset_name
from opslib.show.table import Table

LATENCY = (" within +", "requests above stable's ")
"""Words in the names of claims about latency: `p95 within +50 % of stable`, or its form for a quantile in a gap."""


def served(evidence: Evidence) -> Mapping[str, Served]:
    """Count what each deployment served to clients, by the endpoint's request log."""
    log = find_source(evidence.workspace, read_endpoint(evidence.workspace, evidence.endpoint), "request log")
    return log.observe(evidence.since, datetime.now(UTC)).total


def error_rate(name: str, found: Served | None, limit_percent: float) -> Objective:
    """Compare a deployment's failures with a limit."""
    if found is None:
        return at_most(f"error rate of {name}", None, limit_percent, "%")
    basis = f"{found.failures:,} of {found.requests:,} requests"
    return at_most(f"error rate of {name}", 100 * found.failures / found.requests, limit_percent, "%", basis)


def p95(name: str, found: Served | None, limit_ms: float, size: Size) -> Objective:
    """Compare a deployment's 95th percentile of latency with a limit."""
    heading = f"p95 of {name}"
    if size is Size.SMALL:
        return not_measured(heading, f"at most {limit_ms:g} ms")
    basis = f"{found.requests:,} requests" if found else ""
    return at_most(heading, found.p95_ms if found else None, limit_ms, "ms", basis)


def lost_requests(evidence: Evidence) -> Objective:
    """Require that no client's request failed, whichever deployment it was for."""
    failed, basis = sum(one.failed for one in evidence.requests), f"of {len(evidence.requests):,}"
    return at_most("client requests that failed", float(failed), 0, "requests", basis)


def by_deployment(evidence: Evidence) -> Table:
    """Return latency and errors of each deployment: at the endpoint, and at the clients."""
    rows = []
    for name, found in sorted(served(evidence).items()):
        answered = sorted(r.latency_ms for r in evidence.requests if r.deployment == name and not r.failed)
        at_clients = answered[math.ceil(0.95 * len(answered)) - 1] if answered else None
        shown = (found.p50_ms, found.p95_ms, found.p99_ms, at_clients)
        latencies = ("-" if value is None else f"{value:.1f}" for value in shown)
        rows.append((name, f"{found.requests:,}", str(found.failures), *latencies))
    columns = ("deployment", "requests", "failures", "p50 ms", "p95 ms", "p99 ms", "p95 at clients ms")
    note = "By the request log. At the clients, latency counts from when a request was due to be sent."
    return Table("Latency and errors by deployment", columns, rows, note, right=columns[1:])


def traced_requests(evidence: Evidence) -> Objective:
    """Trace each client's request: to a deployment by the request log, to a model by the runs' records."""
    log = find_source(evidence.workspace, read_endpoint(evidence.workspace, evidence.endpoint), "request log")
    assert isinstance(log, RequestLog)
    exposures = log.answered_by((one.request_id for one in evidence.requests), evidence.since)
    models: dict[str, set[str]] = {}
    for one in evidence.runs.values():
        for state in (one.record.deployments_before, one.record.deployments_after):
            for name, deployed in (state or {}).items():
                models.setdefault(name, set()).add(str(deployed.get("model") or ""))
    known = {name for name, found in models.items() if len(found) == 1 and all(found)}
    traced = (
        one.request_id in exposures and exposures[one.request_id].deployment in known for one in evidence.requests
    )
    return all_of("traced to deployment and model version by its id", "client requests", traced)


def events(folder: Path, event: JournalEvent) -> list[Any]:
    """Return the values of one kind of event in a run's journal, in order."""
    return [line["data"] for line in read_journal(folder / JOURNAL) if line["event"] == event]


def stage_weights(folder: Path, canary: str) -> tuple[int, ...]:
    """Return the canary's share of live traffic at each stage that a run began, by its journal [percent]."""
    steps = events(folder, JournalEvent.APPLYING)
    return tuple(int(one["after"][canary]) for one in steps if canary in one.get("after", ()))


def promoted_stages(folder: Path) -> int:
    """Count the changes of traffic that the judge's promotion of the stage before led to [count]."""
    promoted, last = 0, ""
    for line in read_journal(folder / JOURNAL):
        if line["event"] == JournalEvent.LOOK:
            last = line["data"]["verdict"]["decision"]
        elif line["event"] == JournalEvent.APPLYING:
            promoted += last == "promote"
    return promoted


def proven_claims(run: StepResult, *words: str) -> Iterator[bool]:
    """Yield for each claim with one of these words, at each stage of a canary, whether it was proven."""
    last = {(gate["gate"], str(gate["stage"])): gate for gate in run.record.gates if "p" in gate}
    return (gate["result"] == "proven" for (name, _), gate in last.items() if any(one in name for one in words))


def model_versions(evidence: Evidence) -> Iterator[bool]:
    """Yield for each run that changes the endpoint whether its record names every model before and after."""
    for one in evidence.runs.values():
        states = (one.record.deployments_before, one.record.deployments_after)
        yield all(state and all(deployed.get("model") for deployed in state.values()) for state in states)


def versions_table(evidence: Evidence) -> Table:
    """Return which model version took which traffic before and after each run, by its record."""
    rows = []
    for one in evidence.runs.values():
        record = one.record
        before = _versions(record.traffic_before, record.deployments_before)
        after = _versions(record.traffic_after, record.deployments_after)
        rows.append((record.run_id, str(record.outcome), before, after))
    return Table("Model versions by run", ("run", "outcome", "traffic before", "traffic after"), rows)


def _versions(traffic: Traffic | None, deployed: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Return the traffic with each deployment's model, such as ``claims-fraud:2 (green) 100 %``."""
    shown = {name: weight for name, weight in (traffic or {}).items() if weight}
    models = {name: asset_name(str((deployed or {}).get(name, {}).get("model") or "")) for name in shown}
    return ", ".join(f"{models[name]} ({name}) {weight} %" for name, weight in shown.items())


def sealed_runs(evidence: Evidence) -> Objective:
    """Verify the archive: every run is sealed, and nothing was changed since."""
    found = verify(evidence.archive)
    measured = f"{found.sealed} of {found.runs} runs sealed; {found.state}"
    met = found.state is VerifyState.SOUND and found.sealed == found.runs >= len(evidence.runs)
    return Objective("seals of the archive", "every run sealed and sound", measured, met)
