from pathlib import Path
from typing import Any

import pytest

from opslib.sandbox.arm.principals import IDENTITY_SECRET
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.instances.environment import InstanceEnvironment

ENDPOINT = "/subscriptions/s/e/onlineEndpoints/e"
ASSIGNED = {"type": "UserAssigned", "userAssignedIdentities": {"/uai": {"clientId": "c", "principalId": "p"}}}


@pytest.mark.parametrize(
    ("identity", "egress", "there", "absent"),
    [
        (
            {"type": "SystemAssigned", "principalId": "p"},
            "Enabled",
            {"IDENTITY_HEADER": "k", "MSI_SECRET": "k", "HTTPS_PROXY": "http://127.0.0.1:2"},
            "HTTP_PROXY",
        ),
        (ASSIGNED, "Enabled", {"IDENTITY_HEADER": "k", "AZURE_CLIENT_ID": "c"}, "HTTP_PROXY"),
        ({"type": "None"}, "Disabled", {"HTTPS_PROXY": "http://127.0.0.1:9"}, "IDENTITY_ENDPOINT"),
    ],
)
def test_identity_and_egress_reach_the_process(
    identity: dict[str, Any], egress: str, there: dict[str, str], absent: str, tmp_path: Path
):
    """An endpoint's identity is offered, no identity is not; disabled egress gets an unreachable proxy."""
    store = Store(tmp_path / "state.db")
    store.put(
        Resource(ENDPOINT, "onlineEndpoints", {"identity": identity, "properties": {}}, {IDENTITY_SECRET: "k"})
    )
    body = {"properties": {"egressPublicNetworkAccess": egress}}
    store.put(Resource(f"{ENDPOINT}/deployments/d", "deployments", body))
    environment = InstanceEnvironment("https://127.0.0.1:1", "http://127.0.0.1:2", tmp_path / "ca.pem", store)
    found = environment.variables(f"{ENDPOINT}/deployments/d")
    store.close()
    assert there.items() <= found.items()
    assert absent not in found
    assert found["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
