"""Kinds of deployment that people publish beside a model with a scoring script."""

from collections.abc import Callable

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    AzureMLOnlineInferencingServer,
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    Model,
    ModelPackage,
    Registry,
    Workspace,
)
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from served import APP, ASK, Served, deployment

ROUTES = {
    "liveness_route": {"port": 8502, "path": "/live"},
    "readiness_route": {"port": 8501, "path": "/v1/models/half"},
    "scoring_route": {"port": 8501, "path": "/v1/models/half:predict"},
}


def container(endpoint: str, image: str, **changes: object) -> ManagedOnlineDeployment:
    return ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        environment=Environment(image=image, inference_config=ROUTES),
        instance_type="STANDARD_ds3_V2",
        instance_count=1,
        **changes,
    )


def test_a_container_is_served_by_the_command_that_is_declared_for_its_image(
    make_endpoint: Callable[..., Served], ml: MLClient
):
    """With its ports and routes, its model below the mount path; the endpoint's address is its scoring route."""
    served = make_endpoint("container")
    made = container(
        served.name,
        "registry.invalid/serving:2",
        model=Model(path=APP / "model", name="half", version="3"),
        model_mount_path="/var/mount",
        environment_variables={"MODEL_BASE_PATH": "/var/mount"},
    )
    shown = ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    assert shown.instance_type == "STANDARD_ds3_V2"  # echoed as it was sent
    assert ml.online_endpoints.get(served.name).scoring_uri.endswith("/container/v1/models/half:predict")
    served.set_traffic({"blue": 100})
    for url in (served.url, served.url.replace("/score", "/v1/models/half:predict")):
        answer = served.http.post(url, json=ASK)
        assert answer.status_code == 200, answer.text
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
        ({"environment": Environment(image="registry.invalid/none:1", inference_config=ROUTES)}, "no image map"),
        ({"environment": None, "model": Model(path=APP / "model", type="triton_model")}, "'triton'"),
        ({"environment": None, "model": Model(path=APP / "model")}, "no code and no environment"),
        ({"model": "azureml://registries/azureml-meta/models/Llama-3/versions/1"}, "not on this machine"),
        ({"model": "azureml://registries/nowhere/models/m/versions/1"}, "registry 'nowhere'"),
        ({"environment": "azureml:AzureML-none-1.0@latest"}, "curated environment 'AzureML-none-1.0'"),
        ({"environment": "azureml://registries/azureml/environments/sklearn-1.5/labels/old"}, "label 'old'"),
    ],
)
def test_what_this_machine_cannot_run_is_refused_with_the_reason(
    ml: MLClient, refused: Served, changes: dict[str, object], reason: str
):
    """Before anything is created, and never without words."""
    made = container(refused.name, "registry.invalid/serving:1")
    for name, value in changes.items():
        setattr(made, name, value)
    with pytest.raises(HttpResponseError) as error:
        ml.online_deployments.begin_create_or_update(made)
    assert reason in str(error.value)
    assert error.value.status_code in (400, 501)


@pytest.fixture(scope="module")
def refused(make_endpoint: Callable[..., Served]) -> Served:
    return make_endpoint("refused")


@pytest.fixture(scope="module")
def hub(ml: MLClient, credential: DefaultAzureCredential) -> MLClient:
    """A client of a registry of one's own, with a model in it."""
    made = ml.registries.begin_create(Registry(name="hub", location="eastus", replication_locations=[])).result()
    assert made.name == "hub"
    client = MLClient(credential, registry_name="hub")
    for version in ("1", "2"):
        client.models.create_or_update(Model(name="shared", version=version, path=APP / "model"))
    return client


