"""The shell of all systems' pipelines, run by bash as each system runs it: every system runs the same commands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import jinja2
import pytest
import yaml

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

Job = tuple[list[str], dict[str, str]]
"""The scripts of a job in order, and its environment."""


def github(files: Mapping[str, str]) -> Iterator[Job]:
    for workflow in map(yaml.safe_load, files.values()):
        environment = {name: substitute(str(text)) for name, text in workflow["env"].items()}
        for job in workflow["jobs"].values():
            steps = [step for step in job["steps"] if "run" in step]
            yield [step["run"] for step in steps if step["name"] not in {"Install", SIGN_IN}], environment


SIGN_IN = "Sign in by workload identity"


def substitute(text: str) -> str:
    """Replace expressions by what people typed, the repository's variables, and who started it."""
    known = {**TYPED, **ARCHIVE, "actor": "joe"}
    return re.sub(r"\$\{\{ ?\w+\.(\w+) ?\}\}", lambda found: known.get(found[1], ""), text)


def azure_devops(files: Mapping[str, str]) -> Iterator[Job]:
    for pipeline in map(yaml.safe_load, files.values()):
        stages = pipeline.get("stages") or [pipeline]
        for job in (job for stage in stages for job in stage["jobs"]):
            steps = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
            environment = dict(pipeline["variables"])
            for step in steps:
                environment |= {name: substitute(text) for name, text in step.get("env", {}).items()}
            shell = [step.get("bash") or step.get("inputs", {}).get("inlineScript") for step in steps]
            place = "$(Pipeline.Workspace)"
            yield [text.replace(place, ".") for text in shell if text and "pip install" not in text], environment


def azureml(files: Mapping[str, str]) -> Iterator[Job]:
    loaded = [yaml.safe_load(text) for path, text in files.items() if "schedule" not in path]
    inputs = {**TYPED, "before": "before/runs-1"}
    for job in (job for pipeline in loaded for job in pipeline.get("jobs", {}).values()):
        script = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda found: inputs[found[1]], job["command"])
        environment = dict(job["environment_variables"]) | {"DEFAULT_IDENTITY_CLIENT_ID": ""}
        yield [script.replace("${{outputs.kept}}", "kept")], environment


def airflow(files: Mapping[str, str]) -> Iterator[Job]:
    """The DAGs' file, executed with a stand-in for Airflow, whose templates are Jinja."""
    made: list[dict[str, Any]] = []

    def keep(**given: Any) -> MagicMock:
        made.append(given)
        return MagicMock()

    bash, sdk = ModuleType("airflow.providers.standard.operators.bash"), ModuleType("airflow.sdk")
    bash.BashOperator = keep  # type: ignore[attr-defined]
    sdk.DAG, sdk.Param = MagicMock(), MagicMock()  # type: ignore[attr-defined]
    names = ("airflow", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators")
    with pytest.MonkeyPatch.context() as patch:
        for module in (*map(ModuleType, names), bash, sdk):
            patch.setitem(sys.modules, module.__name__, module)
        exec("".join(files.values()), {})  # noqa: S102 - what is tested is a program
    values = {"params": TYPED, "dag_run": {"triggering_user_name": "joe"}}
    for one in made:
        rendered = {name: jinja2.Template(text).render(values) for name, text in one["env"].items()}
        yield [one["bash_command"]], rendered


SYSTEMS = {"github": github, "azure-devops": azure_devops, "azureml": azureml, "airflow": airflow}


def commands(system: str, folder: Path) -> set[tuple[str, ...]]:
    """Run each job's scripts in a folder of its own; return the arguments of every `opslib` that they called."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/opslib").write_text(STAND_IN)
    (folder / "bin/opslib").chmod(0o755)
    log = folder / "log"
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GIT_CEILING_DIRECTORIES": "/", "LOG": str(log)}
    places = {"RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    (folder / "before/runs-1").mkdir(parents=True)
    (folder / "kept").mkdir()
    for scripts, environment in SYSTEMS[system](render_pipeline(system, RELEASE)):
        for script in scripts:
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
            done = subprocess.run(
                command,
                cwd=folder,
                env={**places, **ARCHIVE, **environment, **path},
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, (script, done.stderr)
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
    assert called["azure-devops"] == {
        tuple("$(Build.RequestedForEmail)" if word == "joe" else word for word in command) for command in expected
    }
    assert called["airflow"] == expected
    assert called["azureml"] == {tuple("" if word == "joe" else word for word in command) for command in expected}
