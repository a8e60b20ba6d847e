"""Kinds of deployment that people publish beside a model with a scoring script."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import sdk
from awaiting import wait_until
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from rest_client import finish
from sandbox_fixture import RunningSandbox, running_sandbox
from served import APP, ASK, Served, deployment

ROUTES = {
    "liveness_route": {"port": 8502, "path": "/live"},
    "readiness_route": {"port": 8501, "path": "/v1/models/half"},
    "scoring_route": {"port": 8501, "path": "/v1/models/half:predict"},
}


def container(endpoint: str, image: str, **changes: object) -> sdk.ManagedOnlineDeployment:
    return sdk.ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        environment=sdk.Environment(image=image, inference_config=ROUTES),
        instance_type="STANDARD_ds3_V2",
        instance_count=1,
        **changes,
    )


def test_a_container_is_served_by_the_command_that_is_declared_for_its_image(
    make_endpoint: Callable[..., Served], ml: sdk.MLClient
):
    """With its ports and routes, its model below the mount path; the endpoint's address is its scoring route."""
    served = make_endpoint("container")
    made = container(
        served.name,
        "registry.invalid/serving:2",
        model=sdk.Model(path=APP / "model", name="half", version="3"),
        model_mount_path="/var/mount",
        environment_variables={"MODEL_BASE_PATH": "/var/mount"},
    )
    shown = ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    assert shown.instance_type == "STANDARD_ds3_V2"  # echoed as it was sent
    assert ml.online_endpoints.get(served.name).scoring_uri.endswith("/container/v1/models/half:predict")
    served.set_traffic({"blue": 100})
    for url in (served.url, served.url.replace("/score", "/v1/models/half:predict")):
        answer = served.http.post(f"{url}?tag=a&tag=b%20c&on", json=ASK)
        assert answer.status_code == 200, answer.text
        assert answer.json()["query"] == "tag=a&tag=b%20c&on"
        assert answer.json()["sum"] == 6
        assert all(path.startswith("half/3/") for path in answer.json()["files"])
        assert answer.json()["log_level"] == "info"
    assert served.http.post(served.url.replace("/score", "/other"), json=ASK).status_code == 424
    assert "registry.invalid/serving:2 is the local command" in ml.online_deployments.get_logs(
        "blue", served.name, lines=50
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"environment": {"image": "registry.invalid/none:1", "inference_config": ROUTES}}, "no image map"),
        ({"environment": None, "model": {"path": APP / "model", "type": "triton_model"}}, "'triton'"),
        ({"environment": None, "model": {"path": APP / "model"}}, "no code and no environment"),
        ({"model": "azureml://registries/azureml-meta/models/Llama-3/versions/1"}, "not on this machine"),
        ({"model": "azureml://registries/nowhere/models/m/versions/1"}, "registry 'nowhere'"),
        ({"environment": "azureml:AzureML-none-1.0@latest"}, "curated environment 'AzureML-none-1.0'"),
        ({"environment": "azureml://registries/azureml/environments/sklearn-1.5/labels/old"}, "label 'old'"),
    ],
)
def test_what_this_machine_cannot_run_is_refused_with_the_reason(
    ml: sdk.MLClient, refused: Served, changes: dict[str, object], reason: str
):
    """Before anything is created, and never without words."""
    made = container(refused.name, "registry.invalid/serving:1")
    entities = {"environment": sdk.Environment, "model": sdk.Model}
    for name, value in changes.items():
        setattr(made, name, entities[name](**value) if isinstance(value, dict) else value)
    with pytest.raises(HttpResponseError) as error:
        ml.online_deployments.begin_create_or_update(made)
    assert reason in str(error.value)
    assert error.value.status_code in (400, 501)


@pytest.fixture(scope="module")
def refused(make_endpoint: Callable[..., Served]) -> Served:
    return make_endpoint("refused")


@pytest.fixture(scope="module")
def hub(ml: sdk.MLClient, credential: DefaultAzureCredential) -> sdk.MLClient:
    """A client of a registry of one's own, with a model in it."""
    made = ml.registries.begin_create(
        sdk.Registry(name="hub", location="eastus", replication_locations=[])
    ).result()
    assert made.name == "hub"
    client = sdk.MLClient(credential, registry_name="hub")
    for version in ("1", "2"):
        client.models.create_or_update(sdk.Model(name="shared", version=version, path=APP / "model"))
    return client