def test_a_registry_keeps_models_and_environments(hub: MLClient, ml: MLClient):
    """Created, listed, read by version and label, shared from the workspace, and named as deployments name them."""
    assert [one.version for one in hub.models.list("shared")] == ["2", "1"]
    assert hub.models.get("shared", label="latest").id == "azureml://registries/hub/models/shared/versions/2"
    made = hub.environments.create_or_update(Environment(name="serving", version="1", image="an/image:1"))
    assert made.id == "azureml://registries/hub/environments/serving/versions/1"
    ml.models.create_or_update(Model(name="own", version="7", path=APP / "model"))
    ml.models.share("own", "7", share_with_name="given", share_with_version="1", registry_name="hub")
    assert hub.models.get("given", "1").version == "1"
    assert {one.name for one in hub.models.list()} == {"shared", "given"}
    assert [one.name for one in ml.registries.list()] == ["hub"]
    with pytest.raises(HttpResponseError, match="The registry 'nowhere' was not found"):
        MLClient(ml._credential, registry_name="nowhere")
    with pytest.raises(HttpResponseError, match="not on this machine"):
        MLClient(ml._credential, registry_name="azureml-meta")


def test_labels_are_resolved_and_kept_as_the_version_that_they_named(
    make_endpoint: Callable[..., Served], ml: MLClient, hub: MLClient, arm: httpx.Client
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


def test_a_curated_environment_needs_its_packages(make_endpoint: Callable[..., Served], ml: MLClient):
    """Microsoft's catalogue is listed; without the packages that a name promises the start fails and names them."""
    reader = MLClient(ml._credential, registry_name="azureml")
    listed = {one.name for one in reader.environments.list()}
    assert {"sklearn-1.5", "minimal-py312-inference"} <= listed
    assert reader.environments.get("sklearn-1.5", label="latest").version == "52"
    served = make_endpoint("torchless")
    name = "azureml://registries/azureml/environments/acpt-pytorch-2.2-cuda12.1/versions/35"
    starting = ml.online_deployments.begin_create_or_update(deployment("blue", served.name, environment=name))
    with pytest.raises(HttpResponseError, match="promises torch") as error:
        starting.result(timeout=60)
    assert error.value.error.code == "ImageBuildFailure"


def test_a_model_package_is_deployed_without_model_and_code(make_endpoint: Callable[..., Served], ml: MLClient):
    """The environment that a package becomes holds both."""
    ml.models.create_or_update(Model(name="packed", version="1", path=APP / "model"))
    code = CodeConfiguration(code=str(APP / "code"), scoring_script="score.py")
    request = ModelPackage(
        target_environment="packed-env",
        inferencing_server=AzureMLOnlineInferencingServer(code_configuration=code),
    )
    environment = ml.models.package("packed", "1", request)
    assert (environment.name, environment.version) == ("packed-env", "1")
    served = make_endpoint("packed")
    made = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=served.name,
        environment="azureml:packed-env:1",
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    served.set_traffic({"blue": 100})
    assert served.score().status_code == 200


def test_workspaces_are_created_in_several_groups_and_deleted(ml: MLClient, arm: httpx.Client):
    """Those of the subscription are listed; a deleted one is gone until it is created again."""
    clients = {group: MLClient(ml._credential, ml.subscription_id, group) for group in ("risk", "claims")}
    for group, name in (("risk", "one"), ("risk", "two"), ("claims", "one")):
        clients[group].workspaces.begin_create(Workspace(name=name, tags={"team": group})).result()
    found = {(one.resource_group, one.name) for one in ml.workspaces.list(scope="subscription")}
    assert {("risk", "one"), ("risk", "two"), ("claims", "one")} <= found
    base = f"/subscriptions/{ml.subscription_id}/resourceGroups/risk/providers/Microsoft.MachineLearningServices"
    assert arm.get(f"{base}/workspaces/one").json()["tags"]["team"] == "risk"
    clients["risk"].workspaces.begin_delete("one", delete_dependent_resources=False).result()
    assert arm.get(f"{base}/workspaces/one").status_code == 404
    assert [one["name"] for one in arm.get(f"{base}/workspaces").json()["value"]] == ["two"]
    assert arm.put(f"{base}/workspaces/one", json={"location": "westeurope"}).status_code == 201
    assert arm.get(f"{base}/workspaces/one").json()["location"] == "westeurope"
    for group, name in (("risk", "one"), ("risk", "two"), ("claims", "one")):
        clients[group].workspaces.begin_delete(name, delete_dependent_resources=False).result()
    assert {one.resource_group for one in ml.workspaces.list(scope="subscription")}.isdisjoint(clients)
