from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import sdk
from awaiting import wait_until
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from faults_fixture import Faults
from sandbox_fixture import RunningSandbox
from served import APP, IMAGE, Served, deployment

from opslib.sandbox.cli.control import read_state


def test_yaml_definitions_deploy_and_score(ml: sdk.MLClient, sandbox: RunningSandbox):
    """The ecosystem's own YAML makes an endpoint that answers, and that is gone after its deletion."""
    endpoint = ml.online_endpoints.begin_create_or_update(sdk.load_online_endpoint(APP / "endpoint.yml")).result(30)
    made = ml.online_deployments.begin_create_or_update(sdk.load_online_deployment(APP / "deployment.yml")).result(
        60
    )
    assert made.provisioning_state == "Succeeded"
    assert made.request_settings.request_timeout_ms == 2000
    endpoint.traffic = {"blue": 100}
    ml.online_endpoints.begin_create_or_update(endpoint).result(30)
    assert '"sum": 6' in ml.online_endpoints.invoke("from-yaml", request_file=_ask(sandbox))
    assert ml.online_endpoints.get("from-yaml").tags == {"owner": "contract-tests"}
    ml.online_endpoints.begin_delete("from-yaml").result(30)
    with pytest.raises(ResourceNotFoundError):
        ml.online_endpoints.get("from-yaml")
    assert not _instances(sandbox, "from-yaml")


def test_registered_assets_deploy_by_name_and_label(ml: sdk.MLClient, fraud: Served):
    """A registered model and environment are found by version and by @latest, and serve."""
    for weight in (5, 6):
        folder = _model(fraud.sandbox, weight)
        ml.models.create_or_update(sdk.Model(name="registered", version=str(weight), path=folder))
    ml.environments.create_or_update(sdk.Environment(name="registered", version="1", image=IMAGE))
    changes = {"model": "registered@latest", "environment": "azureml:registered:1"}
    ml.online_deployments.begin_create_or_update(deployment("named", fraud.name, **changes)).result(60)
    assert fraud.score(azureml_model_deployment="named").json()["weight"] == 6
    assert ml.models.get("registered", label="latest").version == "6"
    assert [model.version for model in ml.models.list("registered")] == ["6", "5"]
    ml.online_deployments.begin_delete("named", fraud.name).result(30)


@pytest.mark.filterwarnings("ignore:The use of a 'BlobProperties' instance")  # azure-ai-ml 1.35 does both
@pytest.mark.filterwarnings("ignore:content_as_bytes is deprecated")
def test_a_model_comes_back_as_it_went(ml: sdk.MLClient, sandbox: RunningSandbox, tmp_path: Path):
    """A registered model can be downloaded, file by file."""
    ml.models.create_or_update(sdk.Model(name="returned", version="1", path=_model(sandbox, 9)))
    ml.models.download("returned", "1", download_path=tmp_path)
    (found,) = tmp_path.rglob("weights.json")
    assert found.read_text() == '{"weight": 9}'


def test_a_version_is_never_changed(ml: sdk.MLClient, sandbox: RunningSandbox):
    """Registering other files under an existing model version is refused."""
    ml.models.create_or_update(sdk.Model(name="fixed", version="1", path=_model(sandbox, 1)))
    with pytest.raises((HttpResponseError, ResourceExistsError)):
        ml.models.create_or_update(sdk.Model(name="fixed", version="1", path=_model(sandbox, 2)))


def test_failed_init_is_told_and_harms_nobody(blue_only: Served, ml: sdk.MLClient):
    """A script whose init raises fails its deployment with a traceback in the log, and blue goes on serving."""
    broken = deployment("broken", blue_only.name, environment_variables={"BREAK_INIT": "1"})
    with _answers(blue_only) as statuses, pytest.raises(HttpResponseError) as caught:
        ml.online_deployments.begin_create_or_update(broken).result(60)
    assert caught.value.error is not None
    assert caught.value.error.code == "ResourceNotReady"
    assert "aka.ms/oe-tsg#error-resourcenotready" in caught.value.message
    assert set(statuses) == {200}
    assert ml.online_deployments.get("broken", blue_only.name).provisioning_state == "Failed"
    log = ml.online_deployments.get_logs("broken", blue_only.name, lines=200)
    assert "Traceback" in log
    assert "RuntimeError: the model file is from another planet" in log
    storage = ml.online_deployments.get_logs("broken", blue_only.name, 200, container_type="storage-initializer")
    assert "weights.json" in storage
    assert "Python 3.9 is required" in storage
    ml.online_deployments.begin_delete("broken", blue_only.name).result(30)


