"""What two foreign programs send and expect, as REST calls: Terraform's azurerm provider and Azure PowerShell.

Facts from their public sources: azurerm's `machine_learning_online_endpoint` (2025-06-01; the steps of its
acceptance tests, and what its reader takes) and the scenario tests of Az.MachineLearningServices (2024-04-01).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

_POLL_S = 0.05
_WITHIN_S = 90.0
_SYSTEM = ("azureasyncoperationuri", "azureml.onlineendpointid")


@dataclass(frozen=True)
class FlowResult:
    """How many of a flow's steps were answered as its program expects, and what was wrong with the others."""

    steps: int
    problems: tuple[str, ...]


@dataclass
class RestFlow:
    """A program's calls in order; a step that fails is noted, and the next one is taken."""

    arm: httpx.Client
    workspace_id: str
    api_version: str
    steps: int = 0
    problems: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None, expected: tuple[int, ...] = (200,)) -> httpx.Response:
        """Send a request below the workspace; its status must be one that the program takes."""
        where = path if path.startswith(("/", "https:")) else f"{self.workspace_id}/{path}"
        query = {} if "api-version=" in where else {"api-version": self.api_version}
        answer = self.arm.request(method, where, params=query or None, json=body)
        assert answer.status_code in expected, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer

    def poll(self, started: httpx.Response) -> None:
        """Poll the operation that an answer named until its status is final; it must be Succeeded."""
        where = started.headers["azure-asyncoperation"]
        deadline = time.monotonic() + _WITHIN_S
        while (status := self.call("GET", where).json()["status"]) not in ("Succeeded", "Failed", "Canceled"):
            assert time.monotonic() < deadline, f"still {status} after {_WITHIN_S:g} s"
            time.sleep(_POLL_S)
        assert status == "Succeeded", status

    def step(self, name: str, act: Callable[[], None]) -> None:
        """Take a step."""
        self.steps += 1
        try:
            act()
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            self.problems.append(f"{name}: {type(error).__name__}: {error}"[:400])

    def result(self) -> FlowResult:
        """Return what came of the steps."""
        return FlowResult(self.steps, tuple(self.problems))


def terraform(arm: httpx.Client, workspace_id: str, prefix: str) -> FlowResult:
    """Take the steps of azurerm's acceptance tests of an online endpoint."""
    flow = RestFlow(arm, workspace_id, "2025-06-01")
    group = workspace_id.split("/providers/", maxsplit=1)[0]
    user = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{prefix}-identity"
    own = {"type": "SystemAssigned"}
    plain = _configuration(own)
    configurations = {
        "basic": plain,
        "complete": {
            **_configuration(own, authMode="AMLToken", description="Test", publicNetworkAccess="Disabled"),
            "tags": {"environment": "test"},
        },
        "authModeAADToken": _configuration(own, authMode="AADToken"),
        "authModeAMLToken": _configuration(own, authMode="AMLToken"),
        "publicNetworkAccessDisabled": _configuration(own, publicNetworkAccess="Disabled"),
        "identityUserAssigned": _configuration({"type": "UserAssigned", "userAssignedIdentities": {user: {}}}),
    }
    configurations["complete"]["properties"]["properties"] = {"test-key": "test-value"}
    made = {"location": "eastus"}
    flow.step(
        "identity", lambda: _ok(flow.call("PUT", f"{user}?api-version=2023-01-31", made, (200, 201)).json()["id"])
    )
    for number, (name, sent) in enumerate(configurations.items()):
        endpoint = f"onlineEndpoints/{prefix}-{number}"
        flow.step(f"{name}: create", lambda e=endpoint, s=sent: _terraform_create(flow, e, s))  # type: ignore[misc]
        flow.step(f"{name}: read", lambda e=endpoint, s=sent: _terraform_read(flow, e, s))  # type: ignore[misc]
        if name == "basic":
            changed = _configuration(own, publicNetworkAccess="Disabled")
            changed["tags"] = {"environment": "staging", "purpose": "testing"}
            flow.step("requiresImport", lambda e=endpoint: _ok(flow.call("GET", e).json()["id"]))  # type: ignore[misc]
            flow.step(
                "update",
                lambda e=endpoint, s=changed: flow.poll(flow.call("PUT", e, s, (200, 201))),  # type: ignore[misc]
            )
            flow.step("update: read", lambda e=endpoint, s=changed: _terraform_read(flow, e, s))  # type: ignore[misc]
        flow.step(f"{name}: destroy", lambda e=endpoint: _terraform_destroy(flow, e))  # type: ignore[misc]
    return flow.result()


