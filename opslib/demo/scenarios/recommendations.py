"""UrbanCart: a recommendation model is sized by load tests, judged by purchases too, and the old one retired."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opslib.demo.scenarios.measures import (
    LATENCY,
    by_deployment,
    error_rate,
    events,
    lost_requests,
    p95,
    proven_claims,
    sealed_runs,
    served,
)
from opslib.demo.scenarios.objective import Objective, all_of, at_most, not_measured
from opslib.demo.scenarios.quick import QUICK
from opslib.demo.scenarios.scenario import Evidence, RunStep, Scenario, Size, Step, WaitStep
from opslib.demo.scenarios.shoppers import OUTCOMES, purchases, write_repository
from opslib.demo.scenarios.titles import TITLES
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Outcome
from opslib.show.table import Table

ENDPOINT = "recommend"
P95_MS = 120.0
LARGE, SMALLER = "Standard_F8s_v2", "Standard_F2s_v2"
QUIET_MIN = 14.5
"""Time after the release, whose last minute was without blue, for 15 minutes without a request to it [minutes]."""

LATER = ("amber", "violet")
"""Two later releases, for which the policy keeps an old deployment."""


def steps(folder: Path, size: Size) -> tuple[Step, ...]:
    """Return the commands: size by two load tests, release, try to retire, release twice more, retire."""
    small = size is Size.SMALL
    load = {"load_test_rps": 20 if small else 36, "load_test_s": 3 if small else 24, "min_requests": 20}
    test = {
        "deployment": "blue",
        "load_test": True,
        "probes": str(folder / "load.jsonl"),
        "min_instances": 1,
        **load,
    }
    types = {"instance_types": [LARGE, SMALLER], "look_back_h": 1.0}
    release: dict[str, Any] = {"outcomes": str(folder / OUTCOMES)}
    if small:
        release |= {**QUICK, "bad_outcomes": ["no_purchase"], "outcomes_mode": "observe", "outcome_window_s": 1}
        test |= {"max_p95_ms": 60_000, "max_use": 0.95}
    large = (
        _deploy(folder, "large"),
        RunStep("test large", "size", {**test, **types, "load_test_deployment": "large"}),
    )
    first = (
        _deploy(folder, "green"),
        RunStep("test smaller", "size", {**test, **types, "load_test_deployment": "green"}),
        RunStep("release green", "canary", {"canary": "green", **release}),
        RunStep("retire too early", "retire", {"deployment": "blue"}, Outcome.REFUSED, needed=False),
    )
    if small:
        return first
    later = [
        step
        for n in LATER
        for step in (_deploy(folder, n), RunStep(f"release {n}", "canary", {"canary": n, **release}))
    ]
    wait = WaitStep("quiet", "release green", QUIET_MIN, "a retirement counts the requests of the last 15 minutes")
    return (*large, *first, *later, wait, RunStep("retire", "retire", {"deployment": "blue"}))


def _deploy(folder: Path, name: str) -> RunStep:
    return RunStep(f"deploy {name}", "deploy", {"definition": str(folder / f"{name}.yml")})


def objectives(evidence: Evidence) -> Iterator[Objective]:
    """Compare what was measured with the limits of UrbanCart's story."""
    small, found = evidence.size is Size.SMALL, served(evidence)
    yield from _size(evidence)
    releases = [name for name in ("green", *LATER) if f"release {name}" in evidence.runs]
    for name in ("blue", *releases):
        yield error_rate(name, found.get(name), 1)
        yield p95(name, found.get(name), P95_MS, evidence.size)
    slowdown, purchase = (
        "slowdown above 50 % excluded at p50 and p90",
        "fewer purchases excluded (odds of none +25 %)",
    )
    if small:
        yield not_measured(slowdown, "all proofs")
        yield not_measured(purchase, "all proofs")
    else:
        canaries = [evidence.runs[f"release {name}"] for name in releases]
        yield all_of(slowdown, "proofs", (one for run in canaries for one in proven_claims(run, *LATENCY)))
        yield all_of(purchase, "proofs", (one for run in canaries for one in proven_claims(run, "no_purchase")))
    yield lost_requests(evidence)
    yield from _retirement(evidence)
    yield sealed_runs(evidence)