def test_missing_script_is_refused(fraud: Served, ml: sdk.MLClient):
    """A scoring script that is not among the code is refused before anything starts."""
    code = sdk.CodeConfiguration(code=str(APP / "code"), scoring_script="other.py")
    with pytest.raises(HttpResponseError, match=r"other\.py"):
        ml.online_deployments.begin_create_or_update(
            deployment("missing", fraud.name, code_configuration=code), skip_script_validation=True
        )


def test_scaling_loses_no_request(blue_only: Served, ml: sdk.MLClient, sandbox: RunningSandbox):
    """Scaling out and in under load answers every request, and is seen in processes."""
    with _answers(blue_only) as statuses:
        for count in (3, 1):
            blue = ml.online_deployments.get("blue", blue_only.name)
            blue.instance_count = count
            assert ml.online_deployments.begin_create_or_update(blue).result(60).instance_count == count
            wait_until(partial(_runs, sandbox, count))
    assert set(statuses) == {200}
    assert sum(statuses.values()) > 20


def test_update_in_place_loses_no_request(blue_only: Served, ml: sdk.MLClient):
    """Replacing a deployment's model under load answers every request, first by the old, then by the new."""
    with _answers(blue_only, "weight") as seen:
        changed = deployment("blue", blue_only.name, model=sdk.Model(path=_model(blue_only.sandbox, 42)))
        ml.online_deployments.begin_create_or_update(changed).result(60)
        assert blue_only.score().json()["weight"] == 42
    assert set(seen) <= {1, 42}
    ml.online_deployments.begin_create_or_update(deployment("blue", blue_only.name)).result(60)


def test_a_dead_instance_is_replaced(blue_only: Served, sandbox: RunningSandbox):
    """When an instance's processes die, another takes its place without anybody asking."""
    (before,) = _instances(sandbox, "fraud", "blue")
    os.killpg(before, signal.SIGKILL)
    wait_until(lambda: (now := _instances(sandbox, "fraud", "blue")) and now != [before] and now)
    assert wait_until(lambda: blue_only.score().status_code == 200)


def test_deleting_what_is_absent_succeeds(ml: sdk.MLClient, fraud: Served):
    """Deletes can be repeated: what is already gone is no error."""
    ml.online_deployments.begin_delete("absent", fraud.name).result(30)
    ml.online_endpoints.begin_delete("absent").result(30)


def test_a_deleted_name_can_be_used_again(ml: sdk.MLClient, make_endpoint: Callable[..., Served]):
    """After its deletion has ended, an endpoint's name is free."""
    first = make_endpoint("again")
    ml.online_endpoints.begin_delete("again").result(30)
    second = make_endpoint("again")
    assert second.http.headers["authorization"] != first.http.headers["authorization"]


def test_a_name_is_used_again_before_its_deletion_has_ended(arm, faults: Faults, sandbox: RunningSandbox):
    """The end of the deletion is none of the new endpoint's, which is still being created."""
    path = sandbox.endpoint_id("used-again")
    body = {"location": "eastus", "properties": {"authMode": "Key"}}

    def state() -> str:
        return str(arm.get(path).json()["properties"]["provisioningState"])

    arm.put(path, json=body).raise_for_status()
    wait_until(lambda: state() == "Succeeded")
    deletion = arm.delete(path).headers["Azure-AsyncOperation"]
    wait_until(lambda: arm.get(path).status_code == 404)
    faults.declare("lro-hang", endpoint="used-again", seconds=60)
    arm.put(path, json=body).raise_for_status()
    wait_until(lambda: arm.get(deletion).json()["status"] == "Succeeded")
    assert state() == "Creating"
    faults.clear()
    wait_until(lambda: state() == "Succeeded")
    assert arm.delete(path).status_code == 202


def test_a_start_that_takes_too_long_leaves_nothing_open(
    blue_only: Served, ml: sdk.MLClient, sandbox: RunningSandbox
):
    """Its process ends, and the sandbox closes its log."""
    probe = sdk.ProbeSettings(initial_delay=1, period=1, failure_threshold=1)
    late = deployment(
        "late", blue_only.name, environment_variables={"INIT_S": "600"}, liveness_probe=probe, readiness_probe=probe
    )
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        ml.online_deployments.begin_create_or_update(late).result(timeout=60)
    wait_until(lambda: not _open_logs(sandbox))
    ml.online_deployments.begin_delete(name="late", endpoint_name=blue_only.name).result(timeout=60)


