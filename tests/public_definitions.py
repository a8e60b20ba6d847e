"""Deployment definitions as people write them: what changes a good one, and the rule that each breaks, if any.

`ALIKE` is refused or loaded by azure-ai-ml as by opslib; `STRICTER` is loaded by azure-ai-ml, and refused later: by
its own checks before a request, or by the service.
"""

from pathlib import Path
from typing import Any

import yaml

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
ROUTE = {"port": 80, "path": "/"}
GOOD: dict[str, Any] = {
    "name": "blue",
    "endpoint_name": "fraud",
    "model": {"path": "model"},
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": {"image": "x/y:1", "conda_file": "conda.yml"},
    "instance_type": "Standard_DS3_v2",
    "instance_count": 1,
}
FILES = {
    "code/score.py": "def init(): ...\ndef run(data): return 1\n",
    "code/src/score.py": "def init(): ...\ndef run(data): return 1\n",
    "model/weights.json": "{}",
    "mlflow/MLmodel": "flavors: {}\n",
    "conda.yml": "dependencies: [python=3.11]\n",
    "own.yml": "image: x/y:1\nconda_file: conda.yml\n",
    "environments/own.yml": "image: x/y:1\nconda_file: conda.yml\n",
    "environments/conda.yml": "dependencies: [python=3.11]\n",
    "context/Dockerfile": "FROM x\n",
}
GONE = ...
"""Stands for a field that the file has not."""


def _code(code: Any = GONE, script: str = "score.py") -> dict[str, Any]:
    values = {"code": code, "scoring_script": script}
    return {"code_configuration": {name: one for name, one in values.items() if one is not GONE}}


def _container(**routes: Any) -> dict[str, Any]:
    config = {"liveness_route": ROUTE, "readiness_route": ROUTE, "scoring_route": ROUTE} | routes
    kept = {name: one for name, one in config.items() if one is not GONE}
    return {"code_configuration": GONE, "environment": {"image": "x/y:1", "inference_config": kept}}


def _bare(model: Any) -> dict[str, Any]:
    return {"model": model, "code_configuration": GONE, "environment": GONE}


def _environment(**values: Any) -> dict[str, Any]:
    return {"environment": values}


