"""Carry out a scenario on the running sandbox: production, clients, the commands of the release, objectives."""

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from opslib.azure.connect import connect
from opslib.demo.practice import build_production, client_traffic
from opslib.demo.scenarios.measures import by_deployment
from opslib.demo.scenarios.people import approve, people_of
from opslib.demo.scenarios.scenario import (
    ApproveStep,
    ClientRequest,
    Evidence,
    RunStep,
    Scenario,
    ScenarioResult,
    Size,
    StepResult,
    WaitStep,
)
from opslib.evidence.run.record import ChangeRequest, Record
from opslib.evidence.signing.approval_files import read_approvals
from opslib.runner.execute import execute
from opslib.show.terminal import show_progress

TIMEOUT_S = 1200.0
"""Longest time of one run [seconds]."""

_ANSWERS = 20
"""How many requests production has answered before the first command: a sizing looks back at no fewer."""

Show = Callable[[str], None]


def carry_out(
    scenario: Scenario, folder: Path, archive: Path, size: Size, show: Show = lambda _: None
) -> ScenarioResult:
    """Write the endpoint's folder, build its production, and release under client traffic.

    Parameters
    ----------
    folder
        A new folder for the endpoint. The clients' report is written beside it.
    archive
        Folder of the runs, which should hold no other runs of this endpoint.
    show
        Called with what is about to happen.
    """
    started_s, report = monotonic(), folder.with_name(f"{folder.name}-clients.jsonl")
    show(f"Writing {folder.name}: definitions, policy, models and requests")
    scenario.write(folder)
    show(f"Creating its production with azure-ai-ml: endpoint {scenario.endpoint}, deployment blue")
    workspace = connect("sandbox")
    scenario.prepare(workspace)
    build_production(folder, scenario.endpoint)
    begun_at = datetime.now(UTC)
    with (
        people_of(folder),
        scenario.beside(folder, report),
        client_traffic(folder, report, scenario.endpoint, scenario.rps[size], _ANSWERS),
    ):
        runs = {one.step.name: one for one in _take_steps(scenario, folder, archive, size, show)}
    commands = sum(getattr(one, "needed", isinstance(one, ApproveStep)) for one in scenario.steps(folder, size))
    evidence = Evidence(
        size, scenario.endpoint, begun_at, folder, archive, workspace, runs, read_requests(report), commands
    )
    complete = all(one.record.outcome is one.step.expected for one in runs.values())
    return ScenarioResult(
        scenario,
        size,
        tuple(runs.values()),
        tuple(scenario.objectives(evidence)) if complete else (),
        tuple(scenario.tables(evidence)) if complete else (by_deployment(evidence),),
        monotonic() - started_s,
    )


def _take_steps(scenario: Scenario, folder: Path, archive: Path, size: Size, show: Show) -> Iterator[StepResult]:
    """Carry out the steps in order, until a run ends otherwise than it should."""
    done: dict[str, StepResult] = {}
    for step in scenario.steps(folder, size):
        if isinstance(step, WaitStep):
            _wait(step, done[step.after].record, show)
            continue
        if isinstance(step, ApproveStep):
            show(f"opslib approve {done[step.of].record.run_id} --who {step.who}")
            approve(done[step.of].folder, step.who, folder)
            continue
        show(command(step, scenario.endpoint))
        done[step.name] = result = run_step(step, scenario.endpoint, folder, archive)
        show(f"  {result.record.outcome}: {result.record.reason}")
        yield result
        if result.record.outcome is not step.expected:
            return


def _wait(step: WaitStep, record: Record, show: Show) -> None:
    ends = (record.finished_at or record.started_at) + timedelta(minutes=step.minutes)
    left_s = max(0.0, (ends - datetime.now(UTC)).total_seconds())
    show(f"Waiting for {left_s / 60:.1f} minutes: {step.why}")
    sleep(left_s)


def run_step(step: RunStep, endpoint: str, folder: Path, archive: Path) -> StepResult:
    """Execute one run, with the approvals that are in the endpoint's folder."""
    given = {"endpoint": endpoint, "policy": str(folder / "policy.yml"), **step.given}
    found = read_approvals([folder / "approvals"] if (folder / "approvals").is_dir() else [])
    request = ChangeRequest(signed=found.signed, offered=found.offered, revocations=found.revocations)
    with show_progress() as on_event:
        return StepResult(step, *execute(step.runbook, given, archive, TIMEOUT_S, on_event, request))


def command(step: RunStep, endpoint: str) -> str:
    """Return what a person types for a run."""
    given = " ".join(f"-p {shlex.quote(f'{name}={_typed(value)}')}" for name, value in step.given.items())
    return f"opslib run {step.runbook} -p endpoint={endpoint} {given}".rstrip()


def _typed(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float) else json.dumps(value)
    return os.path.relpath(text) if text.startswith("/") else text


def read_requests(report: Path) -> tuple[ClientRequest, ...]:
    """Read the clients' report."""
    rows: Iterator[Mapping[str, Any]] = (json.loads(line) for line in report.read_text().splitlines())
    return tuple(
        ClientRequest(r["client_request_id"], r["at"], r["status"], r["deployment"], r["latency_ms"]) for r in rows
    )