def _size(evidence: Evidence) -> Iterator[Objective]:
    """Compare the load tests with the target, and the cost of both sizes."""
    for name, instance_type in (("test large", LARGE), ("test smaller", SMALLER)):
        heading = f"p95 of the load test on {instance_type}"
        if evidence.size is Size.SMALL:
            yield not_measured(heading, f"at most {P95_MS:g} ms")
        else:
            tests = [
                one for one in _sized(evidence, name).get("tests", ()) if one["instance_type"] == instance_type
            ]
            last = tests[-1] if tests else {}
            rate, failures = last.get("wanted_per_s", 0), last.get("failures")
            basis = f"{last.get('sent', 0):,} requests at {rate:g} per second, {failures} failed"
            yield at_most(heading, last.get("p95_ms"), P95_MS, "ms", basis)
    chosen = evidence.runs["test smaller"].record.results
    yield Objective(
        "size that the evidence supports",
        f"{SMALLER}, smaller than {LARGE}",
        f"{chosen.get('instances')} x {chosen.get('instance_type')}",
        chosen.get("instance_type") == SMALLER,
    )
    now, then = chosen.get("cost_per_month_now"), chosen.get("cost_per_month")
    yield at_most(f"its cost, compared with {LARGE}", then, now or 0.0, f"{chosen.get('currency')} per month")
    serving = evidence.runs["release green"].record.deployments_after or {}
    kind = str(serving.get("green", {}).get("instance_type"))
    yield Objective("what serves after the release", SMALLER, kind, kind == SMALLER)


def _sized(evidence: Evidence, name: str) -> Mapping[str, Any]:
    found = events(evidence.runs[name].folder, JournalEvent.SIZED) if name in evidence.runs else []
    return found[-1] if found else {}


def _retirement(evidence: Evidence) -> Iterator[Objective]:
    """Compare the two attempts to retire blue with the policy's retention."""
    early = evidence.runs["retire too early"].record
    kept = early.outcome is Outcome.REFUSED and "retention: releases" in early.reason
    yield Objective("retirement before two later releases", "refused by the retention", _outcome(early), kept)
    heading, limit = "retirement after two later releases", "succeeded, blue deleted"
    if evidence.size is Size.SMALL:
        yield not_measured(heading, limit)
        return
    late = evidence.runs["retire"].record if "retire" in evidence.runs else None
    gone = late is not None and late.outcome is Outcome.SUCCEEDED and "blue" not in (late.deployments_after or {})
    yield Objective(heading, limit, _outcome(late) + (", blue deleted" if gone else ""), gone)


def _outcome(record: Any) -> str:
    if record is None:
        return "not run"
    return f"{record.outcome}, exit code {record.exit_code}"


def tables(evidence: Evidence) -> Iterable[Table]:
    """Return latency and errors, purchases, and the cost of both sizes."""
    return (by_deployment(evidence), _purchases(evidence), _costs(evidence))


def _purchases(evidence: Evidence) -> Table:
    """Count purchases by deployment: the outcomes file joined with the clients' report by the request's id."""
    answered = {one.request_id: one.deployment for one in evidence.requests}
    counts: dict[str, list[int]] = {}
    for line in (evidence.folder / OUTCOMES).read_text().splitlines():
        outcome = json.loads(line)
        row = counts.setdefault(str(answered.get(outcome["request_id"])), [0, 0])
        row[0] += 1
        row[1] += not outcome["bad"]
    rows = [
        (name, f"{n:,}", f"{bought:,}", f"{100 * bought / n:.1f}") for name, (n, bought) in sorted(counts.items())
    ]
    columns = ("deployment", "requests", "purchases", "purchases per 100 requests")
    return Table("Purchases by deployment", columns, rows, right=columns[1:])


def _costs(evidence: Evidence) -> Table:
    """Return what the load tests showed of each instance type, and what it costs."""
    sized = _sized(evidence, "test smaller")
    rows = [
        (
            f"{one['instances']} x {one['instance_type']}",
            "-" if one["p95_ms"] is None else f"{one['p95_ms']:.0f}",
            f"{100 * one['headroom']:.0f}",
            f"{float(one['per_month']):,.2f}" if one["per_month"] else "-",
            "; ".join(one["problems"]) or ("measured" if one["measured"] else "not measured"),
        )
        for one in sized.get("candidates", ())
    ]
    columns = ("size", "p95 ms at the peak", "headroom %", f"{sized.get('currency', '')} per month", "evidence")
    note = (
        "The sandbox runs every instance type on this machine: it shows cost and room, not the speed of the type."
    )
    return Table("Instance types at the measured peak", columns, rows, note, right=columns[1:4])


RECOMMENDATIONS = Scenario(
    name="urbancart",
    title=TITLES["urbancart"],
    endpoint=ENDPOINT,
    rps={Size.FULL: 30, Size.SMALL: 10},
    write=write_repository,
    steps=steps,
    objectives=objectives,
    tables=tables,
    beside=purchases,
)
