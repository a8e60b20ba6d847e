"""The environment of an instance: identity, CA bundle and egress."""

from pathlib import Path

from opslib.sandbox.arm.principals import IDENTITY_SECRET
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids

_NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens


class InstanceEnvironment:
    """Environment variables that do not come from the deployment."""

    def __init__(self, base_url: str, proxy_url: str, authority: Path, store: Store) -> None:
        self._base_url = base_url
        self._proxy_url = proxy_url  # to Azure's own names
        self._authority = authority
        self._store = store

    def variables(self, deployment_id: str) -> dict[str, str]:
        """Return the variables: identity, CA bundle, and the proxy; an unreachable one without egress."""
        endpoint, deployment = self._store.get(ids.parent(deployment_id)), self._store.get(deployment_id)
        found = {"REQUESTS_CA_BUNDLE": str(self._authority), "SSL_CERT_FILE": str(self._authority)}
        if endpoint is not None:
            found |= self._identity(endpoint)
        found |= {"HTTPS_PROXY": self._proxy_url, "NO_PROXY": "127.0.0.1,localhost"}
        if deployment is not None and deployment.properties.get("egressPublicNetworkAccess") == "Disabled":
            found |= {"HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
        return found

    def _identity(self, endpoint: Resource) -> dict[str, str]:
        identity = endpoint.body.get("identity") or {}
        if IDENTITY_SECRET not in endpoint.secrets or identity.get("type", "None") == "None":
            return {}
        address, secret = f"{self._base_url}/msi/token", endpoint.secrets[IDENTITY_SECRET]
        found = {
            "IDENTITY_ENDPOINT": address,
            "IDENTITY_HEADER": secret,
            "MSI_ENDPOINT": address,
            "MSI_SECRET": secret,
        }
        if "principalId" not in identity:
            first = next(iter(identity.get("userAssignedIdentities", {}).values()), None)
            found |= {"AZURE_CLIENT_ID": str(first["clientId"])} if first else {}
        return found