def _configuration(identity: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """Return a payload as azurerm makes it: no traffic, and a description even where none is given."""
    defaults = {"authMode": "Key", "description": "", "publicNetworkAccess": "Enabled"}
    return {"location": "eastus", "identity": identity, "tags": {}, "properties": {**defaults, **properties}}


def _terraform_create(flow: RestFlow, endpoint: str, sent: dict[str, Any]) -> None:
    flow.call("GET", endpoint, expected=(404,))
    flow.poll(flow.call("PUT", endpoint, sent, (200, 201)))


def _terraform_read(flow: RestFlow, endpoint: str, sent: dict[str, Any]) -> None:
    """Compare an endpoint with what was sent, field by field as azurerm's reader takes them."""
    seen = flow.call("GET", endpoint).json()
    properties = seen["properties"]
    own = {key: value for key, value in properties["properties"].items() if key.lower() not in _SYSTEM}
    _same("location", seen["location"].lower().replace(" ", ""), sent["location"])
    _same("tags", seen["tags"], sent["tags"])
    _same("properties", own, sent["properties"].get("properties", {}))
    for name in ("authMode", "publicNetworkAccess"):
        _same(name, properties[name], sent["properties"][name])
    _same("description", properties.get("description") or "", sent["properties"]["description"])
    assert properties["scoringUri"].endswith("/score"), properties["scoringUri"]
    assert properties["swaggerUri"].endswith("/swagger.json"), properties["swaggerUri"]
    identity = seen["identity"]
    _same("identity", identity["type"], sent["identity"]["type"])
    users = {one.lower(): ids for one, ids in (identity.get("userAssignedIdentities") or {}).items()}
    _same("identities", set(users), {one.lower() for one in sent["identity"].get("userAssignedIdentities", {})})
    if users:
        assert all(ids["clientId"] and ids["principalId"] for ids in users.values()), users
    else:
        assert identity["principalId"], identity
        assert identity["tenantId"], identity


def _terraform_destroy(flow: RestFlow, endpoint: str) -> None:
    flow.poll(flow.call("DELETE", endpoint, expected=(200, 202, 204)))
    flow.call("GET", endpoint, expected=(404,))


def powershell(
    arm: httpx.Client, workspace_id: str, prefix: str, assets: dict[str, str], capacity: int = 3
) -> FlowResult:
    """Take the steps of Az.MachineLearningServices' scenario tests of online endpoints.

    `assets` holds the ids of a registered code (`code`) and model (`model`): their upload is no call of the module.
    """
    flow = RestFlow(arm, workspace_id, "2024-04-01")
    endpoint, deployment = f"onlineEndpoints/{prefix}", f"onlineEndpoints/{prefix}/deployments/blue"
    environment = f"environments/{prefix}/versions/1"
    image = {"image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"}
    body = {
        "location": "eastus",
        "sku": {"name": "Default", "capacity": capacity},
        "properties": {
            "endpointComputeType": "Managed",
            "codeConfiguration": {"codeId": assets["code"], "scoringScript": "score.py"},
            "environmentId": f"{workspace_id}/{environment}",
            "model": assets["model"],
            "instanceType": "Standard_F4s_v2",
        },
    }
    made = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": {"authMode": "AADToken"}}
    tags = {"key": "value"}
    keys = {"primaryKey": None, "secondaryKey": None}
    log = {"containerType": "InferenceServer", "tail": 10}
    region = f"{'/'.join(workspace_id.split('/')[:3])}/providers/Microsoft.MachineLearningServices/locations/eastus"

    def call(method: str, path: str, sent: Any = None, *expected: int) -> Any:
        return flow.call(method, path, sent, expected or (200,)).json()

    flow.step("New-AzMLWorkspaceOnlineEndpoint", lambda: _powershell_put(flow, endpoint, made))
    flow.step(
        "Get-AzMLWorkspaceCodeVersion", lambda: _same("id", call("GET", assets["code"])["id"], assets["code"])
    )
    flow.step(
        "New-AzMLWorkspaceEnvironmentVersion",
        lambda: _ok(call("PUT", environment, {"properties": image}, 200, 201)),
    )
    flow.step("New-AzMLWorkspaceOnlineDeployment", lambda: _powershell_put(flow, deployment, body))
    flow.step("Update-AzMLWorkspaceOnlineEndpoint", lambda: _powershell_update(flow, endpoint, {"tags": tags}))
    flow.step("Get-AzMLWorkspaceOnlineEndpoint", lambda: _same("tags", call("GET", endpoint)["tags"], tags))
    flow.step("Get-AzMLWorkspaceOnlineEndpoint (list)", lambda: _listed(call("GET", "onlineEndpoints"), prefix))
    flow.step("Get-AzMLWorkspaceOnlineDeployment", lambda: _listed(call("GET", f"{endpoint}/deployments"), "blue"))
    flow.step(
        "Get-AzMLWorkspaceOnlineDeploymentLog",
        lambda: _ok("Instance status:" in call("POST", f"{deployment}/getLogs", log)["content"]),
    )
    flow.step(
        "Get-AzMLWorkspaceOnlineDeploymentSku",
        lambda: _same(
            "sku", call("GET", f"{deployment}/skus")["value"][0]["sku"], {"name": "default", "tier": "Standard"}
        ),
    )
    flow.step(
        "Get-AzMLWorkspaceOnlineEndpointKey", lambda: _same("keys", call("POST", f"{endpoint}/listKeys"), keys)
    )
    flow.step("Get-AzMLServiceUsage", lambda: _ok(call("GET", f"{region}/usages")["value"]))
    flow.step("Get-AzMLServiceQuota", lambda: _ok(call("GET", f"{region}/quotas")["value"]))
    flow.step("Get-AzMLServiceVMSize", lambda: _ok(call("GET", f"{region}/vmSizes")["value"]))
    flow.step("Remove-AzMLWorkspaceOnlineDeployment", lambda: _powershell_remove(flow, deployment))
    flow.step("Remove-AzMLWorkspaceOnlineEndpoint", lambda: _powershell_remove(flow, endpoint))
    return flow.result()


def _powershell_put(flow: RestFlow, path: str, body: dict[str, Any]) -> None:
    """PUT, poll, and GET the resource's own address last (final-state-via original-uri)."""
    started = flow.call("PUT", path, body, (200, 201))
    flow.poll(started)
    _same("state", flow.call("GET", path).json()["properties"]["provisioningState"], "Succeeded")
    _same("Location", flow.call("GET", started.headers["location"]).json()["name"], path.rsplit("/", 1)[1])


def _powershell_update(flow: RestFlow, path: str, body: dict[str, Any]) -> None:
    answer = flow.call("PATCH", path, body, (200, 202))
    if answer.status_code == 202:
        flow.poll(answer)


def _powershell_remove(flow: RestFlow, path: str) -> None:
    """DELETE, poll, and GET `Location` last: it answers with the operation (recorded in 2025)."""
    started = flow.call("DELETE", path, expected=(202,))
    flow.poll(started)
    _same("Location", flow.call("GET", started.headers["location"]).json()["status"], "Succeeded")
    flow.call("GET", path, expected=(404,))


def _listed(page: dict[str, Any], name: str) -> None:
    assert name in [one["name"] for one in page["value"]], page


def _same(what: str, seen: Any, expected: Any) -> None:
    assert seen == expected, f"{what}: expected {expected}, got {seen}"


def _ok(seen: Any) -> None:
    assert seen, seen
