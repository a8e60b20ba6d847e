"""The scenarios by name, and how one runs on a sandbox of its own."""

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from opslib.demo.practice import demo_sandbox
from opslib.demo.scenarios.carry_out import carry_out
from opslib.demo.scenarios.fraud import FRAUD
from opslib.demo.scenarios.objective import objectives_table
from opslib.demo.scenarios.recommendations import RECOMMENDATIONS
from opslib.demo.scenarios.scenario import Scenario, ScenarioResult, Size
from opslib.demo.scenarios.triage import TRIAGE

SCENARIOS: Mapping[str, Scenario] = {one.name: one for one in (FRAUD, RECOMMENDATIONS, TRIAGE)}


def run_scenarios(names: Iterable[str], folder: Path, size: Size) -> int:
    """Run scenarios one after the other, each on its own sandbox; return 0 if every objective is met.

    Each leaves an archive of its own in the folder: a rollback and a retirement read the records of earlier runs.
    """
    results = [_run(SCENARIOS[name], folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", size) for name in names]
    for result in results:
        _print(result)
    problems = [f"{one.scenario.name}: {problem}" for one in results for problem in one.problems]
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


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
