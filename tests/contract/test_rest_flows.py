import httpx
from rest_flows import powershell, terraform
from sandbox_fixture import RunningSandbox
from served import Served


def test_terraform_manages_an_endpoint(sandbox: RunningSandbox, arm: httpx.Client):
    """Each step of azurerm's acceptance tests is answered as its provider expects."""
    result = terraform(arm, sandbox.workspace_id, "acctest")
    assert (result.steps, result.problems) == (22, ())


def test_powershell_manages_an_endpoint(sandbox: RunningSandbox, arm: httpx.Client, fraud: Served):
    """Each command of Az.MachineLearningServices' scenario tests is answered as the module expects."""
    properties = arm.get(f"{sandbox.endpoint_id(fraud.name)}/deployments/blue").json()["properties"]
    assets = {"code": properties["codeConfiguration"]["codeId"], "model": properties["model"]}
    result = powershell(arm, sandbox.workspace_id, "from-powershell", assets, capacity=1)
    assert (result.steps, result.problems) == (16, ())


def test_what_published_samples_and_tests_send_is_answered(
    sandbox: RunningSandbox, arm: httpx.Client, fraud: Served
):
    """A new group has no storage account, a log's tail may be 0, an operation that is not built names itself."""
    subscription = sandbox.workspace_id.split("/resourceGroups/", maxsplit=1)[0]
    group = f"{subscription}/resourceGroups/from-a-sample"
    arm.put(group, json={"location": "eastus"}).raise_for_status()
    accounts = "/providers/Microsoft.Storage/storageAccounts"
    assert arm.get(f"{group}{accounts}").json()["value"] == []
    listed = arm.get(f"{subscription}/resourceGroups/{sandbox.resource_group.upper()}{accounts}").json()["value"]
    assert "sandbox" in [one["name"] for one in listed]
    logs = f"{sandbox.endpoint_id(fraud.name)}/deployments/blue/getLogs"
    assert arm.post(logs, json={"containerType": "StorageInitializer", "tail": 0}).status_code == 200
    assert [arm.get(path).status_code for path in ("/providers", f"{subscription}/tagNames")] == [501, 501]
