"""The REST calls of Terraform's provider and of Azure PowerShell; what their code does is in `rest_flows`."""

from collections.abc import Iterator
from pathlib import Path

from tests.contract.rest_flows import FlowResult, powershell, terraform

from .run import Result, Setting, result

APP = Path(__file__).parents[1] / "app"
NAME = "foreign"


def run_flows(only: str, setting: Setting) -> Iterator[Result]:
    """Take the steps of both programs."""
    workspace = setting.sandbox.workspace_id
    assets = {"code": f"{workspace}/codes/{NAME}/versions/1", "model": f"{workspace}/models/{NAME}/versions/1"}
    with setting.sandbox.arm() as arm:
        if only in "terraform":
            yield _shown("terraform azurerm_machine_learning_online_endpoint", terraform(arm, workspace, "acctest"))
        if only in "powershell":
            yield _shown(
                "powershell Az.MachineLearningServices", powershell(arm, workspace, "from-powershell", assets)
            )


def register_assets(setting: Setting) -> None:
    """Upload and register the code, model and environment that foreign deployments name."""
    workspace = setting.sandbox.workspace_id
    with setting.sandbox.arm() as arm:
        for kind, folder, field in (("codes", "code", "codeUri"), ("models", "model", "modelUri")):
            version = f"{workspace}/{kind}/{NAME}/versions/1"
            place = arm.post(f"{version}/startPendingUpload", json={}).json()["blobReferenceForConsumption"]
            base, signature = place["credential"]["sasUri"].split("?")
            for file in (APP / folder).glob("*.*"):
                arm.put(f"{base}/{folder}/{file.name}?{signature}", content=file.read_bytes()).raise_for_status()
            arm.put(version, json={"properties": {field: f"{base}/{folder}"}}).raise_for_status()
        image = {"image": "mcr.microsoft.com/azureml/minimal-py312-inference:latest"}
        environment = f"{workspace}/environments/{NAME}/versions/1"
        arm.put(environment, json={"properties": image}).raise_for_status()


def _shown(name: str, ended: FlowResult) -> Result:
    return result(name, "REST", ended.steps, list(ended.problems))
