"""Runs published shell scripts, which use curl, jq and the Azure CLI."""

import json
import os
import shutil
import stat
from pathlib import Path

from .run import Result, Setting, call, result

SCRIPTS = ("cli/deploy-rest.sh",)
# these need the CLI's `ml` extension
ML_SCRIPTS = (
    "cli/deploy-managed-online-endpoint.sh",
    "cli/deploy-safe-rollout-online-endpoints.sh",
    "cli/deploy-moe-autoscale.sh",
)
_WITHIN_S = 300
# The CLI's `ml` extension is in no package index; where it is not installed, this answers the only thing
# that the REST script uses. Everything else goes to the real program.
_PLAIN = """#!/bin/sh
unset PYTHONPATH
exec "{az}" "$@"
"""
_WRAPPER = """#!/bin/sh
unset PYTHONPATH
if [ "$*" = "ml workspace show --query location -o tsv" ]; then exec "{az}" group show --query location -o tsv; fi
exec "{az}" "$@"
"""


def log_in(setting: Setting) -> None:
    """Log the Azure CLI in as a service principal, as its users do."""
    principal, names = setting.principal, setting.sandbox.workspace
    secret, tenant = principal["client_secret"], principal["tenant_id"]
    for command in (
        ["az", "login", "--service-principal", "-u", principal["client_id"], f"-p={secret}", "--tenant", tenant],
        [
            "az",
            "configure",
            "--defaults",
            f"group={names['resource_group']}",
            f"workspace={names['workspace_name']}",
        ],
    ):
        code, said = call(command, setting.environment("azure"), setting.scratch, 60)
        if code:
            raise RuntimeError(f"{command[:2]} failed: {said[-500:]}")


def has_ml(az: str, scratch: Path) -> bool:
    """Answer whether the Azure CLI has its `ml` extension."""
    return call([az, "extension", "show", "--name", "ml"], os.environ, scratch, 60)[0] == 0


def wrap(az: str, folder: Path, *, extension: bool) -> Path:
    """Return the folder that is put first on the path, so that `az` is the one meant."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "az"
    wrapper.write_text((_PLAIN if extension else _WRAPPER).format(az=az), encoding="utf-8")
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return folder


def run_script(name: str, examples: Path, setting: Setting) -> Result:
    """Run a script in the folder that it is meant to be run in; its parts are the commands that it traces."""
    folder = setting.scratch / "cli"
    shutil.copytree(examples / "cli", folder, dirs_exist_ok=True)
    code, said = call(["bash", Path(name).name], setting.environment("azure"), folder, _WITHIN_S)
    (setting.scratch / f"{Path(name).stem}.log").write_text(said, encoding="utf-8")
    lines = said.splitlines()
    asked = [line for line in lines if line.lstrip("+ ").startswith(("curl ", "az ")) and line.startswith("+")]
    problems = [problem for line in lines if (problem := _problem(line))]
    if code:
        problems.append(f"exit code {code}")
    return result(name, "azure", len(asked), problems)


def _problem(line: str) -> str:
    """Return what a line of output complains of; a trace of the script itself (`+ ...`) does not count."""
    if line.startswith("No deployment has traffic."):
        return "404: No deployment has traffic."
    if line.startswith(("+", "Endpoint response:")):
        return ""
    if line.startswith("{") and '"error":{"code"' in line:
        error = json.JSONDecoder().raw_decode(line)[0]["error"]
        return f"{error['code']}: {error['message']}"
    return line if line.startswith(("ERROR:", "curl:", "score.py", "jq: error")) else ""
