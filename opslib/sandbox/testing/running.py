"""A sandbox that answers: where it is, how a program is pointed at it, and a workspace of it."""

import os
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.sandbox.cli.admin_client import call
from opslib.sandbox.cli.control import SandboxError
from opslib.sandbox.cli.principal_command import environment
from opslib.sandbox.core.home import Home

if TYPE_CHECKING:
    import httpx
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

LOG_CATEGORIES = ("AmlOnlineEndpointTrafficLog", "AmlOnlineEndpointConsoleLog", "AmlOnlineEndpointEventLog")
_SET_ASIDE = (
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "IDENTITY_SERVER_THUMBPRINT",
    "MSI_ENDPOINT",
    "no_proxy",
)
"""Variables of an Azure account or a proxy that azure-identity or requests would use beside the sandbox's."""
_CLEAR_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RunningSandbox:
    """A running sandbox and one workspace of it.

    Attributes
    ----------
    home
        Its folder: log, certificate authority, state.
    note
        What it published about itself when it was ready (`sandbox.json`).
    """

    home: Home
    note: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Address of Azure Resource Manager, on loopback."""
        return str(self.note["url"])

    @property
    def env(self) -> dict[str, str]:
        """Variables that point any program which uses the Azure SDKs at this sandbox, and at nothing else."""
        return dict(self.note["environment"])

    @property
    def azure_env(self) -> dict[str, str]:
        """Variables for a program with hard-coded Azure host names: a proxy, and an authority for those names."""
        return dict(self.note["azure_environment"])

    @property
    def workspace(self) -> dict[str, str]:
        """The workspace as the ecosystem's config.json names it."""
        names = self.note["workspace"]
        return {name: names[name] for name in ("subscription_id", "resource_group", "workspace_name")}

    @property
    def subscription_id(self) -> str:
        """Subscription of the workspace."""
        return self.workspace["subscription_id"]

    @property
    def resource_group(self) -> str:
        """Resource group of the workspace."""
        return self.workspace["resource_group"]

    @property
    def workspace_name(self) -> str:
        """Name of the workspace."""
        return self.workspace["workspace_name"]

    @property
    def workspace_id(self) -> str:
        """ARM id of the workspace."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )

    def endpoint_id(self, name: str) -> str:
        """Return the ARM id of an online endpoint."""
        return f"{self.workspace_id}/onlineEndpoints/{name}"

    @cached_property
    def credential(self) -> "DefaultAzureCredential":
        """The credential of the sandbox's operator, as any program gets it from azure-identity."""
        self._require_pointed()
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - slow to import

        return DefaultAzureCredential()

    def ml_client(self, **options: Any) -> "MLClient":
        """Return azure-ai-ml's own client for the workspace.

        Raises
        ------
        SandboxError
            If the process's variables do not point at this sandbox.
        """
        self._require_pointed()
        from azure.ai.ml import MLClient  # noqa: PLC0415 - slow to import

        return MLClient(self.credential, self.subscription_id, self.resource_group, self.workspace_name, **options)

    def token(self, resource: str | None = None) -> str:
        """Return a token of the managed-identity endpoint, for ARM or another resource."""
        with self.http() as client:
            return self._token(client, resource)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """TLS settings that all HTTP clients of this sandbox share."""
        return ssl.create_default_context(cafile=self.home.authority)

    def http(self, **options: Any) -> "httpx.Client":
        """Return an HTTP client that trusts the sandbox; relative addresses are the sandbox's."""
        import httpx  # noqa: PLC0415 - slow to import

        return httpx.Client(base_url=self.url, verify=self._trust, timeout=30.0, **options)

    @contextmanager
    def arm(self) -> "Iterator[httpx.Client]":
        """Yield an HTTP client with a token for ARM."""
        with self.http() as client:
            client.headers["Authorization"] = f"Bearer {self._token(client)}"  # over the same connection
            yield client

    def keep_logs(self, endpoint: str) -> None:
        """Enable the three logs of an endpoint, with a diagnostic setting as on Azure."""
        group = self.workspace_id.split("/providers/", maxsplit=1)[0]
        body = {
            "properties": {
                "workspaceId": f"{group}/providers/Microsoft.OperationalInsights/workspaces/logs",
                "logs": [{"category": category, "enabled": True} for category in LOG_CATEGORIES],
            }
        }
        scope = self.endpoint_id(endpoint)
        with self.arm() as arm:
            arm.put(f"{scope}/providers/Microsoft.Insights/diagnosticSettings/all", json=body).raise_for_status()

    def declare_fault(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Declare a fault, as `opslib sandbox fault KIND` does; return it as the sandbox lists it.

        Raises
        ------
        ValueError
            If the sandbox knows no such kind or field, or a value is out of its range.
        """
        return call(self.home, "POST", "faults", {"kind": kind, **fields})[0]

    def clear_faults(self) -> None:
        """End all faults."""
        call(self.home, "DELETE", "faults")

    def instance_logs(self) -> list[tuple[str, str]]:
        """Return name and last 40 lines of the log of each instance; the one that wrote last is last."""
        return [(row["name"], row["text"]) for row in call(self.home, "GET", "logs")]

    def add_principal(self, name: str, role: str | None = None, scope: str | None = None) -> dict[str, str]:
        """Add a service principal with a role on the workspace, or on `scope`; return its variables."""
        wanted = {"name": name, "role": role, "scope": scope or self.workspace_id}
        row = call(self.home, "POST", "principals", {key: value for key, value in wanted.items() if value})[0]
        return {**self.env, **environment(self.home, row)}

    def write_config(self, folder: Path) -> Path:
        """Write the workspace's config.json, for `MLClient.from_config`."""
        import json  # noqa: PLC0415

        path = folder / "config.json"
        path.write_text(json.dumps(self.workspace, indent=2) + "\n", encoding="utf-8")
        return path

    @contextmanager
    def pointed(self) -> Iterator[None]:
        """Point this process, and those that it starts, at the sandbox; restore its variables at the end."""
        before = {name: os.environ.pop(name, None) for name in (*_SET_ASIDE, *self.env)}
        os.environ.update(self.env)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    @contextmanager
    def new_workspace(self) -> "Iterator[RunningSandbox]":
        """Point this process at an empty workspace in a subscription of its own; empty it at the end.

        Quota, roles, activity and assets are those of the subscription. As on Azure the names of endpoints are
        unique in a region: a name is free again when the block has ended. Faults concern the whole sandbox; all end
        with the block.
        """
        names = {**self.note["workspace"], "subscription_id": str(uuid.uuid4())}
        own = replace(self, note={**self.note, "workspace": names})
        with own.pointed():
            try:
                yield own
            finally:
                own.clear_faults()
                own.delete_endpoints()

    def delete_endpoints(self) -> None:
        """Delete the endpoints of the workspace, and wait until they are gone.

        Raises
        ------
        SandboxError
            If one is still there after a minute.
        """
        deadline = time.monotonic() + _CLEAR_TIMEOUT_S
        with self.arm() as arm:
            while rows := arm.get(f"{self.workspace_id}/onlineEndpoints").raise_for_status().json()["value"]:
                if time.monotonic() > deadline:
                    left = ", ".join(row["name"] for row in rows)
                    raise SandboxError(f"endpoints not deleted within {_CLEAR_TIMEOUT_S:g} s: {left}")
                for row in rows:
                    if row["properties"]["provisioningState"] != "Deleting":
                        arm.delete(row["id"])  # 409 while an operation runs: the next turn sends it again
                time.sleep(0.05)

    def _token(self, client: "httpx.Client", resource: str | None = None) -> str:
        wanted = {"resource": resource or self.url, "api-version": "2019-08-01"}
        header = {"X-IDENTITY-HEADER": self.env["IDENTITY_HEADER"]}
        answer = client.get(self.env["IDENTITY_ENDPOINT"], params=wanted, headers=header)
        return str(answer.raise_for_status().json()["access_token"])

    def _require_pointed(self) -> None:
        wrong = sorted(name for name, value in self.env.items() if os.environ.get(name) != value)
        if wrong:
            raise SandboxError(
                f"this process is not pointed at the sandbox {self.url}: {', '.join(wrong)} differ. "
                "Expected: the call in a block of `with Sandbox()`, `with azure.pointed()`, or a test with the "
                "fixture azureml_sandbox."
            )
