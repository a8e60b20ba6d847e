"""The demo: six runs on HarborShield's production under client traffic; the last one must roll back."""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from opslib.demo.claims import write_repository
from opslib.demo.machine import busy_note, stops_as_interrupt
from opslib.demo.practice import RATE, build_production, client_traffic, demo_sandbox
from opslib.evidence.run.files import NOTEBOOK
from opslib.evidence.run.record import Record
from opslib.model import Outcome
from opslib.runner.execute import execute
from opslib.show.table import Table
from opslib.show.terminal import show_progress

TIMEOUT_S = 600.0
"""Longest time of one run [seconds]."""


@dataclass(frozen=True)
class DemoStep:
    """A run of the demo, and how it must end."""

    runbook: str
    parameters: Mapping[str, Any]
    expected: Outcome = Outcome.SUCCEEDED


@dataclass(frozen=True)
class StepResult:
    """How a run of the demo ended, and its folder."""

    step: DemoStep
    folder: Path
    record: Record


def run_demo(archive: Path) -> int:
    """Run the release; return 0 if every run ended as expected and no operation failed a client request."""
    started_s = monotonic()
    with stops_as_interrupt(), tempfile.TemporaryDirectory(prefix="opslib-demo-") as scratch:
        repository, report = Path(scratch) / "harborshield", Path(scratch) / "clients.jsonl"
        print("Training HarborShield's models and starting a sandbox", flush=True)
        write_repository(repository)
        with demo_sandbox(Path(scratch) / "sandbox"):
            print("Creating its production with azure-ai-ml: endpoint fraud, deployment blue (v1)", flush=True)
            build_production(repository, "fraud")
            with client_traffic(repository, report, "fraud", RATE):
                results = list(_run_steps(repository, archive))
        requests = [json.loads(line) for line in report.read_text().splitlines()]
    problems = [*_unexpected_outcomes(results), *_lost_requests(requests)]
    print(f"\n{_summary(results, requests).text}\n\nDone in {monotonic() - started_s:.0f} s. The notebooks:")
    for result in results:
        print(f"  {os.path.relpath(result.folder / NOTEBOOK)}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    if problems:
        print(busy_note(), end="", file=sys.stderr)
    return 1 if problems else 0


def _run_steps(repository: Path, archive: Path) -> Iterator[StepResult]:
    """Run the steps in order, until a run is stopped from outside."""
    for step in _steps(repository):
        yield (result := _run_step(step, repository / "policy.yml", archive))
        if result.record.outcome is Outcome.ABORTED:
            return


def _steps(repository: Path) -> tuple[DemoStep, ...]:
    def path(name: str) -> str:
        return str(repository / name)

    return (
        DemoStep("deploy", {"definition": path("green.yml"), "probes": path("probes-v2.jsonl")}),
        DemoStep("canary", {"canary": "green", "probes": path("probes-v2.jsonl")}),
        DemoStep("scale", {"deployment": "green", "instances": 2, "observe_s": 15, "max_p95_ratio": 4}),
        DemoStep("rollback", {"probes": path("probes-v1.jsonl")}),
        DemoStep("deploy", {"definition": path("amber.yml"), "probes": path("probes-v3.jsonl")}),
        DemoStep("canary", {"canary": "amber", "probes": path("probes-v3.jsonl")}, Outcome.ROLLED_BACK),
    )


def _run_step(step: DemoStep, policy: Path, archive: Path) -> StepResult:
    deployment = step.parameters.get("canary") or step.parameters.get("deployment") or ""
    print(f"\nopslib run {step.runbook} -p endpoint=fraud {deployment and f'... ({deployment})'}", flush=True)
    parameters = {"endpoint": "fraud", "policy": str(policy), **step.parameters}
    with show_progress() as on_event:
        folder, record = execute(step.runbook, parameters, archive, TIMEOUT_S, on_event)
    print(f"  {record.outcome}: {record.reason}", flush=True)
    return StepResult(step, folder, record)


def _unexpected_outcomes(results: Sequence[StepResult]) -> Iterator[str]:
    for result in results:
        record, expected = result.record, result.step.expected
        if record.outcome is not expected:
            yield f"{record.runbook}: expected {expected}, ended as {record.outcome}: {record.reason}"


def _lost_requests(requests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a problem if requests failed for another reason than the broken version's own error (424)."""
    lost = [r for r in requests if r["status"] != 200 and not (r["status"] == 424 and r["deployment"] == "amber")]
    if lost:
        counts = ", ".join(
            f"{count} with {status}" for status, count in Counter(r["status"] for r in lost).most_common()
        )
        yield (
            f"{len(lost)} of {len(requests)} client requests failed, not counting amber's own error: {counts}. "
            f"429 and 504 mean that this machine is too busy for {RATE} requests per second. First: {lost[0]}"
        )
    if not requests:
        yield "no client request was sent"


def _summary(results: Sequence[StepResult], requests: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for result in results:
        record = result.record
        served = [
            r
            for r in requests
            if record.finished_at and record.started_at <= datetime.fromisoformat(r["at"]) <= record.finished_at
        ]
        failed = sum(r["status"] != 200 for r in served)
        moved = record.results.get("canary") or record.results.get("deployment") or record.results.get("to") or ""
        name = f"{record.runbook} {moved}".strip()
        rows.append((name, str(record.outcome), f"{record.duration_s or 0:.1f} s", str(len(served)), str(failed)))
    columns = ("run", "outcome", "duration", "requests served", "requests failed")
    return Table("A release of HarborShield's fraud model", columns, rows, right=columns[2:])
