"""A workspace, its endpoints and their deployments, as Azure reports them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.displayed import Displayed

Traffic = Mapping[str, int]
"""Share of live traffic by deployment [percent]; sums to 0 or 100."""

SERVICE_VARIABLES = frozenset({"AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT"})
"""Environment variables that Azure ML adds, and shows once a deployment was ready. Source: recordings of 2025."""


@dataclass(frozen=True)
class Scope:
    """A workspace, by the names of the ecosystem's ``config.json``, and the caller that is signed in to it."""

    subscription_id: str
    resource_group: str
    workspace_name: str
    resource_manager: str
    principal: str = ""

    @property
    def workspace_id(self) -> str:
        """ARM id of the workspace."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )


@dataclass(frozen=True)
class Deployment:
    """One deployment as Azure reports it; `arm` is the resource's whole JSON."""

    name: str
    provisioning_state: str
    model: str
    environment: str
    code: str
    instance_type: str
    instance_count: int
    max_concurrent_requests_per_instance: int
    arm: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """ARM id."""
        return str(self.arm["id"])

    @property
    def ready(self) -> bool:
        """Whether it can take traffic."""
        return self.provisioning_state == "Succeeded" and self.instance_count > 0

    @property
    def version_sha256(self) -> str:
        """Digest of what decides this version's answers: evidence about a version is not another's.

        It covers model, environment, code and environment variables, with the ids of Azure, and the instance type,
        but not the variables that the service adds later.
        """
        properties: Mapping[str, Any] = self.arm["properties"]
        what = {name: properties.get(name) for name in ("model", "environmentId", "codeConfiguration")}
        variables = properties.get("environmentVariables") or {}
        what["environmentVariables"] = {
            name: one for name, one in variables.items() if name not in SERVICE_VARIABLES
        }
        text = json.dumps([what, self.instance_type], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Endpoint(Displayed):
    """One endpoint and its deployments as Azure reports them; `arm` is the endpoint's whole JSON."""

    name: str
    provisioning_state: str
    auth_mode: str
    scoring_uri: str
    traffic: Traffic
    mirror_traffic: Traffic
    tags: Mapping[str, str]
    deployments: tuple[Deployment, ...]
    arm: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """ARM id."""
        return str(self.arm["id"])

    @property
    def stable(self) -> str | None:
        """The deployment with most of the live traffic; None where nothing serves."""
        return max(self.traffic, key=lambda name: (self.traffic[name], name), default=None)

    def find(self, name: str) -> Deployment | None:
        """Return the deployment of that name, or None. Azure's names ignore case."""
        return next((d for d in self.deployments if d.name.lower() == name.lower()), None)

    def deployment_names(self) -> str:
        """List the deployments in one line, for messages."""
        return ", ".join(d.name for d in self.deployments) or "none"


def asset_name(arm_id: str | None) -> str:
    """Shorten the ARM id of a model, environment or code asset to ``name:version``.

    An anonymous asset is named by a hash, of which the first 12 digits are shown. What is not an asset's id is
    returned as it is.

    >>> asset_name("/subscriptions/s/resourceGroups/g/providers/.../workspaces/w/models/fraud/versions/3")
    'fraud:3'
    >>> asset_name("azureml://registries/azureml/models/gpt2/versions/19")
    'gpt2:19'
    >>> asset_name("/workspaces/w/codes/f7a43f95d8fc0b5c72ab41c3f7a43f95d8fc0b5c72ab41c3/versions/1")
    'f7a43f95d8fc:1'
    >>> asset_name("fraud:3"), asset_name(None)
    ('fraud:3', '')
    """
    parts = (arm_id or "").split("/")
    if len(parts) < 4 or parts[-2] != "versions":
        return arm_id or ""
    name = parts[-3]
    return f"{name if len(name) < 32 else name[:12]}:{parts[-1]}"
