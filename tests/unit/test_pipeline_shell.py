"""The shell of all systems' pipelines, run by bash as each system runs it: every system runs the same commands."""

import os
import subprocess
from pathlib import Path

from pipeline_jobs import REQUESTER, SYSTEMS

from opslib.pipelines.release import Release
from opslib.pipelines.render import FILES, render_pipeline

RELEASE = Release("fraud", "fraud", ("blue", "green"), "azure", "probes.jsonl", True, ("a.pem",), "opslib==1")

TYPED = {
    "deployment": "green",
    "retire": "blue",
    "reason": "$(touch run) `touch run`; a 'new' \"model\" & more",
    "ticket": "CHG 7",
    "archive_url": "https://kept.blob.core.windows.net/runs",
}
"""What people type."""

ARCHIVE = {"ARCHIVE_URL": TYPED["archive_url"], "OPSLIB_SIGNING_KEY": ""}
"""Variables of the repository or the pipeline."""

STAND_IN = """#!/bin/bash
printf '%s\\0' "$@" >> "$LOG"
printf '\\n' >> "$LOG"
"""
"""`opslib` on the PATH of a step: it writes its arguments."""


def commands(system: str, folder: Path) -> set[tuple[str, ...]]:
    """Run each job's scripts in a folder of its own; return the arguments of every `opslib` that they called."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/opslib").write_text(STAND_IN)
    (folder / "bin/opslib").chmod(0o755)
    log = folder / "log"
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GIT_CEILING_DIRECTORIES": "/", "LOG": str(log)}
    places = {"RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    known = {**TYPED, **ARCHIVE}
    for name, job in SYSTEMS[system](render_pipeline(system, RELEASE), known):
        for kept in (f"kept/{name}", "before/runs-1"):
            (folder / kept).mkdir(parents=True, exist_ok=True)
        for step in job.steps:
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.script]
            done = subprocess.run(
                command,
                cwd=folder,
                env={**places, **ARCHIVE, **job.environment, **path},
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, (step, done.stderr)
    assert not (folder / "run").exists(), "a typed value was run"
    return {tuple(line.split("\0")[:-1]) for line in log.read_text().split("\n") if line}


def test_every_system_calls_opslib_with_the_same_arguments(tmp_path):
    """Values that people type arrive as they were typed; only Azure ML knows no requester."""
    called = {system: commands(system, tmp_path / system) for system in FILES}
    expected = called["github"] - {("runs",)}
    assert {command[:3] for command in expected} >= {
        ("run", "deploy", "-p"),
        ("run", "validate", "-p"),
        ("run", "canary", "-p"),
        ("run", "retire", "-p"),
        ("recover", "--target", "azure"),
        ("publish", "--to", TYPED["archive_url"]),
    }
    assert all(f"reason={TYPED['reason']}" in command for command in expected if command[0] == "run")
    assert called["azure-devops"] == called["airflow"] == expected
    assert called["azureml"] == {
        tuple("" if word == REQUESTER else word for word in command) for command in expected
    }
