"""The scenarios by name, and how one runs on a sandbox of its own."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from opslib.demo.machine import busy_note, stops_as_interrupt
from opslib.demo.practice import demo_sandbox
from opslib.demo.scenarios.carry_out import carry_out
from opslib.demo.scenarios.fraud import FRAUD
from opslib.demo.scenarios.objective import objectives_table
from opslib.demo.scenarios.recommendations import RECOMMENDATIONS
from opslib.demo.scenarios.scenario import Scenario, ScenarioResult, Size
from opslib.demo.scenarios.triage import TRIAGE

SCENARIOS: Mapping[str, Scenario] = {one.name: one for one in (FRAUD, RECOMMENDATIONS, TRIAGE)}


def run_scenarios(names: Iterable[str], folder: Path, size: Size, *, as_json: bool = False) -> int:
    """Run scenarios one after the other, each on its own sandbox; return 0 if every objective is met.

    Each leaves an archive of its own in the folder: a rollback and a retirement read the records of earlier runs.
    With `as_json` stdout holds nothing but the results; what a person reads goes to stderr.
    """
    with stops_as_interrupt(), redirect_stdout(sys.stderr) if as_json else nullcontext():
        results = [
            _run(SCENARIOS[name], folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", size) for name in names
        ]
        for result in results:
            _print(result)
    if as_json:
        print(results_json(results))
    problems = [f"{one.scenario.name}: {problem}" for one in results for problem in one.problems]
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    if problems:
        print(busy_note(), end="", file=sys.stderr)
    return 1 if problems else 0


def results_json(results: Sequence[ScenarioResult]) -> str:
    """Return what scenarios showed as JSON: objectives, runs and problems of each."""
    content = [
        {
            "scenario": one.scenario.name,
            "title": one.scenario.title,
            "size": one.size,
            "duration_s": round(one.duration_s, 1),
            "archive": str(one.runs[0].folder.parents[1]) if one.runs else None,
            "objectives": [asdict(objective) for objective in one.objectives],
            "runs": [
                {
                    "step": run.step.name,
                    "run": run.record.run_id,
                    "outcome": run.record.outcome,
                    "expected": run.step.expected,
                }
                for run in one.runs
            ],
            "problems": list(one.problems),
        }
        for one in results
    ]
    return json.dumps(content, indent=2, ensure_ascii=False)


def _run(scenario: Scenario, archive: Path, size: Size) -> ScenarioResult:
    print(f"\n{scenario.title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="opslib-demo-") as scratch, demo_sandbox(Path(scratch) / "sandbox"):
        return carry_out(scenario, Path(scratch) / scenario.name, archive, size, lambda t: print(t, flush=True))


def _print(result: ScenarioResult) -> None:
    scenario = result.scenario
    print(f"\n{objectives_table(scenario.title, result.objectives).text}\n")
    for table in result.tables:
        print(f"{table.text}\n")
    archive = result.runs[0].folder.parents[1]
    print(f"Done in {result.duration_s:.0f} s, size {result.size}.")
    print(f"{len(result.runs)} runs are in {os.path.relpath(archive)}")
