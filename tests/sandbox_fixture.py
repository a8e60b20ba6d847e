"""A running sandbox for any suite: started by the code behind `opslib sandbox up`, stopped for certain."""

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from opslib.sandbox.cli.control import start, stop
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.settings import Settings

LOG_CATEGORIES = ("AmlOnlineEndpointTrafficLog", "AmlOnlineEndpointConsoleLog", "AmlOnlineEndpointEventLog")


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that answers, as its own note describes it."""

    home: Home
    note: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.note["url"])

    @property
    def workspace(self) -> dict[str, str]:
        return self.note["workspace"]

    @property
    def workspace_id(self) -> str:
        return (
            f"/subscriptions/{self.workspace['subscription_id']}/resourceGroups/{self.workspace['resource_group']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace['workspace_name']}"
        )

    def endpoint_id(self, name: str) -> str:
        return f"{self.workspace_id}/onlineEndpoints/{name}"

    def token(self, resource: str | None = None) -> str:
        """Ask the managed-identity endpoint, as any client would."""
        environment = self.note["environment"]
        answer = httpx.get(
            environment["IDENTITY_ENDPOINT"],
            params={"resource": resource or self.url, "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]},
            verify=ssl.create_default_context(cafile=environment["REQUESTS_CA_BUNDLE"]),
        )
        return str(answer.raise_for_status().json()["access_token"])

    @contextmanager
    def arm(self) -> Iterator[httpx.Client]:
        """A bare HTTP client with a token for ARM; relative addresses are the sandbox's."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        with self.http(headers=headers) as client:
            yield client

    def http(self, **options: Any) -> httpx.Client:
        """A bare HTTP client that trusts the sandbox."""
        trust = ssl.create_default_context(cafile=self.home.authority)
        return httpx.Client(base_url=self.url, verify=trust, timeout=30.0, **options)

    def keep_logs(self, endpoint: str) -> None:
        """Switch an endpoint's three logs on."""
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


@contextmanager
def running_sandbox(root: Path, settings: Settings | None = None) -> Iterator[RunningSandbox]:
    """Start a sandbox in a folder; stop it and its instances at the end, whatever happened."""
    home = Home(root)
    try:
        yield RunningSandbox(home, start(home, settings))
    finally:
        stop(home)


@contextmanager
def pointed_at(sandbox: RunningSandbox) -> Iterator[None]:
    """Set nothing but the sandbox's environment variables, and take them back."""
    before = dict(os.environ)
    os.environ.update(sandbox.note["environment"])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def reread(sandbox: RunningSandbox) -> RunningSandbox:
    """The same sandbox by its present note."""
    return RunningSandbox(sandbox.home, json.loads(sandbox.home.note.read_text(encoding="utf-8")))