def _open_logs(sandbox: RunningSandbox) -> set[str]:
    """Return the logs that the sandbox holds open of instances that are no more."""
    found, alive = set(), {f"{row[0]}.log" for row in read_state(sandbox.home, "SELECT id FROM instances")}
    for link in Path(f"/proc/{sandbox.note['pid']}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found.add(link.readlink().name.removesuffix(" (deleted)"))
    return {name for name in found if name.startswith("instance-")} - alive


def test_regenerated_key_works_and_the_old_one_does_not(make_endpoint: Callable[..., Served], arm):
    """Regenerating one key leaves the other alone."""
    served = make_endpoint("rotate", "blue")
    path = served.sandbox.endpoint_id("rotate")
    before = arm.post(f"{path}/listKeys").json()
    answer = arm.post(f"{path}/regenerateKeys", json={"keyType": "Primary"})
    wait_until(lambda: arm.get(answer.headers["Location"]).status_code == 200)
    after = arm.post(f"{path}/listKeys").json()
    assert before["primaryKey"] != after["primaryKey"]
    assert before["secondaryKey"] == after["secondaryKey"]
    assert served.score().status_code == 401
    served.http.headers["authorization"] = f"Bearer {after['primaryKey']}"
    assert served.score().status_code == 200


def test_lists_show_what_exists(ml: sdk.MLClient, fraud: Served):
    """Endpoints and deployments are listed, and a read adds zero for deployments without traffic."""
    assert fraud.name in [endpoint.name for endpoint in ml.online_endpoints.list()]
    assert {"blue", "green"} <= {one.name for one in ml.online_deployments.list(fraud.name)}
    assert ml.online_endpoints.get(fraud.name).traffic == {"blue": 100, "green": 0}


def test_quota_and_sizes_are_listed_through_the_sdk(ml: sdk.MLClient):
    """The SDK's own calls for usage and sizes work."""
    # azure-ai-ml 1.35 puts the wire's own names on the object, `vCPUs` instead of its `v_cp_us`
    assert any(size.name == "Standard_DS3_v2" and vars(size)["vCPUs"] == 4 for size in ml.compute.list_sizes())
    assert any(usage.name["value"] == "standardDSv2Family" for usage in ml.compute.list_usage())


def test_data_collector_registers_its_data_asset(ml: sdk.MLClient, arm, sandbox: RunningSandbox):
    """A data asset that only names a place is registered."""
    path = f"{sandbox.workspace_id}/data/collected/versions/1"
    body = {"properties": {"dataType": "uri_folder", "dataUri": "azureml://datastores/workspaceblobstore/paths/x"}}
    assert arm.put(path, json=body).status_code == 201
    assert ml.data.get("collected", "1").path.endswith("paths/x")


def test_endpoint_with_other_auth_modes(ml: sdk.MLClient):
    """AAD-token endpoints are made and read back in the SDK's words."""
    made = ml.online_endpoints.begin_create_or_update(
        sdk.ManagedOnlineEndpoint(name="entra", auth_mode="aad_token")
    ).result(30)
    assert made.auth_mode == "aad_token"


def _ask(sandbox: RunningSandbox) -> str:
    path = sandbox.home.root / "ask.json"
    path.write_text('{"data": [1, 2, 3]}')
    return str(path)


def _model(sandbox: RunningSandbox, weight: int) -> Path:
    folder = sandbox.home.root / f"weight-{weight}" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.json").write_text(f'{{"weight": {weight}}}')
    return folder


def _runs(sandbox: RunningSandbox, count: int) -> bool:
    """Whether so many instances of fraud's blue are running."""
    return len(_instances(sandbox, "fraud", "blue")) == count


def _instances(sandbox: RunningSandbox, endpoint: str, name: str = "") -> list[int]:
    with closing(sqlite3.connect(f"file:{sandbox.home.state}/state.db?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT pid, deployment FROM instances").fetchall()
    return [pid for pid, where in rows if f"/{endpoint}/" in where and where.endswith(name)]


@contextmanager
def _answers(served: Served, field: str = "") -> Iterator[Counter]:
    """Ask without pause beside the test, and count the answers by status, or by a field of theirs."""
    seen: Counter = Counter()
    done = threading.Event()

    def ask():
        while not done.is_set():
            answer = served.score()
            seen[answer.json()[field] if field else answer.status_code] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