def test_a_registry_keeps_models_and_environments(hub: sdk.MLClient, ml: sdk.MLClient):
    """Created, listed, read by version and label, shared from the workspace, and named as deployments name them."""
    assert [one.version for one in hub.models.list("shared")] == ["2", "1"]
    assert hub.models.get("shared", label="latest").id == "azureml://registries/hub/models/shared/versions/2"
    made = hub.environments.create_or_update(sdk.Environment(name="serving", version="1", image="an/image:1"))
    assert made.id == "azureml://registries/hub/environments/serving/versions/1"
    ml.models.create_or_update(sdk.Model(name="own", version="7", path=APP / "model"))
    ml.models.share("own", "7", share_with_name="given", share_with_version="1", registry_name="hub")
    assert hub.models.get("given", "1").version == "1"
    assert {one.name for one in hub.models.list()} == {"shared", "given"}
    assert [one.name for one in ml.registries.list()] == ["hub"]
    with pytest.raises(HttpResponseError, match="The registry 'nowhere' was not found"):
        sdk.MLClient(ml._credential, registry_name="nowhere")
    with pytest.raises(HttpResponseError, match="not on this machine"):
        sdk.MLClient(ml._credential, registry_name="azureml-meta")


def test_labels_are_resolved_and_kept_as_the_version_that_they_named(
    make_endpoint: Callable[..., Served], ml: sdk.MLClient, hub: sdk.MLClient, arm: httpx.Client
):
    """A registry's model, a curated environment by label: the deployment shows versions and serves."""
    served = make_endpoint("labelled")
    made = deployment(
        "blue",
        served.name,
        model="azureml://registries/hub/models/shared/labels/latest",
        environment="azureml:AzureML-sklearn-1.5@latest",
    )
    ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    shown = arm.get(f"{served.sandbox.endpoint_id(served.name)}/deployments/blue").json()["properties"]
    assert shown["model"].endswith("/registries/hub/models/shared/versions/2")
    assert shown["environmentId"] == "azureml://registries/azureml/environments/sklearn-1.5/versions/52"
    served.set_traffic({"blue": 100})
    assert served.score().status_code == 200


def test_a_curated_environment_needs_its_packages(make_endpoint: Callable[..., Served], ml: sdk.MLClient):
    """Microsoft's catalogue is listed; without the packages that a name promises the start fails and names them."""
    reader = sdk.MLClient(ml._credential, registry_name="azureml")
    listed = {one.name for one in reader.environments.list()}
    assert {"sklearn-1.5", "minimal-py312-inference"} <= listed
    assert reader.environments.get("sklearn-1.5", label="latest").version == "52"
    served = make_endpoint("torchless")
    name = "azureml://registries/azureml/environments/acpt-pytorch-2.2-cuda12.1/versions/35"
    starting = ml.online_deployments.begin_create_or_update(deployment("blue", served.name, environment=name))
    with pytest.raises(HttpResponseError, match="promises torch") as error:
        starting.result(timeout=60)
    assert error.value.error.code == "ImageBuildFailure"