ALIKE: dict[str, tuple[dict[str, Any], str]] = {
    "schema of today": ({"$schema": "https://azuremlschemas.azureedge.net/latest/x.schema.json"}, ""),
    "schema of the preview": ({"$schema": "http://azureml/sdk-2-0/OnlineDeployment.json"}, ""),
    "size in lower case": ({"instance_type": "standard_ds3_v2"}, ""),
    "size in upper case": ({"instance_type": "STANDARD_DS3_V2"}, ""),
    "type": ({"type": "Managed"}, ""),
    "count as text": ({"instance_count": "2"}, ""),
    "count as 2.0": ({"instance_count": 2.0}, ""),
    "nested script": (_code("code", "src/score.py"), ""),
    "code with ./": (_code("./code", "./score.py"), ""),
    "code of the folder itself": (_code(".", "code/score.py"), ""),
    "code after file:": (_code("file:code"), ""),
    "registered code": (_code("azureml:scoring:1"), ""),
    "script alone": (_code(), ""),
    "environment in a file": ({"environment": "file:own.yml"}, ""),
    "conda inline": (_environment(image="x/y:1", conda_file={"dependencies": ["python=3.11", {"pip": ["a"]}]}), ""),
    "conda as a list": (_environment(image="x/y:1", conda_file=["python"]), "conda"),
    "conda after file:": (_environment(image="x/y:1", conda_file="file:conda.yml"), "conda"),
    "named environment": (_environment(name="e", version=1, image="x/y:1"), ""),
    "build context": (_environment(build={"path": "context", "dockerfile_path": "Dockerfile"}), ""),
    "build context that is not there": (_environment(build={"path": "gone"}), "file"),
    "docker section of v1": (_environment(docker={"image": "x/y:1"}), "unknown-field"),
    "python section of v1": (_environment(image="x/y:1", python={}), "unknown-field"),
    "registered environment": ({"environment": "azureml:e:1"}, ""),
    "environment by label": ({"environment": "azureml:e@latest"}, ""),
    "curated environment": ({"environment": "azureml:AzureML-sklearn-1.5@latest"}, ""),
    "curated environment by version": ({"environment": "azureml:AzureML-sklearn-1.5:52"}, ""),
    "curated environment of the registry": (
        {"environment": "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"},
        "",
    ),
    "curated environment without azureml:": ({"environment": "AzureML-sklearn-1.5@latest"}, "reference"),
    "image as the environment": ({"environment": "x/y:1"}, "reference"),
    "named model": ({"model": {"name": "m", "version": 1, "path": "model"}}, ""),
    "model by label": ({"model": "azureml:m@latest"}, ""),
    "model of a registry": ({"model": "azureml://registries/hub/models/m/versions/1"}, ""),
    "model of a registry by label": ({"model": "azureml://registries/hub/models/m/labels/latest"}, ""),
    "model by id": ({"model": f"azureml:{WORKSPACE}/models/m/versions/1"}, ""),
    "model by id without azureml:": ({"model": f"{WORKSPACE}/models/m/versions/1"}, "reference"),
    "model as a plain path": ({"model": "./model"}, "reference"),
    "model of an unknown type": ({"model": {"path": "model", "type": "onnx"}}, "model"),
    "model with an unknown field": ({"model": {"path": "model", "flavour": "x"}}, "unknown-field"),
    "model of a job": (
        {"model": {"name": "m", "version": "1", "path": "azureml://jobs/j/outputs/artifacts/paths/model"}},
        "",
    ),
    "model of a run": ({"model": {"name": "m", "version": "1", "path": "runs:/abc/model"}}, ""),
    "model of a datastore": ({"model": {"name": "m", "path": "azureml://datastores/d/paths/m"}}, ""),
    "address without a name": ({"model": {"path": "azureml://datastores/d/paths/m"}}, "model"),
    "MLflow model": (_bare({"path": "mlflow", "type": "mlflow_model"}), ""),
    "Triton model": (_bare({"path": "model", "type": "triton_model"}), ""),
    "container": (_container(), ""),
    "container with a port as text": (_container(liveness_route={"port": "80", "path": "/"}), ""),
    "container with a port in words": (_container(liveness_route={"port": "http", "path": "/"}), "environment"),
    "container without a path": (_container(liveness_route={"port": 80}), "environment"),
    "container with another field": (_container(liveness_route={**ROUTE, "scheme": "http"}), "environment"),
    "container without a route": (_container(liveness_route=GONE), "environment"),
    "private": ({"private_network_connection": True, "egress_public_network_access": "disabled"}, ""),
    "egress as a switch": ({"egress_public_network_access": True}, "egress"),
    "insights as text": ({"app_insights_enabled": "true"}, ""),
    "insights in words": ({"app_insights_enabled": "maybe"}, "switch"),
    "data collector": (
        {
            "data_collector": {
                "collections": {"request": {"enabled": "True", "data": {"name": "x", "version": "1"}}},
                "rolling_rate": "hour",
                "sampling_rate": 1.0,
                "request_logging": {"capture_headers": ["a"]},
            }
        },
        "",
    ),
    "data collector with a switch": (
        {"data_collector": {"collections": {"model_inputs": {"enabled": True}}}},
        "data-collector",
    ),
    "data collector by the century": (
        {"data_collector": {"collections": {}, "rolling_rate": "century"}},
        "data-collector",
    ),
    "data collector that collects nothing": ({"data_collector": {"sampling_rate": 1.0}}, "data-collector"),
    "data collector with a destination": (
        {"data_collector": {"collections": {}, "destination": "x"}},
        "unknown-field",
    ),
    "all request settings": (
        {
            "request_settings": {
                "request_timeout_ms": 3000,
                "max_concurrent_requests_per_instance": 1,
                "max_queue_wait_ms": 500,
            }
        },
        "",
    ),
    "timeout as 3000.0": ({"request_settings": {"request_timeout_ms": 3000.0}}, ""),
    "probe": ({"liveness_probe": {"initial_delay": 10, "period": 10, "timeout": 2, "failure_threshold": 30}}, ""),
    "probe in ISO 8601": ({"liveness_probe": {"period": "PT10S"}}, "number"),
    "unquoted variables": ({"environment_variables": {"A": 1, "B": True}}, ""),
    "variables as text": ({"environment_variables": "A=1"}, "text"),
    "empty section": ({"tags": None}, "empty"),
    "empty field": ({"description": None}, "empty"),
    "empty nested field": ({"request_settings": {"request_timeout_ms": None}}, "empty"),
    "scale settings": ({"scale_settings": {"type": "Default"}}, ""),
    "as az shows it": ({"id": "/x", "provisioning_state": "Succeeded", "creation_context": {}}, ""),
}
STRICTER: dict[str, tuple[dict[str, Any], str]] = {
    "code that is a file": (_code("code/score.py"), "file"),
    "model without a path": ({"model": {"name": "m", "version": "1"}}, "model"),
    "registry without a version": ({"model": "azureml://registries/hub/models/m"}, "reference"),
    "registry with a colon": ({"environment": "azureml://registries/azureml/environments/e:latest"}, "reference"),
    "registry of another kind": ({"model": "azureml://registries/hub/environments/e/versions/1"}, "reference"),
    "environment without an image": (_environment(name="e", version="1"), "environment"),
    "environment with conda alone": (_environment(conda_file="conda.yml"), "environment"),
    "environment with image and build": (_environment(image="x/y:1", build={"path": "context"}), "environment"),
    "relative mount path": (_container() | {"model_mount_path": "var/m"}, "mount"),
    "tag that is a number": ({"tags": {"version": 3}}, "text"),
    "variable without a value": ({"environment_variables": {"A": None}}, "text"),
    "name with an underscore": ({"name": "regular_deployment"}, "name"),
    "scale settings of Kubernetes": ({"scale_settings": {"type": "target_utilization"}}, "scale-settings"),
}


def write(folder: Path, changes: dict[str, Any]) -> Path:
    """Write a definition, and all that it refers to."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    path = folder / "deployment.yml"
    content = {name: value for name, value in (GOOD | changes).items() if value is not GONE}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
