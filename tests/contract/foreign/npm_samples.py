"""The samples in the npm package @azure/arm-machinelearning, run as they are but for their placeholders."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .run import Result, Setting, call, result

PACKAGE_NAME = "@azure/arm-machinelearning"
PACKAGES = {PACKAGE_NAME: "2.1.1", "@azure/identity": "4.13.1"}
SAMPLES = Path("node_modules/@azure/arm-machinelearning/dist-esm/samples-dev")
GROUPS = {
    "online endpoints and deployments": "online",
    "models, code, environments": "model|code|environment",
    "datastores": "datastores",
    "workspaces": "workspaces",
    "quota, usage, sizes, operations": "quotas|usages|virtualMachine|operations",
    "components": "component",
}
"""The samples of what the sandbox is for; those of jobs, compute, batch, data and the like are not run."""
_WITHIN_S = 120
_ERROR = re.compile(r"^(?:Rest)?Error: (?P<message>.*)", re.MULTILINE)
_CALL = re.compile(r"^\w+\(\)\.catch\(", re.MULTILINE)


def run_samples(only: str, setting: Setting) -> Iterator[Result]:
    """Install the package, and run the samples of each group: creations first, deletions last."""
    wanted = {title: pattern for title, pattern in GROUPS.items() if only in f"{PACKAGE_NAME}: {title}"}
    if not wanted:
        return
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("no npm: the samples of @azure/arm-machinelearning are left out")
        return
    folder = setting.scratch / "npm"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PACKAGES}))
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    for title, pattern in wanted.items():
        found = [name for path in (folder / SAMPLES).glob("*Sample.js") if re.match(pattern, name := path.name)]
        calls, problems = 0, list[str]()
        for name in sorted(found, key=_order):
            calls += len(_CALL.findall((folder / SAMPLES / name).read_text(encoding="utf-8")))
            problems += _run(name, folder, setting)
        yield result(f"{PACKAGE_NAME}: {title}", "azure", calls, problems)


def _order(name: str) -> tuple[int, str, str]:
    """Endpoints before deployments, both before what is read of them; deletions in the other order."""
    if "Create" in name:
        return 0, "" if "Endpoints" in name else name, name
    return (2, "" if "Deployments" in name else "z", name) if "Delete" in name else (1, name, name)


def _run(name: str, folder: Path, setting: Setting) -> list[str]:
    """Run a sample, which makes one call or more; return the errors that it printed."""
    (folder / name).write_text(_filled((folder / SAMPLES / name).read_text(encoding="utf-8"), name, setting))
    code, printed = call(["node", name], setting.environment("azure"), folder, _WITHIN_S)
    (folder / f"{name}.log").write_text(printed, encoding="utf-8")
    errors = _ERROR.findall(printed) or ([f"exit code {code}: {printed[-200:]}"] if code else [])
    return [f"{name.removesuffix('Sample.js')}: {message}"[:240] for message in errors]


def _filled(text: str, name: str, setting: Setting) -> str:
    """Fill what the reader must: one workspace, endpoint and deployment for the names of all samples."""
    names = setting.sandbox.workspace
    text = re.sub(r'subscriptionId = "[^"]*"', f'subscriptionId = "{names["subscription_id"]}"', text)
    text = re.sub(r'resourceGroupName = "[^"]*"', f'resourceGroupName = "{names["resource_group"]}"', text)
    if not name.startswith("workspaces"):
        text = re.sub(r'workspaceName = "[^"]*"', f'workspaceName = "{names["workspace_name"]}"', text)
    text = re.sub(r'endpointName = "[^"]*"', 'endpointName = "sample"', text)
    text = re.sub(r'deploymentName = "[^"]*"', 'deploymentName = "blue"', text)
    return _online(text, setting) if name.startswith("online") else text


def _online(text: str, setting: Setting) -> str:
    """Give an endpoint and a deployment values that exist, where the sample has the word string."""
    workspace = setting.sandbox.workspace_id
    values = {
        "kind": '"Managed"',
        "location": '"eastus"',
        "compute": "undefined",
        "traffic": "{}",
        "userAssignedIdentities": "undefined",
        "codeConfiguration": f'{{ codeId: "{workspace}/codes/foreign/versions/1", scoringScript: "score.py" }}',
        "environmentId": f'"{workspace}/environments/foreign/versions/1"',
        "model": f'"{workspace}/models/foreign/versions/1"',
        "instanceType": '"Standard_DS3_v2"',
        "sku": '{ name: "Default", capacity: 1 }',
        "modelMountPath": "undefined",
        "requestTimeout": '"PT3M"',
    }
    for key, value in values.items():
        text = re.sub(rf"\b{key}: (?:\{{[^{{}}]*(?:\{{[^{{}}]*\}}[^{{}}]*)*\}}|[^,\n]+)", f"{key}: {value}", text)
    return text