def test_a_model_package_is_deployed_without_model_and_code(make_endpoint: Callable[..., Served], ml: sdk.MLClient):
    """The environment that a package becomes holds both."""
    ml.models.create_or_update(sdk.Model(name="packed", version="1", path=APP / "model"))
    code = sdk.CodeConfiguration(code=str(APP / "code"), scoring_script="score.py")
    request = sdk.ModelPackage(
        target_environment="packed-env",
        inferencing_server=sdk.AzureMLOnlineInferencingServer(code_configuration=code),
    )
    environment = ml.models.package("packed", "1", request)
    assert (environment.name, environment.version) == ("packed-env", "1")
    served = make_endpoint("packed")
    made = sdk.ManagedOnlineDeployment(
        name="blue",
        endpoint_name=served.name,
        environment="azureml:packed-env:1",
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    served.set_traffic({"blue": 100})
    assert served.score().status_code == 200


EVERYTHING = """
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
type: managed
model: {name: everything, version: 4, path: model}
code_configuration: {code: ./code, scoring_script: ./score.py}
environment: {name: built, version: 2, build: {path: code, dockerfile_path: score.py}}
environment_variables: {COLOR: blue}
instance_type: standard_ds3_v2
instance_count: 1
app_insights_enabled: "yes"
egress_public_network_access: Enabled
request_settings: {request_timeout_ms: 9000, max_concurrent_requests_per_instance: 2, max_queue_wait_ms: 500}
liveness_probe: {initial_delay: 5, period: 6, timeout: 3, success_threshold: 1, failure_threshold: 7}
data_collector: {collections: {model_inputs: {enabled: "true"}}, sampling_rate: 0.5, rolling_rate: hour}
tags: {team: risk}
properties: {a: b}
description: every field that a file may have
"""
ENDPOINT = """
name: everything
public_network_access: disabled
identity:
  type: user_assigned
  user_assigned_identities:
    - resource_id: {identity}
"""


def test_every_field_of_a_file_is_kept(
    ml: sdk.MLClient, arm: httpx.Client, sandbox: RunningSandbox, tmp_path: Path
):
    """On an endpoint with a user-assigned identity and without public access; the image of a build is not built."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader"
    arm.put(identity, json={"location": "eastus"}).raise_for_status()
    (tmp_path / "e.yml").write_text(ENDPOINT.format(identity=identity))
    (tmp_path / "d.yml").write_text(EVERYTHING)
    for name in ("model", "code"):
        (tmp_path / name).symlink_to(APP / name)
    ml.online_endpoints.begin_create_or_update(sdk.load_online_endpoint(tmp_path / "e.yml")).result(timeout=30)
    overrides = [{"name": "blue"}, {"endpoint_name": "everything"}]
    made = sdk.load_online_deployment(tmp_path / "d.yml", params_override=overrides)
    ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    shown = arm.get(f"{sandbox.endpoint_id('everything')}/deployments/blue?api-version=2023-04-01-preview").json()
    kept = shown["properties"]
    assert (shown["tags"], kept["instanceType"], kept["appInsightsEnabled"]) == (
        {"team": "risk"},
        "standard_ds3_v2",
        True,
    )
    assert kept["requestSettings"]["requestTimeout"] == "PT9S"
    assert kept["livenessProbe"]["failureThreshold"] == 7
    assert kept["dataCollector"]["collections"]["model_inputs"]["samplingRate"] == 0.5
    assert kept["model"].endswith("/models/everything/versions/4")
    endpoint = arm.get(sandbox.endpoint_id("everything")).json()
    assert endpoint["properties"]["publicNetworkAccess"] == "Disabled"
    assert next(iter(endpoint["identity"]["userAssignedIdentities"])).endswith("/reader")
    log = arm.post(
        f"{sandbox.endpoint_id('everything')}/deployments/blue/getLogs",
        json={"containerType": "StorageInitializer"},
    )
    assert "Image built:2 is not built" in log.json()["content"]


def test_a_deployment_on_kubernetes_is_refused_with_the_reason(arm: httpx.Client, refused: Served):
    """It runs on a cluster of the user's, which the sandbox has not."""
    body = {"location": "eastus", "sku": {"name": "Default", "capacity": 1}}
    properties = {"endpointComputeType": "Kubernetes", "instanceType": "defaultinstancetype"}
    path = f"{refused.sandbox.endpoint_id(refused.name)}/deployments/blue"
    answer = arm.put(path, json={**body, "properties": properties})
    assert answer.status_code == 501
    assert "runs on a cluster" in answer.json()["error"]["message"]


PODMAN = """#!{python}
import os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*words, file=log)
if words[0] == "run":
    ports = dict(reversed(one.split(":")[1:]) for at, one in enumerate(words) if words[at - 1] == "--publish")
    os.execv(sys.executable, [sys.executable, {serve!r}, "--port", ports["8501"], "--live", ports["8502"]])
"""


def test_an_engine_that_answers_runs_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the ports of its routes on loopback; its container is removed with the deployment."""
    log, program = tmp_path / "log", tmp_path / "bin/podman"
    program.parent.mkdir()
    program.write_text(PODMAN.format(python=sys.executable, log=str(log), serve=str(APP / "own/serve.py")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with running_sandbox(tmp_path / "home") as alone, alone.arm() as arm:
        config = {
            "livenessRoute": {"port": 8502, "path": "/live"},
            "readinessRoute": {"port": 8501, "path": "/v1/models/half"},
            "scoringRoute": {"port": 8501, "path": "/v1/models/half:predict"},
        }
        environment = f"{alone.workspace_id}/environments/own/versions/1"
        body = {"properties": {"image": "registry.invalid/pulled:1", "inferenceConfig": config}}
        arm.put(environment, json=body).raise_for_status()
        endpoint = alone.endpoint_id("own")
        finish(arm, arm.put(endpoint, json={"location": "eastus", "properties": {"authMode": "Key"}}))
        properties = {"environmentId": environment, "instanceType": "Standard_DS3_v2"}
        blue = {"location": "eastus", "sku": {"name": "Default", "capacity": 1}, "properties": properties}
        finish(arm, arm.put(f"{endpoint}/deployments/blue", json=blue))
        key = arm.post(f"{endpoint}/listKeys").json()["primaryKey"]
        url = arm.get(endpoint).json()["properties"]["scoringUri"]
        headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "blue"}
        assert arm.post(url, json=ASK, headers=headers).json()["sum"] == 6
        arm.delete(f"{endpoint}/deployments/blue").raise_for_status()
        wait_until(lambda: arm.get(f"{endpoint}/deployments/blue").status_code == 404)
    commands = log.read_text().splitlines()
    ran = next(one for one in commands if one.startswith("run"))
    assert ran.endswith("registry.invalid/pulled:1")
    assert f"rm --force {ran.split()[ran.split().index('--name') + 1]}" in commands
