"""The jobs of a pipeline's files, with their shell steps in order, as each system runs them."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import jinja2
import pytest
import yaml

NOT_HERE = {"Install", "Sign in by workload identity"}
"""Steps that need a package feed and GitHub's own token."""
REQUESTER = "joe"


@dataclass(frozen=True)
class Step:
    """A shell step; one that runs always does so after a failed one, too."""

    name: str
    script: str
    always: bool = False


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes
    ----------
    steps, environment
        What it runs, and with which variables.
    uploads
        Where the system keeps a copy of the job's `runs/`; "" where a script does so, or none is needed.
    archive
        Where the job's runs are after it.
    """

    steps: tuple[Step, ...]
    environment: Mapping[str, str]
    uploads: str = ""
    archive: str = "runs"


def github(files: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, Job]]:
    """Yield the jobs of workflows; runs are kept as artifacts, which all go to `before/`."""
    for workflow in map(yaml.safe_load, files.values()):
        environment = {name: substitute(str(text), known) for name, text in workflow["env"].items()}
        for name, job in workflow["jobs"].items():
            steps = [step for step in job["steps"] if "run" in step and step["name"] not in NOT_HERE]
            kept = [substitute(step["with"]["name"], known) for step in job["steps"] if _keeps_runs(step)]
            made = tuple(Step(one["name"], one["run"], one.get("if") == "always()") for one in steps)
            place = f"before/{kept[0]}" if kept else ""
            yield name, Job(made, environment, place, place or "runs")


def _keeps_runs(step: Mapping[str, Any]) -> bool:
    return "upload-artifact" in step.get("uses", "") and step["with"]["path"] == "runs/"


def substitute(text: str, known: Mapping[str, str]) -> str:
    """Replace expressions by what people typed, the repository's variables, and who started it."""
    known = {**known, "actor": REQUESTER, "run_attempt": "1"}
    return re.sub(r"\$\{\{ ?\w+\.(\w+) ?\}\}", lambda found: known.get(found[1], ""), text)


def azure_devops(files: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, Job]]:
    """Yield the jobs of pipelines; runs are kept as artifacts, which all go to `before/`."""
    for pipeline in map(yaml.safe_load, files.values()):
        stages = pipeline.get("stages") or [pipeline]
        for job in (job for stage in stages for job in stage["jobs"]):
            sent = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
            environment = dict(pipeline["variables"])
            steps = []
            for one in sent:
                environment |= {name: substitute(text, known) for name, text in one.get("env", {}).items()}
                script = one.get("bash") or one.get("inputs", {}).get("inlineScript")
                if script and one["displayName"] not in NOT_HERE:
                    always = one.get("condition") == "always()"
                    steps.append(Step(one["displayName"], script.replace("$(Pipeline.Workspace)", "."), always))
            kept = [one["artifact"] for one in sent if one.get("publish") == "runs"]
            place = f"before/{kept[0].replace('$(System.StageAttempt)', '1')}" if kept else ""
            requester = {"REQUESTER": REQUESTER} if "REQUESTER" in environment else {}
            yield (
                job.get("job") or job["deployment"],
                Job(tuple(steps), environment | requester, place, place or "runs"),
            )


def azureml(files: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, Job]]:
    """Yield the jobs of pipeline jobs; each takes the output of the one before it (BEFORE), and writes its own."""
    last = ""
    for pipeline in (yaml.safe_load(text) for path, text in files.items() if "schedule" not in path):
        for name, job in pipeline.get("jobs", {}).items():
            inputs = {**known, "before": "$BEFORE"}
            script = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda found: inputs[found[1]], job["command"])  # noqa: B023
            script = script.replace("${{outputs.kept}}", f"kept/{name}")
            environment = {
                **job["environment_variables"],
                "DEFAULT_IDENTITY_CLIENT_ID": "",
                "BEFORE": f"kept/{last}",
            }
            yield name, Job((Step(name, script),), environment, archive=f"kept/{name}/runs")
            last = name


def airflow(files: Mapping[str, str], known: Mapping[str, str]) -> Iterator[tuple[str, Job]]:
    """Yield the tasks of the DAGs: their file runs with a stand-in for Airflow, whose templates are Jinja."""
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
    values = {"params": known, "dag_run": {"triggering_user_name": REQUESTER}}
    for one in made:
        environment = {name: jinja2.Template(text).render(values) for name, text in one["env"].items()}
        yield one["task_id"], Job((Step(one["task_id"], one["bash_command"]),), environment)


SYSTEMS: Mapping[str, Callable[[Mapping[str, str], Mapping[str, str]], Iterator[tuple[str, Job]]]] = {
    "github": github,
    "azure-devops": azure_devops,
    "azureml": azureml,
    "airflow": airflow,
}
"""What reads the files that `opslib pipeline` writes, by its name of the system."""
